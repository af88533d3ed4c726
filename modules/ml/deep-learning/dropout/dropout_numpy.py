"""Inverted dropout keeps the mean of every unit, adds variance, and is the identity in evaluation.

Shapes: x, mask, out and grad_output all have the same shape, for example (N, D), a row per example.
Convention: p is the probability of DROPPING a unit, as in torch.nn.Dropout, and the survivors are
scaled by 1 / (1 - p) in training. Srivastava et al. (2014) call the probability of KEEPING a unit p
and scale at test time (Section 4); their Section 10 mentions the form that is used here.
"""

import matplotlib.pyplot as plt
import numpy as np


def dropout_forward(
    x: np.ndarray, p: float, rng: np.random.Generator, training: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Return out = x * mask and the mask, both with the shape and the dtype of x.

    In training an entry of mask is 0 with probability p, else 1 / (1 - p). In evaluation it is 1.
    Raises ValueError for p outside [0, 1] and TypeError for an x that is not floating point.
    """
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"p must be between 0 and 1, got {p}")
    if not np.issubdtype(x.dtype, np.floating):
        raise TypeError(f"x must be floating point, got {x.dtype}")
    if training:
        keep = rng.random(x.shape) >= p  # draws lie in [0, 1): p = 0 keeps all, p = 1 drops all
        scale = 1.0 / (1.0 - p) if p < 1.0 else 0.0  # avoids 0 * inf = NaN at p = 1
        mask = (keep * scale).astype(x.dtype)
    else:
        mask = np.ones_like(x)
    return x * mask, mask


def dropout_backward(grad_output: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the gradient for x: grad_output times the forward mask, all of one shape."""
    return grad_output * mask


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    p, passes = 0.4, 2000
    x = rng.uniform(0.2, 2.0, size=12)  # the activations of twelve units

    outs = np.stack([dropout_forward(x, p, rng)[0] for _ in range(passes)])  # (passes, D)
    keep_rate = float(np.mean(outs != 0.0))
    largest_mean_error = float(np.max(np.abs(outs.mean(axis=0) / x - 1.0)))
    mean_variance_ratio = float(np.mean(outs.var(axis=0) / x**2))
    print(f"share of units kept         {keep_rate:.3f}   (1-p = {1 - p:.3f})")
    print(f"mean over passes / x        off by at most {largest_mean_error:.3f}")
    print(f"variance over passes / x^2  {mean_variance_ratio:.3f}   (p/(1-p) = {p / (1 - p):.3f})")

    # The same seed gives the same mask: only then can finite differences see the gradient.
    weights = rng.normal(size=x.shape)

    def loss(values: np.ndarray) -> float:
        return float(weights @ np.tanh(dropout_forward(values, p, np.random.default_rng(1))[0]))

    out, mask = dropout_forward(x, p, np.random.default_rng(1))
    grad_x = dropout_backward(weights * (1.0 - np.tanh(out) ** 2), mask)
    steps = 1e-5 * np.eye(x.size)
    numeric = np.array([(loss(x + step) - loss(x - step)) / 2e-5 for step in steps])
    gradient_error = float(np.max(np.abs(grad_x - numeric)))
    print(f"gradient against finite differences: largest difference {gradient_error:.1e}")

    units = np.arange(1, x.size + 1)
    kept = mask > 0
    fig, (top, bottom) = plt.subplots(
        2, 1, num="activations", layout="constrained", figsize=(6.4, 4.8), sharex=True
    )
    top.vlines(units, x, out, color="0.5", lw=1)
    top.plot(units, x, "o", mfc="none", ms=8, color="0.5", label="evaluation")
    top.plot(units[kept], out[kept], "o", color="C0", label=f"kept, times {1 / (1 - p):.2f}")
    top.plot(units[~kept], out[~kept], "x", ms=8, mew=2, color="C1", label="dropped")
    bottom.plot(units, x, "o", mfc="none", ms=10, color="0.5", label="evaluation")
    bottom.errorbar(
        units, outs.mean(axis=0), outs.std(axis=0), fmt="o", ms=4, color="C2", label="mean ± std"
    )
    top.set_ylabel("activation\n(one pass)")
    bottom.set_ylabel(f"activation\n({passes} passes)")
    bottom.set_xlabel("unit")
    bottom.set_xticks(units)
    top.set_ylim(-0.3, 5.2)
    bottom.set_ylim(-0.3, 5.2)
    top.legend(ncols=3, loc="upper center", frameon=False)
    bottom.legend(ncols=2, loc="upper center", frameon=False)
    plt.show()

    assert abs(keep_rate - (1 - p)) < 5 * np.sqrt(p * (1 - p) / outs.size)
    standard_error = np.sqrt(p / (1 - p) / passes)  # of the mean over passes, relative to x
    assert largest_mean_error < 5 * standard_error
    assert abs(mean_variance_ratio - p / (1 - p)) < 0.05
    assert set(np.unique(mask)) == {0.0, 1 / (1 - p)}
    assert gradient_error < 1e-9
    assert np.array_equal(dropout_forward(x, p, rng, training=False)[0], x)
    assert np.array_equal(dropout_forward(x, 0.0, rng)[0], x)
    assert np.array_equal(dropout_forward(x, 1.0, rng)[0], np.zeros_like(x))
