"""nn.Linear takes rows but stores its weight, and the weight's gradient, as columns do.

Rows:    x (N, D_in), w (D_in, D_out), b (D_out,),   z = x @ w + b.
Columns: x (D_in, N), w (D_out, D_in), b (D_out, 1), z = w @ x + b.
nn.Linear(D_in, D_out): weight (D_out, D_in), bias (D_out,), z = x @ weight.T + bias.
Loss: the mean over N examples of half the squared error. All of it in float64.
"""

import torch
from torch import Tensor, nn

Grads = dict[str, Tensor]


def loss_of(z: Tensor, y: Tensor, examples: int) -> Tensor:
    """Return half the squared error, summed over units and averaged over examples."""
    return (z - y).square().sum() / (2 * examples)


def rows(x: Tensor, y: Tensor, w: Tensor, b: Tensor) -> Grads:
    """Return what autograd gives for X, W and b in the row layout."""
    x, w, b = leaves = [t.clone().requires_grad_() for t in (x, w, b)]
    loss_of(x @ w + b, y, examples=x.shape[0]).backward()
    return {name: t.grad for name, t in zip("XWb", leaves, strict=True)}


def columns(x: Tensor, y: Tensor, w: Tensor, b: Tensor) -> Grads:
    """Return what autograd gives for X, W and b in the column layout."""
    x, w, b = leaves = [t.clone().requires_grad_() for t in (x, w, b)]
    loss_of(w @ x + b, y, examples=x.shape[1]).backward()
    return {name: t.grad for name, t in zip("XWb", leaves, strict=True)}


def module(x: Tensor, y: Tensor, w: Tensor, b: Tensor) -> Grads:
    """Return what nn.Linear gives for the same layer, all arguments as for rows."""
    layer = nn.Linear(*w.shape, dtype=w.dtype)
    with torch.no_grad():
        layer.weight.copy_(w.T)
        layer.bias.copy_(b)
    x = x.clone().requires_grad_()
    loss_of(layer(x), y, examples=x.shape[0]).backward()
    return {"X": x.grad, "W": layer.weight.grad, "b": layer.bias.grad}


def largest_difference(a: Grads, b: Grads) -> float:
    """Return the largest absolute difference of the arrays of a and b, name by name."""
    assert all(a[name].shape == b[name].shape for name in a)
    return max(float((a[name] - b[name]).abs().max()) for name in a)


if __name__ == "__main__":
    generator = torch.Generator().manual_seed(0)
    n, d_in, d_out = 5, 4, 3
    sizes = [(n, d_in), (n, d_out), (d_in, d_out), (d_out,)]
    given = [torch.randn(s, generator=generator, dtype=torch.float64) for s in sizes]
    x, y, w, b = given
    in_rows, in_module = rows(x, y, w, b), module(x, y, w, b)
    in_columns = columns(x.T, y.T, w.T, b[:, None])
    print("gradient for  rows    columns  nn.Linear")
    for name in "XWb":
        shapes = [tuple(g[name].shape) for g in (in_rows, in_columns, in_module)]
        print(f"{name:12}  {shapes[0]!s:6}  {shapes[1]!s:7}  {shapes[2]}")

    delta = (x @ w + b - y) / n  # (N, D_out)
    formulas = {"X": delta @ w.T, "W": x.T @ delta, "b": delta.sum(dim=0)}
    as_rows = {name: grad.T for name, grad in in_columns.items()}
    as_rows["b"] = as_rows["b"][0]  # (1, D_out) -> (D_out,)
    mixed = {"X": in_rows["X"], "W": in_columns["W"], "b": in_rows["b"]}
    formula_error = largest_difference(in_rows, formulas)
    transpose_error = largest_difference(in_rows, as_rows)
    module_error = largest_difference(in_module, mixed)
    print(f"rows: autograd against the formulas   {formula_error:.1g}")
    print(f"columns, transposed, against rows     {transpose_error:.1g}")
    print(f"nn.Linear: W of columns, rest of rows {module_error:.1g}")

    assert max(formula_error, transpose_error, module_error) < 1e-14
