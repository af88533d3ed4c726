"""One temperature takes most of a network's overconfidence away, and not all of it.

Claim (Guo et al. 2017, abstract and Section 5): networks are poorly calibrated; temperature scaling
repairs it, and beats vector and matrix scaling, of which it is a special case.
Setup: digits; 200 images train a network far beyond zero training error, 500 fit the map of its
logits, 1097 test. Two settings: true labels; 20 % of all labels, in all three parts, redrawn at
random. Ten seeds, each with its own split. All maps minimize the same loss on the same 500 images.
The seeds train side by side: weights are (S, D, K).
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import minimize
from sklearn.datasets import load_digits

SEEDS, TRAIN, HELD_OUT, WIDTH, STEPS, BINS = 10, 200, 500, 64, 120, 15
ITERATIONS, EARLY = 300, 30  # of L-BFGS; the second shows what the cap does
SETTINGS, PIXEL_NOISE = {"true labels": 0.0, "20 % random": 0.2}, 0.3
MAPS = ("none", "temperature", "vector", "matrix")
COLUMNS = ("ECE", "noisy", "floor", "loss", "right", "confidence", "T", "loss in the fit")


def load_split(seed: int, redrawn: float) -> tuple[np.ndarray, np.ndarray]:
    """Return shuffled images (N, 64) in [0, 1] and labels (N,), a share of them redrawn."""
    images, labels = load_digits(return_X_y=True)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(labels))
    random = rng.integers(10, size=len(labels))
    y = np.where(rng.random(len(labels)) < redrawn, random, labels[order])
    return images[order] / 16.0, y


def logits(params: list[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """Return the logits (S, N, 10) of S networks for x (S, N, 64)."""
    w1, b1, w2, b2 = params
    h = torch.relu(torch.baddbmm(b1, x, w1))  # (S, N, 64) @ (S, 64, H) -> (S, N, H)
    return torch.baddbmm(b2, h, w2)  # (S, N, H) @ (S, H, 10) -> (S, N, 10)


def train(x: torch.Tensor, y: torch.Tensor) -> list[torch.Tensor]:
    """Return the parameters of S networks trained on x (S, N, 64) with labels y (S, N)."""
    generator, params = torch.Generator().manual_seed(0), []
    for d, k in ((x.shape[2], WIDTH), (WIDTH, 10)):
        params.append(torch.randn(len(x), d, k, generator=generator) * (2 / d) ** 0.5)
        params.append(torch.zeros(len(x), 1, k))
    params = [p.requires_grad_() for p in params]
    optimizer = torch.optim.Adam(params, lr=0.02)
    for _ in range(STEPS):
        loss = F.cross_entropy(logits(params, x).flatten(0, 1), y.flatten())
        optimizer.zero_grad()
        (len(x) * loss).backward()  # the networks are independent: each gets its own mean
        optimizer.step()
    return [p.detach() for p in params]


def log_softmax(z: np.ndarray) -> np.ndarray:
    """Return log-probabilities over the last axis, shaped like z."""
    shifted = z - z.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def apply_map(name: str, theta: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return z / T, z * w + b or z W + b for logits z (N, K)."""
    k = z.shape[1]
    if name == "temperature":
        return z * theta[0]  # theta is 1 / T: the loss is convex in it
    if name == "vector":
        return z * theta[:k] + theta[k:]
    if name == "matrix":
        return z @ theta[: k * k].reshape(k, k) + theta[k * k :]  # (N, K) @ (K, K) -> (N, K)
    return z


def loss_and_grad(
    theta: np.ndarray, name: str, z: np.ndarray, y: np.ndarray
) -> tuple[np.floating, np.ndarray]:
    """Return the mean cross-entropy of the mapped logits and its gradient for theta."""
    rows, log_p = np.arange(len(y)), log_softmax(apply_map(name, theta, z))
    delta = np.exp(log_p)
    delta[rows, y] -= 1.0
    delta /= len(y)
    if name == "temperature":
        grad = np.array([np.sum(delta * z)])
    else:
        scale = np.sum(delta * z, axis=0) if name == "vector" else (z.T @ delta).ravel()
        grad = np.concatenate([scale, delta.sum(axis=0)])
    return -np.mean(log_p[rows, y]), grad


def fit_map(name: str, z: np.ndarray, y: np.ndarray, iterations: int = ITERATIONS) -> np.ndarray:
    """Return the theta that lowers the loss on z (N, K) and y (N,), from the identity."""
    k = z.shape[1]
    identity = {"none": [], "temperature": [1.0]}
    identity |= {"vector": [1.0] * k + [0.0] * k, "matrix": [*np.eye(k).ravel(), *[0.0] * k]}
    start = np.array(identity[name])
    if name == "none":
        return start
    options = {"maxiter": iterations}
    return minimize(loss_and_grad, start, (name, z, y), "L-BFGS-B", True, options=options).x


def calibration_error(p: np.ndarray, y: np.ndarray) -> float:
    """Return the ECE: mean |accuracy - confidence| over bins of equal width, by their size."""
    confidence, right = p.max(axis=1), p.argmax(axis=1) == y
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return float(np.abs(np.bincount(bins, right - confidence)).sum() / len(y))


def measure(redrawn: float, iterations: int = ITERATIONS) -> tuple[dict, dict]:
    """Return per map the COLUMNS (SEEDS, 8), and confidence and rightness of all tests, (2, N)."""
    splits = [load_split(s, redrawn) for s in range(SEEDS)]
    x, y = (np.stack(part) for part in zip(*splits, strict=True))
    noisy = x + PIXEL_NOISE * np.random.default_rng(0).normal(size=x.shape)
    params = train(torch.tensor(x[:, :TRAIN]).float(), torch.tensor(y[:, :TRAIN]))
    z, z_noisy = (logits(params, torch.tensor(v).float()).double().numpy() for v in (x, noisy))
    held, test = slice(TRAIN, TRAIN + HELD_OUT), slice(TRAIN + HELD_OUT, None)
    rng = np.random.default_rng(1)
    table = {name: np.zeros((SEEDS, len(COLUMNS))) for name in MAPS}
    points = {name: [] for name in MAPS}
    for s in range(SEEDS):
        labels = y[s, test]
        for name in MAPS:
            theta = fit_map(name, z[s, held], y[s, held], iterations)
            log_p = log_softmax(apply_map(name, theta, z[s, test]))
            p = np.exp(log_p)
            p_noisy = np.exp(log_softmax(apply_map(name, theta, z_noisy[s, test])))
            # labels drawn from p itself: the ECE that a perfectly calibrated network would show
            drawn = (p.cumsum(axis=1) < rng.random((len(p), 1))).sum(axis=1).clip(max=9)
            confidence, right = p.max(axis=1), p.argmax(axis=1) == labels
            table[name][s] = [
                calibration_error(p, labels),
                calibration_error(p_noisy, labels),
                calibration_error(p, drawn),
                -np.mean(log_p[np.arange(len(labels)), labels]),
                right.mean(),
                confidence.mean(),
                1 / theta[0] if name == "temperature" else np.nan,
                loss_and_grad(theta, name, z[s, held], y[s, held])[0] if name != "none" else np.nan,
            ]
            points[name].append(np.stack([confidence, right]))
    return table, {name: np.concatenate(pairs, axis=1) for name, pairs in points.items()}


def ece_range(rows: np.ndarray) -> str:
    """Return the mean ECE and its range over the seeds, as text."""
    return f"{rows[:, 0].mean():.3f} ({rows[:, 0].min():.3f} to {rows[:, 0].max():.3f})"


def gap(table: dict[str, np.ndarray], name: str) -> tuple[float, float]:
    """Return how much larger than with temperature the ECE is, and two standard errors."""
    difference = table[name][:, 0] - table["temperature"][:, 0]
    return float(difference.mean()), float(2 * difference.std(ddof=1) / SEEDS**0.5)


def judge(tables: dict[str, dict]) -> tuple[int, int, str]:
    """Return the runs that were too sure, the runs whose ECE falls, and the verdict."""
    too_sure, falls, beats = 0, 0, True
    for table in tables.values():
        plain, scaled = table["none"], table["temperature"]
        too_sure += int((plain[:, 5] > plain[:, 4]).sum())
        falls += int((scaled[:, 0] < plain[:, 0]).sum())
        for name in ("vector", "matrix"):
            mean, error = gap(table, name)
            beats &= mean > error
    if not too_sure == falls == SEEDS * len(tables):
        return too_sure, falls, "not at this size"
    return too_sure, falls, "reproduced" if beats else "partly"


def _draw_reliability(points: dict[str, dict[str, np.ndarray]]) -> None:
    fig, axes = plt.subplots(
        1, 2, num="reliability", figsize=(6.4, 3.8), sharey=True, layout="constrained"
    )
    for axis, (setting, maps) in zip(axes, points.items(), strict=True):
        axis.plot([0, 1], [0, 1], color="0.5", lw=1.0, ls="--")
        for name, style in (("none", "C1s:"), ("temperature", "C0o-")):
            confidence, right = maps[name]
            bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
            full = [b for b in range(BINS) if (bins == b).sum() >= 50]
            at = [confidence[bins == b].mean() for b in full]
            axis.plot(at, [right[bins == b].mean() for b in full], style, ms=5, label=name)
        axis.set_xticks([0.0, 0.5, 1.0], ["0", "0.5", "1"])
        axis.set(xlabel=f"confidence\n({setting})", xlim=(0, 1.03), ylim=(0, 1.03))
    axes[0].set_ylabel("accuracy")
    axes[0].text(0.12, 0.3, "calibrated", rotation=42)
    axes[1].legend(frameon=False, loc="upper left", title="map of the logits")
    plt.show()


if __name__ == "__main__":
    tables, points = {}, {}
    for setting, redrawn in SETTINGS.items():
        tables[setting], points[setting] = measure(redrawn)
    print("                        ECE  (range)         noisy  floor    loss   right  confidence")
    for setting, table in tables.items():
        for name, rows in table.items():
            ece, noisy, floor, loss, right, confidence, *_ = rows.mean(axis=0)
            low, high = rows[:, 0].min(), rows[:, 0].max()
            print(f"{setting}, {name:12s}{ece:6.3f} ({low:.3f}, {high:.3f}){noisy:7.3f}", end="")
            print(f"{floor:7.3f}{loss:8.3f}{right:8.3f}{confidence:8.3f}")

    runs, early = SEEDS * len(tables), {}
    too_sure, falls, verdict = judge(tables)
    for setting, redrawn in SETTINGS.items():
        early[setting], _ = measure(redrawn, EARLY)
    early_verdict = judge(early)[2]
    print(f"of {runs} runs overconfident: {too_sure}, ECE falls: {falls} -> {verdict}", end="")
    print(f" (at most {EARLY} iterations: {early_verdict})")
    clean, random = tables.values()
    clean_none, clean_temperature, clean_vector, clean_matrix = map(ece_range, clean.values())
    random_none, random_temperature, random_vector, random_matrix = map(ece_range, random.values())
    means = np.array([rows.mean(axis=0) for rows in random.values()])
    right_none, right_temperature, right_vector, right_matrix = means[:, 4]
    conf_none, conf_temperature, conf_vector, conf_matrix = means[:, 5]
    noisy_none, noisy_temperature = (clean[name][:, 1].mean() for name in MAPS[:2])
    clean_floor, random_floor = (t["temperature"][:, 2].mean() for t in (clean, random))
    clean_t, random_t = (t["temperature"][:, 6].mean() for t in (clean, random))
    loss_temperature, loss_matrix = (clean[n][:, 3].mean() for n in ("temperature", "matrix"))
    fitted_temperature, fitted_matrix = (clean[n][:, 7].mean() for n in ("temperature", "matrix"))
    early_matrix = early["true labels"]["matrix"][:, 3].mean()
    gaps = [gap(table, name) for table in (clean, random) for name in ("vector", "matrix")]
    clean_gap_vector, clean_gap_matrix, random_gap_vector, random_gap_matrix = (
        f"{mean:+.3f} ({error:.3f})" for mean, error in gaps
    )
    print("ECE minus that with temperature (2 standard errors), vector and matrix:", end=" ")
    print(clean_gap_vector, clean_gap_matrix, random_gap_vector, random_gap_matrix, sep=", ")
    _draw_reliability(points)

    for table in tables.values():  # the same classes, since T keeps the order
        assert np.array_equal(table["none"][:, 4], table["temperature"][:, 4])
        losses = {name: rows[:, 3].mean() for name, rows in table.items()}
        assert losses["temperature"] < losses["none"]
        assert (table["temperature"][:, 6] > 1.2).all()  # softer
        assert table["temperature"][:, 0].mean() < 0.8 * table["none"][:, 0].mean()
    assert min(too_sure, falls) >= 0.8 * runs and "reproduced" not in (verdict, early_verdict)
    for settled in (tables, early):  # what the text says of the ranking, at either cap
        (vector, _), (matrix, error) = (gap(settled["true labels"], n) for n in MAPS[2:])
        assert abs(vector) < 0.01 and matrix > 1.3 * error
        (vector, _), (matrix, error) = (gap(settled["20 % random"], n) for n in MAPS[2:])
        assert vector < -0.003 and matrix < -1.3 * error
    assert fitted_matrix < 0.5 * fitted_temperature and loss_matrix > 5 * loss_temperature
    assert loss_matrix > 3 * early_matrix and right_matrix > right_none + 0.03
    assert (
        random["temperature"][:, 0].mean() < 0.5 * random["none"][:, 0].mean()
        and conf_none > right_none + 0.1
    )
    assert conf_temperature < right_temperature - 0.05 and noisy_temperature < 0.8 * noisy_none
    assert noisy_temperature > 2 * clean["temperature"][:, 0].mean()
