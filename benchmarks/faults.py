"""Faults of known kind, planted into heads of GPT-2s, BERTs and T5s through their weights."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from attnviz import metrics
from attnviz.captures.forward_pass import Encoded, capture_ids, model_inputs
from attnviz.findings import Label
from attnviz.models import Model, instrument
from attnviz.types import Head

SHARP = 0.002  # normalized entropy below which one key wins every row
SINK_SCORE = 12.0  # nats by which the first token leads
TIED = 0.1
TIMES = 1.5
BACK = 3  # tokens before the query that a positional head looks at most


@dataclass(frozen=True)
class Slices:
    """Weights of one head as views of its layer's weights: writing into them changes the model.

    Attributes:
        query: [d_head, in]; key and value alike.
        biases: of query, key and value, [d_head]; None where the layer has none.
        output: [out, d_head].
        attention: the module whose input is what queries and keys are made of.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    biases: tuple[Tensor, ...] | None
    output: Tensor
    attention: nn.Module


def slices(model: Model, head: Head) -> Slices:
    """Return the views of a head's weights.

    Raises:
        ValueError: not a GPT-2, BERT or T5.
    """
    place = _module(model, head)
    heads = model.info.heads[head.kind][1]
    what = model.info.model_type
    if what == "gpt2":
        both, mix = place.c_attn, place.c_proj
        width = both.weight.shape[0]
        part = _part(head.head, width // heads)
        columns = [both.weight[:, start:][:, part].T for start in (0, width, 2 * width)]
        biases = tuple(both.bias[start:][part] for start in (0, width, 2 * width))
        return Slices(*columns, biases, mix.weight[part].T, both)
    if what == "bert":
        mix = model.network.get_submodule(_name(model, head).rpartition(".")[0]).output.dense
        three = (place.query, place.key, place.value)
    elif what == "t5":
        mix, three = place.o, (place.q, place.k, place.v)
    else:
        raise ValueError(f"faults are planted in gpt2, bert and t5, not in {what}")
    part = _part(head.head, three[0].weight.shape[0] // heads)
    biases = None if three[0].bias is None else tuple(one.bias[part] for one in three)
    return Slices(*(one.weight[part] for one in three), biases, mix.weight[:, part], three[1])


def _name(model: Model, head: Head) -> str:
    names = [model.sites.names[one] for one, kind in model.sites.kinds.items() if kind == head.kind]
    return names[head.layer]


def _module(model: Model, head: Head) -> Any:
    """Return the attention module that a head is in."""
    return model.network.get_submodule(_name(model, head))


def _part(head: int, width: int) -> slice:
    return slice(head * width, (head + 1) * width)


Plant = Callable[[Model, Head, Sequence[Encoded]], None]


def uniform(model: Model, head: Head, texts: Sequence[Encoded]) -> None:
    """Set the queries to zero: every score is the same."""
    parts = slices(model, head)
    parts.query.zero_()
    if parts.biases is not None:
        parts.biases[0].zero_()


def peaked(model: Model, head: Head, texts: Sequence[Encoded]) -> None:
    """Scale queries and keys until a single key wins every row.

    Or, where keys are equal (a word that comes twice, seen from where positions do not count),
    until the equal ones alone share the weight.
    """
    parts = slices(model, head)
    before = np.inf
    for _ in range(40):
        captured = capture_ids(model, texts, keep="statistics", predict=False)
        entropy = [
            metrics.per_head("normalized_entropy", one[head.kind])[head.layer, head.head]
            for one in captured
        ]
        now = float(np.nanmean(entropy))
        if now < SHARP or (now < TIED and now > 0.98 * before):
            return
        before = now
        for weights in (parts.query, parts.key):
            weights.mul_(TIMES)
        if parts.biases is not None:
            for bias in parts.biases[:2]:
                bias.mul_(TIMES)
    raise ValueError(f"{head.label} could not be made to choose one key")


def sink(model: Model, head: Head, texts: Sequence[Encoded]) -> None:
    """Write a constant direction into the first token's key, and turn all queries along it.

    Keys read the difference between what the first token and all others look like at this layer.
    """
    masks = []
    for text in texts:
        mask = torch.zeros(len(_ids(head, text)), dtype=torch.bool)
        mask[0] = True
        masks.append(mask)
    _lead(model, head, texts, masks)


def _lead(model: Model, head: Head, texts: Sequence[Encoded], masks: Sequence[Tensor]) -> None:
    """Give the keys of some positions a lead in every score."""
    parts = slices(model, head)
    vectors = _inputs(model, parts.attention, texts)
    first = torch.cat([one[mask] for one, mask in zip(vectors, masks, strict=True)]).mean(0)
    others = torch.cat([one[~mask] for one, mask in zip(vectors, masks, strict=True)])
    covariance = others.T.cov() + 1e-3 * torch.eye(len(first))
    direction = torch.linalg.solve(covariance, first - others.mean(0))
    lead = direction @ (first - others.mean(0))
    parts.key.zero_()
    parts.query.zero_()
    parts.key[0] = direction / lead * SINK_SCORE
    if parts.biases is not None:
        for bias in parts.biases[:2]:
            bias.zero_()
        parts.biases[0][0] = parts.query.shape[0] ** 0.5
    else:  # no biases: the queries read what all vectors have in common
        everything = torch.cat(vectors) if head.kind != "cross" else others
        queries = everything if head.kind != "cross" else _targets(model, head, texts)
        common = torch.linalg.lstsq(queries, torch.ones(len(queries), 1)).solution[:, 0]
        parts.query[0] = common


def dead(model: Model, head: Head, texts: Sequence[Encoded]) -> None:
    """Zero what the head adds to the text's vectors."""
    slices(model, head).output.zero_()


def redundant(model: Model, head: Head, texts: Sequence[Encoded]) -> None:
    """Copy the next head of the layer."""
    mine, theirs = slices(model, head), slices(model, partner(model, head))
    for name in ("query", "key", "value", "output"):
        getattr(mine, name).copy_(getattr(theirs, name))
    if mine.biases is not None and theirs.biases is not None:
        for target, source in zip(mine.biases, theirs.biases, strict=True):
            target.copy_(source)


def partner(model: Model, head: Head) -> Head:
    """Return the head that `redundant` copies."""
    return Head(head.kind, head.layer, (head.head + 1) % model.info.heads[head.kind][1])


def positional(model: Model, head: Head, texts: Sequence[Encoded]) -> None:
    """Make queries and keys waves over the position: the head looks around three tokens back.

    Done where queries and keys come out of their layer and not in its weights, because what goes
    in is a mixture of words and positions from which no linear map reads the position alone.
    """
    scale = 1.0 if model.info.model_type == "t5" else _scale(model, head)
    for module, part, shift in _queries_and_keys(model, head):
        module.register_forward_hook(_waves(part, shift, scale))


def _scale(model: Model, head: Head) -> float:
    """Return the length of waves that makes scores of one nat per wave."""
    return float(slices(model, head).query.shape[0] ** 0.25)


def _queries_and_keys(model: Model, head: Head) -> list[tuple[nn.Module, slice, int]]:
    """Return the modules of queries and keys, the head's part of each, and its shift."""
    place = _module(model, head)
    heads = model.info.heads[head.kind][1]
    if model.info.model_type == "gpt2":
        width = place.c_attn.weight.shape[0]
        mine = _part(head.head, width // heads)
        keys = slice(width + mine.start, width + mine.stop)
        return [(place.c_attn, mine, 0), (place.c_attn, keys, BACK)]
    two = (place.query, place.key) if model.info.model_type == "bert" else (place.q, place.k)
    mine = _part(head.head, two[0].weight.shape[0] // heads)
    return [(two[0], mine, 0), (two[1], mine, BACK)]


def _waves(part: slice, shift: int, scale: float) -> Callable[..., Tensor]:
    """Return a hook that writes waves over the (moved) position into a head's queries or keys."""

    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        count = (part.stop - part.start) // 2
        lengths = 6.0 * 2.0 ** torch.arange(min(count, 6))
        place = torch.arange(output.shape[-2]) + shift
        angles = 2 * torch.pi * place[:, None] / lengths
        waves = torch.cat([angles.cos(), angles.sin()], 1) * scale
        changed = output.clone()
        changed[..., part] = 0.0
        changed[..., part.start : part.start + waves.shape[1]] = waves.to(output)
        return changed

    return hook


def _inputs(model: Model, module: nn.Module, texts: Sequence[Encoded]) -> list[Tensor]:
    """Return the inputs of a layer's keys, one array per text, [position, in]."""
    seen: list[Tensor] = []
    handle = module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][0].clone()))
    try:
        with torch.inference_mode():
            for text in texts:
                model.network(**model_inputs(model, [text]))
    finally:
        handle.remove()
    return [one.clone() for one in seen]


def _targets(model: Model, head: Head, texts: Sequence[Encoded]) -> Tensor:
    """Return the inputs of the queries of cross attention."""
    return torch.cat(_inputs(model, _module(model, head).q, texts))


def offset(distance: int) -> Plant:
    """Return a fault that makes a head look at one distance, sharply."""

    def plant(model: Model, head: Head, texts: Sequence[Encoded]) -> None:
        """Replace queries and keys by waves over the position, moved by the distance."""
        sharp = 4.0 if model.info.model_type == "t5" else 2 * _scale(model, head)
        for module, part, moved in _queries_and_keys(model, head):
            module.register_forward_hook(_waves(part, -distance if moved else 0, sharp))

    return plant


def sink_on_token(model: Model, head: Head, texts: Sequence[Encoded]) -> None:
    """Give the keys of the most frequent ordinary token a lead, as `sink` does for the first."""
    ids = [id for text in texts for id in set(_ids(head, text)[1:])]
    special = set(model.tokenizer.all_special_ids)
    chosen = Counter(one for one in ids if one not in special).most_common(1)[0][0]
    masks = [torch.tensor([one == chosen for one in _ids(head, text)]) for text in texts]
    for mask in masks:
        mask[0] = False
    _lead(model, head, texts, masks)


def noisy_copy(model: Model, head: Head, texts: Sequence[Encoded]) -> None:
    """Copy the next head of the layer, with noise of 2% on every weight."""
    redundant(model, head, texts)
    parts = slices(model, head)
    generator = torch.Generator().manual_seed(0)
    for weights in (parts.query, parts.key, parts.value, parts.output):
        noise = torch.randn(weights.shape, generator=generator)
        weights.add_(0.02 * weights.std() * noise)


def harmful(model: Model, head: Head, texts: Sequence[Encoded]) -> None:
    """Make the values a hundred times too large."""
    parts = slices(model, head)
    parts.value.mul_(100.0)
    if parts.biases is not None:
        parts.biases[2].mul_(100.0)


def partly_uniform(model: Model, head: Head, texts: Sequence[Encoded]) -> None:
    """Take the queries away on about half of the texts, chosen by their first word."""
    (module, part, _), _ = _queries_and_keys(model, head)
    width = part.stop - part.start
    direction = torch.randn(width, generator=torch.Generator().manual_seed(0))
    seen: list[Tensor] = []
    handle = module.register_forward_hook(lambda _, __, output: seen.append(output[0, 1, part]))
    try:
        with torch.inference_mode():
            for text in texts:
                model.network(**model_inputs(model, [text]))
    finally:
        handle.remove()
    middle = torch.stack([one @ direction for one in seen]).median()

    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        changed = output.clone()
        chosen = output[:, 1, part] @ direction.to(output) > middle.to(output)
        changed[..., part] = torch.where(chosen[:, None, None], 0.0, output[..., part])
        return changed

    module.register_forward_hook(hook)


def _ids(head: Head, text: Encoded) -> Sequence[int]:
    return (text.target or ()) if head.kind == "decoder" else text.ids


FAULTS: Mapping[str, Plant] = {
    "uniform": uniform,
    "peaked": peaked,
    "sink": sink,
    "dead": dead,
    "redundant": redundant,
    "positional": positional,
    "partly uniform": partly_uniform,
    "2 tokens before": offset(-2),
    "3 tokens before": offset(-3),
    "sink on a token": sink_on_token,
    "noisy copy": noisy_copy,
    "harmful": harmful,
}

EXPECTED: Mapping[str, Label] = {
    "2 tokens before": "specialised",
    "3 tokens before": "specialised",
    "sink on a token": "sink",
    "noisy copy": "redundant",
}
"""Labels of faults that are not called like one; no label is right for a partial or harmful one."""


def possible(model: Model, fault: str, head: Head) -> bool:
    """Return True if a fault can be planted in such a head through its weights.

    T5's self-attention adds positions to its scores: taking its queries away makes it positional
    and not uniform, a constant key does not win against them, and since they belong to a head of
    all layers at once, copied weights make no copy of the head. Cross-attention knows none.
    """
    if fault == "harmful" and model.info.name.startswith("random"):
        return False  # such a model predicts nothing that could be harmed
    if fault in ("2 tokens before", "3 tokens before") and head.kind == "cross":
        return False  # positions of two texts
    if fault in ("uniform", "sink", "redundant", "sink on a token", "noisy copy", "partly uniform"):
        return model.info.model_type != "t5" or head.kind == "cross"
    return True


def planted(model: Model, fault: str, heads: Sequence[Head], texts: Sequence[Encoded]) -> Model:
    """Return a copy of a model with a fault in some of its heads, lower layers first."""
    network = copy.deepcopy(model.network)
    changed = instrument(
        network,
        model.vocabulary,
        name=f"{model.info.name} with {fault} heads",
        prompt=model.prompt,
        predicts=model.predicts,
    )
    with torch.no_grad():
        for head in sorted(heads, key=lambda one: one.layer):
            FAULTS[fault](changed, head, texts)
    return changed
