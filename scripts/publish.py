"""Put a finished site in place with one rename: whoever reads sees the old site or the new one, never a part."""

import hashlib
import os
import shutil
from pathlib import Path

KEEP = 2


def digest(folder: Path) -> str:
    """A name for the folder's content: every file's path and bytes."""
    whole = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            data = file.read_bytes()
            whole.update(f"{file.relative_to(folder).as_posix()}\0{len(data)}\0".encode() + data)
    return whole.hexdigest()[:16]


def publish(finished: Path, build: Path) -> Path:
    """Make `build/site` the finished folder. `site` is a symbolic link to a release named by its content."""
    releases, site = build / "releases", build / "site"
    releases.mkdir(parents=True, exist_ok=True)
    release = releases / digest(finished)
    if release.is_dir() and digest(release) != release.name:
        shutil.rmtree(release)  # damaged
    if not release.is_dir():
        finished.rename(release)
    else:
        shutil.rmtree(finished)  # published before, and kept
    pending = build / ".site"
    pending.unlink(missing_ok=True)
    pending.symlink_to(release.relative_to(build), target_is_directory=True)
    os.replace(pending, site)
    # the release before stays: a server may be reading it
    others = sorted((r for r in releases.iterdir() if r != release), key=lambda r: r.stat().st_mtime)
    for old in others[: max(0, len(others) - KEEP + 1)]:
        shutil.rmtree(old, ignore_errors=True)
    return site


def is_whole(site: Path) -> bool:
    """Whether the published site is what was published."""
    return site.is_dir() and digest(site) == site.resolve().name
