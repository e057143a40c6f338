"""Findings for a terminal: the summary, and the names of labels that are typed."""

from __future__ import annotations

import math
from itertools import product

import pytest

from attnviz.doctor.labels import rules
from attnviz.doctor.labels.removal_effects import Effect
from attnviz.doctor.labels.thresholds import Thresholds
from attnviz.doctor.terminal_report import KINDS, named, summary
from attnviz.errors import InputError
from attnviz.findings import LABELS, Finding, Interval, Label, Verdict
from attnviz.types import Head


def finding(number: int, label: Label, detail: str = "", **others: object) -> Finding:
    return Finding(Head("self", 1, number), label, detail, **others)  # type: ignore[arg-type]


FINDINGS = (
    finding(0, "uniform", sentences=("It spreads its weight.", "Removing it costs nothing.")),
    finding(1, "dead", verdict=Verdict.NEEDED, sentences=("It looks dead, and matters.",)),
    finding(2, "sink", "resting", sentences=("It rests.",)),
    finding(3, "sink", "broken", sentences=("It does nothing else.",)),
    finding(4, "sink", "resting"),
    finding(5, "redundant", "with L1·H0", partner=Head("self", 1, 0), sentences=("A copy.",)),
    finding(6, "healthy"),
    finding(7, "specialised", "[CLS]"),
)


def test_every_label_is_counted() -> None:
    counts = dict(line.split()[:2] for line in summary(FINDINGS, ()).split("\n\n")[0].splitlines())
    assert list(counts) == list(LABELS)
    assert counts["sink"] == "3"
    assert counts["redundant"] == counts["dead"] == counts["healthy"] == "1"
    assert counts["peaked"] == "0"
    assert sum(map(int, counts.values())) == len(FINDINGS)


def test_kinds_of_sinks_are_counted() -> None:
    line = next(line for line in summary(FINDINGS, ()).splitlines() if "sink" in line)
    assert line.endswith("resting 2, broken 1")
    assert "with" not in summary(FINDINGS, ()).split("\n\n")[0]


def test_what_is_degenerate_is_listed_with_its_sentences() -> None:
    _, degenerate, disputed = summary(FINDINGS, ()).split("\n\n")
    assert degenerate.splitlines()[:4] == [
        "Degenerate",
        "  L1·H0  uniform",
        "    It spreads its weight.",
        "    Removing it costs nothing.",
    ]
    assert "L1·H3  sink: broken" in degenerate
    assert "L1·H5  redundant: with L1·H0" in degenerate
    assert "It rests." not in degenerate
    assert "L1·H1" not in degenerate
    assert disputed.splitlines() == [
        "Contradicted by removing them",
        "  L1·H1  dead",
        "    It looks dead, and matters.",
    ]


def test_a_sound_model_is_said_to_be_one() -> None:
    said = summary([finding(0, "healthy")], ["one text only"])
    assert "No head is found to be degenerate." in said
    assert "Contradicted" not in said
    assert said.endswith("Notes\n  one text only")


@pytest.mark.parametrize(
    ("names", "fitting"),
    [
        ("", []),
        (" , ", []),
        ("uniform", [0]),
        ("uniform,dead", [0, 1]),
        ("Sink", [2, 3, 4]),
        ("sink:broken", [3]),
        (" sink : resting , healthy ", [2, 4, 6]),
        ("redundant", [5]),
        ("specialised: previous token", []),
        ("specialised:[CLS]", [7]),
        ("peaked:own token", []),
    ],
)
def test_names_fit_heads(names: str, fitting: list[int]) -> None:
    wanted = named(names)
    assert [one.head.head for one in FINDINGS if any(name.fits(one) for name in wanted)] == fitting


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (
            "unifrom",
            "no head is called 'unifrom'; the labels are non-finite, dead, uniform, peaked, ",
        ),
        ("dead,broken", "no head is called 'broken'"),
        ("sink:brokne", "no sink head is called 'brokne'; the kinds are resting, working, "),
        ("dead:quite", "'dead' has no kinds that could be named: write dead alone"),
        (":broken", "no head is called ''"),
    ],
)
def test_wrong_names_are_refused(names: str, says: str) -> None:
    with pytest.raises(InputError) as caught:
        named(names)
    assert says in str(caught.value)


def test_every_kind_that_the_rules_give_can_be_named() -> None:
    numbers = [Interval(value, math.nan, math.nan, math.nan, 1) for value in (0.0, 1.0)]
    sinks, peaks = set(), set()
    for one, other in product(numbers, numbers):
        values = dict.fromkeys(("rows_elsewhere", "self"), one)
        values |= dict.fromkeys(("sink_value_share", "sink"), other)
        for what in (None, *Effect):
            sinks.add(rules._sink_detail(values, Thresholds(), what))
        peaks.add(rules._favourite(values))
    assert sinks == set(KINDS["sink"])
    assert peaks - {""} == set(KINDS["peaked"])
