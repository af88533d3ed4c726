"""PyTorch equals the formulas, except for softplus above 20 and the slope of softsign far out.

Shapes: z is (N, K), x is (N,). float64 unless the text says float32 or float16.
Source: documentation of torch.nn.functional (threshold of softplus: 20).
"""

from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F


def value_and_gradient(
    f: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, weights: torch.Tensor
) -> tuple[np.ndarray, np.ndarray]:
    """Return f(x) and the gradient of sum(weights * f(x)) for x, by autograd."""
    x = x.clone().requires_grad_()
    y = f(x)
    y.backward(weights)
    return y.detach().numpy(), x.grad.numpy()


def softsign_slope_error(x: np.ndarray, dtype: torch.dtype) -> np.ndarray:
    """Return the relative error of PyTorch's softsign slope, (N,), against 1 / (1 + |x|)^2."""
    tensor = torch.tensor(x, dtype=dtype)
    slope = value_and_gradient(F.softsign, tensor, torch.ones_like(tensor))[1]
    exact = (1.0 + tensor.abs().double().numpy()) ** -2
    return slope.astype(np.float64) / exact - 1.0


def _draw_slopes(x: np.ndarray, error: np.ndarray) -> None:
    exact = (1.0 + x) ** -2
    fig, ax = plt.subplots(num="slopes", figsize=(6.4, 4.2), layout="constrained")
    near = np.geomspace(1.0, 24.0, 60)
    ax.loglog(x, exact, "C1-.", lw=2.4)
    ax.loglog(near, 1 / np.cosh(near) ** 2, "C0-", lw=2.0)
    measured = exact * (1.0 + error)
    ax.loglog(x[measured > 0], measured[measured > 0], "C2o", ms=4, mfc="none")
    ax.text(25, 1e-9, "tanh, exact", color="C0")
    ax.text(3e2, 3e-4, "softsign, exact", color="C1")
    ax.text(9e2, 3e-16, "softsign in PyTorch, float32\n(0 where no circle)", color="C2")
    ax.set_xticks([1, 1e2, 1e4, 1e6, 1e8], ["1", "10²", "10⁴", "10⁶", "10⁸"])
    ax.set_yticks([1, 1e-6, 1e-12, 1e-18], ["1", "10⁻⁶", "10⁻¹²", "10⁻¹⁸"])
    ax.minorticks_off()
    ax.set(xlabel="x", ylabel="f′(x)", ylim=(1e-19, 3))
    plt.show()


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    z, g = rng.normal(scale=3.0, size=(5, 7)), rng.normal(size=(5, 7))
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)  # safe here: the logits are small
    s = 1 / (1 + np.exp(-z))
    row_sum = (g * p).sum(axis=1, keepdims=True)
    expected = {
        lambda t: F.softmax(t, dim=1): (p, p * (g - row_sum)),
        lambda t: F.log_softmax(t, dim=1): (np.log(p), g - p * g.sum(axis=1, keepdims=True)),
        F.softplus: (np.log1p(np.exp(z)), g * s),
        F.softsign: (z / (1 + np.abs(z)), g / (1 + np.abs(z)) ** 2),
    }
    gaps = []
    for f, (value, gradient) in expected.items():
        theirs = value_and_gradient(f, torch.tensor(z), torch.tensor(g))
        gaps += [np.abs(theirs[0] - value).max(), np.abs(theirs[1] - gradient).max()]
    largest_difference = float(max(gaps))
    print(f"largest difference, values and gradients: {largest_difference:.0e}")

    above = torch.tensor([20.0, 20.0 + 1e-9], dtype=torch.float64)
    value, slope = value_and_gradient(F.softplus, above, torch.ones(2, dtype=torch.float64))
    jump = float(np.diff(value - above.numpy())[0])
    single = torch.tensor([20.1])
    exact_single = torch.logaddexp(single, torch.zeros(1))
    same_in_float32 = bool(torch.equal(F.softplus(single), exact_single))
    print(f"softplus - x jumps by {jump:.1e} at 20; slope above: {slope[1]}", end="; ")
    print(f"float32 sees it: {not same_in_float32}")

    x = np.geomspace(1.0, 1e9, 73)
    error = softsign_slope_error(x, torch.float32)
    gone = bool((error[x > 2**25] == -1.0).all())
    error_1e6 = float(np.abs(error[(x > 1e6) & (x < 1e7)]).max())
    print(
        f"softsign's slope in float32: off by up to {error_1e6:.0%} for x in 1e6 ... 1e7", end="; "
    )
    print(f"0 beyond 2**25: {gone}")
    half_limit = float(np.log(np.finfo(np.float16).max))
    half = torch.tensor([11.0, 12.0], dtype=torch.float16)
    print(
        "float16: exp(11), exp(12) =", half.exp().tolist(), " softmax", F.softmax(half, 0).tolist()
    )
    many = torch.zeros(70_000, dtype=torch.float16)
    half_lse, half_p = torch.logsumexp(many, 0).item(), F.softmax(many, 0)[0].item()
    print(f"70,000 equal float16 logits: logsumexp {half_lse}, softmax {half_p:.2e}")
    tensor = torch.tensor([[0.5, -1.0], [2.0, 0.0]])
    mask = torch.tensor([[True, True], [False, False]])
    attended = F.scaled_dot_product_attention(tensor, tensor, tensor, attn_mask=mask)
    empty_row = str(attended[1].tolist())
    print("attention of a query that may see no key:", empty_row)
    _draw_slopes(x, error)

    assert largest_difference < 1e-13 and same_in_float32
    assert abs(jump + np.exp(-20.0)) < 1e-10 and slope[1] == 1.0 > slope[0]
    assert error_1e6 > 1e-3 and np.abs(error[x < 100]).max() < 1e-3 and gone
    assert half_lse == np.inf and abs(half_p * 70_000 - 1) < 0.01 and empty_row == "[0.0, 0.0]"
