"""Attention modules of a model and their kinds."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field

from transformers import PreTrainedModel

from attnviz.attention.interventions import Places
from attnviz.types import Kind

__all__ = ["FEATURES", "Sites", "body_of", "has_decoder"]

FEATURES = ("pixel_values", "input_features")
"""Arguments that are no token ids: a picture, and the spectrogram of a sound."""


@dataclass(frozen=True)
class Sites:
    """Attention modules of one model.

    Attributes:
        kinds: kind by `id` of the module.
        names: module name by `id` of the module.
        heads: (layers, query heads) per kind, in the order in which the model runs them.
        key_heads: key/value heads per kind.
        layers: the model's own number of each of those layers: 0, 1, 2 and so on, but not in a
            model that has attention in some of its layers only (Jamba).
        reads: names of the arguments the model needs besides a decoder's: "input_ids",
            "pixel_values", "input_features".
        sizes: the shape, without a batch axis, of the pictures and sounds it was made for.
        by_blocks: names of the modules whose scores have been found too large for the fused path;
            what they are once they are on most texts, so captures add to it.
        causal: whether no query of any layer may see a later key.
    """

    kinds: Mapping[int, Kind]
    names: Mapping[int, str]
    heads: Mapping[Kind, tuple[int, int]]
    key_heads: Mapping[Kind, int]
    layers: Mapping[Kind, tuple[int, ...]]
    reads: tuple[str, ...]
    sizes: Mapping[str, tuple[int, ...]]
    by_blocks: set[str] = field(default_factory=set, compare=False)
    causal: bool = False

    def places(self) -> Places:
        """Return which kind and layer a call comes from, for one forward pass."""
        return Places(self.kinds, {kind: layers for kind, (layers, _) in self.heads.items()})


def has_decoder(model: PreTrainedModel) -> bool:
    """Return whether the model's class takes a decoder's ids beside what its encoder reads."""
    return "decoder_input_ids" in inspect.signature(type(model).forward).parameters


def body_of(model: PreTrainedModel) -> PreTrainedModel:
    """Return the part of a model below its head, if that reads the same arguments by itself."""
    body: PreTrainedModel = model.base_model
    arguments = inspect.signature(type(body).forward).parameters
    reads = {"input_ids", *FEATURES, "decoder_input_ids"}
    expected = reads & inspect.signature(type(model).forward).parameters.keys()
    return body if expected <= arguments.keys() else model
