"""The nouns that travel between the parts: frozen, and free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

__all__ = [
    "KIND_LABELS",
    "Family",
    "Head",
    "Kind",
    "KnownHead",
    "Metric",
    "ModelInfo",
    "Prediction",
    "Proof",
    "Tokens",
]

Kind = Literal["self", "encoder", "decoder", "cross", "image", "text"]
"""Which attention: `self` in a one-stack model; `encoder`, `decoder` and `cross` in an
encoder-decoder; `image` and `text` in a model of two towers that do not see each other (CLIP)."""

Family = Literal["encoder", "decoder", "encoder-decoder"]
"""What a model is built of: BERT is an encoder, GPT a decoder, T5 both."""

KIND_LABELS: Mapping[Kind, str] = {
    "self": "self-attention",
    "encoder": "encoder self-attention",
    "decoder": "decoder self-attention",
    "cross": "cross-attention",
    "image": "self-attention of the picture",
    "text": "self-attention of the text",
}


@dataclass(frozen=True)
class Tokens:
    """The tokens along one axis of an attention map.

    Attributes:
        ids: the vocabulary ids.
        labels: one printable, never empty string per token; a leading space is shown as `·`.
        special: which tokens the tokenizer added ([CLS], </s>, the begin token).
        segments: 0 for the first sentence and 1 for the second, where the model takes pairs.
    """

    ids: Int[np.ndarray, " position"]
    labels: tuple[str, ...]
    special: Bool[np.ndarray, " position"]
    segments: Int[np.ndarray, " position"] | None = None

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, order=True)
class Head:
    """The address of one attention head: kind, layer and head, zero-based."""

    kind: Kind
    layer: int
    head: int

    @property
    def label(self) -> str:
        """`L3·H5`, with the kind before it where a model has several: `cross L3·H5`."""
        place = f"L{self.layer}·H{self.head}"
        return place if self.kind == "self" else f"{self.kind} {place}"


@dataclass(frozen=True)
class KnownHead:
    """A head of a shipped model that is known to do something, with the score that says so."""

    head: Head
    role: str
    label: str
    score: float


@dataclass(frozen=True)
class ModelInfo:
    """What a person should know about a loaded model.

    Attributes:
        name: as it was asked for.
        title: what it does in a few words, where somebody has said so; its name otherwise.
        source: where the weights came from.
        revision: the hub commit, or a digest of the weights file for a local folder.
        model_type: the library's name of the architecture ("bert", "gpt2", "t5").
        family: encoder, decoder or both.
        heads: number of (layers, query heads) per kind of attention.
        key_heads: number of key/value heads per kind (smaller with grouped queries).
        max_tokens: tokens of a text the model was made for; None where it names no limit.
        parameters: how many weights it has.
        device: where it runs ("cpu", "cuda:0", "mps").
        dtype: what it computes in ("float32").
        known_heads: heads worth a look, for shipped models.
        layers: per kind, the model's own number of each layer that has attention: all of them,
            but in a hybrid such as Jamba only some.
    """

    name: str
    title: str
    source: Literal["classroom", "folder", "hub", "object"]
    revision: str
    model_type: str
    family: Family
    heads: Mapping[Kind, tuple[int, int]]
    key_heads: Mapping[Kind, int]
    max_tokens: int | None
    parameters: int
    device: str
    dtype: str
    known_heads: tuple[KnownHead, ...] = field(default=())
    layers: Mapping[Kind, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Metric:
    """One number per row or head: how it is called, measured and read.

    Attributes:
        name: its key in the registry.
        label: for menus and axes.
        unit: "nats", "tokens", or "" for a share between 0 and 1.
        meaning: one line for a person who sees the number for the first time.
        limits: the range a colour scale should span; None for an open end.
        says: a phrase with one `{value}` slot that completes "this head ...".
    """

    name: str
    label: str
    unit: str
    meaning: str
    limits: tuple[float | None, float | None]
    says: str


@dataclass(frozen=True)
class Prediction:
    """What the model expects at one position: the likeliest tokens and their probabilities."""

    labels: tuple[str, ...]
    probabilities: Float[np.ndarray, " candidate"]


@dataclass(frozen=True)
class Proof:
    """How far a capture is from the library's own eager attention on the same input.

    Attributes:
        weights: largest difference of any weight; in sixteen bits from the nearer of the library's
            and the same computed in float32.
        worst: the head where that is.
        logits: largest difference of any logit, as a share of the largest logit; of the last
            layer's output in a model without a language head.
        leak: largest weight, here or in the library's run, on a key that the other one hides.
        row_sum: largest distance of a row's sum from one (a learned sink's share counted in).
        reconstruction: largest difference between the output of the attention function and the
            shown weights times values, as a share of the largest; before any gate, norm or
            projection of the model.
        weights_bound: what `weights`, `leak` and `row_sum` have to stay under in this precision.
        logits_bound: what `logits` and `reconstruction` have to stay under.
        broken: what is wrong, as sentences; empty when everything holds.
    """

    weights: float
    worst: Head
    logits: float
    leak: float
    row_sum: float
    reconstruction: float
    weights_bound: float
    logits_bound: float
    broken: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether every number is within its bound."""
        return not self.broken
