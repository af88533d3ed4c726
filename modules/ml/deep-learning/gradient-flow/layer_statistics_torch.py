"""The scale of the weights decides what reaches the last layer and the first.

A network of 20 layers of equal width n, biases zero, weights normal of variance gain /
n. A forward hook on the activation function gets its output a, a backward hook on the
linear layer gets delta = dL/dz. Shapes: x, a, delta (N, n). L is a sum of outputs, each
times a normal number, so the gradient that arrives at the top has root mean square 1.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn

DEPTH, WIDTH, EXAMPLES = 20, 256, 64
GAINS = {"too small, 0.25/n": 0.25, "Xavier, 1/n": 1.0, "He, 2/n": 2.0, "too large, 8/n": 8.0}
Statistics = dict[str, dict[str, list[torch.Tensor]]]


def network(activation: type[nn.Module], gain: float, seed: int = 0) -> nn.Sequential:
    """Return DEPTH pairs of a linear layer and an activation function."""
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential()
    for _ in range(DEPTH):
        linear = nn.utils.skip_init(nn.Linear, WIDTH, WIDTH)
        nn.init.normal_(linear.weight, std=(gain / WIDTH) ** 0.5, generator=generator)
        nn.init.zeros_(linear.bias)
        model.extend([linear, activation()])
    return model


def layer_statistics(
    model: nn.Sequential, x: torch.Tensor, grad_output: torch.Tensor
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Return activations and gradients for the pre-activations, first layer first."""
    activations: list[torch.Tensor] = []
    deltas: list[torch.Tensor] = []
    handles = []
    for layer in model:
        if isinstance(layer, nn.Linear):
            hook = lambda _layer, _grad_in, grad_out: deltas.append(grad_out[0])  # noqa: E731
            handles.append(layer.register_full_backward_hook(hook))
        else:
            keep = lambda _layer, _inputs, a: activations.append(a.detach())  # noqa: E731
            handles.append(layer.register_forward_hook(keep))
    # without a gradient for x, the first layer's backward hook would warn
    model(x.requires_grad_()).backward(grad_output)
    for handle in handles:
        handle.remove()
    return activations, deltas[::-1]  # backward meets the last layer first


def rms(t: torch.Tensor) -> float:
    """Return the root mean square of all entries, in float64 so that nothing underflows."""
    return t.double().square().mean().sqrt().item()


def _draw(axes: np.ndarray, statistics: Statistics, titles: list[str], labels: list[str]) -> None:
    """Draw histograms: a row per initialization, a column per activation function."""
    for column, name in enumerate(statistics):
        linear = labels[column] == "activation"
        bins = np.linspace(-1, 1, 41) if linear else np.linspace(-11, 8, 58)
        for row, (label, layers) in enumerate(statistics[name].items()):
            ax = axes[row, column]
            for k, layer in enumerate((1, 5, DEPTH)):
                values = layers[layer - 1].flatten().numpy()
                values = values if linear else np.log10(np.abs(values[values != 0]))
                counts, _ = np.histogram(values, bins)
                ax.stairs(
                    counts / counts.max(), bins, color=f"C{k}", ls=("-", "--", ":")[k], lw=1.8
                )
            ax.set(yticks=[], ylim=(0, 1.1))
            if column == 0:
                ax.set_ylabel(label)
        axes[0, column].set_title(titles[column], fontsize="medium")
        axes[3, column].set_xlabel(labels[column])
    for k, layer in enumerate((1, 5, DEPTH)):
        axes[0, 1].plot([], [], f"C{k}", ls=("-", "--", ":")[k], label=f"layer {layer}")
    axes[0, 1].legend(fontsize="small", frameon=False, loc="upper right")
    axes[0, 0].figure.set_layout_engine("constrained")
    plt.show()


if __name__ == "__main__":
    torch.set_flush_denormal(True)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(EXAMPLES, WIDTH, generator=generator)
    last = torch.randn(EXAMPLES, WIDTH, generator=generator)
    all_activations: Statistics = {"tanh": {}, "ReLU": {}}
    all_deltas: Statistics = {"tanh": {}, "ReLU": {}}
    signal, gradient, saturated = {}, {}, {}
    print("                          a, layer 20    δ, layer 1    |a| > 0.95 in layer 20")
    for name, activation in (("tanh", nn.Tanh), ("ReLU", nn.ReLU)):
        for label, gain in GAINS.items():
            a, d = layer_statistics(network(activation, gain), x, last)
            all_activations[name][label], all_deltas[name][label] = a, d
            signal[name, gain], gradient[name, gain] = rms(a[-1]), rms(d[0]) / rms(d[-1])
            saturated[name, gain] = (a[-1].abs() > 0.95).double().mean().item()
            share = f"{saturated[name, gain]:.0%}" if name == "tanh" else ""
            numbers = f"{rms(a[-1]):9.1e}      {gradient[name, gain]:9.1e}"
            print(f"{name} {label:20s} {numbers}      {share}")

    a, d = all_activations["tanh"]["Xavier, 1/n"], all_deltas["tanh"]["Xavier, 1/n"]
    weights = [
        layer.weight.detach().numpy() for layer in network(nn.Tanh, 1.0) if hasattr(layer, "weight")
    ]
    h, slopes = x.detach().numpy(), []
    for w in weights:
        h = np.tanh(h @ w.T)  # (N, D) @ (D, K) -> (N, K); nn.Linear stores (K, D)
        slopes.append(1 - h**2)
    delta, largest_difference = last.numpy() * slopes[-1], float(np.abs(h - a[-1].numpy()).max())
    for w, slope, theirs in zip(weights[:0:-1], slopes[-2::-1], d[-2::-1], strict=True):
        delta = (delta @ w) * slope
        largest_difference = max(largest_difference, float(np.abs(delta - theirs.numpy()).max()))
    print(f"hooks against the equations in NumPy: largest difference {largest_difference:.0e}")
    signal_small, signal_xavier, signal_he, signal_large = (
        signal["ReLU", g] for g in GAINS.values()
    )
    gradient_small, gradient_xavier = gradient["tanh", 0.25], gradient["tanh", 1.0]
    gradient_he, gradient_large = gradient["tanh", 2.0], gradient["tanh", 8.0]
    saturated_he, saturated_large = saturated["tanh", 2.0], saturated["tanh", 8.0]

    titles = ["tanh", "ReLU, active units"]
    _, axes = plt.subplots(4, 2, num="activations", figsize=(6.4, 7.2), sharex="col")
    _draw(axes, all_activations, titles, ["activation", "activation, log10"])
    _, axes = plt.subplots(4, 2, num="gradients", figsize=(6.4, 5.6), sharex="col")
    _draw(axes, all_deltas, titles, 2 * ["|∂L/∂z|, log10"])

    assert largest_difference < 1e-4
    assert gradient_small < 1e-5 < 0.1 < gradient_xavier < gradient_he < gradient_large
    assert signal_small < 1e-8 and 0.2 < signal_he < 2.0 and signal_large > 1e5
    assert saturated_large > 0.3 > 0.1 > saturated_he
