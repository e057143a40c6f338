"""Text of the decoder when the caller gives none: generated, or made from the input."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedModel

from attnviz.errors import InputError
from attnviz.models.inputs.input_checks import check_encoded
from attnviz.models.inputs.model_inputs import Encoded, padding_id, source_inputs
from attnviz.models.inputs.predictions import wrong_sizes_explained
from attnviz.models.inputs.text_encoding import closed, decoder_start
from attnviz.models.loading.described import vocabulary_size
from attnviz.models.loading.load import Model
from attnviz.models.loading.model_classes import reads_its_text_twice
from attnviz.models.loading.twins import twin

__all__ = ["with_target", "writes"]

GENERATED_TOKENS = 64  # longest target that is generated when none is given
PROMPT_ROOM = 8  # positions kept free for what Whisper puts before a target: language, task, times

SINGLE = ("decoder_start_token_id", "bos_token_id", "pad_token_id", "forced_bos_token_id")
LISTS = ("eos_token_id", "suppress_tokens", "begin_suppress_tokens")
"""Token ids of a generation configuration that belong to the model, not to a way of searching."""


def writes(model: Model) -> bool:
    """Return whether the model writes a target itself when none is given."""
    return model.predicts and not reads_its_text_twice(model.network)


def with_target(model: Model, encoded: Encoded) -> Encoded:
    """Return the same input with the decoder's ids.

    A model with a language head writes them, greedily. A classifier's class makes them from the
    text that its encoder reads.

    Raises:
        InputError: the model can do neither, or the input does not fit the model.
        TextTooLong: more ids than the model has positions.
    """
    check_encoded(model, [encoded])
    if reads_its_text_twice(model.network):
        return replace(encoded, target=_own_target(model, encoded), closing=None)
    if not model.predicts:
        raise InputError(
            f"{model.info.name} has no trained language head that could write a target; give one"
        )
    return replace(encoded, **closed(model, _generated(model, encoded)))


def _own_target(model: Model, encoded: Encoded) -> tuple[int, ...]:
    """Return the ids that the model's class hands to its decoder when it is given none."""
    network = twin(model.network)  # a hook on the shared model would see other captures
    seen: list[torch.Tensor] = []

    def note(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        ids = kwargs.get("input_ids", args[0] if args else None)
        if isinstance(ids, torch.Tensor):
            seen.append(ids)

    network.get_decoder().register_forward_pre_hook(note, with_kwargs=True)
    with torch.inference_mode(), wrong_sizes_explained(model, encoded):
        network(**source_inputs(model, [encoded]))
    if not seen:
        raise InputError(
            f"{model.info.name} hands no token ids to its decoder; give them as decoder_input_ids"
        )
    return tuple(seen[-1][0].tolist())


def _generated(model: Model, encoded: Encoded) -> tuple[int, ...]:
    """Return what the model writes for this input, greedily; start token included."""
    inputs = source_inputs(model, [encoded])
    limit = model.info.max_target_tokens or GENERATED_TOKENS
    room = min(GENERATED_TOKENS, limit - 1)
    if "input_features" in inputs:  # Whisper cuts long sounds in pieces, unless this forbids it
        inputs["force_unique_generate_call"] = True
        room = max(min(room, limit - PROMPT_ROOM), 1)
    # The library sizes its cache by the encoder's depth, and a deeper decoder overruns it.
    cache = model.info.heads["decoder"][0] <= model.info.heads["encoder"][0]
    with torch.inference_mode(), wrong_sizes_explained(model, encoded):
        written = _greedy(model).generate(**inputs, max_new_tokens=room, use_cache=cache)
    return tuple(written[0].tolist())


def _greedy(model: Model) -> Any:
    """Return a copy of the network whose generation configuration searches greedily.

    The copy has the same modules. Everything in the folder's generation configuration that
    belongs to a search (beams, lengths, sampling, what is returned) is left out: the library would
    fill it in wherever a call leaves it open.
    """
    network: PreTrainedModel = model.network
    words = vocabulary_size(network, "target")
    given = network.generation_config or GenerationConfig()
    clean = GenerationConfig()
    standard = vars(clean).keys()
    for name, value in vars(given).items():
        if name not in standard or name == "forced_decoder_ids":  # Whisper's languages and tasks
            setattr(clean, name, value)
    for name in SINGLE:
        value = getattr(given, name, None)
        if isinstance(value, int) and 0 <= value < words:
            setattr(clean, name, value)
    for name in LISTS:
        value = getattr(given, name, None)
        ids = value if isinstance(value, list) else [value]
        setattr(clean, name, [one for one in ids if isinstance(one, int) and 0 <= one < words])
    clean.eos_token_id = clean.eos_token_id or None
    banned = given.bad_words_ids or []
    clean.bad_words_ids = [row for row in banned if all(0 <= one < words for one in row)] or None
    if clean.decoder_start_token_id is None and "input_ids" in model.sites.reads:
        clean.decoder_start_token_id = decoder_start(model)
    if clean.pad_token_id is None:
        clean.pad_token_id = padding_id(model, "target")
    copied = copy.copy(network)
    copied.generation_config = clean
    return copied
