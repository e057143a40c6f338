"""Paths on page Patch: what earlier heads pass to one head, by its effect on the prediction."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import streamlit as st

from attnviz.experiments.patching.head_patches import PatchEffects
from attnviz.experiments.patching.head_paths import Reads, patch_paths, senders_of
from attnviz.experiments.patching.text_pair import LogitDifference, TextPair
from attnviz.findings import Progress
from attnviz.models import Model
from attnviz.types import Head, Kind
from attnviz.ui.components.choices import choice
from attnviz.ui.explore.head_picker import choose_kind
from attnviz.ui.jobs.background_jobs import Work
from attnviz.ui.jobs.long_jobs import wait_for
from attnviz.ui.patch.composition_panel import READS
from attnviz.ui.patch.effect_maps import ends, show_head_values
from attnviz.ui.patch.pair_fields import ChosenPair
from attnviz.ui.server.run_places import giving_way, takes_a_moment
from attnviz.ui.session.error_messages import show_reason
from attnviz.ui.session.plain_text import Strong, show_plain
from attnviz.views.maps.map_specification import effect_specification
from attnviz.written_numbers import percent

__all__ = ["show_paths"]


def show_paths(model: Model, chosen: ChosenPair, head: Head) -> None:
    """Show the effect of the path from each earlier head into one part of a head."""
    st.caption(
        "The head reads what one earlier head wrote in the clean run; all other heads keep their "
        "corrupted outputs. So nothing comes through a third head."
    )
    reads = choice("Reads into its", READS, "patch_reads")
    if senders_of(model, head) == 0:
        show_reason("heads of layer 0 read no other head: choose one of a higher layer")
        return
    paths = _paths(model, chosen, head, reads)
    if paths is None:
        return
    shares = {kind: paths.share(kind) for kind in paths.patched}
    kinds: tuple[Kind, ...] = tuple(
        kind for kind, table in paths.patched.items() if np.isfinite(table).any()
    )
    best = _strongest(shares)
    kind = choose_kind(
        kinds, head.kind if best is None else best.kind, "patch_sender", label="Written by"
    )
    show_head_values(
        shares[kind],
        effect_specification(
            "effect", ends(shares[kind], 0.1), missing="computed no earlier than this head"
        ),
        head,
        key="patch_paths",
        alt=f"Effect of the path from each earlier head into the {reads} vectors of {head.label}",
        chooses=kind == head.kind,
    )
    _sentence(shares, best, head, reads)
    st.caption(
        "As a share of the way from the corrupted run to the clean one. Paths over MLPs count; "
        "effects need not add up to that of the whole head."
    )


def _strongest(shares: dict[Kind, np.ndarray]) -> Head | None:
    """Return the sender with the largest effect; None if no path has any."""
    best, size = None, 0.0
    for kind, table in shares.items():
        moved = np.abs(np.nan_to_num(table))
        layer, head = np.unravel_index(int(moved.argmax()), moved.shape)
        if moved[layer, head] > size:
            best, size = Head(kind, int(layer), int(head)), float(moved[layer, head])
    return best


def _sentence(shares: dict[Kind, np.ndarray], best: Head | None, head: Head, reads: Reads) -> None:
    """Show the strongest path in words."""
    into = f"the {READS[reads].lower()} of "
    if best is None:
        show_plain(
            f"No earlier head changes the prediction through {into}", Strong(head.label), "."
        )
        return
    share = float(shares[best.kind][best.layer, best.head])
    show_plain(
        "Strongest: ", Strong(best.label), f" into {into}",
        Strong(head.label), f", {percent(share)} of the way.",
    )  # fmt: skip


def _paths(model: Model, chosen: ChosenPair, head: Head, reads: Reads) -> PatchEffects | None:
    """Return the effects; of long texts or many heads once a background job has finished."""
    pair = chosen.pair
    tokens = len(pair.corrupted.ids) + len(pair.corrupted.target or ())
    if takes_a_moment(model, 2 * senders_of(model, head), tokens):
        name = (model.info.name, model.info.revision)
        return _paths_at_once(name, pair, chosen.difference, head, reads, model)

    def work() -> Work[PatchEffects]:
        def run(progress: Callable[[Progress], None]) -> PatchEffects:
            report, begun = giving_way(progress), time.monotonic()

            def step(share: float) -> None:
                report(Progress("Patching each path", share, time.monotonic() - begun))

            step(0.0)
            return patch_paths(model, pair, chosen.difference, head, reads, progress=step)

        return run

    name = (model.info.name, model.info.revision)
    key = ("paths", *name, pair, chosen.difference, head, reads)
    result: PatchEffects | None = wait_for(key, work, "Patch every path")
    return result


@st.cache_data(max_entries=64, show_spinner="Patching each path …")
def _paths_at_once(
    name: tuple[str, str | None],
    pair: TextPair,
    difference: LogitDifference,
    head: Head,
    reads: Reads,
    _model: Model,
) -> PatchEffects:
    return patch_paths(_model, pair, difference, head, reads)
