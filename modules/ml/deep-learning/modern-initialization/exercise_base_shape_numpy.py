"""A rate tuned at width 256 becomes one rate per layer at width 4096.

The same muP in two forms: small output weights, or an output divided by the width. With
f = h W / r, a step on W moves f by 1 / r of what the same step on the quotient would.
"""


def without_multiplier(n: int, base: int, std: float, lr: float) -> tuple[float, float]:
    """Return the standard deviation and Adam's rate of output weights, f = h W."""
    r = n / base
    return std / r, lr / r  # variance 1 / n^2 in the width


def with_multiplier(n: int, base: int, std: float, lr: float) -> tuple[float, float, float]:
    """Return the factor, standard deviation and Adam's rate for f = factor * h W."""
    return base / n, std, lr


if __name__ == "__main__":
    base, n, lr = 256, 4096, 2e-3
    r = n // base
    base_std = base**-0.5  # variance 1 / n at the base width
    std, output_lr = without_multiplier(n, base, base_std, lr)
    factor, std_inside, lr_inside = with_multiplier(n, base, base_std, lr)
    hidden_lr, hidden_std = lr / r, (2 / n) ** 0.5
    print(f"input {lr}, hidden {hidden_lr}, output {output_lr}; output std {std:.2e}")
    print(f"with the factor {factor}: std {std_inside}, rate {lr_inside}")

    assert abs(std - base_std / r) < 1e-12 and abs(std - factor * std_inside) < 1e-12
    assert abs(output_lr - factor * lr_inside) < 1e-15
