"""The error of a sum grows like the root of its length for some data, not for all.

Claim 1: constants in rounding error bounds can be replaced by their square roots (the
rule of thumb that Higham and Mary, 2019, give conditions for). The bound of a sum taken
one by one is (n - 1) u, so its error should stay below sqrt(n) u.
Claim 2: no method of summation is uniformly more accurate (Higham, 1993, abstract).
Error: |computed - exact| over the sum of |x_i|, in units of u. Criteria, written after
a pilot with other seeds: claim 1 holds for a kind of data if the root-mean-square error
is <= sqrt(n) u at every n; claim 2 if each method beats the other on some vector. nan
and inf count as failures.
"""

import matplotlib.pyplot as plt
import numpy as np

SEEDS, FIRST_SEED = 20, 100  # the pilot used seeds below 100
LENGTHS = {np.float32: 2 ** np.arange(6, 19, 2), np.float16: 2 ** np.arange(6, 17, 2)}
KINDS = ("random in [0, 1)", "random in [-1, 1)", "one number, repeated")


def draw_data(kind: str, n: int, seed: int) -> np.ndarray:
    """Return n numbers, (n,), in float64."""
    rng = np.random.default_rng(seed)
    if kind == KINDS[2]:
        return np.full(n, rng.uniform(0.0, 0.9))
    return rng.uniform(0.0 if kind == KINDS[0] else -1.0, 1.0, size=n)


def one_by_one(x: np.ndarray) -> np.ndarray:
    """Return the sums over axis 0, (S,), each step rounded to the type of x (n, S)."""
    return np.add.accumulate(x, axis=0, dtype=x.dtype)[-1]


def pairwise(x: np.ndarray) -> np.ndarray:
    """Return the same sums, adding neighbors until one is left; n is a power of 2."""
    while len(x) > 1:
        x = x[0::2] + x[1::2]
    return x[0]


def errors(kind: str, dtype: type, n: int) -> np.ndarray:
    """Return the errors in units of u, (2, SEEDS): one by one, pairwise."""
    x = np.stack([draw_data(kind, n, FIRST_SEED + i) for i in range(SEEDS)], axis=1).astype(dtype)
    exact = x.astype(np.float64)
    scale = np.abs(exact).sum(axis=0) * np.finfo(dtype).eps / 2
    sums = np.stack([one_by_one(x), pairwise(x)]).astype(np.float64)
    return np.abs(sums - exact.sum(axis=0)) / scale


if __name__ == "__main__":
    measured = {
        (kind, dtype): np.stack([errors(kind, dtype, int(n)) for n in lengths])
        for dtype, lengths in LENGTHS.items()
        for kind in KINDS
    }  # (lengths, 2, SEEDS)
    holds, slopes, ends, wins, vectors, bounded = {}, {}, {}, np.zeros(2, int), 0, True
    same_words = 0  # settings in which two other criteria give the same answer
    for (kind, dtype), e in measured.items():
        n = LENGTHS[dtype]
        mean = np.sqrt((e**2).mean(axis=2))  # (lengths, 2)
        holds[kind, dtype] = bool(np.all(mean[:, 0] <= np.sqrt(n)))
        others = (np.median(e[:, 0], axis=1), e[:, 0].max(axis=1))
        same_words += all(bool(np.all(o <= np.sqrt(n))) == holds[kind, dtype] for o in others)
        slopes[kind, dtype] = float(np.polyfit(np.log(n), np.log(mean[:, 0]), 1)[0])
        last = e[-1, 0]
        texts = [
            f"{v:,.0f}" if v >= 1 else f"{v:.2g}" for v in (np.median(last), last.min(), last.max())
        ]
        ends[kind, dtype] = f"{texts[0]} ({texts[1]} to {texts[2]})"
        bounds = np.stack([n - 1, np.log2(n)], axis=1)[:, :, None]
        bounded &= bool(np.all(e <= bounds))
        wins += [(e[:, 0] < e[:, 1]).sum(), (e[:, 1] < e[:, 0]).sum()]
        vectors += e[:, 0].size
        print(
            f"{dtype.__name__}, {kind:21s}: slope {slopes[kind, dtype]:5.2f}, final error"
            f" {ends[kind, dtype]}, rule {'holds' if holds[kind, dtype] else 'fails'}"
        )
    held, settings = sum(holds.values()), len(holds)
    words = ("not at this size", "partly", "reproduced")
    verdict = words[(held > 0) + (held == settings)]
    wins_one_by_one, wins_pairwise = (int(w) for w in wins)
    verdict_uniform = words[2 if wins_one_by_one and wins_pairwise else 0]
    print(f"claim 1 holds in {held} of {settings} settings: {verdict}", end="; ")
    print(f"by median or maximum the same in {same_words}")
    print(f"claim 2: pairwise is better on {wins_pairwise} of {vectors} vectors,", end=" ")
    print(f"one by one on {wins_one_by_one}: {verdict_uniform}")
    keys = [(kind, dtype) for dtype in LENGTHS for kind in KINDS]
    slope_32, slope_zero_32, slope_same_32, slope_16, slope_zero_16, slope_same_16 = (
        slopes[k] for k in keys
    )
    end_32, end_zero_32, end_same_32, end_16, end_zero_16, end_same_16 = (ends[k] for k in keys)
    rule_32, rule_zero_32, rule_same_32, rule_16, rule_zero_16, rule_same_16 = (
        "yes" if holds[k] else "no" for k in keys
    )
    pair_32 = float(np.median(measured[keys[0]][-1, 1]))
    pair_16 = float(np.median(measured[keys[3]][-1, 1]))
    worst_16 = max(measured[k][:, 1].max() for k in keys[3:])
    pair_worst_16 = float(worst_16 * np.finfo(np.float16).eps / 2)

    fig, axes = plt.subplots(
        2, 1, num="growth", figsize=(5.4, 7.0), sharex=True, layout="constrained"
    )
    for ax, (dtype, n) in zip(axes, LENGTHS.items(), strict=True):
        for kind, line, marker in zip(KINDS, ("-", "--", "-."), "osv", strict=True):
            e = measured[kind, dtype][:, 0]
            ax.plot(n, np.median(e, axis=1), line, marker=marker, label=kind)
        e = measured[KINDS[0], dtype][:, 1]
        ax.plot(n, np.median(e, axis=1), ":", marker="x", label="pairwise, random in [0, 1)")
        ax.plot(n, n - 1, "-", color="0.5", linewidth=1)
        ax.plot(n, np.sqrt(n), "-", color="0.5", linewidth=1)
        ax.text(n[2], 1.4 * n[2], "bound: n − 1", color="0.5", ha="right", va="bottom")
        ax.text(1.12 * n[-1], np.sqrt(n[-1]), "√n", color="0.5", va="center")
        ax.set(xscale="log", yscale="log", ylim=(0.05, 1e6))
        ax.set_ylabel(f"error in units of u, {dtype.__name__}")
    handles, labels = axes[0].get_legend_handles_labels()
    fig.legend(handles, labels, frameon=False, loc="outside upper center", ncols=2)
    axes[1].set_xlabel("numbers in the sum, n")
    plt.show()

    assert all(np.isfinite(e).all() for e in measured.values()) and bounded
    assert 0.4 < slope_32 < 0.6 and slope_same_32 > 0.85 and abs(slope_zero_32) < 0.2
    assert rule_32 == "yes" and rule_16 == rule_same_32 == "no"
    assert same_words == settings == 6 and held == 3 and verdict == "partly"
    assert verdict_uniform == "reproduced" and end_16.startswith("1,9")
    assert rule_zero_32 == rule_zero_16 == "yes" and rule_same_16 == "no"
    assert pair_32 < 2 and pair_16 < 2 and wins_pairwise > 10 * wins_one_by_one > 0
    assert wins_pairwise + wins_one_by_one <= vectors == SEEDS * 39 and 5e-4 < pair_worst_16 < 2e-3
