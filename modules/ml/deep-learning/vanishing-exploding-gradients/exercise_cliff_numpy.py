"""One recurrent unit has a cliff in its loss; a plain step leaps, a clipped one does not.

The unit: h_t = w * sigmoid(h_{t-1}) + b for 50 steps from h_0 = 0.5, with the loss
(sigmoid(h_50) - 0.7)^2. Source of the example: Pascanu, Mikolov and Bengio (2013).
"""

import numpy as np


def loss_and_gradient(w: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return loss and derivatives for w and b, carried forward with the state."""
    h, dw, db = np.full(np.shape(w), 0.5), np.zeros(np.shape(w)), np.zeros(np.shape(w))
    for _ in range(50):
        s = 0.5 * (1 + np.tanh(0.5 * h))
        slope = w * s * (1 - s)
        h, dw, db = w * s + b, s + slope * dw, 1 + slope * db
    s = 0.5 * (1 + np.tanh(0.5 * h))
    factor = 2 * (s - 0.7) * s * (1 - s)
    return (s - 0.7) ** 2, factor * dw, factor * db


if __name__ == "__main__":
    w, b = np.meshgrid(np.linspace(4, 7, 601), np.linspace(-4, -2, 401))
    loss, dw, db = loss_and_gradient(w, b)
    norm = np.hypot(dw, db)
    worst = np.unravel_index(norm.argmax(), norm.shape)
    largest, median = float(norm[worst]), float(np.median(norm))
    lr, threshold = 0.01, 1.0
    plain = lr * largest
    clipped = lr * min(largest, threshold)
    print(f"norm of the gradient on the grid: median {median:.1e}, largest {largest:.0f}")
    print(f"one step of rate {lr} at the cliff: plain {plain:.1f}, clipped {clipped:.2f}")

    point, h = (np.array(5.0), np.array(-2.4)), 1e-6
    _, slope, _ = loss_and_gradient(*point)
    ends = [loss_and_gradient(point[0] + s * h, point[1])[0] for s in (1, -1)]
    error = abs(float((ends[0] - ends[1]) / (2 * h) - slope))
    assert error < 1e-7 and largest > 100 and largest / median > 1000
    assert clipped == lr * threshold
