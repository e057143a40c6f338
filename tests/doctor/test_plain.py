"""Findings for a terminal: the summary, and the names of labels that are typed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import pytest

from attnviz.doctor.labels import rule_matching
from attnviz.doctor.labels.removal_effects import Effect
from attnviz.doctor.labels.rule_table import RULES
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
    finding(6, "healthy", verdict=Verdict.BETTER_WITHOUT),
    finding(7, "specialised", "[CLS]"),
)


def parts(findings: Sequence[Finding], notes: Sequence[str] = ()) -> list[str]:
    return summary(findings, notes).split("\n\n")


def test_every_label_and_every_verdict_is_counted() -> None:
    headline, labels, verdicts, *_ = parts(FINDINGS)
    assert headline.splitlines()[:2] == [
        "No head is proven useless.",
        "L1·H1 looks degenerate but is needed.",
    ]
    counts = dict(line.split()[:2] for line in labels.splitlines())
    assert list(counts) == list(LABELS)
    assert counts["sink"] == "3"
    assert counts["redundant"] == counts["dead"] == counts["healthy"] == "1"
    assert counts["peaked"] == "0"
    assert sum(map(int, counts.values())) == len(FINDINGS)
    printed = dict(line.strip().rsplit(maxsplit=1) for line in verdicts.splitlines())
    assert printed == {
        "needed": "1",
        "no difference": "0",
        "better without": "1",
        "unclear": "0",
        "not tested": "6",
    }


def test_kinds_of_sinks_are_counted() -> None:
    line = next(line for line in parts(FINDINGS)[1].splitlines() if "sink" in line)
    assert line.endswith("resting 2, broken 1")
    assert "with" not in parts(FINDINGS)[1]


def test_what_is_degenerate_is_listed_with_its_sentences() -> None:
    _, _, _, needed, harmful, degenerate, removed = parts(FINDINGS)
    assert degenerate.splitlines()[:4] == [
        "Look degenerate",
        "  L1·H0  uniform",
        "    It spreads its weight.",
        "    Removing it costs nothing.",
    ]
    assert "L1·H3  sink: broken" in degenerate
    assert "L1·H5  redundant: with L1·H0" in degenerate
    assert "It rests." not in degenerate
    assert "L1·H1" not in degenerate
    assert needed.splitlines() == [
        "Look degenerate but are needed",
        "  L1·H1  dead",
        "    It looks dead, and matters.",
    ]
    assert harmful.splitlines()[:2] == ["Better without", "  L1·H6  healthy"]
    assert removed.splitlines()[1].startswith("  Better without: 1 head. L1·H6")


def test_groups_and_close_calls_are_listed() -> None:
    close = finding(8, "healthy", sentences=("It is.", "A close call: it misses “uniform”."))
    said = summary([*FINDINGS, close], [], ["2 induction heads (L1·H0 and L1·H1)."])
    assert "Heads that do the same\n  2 induction heads (L1·H0 and L1·H1).\n" in said
    listed = said.partition("Close calls: other texts could change these labels\n")[2]
    assert listed == "  L1·H8 (healthy): it misses “uniform”."
    many = [finding(number, "healthy", sentences=close.sentences) for number in range(14)]
    assert summary(many, []).splitlines()[-2:] == [
        "  L1·H11 (healthy): it misses “uniform”.",
        "  and 2 more",
    ]


def test_a_sound_model_has_no_lists() -> None:
    said = summary([finding(0, "healthy", verdict=Verdict.NEEDED)], ["one text only"])
    assert said.startswith("No head is proven useless.\nOf 1 head, 1 is needed.\n\n")
    assert "Look degenerate" not in said and "Better without" not in said
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
        ("needed", [1]),
        ("better without", [6]),
        ("better-without, dead", [1, 6]),
        ("useless", []),
    ],
)
def test_names_fit_heads(names: str, fitting: list[int]) -> None:
    wanted = named(names)
    assert [one.head.head for one in FINDINGS if any(name.fits(one) for name in wanted)] == fitting


def test_useless_is_what_neither_head_nor_group_needs() -> None:
    (name,) = named("useless")
    proven = finding(0, "uniform", verdict=Verdict.NO_DIFFERENCE)
    assert name.fits(proven)
    for other in (
        replace(proven, spare=True),
        replace(proven, verdict=Verdict.UNCLEAR),
        replace(proven, label="healthy"),
        replace(proven, label="non-finite"),
    ):
        assert not name.fits(other)


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
        values = dict.fromkeys(("rows_elsewhere", "other_elsewhere", "self"), one)
        values |= dict.fromkeys(("sink_value_share", "sink"), other)
        for rule, what, function in product(
            [rule for rule in RULES if rule.label == "sink"], (None, *Effect), (False, True)
        ):
            sinks.add(rule_matching._sink_detail(rule, values, Thresholds(), what, function))
        peaks.add(rule_matching._favourite(values, Thresholds()))
    assert sinks == set(KINDS["sink"])
    assert peaks - {""} == set(KINDS["peaked"])
