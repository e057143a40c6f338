"""Page Patch: parts of a run on one text, put into the run on another one."""

from __future__ import annotations

from functools import partial

import numpy as np
import streamlit as st

from attnviz.experiments.decomposition.logit_parts import LogitParts
from attnviz.experiments.patching.head_patches import Part
from attnviz.models import Model
from attnviz.types import Head, Kind
from attnviz.ui.components.choices import choice
from attnviz.ui.explore.head_picker import choose_kind
from attnviz.ui.explore.weight_panel import choose_scale, show_map
from attnviz.ui.patch.composition_panel import show_composition
from attnviz.ui.patch.copying_panel import show_copying
from attnviz.ui.patch.effect_maps import (
    choose_head,
    ends,
    show_effects,
    show_head_values,
    show_positions,
)
from attnviz.ui.patch.lens_panel import show_lens
from attnviz.ui.patch.pair_fields import ChosenPair, choose_pair
from attnviz.ui.patch.patch_study import PatchStudy, studied
from attnviz.ui.patch.path_panel import show_paths
from attnviz.ui.session.error_messages import show_or_reason
from attnviz.ui.session.model_cache import load_model
from attnviz.ui.session.plain_text import Strong, show_plain
from attnviz.views.maps.map_specification import effect_specification
from attnviz.written_numbers import percent, signed

__all__ = ["patch_page"]

PARTS: dict[Part, str] = {
    "output": "Output",
    "pattern": "Pattern",
    "value": "Values",
    "query": "Queries",
    "key": "Keys",
}

UNEQUAL: dict[Part, str] = {
    "query": "Where a model rotates queries by position, they keep their clean position.",
    "key": "Where a model rotates keys by position, they keep their clean position.",
    "pattern": "Keys without a partner keep their corrupted weights; the others share the rest as "
    "in the clean run.",
}
"""What patching a part of texts of unequal length means."""

VIEWS = {
    "heads": "Patched heads",
    "positions": "Layers and positions",
    "direct": "Direct effects",
    "paths": "Paths",
    "composition": "Composition",
    "copying": "Copying",
    "lens": "Logit lens",
}


def patch_page(name: str) -> None:
    """Show the page for a model."""
    st.header("Patch: which heads carry the difference?", anchor=False)
    st.caption(
        "Two texts differ in one thing. A part of one head's clean run is put into the corrupted "
        "run. If the answer comes back, this part carries the difference."
    )
    model = load_model(name)
    chosen = choose_pair(model)
    study = studied(model, chosen)
    if study is None:
        return
    _sentence(chosen, study)
    view = choice("Show", VIEWS, "patch_view", link=True, show_label=False)
    if view == "positions":
        show_positions(model, chosen, study)
        return
    if view == "lens":
        show_or_reason(study.lenses, partial(show_lens, model, chosen))
        return
    kind = choose_kind(_kinds(model, study, view), key="patch_kind")
    left, right = st.columns([5, 7], gap="medium")
    with left:
        lowest = 1 if view in ("paths", "composition") else 0  # heads that read others
        head = choose_head(model, kind, strongest(study, kind, lowest))
        if view == "heads":
            _effects(chosen, study, kind, head)
        elif view == "direct":
            show_or_reason(study.parts, partial(_direct, chosen, kind, head))
        elif view == "paths":
            show_paths(model, chosen, head)
        elif view == "composition":
            show_or_reason(study.composition, partial(show_composition, head=head))
        else:
            show_or_reason(study.copying, partial(show_copying, head=head))
    with right:
        _maps(chosen, head)
    if view == "heads":
        show_effects(study, kind)


def _kinds(model: Model, study: PatchStudy, view: str) -> tuple[Kind, ...]:
    """Return the kinds of attention that a view has numbers of."""
    kinds = tuple(model.info.heads)
    if view in ("composition", "copying"):
        return kinds[:1]
    if view == "direct" and not isinstance(study.parts, str):
        return tuple(kind for kind in kinds if kind in study.parts.heads)
    return kinds


def strongest(study: PatchStudy, kind: Kind, lowest: int = 0) -> Head:
    """Return the head whose output has the largest effect, from a layer on if there is one."""
    effects = study.effects["output"]
    moved = np.abs(np.nan_to_num(effects.patched[kind] - effects.corrupted))
    first = min(lowest, len(moved) - 1)
    layer, head = np.unravel_index(int(moved[first:].argmax()), moved[first:].shape)
    return Head(kind, first + int(layer), int(head))


def _sentence(chosen: ChosenPair, study: PatchStudy) -> None:
    """Show the logit difference of both runs."""
    effects = study.effects["output"]
    show_plain(
        "Logit of ", Strong(chosen.answer), " minus logit of ", Strong(chosen.other), ": clean ",
        Strong(signed(effects.clean)), ", corrupted ", Strong(signed(effects.corrupted)), ".",
    )  # fmt: skip
    if np.isnan(effects.share(next(iter(effects.patched)))).all():
        st.warning(
            "Both runs have the same logit difference, so no effect is a share of it. Choose "
            "texts or words that separate them.",
            icon=":material/info:",
        )
    elif effects.clean * effects.corrupted > 0:
        preferred = chosen.answer if effects.clean > 0 else chosen.other
        show_plain(
            "The model prefers ", Strong(preferred), " in both texts: it does not do this task. "
            "The effects are shares of a difference that changes no answer.",
            small=True,
        )  # fmt: skip
    if not chosen.pair.texts().whole:
        reason = "This is the clean run."
        if abs(study.together - effects.clean) >= 0.005:
            reason = (
                "What is missing to the clean run is in tokens without a partner, and in vectors "
                "of positions."
            )
        show_plain(
            "All heads' outputs together bring it to ", Strong(signed(study.together)), ". ",
            reason, small=True,
        )  # fmt: skip


def _effects(chosen: ChosenPair, study: PatchStudy, kind: Kind, head: Head) -> None:
    """Show the map of a part's effects, and the chosen head's number."""
    part = choice("Part", PARTS, "patch_part", link=True)
    if part in ("query", "key", "pattern") and not chosen.pair.texts().whole:
        st.caption(UNEQUAL[part])
    effects = study.effects[part]
    shares = effects.share(kind)
    show_head_values(
        shares,
        effect_specification("effect", ends(shares, 1.0), missing="the two runs are equal"),
        head,
        key="patch_map",
        alt=f"Effect of patching the {part} of each head; {head.label} is selected",
    )
    moved = float(effects.patched[kind][head.layer, head.head])
    share = float(shares[head.layer, head.head])
    show_plain(
        Strong(head.label), f" with its clean {PARTS[part].lower()}: difference {signed(moved)}, ",
        f"{percent(share)} of the way from the corrupted run to the clean one.",
    )  # fmt: skip
    st.caption(
        "0 is the corrupted run, 1 the clean one. Effects of several heads need not add up to 1: "
        "heads in a row carry the same thing, and others work against them."
    )


def _direct(chosen: ChosenPair, kind: Kind, head: Head, parts: LogitParts) -> None:
    """Show what each head adds to the logit difference by itself."""
    table = parts.heads[kind]
    show_head_values(
        table,
        effect_specification("logits", ends(table)),
        head,
        key="patch_direct",
        alt="Direct effect of each head on the logit difference, clean text",
    )
    heads = sum(float(one.sum()) for one in parts.heads.values())
    show_plain(
        f"Clean text: heads {signed(heads)}, embedding {signed(parts.embedding)}, MLPs and biases "
        f"{signed(float(parts.rest.sum()) + parts.constant)}: together "
        f"{signed(parts.total)} logits for {chosen.answer} over {chosen.other}.",
    )
    st.caption(
        "What a head adds to the residual stream, read by the vocabulary directly, with the last "
        "norm frozen. What later layers make of it counts as theirs."
    )
    for note in parts.notes:
        st.caption(note)


def _maps(chosen: ChosenPair, head: Head) -> None:
    """Show the head's attention on both texts."""
    scale = choose_scale("patch_scale")
    left, right = st.columns(2, gap="small")
    with left:
        st.markdown(f"**{head.label}, clean**")
        show_map(chosen.clean, head, prefix="clean_", scale=scale)
    with right:
        st.markdown(f"**{head.label}, corrupted**")
        show_map(chosen.corrupted, head, prefix="corrupted_", scale=scale)
