"""Digits of unseen writers are harder than unseen digits of known writers."""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

FOLDS, EPOCHS = 5, 8


def error(train: np.ndarray, test: np.ndarray, x: np.ndarray, y: np.ndarray) -> float:
    """Return the test error in percent of one hidden layer of 32, 8 epochs of SGD."""
    model = MLPClassifier(
        32, solver="sgd", learning_rate_init=0.2, momentum=0.0, batch_size=32, alpha=0.0,
        random_state=0,
    )  # fmt: skip
    for _ in range(EPOCHS):
        model.partial_fit(x[train], y[train], classes=np.arange(10))
    return float(100 * (model.predict(x[test]) != y[test]).mean())


if __name__ == "__main__":
    x, y = load_digits(return_X_y=True)
    x = x / 16
    rows = np.arange(len(x))
    shuffled = np.random.default_rng(0).permutation(len(x))
    errors = {}
    for name, order in (("random folds", shuffled), ("blocks of the file", rows)):
        folds = np.array_split(order, FOLDS)
        errors[name] = [error(np.setdiff1d(rows, f), f, x, y) for f in folds]
        shown = ", ".join(f"{e:.1f}" for e in errors[name])
        print(f"{name:18s} mean {np.mean(errors[name]):.1f} %  ({shown})")
    random_error, block_error = (float(np.mean(e)) for e in errors.values())

    assert block_error > 1.3 * random_error
