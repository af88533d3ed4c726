"""Fixup makes the first step change a deep residual network as much as a shallow one.

The stream h (N, n) passes B blocks h + s F(h). A branch F has m weight layers, each behind
a ReLU: u <- max(u + a, 0), u <- (u + c) W, with scalar biases a and c that start at 0 and
the multiplier s that starts at 1. Fixup (Zhang et al. 2019): the last W of each
branch is 0, the others are He weights times B^(-1/(2m-2)). The paper writes L for B.
"""

import matplotlib.pyplot as plt
import numpy as np

WIDTH, EXAMPLES = 32, 4


def fixup_scale(b: int, m: int) -> float:
    """Return B^(-1/(2m-2)), for branches of m >= 2 layers."""
    return b ** (-1.0 / (2 * m - 2))


def init_blocks(b: int, m: int, kind: str, rng: np.random.Generator) -> list[dict]:
    """Return the blocks' parameters; kind is "he", "zero last" or "fixup"."""
    blocks = []
    for _ in range(b):
        w = rng.normal(size=(m, WIDTH, WIDTH)) * np.sqrt(2.0 / WIDTH)
        if kind == "fixup":
            w *= fixup_scale(b, m)
        if kind != "he":
            w[-1] = 0.0
        blocks.append({"w": w, "a": np.zeros(m), "c": np.zeros(m), "s": 1.0})
    return blocks


def branch(h: np.ndarray, block: dict) -> tuple[np.ndarray, list]:
    """Return F(h) (N, n) without the multiplier, and what its backward pass needs."""
    u, kept = h, []
    for w, a, c in zip(block["w"], block["a"], block["c"], strict=True):
        z = u + a
        inputs = np.maximum(z, 0.0) + c
        u = inputs @ w  # (N, n) @ (n, n) -> (N, n)
        kept.append((z, inputs))
    return u, kept


def forward(h: np.ndarray, blocks: list[dict]) -> tuple[np.ndarray, list]:
    """Return the stream after the last block, and what the backward pass needs."""
    stored = []
    for block in blocks:
        out, kept = branch(h, block)
        stored.append((out, kept))
        h = h + block["s"] * out
    return h, stored


def backward(grad: np.ndarray, blocks: list[dict], stored: list) -> list[dict]:
    """Return the gradients of all parameters for the gradient (N, n) of the stream."""
    grads = []
    for block, (out, kept) in zip(blocks[::-1], stored[::-1], strict=True):
        g = {k: np.zeros_like(v) for k, v in block.items()}
        g["s"] = np.sum(grad * out)
        delta = block["s"] * grad
        for i in range(len(kept) - 1, -1, -1):
            z, inputs = kept[i]
            g["w"][i] = inputs.T @ delta
            delta = delta @ block["w"][i].T
            g["c"][i] = delta.sum()
            delta = delta * (z > 0)
            g["a"][i] = delta.sum()
        grad = grad + delta  # the skip connection adds the gradient that passed it by
        grads.append(g)
    return grads[::-1]


def effect_of_first_step(b: int, m: int, kind: str, seed: int, rate: float = 1e-6) -> float:
    """Return the change of the mean output by one step of SGD, divided by the rate."""
    rng = np.random.default_rng(seed)
    blocks = init_blocks(b, m, kind, rng)
    h = rng.normal(size=(EXAMPLES, WIDTH))
    readout = rng.normal(size=(WIDTH, 1)) / np.sqrt(WIDTH)  # fixed; the loss is the output
    end, stored = forward(h, blocks)
    grads = backward(np.tile(readout.T, (EXAMPLES, 1)) / EXAMPLES, blocks, stored)
    pairs = zip(blocks, grads, strict=True)
    stepped = [{k: block[k] - rate * g[k] for k in block} for block, g in pairs]
    change = (forward(h, stepped)[0] - end) @ readout  # (N, n) @ (n, 1) -> (N, 1)
    return float(np.abs(change.mean())) / rate


def _draw_effects(effects: dict[str, dict[int, float]]) -> None:
    _, ax = plt.subplots(num="first_step", figsize=(6.0, 3.8), layout="constrained")
    for i, (name, style) in enumerate(zip(effects, ("o-", "s--", "^-.", "D:"), strict=True)):
        values = effects[name]
        ax.loglog(list(values), list(values.values()), style, color=f"C{i}", label=name)
    ax.set(xlabel="number of blocks B", ylabel="change of the output / rate", ylim=(0.1, 1e8))
    ax.legend()
    plt.show()


if __name__ == "__main__":
    depths, effects = (1, 4, 16, 64, 256), {}
    for name, kind, m in (
        ("He, m = 2", "he", 2),
        ("last layer 0, m = 2", "zero last", 2),
        ("Fixup, m = 2", "fixup", 2),
        ("Fixup, m = 3", "fixup", 3),
    ):
        tried = [b for b in depths if kind != "he" or b <= 16]
        runs = [[effect_of_first_step(b, m, kind, seed) for b in tried] for seed in range(4)]
        means = np.exp(np.log(runs).mean(axis=0))  # geometric mean of the seeds
        effects[name] = dict(zip(tried, means.tolist(), strict=True))
        print(f"{name:20s} " + ", ".join(f"{b}: {e:.3g}" for b, e in effects[name].items()))
    _draw_effects(effects)
    he, zero, fixup_2, fixup_3 = effects.values()
    growth_he = he[16] / he[1]
    growth_zero = zero[256] / zero[1]
    growth_2, growth_3 = fixup_2[256] / fixup_2[1], fixup_3[256] / fixup_3[1]
    print(f"from 1 to 256 blocks: zero {growth_zero:.0f}, Fixup {growth_2:.2f}, {growth_3:.2f}")

    h = np.random.default_rng(0).normal(size=(EXAMPLES, WIDTH))
    start = init_blocks(64, 2, "fixup", np.random.default_rng(0))
    identity_error = float(np.abs(forward(h, start)[0] - h).max())
    end = forward(h, init_blocks(12, 2, "he", np.random.default_rng(0)))[0]
    stream_growth = float((np.sum(end**2) / np.sum(h**2)) ** (1 / 12))
    print(f"squared norm of the stream per block: He {stream_growth:.2f}, Fixup 1")

    assert identity_error == 0.0 and 1.4 < stream_growth < 2.8
    assert 150 < growth_zero < 450 and 0.5 < growth_2 < 2.0 and 0.5 < growth_3 < 2.0
    assert growth_he > 1000
