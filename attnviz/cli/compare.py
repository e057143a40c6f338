"""`attnviz compare`: what has changed between two models, as text and as files."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from attnviz.cli.result_files import chosen_files, write_files
from attnviz.cli.screen import hide_library_bars, say, show, shown_progress
from attnviz.cli.threshold_options import thresholds_of
from attnviz.errors import InputError

__all__ = ["CHANGES", "run_compare"]

CHANGES = ("worse", "lost", "harmful", "changed")
"""What `--fail-on` can name: a loss that is higher, NaN or infinite; heads that became degenerate;
heads without which the second model is better; other labels."""


def run_compare(options: argparse.Namespace) -> int:
    """Compare two models, print what has changed, write the files of the options."""
    files = chosen_files(options, "out", "json", "csv")
    wanted = [name.strip().lower() for name in options.fail_on.split(",") if name.strip()]
    for name in wanted:
        if name not in CHANGES:
            raise InputError(f"--fail-on takes {', '.join(CHANGES)}, not '{name}'")
    if options.no_ablation and "harmful" in wanted:
        raise InputError("--fail-on harmful rests on removals; leave out --no-ablation")
    if options.first == options.second:
        raise InputError("both names are the same model: nothing can differ")
    hide_library_bars()
    from attnviz.doctor.loss_outcome import LossOutcome
    from attnviz.doctor.terminal_report import comparison_summary
    from attnviz.experiments.text_sets import as_text_set, read_texts

    thresholds = thresholds_of(options)
    given = None if options.texts is None else read_texts(options.texts)
    import attnviz

    first, second = (
        attnviz.load(name, device=options.device) for name in (options.first, options.second)
    )
    texts = as_text_set(given, first.info.family)
    with shown_progress() as progress:
        comparison = attnviz.doctor.compare(
            first,
            second,
            texts,
            ablate=not options.no_ablation,
            thresholds=thresholds,
            long=options.long,
            seed=options.seed,
            progress=progress,
        )
    writers: dict[str, Callable[[Path], None]] = {
        "out": comparison.to_html,
        "json": comparison.to_json,
        "csv": comparison.to_csv,
    }
    whole = write_files({path: writers[name] for name, path in files.items()})
    show(f"{first.info.name} and {second.info.name}: {len(texts.texts)} texts, {texts.name}\n")
    show(comparison_summary(comparison))
    reached = {
        "worse": comparison.worse,
        "lost": any(one.lost for one in comparison.changes),
        "harmful": bool(comparison.harmful),
        "changed": bool(comparison.changes),
    }
    failing = [name for name in wanted if reached[name]]
    if failing:
        say(f"--fail-on {options.fail_on} found: {', '.join(failing)}")
    for sentence in comparison.broken:
        say(sentence.removesuffix("."))
    if "worse" in wanted and comparison.loss_outcome is LossOutcome.NOT_MEASURED:
        say("--fail-on worse: there is no loss that could be compared")
        return 2
    return 2 if not whole else 1 if failing or comparison.broken else 0
