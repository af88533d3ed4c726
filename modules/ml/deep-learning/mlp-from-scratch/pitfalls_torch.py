"""Six ways to get a wrong number from a right network, each with its symptom."""

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn

EPOCHS = 20
Split = tuple[torch.Tensor, torch.Tensor]


def model_from(seed: int, hidden: int = 32) -> nn.Sequential:
    """Return a float64 network with weights from a NumPy generator."""
    rng = np.random.default_rng(seed)
    model = nn.Sequential(nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, 10)).double()
    with torch.no_grad():
        for layer in (model[0], model[2]):
            w = rng.normal(size=(layer.in_features, layer.out_features))
            layer.weight.copy_(torch.from_numpy(w.T / layer.in_features**0.5))
            layer.bias.zero_()
    return model


def errors_by_epoch(train: Split, checks: list[Split], seed: int) -> np.ndarray:
    """Return after every epoch loss and error in percent on every check, (EPOCHS, C, 2)."""
    model, rng, history = model_from(seed), np.random.default_rng(1000 + seed), []
    for _ in range(EPOCHS):
        for rows in np.split(rng.permutation(len(train[0])), range(64, len(train[0]), 64)):
            loss = F.cross_entropy(model(train[0][rows]), train[1][rows])
            grads = torch.autograd.grad(loss, list(model.parameters()))
            with torch.no_grad():
                for p, g in zip(model.parameters(), grads, strict=True):
                    p -= 0.4 * g
        with torch.no_grad():
            logits = [(model(x), y) for x, y in checks]
        errors = [100 * (z.argmax(dim=1) != y).double().mean().item() for z, y in logits]
        losses = [F.cross_entropy(z, y).item() for z, y in logits]
        history.append([*zip(losses, errors, strict=True)])
    return np.array(history)


if __name__ == "__main__":
    torch.set_num_threads(1)
    x, y = load_digits(return_X_y=True)
    x, test_x, y, test_y = train_test_split(x, y, test_size=360, stratify=y, random_state=0)
    x, valid_x, y, valid_y = train_test_split(x, y, test_size=287, stratify=y, random_state=0)

    constant = int((x.std(axis=0) == 0).sum())  # pixels that are 0 in all training digits
    with np.errstate(invalid="ignore", divide="ignore"):
        broken = int((~np.isfinite((x - x.mean(axis=0)) / x.std(axis=0))).sum())
    largest_z = float(StandardScaler().fit(x).transform(test_x).max())
    print(f"{constant} constant pixels: (x - mean) / std has {broken} nan")
    print(f"standardized test pixels reach {largest_z:.0f} standard deviations")

    parts = [(x, y), (valid_x, valid_y), (test_x, test_y)]
    sets = [(torch.from_numpy(a / 16), torch.from_numpy(b)) for a, b in parts]
    runs = np.stack([errors_by_epoch(sets[0], sets[1:], s) for s in range(5)])
    by_valid = runs[np.arange(5), runs[:, :, 0, 0].argmin(axis=1), 1, 1]
    by_test = runs[:, :, 1, 1].min(axis=1)
    honest, peeked = float(by_valid.mean()), float(by_test.mean())
    print(f"test error, epoch chosen on validation loss: {honest:.2f} %, on test: {peeked:.2f} %")

    model = model_from(0)
    batches = torch.arange(len(x)).split(32)
    with torch.no_grad():
        means = [F.cross_entropy(model(sets[0][0][b]), sets[0][1][b]).item() for b in batches]
        exact = F.cross_entropy(model(sets[0][0]), sets[0][1]).item()
    mean_error = abs(float(np.mean(means)) - exact)
    print(f"mean of batch means: off by {mean_error:.1e}; weighted by size it is exact")

    square = model_from(0, hidden=64)
    with torch.no_grad():
        right = F.cross_entropy(square(sets[0][0]), sets[0][1]).item()
        square[0].weight.copy_(square[0].weight.T.clone())  # 64 by 64: no error is raised
        silent = F.cross_entropy(square(sets[0][0]), sets[0][1]).item()
    print(f"transposed square weight: loss {silent:.3f} instead of {right:.3f}, no error")

    kept = model.state_dict()
    before = kept["0.bias"].clone()
    with torch.no_grad():
        model[0].bias += 1.0
    moved = float((kept["0.bias"] - before).abs().max())
    print(f"a kept state_dict() moved by {moved:.0f} with the model")

    torch.manual_seed(0)
    by_torch, by_numpy = torch.randn(1).item(), float(np.random.default_rng(0).normal())
    print(f"first normal number of seed 0: PyTorch {by_torch:.3f}, NumPy {by_numpy:.3f}")

    weights = [len(b) for b in batches]
    assert abs(np.average(means, weights=weights) - exact) < 1e-12 < mean_error
    assert constant > 0 and broken == constant * len(x) and peeked < honest < 6
    assert (by_test <= by_valid).all()
    assert abs(silent - right) > 1e-3 and moved == 1.0 and by_torch != by_numpy
