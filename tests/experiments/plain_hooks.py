"""Patching of heads with plain forward hooks on the library's own models, written out by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from attnviz.types import Head

__all__ = ["PROJECTIONS", "columns", "hooked", "kept_parts", "patched_by_hooks"]

PROJECTIONS: dict[tuple[str, str], dict[str, str]] = {
    ("gpt2", "self"): {
        "output": "transformer.h.{}.attn.c_proj",
        "query": "transformer.h.{}.attn.c_attn",
        "key": "transformer.h.{}.attn.c_attn",
        "value": "transformer.h.{}.attn.c_attn",
    },
    ("llama", "self"): {
        "output": "model.layers.{}.self_attn.o_proj",
        "query": "model.layers.{}.self_attn.q_proj",
        "key": "model.layers.{}.self_attn.k_proj",
        "value": "model.layers.{}.self_attn.v_proj",
    },
    ("bert", "self"): {
        "output": "bert.encoder.layer.{}.attention.output.dense",
        "query": "bert.encoder.layer.{}.attention.self.query",
        "key": "bert.encoder.layer.{}.attention.self.key",
        "value": "bert.encoder.layer.{}.attention.self.value",
    },
    ("albert", "self"): {  # without sharing: a group for each layer
        part: "albert.encoder.albert_layer_groups.{}.albert_layers.0.attention." + name
        for part, name in (
            ("output", "dense"),
            ("query", "query"),
            ("key", "key"),
            ("value", "value"),
        )
    },
    **{
        ("t5", kind): {
            part: place + letter
            for part, letter in (("output", "o"), ("query", "q"), ("key", "k"), ("value", "v"))
        }
        for kind, place in (
            ("encoder", "encoder.block.{}.layer.0.SelfAttention."),
            ("decoder", "decoder.block.{}.layer.0.SelfAttention."),
            ("cross", "decoder.block.{}.layer.1.EncDecAttention."),
        )
    },
}
"""Names of modules: of "output" the input is the part, of the others the output."""


def columns(name: str, part: str, head: int, dim: int, group: int, width: int) -> slice:
    """Return the columns of a part of a head in the numbers of its module."""
    at = head // group if part in ("key", "value") else head
    before = {"query": 0, "key": width, "value": 2 * width}.get(part, 0) if name == "gpt2" else 0
    return slice(before + at * dim, before + (at + 1) * dim)


@contextmanager
def hooked(
    network: PreTrainedModel, module: str, part: str, change: Callable[[Tensor], Tensor]
) -> Iterator[None]:
    """Change the numbers of a module's part while the context lasts."""

    def before(one: nn.Module, arguments: tuple[Tensor, ...]) -> Any:
        return (change(arguments[0]), *arguments[1:])

    def behind(one: nn.Module, arguments: Any, output: Tensor) -> Tensor:
        return change(output)

    submodule = network.get_submodule(module)
    if part == "output":
        handle = submodule.register_forward_pre_hook(before)
    else:
        handle = submodule.register_forward_hook(behind)
    try:
        yield
    finally:
        handle.remove()


def kept_parts(
    network: PreTrainedModel, name: str, kind: str, part: str, inputs: dict[str, Tensor]
) -> list[Tensor]:
    """Return the numbers of the modules of all layers in a run."""
    layers = sum(1 for one, _ in network.named_modules() if _is_layer(one, name, kind, part))
    kept = []
    for layer in range(layers):

        def keep(numbers: Tensor) -> Tensor:
            kept.append(numbers.clone())
            return numbers

        with hooked(network, PROJECTIONS[name, kind][part].format(layer), part, keep):
            network(**inputs)
    return kept


def _is_layer(module: str, name: str, kind: str, part: str) -> bool:
    first, last = PROJECTIONS[name, kind][part].split("{}")
    return (
        module.startswith(first)
        and module.endswith(last)
        and module.count(".") == (PROJECTIONS[name, kind][part].count("."))
    )


def patched_by_hooks(
    network: PreTrainedModel,
    name: str,
    head: Head,
    part: str,
    clean: list[Tensor],
    inputs: dict[str, Tensor],
    sizes: tuple[int, int, int],
    pairs: Sequence[tuple[int, int]] | None = None,
) -> Tensor:
    """Return the logits of a run with one part of a head from another run.

    `sizes`: a head's dimension, query heads per key head, and the width of all heads. `pairs`:
    positions of the other run and of this one; all, if None.
    """
    dim, group, width = sizes
    where = columns(name, part, head.head, dim, group, width)

    def change(numbers: Tensor) -> Tensor:
        changed = numbers.clone()
        for one, other in [(at, at) for at in range(numbers.shape[1])] if pairs is None else pairs:
            changed[:, other, where] = clean[head.layer][:, one, where]
        return changed

    module = PROJECTIONS[name, head.kind][part].format(head.layer)
    with torch.inference_mode(), hooked(network, module, part, change):
        logits: Tensor = network(**inputs).logits
    return logits
