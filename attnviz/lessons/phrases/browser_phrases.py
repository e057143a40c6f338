"""Phrases of the lesson's component in the browser: their keys, each with its placeholders."""

from __future__ import annotations

from attnviz.lessons.phrases.phrase_table import keys

__all__ = ["BROWSER_PHRASES"]

BROWSER_PHRASES = keys((
    *("language", "space_sign", "begin_sign", "end_sign", "step number title", "back", "reveal"),
    *("reset", "handout", "handout_help", "next", "next_lesson", "the_end", "guess_first", "play"),
    *("distance text", "often_heard", "in_fact", "name_line", "answers title"),
    *("print_weights", "print_signed", "print_stroke", "print_thick", "print_output"),
    *("arrows labels", "point_handle", "point across up", "point_away distance"),
    *("share_elsewhere share", "bars_away distance", "score_elsewhere share", "right_one"),
    *("has_and_largest label number largest", "has_and_right label number right_label right"),
    *("curve_handle", "curve_away distance", "guess_and_truth label guess truth"),
    *("truth_alone label truth", "map_query", "map_key", "map_broken", "map_set_aside"),
    *("map_mean_of_bin value", "map_largest_of_bin value", "map_score_and_rank score rank"),
    *("drag_guess label", "guess_away distance", "weights_of head", "names_elsewhere wrong count"),
    *("looks_at row column number", "masked", "not_shown", "cells_differ wrong count"),
    *("pairs row column number right_row right_column right", "tick_all", "tick_none"),
    *("cells_wrong wrong count", "weight", "masked_cell", "masked_caption", "map_corner"),
))  # fmt: skip
"""Placeholders by key."""
