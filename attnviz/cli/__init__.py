"""Command line: the app, numbers of a text, a diagnosis, two models, a head's strongest texts."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from attnviz import __version__
from attnviz.cli.capture import run_capture
from attnviz.cli.compare import CHANGES, run_compare
from attnviz.cli.diagnose import run_diagnose
from attnviz.cli.screen import Parser, say
from attnviz.cli.serve import run_app
from attnviz.cli.strongest import run_strongest
from attnviz.cli.threshold_options import add_threshold_options
from attnviz.errors import AttnvizError
from attnviz.findings import LABELS

__all__ = ["main", "parser"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Its exit status is 0; 1 when `--fail-on` finds what it looks for; 2 for input that
    cannot be used; 130 when it is interrupted.
    """
    options = parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except AttnvizError as error:
        say(str(error))
        return 2
    except KeyboardInterrupt:
        say("stopped before it was done")
        return 130


def parser() -> Parser:
    """Return the parser with all commands and options."""
    root = Parser(
        prog="attnviz", description="See what attention really does inside a transformer."
    )
    root.add_argument("--version", action="version", version=f"attnviz {__version__}")
    commands = root.add_subparsers(required=True, metavar="COMMAND")

    app = commands.add_parser("app", help="serve the app in a browser")
    app.add_argument("--port", type=int, default=8501)
    app.add_argument(
        "--address",
        default="localhost",
        help="where to listen; 0.0.0.0 lets a class on the same network in",
    )
    app.add_argument("--headless", action="store_true", help="do not open a browser")
    app.add_argument(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="processes that share the visitors, behind nginx; as many as there are processors",
    )
    app.add_argument(
        "--class",
        dest="classroom",
        action="store_true",
        help="for a class: only the listed models, no hub, texts of up to 512 tokens, few "
        "diagnoses at a time; see docs/how-to/class.md",
    )
    app.add_argument(
        "--models",
        nargs="+",
        metavar="MODEL",
        help="the only models that visitors may load: shipped names, or folders",
    )
    app.set_defaults(run=run_app)

    capture = commands.add_parser("capture", help="print every head's numbers on a text, as CSV")
    capture.add_argument("model", help="a shipped model, a hub name, or a folder")
    capture.add_argument("text", help="what to read; - for standard input")
    capture.add_argument("--pair", help="a second sentence (BERT)")
    capture.add_argument(
        "--target", help="what the decoder writes (T5); the model writes it if left out"
    )
    capture.add_argument("--cut", action="store_true", help="cut texts that are too long")
    capture.set_defaults(run=run_capture)

    _add_diagnose(
        commands.add_parser(
            "diagnose",
            help="say which heads are degenerate, with evidence",
            description="Measure every head on a set of texts, remove each to see what it costs, "
            "and say what it is: " + ", ".join(LABELS) + ".",
            epilog="Exit status: 0; 1 when --fail-on found a head, or the model computes NaN or "
            "infinity; 2 for input that cannot be used.",
        )
    )
    _add_compare(
        commands.add_parser(
            "compare",
            help="say what has changed between two models: a base and what was made from it",
            description="Diagnose two models on the same texts and compare their heads one by "
            "one: two checkpoints of a training, or a model before and after fine-tuning.",
            epilog="Exit status: 0; 1 when --fail-on found a change, or a model computes NaN or "
            "infinity; 2 for input that cannot be used.",
        )
    )
    _add_strongest(
        commands.add_parser(
            "strongest",
            help="list the texts and tokens in which heads do most of something",
            description="Read a set of texts and list the places where a head is strongest, or "
            "the strongest place of each head.",
            epilog="Exit status: 0; 1 when a head computes NaN or infinity; 2 for input that "
            "cannot be used.",
        )
    )
    return root


def _add_diagnose(diagnose: argparse.ArgumentParser) -> None:
    diagnose.add_argument("model", help="a shipped model, a hub name, or a folder")
    _add_examination(diagnose)
    diagnose.add_argument(
        "--prune",
        metavar="FILE",
        help="write the heads that may be pruned, and those that are needed, as JSON",
    )
    diagnose.add_argument(
        "--fail-on",
        metavar="NAMES",
        default="",
        help="exit with status 1 when a head has one of these labels or verdicts, such as "
        "uniform,sink:broken or useless,better-without",
    )
    diagnose.set_defaults(run=run_diagnose)


def _add_compare(compare: argparse.ArgumentParser) -> None:
    compare.add_argument("first", help="the model before: a shipped model, a hub name, or a folder")
    compare.add_argument("second", help="the model after, with the same layers and tokenizer")
    _add_examination(compare)
    compare.add_argument(
        "--fail-on",
        metavar="NAMES",
        default="",
        help="exit with status 1 when the second model is worse, when heads are lost (became "
        "degenerate) or harmful (the loss falls without them), or when labels have changed: "
        + ",".join(CHANGES),
    )
    compare.set_defaults(run=run_compare)


def _add_strongest(strongest: argparse.ArgumentParser) -> None:
    strongest.add_argument("model", help="a shipped model, a hub name, or a folder")
    strongest.add_argument(
        "--head",
        metavar="NAME",
        help="the head, such as L1.H3, or cross:L0.H1 in an encoder-decoder; all heads if left out",
    )
    strongest.add_argument(
        "--measure",
        metavar="NAME",
        default="elsewhere",
        help="elsewhere (largest weight beside sinks), score, or a metric such as induction",
    )
    strongest.add_argument(
        "--count", type=int, default=10, metavar="N", help="most places of a head, one per text"
    )
    strongest.add_argument("--json", metavar="FILE", help="write everything, for programs")
    strongest.add_argument("--csv", metavar="FILE", help="write the table of places")
    _add_reading(strongest)
    strongest.set_defaults(run=run_strongest)


def _add_reading(command: argparse.ArgumentParser) -> None:
    """Add the options on texts and on where to compute."""
    command.add_argument(
        "--texts",
        metavar="FILE",
        help="a file with a text on each line (a tab before what an encoder-decoder is to write), "
        "or a folder of .txt files; texts that come with attnviz if left out",
    )
    command.add_argument(
        "--long",
        choices=("windows", "refuse"),
        default="windows",
        help="what becomes of texts that are too long for the model",
    )
    command.add_argument("--device", default="auto", help="where to compute: auto, cpu, cuda ...")


def _add_examination(command: argparse.ArgumentParser) -> None:
    """Add the options that a diagnosis and a comparison share."""
    _add_reading(command)
    command.add_argument("--out", metavar="FILE", help="write a report: one HTML file")
    command.add_argument("--json", metavar="FILE", help="write everything, to be read by programs")
    command.add_argument("--csv", metavar="FILE", help="write the table of heads")
    add_threshold_options(command)
    command.add_argument(
        "--no-ablation", action="store_true", help="do not remove heads: faster, proves nothing"
    )
    command.add_argument("--seed", type=int, default=0, help="of what is drawn at random")
