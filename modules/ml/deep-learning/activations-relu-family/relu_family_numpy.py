"""Five rectifiers with derivatives that are right everywhere: at the kink and at 1e300 too.

Shapes: x has any shape; results have its shape and dtype. For PReLU x is (N, C, ...) and a is (C,)
or (1,), of the dtype of x. Convention at x = 0: the derivative of the left branch, as in PyTorch.
Sources: Glorot et al. (2011) for ReLU, Maas et al. (2013) for Leaky ReLU, He et al. (2015), Section
2.1, for PReLU, Clevert et al. (2016) for ELU, Klambauer et al. (2017), Eq. 2, for SELU.
"""

import numpy as np

SELU_ALPHA = 1.6732632423543772848170429916717  # solves the fixed-point equations of the derivation
SELU_SCALE = 1.0507009873554804934193349852946


def relu(x: np.ndarray) -> np.ndarray:
    """Return max(0, x)."""
    return np.asarray(np.maximum(x, 0.0))  # an array also for a 0-d x


def relu_derivative(x: np.ndarray) -> np.ndarray:
    """Return 1 where x > 0, else 0."""
    return (x > 0).astype(x.dtype)


def leaky_relu(x: np.ndarray, negative_slope: float = 0.01) -> np.ndarray:
    """Return x where x > 0, else negative_slope * x."""
    return np.where(x > 0, x, negative_slope * x)  # max(slope * x, x) would need slope <= 1


def leaky_relu_derivative(x: np.ndarray, negative_slope: float = 0.01) -> np.ndarray:
    """Return 1 where x > 0, else negative_slope."""
    return np.where(x > 0, np.ones_like(x), negative_slope)


def _per_channel(a: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Reshape a to (1, C, 1, ...) to fit x; ValueError if a is not (C,) or (1,)."""
    channels = x.shape[1] if x.ndim > 1 else 1
    if a.shape not in ((channels,), (1,)):
        raise ValueError(f"a must have shape ({channels},) or (1,), got {a.shape}")
    return a.reshape((1, -1) + (1,) * (x.ndim - 2)) if x.ndim > 1 else a


def prelu(x: np.ndarray, a: np.ndarray) -> np.ndarray:
    """Return x where x > 0, else a * x, with one slope per channel (axis 1) or one for all."""
    return np.where(x > 0, x, _per_channel(a, x) * x)


def prelu_derivative(x: np.ndarray, a: np.ndarray) -> np.ndarray:
    """Return the derivative for x: 1 where x > 0, else a."""
    return np.where(x > 0, np.ones_like(x), _per_channel(a, x))


def prelu_backward(
    grad_output: np.ndarray, x: np.ndarray, a: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the gradients for x and for a; a slope collects from every position that uses it."""
    axes = None if a.size == 1 else (0, *range(2, x.ndim))  # all axes but the channels
    grad_a = np.sum(grad_output * np.minimum(x, 0.0), axis=axes).reshape(a.shape)
    return grad_output * prelu_derivative(x, a), grad_a


def elu(x: np.ndarray, alpha: float = 1.0) -> np.ndarray:
    """Return x where x > 0, else alpha * (exp(x) - 1)."""
    # np.where evaluates both branches: without the minimum, exp overflows for large positive x.
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0.0)))


def elu_derivative(x: np.ndarray, alpha: float = 1.0) -> np.ndarray:
    """Return 1 where x > 0, else alpha * exp(x), which equals elu(x) + alpha."""
    return np.where(x > 0, np.ones_like(x), alpha * np.exp(np.minimum(x, 0.0)))


def selu(x: np.ndarray) -> np.ndarray:
    """Return SELU_SCALE * elu(x, SELU_ALPHA)."""
    return SELU_SCALE * elu(x, SELU_ALPHA)


def selu_derivative(x: np.ndarray) -> np.ndarray:
    """Return SELU_SCALE * elu_derivative(x, SELU_ALPHA)."""
    return SELU_SCALE * elu_derivative(x, SELU_ALPHA)


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    x, grad_output = rng.normal(size=(2, 64, 3, 5))  # 64 examples, 3 channels, 5 positions
    a = np.array([0.4, 0.25, 0.0])
    family = {
        "ReLU": (relu, relu_derivative),
        "Leaky": (leaky_relu, leaky_relu_derivative),
        "PReLU": (lambda v: prelu(v, a), lambda v: prelu_derivative(v, a)),
        "ELU": (elu, elu_derivative),
        "SELU": (selu, selu_derivative),
    }
    step = 1e-6
    gradient_error = 0.0
    print("            f(-2)   f(0)    f(3)   f'(-2)   f'(0)   f'(3)")
    for name, (f, derivative) in family.items():
        numeric = (f(x + step) - f(x - step)) / (2 * step)
        away = np.abs(x) > step  # a central difference across the kink mixes both branches
        gradient_error = max(gradient_error, float(np.max(np.abs(numeric - derivative(x))[away])))
        probe = np.array([[-2.0], [0.0], [3.0]]) * np.ones((1, 3))
        row = np.concatenate([f(probe)[:, 0], derivative(probe)[:, 0]])
        print(f"{name:8s}" + "".join(f"{value:8.3f}" for value in row))
        extremes = np.array([-1e300, -1e4, 0.0, 1e4, 1e300])[:, None] * np.ones((1, 3))
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            assert np.all(np.isfinite(f(extremes))) and np.all(np.isfinite(derivative(extremes)))

    steps = step * np.eye(a.size)
    numeric_a = [
        np.sum(grad_output * (prelu(x, a + s) - prelu(x, a - s))) / (2 * step) for s in steps
    ]
    slope_error = float(np.max(np.abs(prelu_backward(grad_output, x, a)[1] - numeric_a)))
    print(f"error against finite differences: {gradient_error:.1e} for x, {slope_error:.1e} for a")
    elu_at_minus_2, elu_slope_at_minus_2 = elu(probe)[0, 0], elu_derivative(probe)[0, 0]
    selu_at_minus_2, selu_slope_at_minus_2 = selu(probe)[0, 0], selu_derivative(probe)[0, 0]
    selu_slope_at_0, selu_floor = selu_derivative(probe)[1, 0], selu(extremes)[0, 0]

    assert gradient_error < 1e-8
    assert slope_error < 1e-7
