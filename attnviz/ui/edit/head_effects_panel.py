"""Effect of each head on the prediction: a map to choose a head from, and edits to begin with."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import streamlit as st
from jaxtyping import Float

from attnviz import words
from attnviz.attention.stack.map_tiles import Grid
from attnviz.experiments.edits.edit_rules import Edit
from attnviz.experiments.edits.heads_off import divergence_without_heads
from attnviz.experiments.edits.masked_tokens import mask_id
from attnviz.findings import Progress
from attnviz.models import Model
from attnviz.types import Head, Metric, Tokens
from attnviz.ui.components.plotly_map import plotly_map
from attnviz.ui.edit.edit_list import change
from attnviz.ui.edit.edit_runs import HeadEffects, edit_effect, head_effects
from attnviz.ui.edit.edit_sentences import change_sentence
from attnviz.ui.edit.listed_edits import ListedEdit, MaskedToken, listed_label
from attnviz.ui.jobs.background_jobs import Work
from attnviz.ui.jobs.long_jobs import wait_for
from attnviz.ui.server.run_places import giving_way_by_count, takes_a_moment
from attnviz.ui.session import state
from attnviz.ui.session.model_cache import Request
from attnviz.ui.session.plain_text import plain, show_plain
from attnviz.ui.session.request_ids import request_ids
from attnviz.views.maps.map_specification import head_specification

__all__ = ["all_head_effects", "best_position", "show_head_effects", "show_suggestions"]

EFFECT = Metric(
    "effect",
    "KL without the head",
    "nats",
    "Divergence of the prediction here when this head is off.",
    (0.0, None),
    "changes the prediction by {value}",
)

TOGETHER = ("induction", "alignment", "same_word", "previous_token", "duplicate")
"""Roles whose heads are suggested together."""


def all_head_effects(model: Model, request: Request, tokens: int) -> HeadEffects | None:
    """Return the effect of every head: at once for a short text, else once a job has finished.

    Args:
        model: of the request.
        request: model and text.
        tokens: number of tokens of the text.
    """
    heads = sum(layers * count for layers, count in model.info.heads.values())
    if takes_a_moment(model, heads, tokens):
        return head_effects(request)

    def work() -> Work[HeadEffects]:
        encoded = request_ids(request)

        def run(progress: Callable[[Progress], None]) -> HeadEffects:
            counted = giving_way_by_count(progress, "Head")
            return divergence_without_heads(model, encoded, progress=counted)

        return run

    above = st.container()
    effects: HeadEffects | None = wait_for(
        ("heads", model.info.name, model.info.revision, request), work, "Measure every head"
    )
    if effects is None:
        above.caption(f"Which of the {heads} heads matter here? A run without each will show it.")
    return effects


def best_position(model: Model, request: Request, effects: HeadEffects | None, count: int) -> int:
    """Return the position where the heads matter most.

    Args:
        model: of the request.
        request: model and text.
        effects: of all heads; None while they are not measured, then the heads of one known job.
        count: number of positions.
    """
    if effects is not None:
        total: Float[np.ndarray, " position"] = np.sum(
            [np.nan_to_num(table).sum((0, 1)) for table in effects.values()], axis=0
        )
        return int(total.argmax())
    ((edits, _), *_) = _suggestions(model, None, count - 1, ())
    return int(np.nan_to_num(edit_effect(request, edits, 0).divergence).argmax())


def show_head_effects(effects: HeadEffects, head: Head, position: int, tokens: Tokens) -> None:
    """Draw the effect of each head of a kind on the prediction at a position; a click chooses."""
    table = effects[head.kind][:, :, position]
    layers, heads = table.shape
    finite = table[np.isfinite(table)]

    def choose(layer: int | None, number: int | None) -> None:
        if layer is not None and number is not None:
            state.choose_head(Head(head.kind, layer, number))

    plotly_map(
        head_specification(EFFECT, 0.0, float(finite.max(initial=0.0)) or 1.0),
        [f"L{layer}" for layer in range(layers)],
        [f"H{number}" for number in range(heads)],
        lambda window: Grid(window, 1, 1, table[window.slices]),
        depends_on=(table.tobytes(),),
        selected=(head.layer, head.head),
        selects="cell",
        on_cell=choose,
        tallest=420,
        filename="attnviz-heads-effect",
        alt=f"Divergence without each head at {words.quoted(tokens.labels[position])}; "
        f"{head.label} is selected",
        key="effect_map",
    )
    st.caption("KL of the prediction here when one head is off, measured. Click a head.")


def show_suggestions(
    model: Model, request: Request, effects: HeadEffects | None, position: int, tokens: Tokens
) -> None:
    """Show edits to begin with, each with its measured effect and a button that makes it."""
    st.markdown("**Try one of these**, measured on this text:")
    sides = {next(iter(model.info.heads)): (tokens, tokens)}
    for number, (edits, why) in enumerate(
        _suggestions(model, effects, position, tokens.ids.tolist())
    ):
        effect = edit_effect(request, edits, position)
        named = f"Switch off {len(edits)} heads"
        if isinstance(edits[0], MaskedToken):
            named = f"Mask {words.quoted(tokens.labels[position])}"
        elif len(edits) == 1:
            named = f"Switch off {listed_label(edits[0], sides).split(':')[0]}"
        with st.container(border=True):
            st.button(
                plain(named),
                icon=":material/bolt:",
                key=f"suggestion:{number}",
                on_click=change,
                args=(edits,),
            )
            show_plain(f"{why} {change_sentence(model, effect, tokens)}".strip())


MOST_HEADS = 2
"""Suggestions that switch heads off."""

Suggestion = tuple[tuple[ListedEdit, ...], str]
"""Edits, and why they are worth a try."""


def _suggestions(
    model: Model, effects: HeadEffects | None, position: int, ids: Sequence[int]
) -> Sequence[Suggestion]:
    """Return edits to begin with: the strongest head, heads of one job, and a gap to fill."""
    suggestions: list[Suggestion] = []
    known = model.info.known_heads
    if effects is not None:
        head = _strongest(effects, position)
        labels = [one.label.split(":")[0] for one in known if one.head == head]
        role = f" ({labels[0]})" if labels else ""
        why = f"Of all heads, {head.label}{role} matters most here."
        suggestions.append(((Edit("zero", head),), why))
    for role in TOGETHER:
        heads = tuple(one.head for one in known if one.role == role)
        if len(suggestions) < MOST_HEADS and len(heads) > (effects is not None):
            jobs = dict.fromkeys(one.label.split(":")[0] for one in known if one.role == role)
            why = f"Known as {'; '.join(jobs)}: {', '.join(head.label for head in heads)}."
            suggestions.append((tuple(Edit("zero", head) for head in heads), why))
    if not suggestions:
        suggestions.append(((Edit("zero", _first(model)),), ""))
    gap = mask_id(model)
    if gap is not None and len(ids) and gap not in ids:
        suggestions.append(((MaskedToken(position),), "The model fills the gap."))
    return suggestions


def _first(model: Model) -> Head:
    return Head(next(iter(model.info.heads)), 0, 0)


def _strongest(effects: HeadEffects, position: int) -> Head:
    here = {kind: np.nan_to_num(table[:, :, position]) for kind, table in effects.items()}
    kind = max(here, key=lambda one: float(here[one].max()))
    layer, head = np.unravel_index(int(here[kind].argmax()), here[kind].shape)
    return Head(kind, int(layer), int(head))
