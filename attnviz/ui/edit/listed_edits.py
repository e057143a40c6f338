"""Edits as the page lists them: of attention, of the text, and with rows of another text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from attnviz import words
from attnviz.errors import InputError
from attnviz.experiments.edits.edit_rules import Edit, check_edit, check_head, rows_of_text
from attnviz.experiments.edits.masked_tokens import mask_id
from attnviz.models import Model
from attnviz.types import Head, Kind, Tokens
from attnviz.ui.session.model_cache import CHARACTERS_PER_TOKEN
from attnviz.ui.session.request_ids import EDITED_TOKENS
from attnviz.written_numbers import decimals

__all__ = [
    "ListedEdit",
    "MaskedToken",
    "RowsOfText",
    "Sides",
    "attention_edits",
    "check_listed",
    "edited_head",
    "listed_label",
    "masked_positions",
]

Sides = Mapping[Kind, tuple[Tokens, Tokens]]
"""Query tokens and key tokens of each kind of attention."""

SHOWN = 40  # letters of another text in the list


@dataclass(frozen=True)
class MaskedToken:
    """Token of the text that is replaced by the mask token."""

    token: int


@dataclass(frozen=True)
class RowsOfText:
    """Edit that gives a head the rows that it has on another text with as many tokens.

    Attributes:
        head: whose rows.
        text: the other text; what the encoder reads.
        target: what the decoder writes; empty where the model writes it.
    """

    head: Head
    text: str
    target: str = ""


ListedEdit = Edit | MaskedToken | RowsOfText


def edited_head(edit: ListedEdit) -> Head | None:
    """Return the head that an edit is of; None for edits of a token."""
    return None if isinstance(edit, MaskedToken) else edit.head


def listed_label(edit: ListedEdit, sides: Sides) -> str:
    """Return a short description of an edit, with the words of the text."""
    if isinstance(edit, MaskedToken):
        return f"{_token(edit.token, next(iter(sides.values()))[1])} is masked"
    if isinstance(edit, RowsOfText):
        text = edit.text if len(edit.text) <= SHOWN else f"{edit.text[: SHOWN - 1]}…"
        return f"{edit.head.label}: the rows it has on “{text}”"
    if edit.action == "hide":
        kind = _kind(edit, sides)
        where = "all heads" if edit.head is None else edit.head.label
        if edit.head is None and len(sides) > 1:
            where = f"all {kind} heads"
        tokens = sides.get(kind, next(iter(sides.values())))[1]
        return f"{_token(edit.token or 0, tokens)} is hidden from {where}"
    if edit.action == "rows" and edit.head is not None and edit.head.kind in sides:
        query, weights = edit.rows[0]
        queries, keys = sides[edit.head.kind]
        named = ", ".join(
            f"{_token(key, keys)} {decimals(weight)}"
            for key, weight in enumerate(weights)
            if weight > 0
        )
        return f"{edit.head.label}: {_token(query, queries)} looks at {named}"
    return edit.label


def _kind(edit: Edit, sides: Sides) -> Kind:
    """Return the kind of attention that an edit is of; the model's first where it names none."""
    if edit.head is not None:
        return edit.head.kind
    return next(iter(sides)) if edit.kind is None else edit.kind


def _token(position: int, tokens: Tokens) -> str:
    if position >= len(tokens):
        return f"token {position}"
    return f"{words.quoted(tokens.labels[position])} ({position})"


def check_listed(model: Model, edit: ListedEdit, sides: Sides) -> None:
    """Refuse edits that do not fit the model or the length of the text.

    Raises:
        InputError: no such head, kind or token, or a model without a mask token.
    """
    if isinstance(edit, MaskedToken):
        if mask_id(model) is None:
            raise InputError(f"{model.info.name} has no mask token; choose a model such as BERT")
        _check_position(edit.token, next(iter(sides.values()))[1], "token")
    elif isinstance(edit, RowsOfText):
        check_head(model, edit.head)
    else:
        check_edit(model, edit)
        queries, keys = sides[_kind(edit, sides)]
        if edit.token is not None:
            _check_position(edit.token, keys, "token")
        for query, _ in edit.rows:
            _check_position(query, queries, "query")


def _check_position(position: int, tokens: Tokens, name: str) -> None:
    if position >= len(tokens):
        raise InputError(f"there is no {name} {position}; the text has {len(tokens)} tokens")


def masked_positions(edits: Sequence[ListedEdit]) -> tuple[int, ...]:
    """Return the positions that are masked, each once."""
    return tuple(sorted({edit.token for edit in edits if isinstance(edit, MaskedToken)}))


def attention_edits(
    model: Model, edits: Sequence[ListedEdit], sides: Sides, *, begin: bool
) -> tuple[Edit, ...]:
    """Return the edits of attention, with the rows of other texts read.

    Args:
        model: reads the other texts.
        edits: of the list, in their order.
        sides: tokens of the text that is edited.
        begin: whether a decoder's text starts with the begin token.

    Raises:
        AttnvizError: another text cannot be read, or has another number of tokens.
    """
    return tuple(
        _rows(model, edit, sides, begin) if isinstance(edit, RowsOfText) else edit
        for edit in edits
        if not isinstance(edit, MaskedToken)
    )


def _rows(model: Model, edit: RowsOfText, sides: Sides, begin: bool) -> Edit:
    if not edit.text.strip():
        raise InputError("type the other text: at least one word")
    most = CHARACTERS_PER_TOKEN * EDITED_TOKENS
    for text in (edit.text, edit.target):
        if len(text) > most:
            raise InputError(
                f"the other text has {len(text):,} characters, and {most:,} are read; shorten it"
            )
    target = edit.target if edit.target.strip() else None
    rows = rows_of_text(model, edit.head, model.prompt + edit.text, target=target, begin=begin)
    given = (len(rows.rows), len(rows.rows[0][1]))
    queries, keys = sides[edit.head.kind]
    if given != (len(queries), len(keys)):
        sizes = [
            f"{size[1]} tokens" if size[0] == size[1] else f"{size[0]} rows of {size[1]} tokens"
            for size in (given, (len(queries), len(keys)))
        ]
        raise InputError(
            f"the other text has {sizes[0]}, and this one has {sizes[1]}; give a text of equal "
            "length"
        )
    return rows
