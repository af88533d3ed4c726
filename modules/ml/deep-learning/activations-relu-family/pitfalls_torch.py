"""Five rectifier bugs and their symptoms: NaN gradients, wrong slopes at 0, a wrong leaky ReLU.

Shapes: every function is elementwise and keeps the shape of x. Warnings do not show these bugs: the
first two have a correct forward pass.
Sources: Kakade and Lee (2018) for the slope at the kink; documentation of torch.nn.AlphaDropout.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F


def elu_naive(x: torch.Tensor) -> torch.Tensor:
    """The bug: exp(x) is computed for positive x too, and 0 * inf is NaN in the backward pass."""
    return torch.where(x > 0, x, torch.exp(x) - 1)


def elu_safe(x: torch.Tensor) -> torch.Tensor:
    """The cure: exp never sees a positive input; expm1 also keeps the digits of a tiny x."""
    return torch.where(x > 0, x, torch.expm1(x.clamp(max=0.0)))


def identity_by_relu(x: torch.Tensor) -> torch.Tensor:
    """Return relu(x) - relu(-x), which is x for every x, with the derivative 1."""
    return F.relu(x) - F.relu(-x)


def leaky_by_maximum(x: torch.Tensor, slope: float) -> torch.Tensor:
    """The bug: max(slope * x, x) is a leaky ReLU only for slopes up to 1."""
    return torch.maximum(slope * x, x)


def derivative(f: Callable[[torch.Tensor], torch.Tensor], at: float) -> float:
    """Return the derivative of f at a point, by autograd."""
    x = torch.tensor(at, requires_grad=True)
    return torch.autograd.grad(f(x), x)[0].item()


if __name__ == "__main__":
    naive, safe = derivative(elu_naive, 100.0), derivative(elu_safe, 100.0)
    print(f"1. ELU'(100): naive {naive}, safe {safe}")

    forms = {
        "relu": F.relu,
        "maximum(x, 0)": lambda x: torch.maximum(x, torch.zeros_like(x)),
        "clamp(min=0)": lambda x: x.clamp(min=0.0),
    }
    slopes = [derivative(f, 0.0) for f in forms.values()]
    print("2. slope at 0:", ", ".join(f"{k} {v}" for k, v in zip(forms, slopes, strict=True)))
    relu_slope, maximum_slope, clamp_slope = slopes
    identity_slope = derivative(identity_by_relu, 0.0)
    print(f"   relu(x) - relu(-x) is x, but its slope at 0 comes out as {identity_slope}")

    by_maximum = leaky_by_maximum(torch.tensor(-1.0), 2.0).item()
    by_library = F.leaky_relu(torch.tensor(-1.0), 2.0).item()
    print(f"3. leaky ReLU with slope 2 at -1: by maximum {by_maximum}, by the library {by_library}")

    torch.manual_seed(0)
    h = F.selu(torch.randn(1_000_000))
    dropped, alpha_dropped = F.dropout(h, 0.5), F.alpha_dropout(h, 0.5, training=True)
    dropout_variance, alpha_dropout_variance = dropped.var().item(), alpha_dropped.var().item()
    alpha_dropout_mean = alpha_dropped.mean().item()
    print(f"4. variance after SELU and dropout of one half: {dropout_variance:.2f}", end=", ")
    print(f"with alpha dropout {alpha_dropout_variance:.2f}")

    y = torch.ones(3, requires_grad=True).exp()  # the backward pass of exp needs its output
    try:
        F.relu(y, inplace=True).sum().backward()
        inplace_error = ""
    except RuntimeError as error:
        inplace_error = str(error).split(":")[0]
    print(f"5. in-place ReLU after exp: {inplace_error}")

    assert naive != naive and safe == 1.0  # only NaN differs from itself
    assert (relu_slope, maximum_slope, clamp_slope, identity_slope) == (0.0, 0.5, 1.0, 0.0)
    assert (by_maximum, by_library) == (-1.0, -2.0)
    assert abs(dropout_variance - 2.0) < 0.05 and abs(alpha_dropout_variance - 1.0) < 0.05
    assert "inplace" in inplace_error
