"""ReZero starts as the identity too, but its first step grows with the number of blocks.

A block adds s F(h) with a scalar s that starts at 0 (ReZero, SkipInit). Then only the
scalars get a gradient: the product of the output's gradient and F(h), which is the same
for all blocks in law. One step of rate eta changes the output by eta times their squares.
"""

import numpy as np

WIDTH = 32


def first_step(b: int, rng: np.random.Generator) -> tuple[float, float]:
    """Return the predicted and the measured change of the output, divided by the rate."""
    rate = 1e-6
    h = rng.normal(size=WIDTH)
    readout = rng.normal(size=WIDTH) / np.sqrt(WIDTH)
    weights = rng.normal(size=(b, 2, WIDTH, WIDTH)) * np.sqrt(2 / WIDTH)
    grads = [readout @ (np.maximum(np.maximum(h, 0) @ w1, 0) @ w2) for w1, w2 in weights]
    stream = h  # one step on the output itself: s = -rate * gradient
    for (w1, w2), g in zip(weights, grads, strict=True):
        stream = stream - rate * g * (np.maximum(np.maximum(stream, 0) @ w1, 0) @ w2)
    return float(np.sum(np.square(grads))), float((h - stream) @ readout) / rate


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    effects = {b: np.mean([first_step(b, rng) for _ in range(20)], axis=0) for b in (4, 64)}
    growth = float(effects[64][1] / effects[4][1])
    error = max(abs(measured / predicted - 1) for predicted, measured in effects.values())
    print(f"from 4 to 64 blocks the first step's effect grows by {growth:.1f}")
    print(f"sum of squares against the step taken: {error:.1e}")

    assert 8 < growth < 32 and error < 0.01
