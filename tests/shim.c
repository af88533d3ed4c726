/* Makes the operating system's n-th change below a folder fail. Loaded with LD_PRELOAD by tests/faults.py. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static char folder[PATH_MAX], last[PATH_MAX + 32];
static int count, at, number, lasting;

/* Fail the at-th change below the folder with this error (and, if lasting, all after it); 0 only counts. */
void fault_arm(const char *where, int when, int error, int stays) {
    snprintf(folder, sizeof folder, "%s/", where);
    count = 0, at = when, number = error, lasting = stays, last[0] = 0;
}
int fault_count(void) { return count; }
const char *fault_last(void) { return last; }

static int hit(const char *call, const char *path) {
    if (!folder[0] || strncmp(path, folder, strlen(folder))) return 0;
    count++;
    if (!at || !(count == at || (lasting && count > at))) return 0;
    if (count == at) snprintf(last, sizeof last, "%s %s", call, path);
    errno = number;
    return 1;
}
static int hit_at(const char *call, int fd, const char *path) {
    char link[64], base[PATH_MAX], whole[2 * PATH_MAX];
    if (!folder[0]) return 0;
    if (path && (path[0] == '/' || fd == AT_FDCWD)) return hit(call, path);
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, base, sizeof base - 1);
    if (n < 0) return 0;
    base[n] = 0;
    snprintf(whole, sizeof whole, "%s%s%s", base, path ? "/" : "", path ? path : "");
    return hit(call, whole);
}
#define REAL(type, name, ...) static type (*real)(__VA_ARGS__); if (!real) real = dlsym(RTLD_NEXT, #name)
#define WRITES(flags) ((flags) & (O_WRONLY | O_RDWR | O_CREAT))

#define OPEN(name) int name(const char *path, int flags, ...) { \
    va_list rest; va_start(rest, flags); int mode = va_arg(rest, int); va_end(rest); \
    REAL(int, name, const char *, int, ...); \
    return WRITES(flags) && hit("open", path) ? -1 : real(path, flags, mode); }
OPEN(open)
OPEN(open64)
#define OPENAT(name) int name(int fd, const char *path, int flags, ...) { \
    va_list rest; va_start(rest, flags); int mode = va_arg(rest, int); va_end(rest); \
    REAL(int, name, int, const char *, int, ...); \
    return WRITES(flags) && hit_at("open", fd, path) ? -1 : real(fd, path, flags, mode); }
OPENAT(openat)
OPENAT(openat64)

#define FD(type, name, declared, types, ...) type name declared { \
    REAL(type, name, types); return hit_at(#name, fd, NULL) ? -1 : real(__VA_ARGS__); }
#define LIST(...) __VA_ARGS__
FD(ssize_t, write, (int fd, const void *b, size_t n), LIST(int, const void *, size_t), fd, b, n)
FD(ssize_t, pwrite, (int fd, const void *b, size_t n, off_t o), LIST(int, const void *, size_t, off_t), fd, b, n, o)
FD(ssize_t, pwrite64, (int fd, const void *b, size_t n, off64_t o), LIST(int, const void *, size_t, off64_t), fd, b, n, o)
FD(ssize_t, writev, (int fd, const struct iovec *v, int n), LIST(int, const struct iovec *, int), fd, v, n)
FD(ssize_t, sendfile, (int fd, int in, off_t *o, size_t n), LIST(int, int, off_t *, size_t), fd, in, o, n)
FD(ssize_t, sendfile64, (int fd, int in, off64_t *o, size_t n), LIST(int, int, off64_t *, size_t), fd, in, o, n)
FD(int, ftruncate, (int fd, off_t n), LIST(int, off_t), fd, n)
FD(int, ftruncate64, (int fd, off64_t n), LIST(int, off64_t), fd, n)
FD(int, fsync, (int fd), LIST(int), fd)
FD(int, fdatasync, (int fd), LIST(int), fd)

#define PATH(name, declared, types, where, ...) int name declared { \
    REAL(int, name, types); return hit(#name, where) ? -1 : real(__VA_ARGS__); }
PATH(rename, (const char *a, const char *b), LIST(const char *, const char *), b, a, b)
PATH(mkdir, (const char *a, mode_t m), LIST(const char *, mode_t), a, a, m)
PATH(rmdir, (const char *a), LIST(const char *), a, a)
PATH(unlink, (const char *a), LIST(const char *), a, a)
PATH(symlink, (const char *a, const char *b), LIST(const char *, const char *), b, a, b)
PATH(link, (const char *a, const char *b), LIST(const char *, const char *), b, a, b)
PATH(chmod, (const char *a, mode_t m), LIST(const char *, mode_t), a, a, m)

#define AT(name, declared, types, ...) int name declared { \
    REAL(int, name, types); return hit_at(#name, fd, path) ? -1 : real(__VA_ARGS__); }
AT(unlinkat, (int fd, const char *path, int f), LIST(int, const char *, int), fd, path, f)
AT(mkdirat, (int fd, const char *path, mode_t m), LIST(int, const char *, mode_t), fd, path, m)
AT(utimensat, (int fd, const char *path, const struct timespec *t, int f), LIST(int, const char *, const struct timespec *, int), fd, path, t, f)
