"""Direct logit attribution: the logit as a sum over heads, blocks and the embedding.

The residual stream that the last norm reads is the sum of the embedding, of what each head adds,
and of what the rest of each block adds (MLP, biases). With the norm's statistics held fixed as they
are on this input, the logit is linear in the stream, so it is a sum over these parts. A part's
number is its direct effect alone: what later layers make of it is counted as theirs. Sources:
nostalgebraist 2020, Elhage et al. 2021, Wang et al. 2022.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from attnviz.attention import Added, Additions, following
from attnviz.errors import InputError
from attnviz.experiments.decomposition.frozen_norm import Norm, NormCall, norms_recorded, read_norm
from attnviz.experiments.hooked_model import HookedModel
from attnviz.experiments.model_blocks import block_of, prediction_blocks, streams_recorded
from attnviz.experiments.patching.text_pair import LogitDifference
from attnviz.models import Encoded, Model, check_encoded, model_inputs
from attnviz.types import Kind

__all__ = ["LogitParts", "logit_parts"]

AGREEMENT = 1e-3
"""Largest difference, as a share of the largest number, of a step that is taken to be linear."""


@dataclass(frozen=True)
class LogitParts:
    """Logit difference as a sum of direct effects.

    Attributes:
        heads: by kind, the direct effect of each head.
        embedding: direct effect of the stream before the first block.
        rest: direct effect of the rest of each block: MLP, biases, layers without attention.
        constant: the offset of the last norm and the bias of the vocabulary's matrix.
        total: the model's logit difference; the sum of the others within float error.
    """

    heads: Mapping[Kind, Float[np.ndarray, "layer head"]]
    embedding: float
    rest: Float[np.ndarray, " block"]
    constant: float
    total: float


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
        model: a decoder or encoder-decoder with a norm behind its last block.
        encoded: a text, with a target for an encoder-decoder.
        difference: logits that are taken apart.

    Raises:
        InputError: the model predicts no tokens; between its last block and its logits is more than
            a norm and a matrix, as in BERT; its heads could not be followed to the stream.
    """
    if not model.predicts:
        raise InputError(f"{model.info.name} predicts no tokens: it has no trained language head")
    check_encoded(model, [encoded])
    hooked = HookedModel.of(model)
    _, blocks = prediction_blocks(hooked)
    inputs = model_inputs(model, [encoded])
    at = difference.position
    vectors: dict[tuple[Kind, int], Tensor] = {}

    def report(place: tuple[Kind, int], added: Added) -> None:
        if place[0] != "encoder" and all(part.dim() == 3 for part in added.parts):
            vectors[place] = torch.stack([part[0, at] for part in added.parts]).double()

    with (
        torch.inference_mode(),
        norms_recorded(hooked.network) as norms,
        streams_recorded(hooked, blocks) as streams,
        _head_recorded(hooked) as head,
    ):
        with following(Additions(hooked.places(), report)):
            logits = hooked.run(inputs).logits
        total = float(difference.of(logits)[0])
        end = _End.of(hooked, norms, head, logits[0, at], at, streams[blocks[-1]], blocks)
        direction, constant = end.direction(difference)
    kinds = [kind for kind in model.info.heads if kind != "encoder"]
    heads: dict[Kind, np.ndarray] = {}
    for kind in kinds:
        layers, _ = model.info.heads[kind]
        if any((kind, layer) not in vectors for layer in range(layers)):
            raise InputError(
                f"what the heads of {model.info.name} add could not be followed to its stream"
            )
        heads[kind] = (
            torch.stack([end.effect(vectors[kind, layer], direction) for layer in range(layers)])
            .cpu()
            .numpy()
        )
    stops = [streams[""], *(streams[name] for name in blocks[:-1])]
    effects = [float(end.effect(one[0, at].double(), direction)) for one in stops]
    effects.append(float(end.effect(end.stream, direction)))
    rest = np.diff(effects)
    for kind in kinds:
        for layer, name in enumerate(hooked.names[kind]):
            rest[blocks.index(block_of(name))] -= heads[kind][layer].sum()
    return LogitParts(heads, effects[0], rest, constant, total)


@dataclass
class _Head:
    """Input and output of the vocabulary's matrix in a forward pass."""

    module: nn.Linear
    given: Tensor | None = None
    output: Tensor | None = None


@contextmanager
def _head_recorded(hooked: HookedModel) -> Iterator[_Head]:
    """Keep the call of the vocabulary's matrix of a forward pass."""
    module = hooked.network.get_output_embeddings()
    if not isinstance(module, nn.Linear):
        raise InputError(f"{hooked.model.info.name} has no matrix from stream to vocabulary")
    record = _Head(module)

    def hook(module: nn.Module, arguments: tuple[Any, ...], output: Tensor) -> None:
        record.given, record.output = arguments[0], output

    handle = module.register_forward_hook(hook)
    try:
        yield record
    finally:
        handle.remove()


@dataclass(frozen=True)
class _End:
    """Way from the stream at one position to the logits: a norm, and a matrix.

    Attributes:
        stream: what the norm reads, float64.
        norm: gain and offset.
        size: what the norm divides by at this position.
        before: number between the norm and the matrix, as T5 has one.
        behind: number behind the matrix.
        matrix: the vocabulary's.
    """

    stream: Float[Tensor, " width"]
    norm: Norm
    size: float
    before: float
    behind: float
    matrix: nn.Linear

    @classmethod
    def of(
        cls,
        hooked: HookedModel,
        norms: Sequence[NormCall],
        head: _Head,
        logits: Float[Tensor, " word"],
        at: int,
        last: Float[Tensor, "1 position width"],
        blocks: Sequence[str],
    ) -> _End:
        """Return the way, after a comparison of each step with the numbers of the run.

        Raises:
            InputError: there is another step on the way.
        """
        name = hooked.model.info.name
        refusal = InputError(
            f"{name} has more than a norm and a matrix between its last block and its logits, so "
            "a logit is no sum over heads"
        )
        calls = [one for one in norms if one.given.shape == last.shape]
        inside = tuple(f"{block}." for block in blocks)
        if head.given is None or head.output is None:
            raise refusal
        if not calls or calls[-1].name.startswith(inside):
            raise refusal
        call = calls[-1]
        stream, normed = call.given[0, at].double(), call.output[0, at].double()
        norm = read_norm(call.module, len(stream))
        plain = norm.unscaled(stream)
        size = float(plain @ plain / (plain @ (normed - norm.offset)))
        factor = float(head.given[0, at].double() @ normed / (normed @ normed))
        words = head.output[0, at].double()
        scale = float(logits.double() @ words / (words @ words))
        steps = (
            (last[0, at].double(), stream),
            (plain / size + norm.offset, normed),
            (factor * normed, head.given[0, at].double()),
            (scale * words, logits.double()),
        )
        if not all(_agree(one, other) for one, other in steps):
            raise refusal
        return cls(stream, norm, size, factor, scale, head.module)

    def direction(self, difference: LogitDifference) -> tuple[Float[Tensor, " width"], float]:
        """Return the direction of a logit difference behind the norm, and its constant."""
        weight, bias = self.matrix.weight.double(), self.matrix.bias
        row = weight[difference.answer]
        constant = 0.0 if bias is None else float(bias[difference.answer])
        if difference.other is not None:
            row = row - weight[difference.other]
            constant -= 0.0 if bias is None else float(bias[difference.other])
        direction = row * (self.before * self.behind)
        return direction, constant * self.behind + float(direction @ self.norm.offset)

    def effect(
        self, vectors: Float[Tensor, "*part width"], direction: Float[Tensor, " width"]
    ) -> Float[Tensor, "*part"]:
        """Return the direct effects of parts of the stream."""
        return self.norm.unscaled(vectors) @ direction / self.size


def _agree(one: Tensor, other: Tensor) -> bool:
    return float((one - other).abs().max()) <= AGREEMENT * float(other.abs().max())
