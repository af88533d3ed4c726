"""The best step of a finite difference is predicted by one formula, in float32 and float64.

With values in error by up to r = u |f(x)|, u the unit roundoff, the errors are bounded by
forward h |f''| / 2 + 2 r / h and central h^2 |f'''| / 6 + r / h, smallest at
2 sqrt(r / |f''|) and (3 r / |f'''|)^(1/3). Predictions are printed before anything is
measured. Criterion, fixed beforehand: the best step lies within a factor of 4 of the
prediction, the slopes within 0.15 (right of it) and 0.25 (left of it).
Shapes: steps and errors are (bins, draws); one x at a time.
"""

from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np

Function = Callable[[np.ndarray], np.ndarray]
RATIOS = np.geomspace(1e-3, 30.0, 37)  # bins of steps, as multiples of the prediction
DRAWS = 60  # steps per bin: rounding errors are erratic, their root mean square is not


def softplus(x: np.ndarray) -> np.ndarray:
    """Return log(1 + e^x), for x that do not overflow."""
    return np.log1p(np.exp(x))


T, S = np.tanh(0.5), 1 / (1 + np.exp(-2.0))  # the slope of softplus is the sigmoid
# name: f, x, and the exact f', f'', f''' at x
CASES: dict[str, tuple[Function, float, float, float, float]] = {
    "exp at 1": (np.exp, 1.0, np.e, np.e, np.e),
    "sin at 1": (np.sin, 1.0, np.cos(1.0), -np.sin(1.0), -np.cos(1.0)),
    "sin at 1000": (np.sin, 1e3, np.cos(1e3), -np.sin(1e3), -np.cos(1e3)),
    "log at 3": (np.log, 3.0, 1 / 3, -1 / 9, 2 / 27),
    "log at 3000": (np.log, 3e3, 1 / 3e3, -1 / 9e6, 2 / 27e9),
    "tanh at 0.5": (np.tanh, 0.5, 1 - T**2, -2 * T * (1 - T**2), (1 - T**2) * (6 * T**2 - 2)),
    "softplus at 2": (softplus, 2.0, S, S * (1 - S), S * (1 - S) * (1 - 2 * S)),
}


def best_step(value: float, derivative: float, u: float, order: int) -> float:
    """Return the step with the lowest bound: order 1 takes f'', order 2 takes f'''."""
    r = u * abs(value)
    ratio = r / abs(derivative)
    return float(2 * np.sqrt(ratio) if order == 1 else np.cbrt(3 * ratio))


def rule_of_thumb(x: float, u: float, order: int) -> float:
    """Return (2u)^(1/2) or (2u)^(1/3) times max(1, |x|), which needs no derivative."""
    return float((2 * u) ** (1 / (order + 1)) * max(1.0, abs(x)))


def difference(f: Function, x: float, steps: np.ndarray, order: int) -> np.ndarray:
    """Return the slopes in the precision of the steps; nan where a step was rounded to 0."""
    here = steps.dtype.type(x)
    above, below = here + steps, here - (order == 2) * steps
    width = above.astype(float) - below.astype(float)  # the step as it was rounded
    rise = f(above).astype(float) - f(below).astype(float)
    return np.divide(rise, width, out=np.full(steps.shape, np.nan), where=width > 0)


def fitted_slope(steps: np.ndarray, errors: np.ndarray) -> float:
    """Return the slope of a straight line through log error over log step."""
    return float(np.polyfit(np.log(steps), np.log(errors), 1)[0])


def _draw_curves(ax: plt.Axes, dtype: type, title: str, rng: np.random.Generator) -> None:
    steps = np.geomspace(1e-13 if dtype == np.float64 else 1e-7, 1.0, 90)
    f, x, slope, second, third = CASES["sin at 1"]
    u = float(np.finfo(dtype).eps) / 2
    for order, derivative, name, color, style in (
        (1, second, "forward", "C0", "--"),
        (2, third, "central", "C1", "-"),
    ):
        jittered: np.ndarray = (steps[:, None] * rng.uniform(0.95, 1.05, (90, 30))).astype(dtype)
        errors = np.abs(difference(f, x, jittered, order) / slope - 1)
        ax.loglog(steps, np.sqrt(np.nanmean(errors**2, axis=1)), color=color, ls=style, label=name)
        ax.axvline(
            best_step(float(f(np.array(x))), derivative, u, order), color=color, ls=":", lw=1.5
        )
    kind = np.complex128 if dtype == np.float64 else np.complex64
    exact = np.abs(np.sin(kind(x) + kind(1j) * steps.astype(dtype)).imag / steps / slope - 1)
    ax.loglog(steps, np.maximum(exact, u / 4), color="C2", ls="-.", label="complex step")
    ax.set(ylabel="relative error", ylim=(u / 8, 3))
    ax.text(0.02, 0.06, title, transform=ax.transAxes)


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    types = (np.float64, np.float32)
    units = {dtype: float(np.finfo(dtype).eps) / 2 for dtype in types}
    predicted = {}
    print("predicted: forward and central in float64, forward and central in float32")
    for name, (f, x, _, second, third) in CASES.items():
        for dtype in types:
            for order, derivative in ((1, second), (2, third)):
                step = best_step(float(f(np.array(x))), derivative, units[dtype], order)
                predicted[name, dtype, order] = step
        row = ", ".join(f"{predicted[name, d, o]:.0e}" for d in types for o in (1, 2))
        print(f"  {name}: {row}")

    half_64, half_32 = (units[dtype] ** 0.5 for dtype in types)  # errors to expect
    third_64, third_32 = (units[dtype] ** (2 / 3) for dtype in types)

    failures, factors, penalties = [], [], {}
    fits: dict[tuple[int, str], list[float]] = {}
    for (name, dtype, order), step in predicted.items():
        f, x, slope, _, _ = CASES[name]
        jitter = rng.uniform(0.87, 1.15, (len(RATIOS), DRAWS))
        steps = (step * RATIOS[:, None] * jitter).astype(dtype)
        errors = np.sqrt(np.mean((difference(f, x, steps, order) - slope) ** 2, axis=1))
        left, right = (RATIOS > 0.02) & (RATIOS < 0.25), RATIOS > 4
        below = fitted_slope(RATIOS[left], errors[left])
        above = fitted_slope(RATIOS[right], errors[right])
        factors.append(float(RATIOS[np.nanargmin(errors)]))
        fits.setdefault((order, "left"), []).append(below)
        fits.setdefault((order, "right"), []).append(above)
        if not (0.25 < factors[-1] < 4 and abs(above - order) < 0.15 and abs(below + 1) < 0.25):
            failures.append(f"{name}, {np.dtype(dtype).name}, order {order}: {below:.2f}")
        rule = rule_of_thumb(x, units[dtype], order)
        rule_steps = (rule * rng.uniform(0.87, 1.15, DRAWS)).astype(dtype)
        at_rule = np.sqrt(np.mean((difference(f, x, rule_steps, order) - slope) ** 2))
        penalties[name, dtype, order] = float(at_rule / np.nanmin(errors))
    cases, held = len(predicted), len(predicted) - len(failures)
    verdict = "reproduced" if held == cases else "partly" if held > cases / 2 else "no"
    lowest, highest = min(factors), max(factors)
    forward_right, central_right, forward_left, central_left = (
        float(np.nanmedian(fits[key]))
        for key in ((1, "right"), (2, "right"), (1, "left"), (2, "left"))
    )
    print(f"measured: best step {lowest:.2f} to {highest:.2f} times the prediction")
    print(
        f"slopes: {forward_right:.2f}, {forward_left:.2f}; {central_right:.2f}, {central_left:.2f}"
    )
    print(f"{held} of {cases} cases hold: {verdict}; slope left outside: {'; '.join(failures)}")
    far = penalties["sin at 1000", np.float64, 2]
    usual = max(p for (name, _, order), p in penalties.items() if "1000" not in name and order == 2)
    print(f"rule of thumb, central: error up to {usual:.1f} times the best; sin at 1000: {far:.0e}")

    fig, axes = plt.subplots(2, 1, num="steps", figsize=(6.4, 6), sharex=True, layout="constrained")
    _draw_curves(axes[0], np.float64, "float64", rng)
    _draw_curves(axes[1], np.float32, "float32", rng)
    axes[0].legend(frameon=False, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    axes[1].set_xlabel("step h")
    plt.show()

    assert lowest > 0.25 and highest < 4 and held >= 0.85 * cases
    assert abs(forward_right - 1) < 0.05 and abs(central_right - 2) < 0.05
    assert abs(forward_left + 1) < 0.1 and abs(central_left + 1) < 0.1
    assert usual < 3 and far > 1e4
