"""Alignment of the two texts of page Patch: both as tokens, those without a partner, the marks."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from attnviz import words
from attnviz.errors import InputError
from attnviz.experiments.patching.text_alignment import Alignment, Partners
from attnviz.experiments.patching.text_pair import TextPair
from attnviz.models import Model, labels
from attnviz.ui.components.figures_and_tables import show_table
from attnviz.ui.components.plotly_map import labels_digest
from attnviz.ui.session.plain_text import Strong, show_plain

__all__ = ["aligned", "alignment_table"]


def aligned(model: Model, pair: TextPair) -> TextPair:
    """Show both texts as tokens, and return the pair with the tokens that are marked.

    Tokens are marked where the texts have unequal numbers of tokens.

    Raises:
        InputError: unequal numbers of tokens are marked, or they are not in one order.
    """
    sides = [labels(model.vocabulary, one.ids) for one in (pair.clean, pair.corrupted)]
    place = st.container()
    if len(sides[0]) == len(sides[1]):
        with place:
            _show_tokens(pair, sides)
        return pair
    table = st.expander("Which token belongs to which")
    with table:
        marks = _marks(sides)
    pair = TextPair(pair.clean, pair.corrupted, (*pair.marks, *marks))
    alignment = pair.texts()
    with place:
        _show_tokens(pair, sides)
        _show_alone(alignment, sides)
    with table:
        show_table(
            alignment_table(alignment, sides),
            key="patch_alignment",
            filename="attnviz-alignment",
        )
    return pair


def alignment_table(alignment: Alignment, sides: Sequence[Sequence[str]]) -> pd.DataFrame:
    """Return a row per token of the clean text, then a row per corrupted one without a partner."""
    clean, corrupted = sides
    partners = dict(alignment.pairs)
    rows = [(at, label, partners.get(at)) for at, label in enumerate(clean)]
    table = [
        (str(at), label, *(("–", "–") if other is None else (str(other), corrupted[other])))
        for at, label, other in rows
    ]
    table += [("–", "–", str(at), corrupted[at]) for at in alignment.alone()[1]]
    return pd.DataFrame(
        table, columns=["position", "clean token", "corrupted position", "corrupted token"]
    )


def _marks(sides: Sequence[Sequence[str]]) -> tuple[Partners, ...]:
    """Show the fields in which tokens are marked, and return the pairs of positions.

    Raises:
        InputError: unequal numbers of tokens are marked.
    """
    st.caption(
        "Common tokens are partners, and tokens replaced one by one. Mark others that belong "
        "together: the first with the first, and so on."
    )
    texts = labels_digest(*sides)
    chosen: list[list[int]] = []
    for name, side, column in zip(
        ("clean", "corrupted"), sides, st.columns(2, gap="medium"), strict=True
    ):
        named = [f"{at} {label}" for at, label in enumerate(side)]
        with column:
            positions: list[int] = st.multiselect(
                f"Marked in the {name} text",
                range(len(side)),
                format_func=named.__getitem__,
                key=f"patch_marks_{name}:{texts}",
                wrap=True,
                persist_state="session",
            )
        chosen.append(sorted(positions))
    if len(chosen[0]) != len(chosen[1]):
        raise InputError(
            f"{len(chosen[0])} tokens are marked in the clean text and {len(chosen[1])} in the "
            "corrupted one; mark equal numbers"
        )
    return tuple(zip(*chosen, strict=True))


def _show_tokens(pair: TextPair, sides: Sequence[Sequence[str]]) -> None:
    """Show the tokens of both texts, with those that differ from their partners in bold."""
    same = [
        (one, other)
        for one, other in pair.texts().pairs
        if pair.clean.ids[one] == pair.corrupted.ids[other]
    ]
    for number, (name, side) in enumerate(zip(("Clean", "Corrupted"), sides, strict=True)):
        equal = {places[number] for places in same}
        parts = [label if at in equal else Strong(label) for at, label in enumerate(side)]
        between = [piece for part in parts for piece in (part, " ")]
        show_plain(f"{name}, {len(side)} tokens: ", *between, small=True)


def _show_alone(alignment: Alignment, sides: Sequence[Sequence[str]]) -> None:
    """Name the tokens without a partner, and say what this means."""
    named = [
        ", ".join(f"{words.quoted(side[at])} ({at})" for at in alone) or "none"
        for side, alone in zip(sides, alignment.alone(), strict=True)
    ]
    show_plain(
        f"The texts have {len(sides[0])} and {len(sides[1])} tokens. Without a partner: clean ",
        Strong(named[0]), "; corrupted ", Strong(named[1]), ".", small=True,
    )  # fmt: skip
    st.caption(
        "Only tokens with a partner are patched. What the others bring stays as it is in the "
        "corrupted run."
    )
