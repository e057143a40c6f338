"""Thresholds as options of a command: a file of limits, and single limits."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from attnviz.errors import InputError

if TYPE_CHECKING:
    from attnviz.doctor.labels.thresholds import Thresholds

__all__ = ["add_threshold_options", "thresholds_of"]


def add_threshold_options(command: argparse.ArgumentParser) -> None:
    """Add `--thresholds FILE` and `--threshold NAME=NUMBER`."""
    command.add_argument(
        "--thresholds",
        metavar="FILE",
        help='a JSON file with limits of the rules, such as {"uniform_entropy": 0.9}; or a file '
        "that --json has written, whose limits are taken",
    )
    command.add_argument(
        "--threshold",
        metavar="NAME=NUMBER",
        action="append",
        default=[],
        help="move a limit of the rules, such as uniform_entropy=0.9; may be given several times",
    )


def thresholds_of(options: argparse.Namespace) -> Thresholds:
    """Return the thresholds of the file, with single limits moved.

    Raises:
        InputError: the file cannot be read, a name is no threshold, or a value makes no sense.
    """
    from attnviz.doctor.labels.thresholds import Thresholds  # loads torch

    given = {} if options.thresholds is None else _of_file(Path(options.thresholds))
    return Thresholds.from_dict(given | dict(map(_threshold, options.threshold)))


def _of_file(path: Path) -> dict[str, object]:
    """Return the names and values of a file; `Thresholds` refuses those that make no sense."""
    try:
        written = path.read_text("utf-8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise InputError(f"the thresholds of '{path}' cannot be read: {reason}") from error
    try:
        given = json.loads(written)
    except ValueError as error:
        raise InputError(f"the thresholds of '{path}' are no JSON: {error}") from error
    if isinstance(given, dict) and isinstance(given.get("thresholds"), dict):
        given = given["thresholds"]  # a whole diagnosis
    if not isinstance(given, dict):
        raise InputError(f"'{path}' should hold a JSON object of names of thresholds and numbers")
    return given


def _threshold(written: str) -> tuple[str, object]:
    """Return a threshold's name and number; the rules refuse what is no number."""
    name, _, value = (part.strip() for part in written.partition("="))
    try:
        return name, float(value)
    except ValueError:
        return name, value
