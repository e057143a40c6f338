"""Weights of a file beside those of a model: names that are missing, prefixes, shapes."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from transformers import PreTrainedModel

from attnviz.characters import shortened
from attnviz.errors import ModelError

__all__ = ["check_shapes", "check_weights"]

WRAPPERS = {
    "module.": "DataParallel or DistributedDataParallel",
    "_orig_mod.": "torch.compile",
    "_fsdp_wrapped_module.": "FSDP",
    "_forward_module.": "Lightning Fabric",
    "base_model.model.": "PEFT",
    "pretrained_model.": "TRL",
    "model.": "a training module that holds the model as `model`",
}
"""Prefixes that training puts before the names of weights, and what put them there."""

NUMBER = re.compile(r"\.\d+\.")
"""Number of a layer or an expert in the name of a weight."""


def check_weights(network: PreTrainedModel, loaded: Mapping[str, Any], name: str) -> bool:
    """Compare the weights that were loaded with those that the model has.

    The library fills what is missing with random numbers, and attention made of those is not the
    model's.

    Args:
        network: the loaded model.
        loaded: what the library says about the load: missing, unexpected and mismatched keys.
        name: the model's name in messages.

    Returns:
        Whether the head was among the weights too; only the body has to be complete.

    Raises:
        ModelError: weights of other shapes than the configuration's, a part of the body is
            missing, with the reason as far as the names in the file show it, or the file has more
            layers than the configuration.
    """
    check_shapes(loaded.get("mismatched_keys") or (), f"the weights of '{name}'", "config.json")
    missing = loaded["missing_keys"]
    lost = [one for one, _ in network.named_parameters() if one in missing]
    needed = _of_the_body(network, lost)
    if needed:
        raise ModelError(_explained(network, needed, loaded["unexpected_keys"], name))
    beyond = _of_further_layers(network, loaded["unexpected_keys"])
    if beyond:
        raise ModelError(
            f"the weights of '{name}' have more layers (or experts) than its config.json says: "
            f"{shortened(beyond[0])} has no place in the model{_more(beyond)}; use the config.json "
            "that was saved with these weights, or save the shortened model with save_pretrained"
        )
    return not lost


def check_shapes(mismatched: Iterable[tuple[str, Any, Any]], whose: str, settings: str) -> None:
    """Raise ModelError if weights have other shapes in the file than in the settings beside it.

    Args:
        mismatched: name, shape in the file and shape by the settings.
        whose: the subject of the message.
        settings: name of the file of settings.
    """
    shapes = sorted((str(key), tuple(theirs), tuple(ours)) for key, theirs, ours in mismatched)
    if shapes:
        key, theirs, ours = shapes[0]
        raise ModelError(
            f"{whose} and the {settings} beside them do not fit: {shortened(key)} has the shape "
            f"{theirs} in the file and {ours} by the configuration{_more(shapes)}; use the "
            f"{settings} that was saved with these weights"
        )


def _of_the_body(network: PreTrainedModel, lost: Collection[str]) -> list[str]:
    """Return those of the missing weights that attention depends on."""
    body = network.base_model
    inside = {id(one) for one in body.parameters()}
    head = network.get_output_embeddings() if body is network else None
    if head is not None:
        inside -= {id(one) for one in head.parameters()}
    # A pooler comes after all attention: without it, too, attention is the model's own.
    return [
        one
        for one in lost
        if id(network.get_parameter(one)) in inside and "pooler" not in one.split(".")
    ]


def _of_further_layers(network: PreTrainedModel, unexpected: Collection[str]) -> list[str]:
    """Return the unexpected weights that differ from the model's own in a number of their name.

    What the library leaves out on purpose, such as layers for predicting several tokens, is not
    among the unexpected weights.
    """
    prefix = f"{network.base_model_prefix}."
    names = {one.removeprefix(prefix) for one, _ in network.named_parameters()}
    patterns = {NUMBER.sub(".#.", one) for one in names}
    return sorted(
        one
        for one in (key.removeprefix(prefix) for key in unexpected)
        if one not in names and NUMBER.search(one) and NUMBER.sub(".#.", one) in patterns
    )


def _explained(
    network: PreTrainedModel, needed: list[str], unexpected: Collection[str], name: str
) -> str:
    """Return a sentence about weights that are missing."""
    start = f"the weights of '{name}' are incomplete: {needed[0]} is missing{_more(needed)}"
    prefix = _prefix(needed, unexpected)
    if prefix is not None:
        source = next((what for one, what in WRAPPERS.items() if prefix.startswith(one)), None)
        return (
            f"the names of the weights of '{name}' begin with '{shortened(prefix)}'"
            + (f", which {source} puts there" if source else "")
            + f": '{shortened(prefix + needed[0])}' should be '{needed[0]}'. Save the model inside "
            "the wrapper with save_pretrained, or rename the weights"
        )
    body = [one for one, _ in network.base_model.named_parameters()]
    if len(needed) > len(body) / 2 and unexpected:
        other = shortened(min(unexpected))
        return (
            f"{start}. The file has other weights, such as '{other}': its config.json "
            f"(type '{network.config.model_type}', class {type(network).__name__}) seems to belong "
            "to another model; use the one that was saved with these weights"
        )
    parts = {one.split(".")[0] for one in needed}
    if len(parts) == 1 and "decoder" in parts and hasattr(network, "encoder"):
        kind = type(network).__name__.replace("ForConditionalGeneration", "EncoderModel")
        return (
            f"{start}. The file holds an encoder alone; if that is meant, set architectures to "
            f'["{kind}"] in its config.json'
        )
    return f"{start}. Copy all weight files of the model into the folder, or save it again"


def _prefix(needed: Collection[str], unexpected: Collection[str]) -> str | None:
    """Return what stands before the names of all missing weights in the file; None if nothing."""
    first = max(needed, key=len)
    for key in unexpected:
        if key != first and key.endswith(f".{first}"):
            prefix = key.removesuffix(first)
            if sum(prefix + one in unexpected for one in needed) * 2 > len(needed):
                return prefix
    return None


def _more(items: Collection[Any]) -> str:
    return f", and {len(items) - 1} more" if len(items) > 1 else ""
