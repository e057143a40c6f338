"""Rows of weights that edits force, and keys that they hide, as biases of the scores."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from attnviz.attention.recorder import Call
from attnviz.errors import InputError
from attnviz.experiments.edits.edit_rules import Edit
from attnviz.types import Kind

__all__ = ["HIDDEN", "forced_rows", "hide"]

HIDDEN = -1e4
"""Bias of a hidden key: exp(-10,000) is 0 in float32, and no NaN comes from it as from -inf."""


def forced_rows(edit: Edit, call: Call, kind: Kind) -> tuple[list[int], Float[Tensor, "row key"]]:
    """Return the queries whose rows an edit forces, and ln of the weights; 0 for equal weights.

    With a cache the queries of a call are the last tokens of the text, and rows of earlier tokens
    are left out.

    Raises:
        InputError: no row of the edit is in the text, or a row has weight on a key that its query
            cannot see.
    """
    queries, keys = call.query.shape[2], call.key.shape[2]
    device = call.query.device
    before = 0 if kind == "cross" else keys - queries  # tokens that were read before this call
    where = list(range(queries))
    weights = torch.zeros(queries, keys, dtype=torch.float64, device=device)
    if edit.action == "uniform":
        return where, weights.float()
    if edit.action == "first":
        weights[:, 0] = 1
    elif edit.action == "previous":
        for row in where:
            weights[row, max(before + row - 1, 0)] = 1
    else:
        given = {query - before: numbers for query, numbers in edit.rows}
        where = sorted(row for row in given if 0 <= row < queries)
        if not where and queries == keys:
            raise InputError(
                f"{edit.label}: the first is of query {min(given)}, and the text has {queries} "
                "tokens"
            )
        for row in where:
            weights[row] = _weights(given[row], row + before, keys).to(device)
        weights = weights[where]
    seen = (weights > 0)[None] & ~_visible(call)[:, where]
    if bool(seen.any()):
        _, row, key = seen.nonzero()[0].tolist()
        raise InputError(
            f"{edit.label}: query {where[row] + before} cannot see key {key} in this layer, so it "
            "can have no weight there"
        )
    return where, weights.log().clamp_min(HIDDEN).float()


def _weights(numbers: Sequence[float], query: int, keys: int) -> Float[Tensor, " key"]:
    """Return a row over all keys; keys after its last number have weight 0."""
    if any(one > 0 for one in numbers[keys:]):
        raise InputError(
            f"row {query} has weight on a key after the last one, and the text has {keys} tokens"
        )
    row = torch.zeros(keys, dtype=torch.float64)
    part = torch.tensor(numbers[:keys], dtype=torch.float64)
    row[: len(part)] = part
    return row


def _visible(call: Call) -> Bool[Tensor, "batch query key"]:
    """Return which keys each query sees; all of them for queries that are padding."""
    visible = call.visibility.table()
    real = call.visibility.keys
    if real is not None and real.shape[1] == visible.shape[1]:
        visible = visible | ~real[:, :, None]
    return visible


def hide(
    bias: Float[Tensor, "batch head query key"], edits: Sequence[Edit], queries: int, kind: Kind
) -> None:
    """Add `HIDDEN` to the scores of hidden keys, but for their queries; in place.

    Raises:
        InputError: the text has no such token, or no key is left.
    """
    keys = bias.shape[3]
    tokens: dict[int | None, set[int]] = {}
    for edit in edits:
        token = edit.token or 0
        # A prompt that is read with a cache may be shorter than a position that comes later.
        if token >= keys and (kind == "cross" or queries == keys):
            raise InputError(f"there is no token {token} to hide; the text has {keys} tokens")
        head = None if edit.head is None else edit.head.head
        tokens.setdefault(head, set()).add(token)
    for head, hidden in tokens.items():
        everywhere = tokens.get(None, set())
        if kind == "cross" and len(hidden | everywhere) >= keys:
            raise InputError("all tokens of the source are hidden, so no query sees a key")
        part = bias if head is None else bias[:, head : head + 1]
        for token in (one for one in hidden if one < keys):
            others = torch.ones(queries, dtype=torch.bool, device=bias.device)
            itself = token - (keys - queries)
            if kind != "cross" and 0 <= itself < queries:
                others[itself] = False
            part[:, :, others, token] += HIDDEN
