"""Eight bugs planted in a backward pass: which check finds which, at which step and dtype?

Claim: the thresholds of the CS231n notes for h about 1e-5 and the largest relative error
|a - n| / max(|a|, |n|) of an entry. Read as five statements, with criteria fixed beforehand:
 1. above 1e-2 the gradient is probably wrong: at most 5 % of right ones exceed 1e-2;
 2. with kinks, below 1e-4 is usually okay: at least 90 % of right ReLU gradients are below;
 3. without kinks 1e-4 is too high: at least 95 % of right tanh gradients are below;
 4. be happy at 1e-7: at least half of right tanh gradients are, at most 5 % of wrong ones;
 5. float32 gives errors up to 1e-2: at least 5 % of right tanh gradients exceed 1e-2.
Network: two dense layers, softmax, mean cross-entropy, penalty DECAY / 2 |w|^2. Everything is
of size S = 8 (examples, inputs, units, classes): else two bugs stop with an error of shapes.
Shapes: rows are examples; theta (n,) holds w1, b1, w2, b2; P points at once are (P, n).
"""

import matplotlib.pyplot as plt
import numpy as np

S, SEEDS, DECAY, LR = 8, 40, 1e-3, 0.01
STEPS = 10.0 ** np.arange(-12, 0)
FIXED_STEP = 7  # of 1e-5
MILD = ("stale", "no penalty", "float16")
BUGS = ("no 1/N", "wrong axis", "no transpose", "db without f'", "one entry", *MILD)
REFUSES = ("entry > 0.01", "norm > 0.01", "direction > 0.01", "gradcheck's rule")
LIMITS = np.array([1e-2, 1e-2, 1e-2, 1.0])[:, None]


def split(theta: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return w1 (P, S, S), b1 (P, 1, S), w2 and b2 of P points theta (P, n)."""
    w1, b1, w2, b2 = np.split(theta, np.cumsum([S * S, S, S * S]), axis=1)
    return w1.reshape(-1, S, S), b1[:, None], w2.reshape(-1, S, S), b2[:, None]


def activation(z: np.ndarray, net: str) -> np.ndarray:
    """Return tanh or ReLU of z."""
    return np.tanh(z) if net == "tanh" else np.maximum(z, 0)


def losses(theta: np.ndarray, x: np.ndarray, targets: np.ndarray, net: str) -> np.ndarray:
    """Return the loss (P,) at P points theta (P, n), in their precision."""
    w1, b1, w2, b2 = split(theta)
    z = activation(x @ w1 + b1, net) @ w2 + b2  # (P, N, K)
    z = z - z.max(axis=2, keepdims=True)
    cost = np.log(np.exp(z).sum(axis=2)) - z[:, np.arange(S), targets]
    penalty = (w1**2).sum(axis=(1, 2)) + (w2**2).sum(axis=(1, 2))
    return cost.mean(axis=1) + theta.dtype.type(DECAY / 2) * penalty


def backward(
    theta: np.ndarray, x: np.ndarray, targets: np.ndarray, net: str, bug: str = ""
) -> np.ndarray:
    """Return the gradient (n,) at one point theta (n,), with at most one bug."""
    w1, b1, w2, b2 = (part[0] for part in split(theta[None]))
    a = activation(x @ w1 + b1, net)
    z = a @ w2 + b2
    p = np.exp(z - z.max(axis=1, keepdims=True))
    delta2 = p / p.sum(axis=1, keepdims=True)
    delta2[np.arange(S), targets] -= 1.0
    if bug != "no 1/N":
        delta2 /= S
    slope = 1.0 - a**2 if net == "tanh" else (a > 0).astype(a.dtype)
    grad_a = delta2 @ (w2 if bug == "no transpose" else w2.T)
    delta1 = grad_a * slope
    if bug == "stale":  # the activations of the step before
        right = backward(theta, x, targets, net)
        before = split((theta + theta.dtype.type(LR) * right)[None])
        a = activation(x @ before[0][0] + before[1][0], net)
    if bug == "float16":
        a = a.astype(np.float16).astype(a.dtype)
    decay = theta.dtype.type(0.0 if bug == "no penalty" else DECAY)
    grad_b1 = (grad_a if bug == "db without f'" else delta1).sum(axis=0)
    grad_b2 = delta2.sum(axis=1 if bug == "wrong axis" else 0)
    grad_w1, grad_w2 = x.T @ delta1 + decay * w1, a.T @ delta2 + decay * w2
    if bug == "one entry":
        grad_w1[0, 0] *= 2.0
    return np.concatenate([g.ravel() for g in (grad_w1, grad_b1, grad_w2, grad_b2)])


def ratio(difference: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return difference / max(|a|, |b|), and 0 where both are zero."""
    scale = np.maximum(np.abs(a), np.abs(b))
    return difference / np.where(scale > 0, scale, 1.0)


def errors(a: np.ndarray, n: np.ndarray, v: np.ndarray, along: float) -> list[float]:
    """Return the errors of gradient a by entry, norm of the worst array, direction, gradcheck."""
    gap, bounds = np.abs(a - n), np.cumsum([S * S, S, S * S])
    sizes = [[np.linalg.norm(part) for part in np.split(g, bounds)] for g in (gap, a, n)]
    by_direction = ratio(np.abs(v @ a - along), v @ a, np.array(along))
    rule = gap / (1e-5 + 1e-3 * np.abs(n))  # gradcheck refuses above 1
    found = ratio(gap, a, n).max(), ratio(*map(np.array, sizes)).max(), by_direction, rule.max()
    return [float(error) for error in found]


def measure(net: str, dtype: type) -> np.ndarray:
    """Return the errors (steps, right and bugs, checks, seeds)."""
    result = np.zeros((len(STEPS), 1 + len(BUGS), len(LIMITS), SEEDS))
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        x, targets = rng.normal(size=(S, S)).astype(dtype), rng.integers(0, S, S)
        theta = (rng.normal(size=2 * S * S + 2 * S) / np.sqrt(S)).astype(dtype)
        v = rng.normal(size=theta.size).astype(dtype)
        grads = [backward(theta, x, targets, net, bug).astype(float) for bug in ("", *BUGS)]
        for i, h in enumerate(STEPS.astype(dtype)):
            moves = h * np.vstack([np.eye(theta.size, dtype=dtype), v])
            above, below = (losses(p, x, targets, net) for p in (theta + moves, theta - moves))
            slopes = (above.astype(float) - below.astype(float)) / (2 * float(h))
            for j, a in enumerate(grads):
                result[i, j, :, seed] = errors(a, slopes[:-1], v.astype(float), float(slopes[-1]))
    return result


def separation(right: np.ndarray, wrong: np.ndarray) -> float:
    """Return detection rate minus false alarm rate at the best of all thresholds."""
    return max(float((wrong > t).mean() - (right > t).mean()) for t in right)


def _draw_errors(ax: plt.Axes, by_entry: np.ndarray, title: str) -> None:
    ink = plt.rcParams["text.color"]
    low, middle, high = np.percentile(by_entry[:, 0], [5, 50, 95], axis=-1)
    ax.fill_between(STEPS, low, high, color=ink, alpha=0.2, lw=0)
    ax.loglog(STEPS, middle, color=ink, ls="-", lw=2.5, label="right gradient")
    for i, bug in enumerate(MILD):
        line = np.median(by_entry[:, 1 + BUGS.index(bug)], axis=-1)
        ax.loglog(STEPS, line, color=f"C{i}", ls="-", lw=1, marker="os^"[i], label=bug)
    for threshold in (1e-2, 1e-4, 1e-7):
        ax.axhline(threshold, color=ink, lw=1, ls=":")
    ax.set(ylabel="largest relative error", ylim=(1e-9, 5))
    ax.text(0.02, 0.06, title, transform=ax.transAxes)


if __name__ == "__main__":
    double, single = np.float64, np.float32
    found = {(net, d): measure(net, d) for net in ("tanh", "relu") for d in (double, single)}
    at = {key: result[FIXED_STEP, :, 0] for key, result in found.items()}  # (1 + bugs, seeds)
    smooth, kinked, coarse = at["tanh", double][0], at["relu", double][0], at["tanh", single][0]
    statements = [
        max((smooth > 1e-2).mean(), (kinked > 1e-2).mean()) <= 0.05,
        (kinked < 1e-4).mean() >= 0.9,
        (smooth < 1e-4).mean() >= 0.95,
        (smooth <= 1e-7).mean() >= 0.5 and (at["tanh", double][1:] <= 1e-7).mean() <= 0.05,
        (coarse > 1e-2).mean() >= 0.05,
    ]
    held = int(sum(statements))
    verdict = "reproduced" if held == 5 else "partly" if held else "not at this size"
    largest, coarse_median = float(max(smooth.max(), kinked.max())), float(np.median(coarse))
    print(f"right, float64, h = 1e-5: largest error {largest:.0e}", end="; ")
    print(f"float32: median {coarse_median:.1f}; {held} of 5 statements hold: {verdict}")

    both = {d: np.concatenate([found["tanh", d], found["relu", d]], -1) for d in (double, single)}
    right, wrong = both[double][FIXED_STEP, 0], both[double][FIXED_STEP, 1:]
    happy_entry, happy_norm = (float((right[c] > 1e-7).mean()) for c in (0, 1))
    print(f"right gradients above 1e-7: {happy_entry:.0%} by entry, {happy_norm:.0%} by norm")
    rates = dict(zip(BUGS, (wrong > LIMITS).mean(axis=-1), strict=True))
    half_entry = float(rates["float16"][0])
    for bug, refused in rates.items():
        print(f"{bug}:", ", ".join(f"{r} {s:.0%}" for r, s in zip(REFUSES, refused, strict=True)))
    above = dict(zip(BUGS, (wrong[:, :3] > 1e-4).mean(axis=-1), strict=True))
    half_direction = float(above.pop("float16")[2])
    rest_direction = float(np.mean(list(above.values()), axis=0)[2])
    all_entry, all_norm = (float((wrong[:, c] > 1e-4).mean()) for c in (0, 1))

    best = {
        d: np.array([[separation(r[0, c], r[1:, c].ravel()) for r in both[d]] for c in range(3)])
        for d in (double, single)
    }  # (checks, steps)
    single_entry, single_norm, single_direction = map(float, best[single].max(axis=1))
    full = np.flatnonzero(best[double][1] == 1.0)  # steps with a threshold that makes no mistake
    window_low, window_high = (f"{STEPS[i]:.0e}" for i in (full[0], full[-1]))
    kinks_large = float(best[double][1, -2])
    print(f"detection minus false alarms, float64, norm: 100% from {window_low} to {window_high}")
    print(f"float32: at most {single_entry:.0%}, {single_norm:.0%}, {single_direction:.0%}")

    fig, axes = plt.subplots(2, 1, num="errors", figsize=(6.4, 6), sharex=True)
    _draw_errors(axes[0], found["tanh", double][:, :, 0], "float64")
    _draw_errors(axes[1], found["tanh", single][:, :, 0], "float32")
    axes[0].legend(frameon=False, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    axes[1].set_xlabel("step h")
    plt.show()

    fig, ax = plt.subplots(num="detection", figsize=(6.4, 5.2))
    rows = np.arange(len(BUGS))[::-1]
    for i, rule in enumerate(REFUSES):  # beside each other, not on top of each other
        shares = [100 * refused[i] for refused in rates.values()]
        ax.plot(shares, rows + 0.27 - 0.18 * i, "os^D"[i], color=f"C{i}", label=rule)
    ax.set_yticks(rows, BUGS)
    ax.grid(visible=False, axis="y")
    ax.set(xlabel="wrong gradients that are refused (%)", xlim=(-3, 103))
    ax.legend(frameon=False, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    plt.show()

    assert held == 5 and largest < 1e-5 and coarse_median > 0.3
    assert all_entry == 1.0 and all_norm > 0.99 and rest_direction > 0.95 > half_direction
    assert not (right[:3] > 1e-4).any() and not (right > LIMITS).any()  # no false alarm
    assert all(rates[bug][0] == rates[bug][3] == 1.0 for bug in BUGS[:-1]) and half_entry < 0.6
    assert all(max(rates[bug][1:3]) < 0.5 for bug in MILD) and rates["float16"][3] < 0.8
    assert happy_norm == 0.0 < happy_entry < 0.5 and best[single].max() < 0.95
    assert len(full) >= 4 and (np.diff(full) == 1).all() and kinks_large < 0.9
    for values in (*best[double], *best[single]):  # the best step is not at the edge of the grid
        assert values.max() > max(values[0], values[-1])
