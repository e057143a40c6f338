"""Recorded trainings of equal decoders, one per encoding: the loss beyond the trained length.

    python -m training.record_lengths attnviz/lessons/positions/loss_by_position.json --data DIR

Each decoder reads stories as bytes, in rows of `DecoderSize.length`. All start with the same
weights and read the same rows in the same order. Then the loss is measured at every position of
rows that are four times as long, from texts that no decoder was trained on. Press et al. (2022)
compare encodings in this way.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from attnviz.lessons.positions.position_encodings import ENCODINGS
from training.corpus import Corpus
from training.fused_t5 import keep_memory
from training.loop import denser_early, mixed_precision, update
from training.optimise import Rates, optimisers, set_rates
from training.tiny_decoder import DecoderSize, TinyDecoder

RATES = Rates(muon=5e-3, adam=2e-3, warm_steps=50, hold=0.5, weight_decay=0.1)
TIMES = 4
"""Measured length, in trained lengths."""

BATCH = 64
"""Rows that are measured at once."""


@dataclass(frozen=True)
class Schedule:
    """Schedule of the trainings: steps, rows of a step, measured rows and recorded steps."""

    steps: int = 1500
    rows: int = 32
    measured: int = 2048
    measured_along: int = 64
    records: int = 13


def story_bytes(corpus: Corpus, split: str) -> Int[np.ndarray, " byte"]:
    """Return all documents of a split as bytes, an empty line between two."""
    return np.frombuffer("\n\n".join(corpus.documents(split)).encode(), dtype=np.uint8)


def even_rows(text: Int[np.ndarray, " byte"], rows: int, length: int) -> Int[Tensor, "row byte"]:
    """Return rows that begin at equal distances over a text, one byte longer than `length`."""
    starts = np.linspace(0, len(text) - length - 1, rows).astype(int)
    return torch.from_numpy(text[starts[:, None] + np.arange(length + 1)].astype(np.int64))


def losses_by_position(
    model: TinyDecoder, rows: Int[Tensor, "row byte"]
) -> Float[np.ndarray, " position"]:
    """Return the mean loss of the next byte at each position, in nats."""
    model.eval()
    sums = np.zeros(rows.shape[1] - 1)
    with torch.inference_mode():
        for batch in torch.split(rows, BATCH):
            logits = model(batch[:, :-1]).float()
            each = functional.cross_entropy(
                logits.flatten(0, 1), batch[:, 1:].flatten(), reduction="none"
            )
            sums += each.view(len(batch), -1).double().sum(0).numpy()
    model.train()
    return sums / len(rows)


def measurable(model: TinyDecoder, length: int) -> int:
    """Return how many positions of a row the model can read."""
    return min(length, model.size.length) if model.encoding == "learned" else length


def record_encoding(
    encoding: str,
    train: Int[np.ndarray, " byte"],
    valid: Int[np.ndarray, " byte"],
    *,
    size: DecoderSize,
    schedule: Schedule,
    seed: int,
) -> dict[str, Any]:
    """Train a decoder and return its losses: by position, and along the training.

    Positions that the decoder cannot read have no entry. Learned positions also have
    `longer_table`: the losses with random vectors after the table. `along` has pairs: the mean
    within the trained length, and the mean over as many positions after it.
    """
    model = TinyDecoder(encoding, size, seed)
    optimiser_list = optimisers(model, RATES)
    random = np.random.default_rng(seed)
    few = even_rows(valid, schedule.measured_along, 2 * size.length)
    along: list[tuple[float, float | None]] = []
    stops = denser_early(schedule.steps, schedule.records)
    begun = time.monotonic()
    for step in range(schedule.steps + 1):
        if step in stops:
            count = measurable(model, 2 * size.length)
            losses = losses_by_position(model, few[:, : count + 1])
            within, beyond = losses[: size.length], losses[size.length :]
            along.append((_short(within.mean()), _short(beyond.mean()) if len(beyond) else None))
            print(f"{encoding} {step} {time.monotonic() - begun:.0f}s {along[-1]}", flush=True)
        if step == schedule.steps:
            break
        set_rates(optimiser_list, RATES.factor(step, step / schedule.steps))
        starts = random.integers(0, len(train) - size.length, schedule.rows)
        ids = torch.from_numpy(train[starts[:, None] + np.arange(size.length + 1)].astype(np.int64))
        with mixed_precision(ids.device):
            logits = model(ids[:, :-1])
        loss = functional.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten())
        loss.backward()  # type: ignore[no-untyped-call]
        update(model, optimiser_list)
    rows = even_rows(valid, schedule.measured, TIMES * size.length)
    count = measurable(model, TIMES * size.length)
    losses = losses_by_position(model, rows[:, : count + 1])
    result = {"along": along, "losses": [_short(one) for one in losses]}
    if count < TIMES * size.length:
        longer = losses_by_position(model.extended(TIMES * size.length, seed), rows)
        result["longer_table"] = [_short(one) for one in longer]
    return result


def frequency_loss(train: Int[np.ndarray, " byte"], rows: Int[Tensor, "row byte"]) -> float:
    """Return the loss of a model that knows only how often each byte occurs, nats per byte."""
    counts = np.bincount(train, minlength=256) + 1.0
    return float(-np.log(counts / counts.sum())[rows[:, 1:].numpy()].mean())


def _short(loss: float) -> float:
    return round(float(loss), 3)


def record(
    file: Path,
    corpus: Corpus,
    seeds: Sequence[int],
    *,
    encodings: Sequence[str] = ENCODINGS,
    size: DecoderSize | None = None,
    schedule: Schedule | None = None,
) -> None:
    """Record every encoding with every seed; the file is written anew after each training.

    An entry that the file already has is kept.

    Raises:
        ValueError: the file is of other sizes, another schedule or other texts.
    """
    size, schedule = size or DecoderSize(), schedule or Schedule()
    train, valid = story_bytes(corpus, "train"), story_bytes(corpus, "valid")
    rows = even_rows(valid, schedule.measured, TIMES * size.length)
    head = {
        "source": "python -m training.record_lengths; stories of lm-mix as bytes, see "
        "training/README.md; nats per byte",
        "size": vars(size),
        "schedule": vars(schedule),
        "steps": denser_early(schedule.steps, schedule.records),
        "frequency_loss": _short(frequency_loss(train, rows)),
    }
    runs: dict[str, dict[str, Any]] = {}
    if file.exists():
        before = json.loads(file.read_text("utf-8"))
        runs = before.pop("runs")
        if before != json.loads(json.dumps(head)):
            raise ValueError(f"{file} has another recording; name a new file")
    for seed in seeds:
        for encoding in encodings:
            entry = runs.setdefault(encoding, {})
            if str(seed) in entry:
                continue
            entry[str(seed)] = record_encoding(
                encoding, train, valid, size=size, schedule=schedule, seed=seed
            )
            file.write_text(json.dumps({**head, "runs": runs}, separators=(",", ":")), "utf-8")


def main() -> None:
    """Write the recording into a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--data", type=Path, help="folder with the corpora")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--encodings", nargs="+", choices=ENCODINGS, default=ENCODINGS)
    given = parser.parse_args()
    keep_memory()
    record(given.file, Corpus.find(given.data), given.seeds, encodings=given.encodings)


if __name__ == "__main__":
    main()
