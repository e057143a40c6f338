"""Finding the heads of a shipped model that do what the textbooks say.

Scores come from `attnviz.metrics`, so what a card promises is what the app shows.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from attnviz import metrics
from attnviz.attention import AttentionStack
from attnviz.captures.forward_pass import Encoded, capture, capture_ids
from attnviz.models import Model
from attnviz.types import Head, Kind, KnownHead
from attnviz.whole_files import write_whole
from training import probe_texts
from training.repeats import two_copies

PERIOD = 50
PERIODS = tuple(range(10, 121, 10))
Table = Float[np.ndarray, "layer head"]


@dataclass(frozen=True)
class Role:
    """Role that heads are searched for, with the smallest score of a named head."""

    name: str
    label: str
    enough: float


def mean_table(name: str, stacks: Sequence[AttentionStack]) -> Table:
    """Return a metric per head, averaged over texts."""
    table: Table = np.mean([metrics.per_head(name, stack) for stack in stacks], axis=0)
    return table


def text_stacks(model: Model, kind: Kind = "self") -> list[AttentionStack]:
    """Return the attention over the probe paragraphs."""
    return [capture(model, text, predict=False)[kind] for text in probe_texts.texts()]


def repeat_ids(model: Model, period: int = PERIOD) -> list[list[int]]:
    """Return rows of the begin token and two copies of `period` random tokens, 400 or more each."""
    rows = max(2, 400 // period)
    ids: list[list[int]] = two_copies(1, rows, period, len(model.tokenizer)).tolist()
    return ids


def mixed_ids(model: Model) -> list[list[int]]:
    """Return rows of two copies of random tokens, every row with another period, 10 to 120.

    No fixed distance leads to the earlier copies of all rows: a head has to read the tokens.
    """
    return [two_copies(period, 1, period, len(model.tokenizer))[0].tolist() for period in PERIODS]


def stacks_of(model: Model, rows: Sequence[Sequence[int]]) -> list[AttentionStack]:
    """Return the attention over rows of ids."""
    encoded = [Encoded(tuple(row)) for row in rows]
    return [one["self"] for one in capture_ids(model, encoded, predict=False)]


def repeat_stacks(model: Model, period: int = PERIOD) -> list[AttentionStack]:
    """Return the attention over the begin token and two copies of random tokens."""
    return stacks_of(model, repeat_ids(model, period))


def second_copy(name: str, stacks: Sequence[AttentionStack]) -> Table:
    """Return a metric per head, averaged over the rows of the second copies."""
    rows = [metrics.per_row(name, stack)[:, :, (stack.shape[2] + 1) // 2 :] for stack in stacks]
    table: Table = np.nanmean(np.concatenate(rows, axis=-1), axis=-1)
    return table


def earlier_copies(ids: Sequence[int], *, after: bool) -> Bool[np.ndarray, "query key"]:
    """Return which keys are earlier copies of a query in the second copy, or follow one."""
    row = np.array(ids)
    places = np.arange(len(row))
    same = (row[:, None] == row[None, :]) & (places[None, :] < places[:, None])
    same[: (len(row) + 1) // 2] = False
    moved: np.ndarray = np.roll(same, 1, axis=1) if after else same
    return moved


def best(table: Table) -> tuple[Head, float]:
    """Return the head of a one-stack model with the highest score, and the score."""
    layer, head = np.unravel_index(int(table.argmax()), table.shape)
    return Head("self", int(layer), int(head)), float(table.max())


def name_heads(role: Role, table: Table, kind: Kind = "self", most: int = 3) -> list[KnownHead]:
    """Return up to `most` heads whose score is enough, best first."""
    order = np.argsort(table, axis=None)[::-1][:most]
    places = [np.unravel_index(int(place), table.shape) for place in order]
    return [
        KnownHead(
            Head(kind, int(layer), int(head)),
            role.name,
            role.label,
            round(float(table[layer, head]), 3),
        )
        for layer, head in places
        if table[layer, head] >= role.enough
    ]


def write_heads(folder: Path, heads: Sequence[KnownHead]) -> None:
    """Write `heads.json`, which the app shows where the model is chosen."""
    entries = [
        {
            "kind": one.head.kind,
            "layer": one.head.layer,
            "head": one.head.head,
            "role": one.role,
            "label": one.label,
            "score": one.score,
        }
        for one in heads
    ]
    text = json.dumps(entries, indent=2, ensure_ascii=False) + "\n"
    write_whole(folder / "heads.json", text)
