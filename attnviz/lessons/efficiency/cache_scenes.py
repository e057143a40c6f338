"""Numbers of the lesson about the cache of keys and values."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Bool, Float

from attnviz.attention import AttentionStack
from attnviz.captures.forward_pass import capture
from attnviz.efficient.layer_stack import layer_bytes
from attnviz.efficient.published_stacks import PUBLISHED
from attnviz.errors import InputError
from attnviz.experiments.generation.budget_losses import BudgetLosses
from attnviz.experiments.generation.multiplications import forward_multiplications
from attnviz.experiments.text_sets import joined_stories
from attnviz.lessons.head_row import HeadRow, head_row
from attnviz.lessons.masked_run import losses_under
from attnviz.lessons.phrases.named_phrases import phrases_of
from attnviz.lessons.scene import LessonInput, Scene
from attnviz.models import Model
from attnviz.types import Head
from attnviz.written_numbers import percent

__all__ = ["cache_scenes"]

phrase = phrases_of("cache")

WRITTEN = 48
"""Tokens that are written with and without the cache."""

STACKS = ("Llama 2 7B", "Llama 2 70B", "Mistral 7B", "Llama 3 8B", "DeepSeek-V3", "Jamba")
LENGTHS = (1024, 4096, 8192, 16_384, 32_768)
"""Tokens for which the caches of published models are counted."""

BUDGETS = (4, 8, 16, 32, 64, 128)
SMALL = 1
"""Place in `BUDGETS` of the budget whose loss is predicted."""

TEXTS, LONGEST, FIRST = 3, 256, 100
"""Joined stories, their tokens, and the first token whose loss counts."""

ALLOWED = 0.1
"""Nats above the loss of the whole cache that count as unbroken."""


def cache_scenes(given: LessonInput) -> Mapping[str, Scene]:
    """Return the scenes: what is needed again, what it saves, its size, and its limits.

    Raises:
        InputError: as `head_row`, or a model that is no decoder.
    """
    model = given.model
    if model.info.family != "decoder":
        raise InputError(phrase("no_decoder", model=model.info.name))
    texts = _stories(model)
    return {
        "needed": _needed(given, head_row(given)),
        "saved": _saved(model),
        "memory": _memory(),
        **_cut(model, texts),
    }


def _needed(given: LessonInput, row: HeadRow) -> Scene:
    """Return how much zeros in the place of a vector change the newest output.

    The array has an axis each for the heads of the layer, the tokens, and query, key and value.
    """
    stack, chosen = given.capture[given.head.kind], given.head
    count = row.query + 1
    heads = [Head(chosen.kind, chosen.layer, one) for one in range(stack.shape[1])]
    return Scene(
        labels={
            "tokens": row.labels[:count],
            "vectors": tuple(phrase(key) for key in ("query", "key", "value")),
            "heads": [head.label for head in heads],
        },
        arrays={"changes": np.stack([_changes(stack, head, count) for head in heads])},
        values={
            "newest": row.labels[row.query],
            "head": [head.label for head in heads],
            "count": float(count),
            "kept": float(2 * (count - 1)),
        },
        places={"last": row.query, "chosen": chosen.head},
    )


def _changes(stack: AttentionStack, head: Head, count: int) -> Float[np.ndarray, "token vector"]:
    """Return the relative changes of a head's newest output, one vector at a time being zero."""
    vectors = [
        np.asarray(one(head.layer, head.head), dtype=np.float64)[:count]
        for one in (stack.query, stack.key, stack.value)
    ]
    scale = float(stack.layers[head.layer].scaling)
    before = _newest_output(scale, *vectors)
    changes = np.zeros((count, len(vectors)))
    for token in range(count):
        for kind in range(len(vectors)):
            changed = [one.copy() for one in vectors]
            changed[kind][token] = 0
            apart = _newest_output(scale, *changed) - before
            changes[token, kind] = np.linalg.norm(apart) / np.linalg.norm(before)
    return changes


def _newest_output(
    scale: float,
    query: Float[np.ndarray, "token d"],
    key: Float[np.ndarray, "token d"],
    value: Float[np.ndarray, "token d_value"],
) -> Float[np.ndarray, " d_value"]:
    scores = key @ query[-1] * scale  # (token)
    powers = np.exp(scores - scores.max())
    output: np.ndarray = powers @ value / powers.sum()
    return output


def _saved(model: Model) -> Scene:
    """Return the millions of multiplications of each new token, with and without the cache."""
    lengths = range(1, WRITTEN + 1)
    again = np.array([forward_multiplications(model, one) for one in lengths]) / 1e6
    cached = np.array([forward_multiplications(model, 1, one - 1) for one in lengths]) / 1e6
    return Scene(
        labels={"lengths": [str(one) for one in lengths]},
        arrays={"again": again, "cached": cached},
        values={
            "count": float(WRITTEN),
            "times": float(again.sum() / cached.sum()),
            "each": (again / cached).tolist(),
        },
        places={"first": 0, "last": WRITTEN - 1},
    )


def _memory() -> Scene:
    """Return the gigabytes of caches of published models in 16 bits, [length, model]."""
    sizes = np.array(
        [[layer_bytes(PUBLISHED[name].layers, one).sum() for name in STACKS] for one in LENGTHS]
    )
    return Scene(
        labels={"models": STACKS, "lengths": [f"{one:,}" for one in LENGTHS]},
        arrays={"gigabytes": sizes / 1e9},
        values={"first_bytes": sizes[:, 0].tolist()},
        places={
            "longest": len(LENGTHS) - 1,
            **{name: at for at, name in enumerate(("seven", "seventy", "mistral"))},
        },
    )


def _stories(model: Model) -> torch.Tensor:
    """Return the ids of joined stories, [text, position], each with its begin token."""
    begin = int(model.tokenizer.bos_token_id)
    step = min(LONGEST, model.info.max_tokens or LONGEST) - 1
    ids = model.tokenizer(
        joined_stories(), add_special_tokens=False, truncation=True, max_length=TEXTS * step
    )["input_ids"]
    return torch.tensor([[begin, *ids[at * step : (at + 1) * step]] for at in range(TEXTS)])


def _cut(model: Model, texts: torch.Tensor) -> Mapping[str, Scene]:
    """Return the losses with a cut cache, and the weight that the first token gets.

    A pass under a mask that hides the dropped tokens equals a pass with a cache that drops them.
    """
    count = texts.shape[1]
    whole = _late_loss(model, texts, _kept(count, count, 0))
    last = np.array([_late_loss(model, texts, _kept(count, one, 0)) for one in BUDGETS])
    first = np.array([_late_loss(model, texts, _kept(count, one, 1)) for one in BUDGETS])
    windows = BudgetLosses(np.array(BUDGETS), last, whole, TEXTS * (count - FIRST))
    labels = [str(one) for one in BUDGETS]
    shared = {
        "whole": whole,
        "allowed": ALLOWED,
        "first_counted": float(FIRST),
        "last_counted": float(count - 1),
    }
    stack = capture(model, joined_stories(), cut=True, limit=count, predict=False)["self"]
    layers, heads = stack.shape[:2]
    sink = np.mean([stack.weights(layer, head, slice(FIRST, None), slice(0, 1))
                    for layer in range(layers) for head in range(heads)])  # fmt: skip
    return {
        "break": Scene(
            labels={"budgets": [*labels, phrase("all")]},
            arrays={"window": np.append(last, whole)},
            values={
                **shared,
                "enough": float(windows.breaks_below(ALLOWED) or count),
                "more": (np.append(last, whole) - whole).tolist(),
            },
            places={"small": 0, "eight": SMALL, "last": len(BUDGETS)},
        ),
        "first": Scene(
            labels={"rows": tuple(phrase(key) for key in ("all", "last_only", "first_and_last")),
                    "budgets": labels},
            arrays={"losses": np.stack([np.full(len(BUDGETS), whole), last, first], 1)},
            values={
                **shared,
                "sink": percent(float(sink)),
                "even": percent(float(np.mean(1 / np.arange(FIRST + 1, count + 1)))),
                "gains": (last - first).tolist(),
                "rest": [float(one - 1) for one in BUDGETS],
            },
            places={"eight": SMALL, "all": 0, "last": 1, "first": 2},
        ),
    }  # fmt: skip


def _kept(count: int, budget: int, first: int) -> Bool[torch.Tensor, "query key"]:
    """Return which keys each query sees: the last ones and the `first` leading ones."""
    back = torch.arange(count)[:, None] - torch.arange(count)[None, :]
    return (back >= 0) & ((back < budget - first) | (torch.arange(count) < first))


def _late_loss(
    model: Model, texts: torch.Tensor, visible: Bool[torch.Tensor, "query key"]
) -> float:
    """Return the mean loss of the tokens from `FIRST` on, nats, under a mask."""
    return float(np.mean([losses_under(model, text, visible)[FIRST - 1 :] for text in texts]))
