"""Attention between whole words of a captured text."""

from __future__ import annotations

import numpy as np

from attnviz.attention.stack.map_axes import MapAxes
from attnviz.captures.capture_record import Capture
from attnviz.models import Model, single_words, words
from attnviz.types import Head, Kind, Tokens, Words, WordWeights

__all__ = ["word_axes", "word_weights"]


def word_weights(capture: Capture, kind: Kind, layer: int, head: int) -> WordWeights:
    """Return the attention weights of a head between whole words.

    The weight on a word is the sum over its tokens; the weight from a word is the mean over its
    tokens (Clark et al. 2019, "What does BERT look at?", section 4.1). Rows sum to what the rows of
    tokens sum to: one, or less in models with learned sinks. Scores are not defined for words.

    Words end where the tokenizer ends them: GPT-2 has "don" and "'t", BERT has punctuation marks as
    separate words, T5 splits at spaces, and there punctuation marks are separated too. Special
    tokens are single words. A Chinese or Japanese character is a word. In other languages without
    spaces, such as Thai, a word is what lies between two spaces or marks.

    Args:
        capture: of a text; in a stack of pictures or sounds each position is one word.
        kind: kind of attention.
        layer: index of the layer.
        head: index of the head.

    >>> import attnviz
    >>> model = attnviz.load("bert-classroom")
    >>> capture = attnviz.capture(model, "It was extraordinarily comfortable.")
    >>> merged = attnviz.word_weights(capture, "self", layer=0, head=1)
    >>> merged.queries.tokens.labels
    ('[CLS]', 'it', 'was', 'extraordinarily', 'comfortable', '.', '[SEP]')
    >>> merged.queries.lengths.tolist()
    [1, 1, 1, 4, 1, 1, 1]
    >>> merged.weights.shape
    (7, 7)

    Raises:
        CaptureError: no such kind, layer or head, only statistics were kept, or the model is no
            longer in memory: its tokenizer is needed.
    """
    axes = word_axes(capture, kind)
    return WordWeights(axes.weights(Head(kind, layer, head)), axes.queries, axes.keys)


def word_axes(capture: Capture, kind: Kind, *, model: Model | None = None) -> MapAxes:
    """Return the words along both axes of the maps of one kind.

    Args:
        capture: of a text.
        kind: kind of attention.
        model: the model with the tokenizer; the one of the capture when None.

    Raises:
        CaptureError: as `word_weights`.
    """
    stack = capture[kind]
    queries = _words(capture, stack.query_tokens, model)
    keys = queries if stack.same_text else _words(capture, stack.key_tokens, model)
    return MapAxes(stack, queries, keys)


def _words(capture: Capture, tokens: Tokens, model: Model | None) -> Words:
    """Return the words of one side; single positions where it is no text."""
    read = (capture.inputs.ids, capture.inputs.target)
    if not any(ids is not None and np.array_equal(ids, tokens.ids) for ids in read):
        return single_words(tokens)
    return words((model or capture.loaded_model()).vocabulary, tokens)
