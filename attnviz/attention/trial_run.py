"""Trial run of a model: which modules compute attention, and of which kind they are."""

from __future__ import annotations

import inspect
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from attnviz.attention.interface import NAME
from attnviz.attention.recorder import Call, listening
from attnviz.attention.sites import FEATURES, Sites, body_of, has_decoder
from attnviz.errors import AttnvizError, ModelNotSupported
from attnviz.types import Kind

__all__ = ["find_sites"]


SOURCE_TOKENS = 5
TEXT_TOKENS = (3, 2)
"""Length of the probe's target, or of the text beside a picture: it tells encoder from decoder from
cross attention, whatever the model's authors called their modules. The second one is for models
whose picture or sound has three positions itself."""


@dataclass(frozen=True)
class _Seen:
    """Call of an attention module: its name, and the number of its queries and keys."""

    module: nn.Module
    batch: int
    heads: int
    key_heads: int
    queries: int
    keys: int
    causal: bool


@dataclass
class _Watcher:
    """Notes every call."""

    calls: list[_Seen] = field(default_factory=list)

    def begin(self, call: Call) -> None:
        batch, heads, queries = call.query.shape[:3]
        key_heads, keys = call.key.shape[1:3]
        causal = not bool(call.visibility.table().triu(1).any())
        self.calls.append(_Seen(call.module, batch, heads, key_heads, queries, keys, causal))

    def end(self, call: Call, observer: Any) -> None:
        """Ignore the numbers."""


def find_sites(model: PreTrainedModel) -> Sites:
    """Switch a model to the instrumented attention and see which modules come through it.

    It is run on a few token ids, and on a blank picture or silence where it reads those.

    Args:
        model: on any device; its implementation is set to ours.

    Raises:
        ModelNotSupported: none of its layers called the registered attention function, or they
            cannot be shown as one stack per kind.
    """
    refusal = ModelNotSupported(
        f"{_described(model)} {_without_attention(model)}. Supported are BERT, GPT-2, "
        "T5 and their relatives (RoBERTa, DistilBERT, ELECTRA, ModernBERT, GPT-NeoX, OPT, Llama, "
        "Mistral, Qwen, Gemma, BART, mT5 and others), ViT, CLIP and Whisper."
    )
    if not type(model)._can_set_attn_implementation():
        raise refusal
    try:
        model.set_attn_implementation(NAME)
    except (ValueError, KeyError) as error:
        raise refusal from error
    reads, calls = _first_that_runs(model)
    if not calls:
        raise refusal
    both = has_decoder(model)
    if not both and len(reads) == 1:
        return _gathered(model, reads, ["self"] * len(calls), calls)
    text, other = TEXT_TOKENS
    if all(call.queries == call.keys == text for call in calls):
        text, calls = other, _watched(model, reads, other)
    return _gathered(model, reads, _kinds(model, both, calls, text), calls)


def _without_attention(model: PreTrainedModel) -> str:
    """Return why no attention of a model can be seen."""
    layers = getattr(model.config.get_text_config(), "layer_types", None) or ()
    kinds = sorted({str(layer) for layer in layers})
    if kinds and not any("attention" in kind.replace("linear_attention", "") for kind in kinds):
        return f"have no attention layer: their layers are of type {', '.join(kinds)}"
    return (
        "do not take their attention from the library's attention interface, so attnviz cannot "
        "see it"
    )


def _described(model: PreTrainedModel) -> str:
    return f"models of type '{model.config.model_type}' ({type(model).__name__})"


def _first_that_runs(model: PreTrainedModel) -> tuple[tuple[str, ...], list[_Seen]]:
    """Return what the model reads, and its attention calls on it; text alone if that is enough."""
    main = model.main_input_name
    arguments = inspect.signature(type(model).forward).parameters
    choices: list[tuple[str, ...]] = []
    if "input_ids" in arguments:
        choices.append(("input_ids",))
    if main in FEATURES:
        choices.append((main,))
    if "input_ids" in arguments and "pixel_values" in arguments:
        choices.append(("pixel_values", "input_ids"))
    if not choices:
        raise ModelNotSupported(
            f"{_described(model)} read '{main}'; attnviz shows models that read token ids, "
            f"{' or '.join(FEATURES)}"
        )
    for reads in choices:
        try:
            return reads, _watched(model, reads, TEXT_TOKENS[0])
        except AttnvizError:
            raise
        except Exception as error:  # models raise any error on inputs of another kind
            if reads == choices[-1]:
                what = "do not read token ids, or not these alone"
                if reads != ("input_ids",):
                    what = f"cannot be run on {' and '.join(reads)} alone"
                raise ModelNotSupported(f"{_described(model)} {what}: {_reason(error)}") from error
    raise AssertionError("there is always a choice")


def _reason(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), "")[:200] or type(error).__name__


def _watched(model: PreTrainedModel, reads: Sequence[str], text: int) -> list[_Seen]:
    """Return the calls of one run.

    `text` is the length of the decoder's text, or of that beside others.

    The inputs are blank: only the shapes of its calls are of interest.
    """

    def ids(length: int) -> Tensor:
        return torch.zeros(1, length, dtype=torch.long, device=model.device) + 4

    inputs: dict[str, Tensor] = {}
    for name in reads:
        if name == "input_ids":
            inputs[name] = ids(SOURCE_TOKENS if len(reads) == 1 else text)
            inputs["attention_mask"] = torch.ones_like(inputs[name])
        else:
            inputs[name] = torch.zeros(
                1, *_feature_shape(model, name), device=model.device, dtype=model.dtype
            )
    if has_decoder(model):
        inputs["decoder_input_ids"] = ids(text)
    options = {}
    body = body_of(model)
    if "use_cache" in inspect.signature(type(body).forward).parameters:
        options["use_cache"] = False  # a cache needs an attention layer, which some models lack
    watcher = _Watcher()
    with torch.inference_mode(), listening(watcher):
        # A classifier's head has no attention, and may expect other ids than these.
        body(**inputs, **options)
    return watcher.calls


def _feature_shape(model: PreTrainedModel, name: str) -> tuple[int, ...]:
    """Return the shape of the inputs of a model of pictures or sounds, without a batch axis."""
    config = getattr(model.config, "vision_config", None) or model.config
    if name == "pixel_values":
        size, channels = getattr(config, "image_size", None), getattr(config, "num_channels", 3)
        if isinstance(size, int):
            return (channels, size, size)
        if isinstance(size, (list, tuple)) and len(size) == 2:
            return (channels, *size)
    else:
        bins = getattr(config, "num_mel_bins", None)
        positions = getattr(config, "max_source_positions", None)
        if isinstance(bins, int) and isinstance(positions, int):
            return (bins, 2 * positions)  # Whisper's second convolution takes two frames a step
    raise ModelNotSupported(
        f"{_described(model)} do not say which size of '{name}' they were made for"
    )


def _kinds(model: PreTrainedModel, both: bool, calls: Sequence[_Seen], text: int) -> list[Kind]:
    """Return the kind of each call: which of its sides are as long as the text."""
    names: dict[tuple[bool, bool], Kind] = {(True, True): "decoder", (False, False): "encoder"}
    if not both:
        names = {(True, True): "text", (False, False): "image"}
    else:
        names[True, False] = "cross"
    kinds = []
    for call in calls:
        sides = (call.queries == text, call.keys == text)
        if sides not in names:
            raise ModelNotSupported(
                f"{_described(model)} have attention that is neither within one of their inputs "
                "nor from a decoder to an encoder"
            )
        kinds.append(names[sides])
    lacking = [kind for kind in names.values() if kind not in kinds]
    if both and lacking:
        raise ModelNotSupported(
            f"{_described(model)} do not take their {' and '.join(lacking)} attention from the "
            f"library's attention interface, only their {' and '.join(dict.fromkeys(kinds))} "
            "attention; attnviz shows encoder-decoders whose three kinds it can all see"
        )
    return kinds


def _gathered(
    model: PreTrainedModel, reads: tuple[str, ...], kinds: Sequence[Kind], calls: Sequence[_Seen]
) -> Sites:
    """Return the sites, once it is sure that each kind is one stack of equal layers."""
    stacks: dict[Kind, list[_Seen]] = {}
    for kind, call in zip(kinds, calls, strict=True):
        stacks.setdefault(kind, []).append(call)
    for stack in stacks.values():
        _check_equal(model, stack)
    modules = {id(module): name for name, module in model.named_modules()}
    names = {id(call.module): modules[id(call.module)] for call in calls}
    return Sites(
        kinds={id(call.module): kind for kind, call in zip(kinds, calls, strict=True)},
        names=names,
        heads={kind: (len(stack), stack[0].heads) for kind, stack in stacks.items()},
        key_heads={kind: stack[-1].key_heads for kind, stack in stacks.items()},
        layers={
            kind: _own_numbers([names[id(call.module)] for call in stack])
            for kind, stack in stacks.items()
        },
        reads=reads,
        sizes={name: _feature_shape(model, name) for name in reads if name in FEATURES},
        causal=all(call.causal for call in calls) and list(stacks) == ["self"],
    )


def _check_equal(model: PreTrainedModel, stack: Sequence[_Seen]) -> None:
    """Refuse layers that do not all have the same heads and positions, one text at a time."""
    first = stack[0]
    for call in stack:
        if call.heads != first.heads:
            raise ModelNotSupported(
                f"'{model.config.model_type}' has layers with {first.heads} and with {call.heads} "
                "heads; attnviz shows models whose layers all have the same number of heads"
            )
        if (call.queries, call.keys) != (first.queries, first.keys) or call.batch != 1:
            raise ModelNotSupported(
                f"{_described(model)} cut what they read into windows, or shorten it from layer to "
                "layer; attnviz shows models whose layers all see the whole of it"
            )


def _own_numbers(names: Sequence[str]) -> tuple[int, ...]:
    """Return the layers' numbers in the model: the first number in their modules' names.

    Where those do not rise (HRM runs two stacks in turns) the calls are counted.
    """
    matches = [re.search(r"(?:^|\.)(\d+)(?:\.|$)", name) for name in names]
    numbers = [int(one[1]) for one in matches if one is not None]
    rising = all(one < other for one, other in itertools.pairwise(numbers))
    return tuple(numbers) if rising and len(numbers) == len(names) else tuple(range(len(names)))
