"""Four bugs of sigmoid and tanh and their symptoms: NaN, minus infinity, and a lost small number.

Shapes: every function is elementwise and keeps the shape of x.
"""

import warnings
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F


def tanh_naive(x: np.ndarray) -> np.ndarray:
    """The bug: exp(x) overflows, and inf / inf is NaN."""
    return (np.exp(x) - np.exp(-x)) / (np.exp(x) + np.exp(-x))


def sigmoid_naive(x: np.ndarray) -> np.ndarray:
    """The bug: exp(-x) overflows for very negative x; the value 0 is right."""
    return 1 / (1 + np.exp(-x))


def value_and_slope(f: Callable[[torch.Tensor], torch.Tensor], x: float) -> tuple[float, float]:
    """Return f(x) and autograd's f'(x) in float32."""
    leaf = torch.tensor(x, requires_grad=True)
    y = f(leaf)
    return y.item(), torch.autograd.grad(y, leaf)[0].item()


if __name__ == "__main__":
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tanh_at_800 = float(tanh_naive(np.array(800.0)))
        sigmoid_at_minus_800 = float(sigmoid_naive(np.array(-800.0)))
    messages = sorted({str(w.message).split(" encountered")[0] for w in caught})
    print(f"1. naive tanh(800) = {tanh_at_800}, naive sigmoid(-800) = {sigmoid_at_minus_800}")
    print(f"   warnings: {', '.join(messages)}")

    log_naive, log_naive_slope = value_and_slope(lambda x: torch.log(torch.sigmoid(x)), -200.0)
    log_stable, log_stable_slope = value_and_slope(F.logsigmoid, -200.0)
    print(f"2. log(sigmoid(-200)): {log_naive}, slope {log_naive_slope}", end="; ")
    print(f"logsigmoid: {log_stable}, slope {log_stable_slope}")

    twenty = torch.tensor(20.0)
    complement, mirrored = (1 - torch.sigmoid(twenty)).item(), torch.sigmoid(-twenty).item()
    print(f"3. 1 - sigmoid(20) = {complement}, sigmoid(-20) = {mirrored:.2e}")

    target = torch.ones(())
    once = F.binary_cross_entropy_with_logits(twenty, target).item()
    twice = F.binary_cross_entropy_with_logits(torch.sigmoid(twenty), target).item()
    print(f"4. loss of a certain right answer: {once:.1e}; with a second sigmoid {twice:.3f}")

    assert np.isnan(tanh_at_800) and sigmoid_at_minus_800 == 0.0 and len(messages) == 2
    assert log_naive == -np.inf and np.isnan(log_naive_slope)
    assert (log_stable, log_stable_slope) == (-200.0, 1.0)
    assert complement == 0.0 and abs(mirrored / np.exp(-20.0) - 1) < 1e-5
    assert once < 1e-8 and abs(twice - np.log1p(np.exp(-1))) < 1e-6
