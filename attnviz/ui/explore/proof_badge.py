"""Badge that says how exact the picture is, and what was compared."""

from __future__ import annotations

import math

import streamlit as st

from attnviz.types import Proof
from attnviz.ui.components.timer import look_again
from attnviz.ui.jobs.proofs import next_look, proof_of
from attnviz.ui.session.error_messages import explained
from attnviz.ui.session.model_cache import Request
from attnviz.ui.session.plain_text import plain
from attnviz.written_numbers import scientific

__all__ = ["proof_badge"]

RUNNING = (
    "The same input is being run through the library's own eager attention; the largest difference "
    "is shown here in a moment."
)


def proof_badge(request: Request) -> None:
    """Show the proof in the side bar; the picture does not wait for it."""
    with st.sidebar:
        _badge(request)


@st.fragment
@explained()
def _badge(request: Request) -> None:
    """Show the proof once it is there, and look again until then."""
    job = proof_of(request)
    if job.error is not None:
        raise job.error
    if job.value is None:
        st.badge("proof is running", icon=":material/hourglass:", color="gray", help=RUNNING)
        look_again(next_look(job), key="proof_timer")
        return
    proof, first = job.value
    if proof.holds:
        st.badge(
            f"exact to {scientific(proof.weights)}",
            icon=":material/verified:",
            color="green",
            help=_compared(proof, first),
        )
        return
    st.badge(
        "NaN or infinity" if proof.not_finite else "not proved",
        icon=":material/gpp_bad:",
        color="red",
        help=_compared(proof, first),
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
        f"- {name}: "
        + ("not compared" if math.isnan(value) else f"{scientific(value, 1)} {where}".strip())
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
