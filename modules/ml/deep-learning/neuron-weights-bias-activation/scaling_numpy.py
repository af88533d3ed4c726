"""Centering the inputs speeds up gradient descent more than scaling does here.

Data: breast-cancer set, mean radius and mean texture. Loss: mean cross-entropy. The
speed of gradient descent near the optimum is ruled by the Hessian's condition number.
Shapes: inputs with a column of ones x (N, D + 1), so theta (D + 1,) holds w and b.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer

CAP = 20_000  # steps
GAP = 1e-3  # how far above the lowest loss counts as arrived, in nats
FACTORS = 2.0 ** np.arange(-1, 6)  # learning rates, in units of 1 / (largest curvature)


def sigmoid(z: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-z)) without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * z))


def with_ones(x: np.ndarray) -> np.ndarray:
    """Return x with a column of ones, whose weight is the bias: (N, D + 1)."""
    return np.column_stack([x, np.ones(len(x))])


def losses(x: np.ndarray, y: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """Return the mean loss of each row of theta (R, D + 1): (R,)."""
    z = theta @ x.T  # (R, D + 1) @ (D + 1, N) -> (R, N)
    return np.mean(np.logaddexp(0.0, z) - y * z, axis=1)


def hessian(x: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """Return the second derivatives of the mean loss for theta, (D + 1, D + 1)."""
    p = sigmoid(x @ theta)
    return (x * (p * (1.0 - p))[:, None]).T @ x / len(x)


def newton(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the optimum: Newton's steps do not depend on the scaling."""
    theta = np.zeros(x.shape[1])
    for _ in range(30):
        grad = (sigmoid(x @ theta) - y) @ x / len(y)
        theta = theta - np.linalg.solve(hessian(x, theta), grad)
    return theta


def descend(
    x: np.ndarray,
    y: np.ndarray,
    rates: np.ndarray,
    lowest: float,
) -> np.ndarray:
    """Return each rate's excess loss after each step, (steps + 1, R), until arrival."""
    theta, history = np.zeros((len(rates), x.shape[1])), []
    for _ in range(CAP + 1):
        history.append(losses(x, y, theta) - lowest)
        if history[-1].min() < GAP:
            break
        delta = (sigmoid(theta @ x.T) - y) / len(y)  # (R, N)
        theta = theta - rates[:, None] * (delta @ x)  # (R, N) @ (N, D + 1)
    return np.array(history)


if __name__ == "__main__":
    data = load_breast_cancer()
    raw, y = data.data[:, :2], (data.target == 0).astype(float)
    inputs = {"raw": raw, "centered": raw - raw.mean(axis=0)}
    inputs["standardized"] = inputs["centered"] / raw.std(axis=0)
    conditions, steps, curves, best_factors, lowest = {}, {}, {}, {}, {}
    for name, x in inputs.items():
        x = with_ones(x)
        theta = newton(x, y)
        lowest[name] = losses(x, y, theta[None])[0]
        conditions[name] = float(np.linalg.cond(hessian(x, theta)))
        largest = np.linalg.eigvalsh(x.T @ x / (4 * len(x)))[-1]  # a bound
        history = descend(x, y, FACTORS / largest, lowest[name])
        best = int(history[-1].argmin())
        best_factors[name], curves[name] = FACTORS[best], history[:, best]
        steps[name] = len(history) - 1
        arrived = history[-1, best] < GAP
        reached = f"{steps[name]} steps" if arrived else f"not in {CAP} steps"
        print(
            f"{name:13s} condition number {conditions[name]:9.0f}",
            end="; within 0.001 nats ",
        )
        print(f"of the lowest loss: {reached}, rate {best_factors[name]:g} / curvature")
    condition_raw, condition_centered = conditions["raw"], conditions["centered"]
    condition_standardized = conditions["standardized"]
    steps_centered, steps_standardized = steps["centered"], steps["standardized"]
    gap_raw = float(curves["raw"][-1])
    print(f"raw inputs: still {gap_raw:.3f} nats above the lowest loss")

    fig, ax = plt.subplots(num="speed", figsize=(5.6, 3.6), layout="constrained")
    for (name, curve), style in zip(curves.items(), ("-", "--", "-."), strict=True):
        shown = np.unique(np.geomspace(1, len(curve) - 1, 100).astype(int))
        ax.loglog(shown, curve[shown], style, lw=2, label=name)
    ax.axhline(GAP, color="0.5", lw=1)
    ax.legend(frameon=False)
    ax.set(xlabel="steps of gradient descent", ylabel="loss above the lowest (nats)")
    plt.show()

    assert max(lowest.values()) - min(lowest.values()) < 1e-9  # the same best neuron
    assert all(FACTORS[0] < factor < FACTORS[-1] for factor in best_factors.values())
    assert condition_raw > 50 * condition_centered > 50 * condition_standardized
    assert np.allclose(inputs["standardized"].std(axis=0), 1)
    assert steps["raw"] == 20_000 and len(FACTORS) == 7  # as the figure's texts say
    assert gap_raw > 10 * GAP and steps_standardized < steps_centered < 500
