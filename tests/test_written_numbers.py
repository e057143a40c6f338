"""Numbers as a reader sees them, in Python and in the browser."""

from __future__ import annotations

import ast
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from attnviz import written_numbers
from attnviz.written_numbers import (
    count,
    decimals,
    duration,
    exact,
    nats,
    percent,
    scientific,
    signed,
    signed_nats,
    significant,
    size,
)
from tests.test_architecture import FILES, ROOT

SCRIPT = ROOT / "attnviz/ui/components/assets/written_numbers.js"


@pytest.mark.parametrize(
    ("share", "shown"),
    [
        (1.0, "100%"),
        (0.99999, ">99.9%"),
        (0.998, "99.8%"),
        (0.674, "67%"),
        (0.0996, "10%"),
        (0.057, "5.7%"),
        (0.0006, "0.1%"),
        (0.0004, "<0.1%"),
        (0, "0%"),
        (-0.0, "0%"),
        (1.3, "130%"),
        (1.003, "100.3%"),
        (-0.4, "−40%"),
        (-0.0001, ">−0.1%"),
        (-0.9999, "<−99.9%"),
        (float("nan"), "not defined"),
    ],
)
def test_only_the_ends_are_written_0_and_100_percent(share: float, shown: str) -> None:
    assert percent(share) == shown


@pytest.mark.parametrize(
    ("share", "shown"), [(0.12345, "12.35%"), (0.00001, "<0.01%"), (0.99999, ">99.99%")]
)
def test_percent_with_more_digits(share: float, shown: str) -> None:
    assert percent(share, 2) == shown


@pytest.mark.parametrize(
    ("value", "digits", "shown"),
    [
        (0.4, 2, "0.40"),
        (-0.4, 2, "−0.40"),
        (-0.004, 2, "0.00"),
        (0.125, 2, "0.13"),
        (-2.5, 0, "−3"),
        (-1234.5, 1, "−1,234.5"),
        (np.float32(0.5), 3, "0.500"),
        (float("nan"), 2, "not defined"),
        (float("-inf"), 2, "−∞"),
    ],
)
def test_decimals(value: float, digits: int, shown: str) -> None:
    assert decimals(value, digits) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.123, "+0.12"), (-0.4, "−0.40"), (0.001, "0.00"), (-0.001, "0.00"), (10, "+10.00")],
)
def test_differences_have_a_sign(value: float, shown: str) -> None:
    assert signed(value) == shown


@pytest.mark.parametrize(
    ("value", "shown", "difference"),
    [
        (3.2146, "3.21", "+3.21"),
        (0.1, "0.10", "+0.10"),
        (0.0996, "0.100", "+0.100"),
        (0.08, "0.080", "+0.080"),
        (-0.031, "−0.031", "−0.031"),
        (0.0004, "<0.001", "0.000"),
        (-0.0004, "0.000", "0.000"),
        (0.0, "0", "0"),
    ],
)
def test_nats(value: float, shown: str, difference: str) -> None:
    assert nats(value) == shown
    assert signed_nats(value) == difference


@pytest.mark.parametrize(
    ("value", "shown"), [(999, "999"), (1000, "1,000"), (1.5e6, "1,500,000"), (-1024, "−1,024")]
)
def test_counts(value: float, shown: str) -> None:
    assert count(value) == shown


@pytest.mark.parametrize(
    ("value", "digits", "shown"),
    [(1.2e-7, 0, "1e−7"), (2.36e-8, 1, "2.4e−8"), (9.97e-5, 1, "1.0e−4"), (0, 1, "0")],
)
def test_tiny_numbers(value: float, digits: int, shown: str) -> None:
    assert scientific(value, digits) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.01234, "0.0123"), (45.6, "45.6"), (4567, "4,567"), (-9.999, "−10.0"), (2.4e-8, "2.40e−8")],
)
def test_significant_digits(value: float, shown: str) -> None:
    assert significant(value, 3) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.12346, "0.1235"), (-0.5, "−0.5000"), (0.00002, "2.0e−5"), (0, "0"), (-0.0, "0")],
)
def test_numbers_of_a_place(value: float, shown: str) -> None:
    assert exact(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1 kB"),
        (63_488, "63.5 kB"),
        (999_700, "1 MB"),
        (1.26e9, "1.26 GB"),
        (100_000, "100 kB"),
        (2.5e12, "2,500 GB"),
    ],
)
def test_sizes_are_decimal(value: float, shown: str) -> None:
    assert size(value) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.0123, "12.3 ms"),
        (0.9999, "1.0 s"),
        (9.96, "10 s"),
        (34.4, "34 s"),
        (59.6, "1 min 0 s"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
    ],
)
def test_durations(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def sampled() -> list[float]:
    """Return numbers of all sizes, halves among them."""
    drawn = np.random.default_rng(0)
    spread = drawn.normal(size=400) * 10.0 ** drawn.integers(-9, 6, 400)
    halves = [0.125, 0.375, 2.5, 0.5, 0.0625, 0.00390625, 0.995, 0.9995, 0.0995, 0.0005, 0.005]
    ends = [0.0, 1.0, 1e-9, 1 - 1e-9, 1.0 + 1e-9, 1000.0, 999.5]
    return [sign * one for one in (*spread.tolist(), *halves, *ends) for sign in (1, -1)]


@pytest.mark.browser
@pytest.mark.parametrize(
    ("name", "digits"),
    [
        *[("decimals", digits) for digits in (0, 2, 3)],
        ("signed", 2),
        *[("percent", digits) for digits in (None, 0, 2)],
        ("count", None),
        *[("scientific", digits) for digits in (0, 1)],
        ("exact", None),
        *[("significant", digits) for digits in (1, 2, 3)],
    ],
)
def test_the_browser_writes_the_same(chromium, name: str, digits: int | None) -> None:
    numbers = sampled()
    rest = () if digits is None else (digits,)
    page = chromium.new_page()
    try:
        page.add_script_tag(
            content=f"{SCRIPT.read_text('utf-8').replace('export ', '')}; window.write = {name}"
        )
        shown = page.evaluate(
            "([numbers, rest]) => numbers.map((one) => write(one, ...rest))", [numbers, [*rest]]
        )
    finally:
        page.close()
    write = getattr(written_numbers, name)
    wrong = {
        one: (write(one, *rest), other)
        for one, other in zip(numbers, shown, strict=True)
        if write(one, *rest) != other
    }
    assert wrong == {}


def percentages(source: str) -> list[int]:
    """Return the lines that write a percentage without `percent`."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FormattedValue) and node.format_spec is not None:
            if ast.unparse(node.format_spec).rstrip("'\"").endswith("%"):
                lines.append(node.lineno)
        elif isinstance(node, ast.JoinedStr):
            pairs = pairwise(node.values)
            lines += [
                node.lineno
                for first, second in pairs
                if isinstance(first, ast.FormattedValue)
                and isinstance(second, ast.Constant)
                and str(second.value).startswith("%")
                and not str(second.value).startswith("%{")
            ]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            lines += [node.lineno] * len(re.findall(r"%\{[^{}]*%\}", node.value))
    return lines


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_percentages_are_written_by_percent(path: Path) -> None:
    if path.name != "written_numbers.py" and "vendor" not in path.parts:
        assert percentages(path.read_text("utf-8")) == []


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ('f"{share:.0%} of all"', [1]),
        ('f"{100 * share:.0f}%"', [1]),
        ('hover = "%{x:.2%}"', [1]),
        ('f"{percent(share)} of all"', []),
        ('f"{name}%{{x}}"', []),
        ('bar = "{percentage:3.0f}%"', []),
    ],
)
def test_a_percentage_by_hand_would_be_found(source: str, lines: list[int]) -> None:
    assert percentages(source) == lines


NEGATIVE = re.compile(r"\s-\d|\(-\d|^-\d.* ")
"""Hyphen before a digit in a text of several words."""


@pytest.mark.browser
def test_round_numbers_have_the_decimals_they_need(chromium) -> None:
    page = chromium.new_page()
    try:
        page.add_script_tag(
            content=f"{SCRIPT.read_text('utf-8').replace('export ', '')}; window.write = round"
        )
        shown = page.evaluate("[0, 0.25, 1000, -10, 0.1 + 0.2, -1e-9, 2.5, 100].map(write)")
    finally:
        page.close()
    assert shown == ["0", "0.25", "1,000", "−10", "0.3", "0", "2.5", "100"]


LINKS_AND_TRIALS = {"edit_links.py", "lesson_link.py", "tokenizer_trial.py"}
"""Files that write numbers into links, and one that may import the standard library only."""


def forms_by_hand(source: str) -> list[str]:
    """Return the formats of numbers with decimals, and the texts with a hyphen before a digit.

    Docstrings and texts that become a number again, as in `float(f"{value:.3g}")`, are data.
    """
    tree = ast.parse(source)
    data = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):
            data.add(node.value)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "float":
            data |= {part for given in node.args for part in ast.walk(given)}
    listed = []
    for node in ast.walk(tree):
        if node in data:
            continue
        if isinstance(node, ast.FormattedValue) and node.format_spec is not None:
            spec = ast.unparse(node.format_spec).strip("f'\"")
            if re.search(r"[+z.]", spec):
                listed.append(f"{node.lineno}: {spec}")
        elif isinstance(node, ast.Constant) and NEGATIVE.search(str(node.value)):
            listed.append(f"{node.lineno}: {node.value}")
    return listed


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_numbers_with_decimals_are_written_by_the_functions(path: Path) -> None:
    left_out = LINKS_AND_TRIALS | {"written_numbers.py"}
    if path.name not in left_out and "vendor" not in path.parts:
        assert forms_by_hand(path.read_text("utf-8")) == []


@pytest.mark.parametrize(
    ("source", "number"),
    [
        ('text = f"{change:+.2f} nats"', 1),
        ('text = f"{change:z.3f}"', 1),
        ('text = f"{change:.{digits}f}"', 1),
        ('text = "0 switches it off, -1 turns it around"', 1),
        ('value = float(f"{error:.3g}")', 0),
        ('text = f"{tokens:,} tokens of {limit:g}"', 0),
        ('def f():\n    """Return -1 for no key."""', 0),
        ('name = "scale_-1"', 0),
    ],
)
def test_a_number_by_hand_would_be_found(source: str, number: int) -> None:
    assert len(forms_by_hand(source)) == number


GEOMETRY = {"written_numbers.js", "dots.js", "curve.js", "ink.js"}
"""Scripts that may round by themselves; three of them write places into a drawing."""


def test_scripts_write_numbers_by_the_functions() -> None:
    scripts = [path for path in SCRIPT.parent.rglob("*.js") if path.name not in GEOMETRY]
    assert len(scripts) > 30
    form = re.compile(r"\.to(Fixed|Precision|Exponential|LocaleString)\(")
    assert [path.name for path in scripts if form.search(path.read_text("utf-8"))] == []


def test_texts_of_lessons_have_a_true_minus() -> None:
    texts = [*(ROOT / "attnviz/lessons/texts").glob("*.toml")]
    assert texts
    lines = [line for path in texts for line in path.read_text("utf-8").splitlines()]
    assert [line for line in lines if '"' in line and re.search(r"[\s(\"]-\d", line)] == []
