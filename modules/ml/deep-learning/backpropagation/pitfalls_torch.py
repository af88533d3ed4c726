"""Four ways to spoil gradients in PyTorch: two raise an error, two do not.

Shapes: x is (N, D), w is (D, K). Sources: documentation of torch.Tensor.backward ("accumulates"),
and the notes on autograd mechanics (in-place operations, saved tensors).
"""

import torch


def message(run) -> str:
    """Return the first sentence of the error that run() raises, or 'no error'."""
    try:
        run()
    except RuntimeError as problem:
        return str(problem).split(":")[0].split(".")[0][:75]
    return "no error"


if __name__ == "__main__":
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(8, 3, generator=generator)
    w = torch.randn(3, 2, generator=generator, requires_grad=True)
    v = torch.randn(2, 1, generator=generator, requires_grad=True)

    def loss() -> torch.Tensor:
        return (torch.tanh(x @ w) @ v).square().mean()

    loss().backward()
    right = w.grad.clone()
    for _ in range(2):  # two more steps without zero_grad()
        loss().backward()
    accumulated = float((w.grad / right).mean())
    print(f"third backward() without zero_grad(): .grad is {accumulated:.2f} times the gradient")

    a = torch.tanh(x @ w)
    out = (a @ v).square().mean()
    a.mul_(2.0)  # backward needs a, for tanh and for the product with v
    print(message(out.backward))
