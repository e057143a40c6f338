"""Messages and progress on a terminal and in a log."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

from attnviz.characters import escaped
from attnviz.findings import Progress
from attnviz.written_numbers import percent

__all__ = ["Parser", "hide_library_bars", "say", "show", "shown_progress"]


class Parser(argparse.ArgumentParser):
    """Parser whose messages show the control characters of an argument as code points."""

    def _print_message(self, message: str, file: Any = None) -> None:
        super()._print_message(escaped(message, keep="\n"), file)


def hide_library_bars() -> None:
    """Keep the library's progress bars out of a log; call it before the library is imported."""
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


def say(sentence: str) -> None:
    """Print a line to standard error, with control characters shown as their code points."""
    print(f"attnviz: {escaped(sentence)}", file=sys.stderr)  # noqa: T201


def show(text: str) -> None:
    """Print lines to standard output, with control characters shown, until the reader is gone."""
    text = escaped(text, keep="\n")
    encoding = sys.stdout.encoding or "utf-8"
    with contextlib.suppress(BrokenPipeError):
        print(text.encode(encoding, "replace").decode(encoding), flush=True)  # noqa: T201


@contextlib.contextmanager
def shown_progress() -> Iterator[Callable[[Progress], None]]:
    """Yield the progress callback: a bar on a terminal, a line every tenth part elsewhere."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from tqdm import tqdm

    with tqdm(
        total=1.0,
        leave=False,
        ncols=_columns(),
        nrows=20,  # or nothing is drawn where the terminal says that it has no rows
        miniters=0,
        bar_format="{percentage:3.0f}% |{bar:24}| {desc}",
    ) as bar:

        def progress(now: Progress) -> None:
            bar.set_description_str(escaped(now.text), refresh=False)
            bar.update(min(now.share, 1.0) - bar.n)

        yield progress


def _columns() -> int:
    """Return the width of the bar; 80 for a terminal that reports a width of 0."""
    try:
        return min(os.get_terminal_size(sys.stderr.fileno()).columns or 80, 100)
    except (OSError, ValueError):
        return 80


class _Lines:
    """Progress for a log: a line when a stage begins, and at every tenth part of the whole."""

    def __init__(self) -> None:
        self.shown: tuple[str, int] | None = None

    def __call__(self, now: Progress) -> None:
        reached = (now.stage, int(now.share * 10))
        if reached != self.shown:
            self.shown = reached
            say(f"{percent(now.share, 0):>4}  {now.text}")
