"""Recorded training of a tiny model: losses, scores and maps while induction heads appear.

    python -m training.record_induction attnviz/lessons/induction_training.json

The model (two layers of four heads) learns random tokens that repeat after 8 to 22 tokens. The
monitor measures previous-token and induction scores; losses and maps are of fixed sequences.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from attnviz.captures.forward_pass import Encoded, capture_ids
from attnviz.models import Model, instrument
from attnviz.monitor import AttentionMonitor
from training.loop import denser_early
from training.positions import sinusoids
from training.repeats import draw_repeats, two_copies

VOCABULARY, LENGTH, PERIODS = 48, 52, (8, 22)
HEADS, WIDTH = 4, 64
STEPS, ROWS, RATE = 3000, 32, 1e-3
RECORDS = 41
"""Recorded steps, from the first to the last; the earlier the denser."""

PERIOD, SEQUENCES = 12, 32
"""Of the sequences on which losses and maps are taken."""


def tiny_model(seed: int) -> GPT2LMHeadModel:
    """Return the untrained model; its positions begin as sines, so that it trains in a minute."""
    torch.manual_seed(seed)
    network = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=VOCABULARY,
            n_positions=64,
            n_embd=WIDTH,
            n_layer=2,
            n_head=HEADS,
            bos_token_id=0,
            eos_token_id=0,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
        )
    )
    with torch.no_grad():
        network.transformer.wpe.weight.copy_(sinusoids(64, WIDTH, 0.1))
    return network


def record(seed: int = 0, steps: int = STEPS, records: int = RECORDS) -> dict[str, Any]:
    """Train the tiny model and return what was recorded, as JSON has it.

    Losses are in nats per token; scores are [record][layer][head]; maps are [record][layer][head]
    [query][key] in percent.
    """
    network = tiny_model(seed)
    monitor = AttentionMonitor(metrics=("previous_token", "induction"))
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.01)
    random = np.random.default_rng(seed)
    wanted = denser_early(steps, records)
    losses: list[tuple[float, float]] = []
    maps: list[np.ndarray] = []
    for step in range(steps + 1):
        if step in wanted:
            monitor.probe(network, step)
            first, second, weights = _losses_and_maps(network)
            losses.append((first, second))
            maps.append(weights)
        network.train()
        ids, known = draw_repeats(random, ROWS, LENGTH, PERIODS, VOCABULARY)
        logits = network(ids).logits[:, :-1]
        loss = torch.nn.functional.cross_entropy(logits[known[:, 1:]], ids[:, 1:][known[:, 1:]])
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    table = monitor.heads.sort_values(["step", "layer", "head"])
    shape = (len(wanted), 2, HEADS)
    scores = {
        name: np.round(table[name].to_numpy(float).reshape(shape), 3)
        for name in ("previous_token", "induction")
    }
    kept = _kept(scores)
    return {
        "steps": wanted,
        "first_copy": [round(first, 3) for first, _ in losses],
        "second_copy": [round(second, 3) for _, second in losses],
        "previous_token": scores["previous_token"].tolist(),
        "induction": scores["induction"].tolist(),
        "heads": [list(one) for one in kept],
        "maps": [[np.rint(100 * one[at]).astype(int).tolist() for at in kept] for one in maps],
    }


def _kept(scores: dict[str, np.ndarray]) -> list[tuple[int, int]]:
    """Return layer and head of the best previous-token and the best induction head at the end."""
    best = [scores[name][-1] for name in ("previous_token", "induction")]
    return [divmod(int(one.argmax()), HEADS) for one in best]


def _losses_and_maps(network: GPT2LMHeadModel) -> tuple[float, float, np.ndarray]:
    """Return the loss of both copies, nats, and the weights of all heads on one sequence."""
    network.eval()
    model: Model = instrument(network)
    ids = two_copies(1, SEQUENCES, PERIOD, VOCABULARY).tolist()
    captures = capture_ids(model, [Encoded(tuple(row)) for row in ids])
    losses = np.mean([one.losses[:-1] for one in captures], axis=0)
    stack = captures[0]["self"]
    weights = np.stack([[stack.weights(layer, head) for head in range(HEADS)] for layer in (0, 1)])
    # Entry i is the loss of token i + 1; the first token of the second copy cannot be predicted.
    return float(losses[1:PERIOD].mean()), float(losses[PERIOD + 1 :].mean()), weights


def main() -> None:
    """Write the recording into a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    given.file.write_text(json.dumps(record(given.seed), separators=(",", ":")), "utf-8")


if __name__ == "__main__":
    main()
