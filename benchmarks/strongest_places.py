"""Time of the search for the texts in which heads are strongest: all heads, 60 texts, one thread.

    .venv/bin/python -m benchmarks.strongest_places

Processor time, so that other work on the machine counts less: of the passes alone, which keep
queries, keys and values, and of the whole search by each measure.
"""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

import attnviz
from attnviz import Model
from attnviz.doctor.strongest_texts.row_measures import ELSEWHERE, measure_names
from attnviz.doctor.strongest_texts.text_search import captures_of
from attnviz.experiments.text_sets import TextSet, as_text_set, bundled
from benchmarks.app_speed import NAMES, save_model

TEXTS, WORDS, RUNS = 60, 80, 3

SEARCHES: dict[str, Sequence[str]] = {
    "induction": ["induction"],
    "weight beside sinks": [ELSEWHERE],
    "all measures": measure_names(),
}


def seconds(run: Callable[[], object]) -> float:
    """Return the median processor time of three runs, in seconds."""
    times = []
    for _ in range(RUNS):
        begun = time.process_time()
        run()
        times.append(time.process_time() - begun)
    return statistics.median(times)


def random_texts() -> TextSet:
    """Return texts of 80 random words."""
    draw = random.Random(0)
    texts = [" ".join(f"word{draw.randrange(NAMES)}" for _ in range(WORDS)) for _ in range(TEXTS)]
    return as_text_set(texts, "decoder")


def passes(model: Model, texts: TextSet) -> int:
    """Read all texts as the search does; return the number of tokens."""
    return sum(len(capture["self"].query_tokens) for _, capture in captures_of(model, texts))


def show(model: Model, texts: TextSet) -> None:
    """Print the times of one model."""
    layers, heads = model.info.heads["self"]
    print(f"{model.info.name}: {layers} x {heads} heads, {passes(model, texts):,} tokens")
    print(f"  passes alone          {seconds(lambda: passes(model, texts)):6.1f} s")
    for name, measures in SEARCHES.items():

        def search(measures: Sequence[str] = measures) -> object:
            return attnviz.strongest(model, texts, measures=measures)

        print(f"  {name:20}  {seconds(search):6.1f} s")


def main() -> None:
    """Measure the classroom model, and a random model of the size of GPT-2 small."""
    torch.set_num_threads(1)
    show(attnviz.load("gpt-classroom"), bundled("decoder"))
    with tempfile.TemporaryDirectory() as folder:
        save_model(Path(folder), 256)
        show(attnviz.load(folder), random_texts())


if __name__ == "__main__":
    main()
