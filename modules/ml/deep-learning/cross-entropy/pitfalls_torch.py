"""Four mistakes with cross-entropy, each reproduced, with its symptom.

Shapes: logits (N, K), targets (N,). All in PyTorch; source: its documentation.
"""

import math

import torch
import torch.nn.functional as F


def double_softmax_floor(num_classes: int) -> float:
    """Return a perfect prediction's loss when softmax comes before cross_entropy."""
    perfect = torch.zeros(1, num_classes, dtype=torch.float64)
    perfect[0, 0] = 1000.0
    return F.cross_entropy(torch.softmax(perfect, dim=1), torch.tensor([0])).item()


if __name__ == "__main__":
    print("1. softmax before cross_entropy: the loss stays above log(e + K - 1) - 1")
    floor_2, floor_10, floor_1000 = (double_softmax_floor(k) for k in (2, 10, 1000))
    print(f"   {floor_2:.3f} for K = 2, {floor_10:.3f} for 10, {floor_1000:.3f} for 1000")
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 10, generator=generator, dtype=torch.float64)
    targets = torch.tensor([3, 1, 4, 1, 5, 9])
    once = F.cross_entropy(logits, targets).item()
    twice = F.cross_entropy(torch.log_softmax(logits, dim=1), targets).item()
    log_softmax_difference = abs(once - twice)
    print(f"   log_softmax before it changes the loss by {log_softmax_difference:.1e}")

    print("2. view instead of transpose: the shapes fit, the classes are shuffled")
    labels = torch.randint(0, 4, (2, 6), generator=generator)  # (N, L)
    sure = 10.0 * F.one_hot(labels, 4).double()  # (N, L, K): right and confident
    transposed = F.cross_entropy(sure.transpose(1, 2), labels).item()  # (N, K, L)
    viewed = F.cross_entropy(sure.view(2, 4, 6), labels).item()
    print(f"   right answers: transpose(1, 2) {transposed:.4f}, view(2, 4, 6) {viewed:.2f}")

    print("3. the mean of batch means is not the mean over the data")
    losses = F.cross_entropy(logits, targets, reduction="none")
    true_mean = losses.mean().item()
    batches = losses.split(5)  # of 5 and of 1
    of_means = sum(b.mean().item() for b in batches) / len(batches)
    of_sums = sum(b.sum().item() for b in batches) / sum(len(b) for b in batches)
    print(f"   batches of 5 and 1: mean of means {of_means:.4f}, mean {true_mean:.4f}")

    print("4. a weight of 0 for the only class of a batch")
    zero_weight = torch.ones(10, dtype=torch.float64)
    zero_weight[3] = 0.0
    z = logits[:1].clone().requires_grad_()
    loss = F.cross_entropy(z, targets[:1], weight=zero_weight)
    loss.backward()
    zero_weight_is_nan = bool(z.grad.isnan().all())
    print(f"   loss {loss.item()}, gradient all nan: {zero_weight_is_nan}")

    for floor, k in ((floor_2, 2), (floor_10, 10), (floor_1000, 1000)):
        assert abs(floor - (math.log(math.e + k - 1) - 1)) < 1e-12
    assert log_softmax_difference < 1e-14
    assert transposed < 1e-3 and viewed > 1.0
    assert abs(of_means - true_mean) > 0.05 and abs(of_sums - true_mean) < 1e-12
    last = losses[5].item()  # alone in its batch: it counts 1/2, not 1/6
    assert abs(of_means - ((6 * true_mean - last) / 5 + last) / 2) < 1e-12
    assert loss.isnan() and zero_weight_is_nan
