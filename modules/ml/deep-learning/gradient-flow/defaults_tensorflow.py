"""Keras's Dense starts with GlorotUniform and zero biases: ReLU halves the signal.

GlorotUniform draws from +-sqrt(6 / (n_in + n_out)), variance 2 / (n_in + n_out), which
is 1 / n for equal widths. Shapes: x (N, n); kernel (n_in, n_out). The share of the
input is the variance of the pre-activations between examples, divided by their mean
square.
Source: documentation of keras.layers.Dense and keras.initializers.GlorotUniform.
"""

import keras
import numpy as np


def relu_signal(layers: list[keras.layers.Dense], x: np.ndarray) -> tuple[float, float]:
    """Return mean square and share of the input in the last layer's pre-activations."""
    z = layers[0](x)
    for layer in layers[1:]:
        z = layer(keras.ops.relu(z))
    z = keras.ops.convert_to_numpy(z)
    mean_square = float(np.mean(z**2))
    return mean_square, float(z.var(axis=0).mean() / mean_square)


if __name__ == "__main__":
    keras.utils.set_random_seed(0)
    n_in, n_out, width, depth = 1000, 500, 256, 20
    layer = keras.layers.Dense(n_out)
    layer.build((None, n_in))
    kernel, bias = (v.value.numpy() for v in (layer.kernel, layer.bias))
    times_sum = float(kernel.var() * (n_in + n_out))
    bound_squared = float(np.abs(kernel).max() ** 2 * (n_in + n_out))
    largest_bias = float(np.abs(bias).max())
    print(f"Dense: Var (n_in + n_out) = {times_sum:.3f}, largest |kernel|² (n_in + n_out)")
    print(f"       = {bound_squared:.3f}, largest |bias| = {largest_bias:g}")

    x = np.random.default_rng(0).normal(size=(64, width))
    signal, share = {}, {}
    for name in ("glorot_uniform", "he_normal"):
        layers = [
            keras.layers.Dense(width, kernel_initializer=name, dtype="float64")
            for _ in range(depth)
        ]
        signal[name], share[name] = relu_signal(layers, x)
        print(
            f"{depth} ReLU layers, {name}: mean square {signal[name]:.1e}, "
            f"share of the input {share[name]:.2f}"
        )
    default_signal, he_signal = signal["glorot_uniform"], signal["he_normal"]
    default_share = share["glorot_uniform"]

    assert abs(times_sum - 2) < 0.02 and abs(bound_squared - 6) < 0.01 and largest_bias == 0
    assert 2e-7 < default_signal < 2e-5 and 0.2 < he_signal < 10  # 2 ** -19 = 2e-6
    assert 0.01 < default_share < 0.5
