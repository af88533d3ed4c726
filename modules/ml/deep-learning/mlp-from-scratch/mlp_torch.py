"""nn.Module from NumPy's weights repeats NumPy's losses to rounding, and misreads few digits.

Shapes: x is (N, 64), logits (N, 10). nn.Linear stores its weight as (out, in): the transpose
of the NumPy layout. Everything is float64, which PyTorch has to be told.
"""

import copy

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

HIDDEN, BATCH, LR, EPOCHS, SHARED = 32, 32, 0.2, 40, 100
Params = list[np.ndarray]  # w1 (64, 32), b1 (32,), w2 (32, 10), b2 (10,)


class MLP(nn.Module):
    """64 inputs, one hidden ReLU layer, 10 logits; the loss applies the softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(64, HIDDEN)
        self.output = nn.Linear(HIDDEN, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits (N, 10) of the images x (N, 64)."""
        return self.output(torch.relu(self.hidden(x)))


def load_params(model: MLP, params: Params) -> None:
    """Copy NumPy's weights into the model; a wrong shape raises."""
    for layer, w, b in ((model.hidden, *params[:2]), (model.output, *params[2:])):
        state = {"weight": torch.from_numpy(w.T), "bias": torch.from_numpy(b)}
        layer.load_state_dict(state)


def train_step(model: MLP, optimizer: torch.optim.SGD, x: torch.Tensor, y: torch.Tensor) -> float:
    """Make one step on the batch; return its loss before the step."""
    loss = F.cross_entropy(model(x), y)  # mean over the batch
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def numpy_losses(x: np.ndarray, y: np.ndarray, params: Params, rows: Params) -> list[float]:
    """Return the batch losses of the same training by hand, without autograd."""
    (w1, b1, w2, b2), losses = (p.copy() for p in params), []
    for batch in rows:
        a, n = x[batch], np.arange(len(batch))
        h = np.maximum(a @ w1 + b1, 0.0)
        p = np.exp(h @ w2 + b2)  # small logits here: no shift needed
        p /= p.sum(axis=1, keepdims=True)
        losses.append(float(-np.log(p[n, y[batch]]).mean()))
        p[n, y[batch]] -= 1.0
        delta_2 = p / len(batch)
        delta_1 = (delta_2 @ w2.T) * (h > 0)
        w1, b1 = w1 - LR * a.T @ delta_1, b1 - LR * delta_1.sum(axis=0)
        w2, b2 = w2 - LR * h.T @ delta_2, b2 - LR * delta_2.sum(axis=0)
    return losses


def _draw_confusion(confusion: np.ndarray) -> None:
    _, ax = plt.subplots(num="confusion", figsize=(4.6, 4.4), layout="constrained")
    for (i, k), count in np.ndenumerate(confusion):
        if count:
            weight = "normal" if i == k else "bold"
            ax.text(k, i, str(count), ha="center", va="center", weight=weight)
        if count and i != k:
            ax.add_patch(plt.Rectangle((k - 0.45, i - 0.45), 0.9, 0.9, fill=False, color="C1"))
    ax.set(xlim=(-0.5, 9.5), ylim=(9.5, -0.5), aspect="equal", xlabel="predicted", ylabel="true")
    ax.set(xticks=range(10), yticks=range(10))
    ax.grid(False)


def _draw_wrong(images: np.ndarray, labels: list[str]) -> None:
    fig, axes = plt.subplots(2, 4, num="wrong", figsize=(5.4, 3.4), layout="constrained")
    for ax, image, label in zip(axes.flat, images, labels, strict=False):
        ax.imshow(image.reshape(8, 8), cmap="gray_r")
        ax.set_xlabel(label)
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])


if __name__ == "__main__":
    torch.set_num_threads(1)
    x, y = load_digits(return_X_y=True)
    x = x / 16.0
    x, test_x, y, test_y = train_test_split(x, y, test_size=360, stratify=y, random_state=0)
    x, valid_x, y, valid_y = train_test_split(x, y, test_size=287, stratify=y, random_state=0)

    rng = np.random.default_rng(0)  # the draws of the NumPy script, in the same order
    w1 = rng.normal(size=(64, HIDDEN)) * np.sqrt(2 / 64)
    w2 = rng.normal(size=(HIDDEN, 10)) * np.sqrt(1 / HIDDEN)
    params = [w1, np.zeros(HIDDEN), w2, np.zeros(10)]
    orders = [rng.permutation(len(x)) for _ in range(EPOCHS)]
    rows = [o[i : i + BATCH] for o in orders for i in range(0, len(x), BATCH)]

    model = MLP().double()
    load_params(model, params)
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    tensors = [torch.from_numpy(a) for a in (x, y, valid_x, valid_y, test_x, test_y)]
    train_x, train_y, check_x, check_y, final_x, final_y = tensors
    losses, best_loss, best_state, per_epoch = [], np.inf, {}, len(rows) // EPOCHS
    for step, batch in enumerate(rows, start=1):
        losses.append(train_step(model, optimizer, train_x[batch], train_y[batch]))
        if step % per_epoch == 0:
            with torch.no_grad():
                valid_loss = F.cross_entropy(model(check_x), check_y).item()
            if valid_loss < best_loss:
                best_loss, best_epoch = valid_loss, step // per_epoch
                best_state = copy.deepcopy(model.state_dict())  # it holds references
    by_hand = numpy_losses(x, y, params, rows[:SHARED])
    largest_difference = float(np.abs(np.subtract(losses[:SHARED], by_hand)).max())
    loss_1, loss_10, loss_100 = (losses[i - 1] for i in (1, 10, 100))
    print(f"losses 1 to {SHARED}: differ from NumPy by at most {largest_difference:.1e}")
    print(f"loss of batch 1: {loss_1:.12f}, 10: {loss_10:.12f}, 100: {loss_100:.12f}")

    model.load_state_dict(best_state)
    with torch.no_grad():
        p = torch.softmax(model(final_x), dim=1).numpy()
        restored = F.cross_entropy(model(check_x), check_y).item()
    predicted = p.argmax(axis=1)
    test_accuracy = float((predicted == test_y).mean())
    print(f"best epoch {best_epoch}: validation loss {best_loss:.4f}")
    print(f"test accuracy {test_accuracy:.1%}")
    confusion = np.zeros((10, 10), dtype=int)
    np.add.at(confusion, (test_y, predicted), 1)
    wrong = np.flatnonzero(predicted != test_y)
    wrong = wrong[np.argsort(-p[wrong].max(axis=1))]  # the surest mistakes first
    labels = [f"{test_y[i]} as {predicted[i]}\n(p = {p[i].max():.2f})" for i in wrong]
    mistakes, sure = len(wrong), int((p[wrong].max(axis=1) > 0.9).sum())
    print(f"{mistakes} mistakes, {sure} of them with p > 0.9")
    _draw_confusion(confusion)
    _draw_wrong(test_x[wrong], labels)
    plt.show()

    assert largest_difference < 1e-6  # measured: near 1e-15
    assert confusion.sum() == len(test_y) and np.trace(confusion) == len(test_y) - mistakes
    assert test_accuracy > 0.93 and restored == best_loss
