"""Sentences on a finding: measures, removals, close calls."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from attnviz.doctor.labels.head_groups import GroupRemoval
from attnviz.doctor.labels.number_words import number, quoted, with_article
from attnviz.doctor.labels.removal_effects import Effect, decisive, effect, removal_sentence
from attnviz.findings import CLOSE_CALL, Evidence, Finding, HeadFunction, Interval, Verdict
from attnviz.sentences import sentence
from attnviz.written_numbers import decimals, nats, percent

__all__ = ["Names", "sentences"]


@dataclass(frozen=True)
class Names:
    """Names of a model's special keys.

    Attributes:
        first: the first token.
        separator: the special tokens behind it.
    """

    first: str = "first token"
    separator: str = "separators"


def sentences(
    finding: Finding,
    values: Mapping[str, Interval],
    what: Effect | None,
    tolerance: float,
    names: Names,
    *,
    place: str = "",
    partial: Sequence[str] = (),
    group: GroupRemoval | None = None,
    near: Sequence[tuple[str, tuple[Evidence, ...]]] = (),
) -> tuple[str, ...]:
    """Return a finding in words, most important first.

    Args:
        finding: without its sentences.
        values: measures of the head.
        what: effect of its removal; None if it was not removed.
        tolerance: changes of the loss below this count as nothing, nats per token.
        names: names of the first token and the separators.
        place: resting place of a sink; "" for the first token and separators.
        partial: sentences on labels that hold on a part of the texts.
        group: cost of removing the head's group.
        near: labels that the head misses narrowly, with the measures that miss their limits.
    """
    seen = [*partial, *_seen(finding, values, what, names, place)]
    tested = list(_tested(finding, what, tolerance, pair=group is None))
    if group is not None:
        tested += group.sentences(tolerance)
    rest = [*_rest(finding), *_near(near)]
    if finding.contradicted:
        but = f"{tested[0][:1].lower()}{tested[0][1:]}"
        first = f"It looks {finding.label}, but {but}"
        if what is Effect.COSTS:
            first = f"{first[:-1]}: the model needs it."
        return (first, *seen, *tested[1:], *rest)
    if finding.verdict is Verdict.BETTER_WITHOUT:
        return (tested[0], *seen, *tested[1:], *rest)
    return (*seen, *tested, *rest)


def _seen(
    finding: Finding,
    values: Mapping[str, Interval],
    what: Effect | None,
    names: Names,
    place: str,
) -> Iterator[str]:
    """Yield the sentences on the measures."""

    def share(name: str) -> str:
        return number(values[name].mean)

    label = finding.label
    if label == "non-finite":
        broken = values["not_finite"]
        count = round(broken.mean * broken.texts)
        yield (
            f"It computes NaN or infinity on {count} of {broken.texts} texts: what it looks at and "
            "what it adds are not defined there."
        )
    elif label == "dead":
        yield (
            f"It adds next to nothing: its vectors have {share('output_share')} of the length of "
            "those they are added to."
        )
    elif label == "uniform":
        yield (
            "It spreads its weight almost evenly over everything it can see: in nine rows of ten "
            f"its entropy is at least {share('lowest_entropy')} of the largest possible."
        )
    elif label == "peaked":
        where = {
            "own token": "the token itself",
            "same key": "one and the same key",
            "": "a single key",
        }[finding.detail]
        yield (
            f"It puts nearly all of its weight on {where} "
            f"(entropy {share('normalized_entropy')} of the largest possible)."
        )
        yield "It follows no pattern that is known to be useful."
    elif label == "redundant" and finding.partner is not None:
        apart, parallel = finding.evidence
        yield (
            f"It does what {finding.partner.label} does: both look at the same keys (distance "
            f"{nats(apart.value.mean)} nats, of 0.69 at most) and add vectors in the same "
            f"direction (cosine {number(parallel.value.mean)})."
        )
    elif label == "sink":
        yield from _seen_sink(finding, what, place or _place(values, names))
    elif label == "specialised":
        yield _pattern(finding, finding.evidence[0])
    elif label == "positional":
        yield (
            "It looks at the same places whatever the text says "
            f"({share('content_dependence')} nats; 0: always the same places)."
        )
    else:
        yield from _seen_healthy(finding, values)


def _seen_healthy(finding: Finding, values: Mapping[str, Interval]) -> Iterator[str]:
    """Yield the sentences on a head without another label; on its sharpness if it is extreme."""
    if math.isnan(values["content_dependence"].mean):
        yield "It fits none of the other descriptions."
    else:
        dependence = number(values["content_dependence"].mean)
        yield f"Where it looks depends on the text ({dependence} nats; 0: always the same places)."
    if finding.saturated:
        sharp = number(values["normalized_entropy"].mean)
        yield (
            "Its softmax is saturated: one key gets nearly all of each row's weight (entropy "
            f"{sharp} of the largest possible), and almost no gradient passes."
        )


def _place(values: Mapping[str, Interval], names: Names) -> str:
    """Return the resting places with at least a fifth of the weight on both."""
    first, separators = values["sink_first"].mean, values["separators"].mean
    if math.isnan(separators) or separators < (first + separators) / 5:
        return with_article(names.first)
    if first < (first + separators) / 5:
        return with_article(names.separator)
    return f"{with_article(names.first)} and {with_article(names.separator)}"


def _seen_sink(finding: Finding, what: Effect | None, place: str) -> Iterator[str]:
    """Yield the sentences on a sink: place, weight, value and meaning."""
    mass, *_, elsewhere = finding.evidence
    yield f"It puts {number(mass.value.mean)} of its weight on {place}."
    share = elsewhere.value.mean
    part = "none" if share == 0 else percent(share)
    away = f"it looks mostly elsewhere in {part} of its rows"
    moved = next((one.value for one in finding.evidence if one.measure == "sink_value_share"), None)
    if moved is not None and not math.isnan(moved.mean):
        much = "only " if moved.mean < mass.value.mean / 2 else ""
        yield f"Of what it moves, {much}{number(moved.mean)} comes from there; {away}."
    elif not math.isnan(elsewhere.value.mean):
        yield sentence(away)
    meaning = {
        "resting": "It rests there when it has nothing to add.",
        "working": "The model needs it: this sink has a use.",
        "broken": "It does nothing else.",
        "undecided": "It may rest there or be needed: the texts are too few to tell.",
        "not tested": "It was not removed: it may rest there or be needed.",
    }
    if finding.detail == "undecided" and what in (Effect.NOTHING, Effect.HELPS):
        yield "Much of what it moves comes from there, but the model does not need it."
    else:
        yield meaning[finding.detail]


PATTERNS: Mapping[HeadFunction, str] = {
    HeadFunction.PREVIOUS: "It looks at the token before: {value} of its weight.",
    HeadFunction.NEXT: "It looks at the token after: {value} of its weight.",
    HeadFunction.OFFSET: "It looks {detail} the query: {value} of its weight.",
    HeadFunction.INDUCTION: "It continues repetitions: where random tokens come a second time, "
    "{value} of its weight is on what followed them the first time.",
    HeadFunction.ALIGNMENT: "It looks at the word being translated: {value} of its weight is on "
    "the source token that the prediction depends on most.",
    HeadFunction.DUPLICATE: "It looks at copies of the same token: {value} of its weight, {where}.",
}


def _pattern(finding: Finding, evidence: Evidence) -> str:
    """Return the sentence on a pattern and its weight."""
    value = number(evidence.value.mean)
    if finding.function is None:
        return f"It is known for looking at {with_article(finding.detail)}: {value} of its weight."
    where = {
        "pair_duplicate": "in the other one of two sentences with the same words",
        "repeat_duplicate": "where random tokens come a second time",
    }.get(evidence.measure, "")
    return PATTERNS[finding.function].format(value=value, detail=finding.detail, where=where)


def _tested(
    finding: Finding, what: Effect | None, tolerance: float, *, pair: bool
) -> Iterator[str]:
    """Yield the effects of the replacements, the decisive one first."""
    ablation = finding.ablation
    change = decisive(ablation)
    if change is None or what is None:
        return
    yield removal_sentence(change, tolerance)
    if "zero" in ablation and "mean" in ablation:
        mean = effect(ablation["mean"], tolerance)
        costs = what in (Effect.COSTS, Effect.LITTLE)
        if costs and mean is Effect.NOTHING:
            yield (
                "With its mean output in its place the loss stays the same: the model needs only a "
                "constant from it."
            )
        elif not costs and mean is Effect.COSTS:
            yield removal_sentence(
                ablation["mean"], tolerance, "putting its mean output in its place"
            )
    if finding.label == "uniform" and "uniform" in ablation:
        yield removal_sentence(
            ablation["uniform"],
            tolerance,
            "putting the plain average of everything it can see in its place",
        )
    if pair and finding.together is not None:
        then = "" if what is Effect.COSTS else "one of the two is needed"
        yield removal_sentence(finding.together, tolerance, "removing both", then)


def _rest(finding: Finding) -> Iterator[str]:
    """Yield the other labels, and measures of the own label whose intervals contain the limit."""
    if finding.also:
        yield f"Other rules that it meets: {quoted(finding.also)}."
    for one in finding.evidence:
        if one.value.low < one.threshold < one.value.high and not one.variant:
            yield (
                f"{CLOSE_CALL}{one.label.lower()} is between {number(one.value.low)} and "
                f"{number(one.value.high)}, and the limit is {number(one.threshold)}."
            )


def _near(near: Sequence[tuple[str, tuple[Evidence, ...]]]) -> Iterator[str]:
    """Yield the labels that are missed narrowly."""
    for name, evidence in near:
        measures = " and ".join(
            f"{one.label.lower()} is {_digits(one.value.mean, one.threshold)} "
            f"({number(one.value.low)} to {number(one.value.high)}), the limit "
            f"{number(one.threshold)}"
            for one in evidence
        )
        yield f"{CLOSE_CALL}it narrowly misses “{name}”. {sentence(measures)}"


def _digits(value: float, limit: float) -> str:
    """Return a measure with as many digits as tell it from its limit, at most four."""
    shown = number(value)
    return shown if shown != number(limit) else decimals(value, 4).rstrip("0")
