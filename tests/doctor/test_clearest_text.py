"""Text on which a head follows its rule most clearly, by hand."""

from __future__ import annotations

from dataclasses import replace

import attnviz
from attnviz.doctor import Text, TextSet
from attnviz.doctor.clearest_text import clearest_text
from attnviz.findings import Finding
from attnviz.types import Head
from tests.app.diagnosis_samples import PEAKED, UNIFORM, make_diagnosis

TEXTS = TextSet("mine", tuple(Text(f"Text number {number}.") for number in range(6)))


def test_the_text_with_the_largest_smallest_distance_is_chosen() -> None:
    diagnosis = make_diagnosis(attnviz.load("gpt-classroom"), TEXTS)
    values = diagnosis.measures.values["self"]
    finding = diagnosis.finding(Head("self", *UNIFORM))
    assert finding.label == "uniform"
    assert {one.measure for one in finding.evidence} >= {"lowest_entropy"}
    for one in finding.evidence:
        rising = [0.96, 0.97, 0.99, 0.98, 0.97, 0.96]
        values[one.measure][UNIFORM] = rising if one.above else [1 - each for each in rising]
    values["lowest_entropy"][UNIFORM][2] = 0.2  # one condition fails there
    assert clearest_text(diagnosis, finding) == (3, True)
    values["lowest_entropy"][UNIFORM][3] = float("nan")
    assert clearest_text(diagnosis, finding) in ((1, True), (4, True))


def test_a_head_without_a_rule_is_shown_where_it_rests_least() -> None:
    diagnosis = make_diagnosis(attnviz.load("gpt-classroom"), TEXTS)
    diagnosis.measures.values["self"]["rest"][3, 6] = [0.9, 0.8, 0.7, 0.6, 0.1, 0.5]
    healthy = Finding(Head("self", 3, 6), "healthy")
    assert clearest_text(diagnosis, healthy) == (4, False)


def test_texts_read_in_windows_have_no_number() -> None:
    diagnosis = make_diagnosis(attnviz.load("gpt-classroom"), TEXTS)
    finding = diagnosis.finding(Head("self", *PEAKED))
    split = replace(diagnosis, texts=replace(diagnosis.texts, windows=9))
    assert clearest_text(split, finding) is None
    random = replace(diagnosis, measures=replace(diagnosis.measures, per_text=frozenset()))
    assert clearest_text(random, finding) is None
