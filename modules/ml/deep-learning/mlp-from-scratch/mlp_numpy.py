"""NumPy alone trains a network of 2,410 numbers that reads over 19 of 20 unseen digits.

Shapes: rows are examples. x is (N, 64), hidden activations are (N, 32), logits (N, 10),
targets are N class numbers. The loss is a mean over the batch, so 1/N enters once.
"""

from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

HIDDEN, BATCH, LR, EPOCHS = 32, 32, 0.2, 40
Params = list[np.ndarray]  # w1 (64, 32), b1 (32,), w2 (32, 10), b2 (10,)
Data = tuple[np.ndarray, np.ndarray]


def load_splits(seed: int) -> list[Data]:
    """Return training, validation and test digits, each class in proportion in each."""
    x, y = load_digits(return_X_y=True)
    x = x / 16.0  # pixels are counts from 0 to 16: nothing is estimated, nothing can leak
    x, test_x, y, test_y = train_test_split(x, y, test_size=360, stratify=y, random_state=seed)
    x, valid_x, y, valid_y = train_test_split(x, y, test_size=287, stratify=y, random_state=seed)
    return [(x, y), (valid_x, valid_y), (test_x, test_y)]


def init_params(rng: np.random.Generator) -> Params:
    """Return weights of variance 2/64 before the ReLU and 1/32 after it, and zero biases."""
    w1 = rng.normal(size=(64, HIDDEN)) * np.sqrt(2 / 64)
    w2 = rng.normal(size=(HIDDEN, 10)) * np.sqrt(1 / HIDDEN)
    return [w1, np.zeros(HIDDEN), w2, np.zeros(10)]


def forward(x: np.ndarray, params: Params) -> tuple[np.ndarray, np.ndarray]:
    """Return the logits (N, 10) and the hidden activations (N, 32)."""
    w1, b1, w2, b2 = params
    h = np.maximum(x @ w1 + b1, 0.0)  # (N, 64) @ (64, 32) + (32,) -> (N, 32)
    return h @ w2 + b2, h  # (N, 32) @ (32, 10) + (10,) -> (N, 10)


def cross_entropy(logits: np.ndarray, targets: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the mean cross-entropy and its gradient, (softmax - one-hot) / N, (N, 10)."""
    shifted = logits - logits.max(axis=1, keepdims=True)  # exp cannot overflow
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    rows = np.arange(len(targets))
    grad_logits = np.exp(log_p)
    grad_logits[rows, targets] -= 1.0
    return float(-log_p[rows, targets].mean()), grad_logits / len(targets)


def backward(x: np.ndarray, h: np.ndarray, grad_logits: np.ndarray, params: Params) -> Params:
    """Return the gradients of all parameters, each in the shape of its parameter."""
    delta = (grad_logits @ params[2].T) * (h > 0)  # (N, 10) @ (10, 32) -> (N, 32)
    grad_w1, grad_w2 = x.T @ delta, h.T @ grad_logits  # (64, 32), (32, 10)
    return [grad_w1, delta.sum(axis=0), grad_w2, grad_logits.sum(axis=0)]


def batches(n: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield the row numbers of one epoch's batches; the last one may be smaller."""
    order = rng.permutation(n)
    for start in range(0, n, BATCH):
        yield order[start : start + BATCH]


def accuracy(data: Data, params: Params) -> float:
    """Return the share of examples whose largest logit is that of the right class."""
    x, y = data
    return float((forward(x, params)[0].argmax(axis=1) == y).mean())


def fit(
    train: Data, valid: Data, seed: int
) -> tuple[Params, list[float], list[tuple[float, float]]]:
    """Return the best epoch's parameters, every batch's loss, every epoch's two losses."""
    rng = np.random.default_rng(seed)
    params, (x, y) = init_params(rng), train
    best = params
    steps: list[float] = []
    epochs: list[tuple[float, float]] = []
    for _ in range(EPOCHS):
        for rows in batches(len(x), rng):
            logits, h = forward(x[rows], params)
            loss, grad_logits = cross_entropy(logits, y[rows])
            grads = backward(x[rows], h, grad_logits, params)
            params = [p - LR * g for p, g in zip(params, grads, strict=True)]
            steps.append(loss)
        losses = [cross_entropy(forward(d[0], params)[0], d[1])[0] for d in (train, valid)]
        if not epochs or losses[1] < min(v for _, v in epochs):
            best = params  # new arrays are made in every step, so this is no alias
        epochs.append((losses[0], losses[1]))
    return best, steps, epochs


def _draw_digit(image: np.ndarray, params: Params) -> None:
    logits, h = forward(image[None], params)
    p = np.exp(logits[0] - logits[0].max())
    fig, axes = plt.subplots(
        1, 3, num="digit", figsize=(6.4, 2.5), layout="constrained", width_ratios=(3, 2, 4)
    )
    axes[0].imshow(image.reshape(8, 8), cmap="gray_r")
    axes[0].set_xlabel("64 inputs")
    axes[1].imshow(h.reshape(8, 4), cmap="gray_r")
    axes[1].set_xlabel("32 hidden units")
    for ax in axes[:2]:
        ax.set(xticks=[], yticks=[])
    axes[2].bar(range(10), p / p.sum(), color="C0")
    axes[2].set(xticks=range(10), ylim=(0, 1), xlabel="class", ylabel="probability")


def _draw_curve(epochs: list[tuple[float, float]], best_epoch: int) -> None:
    _, ax = plt.subplots(num="curve", figsize=(5.4, 3.4), layout="constrained")
    numbers = range(1, len(epochs) + 1)
    for values, style, label in zip(
        zip(*epochs, strict=True), ("-", "--"), ("training", "validation"), strict=True
    ):
        ax.plot(numbers, values, style, label=label)
    ax.plot(best_epoch, epochs[best_epoch - 1][1], "o", color="C1", label="kept")
    ax.set(xlabel="epoch", ylabel="mean loss (nats)", yscale="log")
    ax.legend(frameon=False)


if __name__ == "__main__":
    splits = load_splits(seed=0)
    train, valid, test = splits
    train_size, valid_size, test_size = (len(y) for _, y in splits)
    params, steps, epochs = fit(train, valid, seed=0)
    parameters, log_10 = sum(p.size for p in params), float(np.log(10))
    weights, second = params[0].size + params[2].size, params[2].size
    products = BATCH * (2 * weights + second)  # forward, gradients, and back to layer 1
    loss_1, loss_10, loss_100 = steps[0], steps[9], steps[99]
    best_epoch = 1 + int(np.argmin([v for _, v in epochs]))
    valid_best, valid_last = epochs[best_epoch - 1][1], epochs[-1][1]
    train_last = epochs[-1][0]
    test_accuracy = accuracy(test, params)
    print(f"training, validation, test: {train_size}, {valid_size}, {test_size} digits")
    print(f"{parameters} parameters; log 10 = {log_10:.3f}")
    print(f"loss of batch 1: {loss_1:.12f}, 10: {loss_10:.12f}, 100: {loss_100:.12f}")
    print(f"best epoch {best_epoch} of {EPOCHS}: validation loss {valid_best:.4f}")
    print(f"test accuracy {test_accuracy:.1%}")

    one_split = [test_accuracy] + [accuracy(test, fit(train, valid, s)[0]) for s in range(1, 5)]
    other_splits = [test_accuracy]
    for seed in range(1, 5):
        parts = load_splits(seed)
        other_splits.append(accuracy(parts[2], fit(parts[0], parts[1], 0)[0]))
    seed_mean, split_mean = float(np.mean(one_split)), float(np.mean(other_splits))
    seed_std, split_std = (float(np.std(a, ddof=1)) for a in (one_split, other_splits))
    runs, low, high = len(one_split), min(other_splits), max(other_splits)
    low_seed, high_seed = min(one_split), max(one_split)
    print(f"{runs} starts, one split: {seed_mean:.1%}, standard deviation {seed_std:.1%}")
    print(f"{runs} splits, one start: {split_mean:.1%}, standard deviation {split_std:.1%}")

    _draw_digit(test[0][0], params)
    _draw_curve(epochs, best_epoch)
    plt.show()

    assert parameters == 64 * 32 + 32 + 32 * 10 + 10
    assert abs(loss_1 - log_10) < 0.5 and loss_100 < 1.0
    assert min(one_split) > 0.93 and min(other_splits) > 0.93 and seed_mean > 0.95
    assert valid_best < valid_last and train_last < 0.1
