"""Choice of the library's class for a folder, and the task of its head."""

from __future__ import annotations

import inspect
from typing import Any

import transformers
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoModelForMaskedLM,
    AutoModelForMultipleChoice,
    AutoModelForPreTraining,
    AutoModelForSeq2SeqLM,
    AutoModelForSpeechSeq2Seq,
    PreTrainedConfig,
    PreTrainedModel,
)

from attnviz.attention import body_of, has_decoder
from attnviz.errors import ModelNotSupported

__all__ = [
    "class_of",
    "has_language_head",
    "library_class",
    "reads_its_text_twice",
    "reads_text",
    "runnable",
]

LANGUAGE = (AutoModelForMaskedLM, AutoModelForCausalLM, AutoModelForSeq2SeqLM)
"""Automatic classes whose models give probabilities over the vocabulary."""


def class_of(config: PreTrainedConfig) -> type[PreTrainedModel]:
    """Return the class that a folder with this configuration was saved from.

    That is the class named in `architectures`, where the library has it and it belongs to this
    kind of configuration; otherwise the class with a language head for this configuration, or the
    bare model.

    Raises:
        ModelNotSupported: the library has no model for this configuration.
    """
    for name in config.architectures or ():
        named = library_class(name)
        if named is not None and isinstance(config, named.config_class):
            return _replaced(named, config)
    return _by_configuration(config)


def library_class(name: object) -> type[PreTrainedModel] | None:
    """Return the library's model class of this name, None if there is none."""
    named = getattr(transformers, name, None) if isinstance(name, str) else None
    if not isinstance(named, type) or not issubclass(named, PreTrainedModel):
        return None
    return named if getattr(named, "config_class", None) is not None else None


def _replaced(
    model_class: type[PreTrainedModel], config: PreTrainedConfig
) -> type[PreTrainedModel]:
    """Return another class of the same weights where the named one cannot be captured."""
    if model_class in _classes(AutoModelForMultipleChoice, config):
        return _classes(AutoModel, config)[0]  # its forward pass reads several texts at once
    named_for_language = any(model_class in _classes(auto, config) for auto in LANGUAGE)
    masked = _classes(AutoModelForMaskedLM, config)
    if (
        masked
        and not named_for_language
        and model_class in _classes(AutoModelForPreTraining, config)
    ):
        return masked[0]  # the same language head, under the name that predictions are read from
    return model_class


def _by_configuration(config: PreTrainedConfig) -> type[PreTrainedModel]:
    """Return the class for a configuration that names none."""
    one_stack = [AutoModelForMaskedLM, AutoModelForCausalLM]
    if getattr(config, "is_decoder", False):
        one_stack.reverse()
    autos = [AutoModelForSpeechSeq2Seq]
    autos += [AutoModelForSeq2SeqLM] if config.is_encoder_decoder else one_stack
    for auto in (*autos, AutoModelForImageTextToText, AutoModel):
        classes = _classes(auto, config)
        if classes:
            return classes[0]
    raise ModelNotSupported(
        f"the library has no model for configurations of type '{config.model_type}'; attnviz shows "
        "text models such as BERT, GPT and T5, and models of pictures and sounds"
    )


def _classes(auto: Any, config: PreTrainedConfig) -> tuple[type[PreTrainedModel], ...]:
    """Return the classes that an automatic class has for this kind of configuration."""
    if type(config) not in auto._model_mapping:
        return ()
    classes = auto._model_mapping[type(config)]
    return tuple(classes) if isinstance(classes, (list, tuple)) else (classes,)


def runnable(network: PreTrainedModel) -> PreTrainedModel:
    """Return the part of a model that reads one text: the body, for a multiple-choice model."""
    if type(network) in _classes(AutoModelForMultipleChoice, network.config):
        return body_of(network)
    return network


def reads_text(kind: type[PreTrainedModel]) -> bool:
    """Return whether models of this class read token ids, so that they need a tokenizer."""
    arguments = inspect.signature(kind.forward).parameters
    return "input_ids" in arguments or "decoder_input_ids" in arguments


def has_language_head(network: PreTrainedModel) -> bool:
    """Return whether a model's class gives a probability to every token of the vocabulary."""
    try:
        return network.get_output_embeddings() is not None
    except (AttributeError, NotImplementedError):
        return False


def reads_its_text_twice(network: PreTrainedModel) -> bool:
    """Return whether the decoder's input is made from the text: encoder-decoder classifiers."""
    bare = type(network) in _classes(AutoModel, network.config)
    return has_decoder(network) and not type(network).can_generate() and not bare
