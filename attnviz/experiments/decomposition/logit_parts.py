"""Direct logit attribution: the logit as a sum over heads, blocks and the embedding.

The residual stream that the last norm reads is the sum of the embedding, of what each head adds,
and of what the rest of each block adds (MLP, biases). With the norm's statistics held fixed as they
are on this input, the logit is linear in the stream, so it is a sum over these parts. In a model
with norms behind its residual connections (BERT, BART) a part passes through all norms above it,
held fixed likewise. A part's number is its direct effect alone: what later layers make of it is
counted as theirs. Sources: nostalgebraist 2020, Elhage et al. 2021, Wang et al. 2022.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from attnviz.attention import Added, Additions, following
from attnviz.errors import InputError
from attnviz.experiments.decomposition.stream_gradient import AGREEMENT, StreamRun
from attnviz.experiments.hooked_model import HookedModel
from attnviz.experiments.model_blocks import block_of, prediction_run
from attnviz.experiments.patching.text_pair import LogitDifference
from attnviz.models import Encoded, Model
from attnviz.types import Kind

__all__ = ["LogitParts", "logit_parts"]

NOTES = (
    "Each layer ends in a norm. Effects of lower heads pass through all norms above, held fixed.",
    "The activation before the vocabulary is held fixed, as a factor per dimension.",
    "This model caps its logits. The numbers are of logits before the cap.",
)
"""Sentences for norms between blocks, for an activation, and for a cap."""


@dataclass(frozen=True)
class LogitParts:
    """Logit difference as a sum of direct effects.

    Attributes:
        heads: by kind, the direct effect of each head.
        embedding: direct effect of the stream before the first block.
        rest: direct effect of the rest of each block: MLP, biases, layers without attention.
        constant: what stands behind the last block: offsets of norms, biases.
        total: the model's logit difference; the sum of the others within float error.
        notes: sentences on what is held fixed or left out in this model.
    """

    heads: Mapping[Kind, Float[np.ndarray, "layer head"]]
    embedding: float
    rest: Float[np.ndarray, " block"]
    constant: float
    total: float
    notes: tuple[str, ...] = ()


def logit_parts(model: Model, encoded: Encoded, difference: LogitDifference) -> LogitParts:
    """Return the direct effect of every head on a logit difference.

    >>> import attnviz
    >>> from attnviz.experiments.decomposition.logit_parts import logit_parts
    >>> from attnviz.experiments.patching.text_pair import LogitDifference
    >>> from attnviz.models import encode
    >>> model = attnviz.load("gpt-classroom")
    >>> words = [encode(model, word, begin=False).ids[0] for word in (" dog", " man")]
    >>> text = encode(model, "The king saw a dog. The king saw a")
    >>> parts = logit_parts(model, text, LogitDifference(*words))
    >>> whole = parts.heads["self"].sum() + parts.embedding + parts.rest.sum() + parts.constant
    >>> bool(abs(whole - parts.total) < 1e-3)
    True

    Args:
        model: with a trained language head.
        encoded: a text, with a target for an encoder-decoder.
        difference: logits that are taken apart.

    Raises:
        InputError: the model predicts no tokens, has no list of blocks or no matrix of words; its
            heads could not be followed to the stream.
    """
    hooked, blocks, inputs = prediction_run(model, encoded)
    at = difference.position
    added = _additions(hooked, inputs)
    places = [
        (kind, layer)
        for kind, (layers, _) in model.info.heads.items()
        if kind != "encoder"
        for layer in range(layers)
    ]
    if any(place not in added for place in places):
        raise InputError(
            f"what the heads of {model.info.name} add could not be followed to its stream"
        )
    run = StreamRun(
        hooked,
        blocks,
        {place: one.projection for place, one in added.items() if one.projection is not None},
    )
    run.run(inputs)
    end = _End.of(run, difference)
    slopes, behind = run.gradients(end.value, at)
    heads: dict[Kind, np.ndarray] = {
        kind: np.zeros(size) for kind, size in model.info.heads.items() if kind != "encoder"
    }
    passed = False  # whether an effect goes through norms between the blocks
    for kind, layer in places:
        block = blocks.index(block_of(hooked.names[kind][layer]))
        through = not _agree(slopes[block], slopes[block + 1])
        passed = passed or through
        one = added[kind, layer]
        vectors, slope = (
            (one.projected, behind.get((kind, layer)))
            if through
            else (one.parts, slopes[block + 1])
        )
        if slope is None or not vectors:
            raise InputError(
                f"what the heads of {model.info.name} add could not be followed to its logits"
            )
        rows = torch.stack([vector[0, at] for vector in vectors]).double()
        heads[kind][layer] = (rows @ slope).cpu().numpy()
    effects = [
        float(slope @ stream.detach()[0, at].double())
        for slope, stream in zip(slopes, run.streams, strict=True)
    ]
    rest = np.diff(effects)
    for kind, layer in places:
        rest[blocks.index(block_of(hooked.names[kind][layer]))] -= heads[kind][layer].sum()
    constant = end.total - effects[-1]
    notes = [
        note
        for there, note in zip((passed, run.activation, end.capped), NOTES, strict=True)
        if there
    ]
    return LogitParts(heads, effects[0], rest, constant, end.total, tuple(notes))


def _additions(hooked: HookedModel, inputs: dict[str, Tensor]) -> dict[tuple[Kind, int], Added]:
    """Return what the heads of each layer add to the stream; not those of an encoder."""
    added: dict[tuple[Kind, int], Added] = {}

    def report(place: tuple[Kind, int], one: Added) -> None:
        if place[0] != "encoder" and all(part.dim() == 3 for part in one.parts):
            added[place] = one

    with torch.inference_mode(), following(Additions(hooked.places(), report)):
        hooked.run(inputs)
    return added


@dataclass(frozen=True)
class _End:
    """Logit difference that is taken apart.

    Attributes:
        value: with its gradient.
        total: the same as a number, with the bias behind the vocabulary's matrix.
        capped: whether it is read before a cap that the model puts on its logits.
    """

    value: Tensor
    total: float
    capped: bool

    @classmethod
    def of(cls, run: StreamRun, difference: LogitDifference) -> _End:
        """Return the logit difference, before a cap if there is one.

        Raises:
            InputError: there is no such position or token.
        """
        total = float(difference.of(run.logits.detach())[0])  # checks tokens and position
        words, logits = (one[0, difference.position].detach().double()
                         for one in (run.words, run.logits))  # fmt: skip
        scale = float(logits @ words / (words @ words))
        row = run.words[0, difference.position]
        value = row[difference.answer]
        value = value if difference.other is None else value - row[difference.other]
        if _agree(scale * words, logits):
            return cls(value * scale, total, False)
        behind = (run.logits - run.words).detach()[0]
        if len(behind) > 1 and _agree(behind[:1].expand_as(behind), behind):  # a bias per word
            return cls(value, total, False)
        return cls(value, float(difference.of(run.words.detach())[0]), True)


def _agree(one: Tensor, other: Tensor) -> bool:
    return float((one - other).abs().max()) <= AGREEMENT * float(other.abs().max())
