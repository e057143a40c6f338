"""Rules, verdicts and sentences, on numbers made for them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from attnviz.doctor.labels.evidence_sentences import Names
from attnviz.doctor.labels.head_groups import GroupRemoval, HeadGroup
from attnviz.doctor.labels.partial_labels import partial_labels
from attnviz.doctor.labels.removal_effects import (
    VERDICTS,
    Effect,
    effect,
    removal_sentence,
    verdict,
)
from attnviz.doctor.labels.rule_matching import fits
from attnviz.doctor.labels.rule_table import RULES, Condition, Rule, Side, rows_of_table
from attnviz.doctor.labels.rules import Experiments, findings
from attnviz.doctor.labels.thresholds import THRESHOLDS, Thresholds
from attnviz.doctor.measures.all_measures import Measures, Pairs
from attnviz.doctor.measures.bootstrap import Intervals
from attnviz.doctor.measures.descriptions import OWN, names
from attnviz.doctor.measures.fixed_places import FixedPlaces
from attnviz.errors import InputError
from attnviz.findings import LABELS, Finding, HeadFunction, Interval, Replacement, Verdict
from attnviz.types import Head
from attnviz.views.report.summary_sentences import diagnosis_sentences
from attnviz.written_numbers import MINUS

HEADS = 3
HEAD = Head("self", 0, 1)  # the one that is given a condition; its neighbours are healthy
LIMITS = Thresholds()

HEALTHY = {
    "lowest_entropy": 0.3,
    "normalized_entropy": 0.5,
    "max_weight": 0.4,
    "sink": 0.2,
    "sink_first": 0.1,
    "rest": 0.1,
    "separators": math.nan,
    "previous_token": 0.1,
    "next_token": math.nan,
    "self": 0.1,
    "content_dependence": 0.6,
    "not_finite": 0.0,
    "output_share": 0.1,
    "sink_value_share": 0.1,
    "rows_elsewhere": 0.95,
    "repeat_induction": 0.02,
    "repeat_duplicate": 0.02,
    "repeat_previous": 0.02,
}


def table(values: np.ndarray, width: float = 0.01, texts: int = 60) -> Intervals:
    known = np.full(values.shape, texts)
    if texts < 2:
        nothing = np.full(values.shape, math.nan)
        return Intervals(values, nothing, nothing, nothing, known)
    return Intervals(values, values - width, values + width, np.full(values.shape, 0.1), known)


def measures(
    distance: float = 0.4, cosine: float = 0.1, texts: int = 60, **values: float
) -> Measures:
    """Healthy heads, one of which has these values; its nearest neighbour is head 2."""
    tables = {}
    for name in names():
        row = np.full((1, HEADS), HEALTHY.get(name, math.nan))
        row[0, HEAD.head] = values.get(name, row[0, HEAD.head])
        tables[name] = table(row, texts=texts)
    apart = np.full((1, HEADS, HEADS), 0.4)
    apart[0, 1, 2] = apart[0, 2, 1] = distance
    parallel = np.full((1, HEADS, HEADS), 0.1)
    parallel[0, 1, 2] = parallel[0, 2, 1] = cosine
    return Measures({"self": tables}, {"self": Pairs(table(apart), table(parallel))})


def costing(width: float = 0.005, texts: int = 60, **costs: float) -> Experiments:
    """Return costs of removing the head, by replacement; its neighbours cost 0.05."""
    alone: dict[Replacement, Mapping] = {}
    for name, cost in costs.items():
        row = np.full((1, HEADS), 0.05)
        row[0, HEAD.head] = cost
        alone[name] = {"self": table(row, width, texts)}  # type: ignore[index]
    return Experiments(alone)


def finding_of(
    measured: Measures,
    experiments: Experiments | None = None,
    limits: Thresholds = LIMITS,
    called: Names | None = None,
) -> Finding:
    every = findings(measured, limits, experiments, {"self": called or Names()})
    assert [one.head for one in every] == [Head("self", 0, head) for head in range(HEADS)]
    return every[HEAD.head]


CASES = {
    "non-finite": {"not_finite": 0.02},
    "dead": {"output_share": 0.0002},
    "uniform": {"lowest_entropy": 0.97, "normalized_entropy": 0.99, "content_dependence": 0.01},
    "peaked: own token": {"normalized_entropy": 0.02, "content_dependence": 0.1, "self": 0.98},
    "peaked: same key": {"normalized_entropy": 0.02, "content_dependence": 0.1, "sink": 0.9},
    "peaked": {"normalized_entropy": 0.005, "content_dependence": 1.5},
    "sink: not tested": {"rest": 0.7, "sink_first": 0.7},
    "specialised: previous token": {"previous_token": 0.6},
    "specialised: next token": {"next_token": 0.6},
    "specialised: duplicate": {"repeat_duplicate": 0.6},
    "specialised: induction": {"repeat_induction": 0.6},
    "specialised: alignment": {"alignment": 0.6},
    "positional": {"content_dependence": 0.01},
    "healthy": {},
}


def test_a_sharp_head_that_follows_the_text_is_named_as_saturated() -> None:
    """Queries times 50 leave a head healthy by every label: its entropy says what is wrong."""
    finding = finding_of(measures(normalized_entropy=0.03, content_dependence=2.2))
    assert finding.name == "healthy" and finding.saturated
    assert "saturated" in finding.sentences[1] and "0.03" in finding.sentences[1]
    everyone = findings(measures(normalized_entropy=0.03, content_dependence=2.2), LIMITS)
    assert any(
        one.startswith(f"{HEAD.label} has a saturated") for one in diagnosis_sentences(everyone)
    )
    for values in ({"normalized_entropy": 0.06}, {"normalized_entropy": math.nan}):
        assert not finding_of(measures(**values)).saturated
    function = finding_of(measures(normalized_entropy=0.03, repeat_induction=0.9))
    assert function.label == "specialised" and not function.saturated
    wider = replace(LIMITS, peaked_entropy=0.01)
    assert not finding_of(
        measures(normalized_entropy=0.03, content_dependence=2.2), limits=wider
    ).saturated


@pytest.mark.parametrize("name", CASES)
def test_a_head_is_called_what_it_is(name: str) -> None:
    finding = finding_of(measures(**CASES[name]))
    assert finding.name == name
    assert finding.verdict is Verdict.NOT_TESTED and not finding.ablation
    assert all(sentence.endswith(".") for sentence in finding.sentences)
    assert len(finding.evidence) > 0
    for one in finding.evidence:
        if finding.label != "sink":  # of a sink, two numbers are shown whichever way they point
            assert (one.value.mean > one.threshold) == one.above
    others = findings(measures(**CASES[name]), LIMITS)
    assert {others[0].label, others[2].label} == {"healthy"}


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("dead", {"output_share": 0.0011}),
        ("uniform", {"lowest_entropy": 0.94, "content_dependence": 0.06}),
        ("uniform", {"lowest_entropy": 0.97, "content_dependence": 0.2}),
        ("peaked", {"normalized_entropy": 0.06, "content_dependence": 0.1}),
        ("peaked", {"normalized_entropy": 0.02, "content_dependence": 0.5}),
        ("sink", {"rest": 0.29, "sink_first": 0.29}),
        ("specialised", {"previous_token": 0.49, "repeat_induction": 0.39}),
        ("positional", {"content_dependence": 0.06}),
    ],
)
def test_a_rule_ends_at_its_limit(name: str, values: dict[str, float]) -> None:
    finding = finding_of(measures(**values))
    assert finding.label == "healthy"
    assert all(name not in also for also in finding.also)


def test_redundant_asks_for_equal_keys_and_equal_outputs() -> None:
    finding = finding_of(measures(distance=0.02, cosine=0.95))
    assert finding.name == "redundant: with L0·H2" and finding.partner == Head("self", 0, 2)
    assert [one.measure for one in finding.evidence] == ["head_distance", "output_cosine"]
    assert finding_of(measures(distance=0.02, cosine=0.5)).label == "healthy"
    assert finding_of(measures(distance=0.06, cosine=0.95)).label == "healthy"
    both = findings(measures(distance=0.02, cosine=0.95), LIMITS)
    assert [one.label for one in both] == ["healthy", "redundant", "redundant"]


def test_the_first_fitting_label_counts_and_the_others_are_kept() -> None:
    everything = measures(
        0.02,
        0.95,
        output_share=0.0,
        lowest_entropy=0.97,
        content_dependence=0.01,
        rest=0.5,
        sink_first=0.5,
    )
    finding = finding_of(everything)
    assert finding.label == "dead"
    assert finding.also == ("uniform", "redundant: with L0·H2", "sink: not tested", "positional")
    assert any(
        one.startswith("Other rules that it meets: “uniform”, ") for one in finding.sentences
    )
    order = [finding.label, *(one.partition(":")[0] for one in finding.also)]
    assert order == sorted(order, key=LABELS.index)


def test_a_sink_gives_way_to_a_function_and_says_so() -> None:
    induction = measures(repeat_induction=0.9, rest=0.7, sink_first=0.7)
    finding = finding_of(induction, costing(zero=0.05))
    assert finding.name == "specialised: induction"
    assert finding.also == ("sink: resting", "specialised: first token")
    # But looking at the first token is no function.
    assert finding_of(measures(rest=0.7, sink_first=0.7)).also == ("specialised: first token",)


def test_a_peaked_head_has_no_function_and_no_sink() -> None:
    sharp = {"normalized_entropy": 0.01, "content_dependence": 0.02}
    previous = finding_of(measures(**sharp, previous_token=0.99))
    assert previous.name == "specialised: previous token" and previous.also == ("positional",)
    resting = finding_of(measures(**sharp, rest=0.99, sink_first=0.99))
    assert resting.label == "sink" and "peaked" not in " ".join(resting.also)
    elsewhere = finding_of(measures(**sharp, rest=0.4, sink_first=0.4, sink=0.6))
    assert elsewhere.name == "peaked: same key" and elsewhere.also[0] == "sink: not tested"


def test_what_was_not_measured_is_not_held_against_a_head() -> None:
    alone = measures(lowest_entropy=0.97, content_dependence=math.nan)
    assert finding_of(alone).label == "uniform"
    assert finding_of(measures(content_dependence=math.nan)).sentences == (
        "It fits none of the other descriptions.",
    )
    assert finding_of(measures(output_share=math.nan)).label == "healthy"


# sinks


@pytest.mark.parametrize(
    ("cost", "values", "detail"),
    [
        (0.05, {}, "working"),
        (0.008, {}, "working"),  # the interval is above 0
        (0.0, {"rows_elsewhere": 0.05}, "broken"),
        (0.0, {"rows_elsewhere": 0.5}, "resting"),
        (0.0, {"rows_elsewhere": 0.5, "sink_value_share": 0.6}, "undecided"),
        (-0.05, {"rows_elsewhere": 0.05}, "broken"),
    ],
)
def test_sinks(cost: float, values: dict[str, float], detail: str) -> None:
    finding = finding_of(measures(rest=0.6, sink_first=0.6, **values), costing(zero=cost))
    assert (finding.label, finding.detail) == ("sink", detail)
    assert finding.degenerate == (detail == "broken")


def test_a_sink_without_a_clear_effect_is_undecided() -> None:
    finding = finding_of(measures(rest=0.6, sink_first=0.6), costing(zero=0.01, width=0.02))
    assert (finding.detail, finding.verdict) == ("undecided", Verdict.UNCLEAR)


@pytest.mark.parametrize(
    ("first", "separators", "said"),
    [
        (0.6, math.nan, "on [CLS]."),
        (0.05, 0.6, "on [SEP]."),
        (0.3, 0.4, "on [CLS] and [SEP]."),
    ],
)
def test_where_a_sink_is(first: float, separators: float, said: str) -> None:
    called = Names("[CLS]", "[SEP]")
    values = {"rest": 0.65, "sink_first": first, "separators": separators}
    finding = finding_of(measures(**values), called=called)
    assert said in finding.sentences[0]


def test_what_rests_on_separators_is_known_for_it() -> None:
    called = Names("[CLS]", "[SEP]")
    finding = finding_of(measures(rest=0.7, sink_first=0.05, separators=0.65), called=called)
    assert finding.also == ("specialised: [SEP]",)


# verdicts


def change(low: float, high: float) -> Interval:
    return Interval((low + high) / 2, low, high, 0.1, 60)


CHANGES = {
    Effect.COSTS: (change(0.02, 0.05), change(0.011, 4.6)),
    Effect.LITTLE: (change(0.005, 0.05), change(0.003, 0.014)),
    Effect.NOTHING: (change(-0.005, 0.005), change(0.002, 0.008), change(-0.009, -0.001)),
    Effect.HELPS: (change(-0.068, -0.031), change(-4.6, -4.5), change(-0.02, -0.001)),
    Effect.OPEN: (change(-0.02, 0.02), change(-0.005, 0.03), change(-0.03, 0.002)),
    Effect.ONE_TEXT: (Interval(0.5, math.nan, math.nan, math.nan, 1),),
}
ALL_CHANGES = [one for changes in CHANGES.values() for one in changes]


def test_effects() -> None:
    assert set(CHANGES) == set(Effect) == set(VERDICTS)
    for expected, changes in CHANGES.items():
        assert {effect(one, 0.01) for one in changes} == {expected}
    for nothing in (None, change(math.nan, math.nan)):
        assert effect(nothing, 0.01) is None
        assert verdict(nothing, 0.01) is Verdict.NOT_TESTED


def check_sentence(said: str, tolerance: float) -> None:
    """Compare the words of a sentence on a removal with the interval in it."""
    said = said.replace(MINUS, "-")
    shown = re.search(r"nats per token \((-?[\d.]+) to (-?[\d.]+)\)", said)
    if shown is None:
        assert "one text allows no interval" in said
        return
    low, high = float(shown[1]), float(shown[2])
    words = {
        "costs something, perhaps": low > 0 and low <= tolerance,
        "no difference of more than": -tolerance <= low and high <= tolerance,
        "better: the loss falls by": low > 0,
        "unclear": low < 0 < high and (low < -tolerance or high > tolerance),
    }
    fitting = [word for word in words if word in said]
    if not fitting:
        assert "costs" in said and low > tolerance, said
    for word in fitting:
        assert words[word], said
    assert len(fitting) < 2, said


@pytest.mark.parametrize("other", ALL_CHANGES)
@pytest.mark.parametrize("alone", ALL_CHANGES)
def test_no_sentence_contradicts_its_interval(alone: Interval, other: Interval) -> None:
    """Every effect of one head with every effect of the pair, the mean and the average."""
    cells = {"zero": alone, "mean": other, "uniform": other}
    tried = Experiments(
        {way: {"self": constant(one)} for way, one in cells.items()},  # type: ignore[misc]
        {(Head("self", 0, 2), HEAD): other},
    )
    for measured in (
        measures(distance=0.02, cosine=0.95),
        measures(**CASES["uniform"]),
        measures(rest=0.6, sink_first=0.6),
        measures(),
    ):
        finding = finding_of(measured, tried)
        assert finding.verdict is VERDICTS[effect(alone, 0.01)]  # type: ignore[index]
        about = [one for one in finding.sentences if "nats per token" in one]
        assert len(about) == (2 if finding.label in ("redundant", "uniform") else 1) + (
            "putting its mean" in " ".join(about).lower()
        )
        for said in about:
            check_sentence(said, 0.01)


def constant(value: Interval) -> Intervals:
    numbers = [np.full((1, HEADS), one) for one in (value.mean, value.low, value.high, 0.1)]
    return Intervals(*numbers, np.full((1, HEADS), value.texts))


def test_each_effect_has_a_sentence() -> None:
    said = {name: removal_sentence(changes[0], 0.01) for name, changes in CHANGES.items()}
    assert said == {
        Effect.COSTS: "Removing it costs 0.035 nats per token (0.020 to 0.050).",
        Effect.LITTLE: "Removing it costs something, perhaps less than 0.01: 0.028 nats per token "
        "(0.005 to 0.050).",
        Effect.NOTHING: "Removing it makes no difference of more than 0.01: the loss changes by "
        "0 nats per token (−0.005 to 0.005).",
        Effect.HELPS: "Removing it makes the model better: the loss falls by 0.050 nats per token "
        "(0.031 to 0.068).",
        Effect.OPEN: "Whether removing it changes the loss is unclear: 0 nats per token (−0.020 to "
        "0.020).",
        Effect.ONE_TEXT: "On the only text, removing it changes the loss by 0.50 nats per token; "
        "one text allows no interval.",
    }


DEGENERATE = ("dead", "uniform", "peaked: own token", "redundant")


@pytest.mark.parametrize("name", DEGENERATE)
def test_a_needed_head_contradicts_its_label(name: str) -> None:
    measured = (
        measures(distance=0.02, cosine=0.95) if name == "redundant" else measures(**CASES[name])
    )
    assert finding_of(measured, costing(zero=0.0)).verdict is Verdict.NO_DIFFERENCE
    assert finding_of(measured, costing(zero=-0.1)).verdict is Verdict.BETTER_WITHOUT
    assert finding_of(measured, costing(zero=0.01, width=0.02)).verdict is Verdict.UNCLEAR
    assert finding_of(measured, costing(mean=0.0)).verdict is Verdict.NO_DIFFERENCE
    for cost in (0.0, -0.1):
        assert not finding_of(measured, costing(zero=cost)).contradicted
    label = name.partition(":")[0]
    little = finding_of(measured, costing(zero=0.012, width=0.005))
    assert little.contradicted
    assert little.sentences[0].startswith(
        f"It looks {label}, but removing it costs something, perhaps less than 0.01: "
    )
    needed = finding_of(measured, costing(zero=0.12, mean=0.1, width=0.04))
    assert needed.verdict is Verdict.NEEDED and needed.contradicted and needed.degenerate
    assert needed.sentences[0] == (
        f"It looks {label}, but removing it costs 0.12 nats per token (0.080 to 0.16): the model "
        "needs it."
    )
    assert not any(one.startswith("Removing it costs") for one in needed.sentences)


@pytest.mark.parametrize("name", ["healthy", "positional", "specialised: previous token"])
@pytest.mark.parametrize("way", list(CHANGES))
def test_every_label_has_the_verdict_of_its_removal(name: str, way: Effect) -> None:
    tried = Experiments({"zero": {"self": constant(CHANGES[way][0])}})
    finding = finding_of(measures(**CASES[name]), tried)
    assert finding.name == name and finding.verdict is VERDICTS[way]
    assert not finding.contradicted
    assert any("emoving it" in one for one in finding.sentences)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("way", [None, *CHANGES])
def test_every_sentence_is_short_and_whole(name: str, way: Effect | None) -> None:
    cost = None if way is None else constant(CHANGES[way][-1])
    tried = None if cost is None else Experiments({"zero": {"self": cost}, "mean": {"self": cost}})
    finding = finding_of(measures(**CASES[name]), tried)
    for said in (*finding.sentences, *diagnosis_sentences([finding])):
        assert not re.search(r"nan|None(?! of the)|  |-0\.0+\b|\b1 heads|\b1 texts", said), said
        assert not said[0].islower() and said.endswith("."), said
        assert all(len(one.split()) <= 26 for one in said.split(". ")), said


def test_a_sink_without_harm_does_not_contradict_its_removal() -> None:
    for cost in (0.0, -0.05):
        for elsewhere in (0.05, 0.5):
            values = {"rest": 0.6, "sink_first": 0.6, "rows_elsewhere": elsewhere}
            said = " ".join(finding_of(measures(**values), costing(zero=cost)).sentences)
            assert "no harm" not in said and "nothing is lost" not in said


def test_the_evidence_of_a_sink_tells_its_kinds_from_its_condition() -> None:
    finding = finding_of(measures(rest=0.6, sink_first=0.6))
    required = {one.measure: one.requirement for one in finding.evidence}
    assert required == {
        "rest": "more than 0.3",
        "sink_value_share": "less than 0.3 for “resting”",
        "rows_elsewhere": "less than 0.1 for “broken”",
    }


def test_a_harmful_head_says_so_first() -> None:
    finding = finding_of(measures(), costing(zero=-4.56))
    assert (finding.label, finding.verdict) == ("healthy", Verdict.BETTER_WITHOUT)
    assert finding.sentences[0].startswith("Removing it makes the model better: the loss falls by")


def test_a_plain_average_may_stand_in_for_a_uniform_head() -> None:
    finding = finding_of(measures(**CASES["uniform"]), costing(zero=0.2, uniform=0.0))
    assert finding.contradicted
    assert any(
        one.startswith("Putting the plain average of everything it can see in its place makes no")
        for one in finding.sentences
    )


def test_a_constant_that_is_needed_is_named() -> None:
    finding = finding_of(measures(**CASES["uniform"]), costing(zero=0.2, mean=0.0))
    assert any("only a constant" in sentence for sentence in finding.sentences)


def test_one_text_gives_no_interval() -> None:
    finding = finding_of(measures(**CASES["uniform"], texts=1), costing(zero=0.2, texts=1))
    assert finding.verdict is Verdict.UNCLEAR
    assert any("one text allows no interval" in sentence for sentence in finding.sentences)


@pytest.mark.parametrize(
    ("both", "said"),
    [
        (0.3, "Removing both costs 0.30 nats per token (0.29 to 0.31): one of the two is needed."),
        (
            0.0,
            "Removing both makes no difference of more than 0.01: the loss changes by 0 nats per "
            "token (−0.005 to 0.005).",
        ),
    ],
)
def test_pairs_that_were_removed_together(both: float, said: str) -> None:
    width = 0.01 if both else 0.005
    tried = replace(
        costing(zero=0.0),
        together={
            (Head("self", 0, 2), HEAD): Interval(both, both - width, both + width, 0.1, 60),
        },
    )
    assert said in finding_of(measures(distance=0.02, cosine=0.95), tried).sentences


def test_a_close_call_is_named() -> None:
    finding = finding_of(measures(previous_token=0.505))
    assert any(
        sentence.startswith("A close call: previous token") for sentence in finding.sentences
    )
    clear = finding_of(measures(previous_token=0.8))
    assert not any(sentence.startswith("A close call") for sentence in clear.sentences)


def test_other_thresholds_give_other_labels() -> None:
    measured = measures(previous_token=0.4)
    assert finding_of(measured).label == "healthy"
    assert finding_of(measured, limits=Thresholds(previous_token=0.3)).label == "specialised"
    costs = costing(zero=0.05)
    assert finding_of(measures(**CASES["dead"]), costs).verdict is Verdict.NEEDED
    lenient = finding_of(measures(**CASES["dead"]), costs, Thresholds(tolerance=0.1))
    assert lenient.verdict is Verdict.NO_DIFFERENCE


# thresholds


def test_thresholds_go_through_json_and_back() -> None:
    changed = Thresholds(sink_mass=0.4, tolerance=0.02)
    assert Thresholds.from_json(changed.to_json()) == changed
    assert json.loads(changed.to_json()).keys() == THRESHOLDS.keys()
    assert Thresholds.from_dict({"sink_mass": 0.4}).tolerance == LIMITS.tolerance


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"sink_mass": 1.5}, "should be a number from 0 to 1, not 1.5"),
        ({"sink_mass": math.nan}, "not nan"),
        ({"sink_mass": "0.3"}, "not '0.3'"),
        ({"sink_mass": True}, "not True"),
        ({"tolerance": -0.1}, "from 0 to 10"),
        ({"nonsense": 0.1}, "there is no threshold 'nonsense'"),
    ],
)
def test_thresholds_refuse_nonsense(given: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Thresholds.from_dict(given)


@pytest.mark.parametrize("written", ["{", "[]", "3"])
def test_thresholds_refuse_what_is_no_object(written: str) -> None:
    with pytest.raises(InputError, match="thresholds"):
        Thresholds.from_json(written)


def test_every_threshold_is_explained() -> None:
    for limit in THRESHOLDS.values():
        assert limit.meaning.endswith(".") and limit.source and limit.label
        assert limit.lowest <= limit.default <= limit.highest
        assert limit.of is None or limit.of in LABELS
        assert Thresholds(**{limit.name: limit.lowest}) and Thresholds(
            **{limit.name: limit.highest}
        )


def test_the_document_lists_every_threshold_and_measure() -> None:
    written = (Path(__file__).parents[2] / "docs" / "reference" / "labels.md").read_text("utf-8")
    for limit in THRESHOLDS.values():
        row = f"| `{limit.name}` | {limit.default:g}{' ' * bool(limit.unit)}{limit.unit} |"
        assert f"{row} {limit.meaning} | {limit.source} |" in written, limit.name
    for name in OWN:
        assert f"`{name}`" in written, name
    for label in LABELS:
        assert f"| {label} |" in written, label


# the table of rules


def test_the_document_has_the_table_of_rules() -> None:
    written = (Path(__file__).parents[2] / "docs" / "reference" / "labels.md").read_text("utf-8")
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows_of_table())
    assert f"|---|---|---|---|---|\n{table}\n\n" in written


def test_the_rules_are_in_the_order_of_the_labels() -> None:
    order = [LABELS.index(rule.label) for rule in RULES]
    assert order == sorted(order) and set(order) == set(range(len(LABELS)))
    assert {rule.function for rule in RULES} == {None, *HeadFunction}


EDGE = 1e-6


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.label} {rule.variant}".strip())
def test_a_rule_holds_on_the_side_of_its_limits(rule: Rule) -> None:
    """Each condition on its side of the limit, and then one of them on the other."""

    def labels(changed: Condition | None) -> set[tuple[str, object]]:
        values = dict.fromkeys(names(), math.nan)
        values |= {"not_finite": 0.0, "content_dependence": 5.0}
        for one in rule.conditions:
            limit = getattr(LIMITS, one.limit) if one.limit else 0.0
            inside = (one.side is Side.ABOVE) != (one is changed)
            values[one.measure] = limit + (EDGE if inside else -EDGE)
        pair = {name: values.pop(name) for name in ("head_distance", "output_cosine")}
        given = {name: one for name, one in pair.items() if not math.isnan(one)}
        words = {"head_distance": "distance", "output_cosine": "cosine"}
        measured = measures(**{words[name]: one for name, one in given.items()}, **values)
        table = {name: all_of.at(0, HEAD.head) for name, all_of in measured.tables["self"].items()}
        fitting = fits(HEAD, table, measured, LIMITS, None, Names())
        return {(fit.label, fit.function) for fit in fitting}

    assert (rule.label, rule.function) in labels(None)
    for condition in rule.conditions:
        if rule.label != "healthy":
            assert (rule.label, rule.function) not in labels(condition)


def test_a_label_that_is_missed_narrowly_is_a_close_call() -> None:
    finding = finding_of(measures(previous_token=0.498))
    assert finding.label == "healthy" and finding.close == ("specialised: previous token",)
    assert finding.sentences[-1] == (
        "A close call: it narrowly misses “specialised: previous token”. Previous token is 0.498 "
        "(0.49 to 0.51), the limit 0.50."
    )
    held = finding_of(measures(previous_token=0.505))
    assert held.close == ("specialised: previous token",)
    assert finding_of(measures(previous_token=0.45)).close == ()


# sinks on other places, fixed distances, parts of the texts, groups


def with_places(measured: Measures, place: str = "", offset: int = 0) -> Measures:
    nothing = np.full((1, HEADS, 60), math.nan)
    fixed = FixedPlaces(nothing, np.full((1, HEADS), offset), nothing, nothing, ((place,) * HEADS,))
    return replace(measured, fixed={"self": fixed})


@pytest.mark.parametrize(
    ("cost", "elsewhere", "detail"),
    [(0.05, 0.5, "working"), (0.0, 0.5, "resting"), (0.0, 0.05, "broken")],
)
def test_a_sink_on_another_token_names_it(cost: float, elsewhere: float, detail: str) -> None:
    measured = with_places(measures(other_rest=0.8, other_elsewhere=elsewhere), "“.”")
    finding = finding_of(measured, costing(zero=cost))
    assert finding.name == f"sink: {detail}"
    assert any("It puts 0.80 of its weight on “.”." in one for one in finding.sentences)


def test_a_fixed_distance_is_a_pattern() -> None:
    finding = finding_of(
        with_places(measures(offset_weight=0.9, content_dependence=0.0), offset=-2)
    )
    assert finding.name == "specialised: 2 tokens before"
    assert finding.function is HeadFunction.OFFSET
    assert finding.sentences[0] == "It looks 2 tokens before the query: 0.90 of its weight."


def test_a_sharp_head_on_another_token_is_a_sink_and_not_peaked() -> None:
    sharp = {"normalized_entropy": 0.001, "other_rest": 0.99, "other_elsewhere": 0.0}
    finding = finding_of(with_places(measures(**sharp), "“.”"))
    assert finding.label == "sink" and finding.also == ()


@pytest.mark.parametrize("function", ["repeat_induction", "previous_token"])
def test_a_head_with_a_function_is_no_broken_sink(function: str) -> None:
    values = {function: 0.9, "rest": 0.6, "sink_first": 0.5, "rows_elsewhere": 0.01}
    finding = finding_of(measures(**values), costing(zero=0.0))
    assert finding.label == "specialised" and finding.also == ("sink: resting",)


def part(uniform: int, texts: int, spread: float = 0.02) -> Finding:
    random = np.random.default_rng(0)
    entropy = np.full((1, HEADS, texts), 0.3)
    entropy[0, HEAD.head] = random.normal(0.5, spread, texts)
    entropy[0, HEAD.head, :uniform] = 0.999
    return finding_of(replace(measures(), values={"self": {"lowest_entropy": entropy}}))


def test_a_fault_on_a_part_of_the_texts_is_said() -> None:
    finding = part(28, 60)
    assert finding.label == "healthy" and finding.partial == ("uniform on 28 of 60 texts",)
    assert finding.sentences[0] == (
        "On 28 of 60 texts it is uniform and on the others not: lowest normalized entropy is 1.00 "
        "and 0.51."
    )
    assert part(2, 60).partial == part(60, 60).partial == part(0, 60).partial == ()


@pytest.mark.parametrize("draw", ["normal", "uniform", "exponential"])
def test_one_group_of_texts_across_a_limit_is_no_part(draw: str) -> None:
    random = np.random.default_rng(1)
    limits = Thresholds()
    wrong = 0
    for _ in range(200):
        drawn = getattr(random, draw)(size=60)
        limit = np.quantile(drawn, random.uniform(0.2, 0.8))
        values = {"lowest_entropy": limits.uniform_entropy + 0.02 * (drawn - limit)}
        wrong += bool(list(partial_labels(values, limits)))
    assert wrong <= 2  # of 200: about 1 in 1,000 in 10,000 draws


def test_a_group_of_copies_is_spare_and_not_useless() -> None:
    heads = tuple(Head("self", 0, number) for number in range(HEADS))
    group = GroupRemoval(HeadGroup(heads), HEAD, change(0.02, 0.04), change(0.3, 0.4))
    tried = replace(costing(zero=0.0), groups=(group,))
    finding = finding_of(measures(distance=0.01, cosine=0.99), tried)
    assert finding.label == "redundant" and finding.spare and finding.group == heads
    said = " ".join(finding.sentences)
    assert "It is one of 3 heads that do the same (L0·H0, L0·H1 and L0·H2)." in said
    assert "Removing all of them but L0·H1 costs 0.030 nats per token" in said
    assert "Removing all of them costs 0.35 nats per token" in said
    headline = diagnosis_sentences([finding])
    assert headline == (
        "No head is proven useless.",
        "L0·H0, L0·H1 and L0·H2 do the same: removing one makes no difference.",
        "Removing all of them changes the loss by +0.35 nats.",
        "Of 1 head, 1 makes no difference.",
    )


def test_of_two_heads_the_other_one_and_both_are_removed() -> None:
    one, other = Head("self", 0, 0), Head("self", 0, 1)
    group = HeadGroup((one, other), HeadFunction.INDUCTION)
    removal = GroupRemoval(group, one, change(0.02, 0.04), change(0.3, 0.4))
    assert removal.summary(0.01) == (
        "2 induction heads (L0·H0 and L0·H1). Removing L0·H1 alone costs 0.030 nats per token "
        "(0.020 to 0.040). Removing both costs 0.35 nats per token (0.30 to 0.40)."
    )


def test_a_group_of_a_model_without_a_finite_loss_has_no_costs() -> None:
    one, other = Head("self", 0, 0), Head("self", 0, 1)
    group = HeadGroup((one, other), HeadFunction.INDUCTION)
    unknown = Interval(math.nan, math.nan, math.nan, math.nan, 0)
    removal = GroupRemoval(group, one, unknown, unknown, (unknown, unknown, unknown))
    assert removal.summary(0.01) == "2 induction heads (L0·H0 and L0·H1)."
