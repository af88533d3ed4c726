"""Keras's GlorotNormal is cut off at two, then widened, so that its variance is right.

Keras stores (fan_in, fan_out) and (height, width, C_in, C_out), the layout of this page.
"""

from math import prod, sqrt

import keras
import numpy as np

CUT_STD = 0.8796256610342398  # standard deviation of a standard normal cut off at +-2


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return fan-in and fan-out of a Keras kernel."""
    return prod(shape[:-2]) * shape[-2], prod(shape[:-2]) * shape[-1]


def statistics(name: str, shape: tuple[int, ...]) -> tuple[float, float]:
    """Return variance and largest absolute value, in units of 2 / (fan_in + fan_out)."""
    w = np.asarray(getattr(keras.initializers, name)(seed=0)(shape), dtype=np.float64)
    std = sqrt(2 / sum(fans(shape)))
    return float(w.var() / std**2), float(np.abs(w).max() / std)


if __name__ == "__main__":
    shape = (512, 256)
    uniform_variance, uniform_largest = statistics("GlorotUniform", shape)
    normal_variance, normal_largest = statistics("GlorotNormal", shape)
    print(f"GlorotUniform: variance x {uniform_variance:.3f}, largest {uniform_largest:.2f} std")
    print(f"GlorotNormal:  variance x {normal_variance:.3f}, largest {normal_largest:.2f} std")

    plain = keras.initializers.TruncatedNormal(stddev=sqrt(2 / sum(shape)), seed=0)
    plain_variance = float(np.asarray(plain(shape)).var() / (2 / sum(shape)))
    print(f"TruncatedNormal with that stddev: variance x {plain_variance:.3f}")

    kernel = (3, 3, 16, 32)
    conv_variance, _ = statistics("GlorotUniform", kernel)
    layer = keras.layers.Dense(256)
    layer.build((None, 512))
    default, bias = layer.kernel_initializer.__class__.__name__, np.asarray(layer.bias)
    print(f"Dense: {default}, largest bias {np.abs(bias).max():g}; kernel fans {fans(kernel)}")

    assert abs(uniform_variance - 1) < 0.02 and uniform_largest <= sqrt(3) * (1 + 1e-6)
    assert abs(normal_variance - 1) < 0.02 and 2.1 < normal_largest <= 2 / CUT_STD * (1 + 1e-6)
    assert abs(plain_variance - CUT_STD**2) < 0.02 and abs(conv_variance - 1) < 0.1
    assert default == "GlorotUniform" and not bias.any() and fans(kernel) == (144, 288)
