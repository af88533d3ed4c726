"""The scanner: what is code, math, a link, a value, a citation, and on which line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.markdown import Token, fenced, rewrite


def tokens(text: str) -> list[tuple[str, str, int]]:
    """Kind, text and line of each token."""
    found: list[tuple[str, str, int]] = []

    def see(token: Token) -> None:
        found.append((token.kind, token.match[0], token.line))

    assert rewrite(text, 1, see) == text
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a $x$ b", [("inline", "$x$", 1)]),
        ("a $x_1 + 2$, $y$.", [("inline", "$x_1 + 2$", 1), ("inline", "$y$", 1)]),
        ("costs 5$ or $ 6", [("dollar", "$", 1), ("dollar", "$", 1)]),
        (r"costs \$5", [("escape", r"\$", 1)]),
        (r"$a \$ b$", [("inline", r"$a \$ b$", 1)]),
        ("$$\nx\n$$", [("display", "$$\nx\n$$", 1)]),
        ("t\n\n    $$\n    x\n    $$", [("display", "    $$\n    x\n    $$", 3)]),
        ("`$x$` [a](b)", [("code", "`$x$`", 1), ("link", "[a](b)", 1)]),
        ("`` a ` $x$ ``", [("code", "`` a ` $x$ ``", 1)]),
        ("```text\n$x$ [a](b)\n```\n$y$", [("fence", "```text\n$x$ [a](b)\n```", 1), ("inline", "$y$", 4)]),
        ("    ```text\n    {{ a.b }}\n    ```", [("fence", "    ```text\n    {{ a.b }}\n    ```", 1)]),
        ("````\n```\n$x$\n````", [("fence", "````\n```\n$x$\n````", 1)]),
        ("[a $x$ `]`](b.md#c)", [("link", "[a $x$ `]`](b.md#c)", 1)]),
        ('![a [1, 2]](b.py#c "d")', [("image", '![a [1, 2]](b.py#c "d")', 1)]),
        ("[@a2014; @b2015, Section 4]", [("cite", "[@a2014; @b2015, Section 4]", 1)]),
        ("x {{ a.b:.2f }} y", [("value", "{{ a.b:.2f }}", 1)]),
        ("$p = {{ a.b:.2f }}$", [("inline", "$p = {{ a.b:.2f }}$", 1)]),
        ("<!-- $x$ -->", [("comment", "<!-- $x$ -->", 1)]),
        ("a < b and c > d", []),
        ("1\n2\n<b>3</b>", [("tag", "<b>", 3), ("tag", "</b>", 3)]),
        ("a $x\n\ny$ b", [("dollar", "$", 1), ("dollar", "$", 3)]),
    ],
)
def test_tokens(text: str, expected: list[tuple[str, str, int]]) -> None:
    assert tokens(text) == expected


@pytest.mark.parametrize(
    ("text", "alone"),
    [
        ("[a](b)", True),
        ("x\n\n[a](b)\n\ny", True),
        ("x\n\n    [a](b)\n\ny", True),
        ("x\n[a](b)\n\ny", False),
        ("x\n\n[a](b)\ny", False),
        ("x [a](b)", False),
        ("[a](b).", False),
    ],
)
def test_alone_in_its_paragraph(text: str, alone: bool) -> None:
    seen: list[bool] = []

    def see(token: Token) -> None:
        seen.append(token.alone)

    rewrite(text, 1, see)
    assert seen == [alone]


@given(st.text(alphabet="`~ab\n $[](){}", max_size=80))
def test_a_fence_holds_any_text(text: str) -> None:
    found = tokens(fenced(text, " { .text }"))
    assert len(found) == 1 and found[0][0] == "fence"


@given(st.text(alphabet="`$[](){}@!<>\\ab.:# \n", max_size=60))
def test_scanning_loses_nothing(text: str) -> None:
    tokens(text)


def test_scanning_takes_linear_time() -> None:
    import time

    for hostile in ("[" * 20_000, "$" + "a" * 20_000, "`" * 20_000, "{{" * 10_000, "<a " * 7_000, "![" * 10_000):
        started = time.process_time()
        rewrite(hostile, 1, lambda _: None)
        assert time.process_time() - started < 5, hostile[:10]
