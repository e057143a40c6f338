"""Logit lens on page Patch: what each layer would predict, on both texts."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from attnviz.experiments.decomposition.logit_lens import LogitLens
from attnviz.models import Encoded, Model, labels
from attnviz.ui.components.browser_theme import current_theme
from attnviz.ui.components.choices import choice
from attnviz.ui.components.figures_and_tables import show_picture, table_download
from attnviz.ui.patch.pair_fields import ChosenPair
from attnviz.views.maps.lens_map import draw_lens

__all__ = ["lens_table", "show_lens"]

FEW = 6
"""Most rows of a lens, the input among them, whose tokens fit into the cells on a phone."""


def show_lens(model: Model, chosen: ChosenPair, lenses: tuple[LogitLens, ...]) -> None:
    """Show the predictions of all layers for one of the texts."""
    st.caption(
        "What the model would predict if a layer were its last one. The colour is the probability "
        "of the token that it predicts in the end. A wrong token in a low layer does not mean that "
        "the information is missing."
    )
    which = choice("Text", {"clean": "Clean", "corrupted": "Corrupted"}, "patch_lens_text")
    text = chosen.pair.clean if which == "clean" else chosen.pair.corrupted
    lens = lenses[0] if which == "clean" else lenses[1]
    table = lens_table(model, text, lens)
    read = list(table[table["layer"] == "input"]["read"])
    best = [labels(model.vocabulary, row) for row in lens.best.tolist()]
    # Narrow cells of many layers would not hold their tokens: on a phone the picture scrolls.
    with st.container(key="lens_wide" if len(best) > FEW else "lens"):
        show_picture(
            draw_lens(best, lens.final_probability, lens.final_rank, read, theme=current_theme()),
            key="patch_lens",
            filename=f"attnviz-logit-lens-{which}",
            alt=f"Token that each layer would predict at each position of the {which} text",
        )
    table_download(table, key="patch_lens:csv", filename=f"attnviz-logit-lens-{which}")


def lens_table(model: Model, text: Encoded, lens: LogitLens) -> pd.DataFrame:
    """Return a row per layer and position: what was read, the prediction, the final token."""
    read = labels(model.vocabulary, text.ids if text.target is None else text.target)
    final = labels(model.vocabulary, lens.best[-1].tolist())
    rows = []
    for number, ids in enumerate(lens.best.tolist()):
        best = labels(model.vocabulary, ids)
        for position, label in enumerate(read):
            rows.append(
                {
                    "layer": f"L{number - 1}" if number else "input",
                    "position": position,
                    "read": label,
                    "prediction": best[position],
                    "probability": float(lens.probability[number, position]),
                    "final token": final[position],
                    "its probability": float(lens.final_probability[number, position]),
                    "its rank": int(lens.final_rank[number, position]),
                }
            )
    return pd.DataFrame(rows)
