"""Where PyTorch's derivative is not the one that was meant, with and without an error.

Shapes: numbers and short vectors. Sources: PyTorch's notes on autograd mechanics (in-place
checks, functions with kinks); Lee et al. (2020) for programs with branches.
"""

from collections.abc import Callable

import numpy as np
import torch


def slope(f: Callable[[torch.Tensor], torch.Tensor], at: float) -> float:
    """Return df/dx at a number, as autograd computes it."""
    x = torch.tensor(at, dtype=torch.float64, requires_grad=True)
    return float(torch.autograd.grad(f(x), x)[0])


def refused(run: Callable[[], object]) -> str:
    """Return the first sentence of the error that run() raises, or nothing."""
    try:
        run()
    except RuntimeError as problem:
        return str(problem).split(".")[0][:96]
    return ""


def branch(x: torch.Tensor) -> torch.Tensor:
    """Return x, with a special case that does not change the value."""
    return torch.zeros_like(x) * x if x == 0 else x


if __name__ == "__main__":
    kinks = {
        "relu": slope(torch.relu, 0.0),
        "abs": slope(torch.abs, 0.0),
        "sqrt": slope(torch.sqrt, 0.0),
        "maximum": slope(lambda x: torch.maximum(x, torch.zeros_like(x)), 0.0),
        "norm": slope(lambda x: torch.stack([x, x]).norm(), 0.0),
        "relu(x) - relu(-x)": slope(lambda x: torch.relu(x) - torch.relu(-x), 0.0),
    }
    print("at 0:", ", ".join(f"{name} {value:g}" for name, value in kinks.items()))
    branch_slope = slope(branch, 0.0)
    print(f"x, written with a branch for x == 0: {branch_slope:g} at 0")

    zero = torch.zeros((), dtype=torch.float64)
    where_naive = slope(lambda x: torch.where(x > 0, x.log(), zero), 0.0)
    where_sqrt = slope(lambda x: torch.where(x > 0, x.sqrt(), zero), 0.0)
    where_safe = slope(lambda x: torch.where(x > 0, torch.where(x > 0, x, 1.0).log(), zero), 0.0)
    print(f"where(x > 0, log(x), 0): slope at 0 {where_naive}; with two where: {where_safe:g}")
    print(f"where(x > 0, sqrt(x), 0): {where_sqrt}")

    x = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = x.exp()
    y.mul_(2.0)  # exp's backward needs its own result
    in_place = refused(y.sum().backward)
    y = (3 * x).mul_(2.0).sum()  # this backward needs no value: allowed
    harmless = float(torch.autograd.grad(y, x)[0][0])
    leaf = refused(lambda: x.mul_(2.0))
    print(f"in place on a saved value: {in_place} ...\nin place on a leaf: {leaf}")

    def detached(how: Callable[[torch.Tensor], torch.Tensor]) -> float:
        """Return the slope of x * how(x) at 3, where how cuts the graph."""
        return slope(lambda x: x * how(x), 3.0)

    by_detach, by_item = detached(torch.Tensor.detach), detached(torch.Tensor.item)
    by_new = detached(lambda x: torch.tensor(x.tolist(), dtype=x.dtype))
    print(f"x * x at 3: {slope(lambda x: x * x, 3.0):g}; one factor cut off: {by_detach:g}")
    through_numpy = refused(lambda: np.asarray(x))
    rounding = slope(torch.round, 0.3)
    nothing_left = refused((x.detach() ** 2).sum().backward)
    print(f"all cut off: {nothing_left}")
    print(f"slope of round: {rounding:g}")
    relu, absolute, root, maximum, norm, line = kinks.values()

    assert relu == absolute == norm == line == branch_slope == where_safe == rounding == 0.0
    assert maximum == 0.5 and root == float("inf") and np.isnan([where_naive, where_sqrt]).all()
    assert "inplace" in in_place and "leaf" in leaf and harmless == 6.0
    assert by_detach == by_item == by_new == 3.0
    assert "numpy" in through_numpy and "does not require grad" in nothing_left
