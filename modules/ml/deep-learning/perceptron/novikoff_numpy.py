"""Every mistake adds at least the margin to w u; w itself grows only like a square root.

u is a unit vector with y_n x_n u >= margin for all n, and R the largest norm of an example.
After k mistakes from zero: k margin <= w u <= |w| <= sqrt(k) R, hence k <= (R / margin)^2.
Shapes: a (N, D) has the rows y_n x_n, so that a mistake is a row with a_n w <= 0.
Source: Novikoff (1962).
"""

import matplotlib.pyplot as plt
import numpy as np


def pairs(n: int, d: int, margin: float, rng: np.random.Generator) -> np.ndarray:
    """Return a (n, d) of unit rows whose largest possible margin is known: that of u = e_1.

    Rows come in pairs m e_1 +- v with m >= margin, and m = margin in the first. Its midpoint
    is margin e_1, so no unit vector gives both rows more; e_1 gives every row at least that.
    """
    m = rng.uniform(margin, 3 * margin, size=(n // 2, 1))
    m[0] = margin
    v = rng.normal(size=(n // 2, d - 1))
    v *= np.sqrt(1 - m**2) / np.linalg.norm(v, axis=1, keepdims=True)
    return np.concatenate([np.hstack([m, v]), np.hstack([m, -v])])


def weights_after_mistakes(a: np.ndarray) -> np.ndarray:
    """Return w after 0, 1, 2, ... mistakes from zero, for separable a: (mistakes + 1, D)."""
    path = [np.zeros(a.shape[1])]
    clean = 0  # examples in a row without a mistake
    while clean < len(a):
        for a_n in a:
            if a_n @ path[-1] <= 0:
                path.append(path[-1] + a_n)
                clean = 0
            else:
                clean += 1
    return np.array(path)


def _draw(along: np.ndarray, norms: np.ndarray, margin: float) -> None:
    """Draw both quantities between the two bounds of the proof."""
    k = np.arange(round(1 / margin**2) + 1)
    fig, ax = plt.subplots(num="squeeze", figsize=(5.6, 4.2), layout="constrained")
    ax.plot(k, np.sqrt(k), "C1--")
    ax.plot(k, margin * k, "C0--")
    ax.plot(norms, "C1-", lw=2)
    ax.plot(along, "C0-", lw=2)
    ax.plot(k[-1], np.sqrt(k[-1]), "o", color="0.5", ms=8)
    ax.text(k[-1] * 0.52, np.sqrt(k[-1]) * 0.76, "at most √k R", color="C1", ha="right")
    ax.text(k[-1] * 0.55, margin * k[-1] * 0.47, "at least k γ", color="C0")
    end = len(norms) - 1
    arrow = {"arrowstyle": "->", "color": "0.5"}
    ax.annotate("length of w", (end, norms[-1]), (end + 9, 2.3), color="C1", arrowprops=arrow)
    ax.annotate("w u", (end, along[-1]), (end + 5, 1.2), color="C0", arrowprops=arrow)
    ax.text(k[-1], np.sqrt(k[-1]) * 1.04, "(R/γ)²", ha="center", color="0.5")
    ax.set(xlabel="mistakes k", ylabel="size", ylim=(0, 1.2 * np.sqrt(k[-1])))
    plt.show()


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    margin = 0.1
    a = rng.permutation(pairs(60, 10, margin, rng))
    radius = float(np.max(np.linalg.norm(a, axis=1)))
    path = weights_after_mistakes(a)
    along, norms = path[:, 0], np.linalg.norm(path, axis=1)
    k = np.arange(len(path))
    mistakes, bound = len(path) - 1, (radius / margin) ** 2
    slack = float(bound / mistakes)
    print(f"margin {a[:, 0].min():.2f}, R {radius:.2f}: {mistakes} mistakes, bound {bound:.0f}")
    print(f"at the end w u = {along[-1]:.2f} and |w| = {norms[-1]:.2f}")
    print(f"the proof allows {mistakes * margin:.2f} to {np.sqrt(mistakes):.2f} for both")
    _draw(along, norms, margin)

    assert np.all(a @ path[-1] > 0) and mistakes <= bound
    assert np.all(along >= k * margin - 1e-9) and np.all(norms >= along - 1e-9)
    assert np.all(norms <= np.sqrt(k) * radius + 1e-9)
    growth = np.diff(norms**2)  # 2 a_n w + |a_n|^2 with a_n w <= 0
    assert np.all(growth <= radius**2 + 1e-9)
