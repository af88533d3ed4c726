"""McCulloch-Pitts neurons and the perceptron doubles its input, and its slope is two everywhere.

Shapes: x is (N,). Replace this by what the page shows.
"""

import matplotlib.pyplot as plt
import numpy as np


def perceptron(x: np.ndarray) -> np.ndarray:
    """y = 2x for x (N,)."""
    return 2.0 * x


if __name__ == "__main__":
    x = np.linspace(-1.0, 1.0, 5)
    h = 1e-5
    numeric_slope = ((perceptron(x + h) - perceptron(x - h)) / (2 * h)).mean()
    print(f"slope by central differences: {numeric_slope:.6f}")

    fig, ax = plt.subplots(num="idea", figsize=(6.4, 3.6))
    ax.plot(x, perceptron(x))
    ax.set(xlabel="x", ylabel="y")
    plt.show()

    assert np.allclose(numeric_slope, 2.0)
