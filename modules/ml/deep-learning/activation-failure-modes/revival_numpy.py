"""A dead unit's own parameters do not move; it revives only where its inputs still do.

Network: x (N, 2) -> 16 ReLU -> 16 ReLU -> 1, full-batch gradient descent on half the mean squared
error, no momentum, 6 seeds. Before training, biases are lowered so that 4 units in each hidden
layer are dead: their largest pre-activation over the data is -0.02, -0.05, -0.1 and -1.
"""

import matplotlib.pyplot as plt
import numpy as np

MARGINS = np.array([0.02, 0.05, 0.1, 1.0])
WIDTH, STEPS, RATE, SEEDS = 16, 300, 0.2, 6


def make_network(x: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Return [w1, b1, w2, b2, w3, b3] with the first 4 units of both hidden layers dead on x."""
    params, h = [], x
    for k in (WIDTH, WIDTH):
        w = rng.normal(size=(h.shape[1], k)) * np.sqrt(2 / h.shape[1])
        z, b = h @ w, np.zeros(k)
        b[:4] = -MARGINS - z[:, :4].max(axis=0)
        params += [w, b]
        h = np.maximum(z + b, 0)
    return [*params, rng.normal(size=(WIDTH, 1)) / np.sqrt(WIDTH), np.zeros(1)]


def gradients(
    x: np.ndarray, y: np.ndarray, params: list[np.ndarray]
) -> tuple[float, list[np.ndarray], list[np.ndarray]]:
    """Return the loss, the gradients of all parameters, and z1, z2 of shape (N, K)."""
    w1, b1, w2, b2, w3, b3 = params
    z1 = x @ w1 + b1  # (N, 2) @ (2, K) -> (N, K)
    h1 = np.maximum(z1, 0)
    z2 = h1 @ w2 + b2
    h2 = np.maximum(z2, 0)
    residual = h2 @ w3 + b3 - y  # (N, 1)
    delta3 = residual / len(x)
    delta2 = (delta3 @ w3.T) * (z2 > 0)  # (N, 1) @ (1, K) -> (N, K)
    delta1 = (delta2 @ w2.T) * (z1 > 0)
    grads = []
    for a, delta in ((x, delta1), (h1, delta2), (h2, delta3)):
        grads += [a.T @ delta, delta.sum(axis=0)]
    return float(0.5 * np.mean(residual**2)), grads, [z1, z2]


def drift_after_death(velocity: float, rate: float, momentum: float) -> float:
    """Return how far a parameter still moves once its gradient is zero for good."""
    return -rate * momentum / (1 - momentum) * velocity


def train(seed: int) -> tuple[float, np.ndarray, bool]:
    """Return the final loss, the largest z of the 4 + 4 units, (STEPS, 2, 4), and whether they
    kept still while dead: zero gradient, parameters equal bit for bit to those at the start."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, size=(200, 2))
    y = np.sin(3 * x[:, :1]) * x[:, 1:]
    params = make_network(x, rng)
    start = [p.copy() for p in params]
    highest, silent = np.empty((STEPS, 2, 4)), True
    for step in range(STEPS):
        loss, grads, z = gradients(x, y, params)
        highest[step] = [zl[:, :4].max(axis=0) for zl in z]
        dead_so_far = highest[: step + 1].max(axis=0) <= 0  # (2, 4)
        for i in range(4):  # w1, b1, w2, b2
            units = np.flatnonzero(dead_so_far[i // 2])
            silent &= not grads[i][..., units].any()
            silent &= np.array_equal(params[i][..., units], start[i][..., units])
        for p, g in zip(params, grads, strict=True):
            p -= RATE * g
    return loss, highest, silent


if __name__ == "__main__":
    runs = [train(seed) for seed in range(SEEDS)]
    losses, heights, silences = zip(*runs, strict=True)
    silent = all(silences)
    revived = sum((h > 0).any(axis=0).sum(axis=1) for h in heights)
    revived_first, revived_second, total = int(revived[0]), int(revived[1]), 4 * SEEDS
    deep = sum(int((h[:, 1, 3] > 0).any()) for h in heights)  # the margin of 1
    print(f"final loss: {min(losses):.4f} to {max(losses):.4f}")
    again = sum(int(((h > 0).any(axis=0) & (h[-1] <= 0))[1].sum()) for h in heights)
    print(f"of {total} dead units per layer revived: first {revived_first}", end=", ")
    print(f"second {revived_second}, of which {deep} from a margin of 1, {again} dead again")
    print(f"parameters unchanged, bit for bit, while dead: {silent}")

    # momentum: the step that killed a unit is followed by smaller ones in the same direction
    v, b, momentum = 1.0, 0.0, 0.9
    for _ in range(500):
        v *= momentum  # the gradient is zero
        b -= RATE * v
    drift = drift_after_death(1.0, RATE, momentum)
    drift_in_steps = momentum / (1 - momentum)
    print(f"with momentum {momentum} a bias drifts by {b:.3f} more; formula {drift:.3f}")

    fig, ax = plt.subplots(num="revival", figsize=(6.4, 3.8))
    shown = heights[1]
    ax.plot(shown[:, 1, :3], "-", color="C0")
    ax.plot(shown[:, 0, :3], "--", color="C1")
    ax.axhline(0, color="0.5", lw=1)
    ax.text(STEPS * 0.98, 0.04, "alive above 0", ha="right")
    ax.text(STEPS * 0.98, -0.094, "first layer", color="C1", ha="right")
    ax.text(STEPS * 0.36, 0.1, "second layer", color="C0")
    ax.set(xlabel="step", ylabel="largest z over the data")
    plt.show()

    assert silent and revived_first == 0 and 3 <= revived_second < total
    assert abs(drift_in_steps + drift / RATE) < 1e-9  # for a velocity of 1
    assert max(losses) < 0.03 and abs(drift - b) < 1e-9
