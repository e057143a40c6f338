"""Edits of attention: heads switched off or scaled, rows forced, tokens hidden."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from attnviz.captures.forward_pass import capture
from attnviz.errors import InputError
from attnviz.models import Model
from attnviz.types import Head, Kind
from attnviz.written_numbers import significant

__all__ = ["PATTERNS", "Action", "Edit", "check_edit", "check_separate", "paint", "rows_of_text"]

Action = Literal["zero", "mean", "scale", "uniform", "previous", "first", "rows", "hide"]

PATTERNS: tuple[Action, ...] = ("uniform", "previous", "first", "rows")
"""Actions that replace rows of weights."""

SUM_ERROR = 1e-3
"""A painted row may differ from a sum of 1 by this much: weights are written with few digits."""

Rows = tuple[tuple[int, tuple[float, ...]], ...]
"""Pairs of a query and the weights of its row, from the first key on."""


@dataclass(frozen=True)
class Edit:
    """Edit of one head, or of one token.

        zero      the head's output is 0
        mean      the head's output is its mean over the positions of the text, later ones included
        scale     the head's output times `factor`
        uniform   equal weights on all visible keys
        previous  all weight on the key before the query; the first query keeps itself
        first     all weight on the first key
        rows      the rows in `rows`; other rows stay
        hide      no other query sees the token `token`; its query still sees it in self-attention

    The first three change outputs and leave weights as they are. The others change weights, and
    captures show the changed ones. Hidden keys of a forced row stay hidden.

    Attributes:
        action: what is done.
        head: of which head; for "hide" None means all heads of `kind`.
        factor: for "scale": a finite number.
        token: for "hide": position of the key.
        rows: for "rows": see `paint` and `rows_of_text`. Keys after the last weight get 0.
        kind: for "hide" without a head: kind of attention; the model's first when None.
    """

    action: Action
    head: Head | None = None
    factor: float = 1.0
    token: int | None = None
    rows: Rows = ()
    kind: Kind | None = None

    def __post_init__(self) -> None:
        """Refuse edits that say nothing.

        Raises:
            InputError: an unknown action, a missing part, or a row that is no distribution.
        """
        if self.action not in get_args(Action):
            raise InputError(
                f"an edit is one of {', '.join(get_args(Action))}, not {self.action!r}"
            )
        if self.action == "hide":
            if self.token is None or self.token < 0:
                raise InputError(f"the position of a hidden token is 0 or more, not {self.token}")
        elif self.head is None:
            raise InputError(f"the edit {self.action!r} needs a head")
        if not math.isfinite(self.factor):
            raise InputError(f"a factor is a finite number, not {self.factor}")
        if (self.action == "rows") != bool(self.rows):
            raise InputError("the edit 'rows' has at least one row, and other edits have none")
        for query, weights in self.rows:
            _check_row(query, weights)

    @property
    def label(self) -> str:
        """Short description for lists."""
        place = "" if self.head is None else self.head.label
        if self.action == "hide":
            where = place or f"all heads{'' if self.kind is None else f' ({self.kind})'}"
            return f"token {self.token} hidden from {where}"
        words = {
            "zero": "off",
            "mean": "its mean output",
            "scale": f"output × {self.factor:g}",
            "uniform": "equal weights",
            "previous": "looks at the previous token",
            "first": "looks at the first token",
            "rows": f"{len(self.rows)} given row{'s' if len(self.rows) > 1 else ''}",
        }
        return f"{place}: {words[self.action]}"


def _check_row(query: int, weights: Sequence[float]) -> None:
    if query < 0:
        raise InputError(f"the query of a row is 0 or more, not {query}")
    if not weights or not all(math.isfinite(one) and one >= 0 for one in weights):
        raise InputError(f"the weights of row {query} are numbers from 0 on")
    if abs(sum(weights) - 1) > SUM_ERROR:
        raise InputError(
            f"the weights of row {query} sum to {significant(sum(weights), 4)}, not to 1"
        )


def paint(head: Head, rows: Mapping[int, Sequence[float]]) -> Edit:
    """Return the edit that gives some rows of a head other weights.

    Args:
        head: whose rows.
        rows: weights by query, from the first key on; each row sums to 1.

    Raises:
        InputError: a row is no distribution.
    """
    listed = tuple(
        (int(query), tuple(float(one) for one in weights)) for query, weights in rows.items()
    )
    return Edit("rows", head, rows=listed)


def rows_of_text(
    model: Model, head: Head, text: str, *, target: str | None = None, begin: bool | None = None
) -> Edit:
    """Return the edit that gives a head the weights that it has on another text.

    Args:
        model: whose head.
        head: whose rows.
        text: has at least as many tokens as the text that is read with the edit.
        target: as for `capture`.
        begin: as for `capture`.

    Raises:
        InputError: the model has no such head, or gives it weights that are not finite.
    """
    check_head(model, head)
    stack = capture(model, text, target=target, begin=begin, predict=False)[head.kind]
    weights = np.nan_to_num(stack.weights(head.layer, head.head).astype(np.float64), nan=-1.0)
    if weights.min() < 0:
        raise InputError(f"{head.label} has weights that are not finite on this text")
    weights /= np.maximum(weights.sum(-1, keepdims=True), 1e-30)  # a learned sink takes a share
    return paint(head, dict(enumerate(weights.tolist())))


def check_head(model: Model, head: Head) -> None:
    """Refuse heads that a model does not have.

    Raises:
        InputError: no such kind, layer or head.
    """
    layers, heads = model.info.heads.get(head.kind, (0, 0))
    if not (0 <= head.layer < layers and 0 <= head.head < heads):
        has = ", ".join(f"{kind} {size[0]} × {size[1]}" for kind, size in model.info.heads.items())
        raise InputError(f"{model.info.name} has no head {head.label}; it has {has}")


def check_separate(model: Model, changed: str) -> None:
    """Refuse a model whose layers cannot be changed one at a time.

    `changed` says what would be done to a layer: "edited", "patched".

    Raises:
        InputError: one module runs several layers, in an order that attnviz does not know.
    """
    if model.sites.places().shared:
        raise InputError(
            f"{model.info.name} runs one module for several layers, so no layer can be {changed} "
            "by itself. Of such models only ALBERT is taken apart."
        )


def check_edit(model: Model, edit: Edit) -> None:
    """Refuse edits that do not fit a model.

    Raises:
        InputError: no such head or kind, or a previous token in cross-attention.
    """
    if edit.head is not None:
        check_head(model, edit.head)
        if edit.action == "previous" and edit.head.kind == "cross":
            raise InputError("cross-attention reads another text, which has no previous token")
    elif edit.kind is not None and edit.kind not in model.info.heads:
        kinds = ", ".join(model.info.heads)
        raise InputError(f"{model.info.name} has no {edit.kind} attention; it has {kinds}")
