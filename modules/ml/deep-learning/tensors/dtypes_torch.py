"""bfloat16 reaches as far as float32, with fewer digits; float16 does not.

u is half the gap from 1 to the next number: rounding changes a number of normal size by
at most the factor 1 + u. Source: torch.finfo; Kalamkar et al. (2019) on bfloat16.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch

TYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def unit_roundoff(dtype: torch.dtype) -> float:
    """Return u."""
    return torch.finfo(dtype).eps / 2


def stops_counting_at(dtype: torch.dtype) -> int:
    """Return the smallest power of 2 to which adding 1 changes nothing."""
    n = torch.ones((), dtype=dtype)
    while n + 1 != n:
        n = 2 * n
    return int(n)


def relative_gap(dtype: torch.dtype, sizes: np.ndarray) -> np.ndarray:
    """Return gap to the next number over number, at powers of 2; nan out of range."""
    info = torch.finfo(dtype)
    smallest = info.tiny * info.eps  # below it, numbers round to 0 or to it
    gaps = np.maximum(info.eps, smallest / sizes)
    return np.where((sizes >= smallest) & (sizes <= info.max), gaps, np.nan)


def draw() -> None:
    """Draw the relative gap over the size of the number."""
    fig, ax = plt.subplots(num="formats", figsize=(5.6, 3.9), layout="constrained")
    sizes = 2.0 ** np.arange(-150, 128)
    styles = {
        torch.float16: ("-", "o", (3e-3, 4e-4)),
        torch.bfloat16: ("--", "s", (1e-20, 1.3e-2)),
        torch.float32: ("-.", "^", (1e-20, 2e-7)),
    }
    for dtype, (line, marker, place) in styles.items():
        gap = relative_gap(dtype, sizes)
        inside = np.flatnonzero(~np.isnan(gap))
        name = str(dtype).removeprefix("torch.")
        (drawn,) = ax.plot(sizes, gap, line)
        ends = inside[[0, -1]]
        ax.plot(sizes[ends], gap[ends], marker, color=drawn.get_color())
        ax.text(*place, name, ha="center", color=drawn.get_color())
    ax.set(xscale="log", yscale="log", xlabel="size of the number", ylim=(3e-8, 3))
    ax.set_ylabel("gap to the next number, relative")
    plt.show()


if __name__ == "__main__":
    print("format        largest  smallest normal        u  counts to")
    rows = {}
    for dtype in TYPES:
        info = torch.finfo(dtype)
        limit = stops_counting_at(dtype)
        rows[dtype] = (info.max, info.tiny, unit_roundoff(dtype), limit)
        name = str(dtype).removeprefix("torch.")
        print(
            f"{name:9s} {info.max:11.3g} {info.tiny:16.3g} {unit_roundoff(dtype):8.1e}"
            f" {limit:10.2g}"
        )
    max_64, tiny_64, u_64, count_64 = rows[torch.float64]
    max_32, tiny_32, u_32, count_32 = rows[torch.float32]
    max_b16, tiny_b16, u_b16, count_b16 = rows[torch.bfloat16]
    max_16, tiny_16, u_16, count_16 = rows[torch.float16]

    gap_ratio = u_b16 / u_16
    gap_at_count = float(np.spacing(np.float16(count_16)))
    large, small = torch.tensor(70000.0), torch.tensor(1e-8)
    large_16, large_b16 = large.half().item(), large.bfloat16().item()
    small_16, small_b16 = small.half().item(), small.bfloat16().item()
    print(f"70000 is {large_16} in float16, {large_b16:g} in bfloat16")
    print(f"1e-8 is {small_16:g} in float16, {small_b16:.3g} in bfloat16")
    counter = torch.zeros((), dtype=torch.bfloat16)
    for _ in range(1000):
        counter += 1
    counted = int(counter)
    print(f"1 added 1000 times in bfloat16: {counted}")
    draw()

    for dtype, (_, _, u, limit) in rows.items():
        tenth = torch.tensor(0.1, dtype=dtype).double().item()
        assert abs(tenth - 0.1) <= 0.1 * u and limit == 1 / u, dtype
    assert gap_ratio == 8 and gap_at_count == 2.0 and max_16 == 65504
    assert tiny_16 == 2.0**-14 and tiny_b16 == tiny_32 == 2.0**-126 and max_b16 > 3e38
    assert np.isinf(large_16) and small_16 == 0.0 and counted == count_b16 == 256
    assert abs(large_b16 - 70000) <= u_b16 * 70000 and abs(small_b16 - 1e-8) <= u_b16 * 1e-8
