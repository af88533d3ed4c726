"""Softmax, log-sum-exp and log-softmax: no NaN for finite logits, and no matrix in the gradient.

Shapes: z and p are (..., K), the last axis is one distribution; keep is boolean, shaped like z.
The temperature T divides the logits. Convention: a row with nothing to keep gets probabilities 0.
Source of the shift: Blanchard, Higham and Higham (2021).
"""

import matplotlib.pyplot as plt
import numpy as np


def _shift(z: np.ndarray) -> np.ndarray:
    """Return z minus its row maximum: at most 0, and 0 at least once."""
    with np.errstate(over="ignore"):  # 1e308 - (-1e308): -inf is right, its exponential is 0
        return z - z.max(axis=-1, keepdims=True)


def softmax(z: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Return exp(z / T) / sum(exp(z / T)), shaped like z."""
    with np.errstate(over="ignore"):
        e = np.exp(_shift(z) / temperature)  # shift first: z / T might overflow upwards
    return e / e.sum(axis=-1, keepdims=True)


def log_sum_exp(z: np.ndarray) -> np.ndarray:
    """Return log(sum(exp(z))), (...,): the gradient is softmax(z)."""
    return z.max(axis=-1) + np.log(np.exp(_shift(z)).sum(axis=-1))


def log_softmax(z: np.ndarray) -> np.ndarray:
    """Return log(softmax(z)) without ever forming softmax(z)."""
    shifted = _shift(z)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def softmax_jacobian(p: np.ndarray) -> np.ndarray:
    """Return dp_i / dz_j, (K, K), for one row p (K,): to look at, not to compute with."""
    return np.diag(p) - np.outer(p, p)


def softmax_backward(grad_output: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Return the gradient for z from that for p: grad_output @ J in O(K)."""
    return p * (grad_output - (grad_output * p).sum(axis=-1, keepdims=True))


def log_softmax_backward(grad_output: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Return the gradient for z from that for log p."""
    return grad_output - p * grad_output.sum(axis=-1, keepdims=True)


def masked_softmax(z: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """Return the softmax over the kept entries, 0 elsewhere."""
    largest = np.where(keep, z, -np.inf).max(axis=-1, keepdims=True)
    largest = np.where(np.isfinite(largest), largest, 0.0)  # nothing kept: no -inf - (-inf)
    e = np.exp(np.where(keep, z, -np.inf) - largest)
    total = e.sum(axis=-1, keepdims=True)
    return e / np.where(total > 0.0, total, 1.0)


def entropy(p: np.ndarray) -> np.ndarray:
    """Return -sum(p * log(p)), (...,), in nats; 0 * log(0) counts as 0."""
    return -(p * np.log(np.where(p > 0.0, p, 1.0))).sum(axis=-1)


def _label(axis: plt.Axes, labels: list[tuple[float, float, str]]) -> None:
    for k, (x, y, text) in enumerate(labels):
        axis.text(x, y, text, color=f"C{k}", fontsize=12)


def _draw_row() -> None:
    x = np.linspace(-5.0, 5.0, 201)  # the first logit; the others are 0 and -1
    p = softmax(np.stack([x, np.zeros_like(x), np.full_like(x, -1.0)], axis=1))
    column = p * (np.array([1.0, 0.0, 0.0]) - p[:, :1])  # dp_k / dz_1
    fig, (top, bottom) = plt.subplots(
        2,
        1,
        num="row",
        figsize=(6.4, 5.4),
        sharex=True,
        height_ratios=[1.1, 0.6],  # to the same scale
        layout="constrained",
    )
    for k, style in enumerate(["-", "--", ":"]):
        top.plot(x, p[:, k], f"C{k}{style}", lw=2.2)
        bottom.plot(x, column[:, k], f"C{k}{style}", lw=2.2)
    _label(top, [(3.2, 0.87, "p₁"), (-3.5, 0.76, "p₂"), (-3.5, 0.31, "p₃")])
    _label(bottom, [(1.5, 0.2, "p₁"), (1.8, -0.17, "p₂"), (-2.0, -0.13, "p₃")])
    bottom.axhline(0.0, color="0.5", lw=0.8)
    top.set(ylabel="probability", ylim=(-0.05, 1.05))
    bottom.set(xlabel="logit z₁ (z₂ = 0, z₃ = -1)", ylabel="slope in z₁", ylim=(-0.3, 0.3))
    plt.show()


def _draw_temperature(z: np.ndarray) -> None:
    t = np.geomspace(0.05, 50.0, 121)
    p = np.stack([softmax(z, each) for each in t])
    fig, (top, bottom) = plt.subplots(
        2,
        1,
        num="temperature",
        figsize=(6.4, 5.0),
        sharex=True,
        height_ratios=[2, 1],
        layout="constrained",
    )
    for k, style in enumerate(["-", "--", "-.", ":"]):
        top.semilogx(t, p[:, k], f"C{k}{style}", lw=2.2, label=f"logit {z[k]:g}")
    bottom.semilogx(t, entropy(p), "C4-", lw=2.2)
    bottom.axhline(np.log(4), color="0.5", lw=0.8, ls="--")
    bottom.text(0.06, np.log(4) - 0.3, "log 4")
    top.legend(frameon=False)
    top.set(ylabel="probability", ylim=(-0.03, 1.05))
    bottom.set_xticks([0.1, 1.0, 10.0], ["0.1", "1", "10"])
    bottom.set(xlabel="temperature T", ylabel="entropy (nats)", ylim=(-0.1, 1.55))
    plt.show()


if __name__ == "__main__":
    z, h = np.array([2.0, 1.0, 0.5, -1.0]), 1e-6
    p, steps = softmax(z), h * np.eye(4)
    jacobian = softmax_jacobian(p)
    numeric = np.stack([(softmax(z + s) - softmax(z - s)) / (2 * h) for s in steps], axis=1)
    lse_slope = np.array([log_sum_exp(z + s) - log_sum_exp(z - s) for s in steps]) / (2 * h)
    gradient_error = float(max(np.abs(numeric - jacobian).max(), np.abs(lse_slope - p).max()))
    eigenvalues, rank = np.linalg.eigvalsh(jacobian)[::-1], int(np.linalg.matrix_rank(jacobian))
    largest_eigenvalue, gershgorin = float(eigenvalues[0]), float((2 * p * (1 - p)).max())
    g = np.random.default_rng(0).normal(size=4)
    backward_error = float(np.abs(softmax_backward(g, p) - g @ jacobian).max())
    print("p          ", p.round(3), " sum", p.sum().round(12))
    print("eigenvalues", eigenvalues.round(3), " rank", rank, "of 4")
    print(f"errors: derivatives {gradient_error:.0e}, backward pass {backward_error:.0e}")

    t, ht = 1.5, 1e-5
    variance = softmax(z, t) @ z**2 - (softmax(z, t) @ z) ** 2
    entropy_slope = (entropy(softmax(z, t + ht)) - entropy(softmax(z, t - ht))) / (2 * ht)
    print(f"dH/dT at T = {t}: {entropy_slope:.6f}, Var[z] / T^3: {variance / t**3:.6f}")
    masked = masked_softmax(np.stack([z, z]), np.array([[True, True, False, False], [False] * 4]))
    print("masked rows", masked[0].round(3), masked[1])
    far = log_softmax(np.array([1000.0, 0.0]))
    print("softmax, log-softmax of (1000, 0):", softmax(np.array([1000.0, 0.0])), far)

    _draw_row()
    _draw_temperature(z)

    assert gradient_error < 1e-9 and backward_error < 1e-14 and rank == 3
    assert np.abs(jacobian.sum(axis=0)).max() < 1e-14 and largest_eigenvalue < gershgorin <= 0.5
    assert (np.sort(p)[::-1] > eigenvalues - 1e-12).all()  # interlacing
    assert (np.sort(p)[::-1][1:] < eigenvalues[:-1] + 1e-12).all()
    assert abs(entropy_slope - variance / t**3) < 1e-8
    assert z.max() < log_sum_exp(z) < z.max() + np.log(4)
    assert np.allclose(softmax(z + 100.0), p, rtol=1e-12) and far[1] == -1000.0
    assert np.allclose(softmax(z, 1e-300), [1, 0, 0, 0]) and np.allclose(softmax(z, 1e9), 0.25)
    assert not masked[1].any() and np.allclose(masked[0, :2], softmax(z[:2]))
