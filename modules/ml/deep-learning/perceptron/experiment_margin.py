"""Mistakes stay below Novikoff's bound and grow with it; the order matters, the rate does not.

Claims: (1) mistakes <= (R / margin)^2 from zero weights (Novikoff 1962); (2) the bound read
as an estimate: mistakes grow like 1 / margin^2; (3) from zero weights the learning rate
changes neither the mistakes nor the direction. Then, without a claim: how much does the
order of the examples change? (1) and (3) are theorems, so they check this code.
Criteria, fixed beforehand: (1) every run within the bound; (2) the slope of log mistakes
over log(1 / margin) is within 0.25 of 2 in both kinds of data; (3) equal counts in every run.
Shapes: a (N, D) has the rows y_n x_n, of length R = 1; a mistake is a_n w <= 0.
"""

import matplotlib.pyplot as plt
import numpy as np

N, D, SEEDS, MARGINS = 200, 20, 10, (0.3, 0.1, 0.03, 0.01, 0.003)
RATES, ORDERS = (1e-3, 0.1, 1.0, 10.0, 1e3), 30


def make(kind: str, margin: float, rng: np.random.Generator) -> np.ndarray:
    """Return unit rows a (N, D), in random order, whose largest margin is exactly margin.

    Rows are m e_1 + v. In "band" all m equal the margin and v comes with -v; in "gap" m is
    that of a random point of the sphere beyond the margin, and one pair pins the margin.
    """
    if kind == "band":
        m, v = np.full(N, margin), rng.normal(size=(N // 2, D - 1))
        v = np.concatenate([v, -v])
    else:
        points = rng.normal(size=(40 * N, D))
        m = np.abs(points[:, 0]) / np.linalg.norm(points, axis=1)
        m = m[m >= margin][:N]
        v = rng.normal(size=(N, D - 1))
        m[:2], v[1] = margin, -v[0]
    v *= (np.sqrt(1 - m**2) / np.linalg.norm(v, axis=1))[:, None]
    return rng.permutation(np.column_stack([m, v]))


def run(a: np.ndarray, w: np.ndarray, lr: float = 1.0) -> tuple[np.ndarray, int]:
    """Return w and the mistakes of cyclic training; jumps from one mistake to the next."""
    w, mistakes, position = w.copy(), 0, 0
    while True:
        wrong = a @ w <= 0  # (N, D) @ (D,) -> (N,)
        if not wrong[position:].any():
            if not wrong.any():
                return w, mistakes
            position = 0
        n = position + wrong[position:].argmax()
        w += lr * a[n]
        mistakes, position = mistakes + 1, n + 1


def spread(counts: list[int] | np.ndarray) -> str:
    """Return the median and the range as text."""
    return f"{np.median(counts):,.0f} ({min(counts):,} to {max(counts):,})"


def slope(values: np.ndarray) -> float:
    """Return the slope of log median over log(1 / margin) for values (margins, seeds)."""
    logs = np.log(1 / np.array(MARGINS))
    return float(np.polyfit(logs, np.log(np.median(values, axis=1)), 1)[0])


def interval(values: np.ndarray, rng: np.random.Generator) -> str:
    """Return the 95 % range of the slope over 500 bootstrap samples of the seeds as text."""
    n = values.shape[1]
    slopes = [slope(values[:, rng.integers(n, size=n)]) for _ in range(500)]
    low, high = np.percentile(slopes, [2.5, 97.5])
    return f"{low:.2f} to {high:.2f}"


def _draw(counts: dict[str, np.ndarray]) -> None:
    """Draw mistakes over the margin, against the bound."""
    fig, ax = plt.subplots(num="mistakes", figsize=(5.6, 4.4), layout="constrained")
    inverse = 1 / np.array(MARGINS)
    ax.loglog(inverse, inverse**2, "--", color="0.5")
    ax.text(inverse[2] * 0.85, inverse[2] ** 2, "bound (R/γ)²", ha="right", va="bottom")
    for (kind, values), style in zip(counts.items(), ("C0o-", "C1s-"), strict=True):
        ax.loglog(inverse, np.median(values, axis=1), style, label=kind)
        ax.fill_between(inverse, values.min(1), values.max(1), color=style[:2], alpha=0.2)
    ax.legend(frameon=False)
    ax.set(xlabel="R/γ: radius over margin", ylabel="mistakes", ylim=(3, None))
    plt.show()


if __name__ == "__main__":
    counts = {kind: np.zeros((len(MARGINS), SEEDS), dtype=int) for kind in ("band", "gap")}
    for kind, values in counts.items():
        for i, margin in enumerate(MARGINS):
            for seed in range(SEEDS):
                a = make(kind, margin, np.random.default_rng(seed))
                values[i, seed] = run(a, np.zeros(D))[1]
    bounds = 1 / np.array(MARGINS)[:, None] ** 2
    within = all(bool((values <= bounds + 1e-9).all()) for values in counts.values())
    closest = max(float((values / bounds).max()) for values in counts.values())
    runs = sum(values.size for values in counts.values())
    rows = {kind: [spread(v) for v in values] for kind, values in counts.items()}
    loose = {kind: np.median(bounds / values, axis=1) for kind, values in counts.items()}
    slope_band, slope_gap = (slope(values) for values in counts.values())
    rng = np.random.default_rng(0)
    interval_band, interval_gap = (interval(values, rng) for values in counts.values())
    near = sum(abs(found - 2) <= 0.25 for found in (slope_band, slope_gap))
    verdict_bound = "reproduced" if within else "not at this size"
    verdict_rate = ("not at this size", "partly", "reproduced")[near]
    print(f"(1) {runs} runs, largest mistakes / bound {closest:.2f}: {verdict_bound}")
    print(f"(2) slopes band {slope_band:.2f}, gap {slope_gap:.2f} (bound 2): {verdict_rate}")
    print(f"    95 % over the seeds: band {interval_band}, gap {interval_gap}")
    print(f"    bound / mistakes: band {loose['band'].round(1)}, gap {loose['gap'].round(1)}")

    zero_counts, start_counts, cosines = [], [], []
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        a, start = make("gap", 0.03, rng), rng.normal(size=D)
        found = [run(a, np.zeros(D), lr) for lr in RATES]
        zero_counts.append([mistakes for _, mistakes in found])
        units = np.array([w / np.linalg.norm(w) for w, _ in found])
        cosines.append(float(np.min(units @ units.T)))
        start_counts.append([run(a, start, lr)[1] for lr in RATES])
    zero, elsewhere = np.array(zero_counts), np.array(start_counts)  # (SEEDS, rates)
    same = bool((zero == zero[:, :1]).all()) and min(cosines) > 1 - 1e-9
    verdict_rates = "reproduced" if same else "not at this size"
    from_zero = [f"{m:,.0f}" for m in np.median(zero, axis=0)]
    from_start = [f"{m:,.0f}" for m in np.median(elsewhere, axis=0)]
    print(f"(3) medians at rates 0.001 to 1000 from zero: {from_zero}: {verdict_rates}")
    print(f"    from random weights: {from_start}")
    slow_start, fast_start = from_start[0], from_start[-1]

    spans, angles = [], []
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        a = make("gap", 0.03, rng)
        ends = [run(rng.permutation(a), np.zeros(D)) for _ in range(ORDERS)]
        spans.append([mistakes for _, mistakes in ends])
        units = np.array([w / np.linalg.norm(w) for w, _ in ends])
        angles.append(float(np.degrees(np.arccos(np.min(units @ units.T)))))
    ratios = [max(span) / min(span) for span in spans]
    order_example, order_ratio = spread(spans[0]), float(np.median(ratios))
    order_angle = float(np.median(angles))
    print(f"{ORDERS} orders of one data set: {order_example} mistakes; over all data sets")
    print(f"most / fewest {order_ratio:.1f}, widest angle {order_angle:.0f} degrees (medians)")
    _draw(counts)

    band_3, _, band_03, _, band_003 = rows["band"]
    gap_3, _, gap_03, _, gap_003 = rows["gap"]
    loose_band_last, loose_gap_last = (float(loose[kind][-1]) for kind in ("band", "gap"))
    assert within and 0.4 < closest < 1 and verdict_rate == "reproduced"
    assert 1.6 < slope_gap < 2.2 and 1.7 < slope_band < 2.2 and loose_gap_last > 2
    assert same and elsewhere[:, 0].mean() > 3 * elsewhere[:, -1].mean()
    assert min(ratios) > 1.1 and 5 < order_angle < 60
