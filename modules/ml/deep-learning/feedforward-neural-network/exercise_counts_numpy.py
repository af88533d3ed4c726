"""Where the parameters are: in the layer between the two widest neighbors.

sizes = [D_0, ..., D_M]; a layer has (D_{l-1} + 1) D_l parameters.
"""

from itertools import pairwise


def layer_parameters(sizes: list[int]) -> list[int]:
    """Return the number of weights and biases of each layer."""
    return [(d + 1) * k for d, k in pairwise(sizes)]


if __name__ == "__main__":
    sizes, n = [784, 300, 100, 10], 64
    layers = layer_parameters(sizes)
    first, second, third = layers
    total, products = sum(layers), n * sum(d * k for d, k in pairwise(sizes))
    first_share = first / total
    print(f"{sizes}: {layers}, together {total}; products for {n} examples: {products}")

    image_first = layer_parameters([224 * 224 * 3, 1000])[0]
    gigabytes = 4 * image_first / 1e9  # float32
    print(f"224 x 224 x 3 inputs, 1000 units: {image_first} parameters, {gigabytes:.2f} GB")

    assert total == 235_500 + 30_100 + 1_010 and first_share > 0.8
    assert products == 64 * (784 * 300 + 300 * 100 + 100 * 10)
    assert image_first == 150_529_000 and round(gigabytes, 1) == 0.6
