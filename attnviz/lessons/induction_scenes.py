"""Numbers of the induction lab: which heads find a repetition, and what each depends on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from attnviz.attention import AttentionStack
from attnviz.errors import InputError
from attnviz.experiments.decomposition.composition import composition
from attnviz.experiments.edits.edit_rules import Edit
from attnviz.experiments.edits.edited_model import edited
from attnviz.experiments.repetition import Repetition, repeat_random, repeat_text
from attnviz.lessons.phrases.named_phrases import phrases_of
from attnviz.lessons.scene import LessonInput, Scene
from attnviz.models import Model
from attnviz.types import Head

__all__ = ["induction_scenes", "training_record"]

phrase = phrases_of("induction")

PERIOD, SEQUENCES = 25, 4
RECORD = Path(__file__).parent / "induction_training.json"

FEWEST = 6
"""Tokens of a text that is read twice."""

FINDS = 0.5
"""Induction score from which a head counts as an induction head here."""

SEVERAL = 3
"""Induction heads that are removed together, if there are that many."""


def induction_scenes(given: LessonInput) -> Mapping[str, Scene]:
    """Return the scenes of all steps.

    Heads are switched off: their output is 0. All runs read the same tokens twice: random ones, or
    the first `PERIOD` tokens of the student's text.

    Raises:
        InputError: the model has no induction head, or is no decoder; or the text is too short.
    """
    model = given.model
    text = _first_tokens(given) if given.replaced else None
    whole = _run(model, (), given.seed, text)
    scores = whole.scores
    finders = [tuple(map(int, one)) for one in np.argwhere(scores["induction"] >= FINDS)]
    if not finders:
        raise InputError(phrase("no_head_finds", model=model.info.name))
    best = _largest(scores["induction"])
    previous = _largest(scores["previous_token"][: best[0]])
    stays = _largest(_self_weight(whole.capture["self"])[: best[0]])
    finders.sort(key=lambda one: -scores["induction"][one])
    idle = next(
        (0, head)
        for head in range(scores["induction"].shape[1])
        if (0, head) not in (previous, stays)
    )
    conditions = {
        phrase("all_heads"): (),
        **{phrase("without", head=_label(one)): (one,) for one in (previous, stays, idle)},
    }
    runs = [whole, *(_run(model, off, given.seed, text) for off in list(conditions.values())[1:])]
    several = min(SEVERAL, len(finders))
    removed = (
        phrase("all_heads"),
        *(phrase("removed", count=count) for count in (1, several)),
        phrase("all_removed", count=len(finders)),
    )
    gains = [
        [whole.gain]
        + [_run(model, order[:count], given.seed, text).gain for count in (1, several, len(order))]
        for order in (finders, finders[::-1])  # the best first, and the weakest first
    ]
    texts: dict[str, Any] = {
        "best": _label(best),
        "previous": _label(previous),
        "stays": _label(stays),
        "idle": _label(idle),
        "count": float(len(finders)),
        "reads": phrase("your_tokens" if text else "random_tokens", count=whole.period),
        "back": float(whole.period - 1),
        "gain": whole.gain,
        "best_induction": float(scores["induction"][best]),
        "best_previous": float(scores["previous_token"][previous]),
    }
    maps = _maps(whole)
    tokens = whole.capture["self"].query_tokens.labels
    return {
        **_finding(maps, tokens, scores, previous, best, texts),
        **_switching(runs, list(conditions), finders, texts),
        "composition": _composition(model, finders, previous, texts),
        "backup": Scene(
            labels={
                "removed": removed,
                "orders": (phrase("best_first"), phrase("weakest_first")),
            },
            arrays={"gains": np.array(gains)},
            values={
                **texts,
                "one_left": gains[0][1],
                "several": float(several),
                "three_left": gains[0][2],
                "none_left": gains[0][3],
            },
            places={"one": 1, "three": 2, "every": 3},
        ),
        "training": _training(),
    }


def _first_tokens(given: LessonInput) -> str:
    """Return the beginning of the student's text, `PERIOD` tokens at most.

    Raises:
        InputError: fewer than `FEWEST` tokens.
    """
    tokenizer = given.model.tokenizer
    ids = tokenizer(given.capture.text, add_special_tokens=False).input_ids[:PERIOD]
    if len(ids) < FEWEST:
        raise InputError(phrase("few_tokens", count=len(ids), needed=FEWEST))
    return str(tokenizer.decode(ids))


def _run(model: Model, off: Sequence[tuple[int, ...]], seed: int, text: str | None) -> Repetition:
    """Return the repetition experiment with some heads switched off."""
    edits = [Edit("zero", Head("self", layer, head)) for layer, head in off]
    with edited(model, edits):
        if text is not None:
            return repeat_text(model, text)
        return repeat_random(model, period=PERIOD, sequences=SEQUENCES, seed=seed)


def _largest(table: np.ndarray) -> tuple[int, int]:
    """Return layer and head of the largest number."""
    layer, head = divmod(int(table.argmax()), table.shape[1])
    return layer, head


def _label(head: tuple[int, ...]) -> str:
    return Head("self", head[0], head[1]).label


def _self_weight(stack: AttentionStack) -> np.ndarray:
    """Return the mean weight of a token on itself, [layer, head]."""
    layers, heads = stack.shape[:2]
    return np.array(
        [
            [np.diag(stack.weights(layer, head)).mean() for head in range(heads)]
            for layer in range(layers)
        ]
    )


def _maps(run: Repetition) -> np.ndarray:
    """Return the weights of the first two layers, [head, query, key]; NaN where masked."""
    stack = run.capture["self"]
    entries = []
    for layer in range(2):
        for head in range(stack.shape[1]):
            weights = stack.weights(layer, head).copy()
            weights[np.isneginf(stack.scores(layer, head))] = np.nan
            entries.append(weights)
    return np.stack(entries)


def _finding(
    maps: np.ndarray,
    tokens: Sequence[str],
    scores: Mapping[str, np.ndarray],
    previous: tuple[int, int],
    best: tuple[int, int],
    texts: Mapping[str, Any],
) -> dict[str, Scene]:
    """Return the scenes in which the heads of the first two layers are looked through."""
    heads = scores["induction"].shape[1]
    labels = {
        "heads": [_label((layer, head)) for layer in range(2) for head in range(heads)],
        "tokens": tokens,
    }
    places = {
        "previous": previous[0] * heads + previous[1],
        "best": best[0] * heads + best[1],
    }
    arrays = {
        "maps": maps,
        "previous_token": scores["previous_token"][:2].ravel(),
        "induction": scores["induction"][:2].ravel(),
    }
    scene = Scene(labels, arrays, texts, places)
    return {"previous": scene, "find": scene}


def _switching(
    runs: Sequence[Repetition],
    names: Sequence[str],
    finders: Sequence[tuple[int, ...]],
    texts: Mapping[str, Any],
) -> dict[str, Scene]:
    """Return the scenes in which one head of an earlier layer is switched off."""
    induction = np.array([[run.scores["induction"][one] for one in finders] for run in runs])
    losses = np.array([[run.first_copy[1:].mean(), run.second_copy[1:].mean()] for run in runs])
    labels = {"conditions": list(names), "finders": [_label(one) for one in finders]}
    values = {**texts, "gains": [run.gain for run in runs]}
    return {
        "depends": Scene(
            labels,
            {"induction": induction},
            {**values, "fallen": float(induction[1, 0])},
            {"first": 0},
        ),
        "cost": Scene(
            {**labels, "copies": [phrase("first_copy"), phrase("second_copy")]},
            {"losses": losses},
            {
                **values,
                "broken_gain": runs[1].gain,
                "whole_first": losses[0, 0],
                "whole_second": losses[0, 1],
            },
            {"first": 0, "second": 1},
        ),
    }


def _composition(
    model: Model,
    finders: Sequence[tuple[int, ...]],
    previous: tuple[int, int],
    texts: Mapping[str, Any],
) -> Scene:
    """Return the scene of K-composition, [later head, earlier head].

    The earlier heads are those of one layer; the later ones are the induction heads, the best
    first, and the other heads of the best one's layer.
    """
    scores = composition(model)
    heads = model.info.heads["self"][1]
    others = [(finders[0][0], head) for head in range(heads)]
    later = [*finders, *(one for one in others if one not in finders)]
    table = np.array([scores.key[previous[0], :, layer, head] for layer, head in later])
    return Scene(
        labels={
            "earlier": [_label((previous[0], head)) for head in range(heads)],
            "later": [_label(one) for one in later],
        },
        arrays={"composition": table},
        values={
            **texts,
            "unrelated": scores.chance,
            "largest_composition": float(table[0].max()),
        },
        places={"largest": int(table[0].argmax()), "previous": previous[1]},
    )


@cache
def training_record() -> Mapping[str, Any]:
    """Return the recorded training; `training/record_induction.py` describes its fields."""
    record: Mapping[str, Any] = json.loads(RECORD.read_text("utf-8"))
    return record


def _training() -> Scene:
    """Return the scene of the recorded training."""
    record = training_record()
    induction = np.array(record["induction"]).max(axis=(1, 2))
    previous = np.array(record["previous_token"]).max(axis=(1, 2))
    second = np.array(record["second_copy"])
    half = int(np.flatnonzero(second < second[0] / 2)[0])
    maps = np.array(record["maps"]) / 100
    seen = np.tri(maps.shape[-1], dtype=bool)
    return Scene(
        labels={
            "steps": [f"{step:,}" for step in record["steps"]],
            "kept": [
                phrase(key, head=_label(head))
                for head, key in zip(record["heads"], ("previous_token", "induction"), strict=True)
            ],
        },
        arrays={
            "second": second,
            "first": np.array(record["first_copy"]),
            "induction": induction,
            "previous": previous,
            "maps": np.where(seen, maps, np.nan),
        },
        values={
            "second_start": record["second_copy"][0],
            "half_step": float(record["steps"][half]),
            "half_previous": float(previous[half]),
            "half_induction": float(induction[half]),
            "end": record["second_copy"][-1],
        },
        places={"half": half},
    )
