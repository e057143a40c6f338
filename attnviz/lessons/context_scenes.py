"""Numbers of the lesson about vectors in context: one word in ten sentences, layer by layer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from attnviz.attention import body_of
from attnviz.errors import InputError
from attnviz.lessons.phrases.named_phrases import phrases_of
from attnviz.lessons.scene import LessonInput, Scene, Value
from attnviz.models import Model

__all__ = ["WordGroups", "context_scenes", "line_between", "read_groups", "right_by_nearest_mean"]

phrase = phrases_of("context")

FEWEST, MOST = 3, 5
"""Sentences of one meaning."""

ANGLES = 720
"""Directions in which a separating line is looked for, over half a turn."""

_WORD = re.compile(r"\w+(?:['’]\w+)*")


@dataclass(frozen=True)
class WordGroups:
    """Sentences with one word in two meanings.

    Attributes:
        word: in lower case.
        sentences: those of the first meaning, then those of the second.
        meanings: 0 or 1 for each sentence.
    """

    word: str
    sentences: tuple[str, ...]
    meanings: Int[np.ndarray, " sentence"]


def read_groups(text: str) -> WordGroups:
    """Return the sentences of two groups, one a line, with an empty line between the groups.

    The word is the longest of those that all sentences have.

    Raises:
        InputError: another number of groups, a group that is too small or too large, or no common
            word.
    """
    groups = [
        [line.strip() for line in part.splitlines() if line.strip()]
        for part in re.split(r"\n\s*\n", text.strip())
    ]
    if len(groups) != 2 or not all(FEWEST <= len(group) <= MOST for group in groups):
        sizes = " + ".join(str(len(group)) for group in groups)
        raise InputError(phrase("groups_differ", fewest=FEWEST, most=MOST, sizes=sizes))
    sentences = [sentence for group in groups for sentence in group]
    shared = set.intersection(*({*_WORD.findall(one.lower())} for one in sentences))
    if not shared:
        raise InputError(phrase("no_common_word"))
    word = max(sorted(shared), key=len)
    return WordGroups(word, tuple(sentences), np.repeat([0, 1], [len(group) for group in groups]))


def context_scenes(given: LessonInput) -> Mapping[str, Scene]:
    """Return the scenes: the word's vectors in a plane per layer, and how many a line separates.

    The plane is that of the two largest principal components of the vectors.

    Raises:
        InputError: as `read_groups`; or the model splits the word into several tokens.
    """
    groups = read_groups(given.capture.text)
    meanings = groups.meanings
    vectors = _word_vectors(given.model, groups)
    planes = [_plane(one, meanings) for one in vectors]
    lines = np.array([line_between(plane, meanings) for plane in planes])
    apart = [layer for layer, line in enumerate(lines) if np.isfinite(line).all()]
    right = [right_by_nearest_mean(one, meanings) for one in vectors]
    layers = [str(layer) for layer in range(len(vectors))]
    labels = {"layers": layers, "sentences": groups.sentences, "kinds": ["key", "query"]}
    first = apart[0] if apart else len(vectors) - 1
    shared: dict[str, Value] = {
        "word": groups.word,
        "count": float(len(meanings)),
        "chance": len(meanings) / 2,
        "right": right,
        "apart": [phrase("line" if at in apart else "no_line") for at in range(len(lines))],
    }
    dots = Scene(
        labels=labels,
        arrays={"points": np.array(planes), "lines": lines, "meanings": meanings.astype(float)},
        values={**shared, "first": float(first), "there": phrase("line" if apart else "no_line")},
        places={"from": first, "last_layer": len(vectors) - 1},
    )
    counts = Scene(
        labels=labels,
        arrays={"rights": np.array(right)},
        values=shared,
        places={"first_layer": 0, "last_layer": len(vectors) - 1},
    )
    return {"dots": dots, "count": counts}


def _word_vectors(model: Model, groups: WordGroups) -> Float[np.ndarray, "layer sentence width"]:
    """Return the vector of the word in each sentence, before the first layer and after each."""
    vectors = []
    for sentence in groups.sentences:
        ids = model.tokenizer(sentence)["input_ids"]
        tokens = [str(one).lower() for one in model.tokenizer.convert_ids_to_tokens(ids)]
        if groups.word not in tokens:
            raise InputError(phrase("not_in_vocabulary", word=groups.word, model=model.info.name))
        given = torch.tensor([ids], device=model.network.device)
        with torch.inference_mode():
            run = body_of(model.network)(
                input_ids=given, attention_mask=torch.ones_like(given), output_hidden_states=True
            )
        at = tokens.index(groups.word)
        vectors.append([layer[0, at].double().cpu().numpy() for layer in run.hidden_states])
    return np.array(vectors).transpose(1, 0, 2)


def _plane(
    vectors: Float[np.ndarray, "sentence width"], meanings: Int[np.ndarray, " sentence"]
) -> Float[np.ndarray, "sentence 2"]:
    """Return the first two principal components; the first meaning is on the left."""
    centred = vectors - vectors.mean(0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    points: np.ndarray = centred @ directions[:2].T
    if points[meanings == 0, 0].mean() > points[meanings == 1, 0].mean():
        points[:, 0] *= -1
    return points


def line_between(
    points: Float[np.ndarray, "sentence 2"], meanings: Int[np.ndarray, " sentence"]
) -> Float[np.ndarray, " 4"]:
    """Return a point and the direction of the line with the widest gap between two meanings.

    NaN where no line separates them.
    """
    widest, line = 0.0, np.full(4, np.nan)
    for angle in np.linspace(0, np.pi, ANGLES, endpoint=False):
        across = np.array([np.cos(angle), np.sin(angle)])
        places = points @ across
        first, second = places[meanings == 0], places[meanings == 1]
        low, high = (first, second) if first.mean() < second.mean() else (second, first)
        gap = float(high.min() - low.max())
        if gap > max(widest, 1e-9):
            widest = gap
            middle = across * float(low.max() + high.min()) / 2
            line = np.array([*middle, -across[1], across[0]])
    return line


def right_by_nearest_mean(
    vectors: Float[np.ndarray, "sentence width"], meanings: Int[np.ndarray, " sentence"]
) -> float:
    """Return how many vectors are nearer to the mean of the others of the same meaning.

    Each vector is left out of the means that it is compared with. A tie counts as one half.
    """
    right = 0.0
    for at, meaning in enumerate(meanings):
        others = np.arange(len(meanings)) != at
        same, other = (
            float(np.linalg.norm(vectors[at] - vectors[others & (meanings == one)].mean(0)))
            for one in (meaning, 1 - meaning)
        )
        if abs(same - other) < 1e-4 * max(same, other, 1e-3):
            right += 0.5
        else:
            right += float(same < other)
    return right
