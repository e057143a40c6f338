"""Context in which a model runs with edits of its attention.

A forced row has a query of 0, so that its dot products are 0, and the logarithm of the given
weights as its bias: softmax(0 + ln p) = p. The attention function, its recorder and all statistics
work as always, and a capture shows the weights that the model used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from attnviz.attention import Places
from attnviz.attention.call_changes import changing
from attnviz.attention.recorder import Call
from attnviz.errors import InputError
from attnviz.experiments.edits.edit_rules import PATTERNS, Edit, check_edit, check_separate
from attnviz.experiments.edits.forced_rows import HIDDEN, forced_rows, hide
from attnviz.models import Model
from attnviz.types import Kind

__all__ = ["MOST_NUMBERS", "edited"]

MOST_NUMBERS = 1 << 28
"""Most numbers of a layer's table of biases, 1 GB: one per head, query and key."""


@contextmanager
def edited(model: Model, edits: Sequence[Edit]) -> Iterator[Model]:
    """Run a model with edits of its attention inside the block; yield the model.

    Captures, losses and generation inside the block use the edits, and captures show the edited
    weights. Other threads and other models are not changed. Blocks can be nested.

    >>> import attnviz
    >>> from attnviz.types import Head
    >>> model = attnviz.load("gpt-classroom")
    >>> with attnviz.edited(model, [attnviz.Edit("first", Head("self", 1, 5))]):
    ...     capture = attnviz.capture(model, "The cat sat.")
    >>> float(capture["self"].weights(1, 5)[-1, 0])
    1.0

    Args:
        model: from `attnviz.load`.
        edits: applied in order; of several edits of a row the last counts.

    Raises:
        InputError: an edit does not fit the model; inside the block, one that does not fit the
            text: a token that it does not have, or weight on a key that a query cannot see.
    """
    for edit in edits:
        check_edit(model, edit)
    if edits:
        check_separate(model, "edited")
    with changing(_Edits(model.sites.places(), tuple(edits), next(iter(model.info.heads)))):
        yield model


class _Edits:
    """Change of attention calls by a list of edits."""

    def __init__(self, places: Places, edits: tuple[Edit, ...], first: Kind) -> None:
        self.places = places
        self.edits = edits
        self.first = first

    def _of(self, call: Call) -> tuple[Kind, list[Edit]]:
        """Return the kind of a call, and the edits of its layer."""
        place = self.places.of(call)
        if place is None:
            return "self", []
        kind, layer = place
        return kind, [edit for edit in self.edits if self._applies(edit, kind, layer)]

    def _applies(self, edit: Edit, kind: Kind, layer: int) -> bool:
        """Return whether an edit is of a layer: of one of its heads, or of all of them."""
        if edit.head is None:
            return (edit.kind or self.first) == kind
        return (edit.head.kind, edit.head.layer) == (kind, layer)

    def call(self, call: Call) -> Call:
        """Return the call with other queries and biases where weights are edited."""
        kind, edits = self._of(call)
        edits = [edit for edit in edits if edit.action in (*PATTERNS, "hide")]
        if not edits:
            return call
        heads, queries = call.query.shape[1:3]
        keys = call.key.shape[2]
        if heads * queries * keys > MOST_NUMBERS:
            raise InputError(
                f"edits of weights need a number per head, query and key, and {heads} × {queries} "
                f"× {keys} are too many; use a shorter text"
            )
        rows = 1 if call.bias is None else call.bias.shape[0]
        bias = call.query.new_zeros(rows, heads, queries, keys, dtype=torch.float32)
        if call.bias is not None:
            bias += call.bias
        query = call.query.clone()
        sinks = None if call.sinks is None else call.sinks.clone()
        forced: list[tuple[Edit, int, list[int]]] = []
        for edit in edits:
            if edit.head is None or edit.action == "hide":
                continue
            head = edit.head.head
            where, table = forced_rows(edit, call, kind)
            query[:, head, where] = 0
            bias[:, head, where] = table
            forced.append((edit, head, where))
            if sinks is not None:
                if len(where) < queries:
                    raise InputError(
                        f"a learned sink takes a share of every row of {edit.head.label}: give "
                        "all rows, or none"
                    )
                sinks[head] = HIDDEN
        hide(bias, [edit for edit in edits if edit.action == "hide"], queries, kind)
        for edit, head, where in forced:
            if where and bool((bias[:, head, where].amax(-1) < HIDDEN / 2).any()):
                raise InputError(f"{edit.label}: a row has weight on hidden tokens only")
        return replace(call, query=query, bias=bias, sinks=sinks)

    def output(self, call: Call, output: Tensor) -> Tensor:
        """Return the output with heads that are off, scaled, or at their mean."""
        kind, edits = self._of(call)
        edits = [edit for edit in edits if edit.action in ("zero", "mean", "scale")]
        if not edits:
            return output
        changed = output.clone()
        for edit in edits:
            if edit.head is None:
                continue
            head = edit.head.head
            if edit.action == "zero":
                changed[:, :, head] = 0
            elif edit.action == "scale":
                changed[:, :, head] *= edit.factor
            else:
                changed[:, :, head] = _mean(call, changed[:, :, head], kind)[:, None]
        return changed


def _mean(
    call: Call, output: Float[Tensor, "batch query value_dim"], kind: Kind
) -> Float[Tensor, "batch value_dim"]:
    """Return the mean output of a head over the positions that are not padding."""
    queries = output.shape[1]
    real = output.new_ones(output.shape[:2], dtype=torch.float32)
    if kind != "cross":
        if call.key.shape[2] != queries:
            raise InputError(
                "a mean output needs the whole text in one pass; with a cache the text is read "
                "token by token: use 'zero'"
            )
        if call.visibility.keys is not None:
            real = call.visibility.keys.float()
    total = (output.float() * real[..., None]).sum(1)
    return (total / real.sum(1, keepdim=True)).to(output.dtype)
