"""The command line: the app, the numbers of a text, and the diagnosis of a model."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attnviz import __version__
from attnviz.errors import AttnvizError, InputError
from attnviz.findings import LABELS, Progress

__all__ = ["main"]

ROOT = Path(__file__).parents[1]

WRITTEN = {"out": "to_html", "json": "to_json", "csv": "to_csv"}
"""What writes the file that an option of `diagnose` asks for."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Its exit status is 0; 1 when `diagnose --fail-on` finds what it looks for; 2 for input that
    cannot be used; 130 when it is interrupted.
    """
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except AttnvizError as error:
        _say(str(error))
        return 2
    except KeyboardInterrupt:
        _say("stopped before it was done")
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="attnviz", description="See what attention really does inside a transformer."
    )
    parser.add_argument("--version", action="version", version=f"attnviz {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    app = commands.add_parser("app", help="serve the app in a browser")
    app.add_argument("--port", type=int, default=8501)
    app.add_argument(
        "--address",
        default="localhost",
        help="where to listen; 0.0.0.0 lets a class on the same network in",
    )
    app.add_argument("--headless", action="store_true", help="do not open a browser")
    app.set_defaults(run=_app)

    capture = commands.add_parser("capture", help="print every head's numbers on a text, as CSV")
    capture.add_argument("model", help="a shipped model, a hub name, or a folder")
    capture.add_argument("text", help="what to read; - for standard input")
    capture.add_argument("--pair", help="a second sentence (BERT)")
    capture.add_argument(
        "--target", help="what the decoder writes (T5); its own output if left out"
    )
    capture.add_argument("--cut", action="store_true", help="cut texts that are too long")
    capture.set_defaults(run=_capture)

    diagnose = commands.add_parser(
        "diagnose",
        help="say which heads are degenerate, with evidence",
        description="Measure every head on a set of texts, remove each to see what it costs, and "
        "say what it is: " + ", ".join(LABELS) + ".",
        epilog="Exit status: 0; 1 when --fail-on found a head; 2 for input that cannot be used.",
    )
    diagnose.add_argument("model", help="a shipped model, a hub name, or a folder")
    diagnose.add_argument(
        "--texts",
        metavar="FILE",
        help="a file with a text on each line (a tab before what an encoder-decoder is to write), "
        "or a folder of .txt files; texts that come with attnviz if left out",
    )
    diagnose.add_argument("--out", metavar="FILE", help="write a report: one HTML file")
    diagnose.add_argument("--json", metavar="FILE", help="write everything, to be read by programs")
    diagnose.add_argument("--csv", metavar="FILE", help="write the table of heads")
    diagnose.add_argument(
        "--fail-on",
        metavar="LABELS",
        default="",
        help="exit with status 1 when a head is called one of these, such as uniform,sink:broken",
    )
    diagnose.add_argument(
        "--threshold",
        metavar="NAME=NUMBER",
        action="append",
        default=[],
        help="move a limit of the rules, such as uniform_entropy=0.9; may be given several times",
    )
    diagnose.add_argument(
        "--long",
        choices=("windows", "refuse"),
        default="windows",
        help="what becomes of texts that are too long for the model",
    )
    diagnose.add_argument(
        "--no-ablation", action="store_true", help="do not remove heads: faster, proves nothing"
    )
    diagnose.add_argument("--device", default="auto", help="where to compute: auto, cpu, cuda ...")
    diagnose.add_argument("--seed", type=int, default=0, help="of what is drawn at random")
    diagnose.set_defaults(run=_diagnose)
    return parser


def _say(sentence: str) -> None:
    print(f"attnviz: {sentence}", file=sys.stderr)  # noqa: T201


def _app(options: argparse.Namespace) -> int:
    script = ROOT / "app.py"
    if not script.is_file():
        raise AttnvizError(
            "the app's pages are not part of the installed package; run this from a checkout of "
            "attnviz, or `make app` there"
        )
    from streamlit.runtime.pages_manager import PagesManager
    from streamlit.web import bootstrap

    # A `pages` folder beside the script makes Streamlit answer a server's very first visitor with
    # its old page discovery, which tells them that the page of their link does not exist.
    PagesManager.uses_pages_directory = False
    _warm_up()
    settings: dict[str, object] = {
        # Streamlit reads the project's settings only when started in the project's folder, and
        # would otherwise watch files and send usage figures.
        **_flat(tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text("utf-8"))),
        "server.port": options.port,
        "server.address": options.address,
        **({"server.headless": True} if options.headless else {}),
    }
    bootstrap.load_config_options(settings)
    bootstrap.run(str(script), False, [], settings)
    return 0


def _flat(settings: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Nested tables of settings as Streamlit's dotted names."""
    found: dict[str, object] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


def _warm_up() -> None:
    """Read torch and the library before the first visitor comes.

    Not beside them: two threads that import the same modules from different ends can see one of
    them half made, and a class opens its first page all at once.
    """
    import attnviz.doctor
    import attnviz.proof
    import attnviz.summary
    import attnviz.views  # noqa: F401


def _capture(options: argparse.Namespace) -> int:
    import attnviz

    text = sys.stdin.read() if options.text == "-" else options.text
    model = attnviz.load(options.model)
    found = attnviz.capture(
        model,
        text,
        pair=options.pair,
        target=options.target,
        cut=options.cut,
        keep="statistics",
        predict=False,
    )
    if found.cut:
        _say(f"{found.cut} tokens were cut off")
    with contextlib.suppress(BrokenPipeError):  # `| head` has read enough
        attnviz.summarize(found).to_csv(sys.stdout, index=False, float_format="%.6g")
        sys.stdout.flush()
    return 0


def _diagnose(options: argparse.Namespace) -> int:
    # What can be refused is refused before the long part, not behind it.
    files = {kind: Path(name) for kind in WRITTEN if (name := getattr(options, kind)) is not None}
    _check_places(list(files.values()))
    if not sys.stderr.isatty():  # no bars of the library's own in a log; it asks when imported
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    from attnviz.doctor.plain import named, summary
    from attnviz.doctor.texts import as_text_set, read_texts
    from attnviz.doctor.thresholds import Thresholds

    names = named(options.fail_on)
    thresholds = Thresholds.from_dict(dict(map(_threshold, options.threshold)))
    given = None if options.texts is None else read_texts(options.texts)
    import attnviz

    model = attnviz.load(options.model, device=options.device)
    texts = as_text_set(given, model.info.family)
    with _progress() as progress:
        found = attnviz.diagnose(
            model,
            texts,
            ablate=not options.no_ablation,
            thresholds=thresholds,
            long=options.long,
            seed=options.seed,
            progress=progress,
        )
    lost = [path for kind, path in files.items() if not _write(found, kind, path)]
    measured = f"{_number(found.findings, 'head')} on {_number(texts.texts, 'text')}"
    _print(f"{model.info.name}: {measured}, {texts.name}\n")
    _print(summary(found.findings, found.notes))
    failing = [one for one in found.findings if any(name.fits(one) for name in names)]
    if failing:
        listed = ", ".join(f"{one.head.label} ({one.name})" for one in failing)
        _say(f"--fail-on {options.fail_on} found {listed}")
    return 2 if lost else 1 if failing else 0


def _threshold(written: str) -> tuple[str, object]:
    """A threshold's name and number; what is no number is left for the rules to refuse."""
    name, _, value = (part.strip() for part in written.partition("="))
    try:
        return name, float(value)
    except ValueError:
        return name, value


def _number(things: Sequence[object], name: str) -> str:
    return f"{len(things)} {name}" if len(things) == 1 else f"{len(things)} {name}s"


def _check_places(paths: Sequence[Path]) -> None:
    """Refuse files that could not be written when the work is done."""
    for number, path in enumerate(paths):
        try:
            folder, there = path.absolute().parent, path.exists()
            missing, taken = not folder.is_dir(), path.is_dir()
        except (OSError, ValueError) as error:  # too long for a name, or no name at all
            raise InputError(f"no file can be called that: {error}") from error
        if missing:
            raise InputError(f"there is no folder '{path.parent}' for '{path.name}'; make it first")
        if taken:
            raise InputError(f"'{path}' is a folder; give the name of a file")
        if not os.access(path if there else folder, os.W_OK):
            raise InputError(f"'{path}' may not be written by you; choose another place")
        if path.resolve() in [one.resolve() for one in paths[:number]]:
            raise InputError(f"'{path}' is asked for twice; give each file its own name")


def _write(found: Any, kind: str, path: Path) -> bool:
    """Write one file of a diagnosis; a full disk must not take the others with it."""
    try:
        getattr(found, WRITTEN[kind])(path)
    except (OSError, AttnvizError) as error:
        _say(f"'{path}' could not be written: {getattr(error, 'strerror', None) or error}")
        return False
    _say(f"wrote '{path}'")
    return True


def _print(text: str) -> None:
    """Print, whatever the terminal can show, until nobody reads any more."""
    encoding = sys.stdout.encoding or "utf-8"
    with contextlib.suppress(BrokenPipeError):
        print(text.encode(encoding, "replace").decode(encoding), flush=True)  # noqa: T201


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[Progress], None]]:
    """What reports on a long run: a bar on a terminal, a line every tenth part elsewhere."""
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
            bar.set_description_str(_stage(now), refresh=False)
            bar.update(min(now.share, 1.0) - bar.n)

        yield progress


def _columns() -> int:
    """How wide a bar may be; a terminal that calls itself 0 wide, as some do, gets one of 80."""
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
            _say(f"{now.share:4.0%}  {_stage(now)}")


def _stage(now: Progress) -> str:
    """What is being done, and for how long yet."""
    left = now.seconds_left
    if left is None or now.share > 0.99:
        return now.stage
    if left < 90:
        return f"{now.stage}, about {max(round(left), 1)} s left"
    return f"{now.stage}, about {round(left / 60)} min left"
