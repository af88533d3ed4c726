"""PyTorch's autograd gives the same values and the same slope."""

import numpy as np
import torch

if __name__ == "__main__":
    x = torch.linspace(-1.0, 1.0, 5, dtype=torch.float64, requires_grad=True)
    y = 2.0 * x
    y.sum().backward()
    largest_difference = np.abs(y.detach().numpy() - 2.0 * x.detach().numpy()).max()
    print(f"slope by autograd: {x.grad.tolist()}")

    assert largest_difference == 0.0
    assert (x.grad == 2.0).all()
