"""Loading with a check: the weights of a short text are compared with the library's own.

A model that attnviz does not ship is refused if its numbers cannot be proven.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from attnviz import models
from attnviz.captures.forward_pass import Encoded, capture_ids, encode
from attnviz.captures.proof import verify
from attnviz.errors import ModelNotSupported
from attnviz.models import Model, cancellable, check_wanted

__all__ = ["load"]

PROBE = "The cat sat on the mat, and the cat slept on the mat."


def load(
    name: str,
    *,
    device: str = "auto",
    dtype: str = "auto",
    revision: str | None = None,
    allowed_folders: Sequence[str | Path] | None = None,
    wanted: Callable[[], bool] | None = None,
) -> Model:
    """Load a model; check models that attnviz does not ship with `verify` on a short text.

    Models of pictures or sounds are checked on noise.

    >>> import attnviz
    >>> model = attnviz.load("gpt-classroom")
    >>> model.info.family
    'decoder'

    Args:
        name: a catalogue name ("gpt-classroom"), a local folder, or a hub id ("org/model").
        device: "auto", or a torch device.
        dtype: "auto" (float32 on a processor; on a GPU what the weights are stored in), or the
            name of a torch float type.
        revision: branch, tag or commit on the hub; the commit it resolves to is recorded.
        allowed_folders: when given, local folders outside these are refused (for servers).
        wanted: cancels the load with LoadCancelled once it returns False; called about five times
            a second, from the thread that loads.

    Raises:
        ModelError: the model cannot be loaded; its subclasses name the reason (see
            `attnviz.errors`).
        ModelNotSupported: no attention that attnviz could see, or the proof fails.
        LoadCancelled: `wanted` has returned False.
    """
    with cancellable(wanted):
        model = models.load(
            name, device=device, dtype=dtype, revision=revision, allowed_folders=allowed_folders
        )
        if model.info.source != "classroom":
            check_wanted()
            _self_check(model)
    return model


def _self_check(model: Model) -> None:
    """Refuse a model whose captured attention is not the library's own.

    NaN and infinity in the library's own run do not refuse a model: it is shown as what it is.
    """
    encoded = Encoded(features=_noise(model))
    if model.vocabulary is not None:
        reads_twice = models.reads_its_text_twice(model.network)
        target = PROBE if model.info.family == "encoder-decoder" and not reads_twice else None
        encoded = replace(encode(model, PROBE, target=target, cut=True), features=encoded.features)
        encoded = (
            models.with_target(model, encoded) if reads_twice else _known_target(model, encoded)
        )
    proof = verify(capture_ids(model, [encoded])[0])
    wrong = [sentence for sentence in proof.broken if sentence != proof.not_finite]
    if wrong:
        raise ModelNotSupported(
            f"attnviz cannot prove its numbers for '{model.info.name}' "
            f"({model.info.model_type}), so it does not show them: " + "; ".join(wrong)
        )


def _known_target(model: Model, encoded: Encoded) -> Encoded:
    """Return the input with a target of ids that the decoder's embedding has.

    Where a decoder has another vocabulary than the encoder, the tokenizer is the encoder's.
    """
    if encoded.target is None:
        return encoded
    words = models.vocabulary_size(model.network, "target")
    return replace(encoded, target=tuple(one % words for one in encoded.target))


def _noise(model: Model) -> dict[str, Tensor]:
    """Return a picture or a sound without any meaning, always the same."""
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.randn(shape, generator=generator) for name, shape in model.sites.sizes.items()
    }
