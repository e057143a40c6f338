"""`attnviz diagnose`: which heads are degenerate, as text and as files."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from attnviz.cli.result_files import chosen_files, write_files
from attnviz.cli.screen import hide_library_bars, say, show, shown_progress
from attnviz.cli.threshold_options import thresholds_of
from attnviz.errors import InputError
from attnviz.findings import Interval

__all__ = ["run_diagnose"]


def run_diagnose(options: argparse.Namespace) -> int:
    """Diagnose, print a summary, write the files of the options."""
    # What can be refused is refused before the long part, not behind it.
    files = chosen_files(options, "out", "json", "csv", "prune")
    if options.prune is not None and options.no_ablation:
        raise InputError("--prune lists what removals showed; leave out --no-ablation")
    hide_library_bars()
    from attnviz.doctor.pruning import write_pruning_file
    from attnviz.doctor.terminal_report import named, summary
    from attnviz.experiments.text_sets import as_text_set, read_texts

    wanted = named(options.fail_on)
    if options.no_ablation and any(one.needs_removals for one in wanted):
        raise InputError("--fail-on with a verdict rests on removals; leave out --no-ablation")
    thresholds = thresholds_of(options)
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
    writers: dict[str, Callable[[Path], None]] = {
        "out": diagnosis.to_html,
        "json": diagnosis.to_json,
        "csv": diagnosis.to_csv,
        "prune": partial(write_pruning_file, diagnosis),
    }
    whole = write_files({path: writers[name] for name, path in files.items()})
    measured = f"{_number(diagnosis.findings, 'head')} on {_number(texts.texts, 'text')}"
    show(f"{model.info.name}: {measured}, {texts.name}{_loss(diagnosis.loss)}\n")
    one = diagnosis
    show(summary(one.findings, one.notes, one.groups, one.pruning, one.broken))
    failing = [one for one in diagnosis.findings if any(name.fits(one) for name in wanted)]
    if failing:
        listed = ", ".join(f"{one.head.label} ({one.name}, {one.verdict})" for one in failing)
        say(f"--fail-on {options.fail_on} found {listed}")
    for sentence in diagnosis.broken:
        say(sentence)
    return 2 if not whole else 1 if failing or diagnosis.broken else 0


def _loss(loss: Interval) -> str:
    """Return the loss of the whole model in words; nothing if it has none."""
    from attnviz.doctor.labels.number_words import per_token

    return "" if math.isnan(loss.mean) else f", loss {per_token(loss)}"


def _number(things: Sequence[object], name: str) -> str:
    return f"{len(things)} {name}" if len(things) == 1 else f"{len(things)} {name}s"
