"""Checks of a model's input, made before the library is called."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral

from attnviz.errors import InputError, TextTooLong
from attnviz.models.inputs.model_inputs import Encoded
from attnviz.models.loading.described import Side, segment_kinds, vocabulary_size
from attnviz.models.loading.load import Model
from attnviz.models.loading.model_classes import reads_its_text_twice

__all__ = ["check_encoded", "check_reads"]

SENSES = {"input_ids": "a text", "pixel_values": "a picture", "input_features": "a sound"}


def check_reads(model: Model, given: Sequence[str]) -> None:
    """Raise InputError if an argument that the model needs is not among the given ones."""
    missing = [name for name in model.sites.reads if name not in given]
    if missing:
        raise InputError(
            f"{model.info.name} cannot run without "
            + " and ".join(f"{SENSES[name]} ({name})" for name in missing)
            + "; in Python, capture it with attnviz.capture_inputs(model, {"
            + ", ".join(f"'{name}': tensor" for name in model.sites.reads)
            + "})"
        )


def check_encoded(model: Model, encoded: Sequence[Encoded]) -> None:
    """Check ids, lengths, segments, pictures and sounds of a batch.

    On a GPU an id beyond the embedding would end the process for every user.

    Raises:
        InputError: no ids, ids without a row in the embedding, segments that do not fit, or
            features that are missing or not finite.
        TextTooLong: more ids than the model has positions.
    """
    for one in encoded:
        _check_features(model, one)
        if "input_ids" in model.sites.reads:
            _check_ids(model, one.ids, "source")
            _check_segments(model, one)
        if one.target is not None:
            _check_ids(model, one.target, "target")


def _check_ids(model: Model, ids: Sequence[int], side: Side) -> None:
    """Check the ids of one side against its embedding and its positions."""
    info = model.info
    text = "text" if side == "source" else "target"
    if not ids:
        raise InputError(f"a {text} without any token cannot be captured")
    if not all(isinstance(one, Integral) for one in ids):
        raise InputError(f"the token ids of a {text} should be whole numbers; got {ids[0]!r} first")
    words = vocabulary_size(model.network, side)
    if not 0 <= min(ids) <= max(ids) < words:
        raise InputError(
            f"token ids go from {min(ids)} to {max(ids)}, but {info.name} knows those from "
            f"0 to {words - 1}; is this the tokenizer it was trained with?"
        )
    limit = info.max_tokens if side == "source" else info.max_target_tokens
    if limit is not None and len(ids) > limit:
        raise TextTooLong(
            f"this {text} has {len(ids):,} tokens, and {info.name} has room for {limit:,}",
            tokens=len(ids),
            limit=limit,
        )
    if side == "source" and reads_its_text_twice(model.network):
        end = model.network.config.eos_token_id
        if end not in ids:
            raise InputError(
                f"{info.name} classifies a text at its end token (id {end}), and this text has "
                "none; end it with that token, as the tokenizer does"
            )


def _check_segments(model: Model, encoded: Encoded) -> None:
    """Check that there is a segment for each id, and that the model has an embedding of it."""
    segments = encoded.segments
    if segments is None:
        return
    if len(segments) != len(encoded.ids):
        raise InputError(
            f"{len(segments)} segments (token_type_ids) were given for {len(encoded.ids)} ids; "
            "give one for each id"
        )
    kinds = segment_kinds(model.network)
    if encoded.reads_segments and kinds > 1 and not 0 <= min(segments) <= max(segments) < kinds:
        raise InputError(
            f"segments (token_type_ids) go from {min(segments)} to {max(segments)}, but "
            f"{model.info.name} knows those from 0 to {kinds - 1}"
        )


def _check_features(model: Model, encoded: Encoded) -> None:
    """Check that pictures and sounds are those the model reads, and hold finite floats."""
    given = ("input_ids", *encoded.features)
    check_reads(model, given)
    for name, values in encoded.features.items():
        if name not in model.sites.reads:
            raise InputError(f"{model.info.name} does not read {name}")
        if not values.is_floating_point() or not bool(values.isfinite().all()):
            raise InputError(
                f"'{name}' should be finite floats, as the model's processor makes them, and is "
                f"{str(values.dtype).removeprefix('torch.')}"
                + ("" if not values.is_floating_point() else " with NaN or infinities in it")
            )
