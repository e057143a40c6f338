"""Phrases that scenes name: for each lesson the keys, each with its placeholders.

The words are in the TOML files of the lessons, and `engine.toml` has those of all lessons.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["LESSON_PHRASES", "SHARED_PHRASES", "keys"]

LESSON_PHRASES: Mapping[str, tuple[str, ...]] = {
    "cache": ("query", "key", "value", "all", "last_only", "first_and_last", "no_decoder model"),
    "context": (
        *("line", "no_line", "groups_differ fewest most sizes", "no_common_word"),
        "not_in_vocabulary word model",
    ),
    "efficient": (
        *("all_pairs", "causal_mask", "wide_window tokens", "blocks size", "window", "one_layer"),
        *("layers count", "tokens count", "all", "softmax_of head"),
    ),
    "heads": (
        *("before", "after", "itself", "first", "ends", "copies", "even", "earlier"),
        *("eight_heads", "their_average", "sum", "entry number", "none"),
    ),
    "hybrid": (
        *("channel layer channel", "state layer", "attention layer", "first_copy", "second_copy"),
        *("without_attention", "tokens count", "no_states layer model"),
    ),
    "induction": (
        *("all_heads", "without head", "removed count", "all_removed count", "best_first"),
        *("weakest_first", "random_tokens count", "your_tokens count", "first_copy", "second_copy"),
        *(
            "previous_token head",
            "induction head",
            "no_head_finds model",
            "few_tokens count needed",
        ),
    ),
    "masks": (
        "no_mask",
        "causal_mask",
        "none_ahead",
        "ahead count",
        "all_ahead",
        "no_decoder model",
    ),
    "positions": (
        *("no_mask", "causal_mask", "none", "sinusoidal", "learned", "buckets", "source_none"),
        *("source_sinusoidal", "source_learned model head word", "source_buckets model"),
        *("source_rotation model head", "source_alibi slope", "slope head slope", "once", "twice"),
        "distances once twice",
    ),
    "projections": ("plain", "shared", "two", "others count"),
    "routing": ("all_others", "no_head", "head number", "layer number", "not_followed head"),
    "scaling": ("middle", "smallest", "largest"),
    "similarity": (
        *(
            "products",
            "cosines",
            "same_closest word",
            "phrases_differ count",
            "ends_differ one other",
        ),
        *("words_differ most", "in_pieces word model count"),
    ),
    "three_models": ("encoder_of_t5", "source before after", "target_changed", "the_end"),
}
"""By the name of the lesson: keys, each with the names of its placeholders after it."""

SHARED_PHRASES = (
    *("few_keys count needed", "sink head", "few_words count needed", "no_words model"),
    "word_without_token model",
)
"""Phrases of several lessons."""


def keys(lines: tuple[str, ...]) -> Mapping[str, frozenset[str]]:
    """Return the placeholders of each key."""
    split = [line.split() for line in lines]
    return {key: frozenset(names) for key, *names in split}
