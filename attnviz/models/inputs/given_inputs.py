"""Inputs as a processor, a tokenizer or a collator returns them, taken apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from attnviz.attention import FEATURES
from attnviz.errors import InputError
from attnviz.models.inputs.input_checks import check_reads
from attnviz.models.inputs.model_inputs import Encoded
from attnviz.models.inputs.text_encoding import closed, decoder_start
from attnviz.models.loading.described import segment_kinds
from attnviz.models.loading.load import Model
from attnviz.models.loading.model_classes import reads_its_text_twice

__all__ = ["encode_inputs"]

TEXTS = ("input_ids", "attention_mask", "token_type_ids")
TARGETS = ("decoder_input_ids", "decoder_attention_mask", "labels")
ABOUT_TOKENS = (
    "special_tokens_mask",
    "offset_mapping",
    "length",
    "overflow_to_sample_mapping",
    "overflowing_tokens",
    "num_truncated_tokens",
    "labels",
)
"""What a tokenizer returns on request, and a collator adds: no model computes attention from it."""


def encode_inputs(model: Model, inputs: Mapping[str, Any]) -> Encoded:
    """Return one example's arguments as `Encoded`, without padding.

    Args:
        model: from `attnviz.load`.
        inputs: tensors, arrays or lists; ids, masks and segments with or without a first axis of
            length 1. In an encoder-decoder, `labels` stand for the target if there are no
            `decoder_input_ids`.

    Raises:
        InputError: arguments that the model does not read or that do not fit together, or more
            than one example.
    """
    if not isinstance(inputs, Mapping):
        raise InputError(
            f"inputs should map argument names to tensors, and is a {type(inputs).__name__}"
        )
    both = model.info.family == "encoder-decoder"
    texts = TEXTS if "input_ids" in model.sites.reads else ()
    allowed = {*model.sites.reads, *texts, *(TARGETS if both else ())}
    unknown = sorted(set(inputs) - allowed - set(ABOUT_TOKENS))
    if unknown:
        raise InputError(
            f"{model.info.name} does not read {', '.join(unknown)}; it reads "
            + ", ".join(sorted(allowed))
        )
    check_reads(model, tuple(inputs))
    given = {name: _one(name, values) for name, values in inputs.items() if name in allowed}
    real = _real(given, "attention_mask", "input_ids")
    encoded = Encoded(
        _ids(given, "input_ids", real),
        # A copy: later changes of the picture must not change what was captured.
        features={name: given[name].detach().clone() for name in FEATURES if name in given},
    )
    if "token_type_ids" in given:
        encoded = _with_segments(model, encoded, _ids(given, "token_type_ids", real))
    return _with_target(model, encoded, given) if both else encoded


def _one(name: str, values: Any) -> Tensor:
    """Return the values of one argument for one example, without the batch axis."""
    try:
        tensor = torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"'{name}' should be a tensor, an array or a list of numbers of one example: {error}"
        ) from error
    if name not in FEATURES and tensor.dim() == 1:
        tensor = tensor[None]
    if tensor.dim() < 2 or tensor.shape[0] != 1 or (name not in FEATURES and tensor.dim() != 2):
        raise InputError(
            f"a capture is of one input at a time: '{name}' should have a first axis of "
            f"length 1, and its shape is {tuple(tensor.shape)}"
        )
    if name not in FEATURES and (tensor.is_floating_point() or tensor.is_complex()):
        raise InputError(
            f"'{name}' should hold whole numbers, and holds {str(tensor.dtype)[6:]}; give the ids "
            "as the tokenizer returns them"
        )
    return tensor[0]


def _real(given: Mapping[str, Tensor], mask: str, ids: str) -> slice:
    """Return where the ids are that the mask calls real; padding may stand on either side."""
    if ids not in given or mask not in given:
        return slice(None)
    flags = given[mask].bool().tolist()
    places = [place for place, flag in enumerate(flags) if flag]
    if len(flags) != len(given[ids]) or places != list(
        range(places[0], places[-1] + 1) if places else ()
    ):
        raise InputError(
            f"'{mask}' should have one flag for each of the {len(given[ids])} ids, with padding "
            f"before or behind the text; it has {len(flags)} flags, {len(places)} of them set"
        )
    return slice(places[0], places[-1] + 1) if places else slice(0, 0)


def _ids(given: Mapping[str, Tensor], name: str, real: slice) -> tuple[int, ...]:
    return tuple(given[name].tolist()[real]) if name in given else ()


def _with_segments(model: Model, encoded: Encoded, segments: Sequence[int]) -> Encoded:
    """Return the input with its segments; refuse those that change what a decoder computes."""
    if model.info.family == "encoder" or reads_its_text_twice(model.network):
        reads = segment_kinds(model.network) > 1
        return replace(encoded, segments=tuple(segments), reads_segments=reads)
    if any(segments):
        raise InputError(
            f"{model.info.name} does not read token_type_ids; a second sentence is for encoders "
            "such as BERT"
        )
    return encoded


def _with_target(model: Model, encoded: Encoded, given: Mapping[str, Tensor]) -> Encoded:
    """Return the input of an encoder-decoder with the decoder's ids, if any were given."""
    if reads_its_text_twice(model.network):
        if "decoder_input_ids" in given:
            raise InputError(
                f"the decoder of {model.info.name} reads the text itself: leave decoder_input_ids "
                "out"
            )
        return encoded  # its labels are classes
    if "decoder_input_ids" in given:
        real = _real(given, "decoder_attention_mask", "decoder_input_ids")
        return replace(encoded, target=_ids(given, "decoder_input_ids", real))
    if "labels" not in given:
        return encoded
    labels = given["labels"][given["labels"] >= 0]  # -100 is what a loss leaves out
    shift = getattr(model.network, "prepare_decoder_input_ids_from_labels", None)
    if shift is None or not len(labels):
        ids = [decoder_start(model), *labels.tolist()]
        return replace(encoded, **closed(model, ids))
    shifted = shift(labels[None].to(model.network.device))[0].tolist()
    return replace(encoded, **closed(model, [*shifted, int(labels[-1])]))
