"""Copying scores on page Patch: which heads raise the token that they look at."""

from __future__ import annotations

import numpy as np
import streamlit as st
from jaxtyping import Float

from attnviz.types import Head
from attnviz.ui.patch.effect_maps import show_head_values
from attnviz.ui.session.plain_text import show_plain
from attnviz.views.maps.map_specification import effect_specification
from attnviz.written_numbers import signed

__all__ = ["copying_words", "show_copying"]

MIDDLE = 0.3
"""Scores nearer to 0 are called neither. Of random matrices, 32 wide, they spread by about 0.05."""


def show_copying(scores: Float[np.ndarray, "layer head"], head: Head) -> None:
    """Show the copying score of every head, and in words that of one."""
    st.caption(
        "From weights alone: does looking at a token raise the same token's logit? 1: it does for "
        "all; −1: it lowers it for all; about 0: neither."
    )
    show_head_values(
        scores,
        effect_specification("copying", 1.0),
        head,
        key="patch_copying",
        alt="Copying score of each head, from weights alone",
    )
    show_plain(copying_words(head, float(scores[head.layer, head.head])))
    st.caption(
        "On the direct path alone, from embedding to logits. A head of a higher layer also reads "
        "what lower layers wrote, and may copy that. Patching shows what is used."
    )


def copying_words(head: Head, score: float) -> str:
    """Return what a head's score means, in a sentence."""
    if np.isnan(score):
        return f"{head.label} adds nothing to the stream, so it has no score."
    number = signed(score)
    if abs(score) < MIDDLE:
        return f"{head.label}: {number}. Looking at a token neither raises nor lowers it by much."
    does = "likelier" if score > 0 else "less likely"
    return f"{head.label}: {number}. Looking at a token makes this token {does}."
