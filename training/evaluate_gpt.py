"""The bar of the classroom GPT."""

import math

from attnviz.models import Model
from training.corpus import Corpus
from training.evaluate_stories import (
    copy_figures,
    known_heads,
    mixed_figure,
    previous_figures,
    rules,
    samples,
    text_losses,
)
from training.figures import Figure
from training.head_roles import PERIOD

__all__ = ["figures", "known_heads", "rules", "samples"]


def figures(model: Model, corpus: Corpus | None) -> list[Figure]:
    """Every figure of the bar that can be measured with what is there."""
    found = [*previous_figures(model, PERIOD), *copy_figures(model), mixed_figure(model)]
    if corpus is not None:
        nats, bits = text_losses(model, corpus)
        found += [
            Figure("perplexity on valid.txt", math.exp(nats), 60.0, side="below"),
            Figure("bits per byte on valid.txt", bits, 1.64, side="below"),
        ]
    return found
