"""Controls of how the next token is chosen."""

from __future__ import annotations

import streamlit as st

from attnviz.experiments.generation.sampling import Sampling
from attnviz.models import Model
from attnviz.ui.components.choices import choice

__all__ = ["MOST_NEW", "choose_count", "choose_sampling"]

MOST_NEW = 200
"""Most tokens that are generated at once."""

WAYS = {"greedy": "The likeliest token", "sample": "Draw"}


def choose_sampling(model: Model) -> Sampling:
    """Show the controls and return the settings."""
    way = choice(
        "Next token",
        WAYS,
        "sampling",
        link=True,
        explanation="The likeliest token each time (greedy), or a token drawn at random with its "
        "probability.",
    )
    penalty = _penalty(model)
    if way == "greedy":
        return Sampling(repetition_penalty=penalty)
    one, two, three, four = st.columns(4)
    temperature = one.slider(
        "Temperature", 0.1, 2.0, 1.0, 0.1, key="temperature", persist_state="session",
        help="Divides the scores before the softmax: below 1 likely tokens become likelier.",
    )  # fmt: skip
    top_k = two.number_input(
        "Top-k", 0, 10_000, 0, key="top_k", persist_state="session",
        help="Draw from this many likeliest tokens; 0 for all.",
    )  # fmt: skip
    top_p = three.slider(
        "Top-p", 0.05, 1.0, 1.0, 0.05, key="top_p", persist_state="session",
        help="Draw from the fewest likeliest tokens with this share of the probability.",
    )  # fmt: skip
    seed = four.number_input(
        "Seed", 0, 1_000_000, 0, key="generation_seed", persist_state="session",
        help="Equal seeds draw equal tokens.",
    )  # fmt: skip
    return Sampling(True, float(temperature), int(top_k), float(top_p), penalty, int(seed))


def _penalty(model: Model) -> float:
    """Return the model's repetition penalty where the switch is on; 1 otherwise."""
    settings = getattr(model.network, "generation_config", None)
    given = getattr(settings, "repetition_penalty", None) or 1.0
    if given == 1.0:
        return 1.0
    on = st.toggle(
        f"Repetition penalty {given:g}",
        value=False,
        key="repetition_penalty",
        persist_state="session",
        help="A setting that the model comes with: scores of tokens that occurred are lowered.",
    )
    return float(given) if on else 1.0


def choose_count(room: int) -> int:
    """Show the number of tokens to generate, at most `room`, and return it."""
    most = max(min(MOST_NEW, room), 1)
    return int(
        st.number_input(
            f"New tokens (at most {most})",
            1,
            most,
            min(20, most),
            key=f"new_tokens:{most}",
            help=f"At most {MOST_NEW} at once, and no more than the model has positions.",
        )
    )
