"""Generation token by token: candidates, the chosen token, and its attention in every head."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float

from attnviz.errors import InputError, TextTooLong
from attnviz.experiments.generation.cached_model import CachedModel, cache_bytes
from attnviz.experiments.generation.sampling import Chooser, Sampling
from attnviz.models import Encoded, Model, encode, labels, vocabulary_size
from attnviz.models.inputs.input_checks import check_encoded
from attnviz.models.inputs.text_encoding import decoder_start, end_ids, target_ids
from attnviz.types import Kind

__all__ = ["Candidate", "GenerationStep", "generate", "generate_ids", "prompt_ids"]

CANDIDATES = 10


@dataclass(frozen=True)
class Candidate:
    """Token that may come next.

    Attributes:
        id: in the vocabulary.
        label: the token's text, with invisible characters made visible.
        probability: softmax of the model's logits.
        drawn: probability after the settings (temperature, top-k, top-p, repetition penalty); the
            probability with which it is drawn when sampling.
    """

    id: int
    label: str
    probability: float
    drawn: float


@dataclass(frozen=True)
class GenerationStep:
    """Generated token, and the row of attention that led to it.

    Attributes:
        position: position of the token that was read last: the query of `rows`. The generated
            token gets the position after it.
        token: the generated token.
        candidates: the likeliest tokens by `drawn`, largest first; may lack `token`.
        rows: attention weights of the query at `position`, per kind: "self" for a decoder;
            "decoder" and "cross" for an encoder-decoder. Rows sum to 1, less the share of a learned
            sink.
        cache_bytes: bytes of keys and values of each layer of self-attention.
        ends: True if the token ends the text.
    """

    position: int
    token: Candidate
    candidates: tuple[Candidate, ...]
    rows: Mapping[Kind, Float[np.ndarray, "layer head key"]]
    cache_bytes: Mapping[int, int]
    ends: bool


def generate(
    model: Model,
    text: str,
    *,
    target: str | None = None,
    sampling: Sampling | None = None,
    max_new_tokens: int = 20,
    begin: bool | None = None,
) -> Iterator[GenerationStep]:
    """Continue a text token by token, and yield each token with its attention.

    Equal to the library's `generate` id for id, greedily and sampled from the same seed. Ends after
    a token that ends the text, after `max_new_tokens`, or when the model has no further position.

    >>> import attnviz
    >>> model = attnviz.load("gpt-classroom")
    >>> step = next(attnviz.generate(model, "Once upon a"))
    >>> step.token.label, step.rows["self"].shape[:2]
    ('·time', (4, 8))

    Args:
        model: a decoder, or an encoder-decoder that reads text.
        text: the prompt; what the encoder reads, for an encoder-decoder.
        target: beginning of the decoder's text, for an encoder-decoder; its start token when None.
        sampling: greedy when None.
        max_new_tokens: at most this many tokens; at least 1.
        begin: as for `capture`.

    Raises:
        EmptyText: the text is empty.
        TextTooLong: the prompt leaves no position for a new token.
        InputError: the model does not write, or `max_new_tokens` is below 1.
    """
    encoded = prompt_ids(model, text, target=target, begin=begin)
    return generate_ids(model, encoded, sampling=sampling, max_new_tokens=max_new_tokens)


def prompt_ids(
    model: Model, text: str, *, target: str | None = None, begin: bool | None = None
) -> Encoded:
    """Return the ids of a prompt: a decoder's without an end token, a target without one.

    Raises:
        InputError: the model does not write, or takes no target.
    """
    _check_writes(model)
    encoded = encode(model, text, begin=begin)
    if model.info.family == "decoder":
        if target is not None:
            raise InputError(f"{model.info.name} continues the text itself; leave the target out")
        return encoded
    start = decoder_start(model)
    written = (start,) if target is None else target_ids(model, target, False, None)[0]
    ends = end_ids(model)
    while len(written) > 1 and written[-1] in ends:
        written = written[:-1]
    return replace(encoded, target=written)


def generate_ids(
    model: Model,
    encoded: Encoded,
    *,
    sampling: Sampling | None = None,
    max_new_tokens: int = 20,
    candidates: int = CANDIDATES,
    draws_before: int = 0,
) -> Iterator[GenerationStep]:
    """Continue a prompt of ids; see `generate`.

    Args:
        model: a decoder, or an encoder-decoder that reads text.
        encoded: from `prompt_ids`.
        sampling: greedy when None.
        max_new_tokens: at most this many tokens; at least 1.
        candidates: number of candidates of each step.
        draws_before: random draws of this seed that were made before, for a text that is generated
            in several calls.

    Raises:
        TextTooLong: the prompt leaves no position for a new token.
        InputError: as for `generate`.
    """
    _check_writes(model)
    check_encoded(model, [encoded])
    if max_new_tokens < 1:
        raise InputError(f"max_new_tokens is at least 1, not {max_new_tokens}")
    both = model.info.family == "encoder-decoder"
    if both and not encoded.target:
        raise InputError("the decoder's text begins with its start token; use prompt_ids")
    ids = list((encoded.target or ()) if both else encoded.ids)
    limit = model.info.max_target_tokens if both else model.info.max_tokens
    if limit is not None and len(ids) >= limit:
        raise TextTooLong(
            f"this text has {len(ids):,} tokens, and {model.info.name} has room for {limit:,}: no "
            "position is left for a new token; shorten the text",
            tokens=len(ids),
            limit=limit - 1,
        )
    room = max_new_tokens if limit is None else min(max_new_tokens, limit - len(ids))
    chooser = Chooser(sampling or Sampling(), model.network.device)
    chooser.skip(draws_before, vocabulary_size(model.network, "target"))
    return _steps(model, encoded, ids, chooser, room, candidates)


def _steps(
    model: Model,
    encoded: Encoded,
    ids: list[int],
    chooser: Chooser,
    room: int,
    candidates: int,
) -> Iterator[GenerationStep]:
    """Yield the steps of a checked request."""
    cached = CachedModel(model, source=encoded if model.info.family == "encoder-decoder" else None)
    ends = end_ids(model)
    new = ids
    for _ in range(room):
        logits, rows = cached.read_with_rows(new)
        last = logits[-1:]
        if not bool(last.isfinite().all()):
            raise InputError(
                f"{model.info.name} computes NaN or infinity at position {len(ids) - 1}, so no "
                "token can be chosen; see its proof in Explore"
            )
        # The settings depend on all tokens so far (the repetition penalty does).
        drawn = chooser.probabilities(torch.tensor([ids], device=last.device), last)
        chosen = chooser.choose(drawn)
        best = drawn[0].topk(min(candidates, drawn.shape[-1])).indices.tolist()
        given = last[0].softmax(-1)
        numbers = [chosen, *best]
        named = [
            Candidate(number, label, float(given[number]), float(drawn[0, number]))
            for number, label in zip(numbers, labels(model.vocabulary, numbers), strict=True)
        ]
        step = GenerationStep(
            position=len(ids) - 1,
            token=named[0],
            candidates=tuple(named[1:]),
            rows=rows,
            cache_bytes=cache_bytes(cached.cache) if cached.cache is not None else {},
            ends=chosen in ends,
        )
        yield step
        if step.ends:
            return
        ids = [*ids, chosen]
        new = [chosen]


def _check_writes(model: Model) -> None:
    """Refuse models that do not write text.

    Raises:
        InputError: an encoder, a model without a trained language head, or one that reads no text.
    """
    info = model.info
    if info.family == "encoder" or not type(model.network).can_generate():
        raise InputError(
            f"{info.name} is an {info.family} that writes no text; choose a GPT or a T5"
            if info.family == "encoder"
            else f"{info.name} has no language head that writes text; choose a GPT or a T5"
        )
    if not model.predicts:
        raise InputError(f"the language head of {info.name} was not trained, so it writes noise")
    if "input_ids" not in model.sites.reads or len(model.sites.reads) != 1:
        raise InputError(f"{info.name} reads {', '.join(model.sites.reads)}; a text is needed")
