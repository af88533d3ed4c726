"""Outside its conditions the theorem promises nothing: four ways to leave them.

Polynomial activation, an input outside the compact set, a jump, noisy values. Shapes:
x (N,), features (N, H). Fits are least squares in the output weights, on a grid.
"""

import numpy as np


def target(x: np.ndarray) -> np.ndarray:
    """Return sin(2 pi x)."""
    return np.sin(2.0 * np.pi * x)


def features(x: np.ndarray, units: int, degree: int | None, rng: np.random.Generator) -> np.ndarray:
    """Return f(w x + b) and a constant, (N, units + 1); f(z) = z^degree, or ReLU if None."""
    w, b = rng.choice([-1.0, 1.0], size=units), rng.uniform(-1.0, 1.0, size=units)
    w = w * rng.uniform(1.0, 2.0, size=units)
    z = x[:, None] * w + b
    f = np.maximum(z, 0.0) if degree is None else z**degree
    return np.column_stack([f, np.ones(len(x))])


def fit_error(
    x: np.ndarray, units: int, degree: int | None, rng: np.random.Generator
) -> tuple[float, int]:
    """Return the root mean square error of the best output weights, and the rank."""
    phi = features(x, units, degree, rng)
    weights, _, rank, _ = np.linalg.lstsq(phi, target(x), rcond=1e-10)
    return float(np.sqrt(np.mean((phi @ weights - target(x)) ** 2))), int(rank)


def polygon(x: np.ndarray, knots: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the ReLU network through the points, also outside their range."""
    slopes = np.diff(values) / np.diff(knots)
    v = np.diff(slopes, prepend=0.0)
    return np.maximum(x[:, None] - knots[:-1], 0.0) @ v + values[0]  # (N, H) @ (H,) -> (N,)


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    x = np.linspace(0.0, 1.0, 1001)
    square = {h: fit_error(x, h, 2, rng) for h in (4, 32, 256)}
    relu = {h: fit_error(x, h, None, rng) for h in (4, 32, 256)}
    for h in square:
        print(
            f"{h:3d} units: z^2 errs {square[h][0]:.4f}, rank {square[h][1]}; ReLU {relu[h][0]:.1e}"
        )
    square_4, square_256, relu_256 = square[4][0], square[256][0], relu[256][0]
    square_rank, features_256 = square[256][1], 256 + 1  # units and a constant

    knots = np.linspace(0.0, 1.0, 129)
    inside = float(np.max(np.abs(polygon(x, knots, target(knots)) - target(x))))
    outside = float(np.max(np.abs(polygon(x + 1, knots, target(knots)) - target(x + 1))))
    print(f"128 units on [0, 1]: {inside:.4f} inside, {outside:.2f} on [1, 2]")

    jump_sup, jump_rms = [], []
    fine = np.linspace(0.0, 1.0, 20_001)
    for h in (8, 64, 512):
        t = np.linspace(0.0, 1.0, h + 1)
        error = polygon(fine, t, (t >= 0.3).astype(float)) - (fine >= 0.3)
        jump_sup.append(float(np.max(np.abs(error))))
        jump_rms.append(float(np.sqrt(np.mean(error**2))))
    print(f"jump: sup errors {np.round(jump_sup, 2)}, root mean squares {np.round(jump_rms, 3)}")

    noise, n = 0.5, 33
    t = np.linspace(0.0, 1.0, n)
    errors = []
    for _ in range(20):
        noisy = target(t) + noise * rng.normal(size=n)
        errors.append(np.sqrt(np.mean((polygon(x, t, noisy) - target(x)) ** 2)))
    training_error = float(np.max(np.abs(polygon(t, t, noisy) - noisy)))
    memorized, constant = float(np.mean(errors)), float(np.sqrt(np.mean(target(x) ** 2)))
    jump_rms_first, jump_rms_last = jump_rms[0], jump_rms[-1]
    print(f"noise {noise}: error {training_error:.0e} at the {n} examples, {memorized:.2f} between")

    assert square_rank == 3 and abs(square_4 - square_256) < 1e-6 and square_256 > 0.3
    assert relu_256 < 0.01 and inside < 1e-3 and outside > 1.0
    assert min(jump_sup) >= 0.5 and jump_rms_last < jump_rms_first / 4
    assert training_error < 1e-12 and 0.6 * noise < memorized < noise < constant
