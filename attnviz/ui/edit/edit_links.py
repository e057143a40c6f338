"""Edits in an address: short codes without any text.

Edits are joined by `~` and their parts by `_`: `zero_self_1_5`, `scale_self_1_5_-1.5`,
`hide_self_all_3`, `rows_self_1_5_8_0-0.25_3-0.75` (query 8 gives key 0 a quarter), `mask_3`.
Rows of another text need that text, which a link does not carry: `text_self_1_5`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple, get_args

from attnviz.errors import InputError
from attnviz.experiments.edits.edit_rules import Action, Edit, paint
from attnviz.types import Head, Kind
from attnviz.ui.edit.listed_edits import ListedEdit, MaskedToken, RowsOfText

__all__ = ["LARGEST_FACTOR", "MOST_EDITS", "LinkedEdits", "from_code", "to_code"]

MOST_EDITS = 12
"""Most edits in a list."""

LARGEST_FACTOR = 10.0
"""Largest size of a factor; far larger ones make outputs that are not finite."""

MOST_LETTERS = 8000  # of a code: a row of 1,024 keys
_NUMBER = re.compile(r"[0-9]{1,5}", re.ASCII)
_DECIMAL = re.compile(r"-?[0-9]{1,3}(\.[0-9]{1,6})?", re.ASCII)


class LinkedEdits(NamedTuple):
    """Edits that an address holds.

    Attributes:
        edits: those that can be read.
        unreadable: number of parts that are no edit.
        without_text: number of edits whose other text the link does not carry.
    """

    edits: tuple[ListedEdit, ...]
    unreadable: int = 0
    without_text: int = 0


def to_code(edits: Sequence[ListedEdit]) -> str:
    """Return the code of a list of edits."""
    return "~".join(_code(edit) for edit in edits)


def _code(edit: ListedEdit) -> str:
    if isinstance(edit, MaskedToken):
        return f"mask_{edit.token}"
    if isinstance(edit, RowsOfText):
        return f"text_{_head_code(edit.head)}"
    if edit.head is None:
        return f"hide_{edit.kind or 'self'}_all_{edit.token}"
    code = f"{edit.action}_{_head_code(edit.head)}"
    if edit.action == "scale":
        return f"{code}_{edit.factor:.6g}"
    if edit.action == "hide":
        return f"{code}_{edit.token}"
    if edit.action == "rows":
        query, weights = edit.rows[0]
        listed = [f"{key}-{weight:.4f}" for key, weight in enumerate(weights) if weight > 0]
        return "_".join([code, str(query), *listed])
    return code


def _head_code(head: Head) -> str:
    return f"{head.kind}_{head.layer}_{head.head}"


def from_code(code: str) -> LinkedEdits:
    """Return the edits of a code; what is no edit is counted and left out."""
    if len(code) > MOST_LETTERS:
        return LinkedEdits((), unreadable=1)
    edits: list[ListedEdit] = []
    unreadable = without_text = 0
    for part in code.split("~"):
        try:
            edit = _edit(part.split("_"))
        except (InputError, ValueError):
            unreadable += 1
            continue
        if edit is None:
            without_text += 1
        elif len(edits) < MOST_EDITS:
            edits.append(edit)
        else:
            unreadable += 1
    return LinkedEdits(tuple(edits), unreadable, without_text)


def _edit(parts: list[str]) -> ListedEdit | None:
    """Return the edit of a code's parts; None for rows of another text.

    Raises:
        InputError, ValueError: it is no edit.
    """
    action, *rest = parts
    if action == "mask":
        (token,) = rest
        return MaskedToken(_whole(token))
    kind, layer, last, *rest = rest
    if kind not in get_args(Kind):
        raise ValueError(kind)
    if action == "hide" and layer == "all":
        if rest:
            raise ValueError(rest)
        return Edit("hide", token=_whole(last), kind=kind)  # type: ignore[arg-type]
    head = Head(kind, _whole(layer), _whole(last))  # type: ignore[arg-type]
    if action == "text" and not rest:
        return None
    if action == "scale":
        (factor,) = rest
        if not _DECIMAL.fullmatch(factor) or abs(float(factor)) > LARGEST_FACTOR:
            raise ValueError(factor)
        return Edit("scale", head, factor=float(factor))
    if action == "hide":
        (token,) = rest
        return Edit("hide", head, token=_whole(token))
    if action == "rows":
        return _painted(head, rest)
    if rest or action not in get_args(Action):
        raise ValueError(action)
    return Edit(action, head)  # type: ignore[arg-type]


def _painted(head: Head, parts: list[str]) -> Edit:
    weights: dict[int, float] = {}
    for pair in parts[1:]:
        key, weight = pair.split("-")
        if not _DECIMAL.fullmatch(weight):
            raise ValueError(weight)
        weights[_whole(key)] = float(weight)
    row = [weights.get(key, 0.0) for key in range(max(weights, default=-1) + 1)]
    return paint(head, {_whole(parts[0]): row})


def _whole(text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise ValueError(text)
    return int(text)
