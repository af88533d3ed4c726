"""Of twelve equal methods one always looks better; pairing and a correction keep us honest.

Shapes: errors of one method are (S,), one entry per seed; the same seed means the same data
order and the same noise for both methods, so that a - b is free of what they share.
Sources: Student's t for the interval; Fisher's sign flips for the p-value; Bonferroni's
correction divides the allowed error rate among the comparisons.
"""

from itertools import product

import matplotlib.pyplot as plt
import numpy as np
from scipy import stats


def paired_interval(
    a: np.ndarray, b: np.ndarray, comparisons: int = 1, level: float = 0.95
) -> tuple[float, float]:
    """Return the t interval of the mean of a - b, corrected for several comparisons."""
    d = a - b
    quantile = stats.t.ppf(1 - (1 - level) / (2 * comparisons), len(d) - 1)
    half = quantile * d.std(ddof=1) / len(d) ** 0.5
    return float(d.mean() - half), float(d.mean() + half)


def sign_flip_p(a: np.ndarray, b: np.ndarray) -> float:
    """Return the share of all 2^S sign patterns whose mean of a - b is as extreme."""
    d = a - b
    signs = np.array(list(product([1.0, -1.0], repeat=len(d))))  # (2^S, S)
    means = np.abs(signs @ d)  # (2^S, S) @ (S,) -> (2^S,)
    return float(np.mean(means >= abs(d.sum()) * (1 - 1e-12)))


def seeds_needed(effect: float, sd: float, power: float = 0.8, comparisons: int = 1) -> int:
    """Return the seeds after which a true mean difference is found with this power.

    sd is that of the difference per seed. Normal approximation: slightly too few if small.
    """
    z = stats.norm.ppf(1 - 0.025 / comparisons) + stats.norm.ppf(power)
    return int(np.ceil((z * sd / effect) ** 2))


def lead_of_best(methods: int, seeds: int) -> float:
    """Return how far the best of equal methods is expected to lie above their common mean.

    Unit: standard deviation of one run. E[max] = integral of x d(Phi(x)^methods).
    """
    x = np.linspace(-8.0, 8.0, 4001)
    density = methods * stats.norm.cdf(x) ** (methods - 1) * stats.norm.pdf(x)
    return float(np.trapezoid(x * density, x)) / seeds**0.5


if __name__ == "__main__":
    sd, shared = 0.6, 0.8  # points of error; own noise of a run, and noise of the seed
    rng = np.random.default_rng(0)
    seed_effect = shared * rng.normal(size=(2000, 10))
    a, b = (3.0 + seed_effect + sd * rng.normal(size=(2000, 10)) for _ in range(2))
    unpaired = float((a.var(ddof=1, axis=1) + b.var(ddof=1, axis=1)).mean() ** 0.5)
    paired = float((a - b).var(ddof=1, axis=1).mean() ** 0.5)
    print(f"sd of a difference: {paired:.2f} if paired by seed, {unpaired:.2f} if not")

    false_alarms = {}
    for label, comparisons in (("plain", 1), ("corrected", 12)):
        runs = 3.0 + sd * rng.normal(size=(300, 13, 10))  # 13 equal methods, 10 seeds
        found = [
            any(np.prod(paired_interval(m, r[0], comparisons)) > 0 for m in r[1:]) for r in runs
        ]
        false_alarms[label] = float(np.mean(found))
    plain_alarms, corrected_alarms = false_alarms.values()
    print(f"12 comparisons of equals: a 'difference' in {plain_alarms:.0%} of studies,", end=" ")
    print(f"{corrected_alarms:.0%} with the correction")
    needed_half, needed_tenth = seeds_needed(0.5, paired), seeds_needed(0.1, paired)
    print(f"seeds for a true 0.5 points: {needed_half}; for 0.1 points: {needed_tenth}")
    lead_one, lead_ten = lead_of_best(12, 1), lead_of_best(12, 10)
    print(f"best of 12 equals leads by {lead_one:.2f} sd with 1 seed, {lead_ten:.2f} with 10")

    fig, ax = plt.subplots(num="lead", figsize=(5.4, 3.2), layout="constrained")
    methods = np.arange(1, 31)
    for seeds, style in ((1, "-"), (3, "--"), (10, "-.")):
        leads = [lead_of_best(int(k), seeds) for k in methods]
        ax.plot(methods, leads, style)
        ax.text(30.4, leads[-1], f"{seeds} seed" + "s" * (seeds > 1), va="center")
    ax.set_xlim(1, 36)
    ax.set_ylim(0, None)
    ax.set_xlabel("number of equally good methods")
    ax.set_ylabel("lead of the best (sd of a run)")
    plt.show()

    example = a[0] - b[0]
    assert abs(sign_flip_p(a[0], b[0]) - stats.ttest_1samp(example, 0).pvalue) < 0.05
    assert 0.80 < paired / (2**0.5 * sd) / 1.0 < 1.2 and paired < 0.8 * unpaired
    assert plain_alarms > 0.2 and corrected_alarms < 0.09
    assert abs(lead_of_best(2, 1) - 1 / np.pi**0.5) < 1e-6 and abs(lead_of_best(1, 1)) < 1e-9
