"""Numbers of the lesson about BERT, GPT and T5: who sees whom, and what a changed word changes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from attnviz.attention import body_of
from attnviz.captures.forward_pass import Capture, capture
from attnviz.lessons.phrases.named_phrases import phrases_of
from attnviz.lessons.scene import LessonInput, Scene
from attnviz.lessons.word_places import WordTokens, relative_change, sentence_words
from attnviz.models import Model
from attnviz.types import Head, Kind

__all__ = ["three_models_scenes"]

phrase = phrases_of("three_models")

MODELS: Mapping[str, tuple[str, Kind]] = {
    "BERT": ("bert-classroom", "self"),
    "GPT": ("gpt-classroom", "self"),
    "T5": ("t5-classroom", "encoder"),
}
"""Columns of the pictures: the model, and the kind of its attention."""

TRANSLATOR = "t5-classroom"

ALIGNMENT = Head("cross", 2, 0)
"""Head of the translator that looks at the word it translates next."""

SUBSTITUTES = ("cat", "king")
"""A changed word becomes the first of these that is another word."""


def three_models_scenes(given: LessonInput) -> Mapping[str, Scene]:
    """Return the scenes: three models read the words of the sentence.

    Raises:
        InputError: as `sentence_words` and `WordTokens.of`.
    """
    words = sentence_words(given.capture.text)
    translator = given.load(TRANSLATOR)
    translated = capture(translator, " ".join(words))
    return {
        "who": _visible_words(given, words),
        "last": _changed_words(given, words),
        "decoder": _changed_targets(translator, translated, words),
        "cross": _cross_rows(translated),
    }


def _visible_words(given: LessonInput, words: tuple[str, ...]) -> Scene:
    """Return weights between words, [query word, key word, model]; NaN where masked."""
    count = len(words)
    weights = np.full((count, count, len(MODELS)), np.nan)
    for column, (name, kind) in enumerate(MODELS.values()):
        weights[:, :, column] = _word_weights(given.load(name), kind, words)
    seen = np.isfinite(weights).sum(1)  # [query word, model]
    return Scene(
        labels={"words": words, "models": _columns()},
        arrays={"weights": weights},
        values={
            "count": float(count),
            **{f"seen_{at}": seen[:, at].astype(float).tolist() for at in range(len(MODELS))},
        },
        places={"middle": count // 2},
    )


def _columns() -> tuple[str, ...]:
    """Return the titles of the columns."""
    return (*list(MODELS)[:-1], phrase("encoder_of_t5"))


def _word_weights(
    model: Model, kind: Kind, words: tuple[str, ...]
) -> Float[np.ndarray, "query key"]:
    """Return the mean weight of all heads from each word's last token to each word's tokens."""
    tokens = WordTokens.of(model, words)
    stack = capture(model, " ".join(words), predict=False, target=_target(model))[kind]
    layers, heads, _, _ = stack.shape
    places = [(layer, head) for layer in range(layers) for head in range(heads)]
    mean = np.mean([stack.weights(layer, head) for layer, head in places], axis=0)
    visible = np.isfinite(stack.scores(0, 0))
    result = np.full((len(words), len(words)), np.nan)
    for row, query in enumerate(tokens.last):
        for column, keys in enumerate(tokens.places):
            if visible[query, list(keys)].any():
                result[row, column] = mean[query, list(keys)].sum()
    return result


def _target(model: Model) -> str | None:
    """Return a target that spares an encoder-decoder the writing of one."""
    return "." if model.info.family == "encoder-decoder" else None


def _changed_words(given: LessonInput, words: tuple[str, ...]) -> Scene:
    """Return changes of the words' last vectors, [changed word, word, model]."""
    count = len(words)
    changes = np.zeros((count, count, len(MODELS)))
    others = tuple(_substitute(word) for word in words)
    for column, (name, _) in enumerate(MODELS.values()):
        model = given.load(name)
        before = _word_vectors(model, words)
        for at, other in enumerate(others):
            after = _word_vectors(model, (*words[:at], other, *words[at + 1 :]))
            changes[at, :, column] = relative_change(before, after)
    changed = (changes > CHANGED).sum(1)  # [changed word, model]
    return Scene(
        labels={"words": words, "models": _columns(), "others": others},
        arrays={"changes": changes},
        values={
            "count": float(count),
            **{f"changed_{at}": changed[:, at].astype(float).tolist() for at in range(len(MODELS))},
        },
        places={"last": count - 1},
    )


CHANGED = 1e-3
"""Relative change from which a vector counts as changed; rounding alone makes about 1e-6."""


def _substitute(word: str) -> str:
    return next(one for one in SUBSTITUTES if one != word.lower())


def _word_vectors(model: Model, words: tuple[str, ...]) -> Float[Tensor, "word width"]:
    """Return the last layer's vector of each word's last token, of the encoder where it has one."""
    tokens = WordTokens.of(model, words)
    body = body_of(model.network)
    if model.info.family == "encoder-decoder":
        body = body.get_encoder()
    with torch.inference_mode():
        ids = torch.tensor([tokens.ids], device=model.network.device)
        run = body(input_ids=ids, attention_mask=torch.ones_like(ids))
    vectors: Tensor = run.last_hidden_state[0]
    return vectors[list(tokens.last)]


def _changed_targets(model: Model, translated: Capture, words: tuple[str, ...]) -> Scene:
    """Return changes of the decoder's vectors, [changed target, target, what is changed].

    The first column changes the last word of the source, the second the frame's target token.
    """
    cross = translated["cross"]
    target = list(cross.query_tokens.ids)
    source = list(cross.key_tokens.ids)
    changed_words = (*words[:-1], _substitute(words[-1]))
    other_source = list(WordTokens.of(model, changed_words).ids)
    before = _decoder_vectors(model, source, target)
    by_source = relative_change(before, _decoder_vectors(model, other_source, target))
    changes = np.zeros((len(target), len(target), 2))
    changes[:, :, 0] = by_source
    labels = cross.query_tokens.labels
    names = dict(zip((*target, *source), (*labels, *cross.key_tokens.labels), strict=True))
    others = []
    for at, token in enumerate(target):
        other = next(one for one in names if one not in (token, target[0]))
        changed = [*target[:at], other, *target[at + 1 :]]
        others.append(names[other])
        changes[at, :, 1] = relative_change(before, _decoder_vectors(model, source, changed))
    middle = len(target) // 2
    return Scene(
        labels={
            "targets": labels,
            "others": others,
            "changed": (
                phrase("source", before=words[-1], after=changed_words[-1]),
                phrase("target_changed"),
            ),
        },
        arrays={"changes": changes},
        values={
            "source_word": words[-1],
            "other_word": changed_words[-1],
            "count": float(len(target)),
            "by_source": float((by_source > CHANGED).sum()),
            "by_target": (changes[:, :, 1] > CHANGED).sum(1).astype(float).tolist(),
        },
        places={"middle": middle},
    )


def _decoder_vectors(
    model: Model, source: list[int], target: list[int]
) -> Float[Tensor, "target width"]:
    device = model.network.device
    with torch.inference_mode():
        ids = torch.tensor([source], device=device)
        run = model.network(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            decoder_input_ids=torch.tensor([target], device=device),
            output_hidden_states=True,
        )
    vectors: Tensor = run.decoder_hidden_states[-1][0]
    return vectors


def _cross_rows(translated: Capture) -> Scene:
    """Return the rows of a cross-attention head, [target, source]."""
    cross = translated["cross"]
    weights = cross.weights(ALIGNMENT.layer, ALIGNMENT.head)
    labels, sources = cross.query_tokens.labels, cross.key_tokens.labels
    top = weights.argmax(1)
    row = _clearest_row(weights, top, cross.key_tokens.special)
    written = (*labels[1:], phrase("the_end"))
    return Scene(
        labels={"sources": sources, "reads": labels, "writes": written},
        arrays={"weights": weights},
        values={
            "head": ALIGNMENT.label,
            "top": [sources[at] for at in top],
            "top_weight": weights.max(1).astype(float).tolist(),
        },
        places={"row": row, "top": int(top[row])},
    )


def _clearest_row(
    weights: Float[np.ndarray, "target source"],
    top: np.ndarray,
    special: np.ndarray,
) -> int:
    """Return the row that leads most clearly, of those that step back in the source if any do."""
    rows = range(1, len(top))
    ordinary = [row for row in rows if not special[top[row]]] or list(rows)
    back = [row for row in ordinary if top[row] < top[row - 1] and not special[top[row - 1]]]
    return max(back or ordinary, key=lambda row: float(weights[row].max()))
