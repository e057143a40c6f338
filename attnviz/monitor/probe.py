"""Probe of a monitored model: the same few sequences from the first step to the last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from attnviz import metrics
from attnviz.captures.forward_pass import Encoded, capture_ids, encode
from attnviz.captures.output_share import output_shares
from attnviz.errors import InputError
from attnviz.metrics.registry import mean_over_rows
from attnviz.models import (
    Model,
    encode_inputs,
    reads_its_text_twice,
    vocabulary_size,
    with_target,
)
from attnviz.types import Kind

__all__ = ["NOT_FINITE", "OUTPUT_SHARE", "Probe", "Scores", "Texts", "make_probe", "measure"]

Texts = Sequence[str] | Sequence[tuple[str, str]] | Mapping[str, Tensor]
Scores = Mapping[tuple[Kind, str], Float[np.ndarray, "layer head"]]
"""A metric of every head by kind of attention and name; NaN for a head where it does not exist."""

PERIOD = 25
REPEATS = 4
TEXT_TOKENS = 64  # a text is cut here: four of them cost about as much as the repeats
SEED = 0

TEXTS = (
    "The river rose in the night. By morning the water had reached the lowest houses, and people "
    "were carrying what they could to the school on the hill.",
    "To make bread you need flour, water, salt and time. Mix the flour with the water, wait an "
    "hour, then add the salt and fold the dough until it is smooth.",
    "Anna asked her brother whether he had seen the letter. He said that he had put the letter on "
    "the table, but the table was empty, and Anna did not believe him.",
    "Light from the sun takes about eight minutes to reach the earth. Light from the nearest other "
    "star takes more than four years.",
)

NOT_FINITE = "not_finite"
OUTPUT_SHARE = "output_share"

ON_REPEATS = ("previous_token", "duplicate_token", "induction")
"""Metrics that are taken on repeated random tokens where there are any, not on texts."""


@dataclass(frozen=True)
class Probe:
    """Sequences: random tokens that repeat first, then texts."""

    sequences: tuple[Encoded, ...]
    repeats: int

    def sequences_for(self, metric: str) -> slice:
        """Return the sequences on which a metric is taken."""
        if metric in ON_REPEATS:
            return slice(0, self.repeats or None)
        return slice(self.repeats if self.repeats < len(self.sequences) else 0, None)


def make_probe(model: Model, texts: Texts | None) -> Probe:
    """Return the fixed probe of a model.

    A decoder of texts reads random tokens that repeat, and the texts; every other model the texts
    alone.

    Args:
        model: what is going to read it.
        texts: strings, pairs of strings, or a batch; built-in English texts when None, and none at
            all for a decoder without a tokenizer.

    Raises:
        InputError: texts that this model cannot read, or none where some are needed.
    """
    repeats: list[Encoded] = []
    if model.info.family == "decoder" and model.sites.reads == ("input_ids",):
        repeats = _repeats(model)
    if isinstance(texts, Mapping):
        read = _from_batch(model, texts)
    elif texts is None and repeats and model.vocabulary is None:
        read = []
    else:
        read = _from_texts(model, texts)
    return Probe((*repeats, *read), len(repeats))


def measure(model: Model, probe: Probe, names: Sequence[str]) -> Scores:
    """Return every named metric of every head: the mean over the sequences on which it exists.

    NaN for a head that computes NaN or infinity on any sequence. `NOT_FINITE` is the share of such
    sequences. `OUTPUT_SHARE` is what a head adds to the residual stream, on the last sequence.
    """
    captures = capture_ids(model, probe.sequences, keep="statistics", predict=False)
    shares = output_shares(model, probe.sequences[-1])
    scores: dict[tuple[Kind, str], np.ndarray] = {}
    for kind in captures[0].kinds:
        broken = np.stack([one[kind].not_finite for one in captures], axis=-1)
        scores[kind, NOT_FINITE] = broken.mean(-1, dtype=np.float32)
        scores[kind, OUTPUT_SHARE] = np.where(broken.any(-1), np.nan, shares[kind])
        for name in names:
            tables = [
                metrics.per_head(name, one[kind]) for one in captures[probe.sequences_for(name)]
            ]
            means = mean_over_rows(np.stack(tables, axis=-1))
            scores[kind, name] = np.where(broken.any(-1), np.nan, means)
    return scores


def _repeats(model: Model) -> list[Encoded]:
    """Return random tokens twice in a row after the begin token (Olsson et al. 2022)."""
    start, ordinary = _vocabulary(model)
    period = PERIOD
    if model.info.max_tokens is not None:
        period = max(2, min(period, (model.info.max_tokens - len(start)) // 2))
    random = np.random.default_rng(SEED)
    drawn = [
        random.choice(ordinary, period, replace=len(ordinary) < period).tolist()
        for _ in range(REPEATS)
    ]
    return [Encoded((*start, *copy, *copy)) for copy in drawn]


def _vocabulary(model: Model) -> tuple[list[int], list[int]]:
    """Return the begin token, if there is one, and the ordinary tokens."""
    config = model.network.config
    size = vocabulary_size(model.network)
    if model.vocabulary is not None:
        special = set(model.vocabulary.all_special_ids)
        begin = model.vocabulary.bos_token_id
        size = min(size, len(model.vocabulary))
    else:
        begin = getattr(config, "bos_token_id", None)
        named = [getattr(config, f"{role}_token_id", None) for role in ("bos", "eos", "pad")]
        special = {one for one in named if isinstance(one, int)}
    start = [begin] if isinstance(begin, int) and 0 <= begin < size else []
    return start, [number for number in range(size) if number not in special]


def _from_texts(
    model: Model, texts: Sequence[str] | Sequence[tuple[str, str]] | None
) -> list[Encoded]:
    both = model.info.family == "encoder-decoder"
    if model.vocabulary is None or model.sites.reads != ("input_ids",):
        needs = " and ".join(model.sites.reads)
        raise InputError(
            f"AttentionMonitor has nothing that {model.info.name} could read: give it a tokenizer "
            f"(tokenizer=, or processing_class= of the Trainer), or a batch with {needs} as texts="
        )
    if texts is None:
        texts = [(text, text) for text in TEXTS] if both else TEXTS
    read = []
    for one in texts:
        text, second = (one, None) if isinstance(one, str) else one
        if both and second is None:
            raise InputError(
                f"{model.info.name} needs a target for each text: give pairs (text, target)"
            )
        side = "target" if both else "pair"
        read.append(encode(model, text, **{side: second}, cut=True, limit=TEXT_TOKENS))  # type: ignore[arg-type]
    return read


def _from_batch(model: Model, batch: Mapping[str, Tensor]) -> list[Encoded]:
    """Return the examples of a batch as a collator makes it, without their padding."""
    given = {name: torch.as_tensor(values).cpu() for name, values in batch.items()}
    rows = range(len(next(iter(given.values()))))
    read = [
        encode_inputs(model, {name: values[row : row + 1] for name, values in given.items()})
        for row in rows
    ]
    if model.info.family != "encoder-decoder":
        return read
    if reads_its_text_twice(model.network):
        return [with_target(model, one) for one in read]
    if any(one.target is None for one in read):
        raise InputError(
            f"{model.info.name} needs labels or decoder_input_ids in the batch of its probe"
        )
    return read
