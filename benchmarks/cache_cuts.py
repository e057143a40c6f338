"""Measure the loss of every next token with a cut cache of keys and values.

    python -m benchmarks.cache_cuts
    python -m benchmarks.cache_cuts --texts folder-or-file --windows 12

Texts are joined and split into windows of as many tokens as `gpt-classroom` reads, each with its
begin token. The mean loss of the tokens 100 to 255 is printed in nats, with the mean divergence
from the uncut run and the bytes of the cache at the end.
"""

from __future__ import annotations

import argparse

import numpy as np

import attnviz
from attnviz.experiments.generation.cache_cuts import CacheCut
from attnviz.experiments.generation.cut_losses import run_with_cuts
from attnviz.experiments.text_sets import bundled, read_texts
from attnviz.models import encode

LENGTH = 256
FIRST = 100
ROW = "{:<42} {:>8} {:>12} {:>12}"


def cuts() -> list[CacheCut]:
    """Return the rules that are compared, at equal budgets."""
    rules = []
    for budget in (8, 16, 32, 64):
        rules += [CacheCut("window", budget), CacheCut("first", budget), CacheCut("heavy", budget)]
    rules += [CacheCut("round", bits=bits) for bits in (8, 4, 2)]
    wrong = [
        CacheCut("round", bits=bits, key_axis="token", value_axis="channel") for bits in (4, 2)
    ]
    return rules + wrong


def main() -> None:
    """Run all windows with all cuts and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", help="file or folder of texts; the bundled ones by default")
    parser.add_argument("--windows", type=int, default=12)
    given = parser.parse_args()
    model = attnviz.load("gpt-classroom")
    texts = read_texts(given.texts) if given.texts else bundled("decoder")
    ids: list[int] = []
    for text in texts.texts:
        ids += encode(model, text.source, begin=False, cut=True).ids
        if len(ids) >= given.windows * (LENGTH - 1):
            break
    start = int(model.tokenizer.bos_token_id)
    windows = [
        (start, *ids[at : at + LENGTH - 1]) for at in range(0, len(ids) - LENGTH + 2, LENGTH - 1)
    ]
    rules = cuts()
    losses: list[list[float]] = [[] for _ in (None, *rules)]
    apart: list[list[float]] = [[] for _ in losses]
    last = [0] * len(losses)
    for window in windows[: given.windows]:
        for place, run in enumerate(run_with_cuts(model, window, rules)):
            # The loss at position i is that of token i + 1.
            losses[place].append(float(run.losses[FIRST - 1 :].mean()))
            apart[place].append(float(run.divergence[FIRST - 1 : -1].mean()))
            last[place] = int(run.bytes[-1])
    print(f"{len(losses[0])} windows of {LENGTH} tokens")
    print(ROW.format("cache", "loss", "divergence", "bytes"))
    for label, loss, far, size in zip(
        ["whole", *(rule.label for rule in rules)], losses, apart, last, strict=True
    ):
        print(ROW.format(label, f"{np.mean(loss):.2f}", f"{np.mean(far):.4f}", f"{size:,}"))


if __name__ == "__main__":
    main()
