"""`attnviz strongest`: the texts and tokens in which heads do most of something."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from attnviz.cli.result_files import chosen_files, write_files
from attnviz.cli.screen import hide_library_bars, say, show, shown_progress
from attnviz.errors import InputError

if TYPE_CHECKING:
    from attnviz.types import Head, ModelInfo

__all__ = ["named_head", "run_strongest"]

HEAD = re.compile(r"(?:(?P<kind>[a-z]+)[ :.])?L?(?P<layer>\d+)[.·]H?(?P<head>\d+)", re.IGNORECASE)


def run_strongest(options: argparse.Namespace) -> int:
    """Search the places, print them, write the files of the options."""
    files = chosen_files(options, "json", "csv")
    hide_library_bars()
    import attnviz
    from attnviz.doctor.strongest_texts.place_words import listed_places
    from attnviz.doctor.strongest_texts.row_measures import measure_description
    from attnviz.experiments.text_sets import as_text_set, read_texts

    measure_description(options.measure)
    given = None if options.texts is None else read_texts(options.texts)
    model = attnviz.load(options.model, device=options.device)
    texts = as_text_set(given, model.info.family)
    head = None if options.head is None else named_head(options.head, model.info)
    with shown_progress() as progress:
        result = attnviz.strongest(
            model,
            texts,
            head=head,
            measures=[options.measure],
            count=options.count,
            long=options.long,
            progress=progress,
        )
    writers: dict[str, Callable[[Path], None]] = {"json": result.to_json, "csv": result.to_csv}
    whole = write_files({path: writers[name] for name, path in files.items()})
    show(listed_places(result, options.measure))
    broken = sum(int((counts > 0).sum()) for counts in result.not_finite.values())
    if broken:
        say(f"{broken} {'head computes' if broken == 1 else 'heads compute'} NaN or infinity")
    return 2 if not whole else 1 if broken else 0


def named_head(name: str, info: ModelInfo) -> Head:
    """Return the head that a name stands for: "L1.H3", "1.3" or, with a kind, "cross L0.H1".

    Raises:
        InputError: not a name of a head, a kind that the model does not have, or no kind where the
            model has several.
    """
    from attnviz.types import Head

    match = HEAD.fullmatch(name.strip())
    kinds = {str(kind): kind for kind in info.heads}
    listed = ", ".join(kinds)
    if match is None:
        raise InputError(f"--head takes a head such as L1.H3 or cross:L0.H1, not '{name}'")
    kind = match["kind"].lower() if match["kind"] else None
    if kind is None and len(kinds) > 1:
        raise InputError(
            f"{info.name} has several kinds of attention: write one of {listed} before the head, "
            f"such as {listed.split(', ')[-1]}:{name.strip()}"
        )
    if kind is not None and kind not in kinds:
        raise InputError(f"{info.name} has no attention '{kind}'; it has {listed}")
    chosen = next(iter(kinds.values())) if kind is None else kinds[kind]
    return Head(chosen, int(match["layer"]), int(match["head"]))
