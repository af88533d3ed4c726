"""torch.nn.Dropout multiplies by a mask of 0 and 1 / (1 - p), forward and backward.

Shapes: x and grad_output are (N, D). p is the probability of dropping an entry.
The layer does not return its mask; on a tensor of ones its output IS the mask.
Source: documentation of torch.nn.Dropout.
"""

import numpy as np
import torch
from torch import nn


def recover_mask(drop: nn.Dropout, shape: tuple[int, ...], seed: int) -> torch.Tensor:
    """Return the mask that drop draws for this shape right after torch.manual_seed(seed)."""
    torch.manual_seed(seed)
    return drop(torch.ones(shape, dtype=torch.float64))


def forward_backward(
    drop: nn.Dropout, x: torch.Tensor, grad_output: torch.Tensor, seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the layer's output for x and its gradient for x, after torch.manual_seed(seed)."""
    x = x.clone().requires_grad_()
    torch.manual_seed(seed)
    out = drop(x)
    out.backward(grad_output)
    return out.detach(), x.grad


if __name__ == "__main__":
    p = 0.3
    drop = nn.Dropout(p)  # a new module is in training mode
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(200, 500, dtype=torch.float64, generator=generator)
    grad_output = torch.randn(200, 500, dtype=torch.float64, generator=generator)

    mask = recover_mask(drop, x.shape, seed=1)
    out, grad_x = forward_backward(drop, x, grad_output, seed=1)
    output_difference = float(np.max(np.abs(out.numpy() - x.numpy() * mask.numpy())))
    gradient_difference = float(np.max(np.abs(grad_x.numpy() - grad_output.numpy() * mask.numpy())))
    keep_rate = float((mask > 0).double().mean())
    scale = float(mask.max())
    largest_difference = max(output_difference, gradient_difference)
    print(f"same mask: outputs differ by {output_difference:.1e}", end=", ")
    print(f"gradients by {gradient_difference:.1e}")
    print(f"scale of the survivors {scale:.6f}, share kept {keep_rate:.4f}")

    model = nn.Sequential(nn.Linear(500, 64), nn.ReLU(), nn.Dropout(p), nn.Linear(64, 10)).double()
    with torch.no_grad():
        train_change = float((model(x) - model(x)).abs().max())  # a new mask for every call
        model.eval()  # reaches every layer inside the model
        eval_change = float((model(x) - model(x)).abs().max())
    print(f"two calls differ by {train_change:.2f} in training, {eval_change:.1f} in evaluation")

    all_dropped = forward_backward(nn.Dropout(1.0), x, grad_output, seed=1)
    print("p = 1 gives zeros, also in the gradient:", not any(t.any() for t in all_dropped))

    assert largest_difference == 0.0
    assert set(mask.unique().tolist()) == {0.0, 1 / (1 - p)}
    assert abs(keep_rate - (1 - p)) < 5 * (p * (1 - p) / mask.numel()) ** 0.5
    assert torch.equal(drop.eval()(x), x)
    assert train_change > 0.0 and eval_change == 0.0
    assert all(torch.equal(t, torch.zeros_like(x)) for t in all_dropped)
