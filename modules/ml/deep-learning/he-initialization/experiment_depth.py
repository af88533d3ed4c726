"""ReLU networks stop training at a smaller depth from Xavier's start than from He's.

Claims (He et al., 2015, Section 2.2): a network of 22 layers converges from both starts,
from He's earlier (Figure 2); one of 30 layers converges from He's and stalls completely
from Xavier's (Figure 3). Here: dense layers without biases, scikit-learn's digits 0 to 2,
SGD with momentum 0.9 as in the paper, without its weight decay and dropout. Both starts
have the same random numbers, batches and learning rates; each keeps, for each depth, the
rate with the lowest mean training loss at the end, taken on 240 of the images; a seed that
ends above the loss of guessing, log 3, or at nan counts as guessing, so that one of them
does not rule out a rate. A run converges if its loss ends below half of log 3; a start
holds at a depth if at least 4 of 5 seeds converge. This criterion, the digits, width,
steps and rates were settled on pilot runs with other seeds and batches.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits

DEPTHS, WIDTH, CLASSES = (6, 10, 14, 22, 30), 40, 3  # depth: layers with weights
STEPS, BATCH, EVALUATED, SEEDS, HOLDS = 200, 24, 240, 5, 4
GAINS = {"Xavier": 1.0, "He": 2.0}  # variance times fan-in
RATES = (0.0004, 0.001, 0.0025, 0.006, 0.015, 0.04, 0.2, 1.6)
FIRST_SEED = 30  # the pilot runs, which settled the setting, used seeds below 25
SHAPE = (len(RATES), len(GAINS), SEEDS)


def init(depth: int, inputs: int) -> list[torch.Tensor]:
    """Return first (S, D, K), middle (depth - 2, S, K, K) and last weights (S, K, classes)."""
    networks = []
    for gain in GAINS.values():
        for seed in range(SEEDS):
            g = torch.Generator().manual_seed(FIRST_SEED + seed)
            first = torch.randn(inputs, WIDTH, generator=g) * (gain / inputs) ** 0.5
            middle = torch.randn(depth - 2, WIDTH, WIDTH, generator=g) * (gain / WIDTH) ** 0.5
            last = torch.randn(WIDTH, CLASSES, generator=g) / WIDTH**0.5  # no ReLU follows
            networks.append((first, middle, last))
    parts = [torch.stack(list(p) * len(RATES)) for p in zip(*networks, strict=True)]
    parts[1] = parts[1].transpose(0, 1).contiguous()
    return [p.requires_grad_() for p in parts]


def logits(params: list[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """Return the logits (S, N, classes) of all networks for images x (N, D)."""
    h = torch.relu(x @ params[0])  # (N, D) @ (S, D, K) -> (S, N, K)
    for w in params[1].unbind(0):
        h = torch.relu(h @ w)  # (S, N, K) @ (S, K, K) -> (S, N, K)
    return h @ params[2]


def losses(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy of each network, (S,), for logits (S, N, classes)."""
    return F.cross_entropy(z.mT, y.expand(len(z), -1), reduction="none").mean(dim=1)


def train(depth: int, x: torch.Tensor, y: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return final training loss, (rates, starts, seeds), and batch losses over steps."""
    params = init(depth, x.shape[1])
    velocities = [torch.zeros_like(p) for p in params]
    rate = torch.tensor(RATES).repeat_interleave(len(GAINS) * SEEDS)[:, None, None]
    g, history = torch.Generator().manual_seed(FIRST_SEED), []
    for _ in range(STEPS):
        batch = torch.randint(len(y), (BATCH,), generator=g)
        loss = losses(logits(params, x[batch]), y[batch])
        grads = torch.autograd.grad(loss.sum(), params)  # networks share nothing
        history.append(loss.detach())
        with torch.no_grad():
            for p, v, grad in zip(params, velocities, grads, strict=True):
                v.mul_(0.9).add_(grad)
                p.addcmul_(v, rate, value=-1)
    with torch.no_grad():
        final = losses(logits(params, x[:EVALUATED]), y[:EVALUATED]).nan_to_num(nan=torch.inf)
    return final.view(SHAPE).numpy(), torch.stack(history).view(STEPS, *SHAPE).numpy()


def steps_to(level: float, history: np.ndarray) -> np.ndarray:
    """Return when the mean of the last 10 batch losses first falls below level; inf: never."""
    smooth = np.apply_along_axis(np.convolve, 0, history, np.ones(10) / 10, mode="valid")
    below = smooth < level
    return np.where(below.any(axis=0), below.argmax(axis=0) + 10.0, np.inf)


def choose(loss: np.ndarray, guessing: float) -> int:
    """Return the index of the best rate; loss (rates, seeds), a failure counts as guessing."""
    return int(np.minimum(loss, guessing).mean(axis=1).argmin())


def _draw(final: dict[str, list[np.ndarray]], guessing: float) -> None:
    _, ax = plt.subplots(num="depth", figsize=(6.4, 3.8), layout="constrained")
    for i, (name, line, marker) in enumerate((("He", "-", "o"), ("Xavier", "--", "s"))):
        ax.plot(DEPTHS, [np.median(loss) for loss in final[name]], line, color=f"C{i}")
        for depth, loss in zip(DEPTHS, final[name], strict=True):
            ax.plot([depth + 0.6 * i - 0.3] * SEEDS, loss, marker, color=f"C{i}", alpha=0.6)
    ax.axhline(guessing, color="0.5", linestyle=":")
    ax.text(6, guessing + 0.02, "guessing")
    ax.axhline(guessing / 2, color="0.5", linestyle=":")
    ax.text(15.5, guessing / 2 + 0.02, "converged below")
    ax.text(16.5, 0.12, "He", color="C0")
    ax.text(11.7, 0.42, "Xavier", color="C1", ha="right")
    ax.set(xlabel="layers", ylabel="training loss at the end", ylim=(-0.05, 1.25))
    ax.set_xticks(DEPTHS)


if __name__ == "__main__":
    torch.set_flush_denormal(True)  # numbers below 1e-38 are slow and change nothing
    images, labels = load_digits(n_class=CLASSES, return_X_y=True)
    x, y = torch.tensor(images).float(), torch.tensor(labels)
    x = (x - x.mean(dim=0)) / x.std()
    guessing = float(np.log(CLASSES))

    final, converged, rates, speed = ({name: [] for name in GAINS} for _ in range(4))
    anywhere = {}  # does any seed converge at any rate?
    print("layers  start    rate    converge  median loss (lowest to highest)  steps to half")
    for depth in DEPTHS:
        loss, history = train(depth, x, y)
        for i, name in enumerate(GAINS):
            best = choose(loss[:, i], guessing)
            anywhere[name, depth] = bool((loss[:, i] < guessing / 2).any())
            values = np.minimum(loss[best, i], guessing)
            final[name].append(values)
            converged[name].append(int((values < guessing / 2).sum()))
            rates[name].append(best)
            speed[name].append(float(np.median(steps_to(guessing / 2, history[:, best, i]))))
            run = f"{depth:6d}  {name:7s}{RATES[best]:7g}    {converged[name][-1]} of {SEEDS}"
            spread = f"{np.median(values):.3f} ({values.min():.3f} to {values.max():.3f})"
            print(f"{run}     {spread}           {speed[name][-1]:.0f}")
        if depth == DEPTHS[-1]:
            xavier_divergences = int(np.isinf(loss[-1, 0]).sum())

    holds = {name: [count >= HOLDS for count in converged[name]] for name in GAINS}
    both = [d for d, a, b in zip(DEPTHS, *holds.values(), strict=True) if a and b]
    deepest = {name: int(max(np.array(DEPTHS)[holds[name]], default=0)) for name in GAINS}
    at_22, at_30 = DEPTHS.index(22), DEPTHS.index(30)
    claim_22 = 22 in both and speed["He"][at_22] < speed["Xavier"][at_22]
    xavier_stalls = not anywhere["Xavier", 30]
    claim_30 = xavier_stalls and holds["He"][at_30]
    verdict = "not at this size"
    if claim_22 and claim_30:
        verdict = "reproduced"
    elif xavier_stalls and anywhere["He", 30]:
        verdict = "partly"
    print(f"verdict: {verdict}; deepest that holds: Xavier {deepest['Xavier']}, He {deepest['He']}")
    cells = {}
    for name in GAINS:
        counts = zip(converged[name], final[name], speed[name], strict=True)
        for depth, (count, values, step) in zip(DEPTHS, counts, strict=True):
            when = f"{step:.0f}" if np.isfinite(step) else "never"
            cells[name, depth] = f"{count} of {SEEDS}; {np.median(values):.2f}; {when}"
    xavier_6, xavier_10, xavier_14, xavier_22, xavier_30 = (cells["Xavier", d] for d in DEPTHS)
    he_6, he_10, he_14, he_22, he_30 = (cells["He", d] for d in DEPTHS)
    deepest_xavier, deepest_he = deepest["Xavier"], deepest["He"]
    he_converged_30 = converged["He"][at_30]
    rate_count, lowest_rate, highest_rate = len(RATES), RATES[0], RATES[-1]

    _draw(final, guessing)
    plt.show()

    for name in GAINS:  # a best rate at the edge proves nothing, except that all failed
        for depth, best in zip(DEPTHS, rates[name], strict=True):
            assert 0 < best < len(RATES) - 1 or not anywhere[name, depth], (name, depth)
    assert xavier_stalls and xavier_divergences > 0 and deepest["Xavier"] < deepest["He"]
    assert all(speed["He"][i] < speed["Xavier"][i] for i in range(2))  # 6 and 10 layers
