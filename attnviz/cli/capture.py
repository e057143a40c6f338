"""`attnviz capture`: every head's numbers on a text."""

from __future__ import annotations

import argparse
import contextlib
import sys

from attnviz.cli.screen import hide_library_bars, say

__all__ = ["run_capture"]


def run_capture(options: argparse.Namespace) -> int:
    """Print the table; return 1 if the model's numbers are not all finite."""
    hide_library_bars()
    import attnviz
    from attnviz.captures.origins import broken_weights, origin_of
    from attnviz.spreadsheets import as_csv

    text = sys.stdin.read() if options.text == "-" else options.text
    model = attnviz.load(options.model)
    capture = attnviz.capture(
        model,
        text,
        pair=options.pair,
        target=options.target,
        cut=options.cut,
        keep="statistics",
        predict=False,
    )
    if capture.cut:
        say(f"{capture.cut} tokens were cut off")
    with contextlib.suppress(BrokenPipeError):  # `| head` has read enough
        sys.stdout.write(as_csv(attnviz.summarize(capture), float_format="%.6g"))
        sys.stdout.flush()
    weights = broken_weights(model.original)
    if not weights and not any(stack.not_finite.any() for stack in capture.stacks.values()):
        return 0
    origin = origin_of(model, capture, weights=weights)
    if origin is not None:
        say(f"{origin.sentence}; numbers of broken heads are left empty")
    return 1
