"""Search for the places of a set of texts in which heads are strongest."""

from __future__ import annotations

import itertools
import time
from bisect import insort
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from attnviz.attention import AttentionStack
from attnviz.captures.forward_pass import Capture, capture_ids
from attnviz.doctor.measures.text_measures import batch_tokens
from attnviz.doctor.strongest_texts.places import Place, ReadText, Strongest
from attnviz.doctor.strongest_texts.row_measures import (
    ELSEWHERE,
    RowValues,
    attended_key,
    is_lowest,
    measure_description,
    measures_of_kind,
    row_values,
)
from attnviz.errors import InputError
from attnviz.experiments.encoded_texts import EncodedText, LongTexts, encoded_texts, window_note
from attnviz.experiments.loss_examples import batches
from attnviz.experiments.text_sets import Text, TextSet, as_text_set
from attnviz.findings import Progress
from attnviz.models import Model, check_reads
from attnviz.types import Head, Kind

__all__ = ["captures_of", "strongest"]

AT_A_TIME = 64
"""Encoded texts that wait to be read with others of similar length."""

WRITTEN_AT_A_TIME = 8
"""Likewise where the model may have to write their targets first: seconds without a report."""

READING = "reading the texts"


def strongest(
    model: Model,
    texts: str | Path | Sequence[str | Text] | TextSet | None = None,
    *,
    head: Head | None = None,
    measures: Sequence[str] = (ELSEWHERE,),
    count: int = 10,
    one_per_text: bool = True,
    long: LongTexts = "windows",
    progress: Callable[[Progress], None] | None = None,
) -> Strongest:
    """Search the places of many texts in which a head, or each head, is strongest.

    A place is a query of a text and the key that it attends to. Rows of special tokens and rows
    that see one key are left out. Texts are read one batch after the other; of each text only
    tokens, one row of weights per place, and one number per head and measure are kept.

    >>> import attnviz
    >>> from attnviz.types import Head
    >>> model = attnviz.load("gpt-classroom")
    >>> texts = ["The cat sat on the mat. The cat sat", "One dog saw a bird. One dog"]
    >>> result = attnviz.strongest(model, texts, head=Head("self", 2, 5), measures=["induction"])
    >>> [place.text for place in result.places()] in ([0, 1], [1, 0])
    True

    Args:
        model: from `attnviz.load`.
        texts: None for the 60 that come with attnviz; a list; or a file, a text on each line, or a
            folder of .txt files.
        head: the head; all heads when None.
        measures: "elsewhere" (largest weight beside sinks), "score" (largest score beside sinks),
            or metrics of rows (`attnviz.metrics.names()`). Of entropies the lowest are searched.
        count: most places of a head.
        one_per_text: keep the strongest place of a text only.
        long: "windows" reads texts that are too long in pieces, "refuse" raises.
        progress: callback for finished share and time. It may raise to cancel.

    Raises:
        EmptyText: there is no text.
        TextTooLong: a text longer than the model reads, and `long` is "refuse".
        InputError: a model that reads no text alone, a text it cannot read, a head, measure or
            count that does not exist.
    """
    began = time.monotonic()
    check_reads(model, ("input_ids",))
    chosen = as_text_set(texts, model.info.family)
    search = _Search.of(model, chosen, head, tuple(measures), count, one_per_text)

    def report(done: int) -> None:
        if progress is not None:
            share = done / len(chosen.texts)
            progress(Progress(READING, share, time.monotonic() - began))

    report(0)
    for read, capture in captures_of(model, chosen, long):
        search.take(read, capture)
        report(len(search.read))
    note = window_note(model, chosen, [one.number for one in search.windows])
    report(len(chosen.texts))
    return Strongest(
        model=model.info,
        texts=chosen,
        measures=search.measures,
        heads=search.heads,
        count=count,
        notes=(*chosen.notes, *([note] if note else [])),
        ranked={
            name: {
                head: tuple(one.place for one in ranking.entries) for head, ranking in rows.items()
            }
            for name, rows in search.rankings.items()
        },
        best=search.best,
        not_finite={kind: broken.sum(-1) for kind, broken in search.broken.items()},
        seconds=time.monotonic() - began,
    )


def captures_of(
    model: Model, texts: TextSet, long: LongTexts = "windows"
) -> Iterator[tuple[ReadText, Capture]]:
    """Yield every text as it was read, with its capture; texts of similar length run together."""
    stream = _numbered(encoded_texts(model, texts, long=long))
    writes = model.info.family == "encoder-decoder"
    while part := list(itertools.islice(stream, WRITTEN_AT_A_TIME if writes else AT_A_TIME)):
        encoded = [one.encoded for _, one in part]
        for chosen in batches(encoded, batch_tokens(model)):
            rows = [encoded[index] for index in chosen]
            for index, capture in zip(chosen, capture_ids(model, rows, predict=False), strict=True):
                yield part[index][0], capture


def _numbered(stream: Iterator[EncodedText]) -> Iterator[tuple[ReadText, EncodedText]]:
    """Yield encoded texts with the index of each window within its text."""
    for _, windows in itertools.groupby(stream, lambda one: one.number):
        for window, one in enumerate(windows):
            yield ReadText(one.number, window, one.source, one.target), one


@dataclass(frozen=True, order=True)
class _Entry:
    """Place of a ranking; entries are ordered by strength, then by text, window and query."""

    strength: float
    order: tuple[int, int, int]
    place: Place = field(compare=False)


@dataclass
class _Ranking:
    """Strongest places of one head by one measure, the strongest first."""

    count: int
    one_per_text: bool
    entries: list[_Entry] = field(default_factory=list)

    def accepts(self, strength: float, read: ReadText, query: int) -> bool:
        """Return whether a place would be among the strongest; `strength` is its value negated."""
        new = (strength, (read.number, read.window, query))
        if self.one_per_text:
            for one in self.entries:
                if one.place.text == read.number:
                    return new < (one.strength, one.order)
        if len(self.entries) < self.count:
            return True
        last = self.entries[-1]
        return new < (last.strength, last.order)

    def add(self, entry: _Entry) -> None:
        """Put an accepted place at its rank, and drop what is one too many."""
        if self.one_per_text:
            text = entry.place.text
            self.entries = [one for one in self.entries if one.place.text != text]
        insort(self.entries, entry)
        del self.entries[self.count :]


@dataclass(frozen=True)
class _Search:
    """Hold the strongest places of the texts that have been read so far."""

    texts: TextSet
    measures: tuple[str, ...]
    heads: tuple[Head, ...]
    wanted: dict[Kind, Bool[np.ndarray, "layer head"]]
    one_per_text: bool
    count: int
    rankings: dict[str, dict[Head, _Ranking]]
    best: dict[str, dict[Kind, Float[np.ndarray, "layer head text"]]]
    broken: dict[Kind, Bool[np.ndarray, "layer head text"]]
    windows: list[ReadText] = field(default_factory=list)
    read: set[int] = field(default_factory=set)

    @classmethod
    def of(
        cls,
        model: Model,
        texts: TextSet,
        head: Head | None,
        measures: tuple[str, ...],
        count: int,
        one_per_text: bool,
    ) -> _Search:
        """Begin a search; arguments and errors as for `strongest`."""
        info = model.info
        if count < 1:
            raise InputError(f"at least one place is searched, not {count}")
        if not measures:
            raise InputError("no measure is given; give at least one")
        for name in measures:
            measure_description(name)
        if head is not None and head not in info.every_head():
            kinds = ", ".join(
                f"{kind} {rows} x {heads}" for kind, (rows, heads) in info.heads.items()
            )
            raise InputError(
                f"there is no head {head.label} in {info.name}; layers x heads are {kinds}"
            )
        heads = tuple(info.every_head()) if head is None else (head,)
        wanted = {kind: np.zeros(info.heads[kind], bool) for kind in {one.kind for one in heads}}
        for one in heads:
            wanted[one.kind][one.layer, one.head] = True
        sizes = {kind: (*mask.shape, len(texts.texts)) for kind, mask in wanted.items()}
        return cls(
            texts,
            tuple(dict.fromkeys(measures)),
            heads,
            wanted,
            one_per_text,
            count,
            {name: {one: _Ranking(count, one_per_text) for one in heads} for name in measures},
            {
                name: {kind: np.full(size, np.nan, np.float32) for kind, size in sizes.items()}
                for name in measures
            },
            {kind: np.zeros(size, bool) for kind, size in sizes.items()},
        )

    def take(self, read: ReadText, capture: Capture) -> None:
        """Compare the rows of a text with those of the texts before."""
        self.windows.append(read)
        self.read.add(read.number)
        for kind, wanted in self.wanted.items():
            stack = capture[kind]
            self.broken[kind][..., read.number] |= stack.not_finite & wanted
            for name in self.measures:
                if name in measures_of_kind(kind):
                    self._compare(name, read, stack, row_values(name, stack, wanted))

    def _compare(
        self,
        name: str,
        read: ReadText,
        stack: AttentionStack,
        rows: RowValues,
    ) -> None:
        """Keep the strongest value of each head on this text, and the places that rank."""
        sign = 1.0 if is_lowest(name) else -1.0
        strengths = np.where(np.isnan(rows.values), np.inf, sign * rows.values)
        order = strengths.argsort(-1, kind="stable")  # of equal rows the first
        best = np.take_along_axis(strengths, order[..., :1], -1)[..., 0]
        column = self.best[name][stack.kind][..., read.number]
        known = np.where(np.isinf(best), np.nan, best)
        column[...] = sign * np.fmin(sign * column, known)  # of several windows the best
        for layer, number in np.argwhere(np.isfinite(best)):
            head = Head(stack.kind, int(layer), int(number))
            ranking = self.rankings[name][head]
            for query in map(int, order[layer, number, : 1 if self.one_per_text else self.count]):
                strength = float(strengths[layer, number, query])
                if not np.isfinite(strength) or not ranking.accepts(strength, read, query):
                    break
                place = _place(name, read, stack, rows, head, query)
                ranking.add(_Entry(strength, (read.number, read.window, query), place))


def _place(
    name: str, read: ReadText, stack: AttentionStack, rows: RowValues, head: Head, query: int
) -> Place:
    """Return the place of a row, with the key that it is about."""
    key, weights = attended_key(name, rows, stack, head, query)
    return Place(
        text=read.number,
        query=query,
        key=key,
        value=float(rows.values[head.layer, head.head, query]),
        weight=float(weights[key]),
        weights=weights,
        query_tokens=stack.query_tokens,
        key_tokens=stack.key_tokens,
        read=read,
    )
