"""With one matrix at every step, its spectral radius alone does not rule the gradient.

States are rows: h_t = f(h_{t-1} @ w + x_t), (H,), with w (H, H); x_t already contains bias
and input. The Jacobian dh_t / dh_{t-1} is diag(f') @ w.T, outputs by inputs. Conditions:
Pascanu, Mikolov and Bengio (2013).
"""

import matplotlib.pyplot as plt
import numpy as np


def spectral_radius(w: np.ndarray) -> float:
    """Return the largest absolute value of an eigenvalue."""
    return float(np.abs(np.linalg.eigvals(w)).max())


def power_norms(w: np.ndarray, steps: int) -> np.ndarray:
    """Return the norms |w^k| (largest singular value) for k = 0, ..., steps."""
    power, norms = np.eye(len(w)), []
    for _ in range(steps + 1):
        norms.append(np.linalg.norm(power, 2))
        power = power @ w
    return np.array(norms)


def run_states(w: np.ndarray, x: np.ndarray, h0: np.ndarray, name: str) -> np.ndarray:
    """Return h_0, ..., h_T, (T + 1, H), for x (T, H) and f = tanh or relu."""
    states = [h0]
    for x_t in x:
        z = states[-1] @ w + x_t  # (H,) @ (H, H) -> (H,)
        states.append(np.tanh(z) if name == "tanh" else np.maximum(z, 0.0))
    return np.array(states)


def state_jacobian(w: np.ndarray, states: np.ndarray, name: str) -> np.ndarray:
    """Return dh_T / dh_0 as the product of diag(f') @ w.T, (H, H)."""
    product = np.eye(len(w))
    for h in states[1:]:
        slope = 1.0 - h**2 if name == "tanh" else (h > 0).astype(float)
        product = slope[:, None] * w.T @ product
    return product


def weight_gradient_shares(w: np.ndarray, states: np.ndarray, grad: np.ndarray) -> np.ndarray:
    """Return the norms of the steps' shares of dL/dw, for tanh and grad = dL/dh_T."""
    shares, g = [], grad
    for before, h in zip(states[-2::-1], states[:0:-1], strict=True):
        delta = g * (1.0 - h**2)
        shares.append(np.linalg.norm(before) * np.linalg.norm(delta))  # of the outer product
        g = delta @ w.T
    return np.array(shares[::-1])


if __name__ == "__main__":
    radius, coupling, steps = 0.9, 5.0, 100
    rotation = radius * np.array([[0.6, 0.8], [-0.8, 0.6]])  # normal: its norm is its radius
    jordan = np.array([[radius, coupling], [0.0, radius]])
    curves = {
        "normal, radius 0.9": power_norms(rotation, steps),
        "not normal, radius 0.9": power_norms(jordan, steps),
        "not normal, radius 1.02": power_norms(jordan + 0.12 * np.eye(2), steps),
    }
    normal, transient, _ = curves.values()
    peak, peak_step, end = float(transient.max()), int(transient.argmax()), float(transient[-1])
    k = np.arange(steps + 1)
    closed_form = coupling * k * radius ** (k - 1.0)  # the entry above the diagonal
    norm = float(np.linalg.norm(jordan, 2))
    print(f"radius {radius}, norm {norm:.2f}: |w^k| peaks at {peak:.1f} for k = {peak_step},")
    print(f"  and is {end:.3f} for k = {steps}; for the rotation {normal[-1]:.1e}")

    w = 1.5 * np.array([[1.0, 1.0], [-1.0, -1.0]])
    square = float(np.abs(w @ w).max())  # 0, so every eigenvalue is 0
    x = np.tile([0.0, -1e6], (20, 1))  # a bias that switches the second unit off
    states = run_states(w, x, np.array([1.0, 0.0]), "relu")
    exploded = float(np.linalg.norm(state_jacobian(w, states, "relu"), 2))
    print(f"ReLU, w @ w = {square:.0f}: |dh_20/dh_0| = {exploded:.0f} = sqrt(2) * 1.5^20")

    rng = np.random.default_rng(0)
    hidden, length = 32, 50
    w = rng.normal(size=(hidden, hidden)) / np.sqrt(hidden)
    w_norm, w_radius = float(np.linalg.norm(w, 2)), spectral_radius(w)
    states = run_states(w, 0.3 * rng.normal(size=(length, hidden)), np.zeros(hidden), "tanh")
    shares = weight_gradient_shares(w, states, rng.normal(size=hidden))
    last_ten = float(shares[-10:].sum() / shares.sum())
    oldest = float(shares[1] / shares[-1])
    print(f"tanh, radius {w_radius:.2f}, norm {w_norm:.2f}: step 2 has {oldest:.0e} of step 50's")
    print(f"  share of dL/dw; the last ten steps have {last_ten:.0%} of all")

    fig, ax = plt.subplots(num="powers", figsize=(5.4, 4.2), layout="constrained")
    styles = (("C0", "o", "-", 60, 8), ("C1", "s", "-", 40, 10), ("C2", "^", "-", 40, -16))
    for (label, norms), (color, marker, line, at, up) in zip(curves.items(), styles, strict=True):
        ax.semilogy(norms, color=color, marker=marker, linestyle=line, markevery=20)
        ax.annotate(label, (at, norms[at]), (0, up), textcoords="offset points")
    ax.axhline(1.0, color="0.5", linewidth=0.8)
    ax.set(xlabel="number of steps k", ylabel="norm of the k-th power")
    plt.show()

    assert peak > 15 and end < 0.1 and np.all(transient[1:] >= closed_form[1:])
    assert np.allclose(transient[1:], closed_form[1:], rtol=0.05)
    assert square == 0.0 and abs(exploded / 1.5**20 - np.sqrt(2)) < 1e-9
    assert oldest < 1e-3 and last_ten > 0.5
