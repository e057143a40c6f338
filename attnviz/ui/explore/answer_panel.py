"""Answer about the chosen token: where it looks, and what the model predicts there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import streamlit as st
from jaxtyping import Float

from attnviz import words
from attnviz.attention.stack.map_axes import MapAxes
from attnviz.captures.forward_pass import Capture
from attnviz.types import Head, Prediction, Tokens
from attnviz.ui.components.token_bars import token_bars
from attnviz.ui.explore.head_removal import without_head
from attnviz.ui.explore.token_panel import TokenChoice
from attnviz.ui.session.model_cache import Request, load_model
from attnviz.ui.session.plain_text import Strong, show_plain
from attnviz.ui.session.request_ids import EDITED_TOKENS
from attnviz.written_numbers import decimals, nats, percent

__all__ = ["show_answer"]

CANDIDATES = 5
"""Tokens with a bar."""


def show_answer(
    capture: Capture, request: Request, head: Head, token: TokenChoice, axes: MapAxes
) -> None:
    """Show what is predicted at the chosen token, or at a first one, and where the chosen looks."""
    side = capture.kinds[0] if len(capture.kinds) == 1 else "decoder"
    if capture.predictions and head.kind in (side, "cross"):
        position = _first_shown(capture, request) if token.position is None else token.position
        _prediction(capture, request, head, position)
    if token.position is not None:
        _looks(axes, head, axes.queries.index_of(token.position), places=not token.whole)


def _first_shown(capture: Capture, request: Request) -> int:
    """Return the position whose prediction is shown before a token is chosen.

    The last one of a decoder. Of an encoder the first mask, or the first token that is not
    special: what it predicts at its last token, [SEP], means nothing.
    """
    tokens = capture[capture.kinds[-1]].query_tokens
    if capture.model.family != "encoder":
        return len(tokens) - 1
    vocabulary = load_model(request.model).vocabulary
    mask = None if vocabulary is None else vocabulary.mask_token_id
    for places in (tokens.ids == mask, ~tokens.special):
        if places.any():
            return int(places.argmax())
    return 0


def _looks(axes: MapAxes, head: Head, row: int, *, places: bool) -> None:
    """Show where a token or word looks, and what looks at it."""
    queries, keys = axes.queries.tokens, axes.keys.tokens
    label = words.quoted(queries.labels[row])
    one = slice(row, row + 1)
    looks = axes.weights(head, rows=one)[0]
    show_plain(Strong(f"{label} looks at"), f" {_listed(looks, keys, places)}")
    if axes.stack.same_text:
        seen: Float[np.ndarray, " query"] = axes.weights(head, columns=one)[:, 0]
        listed = _listed(seen, queries, places)
        show_plain(Strong(f"{label} is looked at by"), f" {listed}")


def _listed(weights: Float[np.ndarray, " position"], tokens: Tokens, places: bool) -> str:
    """Return the tokens and their weights; of a long text their positions too."""
    if not np.isfinite(weights).all():
        return "not defined (NaN)"
    looks = words.looks(weights, tokens)
    if not looks:
        return "nothing"
    return ", ".join(
        words.quoted(one.label)
        + (f" at {one.position:,}" if places else "")
        + f" ({decimals(one.weight)})"
        for one in looks
    )


def _prediction(capture: Capture, request: Request, head: Head, token: int) -> None:
    """Draw the likeliest tokens at a position, on demand beside those without the head."""
    expected: Prediction = capture.predictions[token]
    if not expected.labels:
        st.caption("What the model expects here is not defined: its logits are NaN or infinite.")
        return
    encoder = capture.model.family == "encoder"
    bars: dict[str, Sequence[float]] = {"all heads": list(expected.probabilities)}
    shown: Sequence[str] = expected.labels
    place = st.container(key="next_token", gap=None)
    with place, st.container(horizontal=True, vertical_alignment="center"):
        label = words.quoted(capture[head.kind].query_tokens.labels[token])
        show_plain(Strong(f"In place of {label}" if encoder else "Next token"))
        off = st.toggle(
            f"without {head.label}",
            key="without_head",
            disabled=not _can_edit(capture),
            help="The model reads the text again, with the output of this head set to 0.",
        )
    if off and _can_edit(capture):
        effect = without_head(request, head, token)
        ordered = effect.candidates[:CANDIDATES]
        shown = [one.label for one in ordered]
        bars = {
            "all heads": [one.before for one in ordered],
            f"without {head.label}": [one.after for one in ordered],
        }
    with place:
        token_bars(
            shown[:CANDIDATES], {k: v[:CANDIDATES] for k, v in bars.items()}, key="candidates"
        )
    loss = float(capture.losses[token])
    if not np.isnan(loss):
        came = (
            f"The word that came had probability {percent(np.exp(-loss))} (loss {nats(loss)} nats)"
        )
        without = float(effect.after[token]) if off and _can_edit(capture) else np.nan
        if np.isfinite(without):
            came += f"; without {head.label} {percent(np.exp(-without))} ({nats(without)} nats)"
        show_plain(f"{came}.", small=True)


def _can_edit(capture: Capture) -> bool:
    """Return whether the text is short enough to be read again."""
    return all(max(capture[kind].shape[2:]) <= EDITED_TOKENS for kind in capture.kinds)
