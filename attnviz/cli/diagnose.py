"""`attnviz diagnose`: which heads are degenerate, as text and as files."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attnviz.cli.screen import say, show, shown_progress
from attnviz.errors import AttnvizError, InputError
from attnviz.findings import Interval

__all__ = ["run_diagnose"]

WRITTEN = {"out": "to_html", "json": "to_json", "csv": "to_csv"}
"""What writes the file that an option asks for."""


def run_diagnose(options: argparse.Namespace) -> int:
    """Diagnose, print a summary, write the files of the options."""
    # What can be refused is refused before the long part, not behind it.
    files = {kind: Path(name) for kind in WRITTEN if (name := getattr(options, kind)) is not None}
    _check_places(list(files.values()))
    if not sys.stderr.isatty():  # no bars of the library's own in a log; it asks when imported
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    from attnviz.doctor.labels.thresholds import Thresholds
    from attnviz.doctor.terminal_report import named, summary
    from attnviz.experiments.text_sets import as_text_set, read_texts

    names = named(options.fail_on)
    thresholds = Thresholds.from_dict(dict(map(_threshold, options.threshold)))
    given = None if options.texts is None else read_texts(options.texts)
    import attnviz

    model = attnviz.load(options.model, device=options.device)
    texts = as_text_set(given, model.info.family)
    with shown_progress() as progress:
        diagnosis = attnviz.diagnose(
            model,
            texts,
            ablate=not options.no_ablation,
            thresholds=thresholds,
            long=options.long,
            seed=options.seed,
            progress=progress,
        )
    lost = [path for kind, path in files.items() if not _write(diagnosis, kind, path)]
    measured = f"{_number(diagnosis.findings, 'head')} on {_number(texts.texts, 'text')}"
    show(f"{model.info.name}: {measured}, {texts.name}{_loss(diagnosis.loss)}\n")
    show(summary(diagnosis.findings, diagnosis.notes, diagnosis.groups))
    failing = [one for one in diagnosis.findings if any(name.fits(one) for name in names)]
    if failing:
        listed = ", ".join(f"{one.head.label} ({one.name})" for one in failing)
        say(f"--fail-on {options.fail_on} found {listed}")
    if diagnosis.not_finite:
        say(diagnosis.not_finite)
    return 2 if lost else 1 if failing or diagnosis.not_finite else 0


def _threshold(written: str) -> tuple[str, object]:
    """Return a threshold's name and number; the rules refuse what is no number."""
    name, _, value = (part.strip() for part in written.partition("="))
    try:
        return name, float(value)
    except ValueError:
        return name, value


def _loss(loss: Interval) -> str:
    """Return the loss of the whole model in words; nothing if it has none."""
    from attnviz.doctor.labels.number_words import nats

    return "" if math.isnan(loss.mean) else f", loss {nats(loss)}"


def _number(things: Sequence[object], name: str) -> str:
    return f"{len(things)} {name}" if len(things) == 1 else f"{len(things)} {name}s"


def _check_places(paths: Sequence[Path]) -> None:
    """Refuse files that could not be written when the work is done."""
    for number, path in enumerate(paths):
        try:
            folder, there = path.absolute().parent, path.exists()
            missing, taken = not folder.is_dir(), path.is_dir()
            # A file is written beside its older version first; a device or a pipe is not.
            written = [path, folder] if path.is_file() else [path] if there else [folder]
        except (OSError, ValueError) as error:  # too long for a name, or no name at all
            raise InputError(f"no file can be called that: {error}") from error
        if missing:
            raise InputError(f"there is no folder '{path.parent}' for '{path.name}'; make it first")
        if taken:
            raise InputError(f"'{path}' is a folder; give the name of a file")
        if not all(os.access(one, os.W_OK) for one in written):
            raise InputError(f"'{path}' may not be written by you; choose another place")
        if path.resolve() in [one.resolve() for one in paths[:number]]:
            raise InputError(f"'{path}' stands for two files; give each file another name")


def _write(diagnosis: Any, kind: str, path: Path) -> bool:
    """Write one file of a diagnosis; a full disk must not take the others with it."""
    try:
        getattr(diagnosis, WRITTEN[kind])(path)
    except (OSError, AttnvizError) as error:
        say(f"'{path}' could not be written: {getattr(error, 'strerror', None) or error}")
        return False
    say(f"wrote '{path}'")
    return True
