"""Forward passes that read one more token on top of a cache, and the size of the cache."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import Cache, DynamicCache, EncoderDecoderCache

from attnviz.attention import listening
from attnviz.attention.recorder import Listener
from attnviz.errors import InputError
from attnviz.experiments.generation.new_rows import NewRows
from attnviz.models import Encoded, Model, source_inputs

__all__ = ["CachedModel", "cache_bytes", "tensors_of"]


@dataclass
class CachedModel:
    """Model with its cache; every call of `read` continues the text.

    Args:
        model: a decoder or an encoder-decoder.
        cache: cache of the decoder's self-attention; the library's own when None.
        source: what the encoder reads, for an encoder-decoder.
    """

    model: Model
    cache: Cache | None = None
    source: Encoded | None = None
    length: int = 0
    source_length: int = 0
    _inputs: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Run the encoder, and make the cache."""
        network = self.model.network
        if self.model.info.family == "encoder-decoder":
            if self.source is None:
                raise InputError(f"{self.model.info.name} needs a text that its encoder reads")
            # Made without a configuration: it would size both by one of the two stacks.
            self.cache = EncoderDecoderCache(self.cache or DynamicCache(), DynamicCache())
            given = source_inputs(self.model, [self.source])
            with torch.inference_mode():
                encoded = network.get_encoder()(**given, return_dict=True)
            self._inputs = {"encoder_outputs": encoded}
            self.source_length = int(encoded[0].shape[1])
            if "attention_mask" in given:
                self._inputs["attention_mask"] = given["attention_mask"]
        elif self.cache is None:
            self.cache = DynamicCache(config=network.config)

    def read(self, ids: Sequence[int], listener: Listener | None = None) -> Float[Tensor, "q word"]:
        """Read some more tokens and return their logits, [tokens, words], in float32."""
        network = self.model.network
        new = torch.tensor([list(ids)], device=network.device)
        self.length += len(ids)
        inputs = dict(self._inputs)
        if self.model.info.family == "encoder-decoder":
            inputs["decoder_input_ids"] = new
        else:
            inputs["input_ids"] = new
            inputs["attention_mask"] = new.new_ones(1, self.length)
        with torch.inference_mode():
            if listener is None:
                output = self._run(inputs)
            else:
                with listening(listener):
                    output = self._run(inputs)
        logits: Tensor = output.logits[0].float()
        return logits

    def read_with_rows(self, ids: Sequence[int]) -> tuple[Float[Tensor, "q word"], dict[Any, Any]]:
        """Read some more tokens; return their logits and the attention rows of the last one."""
        rows = NewRows(self.model.sites.places())
        logits = self.read(ids, rows)
        both = self.model.info.family == "encoder-decoder"
        keys = {"decoder": self.length, "cross": self.source_length} if both else {
            "self": self.length
        }  # fmt: skip
        return logits, rows.rows(keys)  # type: ignore[arg-type]

    def _run(self, inputs: dict[str, Any]) -> Any:
        return self.model.network(
            **inputs, past_key_values=self.cache, use_cache=True, return_dict=True
        )


def tensors_of(cache: Cache) -> Iterator[tuple[int, Tensor]]:
    """Yield layer and tensor of the keys and values that a cache of the library holds."""
    if isinstance(cache, EncoderDecoderCache):
        yield from tensors_of(cache.self_attention_cache)
        return
    for number, layer in enumerate(cache.layers):
        for name in ("keys", "values"):
            tensor = getattr(layer, name, None)
            if isinstance(tensor, Tensor):
                yield number, tensor


def cache_bytes(cache: Cache) -> dict[int, int]:
    """Return the bytes of keys and values per layer; without those of cross-attention."""
    sizes: dict[int, int] = {}
    for number, tensor in tensors_of(cache):
        sizes[number] = sizes.get(number, 0) + tensor.numel() * tensor.element_size()
    return sizes
