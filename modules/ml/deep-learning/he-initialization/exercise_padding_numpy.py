"""Zero padding drains He's signal at the borders: 20 layers lose most of an 8x8 image.

E[h^2] of a pixel is the mean of the pixels in its 3x3 window, where padding counts as 0,
since each of the 9 C weights has variance 2 / (9 C). So the map of E[h^2] is blurred.
"""

import numpy as np

SEEDS = 12


def expected_map(side: int, depth: int, periodic: bool = False) -> np.ndarray:
    """Return E[h^2] by pixel after depth 3x3 layers, padded by zeros or periodically."""
    q = np.ones((side, side))
    for _ in range(depth):
        wide = np.pad(q, 1, mode="wrap" if periodic else "constant")
        shifts = [wide[i : i + side, j : j + side] for i in range(3) for j in range(3)]
        q = np.mean(shifts, axis=0)
    return q


def measured(side: int, depth: int, channels: int, rng: np.random.Generator) -> float:
    """Return the mean of h^2 in a random network with zero padding, from 1."""
    h = rng.normal(size=(side, side, channels))
    for _ in range(depth):
        w = rng.normal(0.0, (2 / (9 * channels)) ** 0.5, size=(9 * channels, channels))
        wide = np.pad(h, ((1, 1), (1, 1), (0, 0)))
        windows = [wide[i : i + side, j : j + side] for i in range(3) for j in range(3)]
        h = np.maximum(np.concatenate(windows, axis=2) @ w, 0)  # (s, s, 9 C) @ (9 C, C)
    return float(np.mean(h**2))


if __name__ == "__main__":
    side, depth = 8, 20
    q = expected_map(side, depth)
    kept, corner, wrapped = q.mean(), q[0, 0], expected_map(side, depth, periodic=True).mean()
    seen = np.mean([measured(side, depth, 48, np.random.default_rng(s)) for s in range(SEEDS)])
    rate = ((1 + 2 * np.cos(np.pi / (side + 1))) / 3) ** 2
    large = expected_map(56, depth).mean()
    print(f"{side}x{side}: {kept:.3f} of E[h^2] is left, {corner:.3f} in a corner")
    print(f"with periodic padding {wrapped:.3f}")
    print(f"in random networks of 48 channels {seen:.2f}; in the long run {rate:.3f} per layer")
    print(f"56x56: {large:.2f} is left")

    assert abs(wrapped - 1) < 1e-12 and 0.1 < kept < 0.3 and large > 0.7
    last_factor = kept / expected_map(side, depth - 1).mean()
    assert abs(last_factor / rate - 1) < 1e-3 and abs(corner - q.min()) < 1e-12
    assert 0.4 < seen / kept < 2.5
