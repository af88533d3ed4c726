"""One forward pass, three ways: unit by unit, rows, columns. The numbers are the same.

Rows:    x (N, D), layer l has w (D_{l-1}, D_l) and b (D_l,),  z = a @ w + b.
Columns: x (D, N), layer l has w (D_l, D_{l-1}) and b (D_l, 1), z = w @ a + b.
ReLU in the hidden layers, nothing behind the last one. sizes = [D_0, ..., D_M].
"""

from itertools import pairwise

import numpy as np

Params = list[tuple[np.ndarray, np.ndarray]]


def init_params(sizes: list[int], rng: np.random.Generator) -> Params:
    """Return random weights of variance 2 / D_{l-1} and zero biases, as for rows."""
    shapes = pairwise(sizes)
    return [(rng.normal(size=s) * np.sqrt(2 / s[0]), np.zeros(s[1])) for s in shapes]


def forward(x: np.ndarray, params: Params) -> list[np.ndarray]:
    """Return [a_0 = x, a_1, ..., z_M]; each is (N, D_l)."""
    a = [x]
    for w, b in params[:-1]:
        a.append(np.maximum(a[-1] @ w + b, 0.0))  # (N, D) @ (D, K) + (K,) -> (N, K)
    w, b = params[-1]
    return [*a, a[-1] @ w + b]


def forward_columns(x: np.ndarray, params: Params) -> list[np.ndarray]:
    """Return [a_0 = x, a_1, ..., z_M]; each is (D_l, N)."""
    a = [x]
    for w, b in params[:-1]:
        a.append(np.maximum(w @ a[-1] + b, 0.0))  # (K, D) @ (D, N) + (K, 1) -> (K, N)
    w, b = params[-1]
    return [*a, w @ a[-1] + b]


def unit_by_unit(x: np.ndarray, params: Params) -> np.ndarray:
    """Return z_M (N, D_M), one weighted sum of one unit for one example at a time."""
    a = x
    for l, (w, b) in enumerate(params, start=1):
        z = np.empty((len(a), len(b)))
        for n, k in np.ndindex(z.shape):
            z[n, k] = sum(a[n, d] * w[d, k] for d in range(len(w))) + b[k]
        a = np.maximum(z, 0.0) if l < len(params) else z
    return a


def count_parameters(sizes: list[int]) -> int:
    """Return the number of weights and biases: sum of (D_{l-1} + 1) D_l."""
    return sum((d + 1) * k for d, k in pairwise(sizes))


def count_products(n: int, sizes: list[int]) -> int:
    """Return the multiplications of a forward pass with n examples."""
    return n * sum(d * k for d, k in pairwise(sizes))


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    sizes, n = [5, 4, 7, 3], 6  # no two equal: a wrong product cannot hide
    params = init_params(sizes, rng)
    params = [(w, rng.normal(size=b.shape)) for w, b in params]  # biases that matter
    x = rng.normal(size=(n, sizes[0]))
    columns_params = [(w.T, b[:, None]) for w, b in params]

    rows, columns = forward(x, params), forward_columns(x.T, columns_params)
    print("layer      rows: w, b, out        columns: w, b, out")
    for l, ((w, b), (wc, bc)) in enumerate(zip(params, columns_params, strict=True), start=1):
        text = f"{w.shape} {b.shape} {rows[l].shape}"
        print(f"{l:5}      {text:22} {wc.shape} {bc.shape} {columns[l].shape}")
    pairs = zip(rows, columns, strict=True)
    layout_difference = max(float(np.abs(r - c.T).max()) for r, c in pairs)
    loop_difference = float(np.abs(unit_by_unit(x, params) - rows[-1]).max())
    print(f"rows against transposed columns: largest difference {layout_difference:.1e}")
    print(f"rows against unit by unit:       largest difference {loop_difference:.1e}")

    one = forward(x[:1], params)[-1]  # an example does not see the others
    alone_difference = float(np.abs(one - rows[-1][:1]).max())
    weighted_sums, matrix_products = n * sum(sizes[1:]), len(params)
    parameters, products = count_parameters(sizes), count_products(n, sizes)
    print(f"{parameters} parameters; {weighted_sums} sums in {matrix_products} products")

    assert layout_difference < 1e-14 and loop_difference < 1e-13 and alone_difference < 1e-13
    assert parameters == sum(w.size + b.size for w, b in params)
    assert products == n * sum(w.size for w, _ in params)
    assert weighted_sums == sum(a.size for a in rows[1:]) and matrix_products == 3
    assert sizes == [x.shape[1], *(a.shape[1] for a in rows[1:])]
