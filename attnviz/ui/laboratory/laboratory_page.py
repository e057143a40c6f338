"""Page with variants of efficient attention on queries, keys and values of the open head."""

from __future__ import annotations

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from attnviz import efficient
from attnviz.efficient import EfficientResult, Variant
from attnviz.efficient.knobs import knob
from attnviz.efficient.variant_errors import difference
from attnviz.errors import InputError
from attnviz.types import Tokens
from attnviz.ui.components.choices import choice
from attnviz.ui.explore.explore_page import read
from attnviz.ui.explore.head_picker import choose_kind, head_menus
from attnviz.ui.laboratory.cost_panel import show_all_variants, show_costs
from attnviz.ui.laboratory.head_vectors import LONGEST, HeadVectors, head_vectors, possible
from attnviz.ui.laboratory.pair_maps import show_changes, show_pairs
from attnviz.ui.laboratory.reach_panel import show_reach
from attnviz.ui.laboratory.tile_steps import show_rounds, show_tiles
from attnviz.ui.learn.lesson_button import lesson_button
from attnviz.ui.server.run_places import in_turn
from attnviz.ui.session.error_messages import explained, show_reason
from attnviz.ui.session.model_cache import Request, captured
from attnviz.ui.session.page_links import page_named
from attnviz.written_numbers import decimals, percent, significant

__all__ = ["laboratory"]

RELATIONS = {
    "exact": (":material/check_circle:", "Exact: the same result as softmax attention."),
    "approximate": (":material/blur_on:", "An approximation of softmax attention."),
    "another model": (
        ":material/alt_route:",
        "Another model, not an approximation of the softmax.",
    ),
}
MOVED = (
    "Half the sum of all differences of the weights, mean over the rows. With negative weights it "
    "can exceed 100%."
)
APART = "Length of the difference of all outputs, relative to the exact outputs."
VARIANT, SETTING = "variant", "setting"


def laboratory(request: Request) -> None:
    """Show the page for the text and the model of the side bar."""
    st.header("Efficient attention, on a real head", anchor=False)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.page_link(
            page_named("cache"),
            label="The cache: what it saves and costs",
            icon=":material/memory:",
        )
        lesson_button("efficient")
    read(request)
    _laboratory(request)


@st.fragment
@in_turn
@explained()
def _laboratory(request: Request) -> None:
    capture = captured(request)
    kind = choose_kind(capture.kinds)
    left, middle, right = st.columns([4, 4, 5], gap="medium", vertical_alignment="bottom")
    with left:
        variant = _choose_variant()
    with middle:
        options = _choose_setting(variant)
    with right:
        head = head_menus(capture, kind)
    stack = capture[kind]
    vectors = head_vectors(stack, head)
    first_line = st.empty()
    _notes(variant, vectors, stack.shape[2:])
    _say(first_line, variant, exact_here=False)
    if why := possible(variant, vectors):
        show_reason(why)
        return
    exact = vectors.run("exact")
    try:
        result = vectors.run(variant.name, **options)
    except InputError as error:
        show_reason(str(error))
        return
    _say(first_line, variant, exact_here=bool(result.exact))
    _figures(variant, result, exact)
    _sides(variant, vectors, result, exact, (stack.query_tokens, stack.key_tokens), options)


def _choose_variant() -> Variant:
    chosen = choice(
        "Variant",
        efficient.names(),
        VARIANT,
        first="window",
        shape="menu",
        label_of=lambda name: efficient.describe(name).label,
        link=True,
    )
    return efficient.describe(chosen)


def _choose_setting(variant: Variant) -> dict[str, int]:
    setting = knob(variant.name)
    if setting is None:
        st.caption("Nothing to set.")
        return {}
    chosen = st.select_slider(
        setting.label,
        setting.values,
        value=setting.start,
        key=f"{SETTING}:{variant.name}",
        persist_state="session",
        help=setting.meaning,
    )
    return {setting.name: int(chosen)}


def _say(place: DeltaGenerator, variant: Variant, *, exact_here: bool) -> None:
    """Write whether the variant is exact, in the first line."""
    icon, relation = RELATIONS[variant.relation]
    if exact_here and variant.relation == "approximate":
        icon, relation = RELATIONS["exact"][0], "Exact with this setting, on this text."
    place.markdown(f"{icon} **{relation}** {variant.meaning} ({variant.paper})")


def _notes(variant: Variant, vectors: HeadVectors, shape: tuple[int, ...]) -> None:
    if variant.caution:
        st.caption(variant.caution)
    if max(shape) > LONGEST:
        st.caption(f"The first {LONGEST} tokens are used here.")
    if not vectors.plain:
        st.caption(
            "This model changes its scores (a bias for the distance, a window, a cap or a sink). "
            "Here both sides are computed without that, from its queries, keys and values alone."
        )


def _figures(variant: Variant, result: EfficientResult, exact: EfficientResult) -> None:
    """Show four numbers of the variant beside exact attention."""
    pairs, all_pairs = int(np.sum(result.computed)), int(np.sum(exact.computed))
    one, two, three, four = st.columns(4)
    counted = variant.name not in (
        "linformer",
        "performer",
        "nystromformer",
        "linear",
        "state_space",
    )
    one.metric("Scores computed", f"{pairs:,} of {all_pairs:,}" if counted else "none")
    two.metric("Multiplications", f"{decimals(result.operations / exact.operations)} of exact")
    if variant.relation == "another model":
        return
    rows = difference(result, exact)
    three.metric("Weight on other keys", percent(float(rows.moved.mean())), help=MOVED)
    apart = np.linalg.norm(result.output - exact.output) / np.linalg.norm(exact.output)
    four.metric("Error of the outputs", significant(float(apart), 2), help=APART)


def _sides(
    variant: Variant,
    vectors: HeadVectors,
    result: EfficientResult,
    exact: EfficientResult,
    tokens: tuple[Tokens, Tokens],
    options: dict[str, int],
) -> None:
    sides = {
        "Pairs and weights": lambda: show_pairs(variant, result, exact, tokens, vectors.head),
        "What it changes": lambda: show_changes(
            variant, vectors, result, exact, tokens[0], options
        ),
        "What it costs": lambda: show_costs(variant, vectors, options),
    }
    if vectors.same_text:
        sides["How far it reaches"] = lambda: show_reach(variant, result, tokens[0])
    if variant.name == "flash":
        sides["Tile by tile"] = lambda: show_tiles(vectors, options["block"], *tokens)
    if variant.name == "ring":
        sides["Round by round"] = lambda: show_rounds(vectors, options["devices"])
    sides["All variants"] = lambda: show_all_variants(vectors)
    sides[choice("Show", list(sides), "lab_side", show_label=False, keep=False)]()
