"""Six bugs around softmax and softplus, most of them silent, with their symptoms.

Shapes: rows of logits are (K,) or (N, K). float32, where the text says nothing else.
"""

import numpy as np
import torch
import torch.nn.functional as F


def softmax_naive(z: torch.Tensor) -> torch.Tensor:
    """Return softmax without the shift: NaN once an exponential overflows."""
    return z.exp() / z.exp().sum(dim=-1, keepdim=True)


def softplus_inverse_naive(y: torch.Tensor) -> torch.Tensor:
    """Return log(exp(y) - 1): infinite for large y, and -inf for small ones."""
    return torch.log(torch.exp(y) - 1)


def repaired_after(scores: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
    """Return a masked softmax whose NaN rows are replaced by 0 afterwards: the forward pass."""
    bias = torch.zeros_like(scores).masked_fill(~keep, -torch.inf)
    return torch.nan_to_num(torch.softmax(scores + bias, dim=-1))


def repaired_before(scores: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
    """Return the same values from a softmax that never sees an infinite row."""
    finite = scores.masked_fill(~keep, torch.finfo(scores.dtype).min)
    return torch.softmax(finite, dim=-1).masked_fill(~keep, 0.0)


if __name__ == "__main__":
    naive = str(softmax_naive(torch.tensor([1000.0, 0.0])).tolist())
    print("naive softmax of (1000, 0):", naive)
    gap = torch.tensor([0.0, -110.0], requires_grad=True)
    log_naive, log_stable = torch.log(torch.softmax(gap, 0)), torch.log_softmax(gap, 0)
    slope_naive = str(torch.autograd.grad(log_naive[1], gap)[0].tolist())
    slope_stable = str(torch.autograd.grad(log_stable[1], gap)[0].tolist())
    print("log(softmax) at a gap of 110:", log_naive[1].item(), "slope", slope_naive)
    print("log_softmax:                 ", log_stable[1].item(), "slope", slope_stable)

    scores = torch.tensor([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]], requires_grad=True)
    keep = torch.tensor([[True, True, False], [False, False, False]])
    weights, grads = torch.tensor([1.0, 2.0, 4.0]), {}
    for repair in (repaired_after, repaired_before):
        p = repair(scores, keep)
        (grads[repair],) = torch.autograd.grad((p * weights).sum(), scores)
        print(f"{repair.__name__:15s} empty row {p[1].tolist()}, slope {grads[repair][1].tolist()}")
    uniform = torch.softmax(scores.detach()[1] - 1e9, dim=0)
    print("empty row with -1e9 as mask:", uniform.tolist())

    batch = torch.tensor([[1.0, 2.0], [3.0, 5.0]])
    first_sum, second_sum = torch.softmax(batch, dim=0).sum(dim=1).tolist()
    print(f"row sums after softmax(dim=0): {first_sum:.3f} and {second_sum:.3f}")
    y = torch.tensor([1e-10, 100.0])
    inverse_naive = str(softplus_inverse_naive(y).tolist())
    inverse_stable = (y + torch.log(-torch.expm1(-y))).tolist()
    print("inverse softplus of 1e-10 and 100:", inverse_naive, inverse_stable)
    infinite = F.softsign(torch.tensor(torch.inf)).item()
    print("softsign(inf):", infinite)

    assert naive == "[nan, 0.0]" and np.isnan(infinite)
    assert np.isneginf(log_naive[1].item()) and slope_naive == "[nan, nan]"
    assert log_stable[1].item() == -110.0 and slope_stable == "[-1.0, 1.0]"
    assert torch.equal(repaired_after(scores, keep), repaired_before(scores, keep))
    assert grads[repaired_after][1].isnan().all() and not grads[repaired_before][1].any()
    assert torch.allclose(grads[repaired_after][0], grads[repaired_before][0])
    assert torch.allclose(uniform, torch.full((3,), 1 / 3)) and second_sum > 1.5
    assert inverse_naive == "[-inf, inf]" and np.isfinite(inverse_stable).all()
