"""A gradient costs at most 4 times the function, whatever the number of inputs: counted.

Claim (Baur and Strassen 1983; Fischer and Warsitz 2000, Section 1): for a rational function
of n inputs there is a program for value and gradient that takes at most 3 times its
multiplications and divisions, and at most 4 times all its operations, with changes of sign.
A program is a list of (operation, i, j) on earlier values; the arithmetic is modulo a
prime, so results are exact, and every operation that is executed adds one to a counter.
"""

import random
from collections import Counter
from typing import ClassVar

import matplotlib.pyplot as plt

PRIME, OPERATIONS, SEEDS, INPUTS = 2**31 - 1, 1500, 5, (2, 10, 100, 1000)
TAPES = ("table", "quotient", "signs")
Program = list[tuple[str, int, int]]


class Number:
    """An integer modulo a prime that counts what is done with it."""

    counts: ClassVar[Counter[str]] = Counter()

    def __init__(self, value: int) -> None:
        self.value = value % PRIME

    def __add__(self, other: "Number") -> "Number":
        Number.counts["±"] += 1
        return Number(self.value + other.value)

    def __sub__(self, other: "Number") -> "Number":
        Number.counts["±"] += 1
        return Number(self.value - other.value)

    def __mul__(self, other: "Number") -> "Number":
        Number.counts["×÷"] += 1
        return Number(self.value * other.value)

    def __truediv__(self, other: "Number") -> "Number":
        Number.counts["×÷"] += 1
        return Number(self.value * pow(other.value, -1, PRIME))

    def __neg__(self) -> "Number":
        Number.counts["±"] += 1
        return Number(-self.value)


def random_program(n: int, kinds: str, rng: random.Random) -> Program:
    """Return operations on n inputs in which every value is used."""
    unused, program = list(range(n)), []
    while len(program) < OPERATIONS or len(unused) > 1:
        first = unused.pop(rng.randrange(len(unused)))
        # past the wanted length, operands come from the values that nobody used yet
        second = (
            rng.choice(unused) if len(program) >= OPERATIONS else rng.randrange(n + len(program))
        )
        if second in unused:
            unused.remove(second)
        pair = (first, second) if rng.random() < 0.5 else (second, first)
        unused.append(n + len(program))
        program.append((rng.choice(kinds), *pair))
    return program


def recurrence(length: int) -> Program:
    """Return y_{k+1} = y_k / y_{k-1} from two inputs."""
    return [("÷", k + 1, k) for k in range(length)]


def draw(n: int, kinds: str, seed: int) -> tuple[Program, list[Number]]:
    """Return a random program and inputs at which it does not divide by zero."""
    rng = random.Random(seed)
    while True:
        program = random_program(n, kinds, rng)
        inputs = [Number(rng.randrange(1, PRIME)) for _ in range(n)]
        try:
            evaluate(program, inputs)
        except ValueError:  # zero has no inverse: draw again
            continue
        return program, inputs


def evaluate(program: Program, inputs: list[Number]) -> list[Number]:
    """Return all values, the inputs first."""
    values = list(inputs)
    for operation, i, j in program:
        u, v = values[i], values[j]
        y = {"+": u.__add__, "-": u.__sub__, "×": u.__mul__, "÷": u.__truediv__}[operation](v)
        values.append(y)
    return values


def forward(program: Program, values: list[Number], tangents: list[Number]) -> Number:
    """Return the derivative along the tangents of the inputs: one forward sweep."""
    tangents, n = list(tangents), len(tangents)
    for k, (operation, i, j) in enumerate(program):
        s, t, u, v = tangents[i], tangents[j], values[i], values[j]
        if operation in "+-":
            tangents.append(s + t if operation == "+" else s - t)
        else:
            tangents.append(s * v + u * t if operation == "×" else (s - values[n + k] * t) / v)
    return tangents[-1]


def reverse(program: Program, values: list[Number], n: int, tape: str) -> list[Number]:
    """Return the gradient for the n inputs: one reverse sweep of one of three tapes."""
    grads: dict[int, tuple[int, Number]] = {len(values) - 1: (1, Number(1))}

    def send(to: int, sign: int, message: Number) -> None:
        if to not in grads:  # the first message is stored, not added
            grads[to] = (sign, message) if sign > 0 or tape == "signs" else (1, -message)
        else:
            old_sign, old = grads[to]
            if sign == old_sign:
                grads[to] = (sign, old + message)
            else:
                grads[to] = (1, old - message if old_sign > 0 else message - old)

    for k in reversed(range(len(program))):
        (operation, i, j), (sign, g) = program[k], grads[n + k]
        u, v, y = values[i], values[j], values[n + k]
        if operation in "+-":
            to_i, to_j, flip = g, g, -1 if operation == "-" else 1
        elif operation == "×":
            to_i, to_j, flip = g * v, g * u, 1
        elif tape == "table":  # both local derivatives first, as in PARTIALS
            to_i, to_j, flip = g * (Number(1) / v), g * (-y / v), 1
        else:
            quotient = g / v
            to_i, to_j, flip = quotient, quotient * y, -1
        send(i, sign, to_i)
        send(j, sign * flip, to_j)
    return [-g if sign < 0 else g for sign, g in (grads[i] for i in range(n))]


def ratios(program: Program, inputs: list[Number]) -> dict[str, tuple[float, float]]:
    """Return, per tape, the cost of value and gradient: products, and all operations."""
    rng, n = random.Random(0), len(inputs)
    tangents = [Number(rng.randrange(PRIME)) for _ in range(n)]
    Number.counts.clear()
    values = evaluate(program, inputs)
    function = Counter(Number.counts)
    expected, found = forward(program, values, tangents).value, {}
    for tape in TAPES:
        Number.counts.clear()
        grads = reverse(program, values, n, tape)
        total = function + Number.counts
        found[tape] = (total["×÷"] / max(function["×÷"], 1), total.total() / function.total())
        along = sum(g.value * t.value for g, t in zip(grads, tangents, strict=True)) % PRIME
        assert along == expected  # <grad, v> from the tape equals J v of forward mode, exactly
    return found


if __name__ == "__main__":
    families = {"all four": "+-×÷", "only + −": "+-", "only ×": "×", "only ÷": "÷"}
    measured: dict[str, list[dict[str, tuple[float, float]]]] = {}
    for name, kinds in families.items():
        measured[name] = [ratios(*draw(n, kinds, seed)) for n in INPUTS for seed in range(SEEDS)]
    measured["yₖ₊₁ = yₖ/yₖ₋₁"] = [ratios(recurrence(OPERATIONS), [Number(2), Number(3)])]
    programs = sum(map(len, measured.values()))
    largest = {
        (name, tape): [max(run[tape][part] for run in runs) for part in (0, 1)]
        for name, runs in measured.items()
        for tape in TAPES
    }
    print("largest ratio of (× and ÷; all operations), value and gradient to value:")
    for name in measured:
        row = [f"{a:.3f}; {b:.3f}" for a, b in (largest[name, tape] for tape in TAPES)]
        print(f"{name:>15}:  " + "   ".join(f"{t} {r}" for t, r in zip(TAPES, row, strict=True)))
    worst = {t: [max(largest[m, t][part] for m in measured) for part in (0, 1)] for t in TAPES}
    keeps = {t: [worst[t][0] <= 3, worst[t][1] <= 4] for t in TAPES}
    verdict = "reproduced" if any(map(all, keeps.values())) else (
        "partly" if any(map(any, keeps.values())) else "not at this size")  # fmt: skip
    (table_3, table_4), (quotient_3, quotient_4), (signs_3, signs_4) = worst.values()
    print(f"{programs} programs; bounds kept (3, 4): {keeps}; verdict: {verdict}")

    fig, axes = plt.subplots(
        2, 1, num="ratios", figsize=(6.0, 5.6), sharex=True, layout="constrained"
    )
    for part, (ax, bound) in enumerate(zip(axes, (3, 4), strict=True)):
        for shift, (tape, marker) in enumerate(zip(TAPES, "so^", strict=True)):
            heights = [largest[name, tape][part] for name in measured]
            places = [k + 0.2 * (shift - 1) for k in range(len(measured))]
            label = ("local derivatives first", "one quotient", "one quotient, signs kept apart")[
                shift
            ]
            ax.plot(places, heights, marker, color=f"C{shift}", ms=8, label=label)
        ax.axhline(bound, color="0.5", ls="--")
        ax.text(4.4, bound + 0.06, f"theorem: {bound}", ha="right", va="bottom")
        ax.set_ylim(0.5, 8.6)
    axes[0].set_ylabel("× and ÷:\nlargest ratio")
    axes[1].set_ylabel("all operations:\nlargest ratio")
    axes[0].legend(frameon=False, loc="upper left")
    axes[1].set_xticks(range(len(measured)), measured)
    plt.show()

    assert keeps == {"table": [False, False], "quotient": [True, False], "signs": [True, True]}
    assert all(largest[name, t][1] < 4 for name in ("only + −", "only ×") for t in TAPES)
    assert 4 < quotient_4 < 5 < table_4 < 7 and verdict == "reproduced"
