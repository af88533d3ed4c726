"""Where only softmax follows dropout, evaluation mode is exactly the ensemble's geometric mean.

The ensemble has one member per mask; all 2^D masks are enumerated, each with its probability.
Shapes: x is (D,), masks are (M, D) with entries 0 or 1 / (1 - p), log-probabilities are (M, K).
Sources: Hinton et al. (2012) for one hidden layer; Warde-Farley et al. (2014) for deeper ones.
"""

from itertools import product

import numpy as np


def all_masks(d: int, p: float) -> tuple[np.ndarray, np.ndarray]:
    """Return all 2^d scaled masks (2^d, d) and the probability of each (2^d,), for 0 <= p < 1."""
    keep = np.array(list(product([0.0, 1.0], repeat=d)))
    chance = np.prod(np.where(keep == 1.0, 1.0 - p, p), axis=1)
    return keep / (1.0 - p), chance


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Return log(softmax(logits)) over the last axis; log-probabilities cannot underflow to 0."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def arithmetic_mean(log_members: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """Return the mean (K,) of the members' probabilities (M, K), weighted by chance (M,)."""
    return chance @ np.exp(log_members)  # (M,) @ (M, K) -> (K,)


def geometric_mean(log_members: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """Return the weighted geometric mean (K,) of the members (M, K), normalized to sum 1."""
    return np.exp(log_softmax(chance @ log_members))  # (M,) @ (M, K) -> (K,)


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    p, d, h, k = 0.3, 6, 8, 4
    x = rng.normal(size=d)
    w1, w2 = rng.normal(size=(d, h)), rng.normal(size=(h, k))
    hidden = np.maximum(x @ w1, 0.0)  # (D,) @ (D, H) -> (H,)
    log_evaluation = log_softmax(hidden @ w2)  # (H,) @ (H, K) -> (K,)
    evaluation = np.exp(log_evaluation)

    # Dropout on the hidden layer only: nothing but softmax comes after it.
    masks, chance = all_masks(h, p)
    log_members = log_softmax((hidden * masks) @ w2)  # (M, H) @ (H, K) -> (M, K)
    gap_shallow = float(np.abs(evaluation - geometric_mean(log_members, chance)).max())
    gap_arithmetic = float(np.abs(evaluation - arithmetic_mean(log_members, chance)).max())
    print(f"dropout before softmax only, {len(masks)} members:")
    print(f"  evaluation against the geometric mean  {gap_shallow:.1e}")
    print(f"  evaluation against the arithmetic mean {gap_arithmetic:.3f}")

    # Cross-entropy for each possible target class.
    mean_member_losses = -chance @ log_members
    print("  loss in evaluation, per class:   ", np.round(-log_evaluation, 2))
    print("  mean loss of members, per class: ", np.round(mean_member_losses, 2))

    # Dropout on the input too: a ReLU comes after it, and the identity is gone.
    input_masks, input_chance = all_masks(d, p)
    hidden_each = np.maximum((x * input_masks) @ w1, 0.0)  # (M1, D) @ (D, H) -> (M1, H)
    both = (hidden_each[:, None, :] * masks).reshape(-1, h)  # every pair of masks
    both_chance = np.outer(input_chance, chance).ravel()
    log_both = log_softmax(both @ w2)
    gap_deep = float(np.abs(evaluation - geometric_mean(log_both, both_chance)).max())
    members_deep = len(both)
    print(f"dropout before the ReLU as well, {members_deep} members:")
    print(f"  evaluation against the geometric mean  {gap_deep:.3f}")

    assert abs(chance.sum() - 1.0) < 1e-12 and np.allclose(chance @ masks, 1.0)  # E[mask] = 1
    assert gap_shallow < 1e-12
    assert gap_arithmetic > 1e-3 and gap_deep > 1e-3
    assert np.all(-log_evaluation < mean_member_losses)
