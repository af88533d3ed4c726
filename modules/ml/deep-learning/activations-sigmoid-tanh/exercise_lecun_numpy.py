"""LeCun's 1.7159 tanh(2x/3): two of its three properties hold to four digits, one roughly.

Shapes: z is (M,). Also the price of positive inputs: to move weights by w with steps along positive
vectors whose entries lie between low and high, the path is longer than w itself.
"""

import numpy as np


def scaled_tanh(x: np.ndarray) -> np.ndarray:
    """Return 1.7159 * tanh(2 * x / 3)."""
    return 1.7159 * np.tanh(2 * x / 3)


def second_derivative(x: np.ndarray) -> np.ndarray:
    """Return the second derivative of scaled_tanh: -2 * A * S**2 * t * (1 - t**2)."""
    t = np.tanh(2 * x / 3)
    return -2 * 1.7159 * (2 / 3) ** 2 * t * (1 - t**2)


def detour(low: float, high: float) -> float:
    """Return the shortest path from 0 to (1, -1), per distance, by steps +-(u, v) in the range."""
    # Progress per length along (1, -1) / sqrt(2) is (u - v) / (sqrt(2) * |(u, v)|): largest at
    # u = high, v = low; then back along the same kind of step with u = low, v = high.
    return float(np.sqrt(2) * np.hypot(high, low) / (high - low))


if __name__ == "__main__":
    at_one = float(scaled_tanh(np.array(1.0)))
    z = np.linspace(0.0, 3.0, 300_001)
    bend = float(z[np.argmax(np.abs(second_derivative(z)))])
    slope_at_0 = float((scaled_tanh(np.array(1e-6)) - scaled_tanh(np.array(-1e-6))) / 2e-6)
    u = np.linspace(-10.0, 10.0, 20_001)
    density = np.exp(-(u**2) / 2) / np.sqrt(2 * np.pi)
    second_moment = float(np.trapezoid(scaled_tanh(u) ** 2 * density, u))
    tanh_moment = float(np.trapezoid(np.tanh(u) ** 2 * density, u))
    print(f"f(1) = {at_one:.5f}, strongest bend at {bend:.4f}, slope at 0 {slope_at_0:.3f}")
    print(f"E[f(z)^2] for standard normal z: {second_moment:.3f}, for tanh {tanh_moment:.3f}")

    detour_near, detour_wide = detour(0.4, 0.6), detour(0.0, 1.0)
    print(f"detour to (1, -1): activations in [0.4, 0.6] {detour_near:.2f}", end=", ")
    print(f"in [0, 1] {detour_wide:.2f}")

    h = 1e-4
    numeric = (scaled_tanh(z + h) - 2 * scaled_tanh(z) + scaled_tanh(z - h)) / h**2
    assert np.max(np.abs(numeric - second_derivative(z))) < 1e-6
    assert abs(at_one - 1) < 1e-4 and 0.98 < bend < 0.99
    assert abs(slope_at_0 - 1.7159 * 2 / 3) < 1e-6
    sample = np.random.default_rng(0).normal(size=200_000)
    assert abs(second_moment - np.mean(scaled_tanh(sample) ** 2)) < 0.01
    assert abs(tanh_moment - np.mean(np.tanh(sample) ** 2)) < 0.01
    steps = np.array([[0.6, 0.4], [-0.4, -0.6]])  # their multiples add up to (1, -1)
    lengths = np.linalg.solve(steps.T, np.array([1.0, -1.0]))
    path = float(lengths @ np.linalg.norm(steps, axis=1))
    assert abs(path / np.sqrt(2) - detour_near) < 1e-12
