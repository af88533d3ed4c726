"""Gradients make two hidden units discover mirror symmetry, in more than one way.

Claim (Rumelhart, Hinton and Williams 1986, Figure 1): a network with 6 inputs, 2 hidden units and 1
output learns to tell the 8 symmetric patterns from the 56 others. In each hidden unit, weights at
mirrored inputs are equal in size and opposite in sign; on each side they have the ratio 1:2:4.
Shapes: R independent runs side by side; x is (64, 6), w1 (R, 6, H), w2 (R, H, 1), outputs (R, 64, 1).
Settings of the paper: sigmoid units, E = half the summed squared error, all 64 patterns per step,
step 0.1, momentum 0.9, initial weights uniform in [-0.3, 0.3] (Equations 2, 3 and 9, Figure 1).
"""

from itertools import product

import matplotlib.pyplot as plt
import numpy as np

RUNS, SWEEPS, MOMENTUM = 60, 5000, 0.9
HIDDEN, STEP_SIZES = (2, 4, 8), (0.1, 0.03)


def sigmoid(z: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-z)) without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * z))


def gradients(
    x: np.ndarray, targets: np.ndarray, params: list[np.ndarray]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the outputs (R, 64, 1), and the gradients of E for params = [w1, b1, w2, b2]."""
    w1, b1, w2, b2 = params
    h = sigmoid(x @ w1 + b1)  # (64, 6) @ (R, 6, H) -> (R, 64, H)
    y = sigmoid(h @ w2 + b2)  # (R, 64, H) @ (R, H, 1) -> (R, 64, 1)
    delta2 = (y - targets) * y * (1 - y)
    delta1 = delta2 @ w2.swapaxes(1, 2) * h * (1 - h)  # (R, 64, 1) @ (R, 1, H) -> (R, 64, H)
    grad_w2 = h.swapaxes(1, 2) @ delta2
    return y, [x.T @ delta1, delta1.sum(1, keepdims=True), grad_w2, delta2.sum(1, keepdims=True)]


def train(
    x: np.ndarray, targets: np.ndarray, hidden: int, step: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return w1 (R, 6, H), the outputs, and the sweep that first had all 64 right (or -1)."""
    rng = np.random.default_rng(0)  # the same initial weights for every step size
    shapes = [(6, hidden), (1, hidden), (hidden, 1), (1, 1)]
    params = [rng.uniform(-0.3, 0.3, size=(RUNS, *shape)) for shape in shapes]
    velocities = [np.zeros_like(p) for p in params]
    first = np.full(RUNS, -1)
    for sweep in range(SWEEPS):
        y, grads = gradients(x, targets, params)
        right = ((y > 0.5) == (targets > 0.5)).all(axis=(1, 2))
        first[(first < 0) & right] = sweep
        for p, v, g in zip(params, velocities, grads, strict=True):
            v *= MOMENTUM
            v -= step * g
            p += v
    return params[0], y, first


if __name__ == "__main__":
    x = np.array(list(product([0.0, 1.0], repeat=6)))  # (64, 6)
    targets = np.all(x == x[:, ::-1], axis=1).astype(float)[:, None]  # (64, 1)
    solved = {}
    for hidden in HIDDEN:
        for step in STEP_SIZES:
            w1, y, first = train(x, targets, hidden, step)
            right = ((y > 0.5) == (targets > 0.5)).all(axis=(1, 2))
            solved[hidden, step] = (w1, y, first, right)
            errors=0.5*((y-targets)**2).sum((1,2))
            print(hidden, step, right.sum(), np.median(first[first>=0]), errors[~right].min() if (~right).any() else '', errors[~right].max() if (~right).any() else '')
            if hidden==2:
                w=w1[right].swapaxes(1,2)
                print('mirror',np.max(np.linalg.norm(w+w[...,::-1],axis=-1)/np.linalg.norm(w,axis=-1)))
                print('opp',np.max(np.linalg.norm(w[:,0]+w[:,1],axis=-1)/np.linalg.norm(w[:,0],axis=-1)))
                m=np.sort(abs(w[...,:3]),axis=-1); r=m/m[...,:1]
                u,c=np.unique(r[:,0,1:].round(1),axis=0,return_counts=True); print(u.tolist(),c)
