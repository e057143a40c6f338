"""Tokens of a text replaced by the mask token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from attnviz.errors import InputError
from attnviz.models import Encoded, Model

__all__ = ["mask_id", "mask_tokens"]


def mask_id(model: Model) -> int | None:
    """Return the id of the model's mask token; None for models that fill in no gaps."""
    if model.info.family != "encoder" or not model.predicts:
        return None
    mask: int | None = getattr(model.tokenizer, "mask_token_id", None)
    return mask


def mask_tokens(model: Model, encoded: Encoded, positions: Sequence[int]) -> Encoded:
    """Return a text with the mask token at some positions (Devlin et al. 2019).

    Args:
        model: an encoder with a trained language head.
        encoded: the text.
        positions: of the tokens that are replaced, from 0.

    Raises:
        InputError: the model has no mask token, or the text has no such position.
    """
    mask = mask_id(model)
    if mask is None:
        raise InputError(
            f"{model.info.name} fills in no masked tokens; choose a model such as BERT"
        )
    count = len(encoded.ids)
    for position in positions:
        if not 0 <= position < count:
            raise InputError(f"there is no token {position} to mask; the text has {count} tokens")
    hidden = set(positions)
    ids = tuple(mask if at in hidden else one for at, one in enumerate(encoded.ids))
    return replace(encoded, ids=ids)
