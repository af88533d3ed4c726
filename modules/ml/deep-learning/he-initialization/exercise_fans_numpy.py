"""Standard deviations and uniform bounds of three layers by hand, and the one line for all."""

import math

if __name__ == "__main__":
    layers = {
        "dense 784 -> 256, ReLU": (784, 256, 0.0),
        "3x3 convolution 64 -> 128, ReLU": (9 * 64, 9 * 128, 0.0),
        "1x1 convolution 128 -> 64, leaky ReLU, slope 0.3": (128, 64, 0.3),
    }
    rows = []
    for name, (fan_in, fan_out, slope) in layers.items():
        std_in, std_out = (math.sqrt(2 / ((1 + slope**2) * fan)) for fan in (fan_in, fan_out))
        bound = math.sqrt(3) * std_in
        rows.append((std_in, bound, std_out))
        print(f"{name}: std {std_in:.4f}, bound {bound:.4f}; with fan-out {std_out:.4f}")
    dense, dense_bound, dense_out = rows[0]
    conv, conv_bound, conv_out = rows[1]
    leaky, leaky_bound, leaky_out = rows[2]

    assert abs(dense - 0.0505) < 1e-4 and abs(conv - 0.0589) < 1e-4
    assert abs(leaky_bound**2 / 3 - leaky**2) < 1e-12 and conv_out < conv
    assert abs(leaky * math.sqrt(1.09) - 1 / 8) < 1e-12 and leaky_out > leaky
