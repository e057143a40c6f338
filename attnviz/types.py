"""Types shared by all parts: frozen dataclasses, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

__all__ = [
    "KIND_LABELS",
    "SINK_SHARE",
    "Family",
    "Head",
    "Kind",
    "KnownHead",
    "Metric",
    "ModelInfo",
    "Prediction",
    "Proof",
    "Tokens",
    "WordWeights",
    "Words",
]

SINK_SHARE = 0.3
"""A key is a sink of a head if its mean weight over the queries that see it is above this share.

Source: Gu et al. 2024, "When attention sink emerges".
"""

Kind = Literal["self", "encoder", "decoder", "cross", "image", "text"]
"""Kind of attention: `self` in a model of one stack; `encoder`, `decoder` and `cross` in an
encoder-decoder; `image` and `text` in a model of two separate towers (CLIP)."""

Family = Literal["encoder", "decoder", "encoder-decoder"]
"""Architecture family: BERT is an encoder, GPT a decoder, T5 an encoder-decoder."""

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
    """Tokens along one axis of an attention map.

    Attributes:
        ids: vocabulary ids.
        labels: one printable, non-empty string per token; a leading space is shown as `·`.
        special: mask of the tokens that the tokenizer added ([CLS], </s>, the begin token).
        segments: 0 for the first sentence and 1 for the second, in models of sentence pairs;
            None otherwise.
    """

    ids: Int[np.ndarray, " position"]
    labels: tuple[str, ...]
    special: Bool[np.ndarray, " position"]
    segments: Int[np.ndarray, " position"] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, count: int) -> Tokens:
        """Return the first `count` tokens, or all if there are fewer."""
        segments = None if self.segments is None else self.segments[:count]
        return Tokens(self.ids[:count], self.labels[:count], self.special[:count], segments)


@dataclass(frozen=True)
class Words:
    """Words along one axis of an attention map; each is a stretch of neighbouring tokens.

    Attributes:
        edges: position of the first token of each word, ascending, and the number of tokens.
        tokens: one entry per word: its label, the id of its first token, whether it is a special
            token, and its segment.
    """

    edges: Int[np.ndarray, " edge"]
    tokens: Tokens

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def lengths(self) -> Int[np.ndarray, " word"]:
        """Return the number of tokens of each word."""
        return np.diff(self.edges)

    def index_of(self, position: int) -> int:
        """Return the index of the word that has the token at a position."""
        return int(np.searchsorted(self.edges, position, "right")) - 1

    def last_token(self, index: int) -> int:
        """Return the position of the last token of a word."""
        return int(self.edges[index + 1]) - 1


@dataclass(frozen=True)
class WordWeights:
    """Attention weights of a head between whole words.

    Attributes:
        weights: the mean over the tokens of the query word of the sum over the tokens of the key
            word, float32; 0 where no token of the query word sees one of the key word.
        queries: words of the rows.
        keys: words of the columns.
    """

    weights: Float[np.ndarray, "query_word key_word"]
    queries: Words
    keys: Words


@dataclass(frozen=True, order=True)
class Head:
    """Address of one attention head: kind, layer and head, zero-based."""

    kind: Kind
    layer: int
    head: int

    @property
    def label(self) -> str:
        """`L3·H5`; with the kind before it except for "self": `cross L3·H5`."""
        place = f"L{self.layer}·H{self.head}"
        return place if self.kind == "self" else f"{self.kind} {place}"


@dataclass(frozen=True)
class KnownHead:
    """Head of a shipped model with a known role, and the score that shows it."""

    head: Head
    role: str
    label: str
    score: float


@dataclass(frozen=True)
class ModelInfo:
    """Description of a loaded model.

    Attributes:
        name: argument of `load`: catalogue name, hub id or folder.
        title: short description from the catalogue; the model's name if there is none.
        source: origin of the weights.
        revision: hub commit; for a local folder, a digest of the weights file.
        model_type: the library's name of the architecture ("bert", "gpt2", "t5").
        family: encoder, decoder or encoder-decoder.
        heads: (layers, query heads) per kind of attention.
        key_heads: number of key/value heads per kind (smaller with grouped queries).
        max_tokens: limit of the text in tokens; None if the model has none.
        parameters: number of parameters.
        device: "cpu", "cuda:0", "mps".
        dtype: dtype of the computation ("float32").
        known_heads: heads with a known role, for shipped models.
        layers: per kind, the index in the model of each layer that has attention: all layers,
            or some in a hybrid such as Jamba.
        other_layers: in a hybrid, index of each layer without attention, and what it has instead.
        max_target_tokens: tokens of the decoder's text in an encoder-decoder; None where nothing
            limits it, and for a model of one stack.
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
    other_layers: Mapping[int, str] = field(default_factory=dict)
    max_target_tokens: int | None = None

    def every_head(self) -> list[Head]:
        """Return all heads, kind by kind and layer by layer."""
        return [
            Head(kind, layer, head)
            for kind, (layers, heads) in self.heads.items()
            for layer in range(layers)
            for head in range(heads)
        ]


@dataclass(frozen=True)
class Metric:
    """Description of a metric of rows or heads.

    Attributes:
        name: key in the registry.
        label: for menus and axes.
        unit: "nats", "tokens", or "" for a share between 0 and 1.
        meaning: explanation in one line.
        limits: range of the colour scale; None for an open end.
        phrase: completes "this head ..."; has one `{value}` slot.
    """

    name: str
    label: str
    unit: str
    meaning: str
    limits: tuple[float | None, float | None]
    phrase: str


@dataclass(frozen=True)
class Prediction:
    """Most likely tokens at one position, and their probabilities."""

    labels: tuple[str, ...]
    probabilities: Float[np.ndarray, " candidate"]


@dataclass(frozen=True)
class Proof:
    """Differences between a capture and the library's eager attention on the same input.

    Attributes:
        weights: largest difference of a weight; in 16 bits from the nearer of the library's weight
            and the same weight computed in float32.
        worst: head of that weight.
        logits: largest difference of any logit, as a share of the largest logit; of the last
            layer's output in a model without a language head.
        leak: largest weight, here or in the library's run, on a key that the other one hides.
        row_sum: largest distance of a row's sum from one, a learned sink's share included.
        reconstruction: largest difference between the output of the attention function and the
            shown weights times values, as a share of the largest; before any gate, norm or
            projection of the model.
        weights_bound: upper bound of `weights`, `leak` and `row_sum` in this precision.
        logits_bound: upper bound of `logits` and `reconstruction`.
        broken: one sentence per bound that is exceeded; empty if all hold.
        not_finite: the sentence of `broken` that names where NaN or infinity begin in the model;
            empty if all weights of the model and all numbers of the library's run are finite.
            The differences above are of finite numbers.
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
    not_finite: str = ""

    @property
    def holds(self) -> bool:
        """True if every number is within its bound."""
        return not self.broken
