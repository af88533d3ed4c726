"""Rows or columns as examples: every array and every gradient is the other's transpose.

Rows (this site):  x (N, D_in), w (D_in, D_out), b (D_out,),   z = x @ w + b.
Columns:           x (D_in, N), w (D_out, D_in), b (D_out, 1), z = w @ x + b.
Loss: the mean over N examples of half the squared error. 1/N stands in grad_z only.
"""

import numpy as np

Array = np.ndarray


def rows(x: Array, y: Array, w: Array, b: Array) -> dict[str, Array]:
    """Return Z (N, D_out) and the gradients for Z, W, b and X; y is (N, D_out)."""
    z = x @ w + b  # (N, D_in) @ (D_in, D_out) -> (N, D_out)
    grad_z = (z - y) / x.shape[0]
    grad_w = x.T @ grad_z  # (D_in, N) @ (N, D_out) -> (D_in, D_out)
    grad_b = grad_z.sum(axis=0)  # over the examples -> (D_out,)
    grad_x = grad_z @ w.T  # (N, D_out) @ (D_out, D_in) -> (N, D_in)
    return {"Z": z, "dL/dZ": grad_z, "dL/dW": grad_w, "dL/db": grad_b, "dL/dX": grad_x}


def columns(x: Array, y: Array, w: Array, b: Array) -> dict[str, Array]:
    """Return Z (D_out, N) and the gradients for Z, W, b and X; y is (D_out, N)."""
    z = w @ x + b  # (D_out, D_in) @ (D_in, N) -> (D_out, N)
    grad_z = (z - y) / x.shape[1]
    grad_w = grad_z @ x.T  # (D_out, N) @ (N, D_in) -> (D_out, D_in)
    grad_b = grad_z.sum(axis=1, keepdims=True)  # over the examples -> (D_out, 1)
    grad_x = w.T @ grad_z  # (D_in, D_out) @ (D_out, N) -> (D_in, N)
    return {"Z": z, "dL/dZ": grad_z, "dL/dW": grad_w, "dL/db": grad_b, "dL/dX": grad_x}


def numeric_rows(x: Array, y: Array, w: Array, b: Array) -> dict[str, Array]:
    """Return the gradients of the row layout by central differences of the loss."""
    grads = {}
    for name, array in (("dL/dW", w), ("dL/db", b), ("dL/dX", x)):
        grads[name] = np.zeros_like(array)
        for i in np.ndindex(array.shape):
            center, losses = array[i], []
            for step in (1e-3, -1e-3):  # the loss is quadratic: no truncation error
                array[i] = center + step
                losses.append(((x @ w + b - y) ** 2).sum() / (2 * len(x)))
            array[i] = center
            grads[name][i] = (losses[0] - losses[1]) / 2e-3
    return grads


def shape_after_step(b: Array, grad_b: Array | float, in_place: bool = False) -> str:
    """Return the shape of b after a step, or "error" if NumPy refuses the step."""
    b = b.copy()
    try:
        if in_place:
            b -= 0.1 * grad_b
        else:
            b = b - 0.1 * grad_b
    except ValueError:
        return "error"
    return str(b.shape)


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    n, d_in, d_out = 5, 4, 3  # all different: a wrong product or axis cannot hide
    x, y = rng.normal(size=(n, d_in)), rng.normal(size=(n, d_out))
    w, b = rng.normal(size=(d_in, d_out)), rng.normal(size=d_out)

    in_rows = {"X": x, "W": w, "b": b} | rows(x, y, w, b)
    x_c, y_c, w_c, b_c = x.T, y.T, w.T, b[:, None]  # b: a row here, a column there
    in_columns = {"X": x_c, "W": w_c, "b": b_c} | columns(x_c, y_c, w_c, b_c)
    print("       rows    columns  rows transposed - columns")
    largest_difference = 0.0
    for name, array in in_rows.items():
        twin = in_columns[name]
        difference = float(np.abs(np.atleast_2d(array).T - twin).max())
        largest_difference = max(largest_difference, difference)
        print(f"{name:5}  {array.shape!s:6}  {twin.shape!s:7}  {difference:.1g}")
    numeric = numeric_rows(x, y, w, b)
    numeric_error = max(float(np.abs(g - in_rows[k]).max()) for k, g in numeric.items())
    print(f"gradients, rows, against central differences: {numeric_error:.0e}")

    # In the notation of many courses dz lacks the 1/N of the mean, and db has it.
    dz, dz_c = n * in_rows["dL/dZ"], n * in_columns["dL/dZ"]
    db_c = dz_c.sum(axis=1, keepdims=True) / n
    db_python = sum(dz_c) / n  # Python's sum adds up the rows, which are the units
    shape_b = str(b_c.shape)
    right = shape_after_step(b_c, db_c)
    not_kept = shape_after_step(b_c, dz_c.sum(axis=1) / n)
    by_python = shape_after_step(b_c, db_python)
    both_axes = shape_after_step(b_c, dz_c.sum() / n)
    print(f"columns, b {shape_b} after a step: {right}, no keepdims {not_kept},")
    print(f"  sum(dz) {by_python}, dz.sum() {both_axes} with one number for all units")
    in_place = shape_after_step(b_c, db_python, in_place=True)
    print(f"  sum(dz) as b -= ...: {in_place}")
    db = sum(dz) / n
    rows_python = shape_after_step(b, db)
    rows_wrong = shape_after_step(b, dz.sum(axis=1) / n)
    print(f"rows, b {b.shape} after a step: sum(dz) {rows_python}, axis=1 {rows_wrong}")

    jacobian = np.kron(x, np.eye(d_out))  # d vec(Z) / d vec(W), entries row by row
    jacobian_shape, jacobian_entries = str(jacobian.shape), jacobian.size
    nonzero_entries = int(np.count_nonzero(jacobian))
    vector_jacobian = in_rows["dL/dZ"].ravel() @ jacobian

    assert largest_difference < 1e-14 and numeric_error < 1e-11
    assert all(numeric[k].shape == in_rows[k].shape for k in numeric)
    assert right == both_axes == shape_b and in_place == "error"
    assert (not_kept, by_python) == ("(3, 3)", "(3, 5)")  # no error, but not b's shape
    one_example = w_c @ x_c[:, :1] + (b_c - 0.1 * db_python)
    assert one_example.shape == (d_out, n)  # one example in, a batch of outputs out
    assert np.allclose(db_c, in_columns["dL/db"], atol=1e-14)
    assert np.allclose(db, in_rows["dL/db"], atol=1e-14)
    assert (rows_python, rows_wrong) == (str(b.shape), "error")
    assert np.allclose(vector_jacobian, in_rows["dL/dW"].ravel(), atol=1e-14)
    assert jacobian_shape == str((n * d_out, d_in * d_out))
    assert nonzero_entries == n * d_in * d_out == jacobian_entries / d_out
