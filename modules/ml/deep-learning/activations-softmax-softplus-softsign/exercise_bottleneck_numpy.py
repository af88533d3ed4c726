"""A softmax behind a layer of width D gives log-probabilities of rank at most D + 1.

Shapes: hidden states (N, D), output weights (D, K), log-probabilities (N, K). Also: the sum of
softmax in one pass, from pieces. Sources: Yang et al. (2018); Milakov and Gimelshein (2018).
"""

import numpy as np


def log_softmax(z: np.ndarray) -> np.ndarray:
    """Return log-probabilities over the last axis."""
    shifted = z - z.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def merge(a: tuple[float, float], b: tuple[float, float]) -> tuple[float, float]:
    """Return (m, s) of two parts together: m is the maximum, s the sum of exp(z - m)."""
    m = max(a[0], b[0])
    return m, a[1] * float(np.exp(a[0] - m)) + b[1] * float(np.exp(b[0] - m))


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    n, d, k = 200, 8, 100
    one = log_softmax(rng.normal(size=(n, d)) @ rng.normal(size=(d, k)))  # (N, D) @ (D, K)
    two = log_softmax(rng.normal(size=(n, d)) @ rng.normal(size=(d, k)))
    rank_one = int(np.linalg.matrix_rank(one))
    mixture = np.logaddexp(one, two) - np.log(2)  # log of the mean of the two distributions
    rank_mixture = int(np.linalg.matrix_rank(mixture))
    print(f"width {d}, {k} classes: rank of the log-probabilities {rank_one}", end="; ")
    print(f"of a mixture of two softmaxes {rank_mixture}")

    z = 300.0 * rng.normal(size=1000)
    state = (float(z[0]), 1.0)
    for value in z[1:]:
        state = merge(state, (float(value), 1.0))
    one_pass = state[0] + float(np.log(state[1]))
    exact = float(z.max() + np.log(np.exp(z - z.max()).sum()))
    print(f"log-sum-exp in one pass {one_pass:.6f}, in two {exact:.6f}")

    assert rank_one == d + 1 and rank_mixture > 5 * d
    assert np.allclose(np.exp(mixture).sum(axis=1), 1)
    assert abs(one_pass - exact) < 1e-9
