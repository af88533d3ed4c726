"""A variance output raises the likelihood; the mean gains where data is precise.

Claim (Nix and Weigend, 1994, abstract): a network with an output for the mean and one
for the variance, trained by maximum likelihood, gives local error bars, and "a
weighted-regression effect that improves generalization performance".
Data: y = sin(4x) + noise, x uniform in [-1, 1], standard deviation from 0.05 to 1.
All R = rates x seeds networks train at once: x (R, N, 1), w1 (R, 1, H), w2 (R, H, K).
"""

import math

import matplotlib.pyplot as plt
import numpy as np
import torch

SEEDS, SIZES, STEPS, EVERY, HIDDEN = 12, (100, 400), 400, 25, 16
RATES = (0.002, 0.01, 0.05, 0.25, 1.25)  # the same grid for both output layers
Tensors = list[torch.Tensor]


def truth(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the true mean and the true standard deviation at x."""
    return torch.sin(4 * x), torch.exp(1.5 * (x - 1))


def draw(n: int, generators: list[torch.Generator]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return inputs and targets, (R, n, 1): one data set per seed."""
    x = torch.stack([2 * torch.rand(n, 1, generator=g) - 1 for g in generators])
    mean, sd = truth(x)
    noise = torch.stack([torch.randn(n, 1, generator=g) for g in generators])
    return x.repeat(len(RATES), 1, 1), (mean + sd * noise).repeat(len(RATES), 1, 1)


def outputs(params: Tensors, x: torch.Tensor) -> torch.Tensor:
    """Return z = tanh(x w1 + b1) w2 + b2, (R, N, K)."""
    w1, b1, w2, b2 = params
    return torch.baddbmm(b2, torch.tanh(torch.baddbmm(b1, x, w1)), w2)


def loss(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return mean losses, (R,), up to a constant; z holds mean, log variance."""
    squared = (z[..., :1] - y) ** 2
    if z.shape[-1] == 1:  # variance 1: half the squared error
        return 0.5 * squared.mean(dim=(1, 2))
    return 0.5 * (z[..., 1:] + squared * torch.exp(-z[..., 1:])).mean(dim=(1, 2))


def train(count: int, n: int) -> tuple[Tensors, torch.Tensor, torch.Tensor]:
    """Return parameters of the lowest validation loss, that loss (R,), a variance.

    count is the number of outputs. The variance (R, 1, 1) is the mean squared error on
    the validation data: the best constant error bar for a network without its own.
    """
    generators = [torch.Generator().manual_seed(seed) for seed in range(SEEDS)]
    (x, y), (x_val, y_val) = draw(n, generators), draw(n, generators)
    shapes = ((1, HIDDEN, 3.0), (1, HIDDEN, 2.0), (HIDDEN, 2, HIDDEN**-0.5))
    start = [torch.stack([s * torch.randn(a, b, generator=g) for g in generators])
             for a, b, s in shapes]  # fmt: skip
    params = [p.repeat(len(RATES), 1, 1) for p in (*start, torch.zeros(SEEDS, 1, 2))]
    params[2:] = [p[..., :count].clone() for p in params[2:]]
    lr = torch.tensor(RATES).repeat_interleave(SEEDS)[:, None, None]
    m, v = ([torch.zeros_like(p) for p in params] for _ in range(2))
    kept, best = [p.clone() for p in params], torch.full((len(x),), math.inf)
    for p in params:
        p.requires_grad_()
    for step in range(1, STEPS + 1):
        grads = torch.autograd.grad(loss(outputs(params, x), y).sum(), params)
        with torch.no_grad():
            for i, (p, g) in enumerate(zip(params, grads, strict=True)):  # Adam
                m[i], v[i] = 0.9 * m[i] + 0.1 * g, 0.999 * v[i] + 0.001 * g * g
                root = (v[i] / (1 - 0.999**step)).sqrt()
                p -= lr * m[i] / (1 - 0.9**step) / (root + 1e-8)
            if step % EVERY == 0:
                now = loss(outputs(params, x_val), y_val)
                better = now < best  # nan is not better
                best = torch.where(better, now, best)
                for k, p in zip(kept, params, strict=True):
                    k[better] = p[better]
    residual = outputs(kept, x_val)[..., :1] - y_val
    return kept, best, (residual**2).mean(dim=(1, 2), keepdim=True)


def score(params: Tensors, variance: torch.Tensor) -> Tensors:
    """Return, on a grid and for each network, (R,): the squared error of the mean, the
    same for the precise half x < 0 and the noisy half, the expected -log p."""
    x = torch.linspace(-1, 1, 401)[:, None].expand(len(variance), -1, -1)
    (mean, sd), z = truth(x), outputs(params, x)
    squared = (z[..., :1] - mean) ** 2  # to the true mean: no noise in this number
    log_var = z[..., 1:] if z.shape[-1] == 2 else torch.log(variance)
    nll = log_var + (squared + sd**2) * torch.exp(-log_var) + math.log(2 * math.pi)
    halves = squared[:, :200], squared[:, 201:]
    return [part.mean(dim=(1, 2)) for part in (squared, *halves, 0.5 * nll)]


def gain(without: np.ndarray, with_it: np.ndarray) -> tuple[float, bool]:
    """Return the mean gain over seeds; whether it exceeds two standard errors."""
    gains = without - with_it
    mean = float(gains.mean())
    return mean, mean > 2 * float(gains.std(ddof=1)) / math.sqrt(len(gains))


def span(values: np.ndarray) -> str:
    """Return the mean and the range as text."""
    return f"{values.mean():.4f} ({values.min():.4f} to {values.max():.4f})"


def texts(scores: dict[tuple[int, int], np.ndarray]) -> list[str]:
    """Return mean and range for both sizes and both output layers."""
    return [span(scores[n, count]) for n in SIZES for count in (1, 2)]


def wins(scores: dict[tuple[int, int], np.ndarray], n: int) -> int:
    """Return in how many seeds the second output lowers the score."""
    return int((scores[n, 2] < scores[n, 1]).sum())


def _draw(shown: dict[int, Tensors], variance: float, at: dict[int, int]) -> None:
    """Draw both predictions for the first seed of the smaller size."""
    fig, axes = plt.subplots(
        2, 1, num="bars", figsize=(5.6, 6.0), sharex=True, layout="constrained"
    )
    x = torch.linspace(-1, 1, 201)[:, None]
    data = draw(SIZES[0], [torch.Generator().manual_seed(0)])
    for axis, count in zip(axes, (1, 2), strict=True):
        net = [p[at[count]][None] for p in shown[count]]
        z = outputs(net, x[None])[0].numpy()
        sd = np.exp(z[:, 1] / 2) if count == 2 else np.full(len(x), variance**0.5)
        line, mean = x[:, 0].numpy(), z[:, 0]
        axis.plot(*(d[0, :, 0].numpy() for d in data), "o", ms=3, mfc="none", color="0.5")
        axis.plot(line, truth(x)[0][:, 0], ":", color="C1", lw=2, label="true mean")
        axis.plot(line, mean, "-", color="C0", label="predicted mean")
        axis.fill_between(
            line,
            mean - 2 * sd,
            mean + 2 * sd,
            color="C0",
            alpha=0.2,
            label="± 2 deviations",
        )
        axis.set(ylabel=f"y, {('one output', 'two outputs')[count - 1]}", ylim=(-2.7, 3.1))
    axes[0].legend(frameon=False, ncols=3, loc="upper center", fontsize=9)
    axes[1].set(xlabel="input x", xticks=[-1, -0.5, 0, 0.5, 1])
    plt.show()


if __name__ == "__main__":
    torch.set_num_threads(1)
    errors, precise, noisy, nlls = {}, {}, {}, {}
    rates, kept_nets, first, constant = {}, {}, {}, {}
    for n in SIZES:
        for count in (1, 2):
            params, best, variance = train(count, n)
            table = best.view(len(RATES), SEEDS).mean(dim=1)
            chosen = int(table.argmin())  # learning rate of lowest mean validation loss
            rates[n, count] = RATES[chosen]
            pick = slice(chosen * SEEDS, (chosen + 1) * SEEDS)
            scores = [s[pick].numpy() for s in score(params, variance)]
            errors[n, count], precise[n, count], noisy[n, count], nlls[n, count] = scores
            error, nll = scores[0], scores[3]
            if n == SIZES[0]:
                kept_nets[count], first[count] = params, chosen * SEEDS
                constant[count] = variance[chosen * SEEDS].item()
            name = "mean, variance" if count == 2 else "mean only"
            print(f"N = {n}, {name:14s}: rate {RATES[chosen]:5}, error {span(error)},")
            print(f"    negative log-likelihood {span(nll)}")
    gains = {n: gain(errors[n, 1], errors[n, 2]) for n in SIZES}
    helped = [better for _, better in gains.values()]
    verdict = "reproduced" if all(helped) else "partly" if any(helped) else "not at this size"
    always = all(bool((nlls[n, 2] < nlls[n, 1]).all()) for n in SIZES)
    verdict_bars = "reproduced" if always else "not at this size"
    wins_small, wins_large = (wins(errors, n) for n in SIZES)
    print(f"better mean in {wins_small} and {wins_large} of {SEEDS} seeds: {verdict}")
    print(f"better likelihood in every run: {verdict_bars}")
    small, large = SIZES
    error_small_one, error_small_two, error_large_one, error_large_two = texts(errors)
    precise_small_one, precise_small_two, precise_large_one, precise_large_two = texts(precise)
    noisy_small_one, noisy_small_two, noisy_large_one, noisy_large_two = texts(noisy)
    nll_small_one, nll_small_two, nll_large_one, nll_large_two = texts(nlls)
    precise_small, precise_large = (wins(precise, n) for n in SIZES)
    noisy_small, noisy_large = (wins(noisy, n) for n in SIZES)
    print(
        f"precise half: better mean in {precise_small} and {precise_large} seeds",
        end="",
    )
    print(f", noisy half: in {noisy_small} and {noisy_large}")
    ratio_large = float(precise[large, 1].mean() / precise[large, 2].mean())
    grid = truth(torch.linspace(-1, 1, 401))[1]
    floor = float((torch.log(grid) + 0.5 * math.log(2 * math.pi) + 0.5).mean())
    print(f"lowest possible negative log-likelihood: {floor:.3f}")
    _draw(kept_nets, constant[1], first)

    assert all(RATES[0] < rate < RATES[-1] for rate in rates.values())
    assert verdict == "not at this size" and verdict_bars == "reproduced"
    assert precise_small > SEEDS / 2 and precise_large > 0.7 * SEEDS and ratio_large > 1.5
    assert all(noisy[key].mean() > 2 * precise[key].mean() for key in errors)
    assert all(floor < nlls[n, 2].min() for n in SIZES) and min(nlls[small, 1]) > 0.4
