"""A forward pre-hook sees every pre-activation: dead and saturated units over a whole data loader.

The slope of an activation module is taken from the module itself, by autograd at its input, so one
monitor serves ReLU, Leaky ReLU, GELU, sigmoid or tanh. A unit is one index of `unit_axis` (1:
features or channels; -1 for tokens, (N, T, C)); all other axes count as examples.
Source: documentation of torch.nn.Module.register_forward_pre_hook.
"""

from collections.abc import Iterable

import numpy as np
import torch
from torch import nn


class UnitMonitor:
    """Counts, per activation module, flat entries and units that were flat every time.

    Use it as a context manager: the hooks exist only inside the with block. An entry is flat if
    the size of its slope is at most `threshold`. It does not change the output, the mode, the
    gradients or any parameter. Modules that are called several times per pass share one count.
    """

    def __init__(
        self,
        model: nn.Module,
        kinds: tuple[type[nn.Module], ...] = (nn.ReLU,),
        threshold: float = 0.0,
        unit_axis: int = 1,
    ) -> None:
        self.threshold, self.unit_axis = threshold, unit_axis
        self.modules = {n: m for n, m in model.named_modules() if isinstance(m, kinds)}
        self.stuck: dict[str, torch.Tensor] = {}  # per unit: flat every time so far, bool (K,)
        self.flat: dict[str, int] = {}
        self.seen: dict[str, int] = {}
        self.handles: list = []

    def __enter__(self) -> "UnitMonitor":
        for name, module in self.modules.items():
            hook = self._hook(name)
            self.handles.append(module.register_forward_pre_hook(hook))
        return self

    def __exit__(self, *error: object) -> None:
        for handle in self.handles:
            handle.remove()
        self.handles.clear()

    def _hook(self, name: str):
        def count(module: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
            with torch.enable_grad():  # also inside torch.no_grad()
                z = args[0].detach().clone().requires_grad_()
                y = module.forward(z * 1.0)  # forward calls no hook; * 1.0 permits inplace=True
                (slope,) = torch.autograd.grad(y.sum(), z)
            flat = (slope.abs() <= self.threshold).movedim(self.unit_axis, 0).flatten(1)  # (K, N)
            every_time = flat.all(dim=1)
            self.stuck[name] = self.stuck.get(name, torch.ones_like(every_time)) & every_time
            self.flat[name] = self.flat.get(name, 0) + int(flat.sum())
            self.seen[name] = self.seen.get(name, 0) + flat.numel()

        return count

    def stuck_share(self) -> dict[str, float]:
        """Return per module the share of units that were flat for everything seen so far."""
        return {name: stuck.double().mean().item() for name, stuck in self.stuck.items()}

    def flat_share(self) -> dict[str, float]:
        """Return per module the share of flat entries."""
        return {name: self.flat[name] / self.seen[name] for name in self.seen}


@torch.no_grad()
def survey(model: nn.Module, loader: Iterable, **options) -> UnitMonitor:
    """Return a monitor that has seen the loader in evaluation mode; restores the model's mode."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    with UnitMonitor(model, **options) as monitor:
        for x, *_ in loader:
            model(x)
    for module, mode in modes.items():
        module.training = mode
    return monitor


if __name__ == "__main__":
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(500, 20, generator=generator)
    model = nn.Sequential(
        *(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(inplace=True)),
        *(nn.Linear(32, 32), nn.Sigmoid(), nn.Linear(32, 3)),
    )
    with torch.no_grad():
        for layer, bias in ((model[0], -2.5), (model[2], -0.5), (model[4], -5.0)):
            layer.weight.normal_(0, (2 / layer.in_features) ** 0.5, generator=generator)
            layer.bias.copy_(torch.linspace(0, 2 * bias, 32))
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x), batch_size=64)

    dead = survey(model, loader)
    saturated = survey(model, loader, kinds=(nn.Sigmoid,), threshold=0.0025)
    dead_first, dead_second = dead.stuck_share().values()
    (sigmoid_flat,) = saturated.flat_share().values()
    (sigmoid_stuck,) = saturated.stuck_share().values()
    print(f"dead ReLU units: {dead_first:.0%} and {dead_second:.0%}")
    print(f"sigmoid: flat entries {sigmoid_flat:.0%}, units flat for all {sigmoid_stuck:.0%}")

    # the same by hand, in NumPy, on all examples at once
    w = [(m.weight.detach().numpy(), m.bias.detach().numpy()) for m in model[::2]]
    z1 = x.numpy() @ w[0][0].T + w[0][1]  # (N, D) @ (D, K) -> (N, K)
    z2 = np.maximum(z1, 0) @ w[1][0].T + w[1][1]
    z3 = np.maximum(z2, 0) @ w[2][0].T + w[2][1]
    s = 1 / (1 + np.exp(-z3))
    by_hand = [(z1 <= 0).all(0).mean(), (z2 <= 0).all(0).mean(), (s * (1 - s) <= 0.0025).mean()]
    ours = [dead_first, dead_second, sigmoid_flat]
    largest_difference = float(np.max(np.abs(np.array(by_hand) - ours)))
    print(f"largest difference from NumPy: {largest_difference:.1g}")

    # in training: wrap an epoch; the loss and its gradients are those without the monitor
    targets = torch.arange(500) % 3
    grads = []
    for watched in (False, True):
        model.zero_grad()
        with UnitMonitor(model if watched else nn.Identity()) as monitor:
            nn.functional.cross_entropy(model(x), targets).backward()
        grads.append([p.grad.clone() for p in model.parameters()])
    same = all(torch.equal(a, b) for a, b in zip(*grads, strict=True))
    hooks_left = sum(len(m._forward_pre_hooks) for m in model.modules())
    dead_mask = monitor.stuck["1"]
    dead_gradient = model[0].weight.grad[dead_mask].abs().max().item()
    print(f"gradients with and without the monitor equal: {same}; hooks left: {hooks_left}")
    print(f"largest weight gradient of the dead units of layer 1: {dead_gradient}")

    assert largest_difference < 0.001 and 0 < dead_first < 1 and 0 < sigmoid_flat < 1
    assert same and hooks_left == 0 and model.training and dead_gradient == 0.0
    assert sigmoid_stuck < sigmoid_flat and torch.equal(dead_mask, dead.stuck["1"])
