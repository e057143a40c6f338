"""Places where a head is strongest, in words and as lines of text."""

from __future__ import annotations

from collections.abc import Collection

from attnviz import words
from attnviz.doctor.strongest_texts.places import Place, Strongest
from attnviz.doctor.strongest_texts.row_measures import is_lowest, measure_description
from attnviz.sentences import sentence
from attnviz.types import Head, Metric
from attnviz.written_numbers import count, decimals, nats

__all__ = ["listed_places", "place_title", "shown_positions", "spread_sentence", "value_text"]

BESIDE = 6
"""Tokens shown at each side of the query and of the key."""


def value_text(value: float, what: Metric) -> str:
    """Return a value of a measure: three decimals of a share, and the unit where it has one."""
    if what.unit == "nats":
        return f"{nats(value)} nats"
    unit = what.unit if what.unit != "score" else ""
    return f"{decimals(value, 2 if what.unit else 3)} {unit}".strip()


def spread_sentence(result: Strongest, head: Head, measure: str) -> str:
    """Return sentences on whether the strongest places of a head are typical of the texts."""
    what, spread, lowest = (
        measure_description(measure),
        result.spread(head, measure),
        is_lowest(measure),
    )
    end, verb = (spread.lowest, "falls to") if lowest else (spread.highest, "reaches")
    begins = f"{what.label} of {head.label} {verb} {value_text(end, what)}"
    if spread.texts < 2:
        return f"{begins}, in one text."
    return (
        f"{begins}. Of each text its {'lowest' if lowest else 'highest'} value counts: half of the "
        f"{count(spread.texts)} texts have {value_text(spread.median, what)} or "
        f"{'less' if lowest else 'more'}, and the mean is {value_text(spread.mean, what)}."
    )


def place_title(place: Place, what: Metric) -> tuple[str, str]:
    """Return the value of a place, and its text, query and key with their positions."""
    query, key = place.query_tokens.labels[place.query], place.key_tokens.labels[place.key]
    window = f", window {place.read.window + 1}" if place.read.window else ""
    return value_text(place.value, what), (
        f"text {place.text + 1}{window} · {words.quoted(query)} ({place.query}) → "
        f"{words.quoted(key)} ({place.key})"
    )


def shown_positions(marked: Collection[int], length: int) -> list[int | None]:
    """Return the positions around the marked ones in order; None where tokens are left out."""
    near = {
        place
        for one in marked
        for place in range(max(one - BESIDE, 0), min(one + BESIDE + 1, length))
    }
    positions: list[int | None] = []
    last = -1
    for place in sorted(near):
        if place > last + 1:
            positions.append(None)
        positions.append(place)
        last = place
    return [*positions, None] if last < length - 1 else positions


def listed_places(result: Strongest, measure: str) -> str:
    """Return the places as lines of text: of one head all, of several heads the first of each.

    In the tokens around a place *stars* mark the query and [brackets] the key.
    """
    what = measure_description(measure)
    several = len(result.heads) > 1
    lines = [sentence(note) for note in result.notes]
    for head in result.heads:
        places = result.places(head, measure)
        reason = result.reason(head, measure)
        if several:
            named = " · ".join(place_title(places[0], what)) if places else sentence(reason)
            lines.append(f"{head.label}  {named}")
            continue
        lines += [sentence(reason)] if reason else []
        lines += [spread_sentence(result, head, measure)] if places else []
        for rank, place in enumerate(places, 1):
            lines += ["", f"{rank}. {' · '.join(place_title(place, what))}"]
            lines += [f"   {line}" for line in _excerpt(place, head)]
    return "\n".join(lines)


def _excerpt(place: Place, head: Head) -> list[str]:
    """Return the tokens around a place as one line, or as two in cross-attention."""
    if head.kind == "cross":
        return [
            _line(place.query_tokens.labels, {place.query: "*"}),
            _line(place.key_tokens.labels, {place.key: "["}),
        ]
    marks = {place.query: "*"}
    marks[place.key] = marks.get(place.key, "") + "["
    return [_line(place.query_tokens.labels, marks)]


def _line(labels: tuple[str, ...], marks: dict[int, str]) -> str:
    ends = {"*": ("*", "*"), "[": ("[", "]"), "*[": ("*[", "]*"), "": ("", "")}
    shown = []
    for place in shown_positions(marks, len(labels)):
        if place is None:
            shown.append("…")
            continue
        left, right = ends[marks.get(place, "")]
        shown.append(f"{left}{labels[place].removeprefix('·') or '·'}{right}")
    return " ".join(shown)
