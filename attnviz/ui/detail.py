"""One head, from every side: its map, its vectors, its rows, in words and numbers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import streamlit as st
from jaxtyping import Float, Int

from attnviz import metrics, words
from attnviz.attention import AttentionStack
from attnviz.captures import Capture
from attnviz.summary import summarize
from attnviz.types import KIND_LABELS, Head, Prediction, Tokens
from attnviz.ui import state
from attnviz.ui.caches import Request
from attnviz.ui.messages import plain
from attnviz.ui.pictures import show_picture, show_table, table_download
from attnviz.ui.theme import current_theme
from attnviz.ui.token_strip import token_strip
from attnviz.views import draw_products, draw_rows, draw_vectors, draw_weights
from attnviz.views.weights import Scale

__all__ = ["head_title", "ranks", "show_head", "weights_table"]

VECTORS = {"query": "Queries", "key": "Keys", "value": "Values", "products": "Query × key"}
HOVER_TOKENS = 128  # up to here the map carries scores and ranks for its hover
SCALES: dict[Scale, str] = {"linear": "Linear", "log": "Logarithmic", "hide_sinks": "Without sinks"}


def head_title(stack: AttentionStack, head: Head) -> None:
    """The head's name, and in one sentence what it does."""
    st.subheader(f"{head.label} · {KIND_LABELS[head.kind]}", anchor=False)
    st.markdown("This head " + plain(words.headline(stack, head.layer, head.head)) + ".")


def show_head(capture: Capture, request: Request, head: Head, metric: str) -> None:
    """The chosen head in the view the person wants: only that one is drawn and sent."""
    stack = capture[head.kind]
    left, right = st.columns([5, 1])
    with left:
        head_title(stack, head)
    with right:
        st.button(
            "Pin",
            icon=":material/keep:",
            on_click=state.pin,
            args=(request, head),
            help="Remember this head, on this text and model, for the Compare page.",
        )
    parts: dict[str, Callable[[], None]] = {
        "Weights": lambda: _weights(stack, head),
        "Queries and keys": lambda: _vectors(stack, head),
        "Row by row": lambda: _rows(stack, head, metric),
        "Numbers": lambda: _numbers(capture, head),
    }
    part = st.segmented_control(
        "Show",
        list(parts),
        default="Weights",
        key="part",
        required=True,
        persist_state="session",
        label_visibility="collapsed",
    )
    parts[part]()


def ranks(weights: Float[np.ndarray, "query key"]) -> Int[np.ndarray, "query key"]:
    """The place of each key in its row: 1 is the largest weight."""
    order = np.argsort(-weights, axis=1, kind="stable")
    places = np.empty_like(order)
    np.put_along_axis(places, order, np.arange(1, weights.shape[1] + 1)[None, :], axis=1)
    return places


def weights_table(
    weights: Float[np.ndarray, "query key"], query_tokens: Tokens, key_tokens: Tokens
) -> pd.DataFrame:
    """A map as a table: a row per query, its tokens numbered so that none is mistaken."""
    return pd.DataFrame(
        weights,
        index=[f"{place} {label}" for place, label in enumerate(query_tokens.labels)],
        columns=[f"{place} {label}" for place, label in enumerate(key_tokens.labels)],
    )


def _weights(stack: AttentionStack, head: Head) -> None:
    weights = stack.weights(head.layer, head.head)
    picture = st.container()
    left, right = st.columns([3, 2], vertical_alignment="center")
    scale: Scale = left.segmented_control(
        "Colours",
        list(SCALES),
        default="linear",
        format_func=SCALES.__getitem__,
        key="scale",
        required=True,
        persist_state="session",
        label_visibility="collapsed",
        help="Logarithmic shows small weights; without sinks the colours span what is left when "
        "the keys that take most of the weight are set aside.",
    )
    scores = stack.scores(head.layer, head.head)
    small = max(weights.shape) <= HOVER_TOKENS
    figure = draw_weights(
        weights if small else np.where(np.isneginf(scores), np.nan, weights),
        stack.query_tokens,
        stack.key_tokens,
        scores=scores if small else None,
        ranks=ranks(weights) if small else None,
        theme=current_theme(),
        scale=scale,
        selected_query=st.session_state.get("token"),
    )
    name = f"attnviz-{head.kind}-L{head.layer}H{head.head}"
    with picture:
        if head.kind in ("decoder", "cross"):
            st.caption("Each row is the token just read; it looks while the next one is chosen.")
        show_picture(
            figure,
            key="weights",
            filename=name,
            alt=f"{head.label} {words.headline(stack, head.layer, head.head)}",
        )
    with right:
        table_download(
            weights_table(weights, stack.query_tokens, stack.key_tokens),
            key="weights:csv",
            filename=name,
            label="Weights as CSV",
            index=True,
        )


def _vectors(stack: AttentionStack, head: Head) -> None:
    vectors = {"query": stack.query, "key": stack.key, "value": stack.value}
    chosen = st.segmented_control(
        "Vectors",
        [*vectors, "products"],
        default="products",
        format_func=VECTORS.__getitem__,
        key="vectors",
        required=True,
        persist_state="session",
        label_visibility="collapsed",
    )
    name = f"attnviz-{chosen}-L{head.layer}H{head.head}"
    if chosen in vectors:
        tokens = stack.query_tokens if chosen == "query" else stack.key_tokens
        figure = draw_vectors(
            vectors[chosen](head.layer, head.head), tokens, label=chosen, theme=current_theme()
        )
        show_picture(
            figure,
            key="vector_map",
            filename=name,
            alt=f"The {chosen} vectors of {head.label}, one row per token",
        )
        return
    token = min(st.session_state.get("token") or 0, len(stack.query_tokens) - 1)
    label = stack.query_tokens.labels[token]
    st.caption(
        "The score of a key is the sum of these products, one per dimension (and a position bias "
        f"in some models). Query: {plain(words.quoted(label))} at position {token}; click another "
        "token below."
    )
    figure = draw_products(
        stack.query(head.layer, head.head)[token],
        stack.key(head.layer, head.head),
        stack.key_tokens,
        scaling=stack.layers[head.layer].scaling,
        query_label=label,
        theme=current_theme(),
    )
    show_picture(
        figure,
        key="products",
        filename=name,
        alt=f"Products of query and keys of {head.label}, one row per key",
    )


def _rows(stack: AttentionStack, head: Head, metric: str) -> None:
    what = metrics.describe(metric)
    values = metrics.per_row(metric, stack)[head.layer, head.head]
    low, high = what.limits
    figure = draw_rows(
        values,
        stack.query_tokens,
        label=what.label,
        unit=what.unit,
        limits=(low, high) if low is not None and high is not None else None,
        selected=st.session_state.get("token"),
        theme=current_theme(),
    )
    st.caption(f"{what.label} of every row of this head. {what.meaning}")
    show_picture(
        figure,
        key="rows",
        filename=f"attnviz-{metric}-L{head.layer}H{head.head}",
        alt=f"{what.label} of {head.label}, one bar per token",
    )
    table_download(
        pd.DataFrame({"token": stack.query_tokens.labels, metric: values}),
        key="rows:csv",
        filename=f"attnviz-{metric}-L{head.layer}H{head.head}",
    )


def _numbers(capture: Capture, head: Head) -> None:
    stack = capture[head.kind]
    table = pd.DataFrame(
        [
            {
                "metric": one.label,
                "value": words.number(one.value, one.unit),
                "rank": f"{one.rank} of {one.of}" if one.of and not np.isnan(one.value) else "",
                "what it says": one.meaning,
            }
            for one in words.numbers(stack, head.layer, head.head)
        ]
    )
    show_table(table, key="numbers", filename=f"attnviz-numbers-L{head.layer}H{head.head}")
    with st.expander("All heads as a table"):
        show_table(summarize(capture), key="summary", filename="attnviz-all-heads")


def show_tokens(capture: Capture, head: Head) -> None:
    """The text as tokens: click one to see where it looks and who looks at it."""
    stack = capture[head.kind]
    weights = stack.weights(head.layer, head.head)
    visible = ~np.isneginf(stack.scores(head.layer, head.head))
    remembered = st.session_state.get("token")
    if remembered is not None and remembered >= len(stack.query_tokens):
        remembered = None
    token = token_strip(
        stack.query_tokens,
        stack.key_tokens,
        np.where(visible, weights, np.nan),
        selected=remembered,
        key="token_strip",
    )
    if token != remembered:
        st.session_state["token"] = token
        st.rerun(scope="fragment")
    if token is None:
        return
    _token_in_words(stack, weights, token)
    position_side = capture.kinds[0] if len(capture.kinds) == 1 else "decoder"
    if capture.predictions and head.kind in (position_side, "cross"):
        _prediction(capture, token)


def _token_in_words(
    stack: AttentionStack, weights: Float[np.ndarray, "query key"], token: int
) -> None:
    label = plain(words.quoted(stack.query_tokens.labels[token]))
    left, right = st.columns(2)
    left.markdown(f"**{label} looks at** " + _listed(words.looks(weights[token], stack.key_tokens)))
    if stack.same_text:
        seen = words.looks(weights[:, token], stack.query_tokens)
        right.markdown(f"**{label} is looked at by** " + _listed(seen))


def _listed(found: tuple[words.Look, ...]) -> str:
    if not found:
        return "nothing"
    return ", ".join(f"{plain(words.quoted(one.label))} ({one.weight:.2f})" for one in found)


def _prediction(capture: Capture, token: int) -> None:
    expected: Prediction = capture.predictions[token]
    what = "this token" if capture.model.family == "encoder" else "the next token"
    chances = ", ".join(
        f"{plain(words.quoted(label))} {chance:.0%}"
        for label, chance in zip(expected.labels, expected.probabilities, strict=True)
    )
    loss = float(capture.losses[token])
    cost = "" if np.isnan(loss) else f" What came cost {loss:.2f} nats."
    st.caption(f"For {what} the model expects: {chances}.{cost}")
