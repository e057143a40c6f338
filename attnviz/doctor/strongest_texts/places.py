"""Places where a head is strongest, text by text: the result of a search."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from attnviz import __version__
from attnviz.doctor.report_data import without_nan
from attnviz.doctor.strongest_texts.row_measures import is_lowest, measure_description
from attnviz.errors import InputError
from attnviz.experiments.text_sets import TextSet
from attnviz.spreadsheets import as_csv
from attnviz.types import Head, Kind, ModelInfo, Tokens
from attnviz.whole_files import write_whole

__all__ = ["Place", "ReadText", "Spread", "Strongest"]


QUARTILES = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class ReadText:
    """Text, or a window of a long text, as it was read, with its tokens.

    Attributes:
        number: index of the text in the set.
        window: index of the window within its text; 0 for a text that was read whole.
        source: the text of the window, without the model's prompt.
        target: text of the decoder as it was given; None where the model wrote it.
    """

    number: int
    window: int
    source: str
    target: str | None


@dataclass(frozen=True)
class Place:
    """Query of a text in which a head is strong, and the key that it attends to.

    Attributes:
        text: index of the text in the set.
        query: position of the query, counted from the beginning of the window.
        key: position of the key, likewise.
        value: the measure.
        weight: attention weight of the query on the key.
        weights: all weights of the query.
        query_tokens: tokens of the queries.
        key_tokens: tokens of the keys.
        read: the text as it was read.
    """

    text: int
    query: int
    key: int
    value: float
    weight: float
    weights: Float[np.ndarray, " key"]
    query_tokens: Tokens
    key_tokens: Tokens
    read: ReadText

    def plain(self) -> dict[str, Any]:
        """Return text, window, positions, tokens and numbers as plain values."""
        return {
            "text": self.text,
            "window": self.read.window,
            "query": self.query,
            "key": self.key,
            "query_token": self.query_tokens.labels[self.query],
            "key_token": self.key_tokens.labels[self.key],
            "value": self.value,
            "weight": self.weight,
        }


@dataclass(frozen=True)
class Spread:
    """Distribution of the strongest value of each text over the texts.

    Attributes:
        mean: over the texts that have a value; NaN without one.
        lowest: of these texts.
        low: first quartile.
        median: of these texts.
        high: third quartile.
        highest: of these texts.
        texts: number of texts with a value.
    """

    mean: float
    lowest: float
    low: float
    median: float
    high: float
    highest: float
    texts: int

    @classmethod
    def of(cls, values: Float[np.ndarray, " text"]) -> Spread:
        """Compute the numbers; texts without a value (NaN) do not count."""
        known = values[np.isfinite(values)].astype(np.float64)
        if not len(known):
            nan = float("nan")
            return cls(nan, nan, nan, nan, nan, nan, 0)
        lowest, low, median, high, highest = map(float, np.quantile(known, QUARTILES))
        return cls(float(known.mean()), lowest, low, median, high, highest, len(known))


@dataclass(frozen=True)
class Strongest:
    """Places where heads are strongest over a set of texts; see `attnviz.strongest`.

    Attributes:
        model: the model.
        texts: the set; `Place.text` counts its texts.
        measures: names of the measures that were searched.
        heads: the heads that were searched.
        count: most places of a head.
        notes: what was done to the texts.
        ranked: places by measure and head; use `places`.
        best: by measure and kind, the strongest value of each head on each text, NaN where there is
            none; use `per_text`.
        not_finite: by kind, the number of texts on which each head computes NaN or infinity.
        seconds: time of the search.
    """

    model: ModelInfo
    texts: TextSet
    measures: tuple[str, ...]
    heads: tuple[Head, ...]
    count: int
    notes: tuple[str, ...]
    ranked: Mapping[str, Mapping[Head, tuple[Place, ...]]] = field(repr=False)
    best: Mapping[str, Mapping[Kind, Float[np.ndarray, "layer head text"]]] = field(repr=False)
    not_finite: Mapping[Kind, Int[np.ndarray, "layer head"]] = field(repr=False)
    seconds: float

    def places(self, head: Head | None = None, measure: str | None = None) -> tuple[Place, ...]:
        """Return the places of a head, the strongest first; of equal values the earlier text first.

        Args:
            head: the only one that was searched when None.
            measure: the first one when None.

        Raises:
            InputError: a head or measure that was not searched.
        """
        head, measure = self._searched(head, measure)
        return self.ranked[measure].get(head, ())

    def per_text(
        self, head: Head | None = None, measure: str | None = None
    ) -> Float[np.ndarray, " text"]:
        """Return the strongest value of a head on each text, NaN where there is none.

        Arguments and errors as for `places`.
        """
        head, measure = self._searched(head, measure)
        values: np.ndarray = self.best[measure][head.kind][head.layer, head.head]
        return values

    def spread(self, head: Head | None = None, measure: str | None = None) -> Spread:
        """Return the distribution of `per_text`: whether the strongest place is typical or rare."""
        return Spread.of(self.per_text(head, measure))

    def reason(self, head: Head | None = None, measure: str | None = None) -> str:
        """Return a sentence on texts without a value, and why; empty if there are none."""
        head, measure = self._searched(head, measure)
        broken = int(self.not_finite[head.kind][head.layer, head.head])
        count = len(self.texts.texts)
        without = count - self.spread(head, measure).texts
        label = measure_description(measure).label
        if broken:
            where = "every text" if broken >= count else f"{broken} of {count} texts"
            return f"this head computes NaN or infinity on {where}: there it has no place"
        if without == count:
            return f"no text has a row in which {label} is defined for this head"
        if without:
            have = "has" if without == 1 else "have"
            return f"{without} of {count} texts {have} no row in which {label} is defined"
        return ""

    def table(self, head: Head | None = None, measure: str | None = None) -> pd.DataFrame:
        """Return the places of a head as a table: text, positions, tokens, value and weight."""
        return _table([(None, one) for one in self.places(head, measure)]).drop(
            columns=["kind", "layer", "head"]
        )

    def csv(self) -> str:
        """Return all places of all heads and measures as CSV."""
        tables = [
            _table([(head, one) for head in self.heads for one in places.get(head, ())]).assign(
                measure=measure
            )
            for measure, places in self.ranked.items()
        ]
        return as_csv(pd.concat(tables, ignore_index=True), float_format="%.6g")

    def to_csv(self, path: str | Path) -> None:
        """Write all places of all heads and measures."""
        write_whole(path, self.csv())

    def plain(self) -> dict[str, Any]:
        """Return everything as plain values; numbers that do not exist are None.

        Of the texts only the tokens of the places are in it.
        """
        listed = []
        for measure in self.measures:
            for head in self.heads:
                listed.append(
                    {
                        "kind": head.kind,
                        "layer": head.layer,
                        "head": head.head,
                        "measure": measure,
                        "lowest": is_lowest(measure),
                        "spread": asdict(self.spread(head, measure)),
                        "reason": self.reason(head, measure),
                        "places": [one.plain() for one in self.places(head, measure)],
                    }
                )
        everything: dict[str, Any] = without_nan(
            {
                "model": asdict(self.model),
                "texts": {
                    "name": self.texts.name,
                    "digest": self.texts.digest,
                    "count": len(self.texts.texts),
                },
                "attnviz": __version__,
                "notes": list(self.notes),
                "seconds": self.seconds,
                "heads": listed,
            }
        )
        return everything

    def to_json(self, path: str | Path) -> None:
        """Write everything, to be read by programs."""
        written = json.dumps(self.plain(), indent=2, allow_nan=False, ensure_ascii=False)
        write_whole(path, written + "\n")

    def _searched(self, head: Head | None, measure: str | None) -> tuple[Head, str]:
        measure = self.measures[0] if measure is None else measure
        if measure not in self.measures:
            raise InputError(f"{measure!r} was not searched; there are {', '.join(self.measures)}")
        if head is None:
            if len(self.heads) > 1:
                raise InputError(f"{len(self.heads)} heads were searched; name one of them")
            head = self.heads[0]
        if head not in self.heads:
            raise InputError(f"{head.label} was not searched in {self.model.name}")
        return head, measure


COLUMNS = ("kind", "layer", "head", "text", "window", "query", "key", "query_token", "key_token")


def _table(rows: list[tuple[Head | None, Place]]) -> pd.DataFrame:
    """Return a row per place, also where there is none at all."""
    listed = [{**({} if head is None else asdict(head)), **one.plain()} for head, one in rows]
    return pd.DataFrame(listed, columns=[*COLUMNS, "value", "weight"])
