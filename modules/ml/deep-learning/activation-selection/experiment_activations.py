"""In a shallow network most activation functions tie; without normalization depth parts them.

Claim (Ramachandran et al., 2017, abstract): Swish "tends to work better than ReLU on deeper
models"; SiLU is Swish with beta = 1. Data: scikit-learn's digits; 500 images are for tests and
nothing else. Every activation gets weights of variance 1 / (n E[f(z)^2]), Adam, the same five
learning rates, and the one with the lowest mean validation loss on seeds of its own. Other
seeds are then tested; a seed fixes training images, initial noise and batches, so differences
are taken seed by seed. Fixed beforehand: SiLU MATCHES in the shallow network if the 95 %
interval of its test error minus ReLU's ends below +0.5 points, and WORKS BETTER in the deep
one if the interval lies below 0. Both: reproduced; one: partly. All R networks (activation x
rate x seed) train as one: x is (R, N, D), weights are (R, D, K).
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from scipy import stats
from sklearn.datasets import load_digits

WIDTH, GATED, SHALLOW, DEEP, STEPS, BATCH = 32, 18, 2, 8, 150, 32
RATES, MARGIN = [0.003, 0.01, 0.03, 0.1, 0.3], 0.5
TUNING, TESTING = range(100, 103), range(200, 212)  # seeds
TRAIN, VALIDATION = slice(1000), slice(1000, 1297)  # images, mixed anew for each seed
TEST = slice(1297, None)  # 500 images, the same for all
FUNCTIONS = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "softsign": F.softsign,
    "softplus": F.softplus,
    "ReLU": torch.relu,
    "Leaky ReLU": F.leaky_relu,
    "PReLU": lambda z: F.leaky_relu(z, 0.25),  # as it starts
    "ELU": F.elu,
    "SELU": F.selu,
    "GELU": F.gelu,
    "SiLU": F.silu,
    "Mish": F.mish,
}
NAMES = [*FUNCTIONS]
TWINS = {"softsign": "tanh", "Leaky ReLU": "ReLU", "Mish": "SiLU"}  # left out if deep
DEEP_NAMES = [name for name in NAMES if name not in TWINS]


def gain(name: str) -> float:
    """Return 1 / E[f(z)^2] for standard normal z, by the trapezoidal rule."""
    z = torch.linspace(-12, 12, 4801, dtype=torch.float64)
    density = torch.exp(-z * z / 2) / (2 * torch.pi) ** 0.5
    return 1 / torch.trapezoid(density * FUNCTIONS[name](z) ** 2, z).item()


def load(seeds: range) -> tuple[torch.Tensor, torch.Tensor]:
    """Return images (S, 1797, 64) and labels (S, 1797): training, validation, test."""
    x, y = load_digits(return_X_y=True)
    fixed = np.random.default_rng(1).permutation(len(y))
    mixed = [np.random.default_rng(s).permutation(VALIDATION.stop) for s in seeds]
    order = [np.concatenate([fixed[m], fixed[TEST]]) for m in mixed]
    images, labels = torch.tensor(x[order]).float(), torch.tensor(y[order])
    images -= images[:, TRAIN].mean(dim=1, keepdim=True)
    scale = images[:, TRAIN].square().mean(dim=(1, 2), keepdim=True).sqrt()
    return images / scale, labels  # the second moment of a training pixel is 1 on average


def init(names: list[str], depth: int, rates: int, seeds: range) -> list[torch.Tensor]:
    """Return [w, b, ..., w, b, slopes]; networks in the order (activation, rate, seed)."""
    gated = names == ["SwiGLU"]
    scales = [gain("SiLU" if gated else name) ** 0.5 for name in names]
    sizes = [(64, WIDTH)] + [(WIDTH, WIDTH)] * (depth - 1) + [(WIDTH, 10)]
    if gated:  # the last hidden layer: two matrices, half as many units as columns
        sizes[-2:] = [(WIDTH, 2 * GATED), (GATED, 10)]
    generators = [torch.Generator().manual_seed(s) for s in seeds]
    params = []
    for layer, (d, k) in enumerate(sizes):
        noise = torch.stack([torch.randn(d, k, generator=g) for g in generators]) / d**0.5
        noise = noise.repeat(rates, 1, 1)
        w = torch.cat([noise * (scale if layer else 1.0) for scale in scales])
        params += [w, torch.zeros(len(w), 1, k)]
    params.append(torch.full((len(params[0]), 1, depth), 0.25))  # only PReLU's are used
    return [p.requires_grad_() for p in params]


def logits(params: list[torch.Tensor], names: list[str], x: torch.Tensor) -> torch.Tensor:
    """Return the logits (R, N, 10) of all networks for their own images x (R, N, 64)."""
    *layers, w_out, b_out, slopes = params
    h = x
    for layer, (w, b) in enumerate(zip(layers[::2], layers[1::2], strict=True)):
        z = torch.baddbmm(b, h, w)  # (R, N, D) @ (R, D, K) -> (R, N, K)
        if names == ["SwiGLU"]:
            last = z.shape[2] == 2 * GATED
            h = F.silu(z[..., :GATED]) * z[..., GATED:] if last else F.silu(z)
            continue
        parts = dict(zip(names, z.chunk(len(names)), strict=True))
        a = slopes[:, :, layer : layer + 1].chunk(len(names))[names.index("PReLU")]
        learned = torch.where(parts["PReLU"] > 0, parts["PReLU"], a * parts["PReLU"])
        h = [learned if n == "PReLU" else FUNCTIONS[n](p) for n, p in parts.items()]
        h = torch.cat(h)
    return torch.baddbmm(b_out, h, w_out)


@torch.no_grad()
def adam(
    params: list[torch.Tensor],
    grads: tuple[torch.Tensor, ...],
    m: list[torch.Tensor],
    v: list[torch.Tensor],
    rate: torch.Tensor,
    step: int,
) -> None:
    """Change params, m and v by one step of Adam; rate is (R, 1, 1), step counts from 1."""
    for p, g, m_p, v_p in zip(params, grads, m, v, strict=True):
        m_p.lerp_(g, 0.1)
        v_p.mul_(0.999).addcmul_(g, g, value=0.001)
        root = v_p.sqrt().mul_((1 - 0.999**step) ** -0.5).add_(1e-8)
        p.sub_(torch.div(m_p, root, out=root).mul_(rate / (1 - 0.9**step)))


def train(
    names: list[str], depth: int, rates: np.ndarray, seeds: range, images: slice
) -> tuple[np.ndarray, np.ndarray]:
    """Return loss and error in % on these images, for rates (A, r): each (A, r, S)."""
    copies, shape = rates.size, (*rates.shape, len(seeds))
    params = init(names, depth, rates.shape[1], seeds)
    rate = torch.tensor(rates.ravel()).float().repeat_interleave(len(seeds))[:, None, None]
    m, v = ([torch.zeros_like(p) for p in params] for _ in range(2))
    x, y = load(seeds)
    generators = [torch.Generator().manual_seed(s) for s in seeds]
    each = torch.arange(len(seeds))[:, None]
    for step in range(1, STEPS + 1):
        batch = torch.stack([torch.randint(TRAIN.stop, (BATCH,), generator=g) for g in generators])
        z = logits(params, names, x[each, batch].repeat(copies, 1, 1))
        targets = y[each, batch].repeat(copies, 1).flatten()
        loss = F.cross_entropy(z.flatten(0, 1), targets, reduction="sum") / BATCH
        grads = torch.autograd.grad(loss, params, allow_unused=True, materialize_grads=True)
        decay = 1 - step / (STEPS + 1)  # the learning rate falls linearly
        adam(params, grads, m, v, rate * decay, step)  # the networks share nothing
    with torch.no_grad():
        targets = y[:, images].repeat(copies, 1)
        z = logits(params, names, x[:, images].repeat(copies, 1, 1))
        loss = F.cross_entropy(z.mT, targets, reduction="none").mean(1)
        wrong = 100.0 * ((z.argmax(2) != targets) | ~z.isfinite().all(2)).float().mean(1)
    return loss.nan_to_num(nan=torch.inf).view(shape).numpy(), wrong.view(shape).numpy()


def interval(difference: np.ndarray, comparisons: int = 1) -> tuple[float, float]:
    """Return the 95 % t interval of the mean; with Bonferroni's correction if asked."""
    n = len(difference)
    half = stats.t.ppf(1 - 0.025 / comparisons, n - 1) * difference.std(ddof=1) / n**0.5
    return float(difference.mean() - half), float(difference.mean() + half)


def compare(groups: list[list[str]], depth: int) -> tuple[dict, dict, dict]:
    """Return, by activation, test errors (S,), the best rate's index, tuning errors (r,)."""
    errors, best, tuning = {}, {}, {}
    for names in groups:
        grid = np.tile(RATES, (len(names), 1))
        loss, error = train(names, depth, grid, TUNING, VALIDATION)
        index = loss.mean(axis=2).argmin(axis=1)
        rates = np.array(RATES)[index][:, None]
        _, test = train(names, depth, rates, TESTING, TEST)
        for i, name in enumerate(names):
            errors[name], best[name] = test[i, 0], int(index[i])
            tuning[name] = error[i].mean(axis=1)
    return errors, best, tuning


def beyond_noise(errors: dict[str, np.ndarray]) -> str:
    """Return which activations differ from ReLU by more than the corrected interval."""
    others = [name for name in errors if name != "ReLU"]
    found = [
        f"{name} ({(errors[name] - errors['ReLU']).mean():+.1f})"
        for name in sorted(others, key=lambda n: errors[n].mean())
        if np.prod(interval(errors[name] - errors["ReLU"], len(others))) > 0
    ]
    return ", ".join(found) or "none"


def _draw(axis: plt.Axes, errors: dict[str, np.ndarray]) -> None:
    """Draw one line per activation: difference to ReLU, lowest error at the top."""
    order = sorted(errors, key=lambda name: -errors[name].mean())
    for row, name in enumerate(order):
        difference = errors[name] - errors["ReLU"]
        if name == "ReLU":
            axis.plot(0, row, "D", color="0.5")
            continue
        low, high = interval(difference, len(errors) - 1)
        clear = low > 0 or high < 0
        axis.plot([low, high], [row, row], "-", color="C0", lw=3.0 if clear else 1.2)
        face = "C0" if clear else "none"
        axis.plot(difference.mean(), row, "o", color="C0", markerfacecolor=face)
    axis.axvline(0, color="0.5", lw=1.0, linestyle=":")
    labels = [f"{name}  {errors[name].mean():.1f} %" for name in order]
    axis.set_yticks(range(len(order)), labels)


if __name__ == "__main__":
    torch.set_flush_denormal(True)
    errors, best, tuning = compare([NAMES, ["SwiGLU"]], SHALLOW)
    deep_errors, deep_best, deep_tuning = compare([DEEP_NAMES], DEEP)

    print(f"{'':13}{SHALLOW} hidden layers: error %, rate  {DEEP} hidden layers: error %, rate")
    for name, e in errors.items():
        line = f"{name:11s} {e.mean():9.2f} ± {e.std(ddof=1):.2f}  {RATES[best[name]]:6g}"
        if name in deep_errors:
            e, rate = deep_errors[name], RATES[deep_best[name]]
            line += f"    {e.mean():15.2f} ± {e.std(ddof=1):.2f}  {rate:6g}"
        print(line)

    silu, silu_deep = (e["SiLU"] - e["ReLU"] for e in (errors, deep_errors))
    (low, high), (deep_low, deep_high) = interval(silu), interval(silu_deep)
    silu_shallow_text = f"{silu.mean():+.2f} ({low:+.2f} to {high:+.2f})"
    silu_deep_text = f"{silu_deep.mean():+.2f} ({deep_low:+.2f} to {deep_high:+.2f})"
    matches, works_better = high < MARGIN, deep_high < 0
    verdict = ["not at this size", "partly", "reproduced"][matches + works_better]
    print(f"SiLU - ReLU: {silu_shallow_text}; deep {silu_deep_text}: {verdict}")
    shallow_beyond, deep_beyond = beyond_noise(errors), beyond_noise(deep_errors)

    means = {name: errors[name].mean() for name in NAMES}
    winner = min(means, key=means.get)
    winner_lead = float(np.mean([*means.values()]) - means[winner])
    noise = float(np.mean([errors[name].std(ddof=1) for name in NAMES]))
    equals = np.random.default_rng(0).normal(size=(20_000, len(NAMES))).max(axis=1).mean()
    expected_lead = float(equals) * noise / len(TESTING) ** 0.5  # of the best of equals
    pairing = [
        (errors[n] - errors["ReLU"]).var() / (errors[n].var() + errors["ReLU"].var())
        for n in NAMES
        if n != "ReLU"
    ]
    pairing_typical = float(np.median(pairing))
    # one small rate for all, as if somebody had not tuned
    untuned = {n: tuning[n][0] - tuning[n][best[n]] for n in NAMES}
    untuned_name = max(untuned, key=untuned.get)
    untuned_gap, untuned_relu = float(untuned[untuned_name]), float(untuned["ReLU"])
    elu_gap, relu_deep, elu_deep, sigmoid_deep, softplus_deep, gated = (
        float(e.mean())
        for e in (
            deep_errors["ELU"] - deep_errors["ReLU"],
            *(deep_errors[n] for n in ("ReLU", "ELU", "sigmoid", "softplus")),
            errors["SwiGLU"] - errors["ReLU"],
        )
    )
    gated_low, gated_high = interval(errors["SwiGLU"] - errors["ReLU"], len(errors) - 1)
    gate_text = "a gain" if gated_high < 0 else "a loss" if gated_low > 0 else "within noise"
    tanh_deep = float(deep_errors["tanh"].mean())
    selu_gap = float((deep_errors["SELU"] - deep_errors["ReLU"]).mean())
    seeds, tuning_seeds, rate_count = len(TESTING), len(TUNING), len(RATES)
    lowest, highest = min(means.values()), max(means.values())

    fig, axes = plt.subplots(
        2, 1, num="errors", figsize=(5.4, 7.6), layout="constrained", height_ratios=[13, 9]
    )
    _draw(axes[0], errors)
    _draw(axes[1], deep_errors)
    axes[0].set_xlabel(f"test error minus ReLU's, {SHALLOW} hidden layers (points)")
    axes[1].set_xscale("symlog", linthresh=4)
    axes[1].set_xticks([-4, -2, 0, 2, 4, 10, 30, 80], ["-4", "-2", "0", "2", "4", "10", "30", "80"])
    axes[1].set_xlim(-5, 130)
    axes[1].minorticks_off()
    axes[1].set_xlabel(f"the same, {DEEP} hidden layers (points; log beyond 4)")
    plt.show()

    assert all(0 < b < len(RATES) - 1 for b in [*best.values(), *deep_best.values()])
    assert all(abs(means[name] - means["ReLU"]) < 2 for name in NAMES)
    assert abs(silu.mean()) < 1.3 and abs(silu_deep.mean()) < 4
    assert elu_gap < 0 and selu_gap < 0 and np.isfinite([*errors.values()]).all()
    assert sigmoid_deep > 40 and softplus_deep > relu_deep + 4 and untuned_gap > 5
