"""The badge that says how exact the picture is, and what was compared."""

from __future__ import annotations

import math

import streamlit as st

from attnviz.types import Proof
from attnviz.ui.caches import Request, proved
from attnviz.ui.messages import plain

__all__ = ["proof_badge"]


def proof_badge(request: Request) -> None:
    """In the side bar, after the page is drawn: nobody waits for the proof to see the picture."""
    with st.sidebar, st.spinner("Comparing with the library …", show_time=False):
        proof, first = proved(request)
    with st.sidebar:
        if proof.holds:
            st.badge(
                f"exact to {proof.weights:.0e}",
                icon=":material/verified:",
                color="green",
                help=_compared(proof, first),
            )
        else:
            st.badge(
                "not proved", icon=":material/gpp_bad:", color="red", help=_compared(proof, first)
            )
            for sentence in proof.broken:
                st.error(plain(sentence))


def _compared(proof: Proof, first: int | None) -> str:
    rows = [
        ("Largest difference of a weight", proof.weights, plain(proof.worst.label)),
        ("Largest weight on an invisible key", proof.leak, ""),
        ("Largest error of a row's sum", proof.row_sum, ""),
        ("Largest difference of an output, relative", proof.logits, ""),
        ("Weights × values against the attention's output, relative", proof.reconstruction, ""),
    ]
    lines = [
        f"- {name}: " + ("not compared" if math.isnan(value) else f"{value:.1e} {where}".strip())
        for name, value, where in rows
    ]
    head = "The same input was run through the library's own eager attention, side by side."
    if first is not None:
        head = (
            f"The first {first:,} tokens of this text were run through the library's own eager "
            "attention, side by side; for all of it that would hold all weights of a layer "
            "in memory. The numbers on this page come from the whole text by the same way."
        )
    return head + "\n\n" + "\n".join(lines)
