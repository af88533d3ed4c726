"""Rounding stays rounding at an ordinary learning rate, and grows at one six times as large.

Claim: changing one bit of the initial parameters makes training end in a vastly different
network (Summers and Dinneen, 2021, abstract). Here: float32 training of 64-32-10 networks on
digits, repeated with one bit changed, with the rows of each batch in another order, in
float64, and from other weights. Difference: relative, over all parameters together. What the
large rate makes of a run depends on the processor: the verdict is on the ordinary rate alone.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

SEEDS, HIDDEN, BATCH, EPOCHS = 5, 32, 32, 10
RATES = [0.2, 1.2]  # the page's, and one at which training is unstable
CHANGES = ["one bit", "row order", "float64", "other weights"]
Params = list[np.ndarray]  # w1 (64, 32), b1 (32,), w2 (32, 10), b2 (10,)


def gradients(params: Params, x: np.ndarray, y: np.ndarray) -> Params:
    """Return the gradients of the mean cross-entropy."""
    w1, b1, w2, b2 = params
    h = np.maximum(x @ w1 + b1, 0)
    z = h @ w2 + b2
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    p[np.arange(len(y)), y] -= 1
    p /= len(y)
    delta = (p @ w2.T) * (h > 0)
    return [x.T @ delta, delta.sum(axis=0), h.T @ p, p.sum(axis=0)]


def sharpness(params: Params, x: np.ndarray, y: np.ndarray) -> float:
    """Return the largest absolute eigenvalue of the loss's Hessian, by power iteration."""
    rng, norm, eps = np.random.default_rng(0), 1.0, 1e-6
    u = [rng.normal(size=p.shape) for p in params]
    for _ in range(30):
        norm = float(np.sqrt(sum((d * d).sum() for d in u)))
        u = [d / norm for d in u]
        ahead = gradients([p + eps * d for p, d in zip(params, u, strict=True)], x, y)
        behind = gradients([p - eps * d for p, d in zip(params, u, strict=True)], x, y)
        u = [(a - b) / (2 * eps) for a, b in zip(ahead, behind, strict=True)]  # H u
    return norm


def train(
    data: tuple[np.ndarray, np.ndarray], seed: int, lr: float, change: str
) -> tuple[np.ndarray, Params]:
    """Return the parameters after every step, (T, 2410), and the final ones."""
    dtype = np.float64 if change == "float64" else np.float32
    x, y = data[0].astype(dtype), data[1]
    rng = np.random.default_rng(100 + seed if change == "other weights" else seed)
    w1 = (rng.normal(size=(64, HIDDEN)) * np.sqrt(2 / 64)).astype(np.float32)
    w2 = (rng.normal(size=(HIDDEN, 10)) * np.sqrt(1 / HIDDEN)).astype(np.float32)
    if change == "one bit":  # in an outgoing weight of the unit that is most active
        unit = np.maximum(x @ w1, 0).mean(axis=0).argmax()
        w2.view(np.uint32)[unit, 0] ^= 1  # the last bit of its significand
    w1, w2 = w1.astype(dtype), w2.astype(dtype)
    params = [w1, np.zeros(HIDDEN, dtype), w2, np.zeros(10, dtype)]
    rng, path, rate = np.random.default_rng(1000 + seed), [], dtype(lr)
    for _ in range(EPOCHS):
        order = rng.permutation(len(x))
        for rows in np.split(order, range(BATCH, len(x), BATCH)):
            rows = rows[::-1] if change == "row order" else rows  # the sum is the same on paper
            grads = gradients(params, x[rows], y[rows])
            params = [p - rate * g for p, g in zip(params, grads, strict=True)]
            path.append(np.concatenate([p.ravel() for p in params]))
    return np.array(path, dtype=np.float64), params


def predict(params: Params, x: np.ndarray) -> np.ndarray:
    """Return the predicted classes."""
    w1, b1, w2, b2 = params
    return (np.maximum(x.astype(w1.dtype) @ w1 + b1, 0) @ w2 + b2).argmax(axis=1)


if __name__ == "__main__":
    x, y = load_digits(return_X_y=True)
    x, test_x, y, test_y = train_test_split(x / 16, y, test_size=360, stratify=y, random_state=0)
    distance, changed, errors, steep = {}, {}, {}, {}
    for lr in RATES:
        for seed in range(SEEDS):
            base, params = train((x, y), seed, lr, "")
            before = predict(params, test_x)
            errors.setdefault(lr, []).append(100 * float((before != test_y).mean()))
            for change in CHANGES:
                path, params = train((x, y), seed, lr, change)
                if change == "float64":
                    cuts = np.cumsum([p.size for p in params])[:-1]
                    parts = zip(np.split(path[19], cuts), params, strict=True)
                    after_20 = [v.reshape(p.shape) for v, p in parts]
                    steep.setdefault(lr, []).append(lr * sharpness(after_20, x, y))
                gap = np.linalg.norm(path - base, axis=1) / np.linalg.norm(base, axis=1)
                distance.setdefault((change, lr), []).append(gap)
                count = int((predict(params, test_x) != before).sum())
                changed.setdefault((change, lr), []).append(count)
    cells, vast = {}, {}
    for lr in RATES:
        print(f"learning rate {lr}: median test error {np.median(errors[lr]):.1f} %")
        for change in CHANGES:
            gaps, counts = np.array(distance[change, lr])[:, -1], changed[change, lr]
            cells[change, lr] = f"{np.median(gaps):.0e} (at most {gaps.max():.0e})"
            print(f"  {change:13s} difference {cells[change, lr]}, decisions {counts}")
        pairs = zip(changed["one bit", lr], changed["other weights", lr], strict=True)
        vast[lr] = sum(bit >= max(1, other / 2) for bit, other in pairs)
    calm, edge = RATES
    steep_calm, steep_edge = (float(np.median(steep[lr])) for lr in RATES)
    print(f"rate times largest eigenvalue, step 20: {steep_calm:.2f} and {steep_edge:.2f}")
    verdict = "reproduced" if 2 * vast[calm] > SEEDS else "not at this size"
    print(f"one bit does half as much as other weights in {vast[calm]} and {vast[edge]} of {SEEDS}")
    print(f"runs: {verdict}")
    bit_calm, order_calm, double_calm = (cells[c, calm] for c in CHANGES[:3])
    bit_edge, order_edge, double_edge = (cells[c, edge] for c in CHANGES[:3])
    decisions_calm, decisions_edge = (
        [", ".join(map(str, changed[c, lr])) for c in CHANGES] for lr in RATES
    )
    bits_calm, orders_calm, doubles_calm, others_calm = decisions_calm
    bits_edge, orders_edge, doubles_edge, others_edge = decisions_edge
    vast_calm, vast_edge = vast[calm], vast[edge]

    _, ax = plt.subplots(num="growth", figsize=(5.6, 3.8), layout="constrained")
    steps = np.arange(1, len(distance["float64", calm][0]) + 1)
    for lr, color, style in ((calm, "C0", "-"), (edge, "C1", "--")):
        for seed, gap in enumerate(distance["float64", lr]):
            label = f"learning rate {lr}" if seed == 0 else None
            ax.plot(steps, gap, style, color=color, linewidth=1.2, label=label)
    ax.axhline(np.finfo(np.float32).eps, color="0.5", linestyle=":")
    ax.text(450, 1e-7, "spacing of float32 at 1", ha="right", va="top")
    ax.set(xscale="log", yscale="log", xlabel="training step")
    ax.set_ylabel("float32 against float64")
    ax.legend(frameon=False)
    plt.show()

    largest = {lr: max(g[-1] for c in CHANGES[:3] for g in distance[c, lr]) for lr in RATES}
    largest_calm, largest_edge = (float(largest[lr]) for lr in RATES)
    middle = np.median([g[-1] for c in CHANGES[:3] for g in distance[c, edge]])
    assert largest_calm < 1e-5 and middle > 10 * largest_calm
    assert sum(map(sum, (changed[c, calm] for c in CHANGES[:3]))) <= 2
    assert min(changed["other weights", calm]) >= 1 and max(errors[calm]) < 8
    assert vast[calm] == 0 and max(steep[calm]) < 1 and steep_edge > 2
