"""PyTorch creates float32, promotes mixed types, and shares memory with NumPy.

Shapes: x (N, D), w (D, K), b (K,). The steps are those of the NumPy file.
Sources: PyTorch documentation, "Tensor Views" and "Broadcasting semantics".
"""

from collections.abc import Callable

import numpy as np
import torch


def layer(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return max(0, s w + b), where s is x with columns of mean 0 and variance 1."""
    centered = x - x.mean(dim=0)  # (N, D) - (D,): one mean per column
    scaled = centered / centered.std(dim=0, correction=0)  # the default divides by N - 1
    return torch.relu(scaled @ w + b)  # (N, D) @ (D, K) + (K,) -> (N, K)


def outcome(action: Callable[[], object]) -> str:
    """Return what an action gives, as text, or the name of the error that it raises."""
    try:
        result = action()
    except (TypeError, ValueError, RuntimeError) as error:
        return type(error).__name__
    return str(result.tolist() if isinstance(result, torch.Tensor) else result)


def effect(operation: Callable[[torch.Tensor], torch.Tensor]) -> str:
    """Return "view" if writing to the result changes its input, else "copy"."""
    x = torch.arange(6.0).reshape(2, 3)
    try:
        operation(x)[...] = 99.0
    except (ValueError, RuntimeError) as error:
        return type(error).__name__
    return "view" if (x == 99.0).any() else "copy"


def best_device() -> torch.device:
    """Return the accelerator of this machine (CUDA, MPS and others), or the CPU."""
    found = torch.accelerator.current_accelerator(check_available=True)
    return found or torch.device("cpu")


def add_positions(x: torch.Tensor) -> torch.Tensor:
    """Return x plus 0, 1, ... along its last axis, on whatever device x lives."""
    return x + torch.arange(x.shape[-1], device=x.device, dtype=x.dtype)


def add_positions_on_cpu(x: torch.Tensor) -> torch.Tensor:
    """Return the same, but only where the default device is also the device of x."""
    return x + torch.arange(x.shape[-1])


def _overwrite() -> torch.Tensor:
    x = torch.tensor([1, 2])
    x[0] = 9
    return x


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=s) for s in ((6, 4), (4, 3), (3,))]
    x, w, b = (torch.from_numpy(a) for a in arrays)  # float64, the memory of the arrays
    scaled = (arrays[0] - arrays[0].mean(axis=0)) / arrays[0].std(axis=0)
    expected = np.maximum(scaled @ arrays[1] + arrays[2], 0.0)
    largest_difference = float(np.abs(layer(x, w, b).numpy() - expected).max())
    print(f"layer: differs from NumPy by {largest_difference:.1e}")
    x[0, 0] = 42.0
    shared = float(arrays[0][0, 0])
    print(f"42 written to the tensor: the NumPy array holds {shared:g}")

    effects = {
        "x[0]": effect(lambda x: x[0]),
        "x[:, 1:]": effect(lambda x: x[:, 1:]),
        "x[::-1]": effect(lambda x: x[::-1]),
        "x.T": effect(lambda x: x.T),
        "x.reshape(3, 2)": effect(lambda x: x.reshape(3, 2)),
        "x.T.reshape(-1)": effect(lambda x: x.T.reshape(-1)),
        "x.flatten()": effect(lambda x: x.flatten()),
        "x[[0, 1]]": effect(lambda x: x[[0, 1]]),
        "x[x > 2]": effect(lambda x: x[x > 2]),
        "x.expand": effect(lambda x: x.expand(4, 2, 3)),
        "x.to(float32)": effect(lambda x: x.to(torch.float32)),
    }
    row, columns, flip, turned, reshaped, turned_flat = [*effects.values()][:6]
    flat, listed, masked, repeated, cast = [*effects.values()][6:]
    print("views:", *(name for name, kind in effects.items() if kind == "view"), sep="  ")
    view_of_turned = outcome(lambda: torch.ones(2, 3).T.view(6))
    print(f"x.T.view(6): {view_of_turned}; reshape copies instead")

    int_type, float_type, mixed = (
        str(made.dtype).removeprefix("torch.")
        for made in (
            torch.tensor([1, 2]),
            torch.tensor([1.0]),
            torch.tensor([1]) + torch.tensor([1.5]),
        )
    )
    wrapped = int(torch.tensor(100, dtype=torch.int8) + torch.tensor(100, dtype=torch.int8))
    small_plus_300 = outcome(lambda: torch.tensor([1], dtype=torch.int8) + 300)
    small_sum = int(torch.tensor([100, 100], dtype=torch.int8).sum())
    int_mean = outcome(lambda: torch.tensor([1, 2]).mean())
    variance = float(torch.tensor([1.0, 2.0]).var())
    overwritten = outcome(_overwrite)
    reverse = outcome(lambda: torch.arange(4)[::-1])
    tenths = torch.full((2**21, 2), 0.1)
    down_error = abs(float(tenths.sum(dim=0)[0]) / (2**21 * float(np.float32(0.1))) - 1)

    device = best_device()
    y = add_positions(torch.zeros(2, 3, device=device))
    print(f"best device here: {device.type}; the result lives on {y.device.type}")
    elsewhere = torch.zeros(2, 3, device="meta")  # shapes without numbers
    meta_shape = tuple(add_positions(elsewhere).shape)
    on_cpu_only = outcome(lambda: add_positions_on_cpu(elsewhere))
    print(f"on meta: {meta_shape} if the device is passed on, else {on_cpu_only}")

    assert largest_difference < 1e-14 and shared == 42.0
    assert [row, columns, turned, reshaped, flat, cast] == ["view"] * 6
    assert [turned_flat, listed, masked] == ["copy"] * 3
    assert flip == "ValueError" and repeated == view_of_turned == "RuntimeError"
    assert (int_type, float_type, mixed) == ("int64", "float32", "float32")
    assert (wrapped, variance, overwritten, reverse) == (-56, 0.5, "[9, 2]", "ValueError")
    assert small_plus_300 == "[45]"
    assert down_error < 1e-4 and small_sum == 200 and int_mean == "RuntimeError"
    assert on_cpu_only == "RuntimeError" and meta_shape == (2, 3)
