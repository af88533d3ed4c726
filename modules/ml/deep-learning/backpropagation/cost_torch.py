"""A backward pass costs at most two forward passes, however many parameters there are.

Shapes: dense layer l maps (N, D_{l-1}) to (N, D_l); sizes = [D_0, ..., D_M]. Cost is
counted in multiply-adds of matrix products, by formula and by PyTorch's own counter
(2 FLOP each). Stored numbers are counted with a hook on everything that autograd keeps
for the backward pass.
"""

from collections.abc import Callable
from itertools import pairwise

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def forward_cost(n: int, sizes: list[int]) -> int:
    """Return the multiply-adds of a forward pass with n examples."""
    return n * sum(d * k for d, k in pairwise(sizes))


def backward_cost(n: int, sizes: list[int]) -> int:
    """Return the multiply-adds of a backward pass, without the gradient of the input."""
    return 2 * forward_cost(n, sizes) - n * sizes[0] * sizes[1]


def stored_numbers(n: int, sizes: list[int]) -> int:
    """Return how many numbers backward needs: all layer inputs, and log-probabilities."""
    return n * sum(sizes)


def dense_network(sizes: list[int]) -> nn.Sequential:
    """Return linear layers with tanh between them."""
    layers: list[nn.Module] = []
    for d, k in pairwise(sizes):
        layers += [nn.Linear(d, k), nn.Tanh()]
    return nn.Sequential(*layers[:-1])


def count(run: Callable[[], torch.Tensor | None]) -> tuple[int, torch.Tensor | None]:
    """Return the multiply-adds that run() really does, and its result."""
    with FlopCounterMode(display=False) as counter:
        result = run()
    return counter.get_total_flops() // 2, result


def kept(model: nn.Sequential, x: torch.Tensor, targets: torch.Tensor) -> int:
    """Return how many numbers a forward pass keeps for backward, parameters aside."""
    matrices: dict[int, torch.Tensor] = {}

    def pack(t: torch.Tensor) -> torch.Tensor:
        if t.ndim == 2:
            # by address, since two operations may keep the same matrix
            matrices[t.untyped_storage().data_ptr()] = t
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        nn.functional.cross_entropy(model(x), targets)
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    return sum(t.numel() for address, t in matrices.items() if address not in own)


if __name__ == "__main__":
    torch.manual_seed(0)
    n, widths = 32, [4, 16, 64, 256, 1024, 2048]
    parameters, passes, exact = [], [], True
    for width in widths:
        sizes = [64, width, width, 10]
        model = dense_network(sizes)
        x, targets = torch.randn(n, sizes[0]), torch.randint(sizes[-1], (n,))
        forward, loss = count(lambda m=model, x=x, t=targets: nn.functional.cross_entropy(m(x), t))
        backward, _ = count(loss.backward)
        exact &= forward == forward_cost(n, sizes) and backward == backward_cost(n, sizes)
        exact &= kept(model, x, targets) == stored_numbers(n, sizes)
        parameters.append(sum(p.numel() for p in model.parameters()))
        passes.append((forward + backward) / forward)
        print(f"{parameters[-1]:9,} parameters: backward / forward = {backward / forward:.3f}")
    print("PyTorch counts and stores exactly what the formulas say:", exact)

    smallest_ratio, largest_ratio = passes[0] - 1, passes[-1] - 1
    largest_parameters, largest_passes = parameters[-1], passes[-1]
    advantage = (largest_parameters + 1) / largest_passes
    training_numbers = kept(model, x, targets)
    eval_numbers = kept(model.eval(), x, targets)
    with torch.no_grad():
        no_grad_numbers = kept(model, x, targets)
    print(f"numbers kept for the backward pass: {training_numbers:,} in training,")
    print(f"{eval_numbers:,} under eval(), {no_grad_numbers} under no_grad()")

    fig, ax = plt.subplots(num="cost", figsize=(6.4, 3.8))
    ax.loglog(parameters, [2 * p for p in parameters], "^-.", label="central differences")
    ax.loglog(parameters, [p + 1 for p in parameters], "s--", label="forward differences")
    ax.loglog(parameters, passes, "o-", label="backpropagation")
    ax.set_xlabel("number of parameters")
    ax.set_ylabel("cost of the gradient\n(forward passes)")
    ax.set_ylim(bottom=1)
    ax.legend(frameon=False)
    plt.show()

    assert exact
    assert 1 < smallest_ratio < largest_ratio < 2
    assert abs(advantage * largest_passes - (largest_parameters + 1)) < 1e-3
    assert training_numbers == eval_numbers > no_grad_numbers == 0
