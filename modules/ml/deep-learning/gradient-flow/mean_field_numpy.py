"""A map of variances and a map of correlations predict how deep a signal gets.

Layer l of a wide random network: z = a @ W + b with entries of W of variance w_var / D
and of b of variance b_var; a = f(z). Over the draw of the weights a pre-activation is
normal: variance q for one input, correlation c between two inputs. Expectations over
normals are sums over Gauss-Hermite nodes. Shapes: Z, P (120,); q, c, w_var, b_var are
numbers.
Sources: Poole et al. (2016); Schoenholz et al. (2017).
"""

from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np

Function = Callable[[np.ndarray], np.ndarray]
Z, P = np.polynomial.hermite_e.hermegauss(120)  # nodes and weights for exp(-z^2 / 2)
P = P / P.sum()  # now a distribution: f(Z) @ P is E[f(z)], z ~ N(0, 1)


def tanh_slope(z: np.ndarray) -> np.ndarray:
    """Return the derivative of tanh."""
    return 1.0 - np.tanh(z) ** 2


def mean_product(f: Function, q: float, c: float) -> float:
    """Return E[f(u) f(v)] for normal u, v with mean 0, variance q and correlation c."""
    u = np.sqrt(q) * Z
    v = c * u[:, None] + np.sqrt(max(1.0 - c * c, 0.0)) * u  # (120, 1) + (120,) -> (120, 120)
    return float((f(u) * P) @ f(v) @ P)


def variance_map(q: float, w_var: float, b_var: float, f: Function) -> float:
    """Return the variance in the next layer."""
    return w_var * float(f(np.sqrt(q) * Z) ** 2 @ P) + b_var


def correlation_map(c: float, q: float, w_var: float, b_var: float, f: Function) -> float:
    """Return the correlation in the next layer for two inputs of variance q."""
    return (w_var * mean_product(f, q, c) + b_var) / variance_map(q, w_var, b_var, f)


def chi(c: float, q: float, w_var: float, slope: Function) -> float:
    """Return w_var E[f'(u) f'(v)], at c = 1 the factor of a squared gradient per layer."""
    return w_var * mean_product(slope, q, c)


def variance_fixed_point(w_var: float, b_var: float, f: Function) -> float:
    """Return q* with q* = variance_map(q*), by iteration from above."""
    q = w_var + b_var
    for _ in range(20_000):
        q, before = variance_map(q, w_var, b_var, f), q
        if abs(q - before) <= 1e-13 * before:
            break
    return q


def correlation_fixed_point(
    q: float, w_var: float, b_var: float, f: Function, slope: Function
) -> float:
    """Return the stable c*: 1 if chi(1) <= 1, else the only root below 1, by bisection."""
    low, high = 0.0, 1.0
    if chi(1.0, q, w_var, slope) <= 1.0:
        return high
    for _ in range(50):
        c = (low + high) / 2
        low, high = (c, high) if correlation_map(c, q, w_var, b_var, f) > c else (low, c)
    return low


def depth_scale(factor: float) -> float:
    """Return the number of layers in which factor ** layers changes by e."""
    rate = abs(np.log(factor))
    return float(1.0 / rate) if rate > 1e-12 else np.inf


def variances_at(q: float, chi_1: float, f: Function, slope: Function) -> tuple[float, float]:
    """Return the w_var and b_var for which q is the fixed point and chi(1) is chi_1."""
    w_var = chi_1 / mean_product(slope, q, 1.0)
    return w_var, q - w_var * mean_product(f, q, 1.0)


def critical_weight_variance(b_var: float, f: Function, slope: Function) -> float:
    """Return the w_var with chi(1) = 1 at the given b_var > 0, by bisection over q."""
    low, high = 0.0, 10.0
    for _ in range(60):
        q = (low + high) / 2
        low, high = (low, q) if variances_at(q, 1.0, f, slope)[1] > b_var else (q, high)
    return variances_at(high, 1.0, f, slope)[0]


def random_tanh_network(
    x: np.ndarray, depth: int, w_var: float, b_var: float, rng: np.random.Generator
) -> tuple[list[np.ndarray], float]:
    """Return z (N, D) of all layers, and the mean factor of |delta|^2 per layer backward."""
    a, zs, weights, d = x, [], [], x.shape[1]
    for _ in range(depth):
        w, b = (rng.standard_normal(size, np.float32) for size in ((d, d), d))
        weights.append(w * np.float32(np.sqrt(w_var / d)))
        zs.append(a @ weights[-1] + b * np.float32(np.sqrt(b_var)))
        a = np.tanh(zs[-1])  # (N, D) @ (D, D) + (D,) -> (N, D)
    delta = rng.standard_normal(x.shape, np.float32)
    start, steps = np.sum(delta**2), depth // 2  # the upper half: there q is near q*
    for w, z in zip(weights[: -steps - 1 : -1], zs[-2 : -steps - 2 : -1], strict=True):
        delta = (delta @ w.T) * tanh_slope(z)
    return zs, float((np.sum(delta**2) / start) ** (1 / steps))


def correlations(z: np.ndarray) -> np.ndarray:
    """Return the cosines of all pairs of different rows of z (N, D)."""
    unit = z / np.linalg.norm(z, axis=1, keepdims=True)
    return (unit @ unit.T)[np.triu_indices(len(z), 1)]


def _draw_maps(theory: list, measured: list, labels: list[str], q: list, settings: list) -> None:
    """Draw the correlation maps, and correlation by layer against the network."""
    _, (left, right) = plt.subplots(
        1, 2, num="maps", figsize=(6.4, 3.6), layout="constrained", sharey=True
    )
    grid, styles = np.linspace(0, 1, 41), ["-", "--", "-."]
    left.plot(grid, grid, color="0.5", lw=1)
    for k, (w, b) in enumerate(settings):
        curve = [correlation_map(c, q[k], w, b, np.tanh) for c in grid]
        left.plot(grid, curve, f"C{k}", ls=styles[k], label=labels[k])
        right.plot(range(1, len(theory[k]) + 1), theory[k], f"C{k}", ls=styles[k])
        right.plot(range(1, len(theory[k]) + 1), measured[k], "osv"[k], color=f"C{k}", ms=4)
    left.set(xlabel="correlation c in a layer", ylabel="correlation in the next layer")
    right.set(xlabel="layer", ylabel="correlation")
    right.tick_params(labelleft=True)
    left.legend(loc="lower right", fontsize="small", frameon=False)
    plt.show()


def _draw_phases() -> None:
    """Draw lines of equal chi(1) for tanh."""
    _, ax = plt.subplots(num="phases", figsize=(6.4, 4.2), layout="constrained")
    lines = [(0.7, ":", 1.5), (0.85, "--", 1.5), (1.0, "-", 3), (1.15, "--", 1.5), (1.3, ":", 1.5)]
    for chi_1, style, width in lines:
        variances = [variances_at(x, chi_1, np.tanh, tanh_slope) for x in np.linspace(1e-4, 6, 300)]
        points = np.array([v for v in variances if 0 <= v[1] <= 0.5 and v[0] <= 4.3])
        color = "C3" if chi_1 == 1 else "C0" if chi_1 < 1 else "C1"
        ax.plot(*points.T, color=color, ls=style, lw=width)
        name = "χ₁ = 1" if chi_1 == 1 else f"{chi_1:g}; {depth_scale(chi_1):.1f}"
        ax.annotate(name, points[-1], (0, 3), textcoords="offset points", ha="center")
    ax.text(0.06, 0.33, "ordered:\ninputs merge,\ngradients\nvanish")
    ax.text(3.8, 0.35, "chaotic:\ninputs part,\ngradients\nexplode")
    ax.set(xlim=(0, 4.5), ylim=(0, 0.56))
    ax.set(xlabel="σ_w²: fan-in times variance of a weight", ylabel="σ_b²: variance of a bias")
    plt.show()


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    b_var, width, depth, start = 0.05, 600, 16, 0.6
    nodes, critical = len(Z), critical_weight_variance(b_var, np.tanh, tanh_slope)
    shared, own = rng.normal(size=width), rng.normal(size=(6, width))
    x = (np.sqrt(start) * shared + np.sqrt(1 - start) * own).astype(np.float32)

    settings, labels = [(0.5, b_var), (critical, b_var), (4.0, b_var)], []
    theory, measured, rows, fixed = [], [], [], []
    print("σ_w²    q*     c*     χ₁     ξ_c   network: q      c    factor of |δ|²")
    for w_var, _ in settings:
        q_star = variance_fixed_point(w_var, b_var, np.tanh)
        c_star = correlation_fixed_point(q_star, w_var, b_var, np.tanh, tanh_slope)
        chi_1 = chi(1.0, q_star, w_var, tanh_slope)
        xi = depth_scale(chi(c_star, q_star, w_var, tanh_slope))
        zs, factor = random_tanh_network(x, depth, w_var, b_var, rng)
        q, c = float(np.mean(x**2)), float(correlations(x).mean())
        # the first layer is linear in x: there is no f before it
        c, q = (w_var * q * c + b_var) / (w_var * q + b_var), w_var * q + b_var
        assert abs(q / float(np.mean(zs[0] ** 2)) - 1) < 0.2
        path = [c]
        for _ in range(depth - 1):
            c, q = (
                correlation_map(c, q, w_var, b_var, np.tanh),
                variance_map(q, w_var, b_var, np.tanh),
            )
            path.append(c)
        theory.append(path)
        measured.append([float(correlations(z).mean()) for z in zs])
        fixed.append(q_star)
        labels.append(f"σ_w² = {w_var:.2f}")
        q_net, c_net = float(np.mean(np.square(zs[depth // 2 :]))), measured[-1][-1]
        rows.append((q_star, c_star, chi_1, xi, q_net, c_net, factor, path[-1]))
        print(
            f"{w_var:.2f}  {q_star:.3f}  {c_star:.3f}  {chi_1:.3f}  {min(xi, 9999):5.1f}         "
            f"{q_net:.3f}  {c_net:.3f}  {factor:.3f}"
        )
    (q_ord, c_ord, chi_ord, xi_ord, qn_ord, cn_ord, fac_ord, ct_ord) = rows[0]
    (q_crit, c_crit, chi_crit, _, qn_crit, cn_crit, fac_crit, ct_crit) = rows[1]
    (q_cha, c_cha, chi_cha, xi_cha, qn_cha, cn_cha, fac_cha, ct_cha) = rows[2]
    largest_gap = float(np.abs(np.array(theory) - measured).max())
    print(f"correlation by layer, largest gap of network to theory: {largest_gap:.3f}")
    xi_grad_cha = depth_scale(chi_cha)

    step = 1e-5
    numeric = np.diff(
        [correlation_map(c_cha + s, q_cha, 4.0, b_var, np.tanh) for s in (-step, step)]
    )
    slope_error = float(abs(numeric[0] / (2 * step) - chi(c_cha, q_cha, 4.0, tanh_slope)))
    relu, relu_slope = (lambda z: np.maximum(z, 0.0)), (lambda z: (z > 0).astype(float))
    relu_q, relu_chi = variance_map(3.0, 2.0, 0.0, relu), chi(1.0, 3.0, 2.0, relu_slope)
    print(f"slope of the correlation map against differences: {slope_error:.0e}")
    print(f"ReLU, σ_w² = 2, σ_b² = 0: variance 3 -> {relu_q:.3f}, χ₁ = {relu_chi:.3f}")

    even = np.linspace(-7, 7, 71)  # equidistant nodes, for comparison at q = 10
    density = np.exp(-(even**2) / 2) / np.exp(-(even**2) / 2).sum()
    few = np.polynomial.hermite_e.hermegauss(80)
    fine = np.linspace(-9, 9, 2001)
    exact = np.average(tanh_slope(np.sqrt(10) * fine) ** 2, weights=np.exp(-(fine**2) / 2))
    error_gauss = float(
        abs(np.average(tanh_slope(np.sqrt(10) * few[0]) ** 2, weights=few[1]) / exact - 1)
    )
    error_even = float(abs(tanh_slope(np.sqrt(10) * even) ** 2 @ density / exact - 1))
    print(
        f"E[tanh'²] at q = 10: error {error_gauss:.0e} (80 Gauss nodes), {error_even:.0e} (71 even)"
    )

    _draw_maps(theory, measured, labels, fixed, settings)
    _draw_phases()

    assert largest_gap < 0.2 and slope_error < 1e-4 and error_even < 1e-3 < error_gauss
    assert abs(relu_q - 3.0) < 1e-9 and abs(relu_chi - 1.0) < 1e-9
    assert c_ord == 1.0 and abs(chi_crit - 1.0) < 1e-6 and 0.0 < c_cha < 0.5
    for q_star, _, chi_1, _, q_net, _, factor, _ in rows:
        assert abs(q_net / q_star - 1) < 0.25 and abs(factor / chi_1 - 1) < 0.1
    assert abs((numeric[0] / (2 * step)) ** xi_cha - np.exp(-1)) < 1e-3  # at c*, not at 1
    assert abs(chi_cha**xi_grad_cha - np.e) < 1e-6
    for q_star, w_var in zip(fixed, (0.5, critical, 4.0), strict=True):  # it is a fixed point
        assert abs(variance_map(q_star, w_var, b_var, np.tanh) - q_star) < 1e-10
