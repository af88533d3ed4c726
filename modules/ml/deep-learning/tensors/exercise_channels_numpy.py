"""Statistics per channel need keepdims: a mean of shape (C,) meets the last axis.

Shapes: images (N, C, H, W).
"""

import numpy as np


def standardize_channels(images: np.ndarray) -> np.ndarray:
    """Return images with mean 0 and variance 1 in each channel, (N, C, H, W)."""
    mean = images.mean(axis=(0, 2, 3), keepdims=True)  # (1, C, 1, 1)
    std = images.std(axis=(0, 2, 3), keepdims=True)
    return (images - mean) / std


def standardize_wrongly(images: np.ndarray) -> np.ndarray:
    """Return the same without keepdims."""
    return (images - images.mean(axis=(0, 2, 3))) / images.std(axis=(0, 2, 3))


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    scale = np.array([1.0, 10.0, 100.0])[:, None, None]  # (C, 1, 1)
    images = scale * (3.0 + rng.normal(size=(8, 3, 5, 4)))
    result = standardize_channels(images)
    worst = float(np.abs(result.mean(axis=(0, 2, 3))).max())
    print(f"means per channel at most {worst:.0e}")
    try:
        standardize_wrongly(images)
        message = ""
    except ValueError as error:
        message = str(error)
    print(f"without keepdims, images of width 4: {message}")
    silent = standardize_wrongly(images[..., :3])  # width 3 = number of channels
    silent_means = silent.mean(axis=(0, 2, 3))
    print(f"images of width 3: no error, means per channel {silent_means.round(1)}")
    silent_worst = float(np.abs(silent_means).max())

    assert worst < 1e-14 and "broadcast" in message and silent_worst > 10
