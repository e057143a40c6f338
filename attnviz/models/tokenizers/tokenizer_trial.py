"""Trial of a tokenizer in a separate process: a program, run by `tokenizer_check`.

A tokenizer from a folder can abort the process that runs it: its Rust code ends the process when
memory runs out, and a few lines of settings can multiply a text a billion times. This program reads
a tokenizer.json from standard input and runs it on short texts, within limits of time and memory.

Exit status: 0 sound, 3 refused with a reason on standard output, anything else aborted.
Only the standard library and `tokenizers` are imported: the trial takes about 0.2 seconds.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from typing import Any

from tokenizers import Tokenizer

__all__ = ["GROWTH", "growth_of"]

REFUSED = 3
SECONDS = 20
BYTES = 3 << 30
GROWTH = 64
"""Most characters that one character of a text may become; Unicode's own forms need 18."""

PADDING = 1 << 20  # tokens
CHARACTERS = 0x3000
"""Code points that are normalised one by one: all alphabets, without the ideographs."""

TEXTS = (
    "The cat sat on the mat, and the cat slept on the mat.",
    " " * 200,
    "a" * 200 + "b",
    "\n\t\r\u200b\ufeff\0" * 20,
    "ﷺ①é🏴\U000e0067😀한字" * 20,
    "".join(map(chr, range(32, 127))) * 3,
)


def main() -> int:
    """Read a tokenizer from standard input and try it; return the exit status."""
    _limit()
    written = sys.stdin.buffer.read().decode()
    refused = _refusal(json.loads(written))
    if refused is None:
        refused = _tried(Tokenizer.from_str(written))
    if refused is None:
        return 0
    sys.stdout.write(refused)
    return REFUSED


def _limit() -> None:
    """Limit this process's memory and processor time, where the system can."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _refusal(settings: Any) -> str | None:
    """Return why settings are refused unseen: steps that multiply a text, or endless padding."""
    for part in ("normalizer", "pre_tokenizer", "decoder"):
        grown = growth_of(settings.get(part))
        if grown > GROWTH:
            return f"its {part} can make {grown:.0e} characters out of one"
    padding = settings.get("padding") or {}
    strategy = padding.get("strategy")
    fixed = strategy.get("Fixed") if isinstance(strategy, dict) else 0
    if max(fixed or 0, padding.get("pad_to_multiple_of") or 0) > PADDING:
        return "it pads every text to more than a million tokens"
    return None


def growth_of(settings: Any) -> float:
    """Return how many characters one character can become, at most, by the steps of one part.

    Steps run one after another, so their factors are multiplied. A replacement multiplies by its
    content's length over its pattern's; a regular expression may match a single character, or
    nothing, between any two.
    """
    grown = 1.0
    for step in _steps(settings):
        if step.get("type") == "Replace":
            pattern, content = step.get("pattern"), str(step.get("content", ""))
            text = pattern.get("String") if isinstance(pattern, dict) else None
            if text:
                grown *= max(1.0, len(content) / len(text))
            else:
                grown *= 1 + len(content)
        grown += len(str(step.get("prepend", "")))
    return grown


def _steps(settings: Any) -> Iterator[dict[str, Any]]:
    """Yield a part of the settings, and every step of a sequence in it, in order."""
    waiting = [settings]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            yield one
            for key in ("normalizers", "pretokenizers", "decoders"):
                waiting += reversed(one.get(key) or [])


def _tried(tokenizer: Tokenizer) -> str | None:
    """Return why a tokenizer is refused after it has been run, if it is."""
    if tokenizer.normalizer is not None:
        for number in range(CHARACTERS):
            output = _without_error(tokenizer.normalizer.normalize_str, chr(number))
            if output is not None and len(output) > GROWTH:
                return f"its normalizer makes {len(output)} characters out of U+{number:04X}"
    for text in TEXTS:
        output = _without_error(tokenizer.encode, text)
        if output is not None:
            if len(output.ids) > GROWTH * (len(text) + GROWTH):
                return f"it makes {len(output.ids)} tokens out of {len(text)} characters"
            _without_error(tokenizer.decode, output.ids)
    return None


def _without_error(call: Any, given: Any) -> Any:
    """Return what a call gives, or None if it raises: an error ends no process."""
    try:
        return call(given)
    except BaseException:  # a panic in Rust is no Exception
        return None


if __name__ == "__main__":
    sys.exit(main())
