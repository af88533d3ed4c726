"""Exercise 3: halving the recomputation again and again needs logarithmic memory.

A chain x_{k+1} = x_k + sin(3 x_k) / 1000 of M steps; its reverse sweep needs x_{M-1}, ..., x_0.
Counted while it runs: steps of the function, and how many x_k are held at once.
Source: after Griewank (1992); the schedule here is plain bisection.
"""

import math


class Chain:
    """The function, step by step, with counters."""

    def __init__(self) -> None:
        self.steps, self.held, self.peak = 0, 0, 0

    def run(self, x: float, count: int) -> float:
        """Return x after so many steps."""
        for _ in range(count):
            x += math.sin(3 * x) / 1000
        self.steps += count
        return x

    def hold(self, change: int) -> None:
        """Note that so many more values are held."""
        self.held += change
        self.peak = max(self.peak, self.held)

    def store_all(self, x: float, count: int) -> float:
        """Return dx_M/dx_0 with every value stored."""
        values = [x]
        for _ in range(count - 1):
            values.append(self.run(values[-1], 1))
        self.hold(len(values))
        slope = 1.0
        for value in reversed(values):
            slope *= 1 + 0.003 * math.cos(3 * value)
        return slope

    def bisect(self, x: float, count: int) -> float:
        """Return dx_count/dx_0: the right half first, from a recomputed middle."""
        if count == 1:
            return 1 + 0.003 * math.cos(3 * x)
        half = count // 2
        middle = self.run(x, half)
        self.hold(+1)
        right = self.bisect(middle, count - half)
        self.hold(-1)  # the middle is no longer needed
        return right * self.bisect(x, half)


if __name__ == "__main__":
    rows, start = [], 0.7
    for count in (16, 256, 4096):
        everything, halving = Chain(), Chain()
        halving.hold(1)  # the input
        exact, found = everything.store_all(start, count), halving.bisect(start, count)
        rows.append((count, everything.peak, halving.peak, halving.steps / count))
        print(
            f"{count} steps: {everything.peak} values, or {halving.peak} and {rows[-1][3]:g} runs"
        )
        assert abs(found / exact - 1) < 1e-12
    length, stored, peak, runs = rows[-1]

    assert all(peak == math.log2(count) + 1 for count, _, peak, _ in rows)
    assert all(runs == math.log2(count) / 2 for count, *_, runs in rows)
