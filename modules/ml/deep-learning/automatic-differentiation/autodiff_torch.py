"""PyTorch records backward operations while it computes, and offers both modes.

Shapes: f maps x (4,) to y (3,); J is (3, 4). Rows of x are not examples here: x is one
point. Source: PyTorch's notes on autograd mechanics; documentation of torch.func.
"""

import warnings

import numpy as np
import torch
from torch.func import functional_call, grad, jacfwd, jacrev, jvp, vjp
from torch.utils.flop_counter import FlopCounterMode


def recorded(y: torch.Tensor) -> list[str]:
    """Return the names of the backward operations, from y to the leaves."""
    names, todo = [], [y.grad_fn]
    while todo:
        node = todo.pop(0)
        if node is not None and node.name() not in names:
            names.append(node.name())
            todo.extend(parent for parent, _ in node.next_functions)
    return names


if __name__ == "__main__":
    # PyTorch's forward mode itself uses torch.jit.script, which is deprecated
    warnings.filterwarnings("ignore", ".*torch.jit.script", DeprecationWarning)
    rng = np.random.default_rng(0)
    a_numpy, x_numpy = rng.normal(size=(4, 3)), 0.5 * rng.normal(size=4)
    a, x = torch.tensor(a_numpy), torch.tensor(x_numpy)
    v, u = torch.tensor(rng.normal(size=4)), torch.tensor(rng.normal(size=3))

    def f(x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x @ a) * torch.exp(-(x * x).sum())

    y = f(x.clone().requires_grad_())
    names = recorded(y)
    print("recorded:", ", ".join(name.removesuffix("0").split("::")[-1] for name in names))
    print("without a leaf that requires a gradient:", f(x).grad_fn)

    j_v = jvp(f, (x,), (v,))[1]
    u_j = vjp(f, x)[1](u)[0]
    identity_error = float((u @ j_v - u_j @ v).abs())
    by_columns, by_rows = jacfwd(f)(x), jacrev(f)(x)
    z = np.tanh(x_numpy @ a_numpy)
    scale = np.exp(-x_numpy @ x_numpy)
    by_hand = scale * ((1 - z**2)[:, None] * a_numpy.T - 2 * np.outer(z, x_numpy))
    largest_difference = max(
        float(np.abs(j.numpy() - by_hand).max()) for j in (by_columns, by_rows)
    )
    print(f"<u, J v> - <u J, v> = {identity_error:.0e}")
    print(f"jacfwd and jacrev differ from the formula by at most {largest_difference:.0e}")
    one = torch.ones((), dtype=torch.float64)

    def nested(x: torch.Tensor) -> torch.Tensor:
        return x * jvp(lambda y: x + y, (one,), (one,))[1]  # x times d(x + y)/dy

    nested_slope = float(jvp(nested, (one,), (one,))[1])
    print(f"forward mode inside forward mode: slope {nested_slope:g}")

    # H v of a network's loss: forward over reverse, without H
    generator = torch.Generator().manual_seed(0)
    layers = torch.nn.Sequential(torch.nn.Linear(20, 50), torch.nn.Tanh(), torch.nn.Linear(50, 1))
    parameters = {
        name: torch.randn(p.shape, generator=generator) / p.shape[-1] ** 0.5
        for name, p in layers.named_parameters()
    }
    direction = {name: torch.randn(p.shape, generator=generator) for name, p in parameters.items()}
    data = torch.randn(30, 20, generator=generator)

    def loss(parameters: dict[str, torch.Tensor]) -> torch.Tensor:
        return functional_call(layers, parameters, data).square().mean()

    with FlopCounterMode(display=False) as gradient_count:
        grad(loss)(parameters)
    with FlopCounterMode(display=False) as forward_count:
        hessian_v = jvp(grad(loss), (parameters,), (direction,))[1]
    leaves = {name: p.clone().requires_grad_() for name, p in parameters.items()}
    with FlopCounterMode(display=False) as reverse_count:
        gradient = torch.autograd.grad(loss(leaves), list(leaves.values()), create_graph=True)
        along = sum((g * d).sum() for g, d in zip(gradient, direction.values(), strict=True))
        twice_reverse = torch.autograd.grad(along, list(leaves.values()))
    counts = [c.get_total_flops() for c in (gradient_count, forward_count, reverse_count)]
    ratio, ratio_reverse = counts[1] / counts[0], counts[2] / counts[0]
    # by hand, for each example: a gradient has 2 products of 20 x 50 and 3 of 50 x 1, and of
    # A B the derivative needs A B, dA B and A dB; those with d(data) = 0 may be left out
    by_count = ((2 + 2) * 20 * 50 + 9 * 50) / (2 * 20 * 50 + 3 * 50)
    n_parameters = sum(p.numel() for p in parameters.values())
    pairs = list(zip(hessian_v.values(), twice_reverse, strict=True))
    size = max(float(b.abs().max()) for _, b in pairs)
    hvp_difference = max(float((a - b).abs().max()) for a, b in pairs) / size
    print(f"H v for {n_parameters:,} parameters, in matrix products of a gradient:")
    print(f"  forward over reverse {ratio:.2f}, reverse over reverse {ratio_reverse:.2f};")
    print(f"  the results differ by a relative {hvp_difference:.0e}")

    assert identity_error < 1e-14 and largest_difference < 1e-14
    assert "TanhBackward0" in names and f(x).grad_fn is None and nested_slope == 1.0
    assert ratio == 3.0 and ratio_reverse == by_count and hvp_difference < 1e-4
