"""Figures of the classroom GPT and their bars."""

import math

from attnviz.models import Model
from training.corpus import Corpus
from training.evaluate_stories import (
    SAMPLE,
    copy_figures,
    known_heads,
    mixed_figure,
    previous_figures,
    rules,
    samples,
    text_losses,
)
from training.figures import Figure, part_of
from training.head_roles import PERIOD

__all__ = ["SAMPLE", "figures", "known_heads", "rules", "samples", "unseen_figures"]


def figures(model: Model) -> list[Figure]:
    """Return the figures of the bar that need no corpus."""
    return [*previous_figures(model, PERIOD), *copy_figures(model), mixed_figure(model)]


def unseen_figures(model: Model, corpus: Corpus, every: int = 1) -> list[Figure]:
    """Return the figures of unseen stories, or of a sample of them."""
    nats, bits = text_losses(model, corpus, every)
    where = part_of("valid.txt", every)
    return [
        Figure(f"perplexity on {where}", math.exp(nats), 60.0, side="below"),
        Figure(f"bits per byte on {where}", bits, 1.64, side="below"),
    ]
