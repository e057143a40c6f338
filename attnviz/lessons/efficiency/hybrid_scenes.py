"""Numbers of the lesson about state spaces and a model that combines them with attention."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from attnviz.captures.forward_pass import capture
from attnviz.efficient.layer_stack import layer_bytes
from attnviz.experiments.edits.edit_rules import Edit
from attnviz.experiments.edits.edited_model import edited
from attnviz.experiments.generation.model_layers import layers_of
from attnviz.experiments.repetition import repeat_random
from attnviz.experiments.text_sets import bundled
from attnviz.lessons.efficiency.selective_states import SelectiveStates, selective_states
from attnviz.lessons.phrases.named_phrases import phrases_of
from attnviz.lessons.scene import LessonInput, Scene
from attnviz.models import Model
from attnviz.written_numbers import percent

__all__ = ["hybrid_scenes"]

phrase = phrases_of("hybrid")

FARTHEST = 30
"""Distance in tokens to which the rest of the state is shown."""

LENGTHS = (64, 512, 1024, 2048, 4096)
"""Tokens after which the layers' memory is counted."""

PERIODS, SEQUENCES = (5, 25, 50, 100), 4
"""Numbers of random tokens that are repeated, and texts of each."""

PERIOD = 1
"""Place in `PERIODS` of the number that the prediction is about."""


def hybrid_scenes(given: LessonInput) -> Mapping[str, Scene]:
    """Return the scenes: a fading state, its matrix, its memory, and what attention adds.

    Raises:
        InputError: a model without state spaces.
    """
    model = given.model
    states = sorted(model.info.other_layers)
    ids = list(given.capture["self"].query_tokens.ids)
    return {
        "fade": _kept(model, states[0]),
        "matrix": _matrices(model, states, ids, given.capture["self"].query_tokens.labels),
        "memory": _memory(model, states),
        "copy": _copies(model, given.seed),
    }


def _kept(model: Model, layer: int) -> Scene:
    """Return the share of the state that is left after each distance, on a story."""
    text = bundled("decoder").texts[0].source
    ids = list(capture(model, text, predict=False)["self"].query_tokens.ids)
    states = selective_states(model, ids, layer)
    left = np.stack([states.kept(distance).numpy().ravel() for distance in range(FARTHEST + 1)])
    slow, fast = np.quantile(left, 0.9, axis=1), np.quantile(left, 0.1, axis=1)
    return Scene(
        labels={"distances": [str(at) for at in range(FARTHEST + 1)]},
        arrays={"mean": left.mean(1), "slow": slow, "fast": fast},
        values={
            "layer": float(layer),
            "channels": float(states.inputs.shape[1]),
            "size": float(states.decays.shape[1]),
            "numbers": float(states.decays.numel()),
            "farthest": float(FARTHEST),
        },
        places={"one": 1, "five": 5, "last": FARTHEST},
    )


def _matrices(model: Model, layers: list[int], ids: list[int], labels: tuple[str, ...]) -> Scene:
    """Return M of the busiest channel of each state layer, [layer, token, token]."""
    matrices, names, sums, negative = [], [], [], []
    for layer in layers:
        states = selective_states(model, ids, layer)
        channel = _busiest(states)
        matrix = states.matrix(channel).numpy()
        seen = matrix[np.tril_indices(len(matrix))]
        matrices.append(np.where(np.tri(len(matrix), dtype=bool), matrix, np.nan))
        names.append(phrase("channel", layer=layer, channel=channel))
        sums.append(float(matrix[-1].sum()))
        negative.append(percent(float((seen < 0).mean())))
    last = matrices[0][-1]
    top = int(np.abs(last).argmax())
    return Scene(
        labels={"tokens": labels, "channels": names},
        arrays={"matrix": np.stack(matrices), "sizes": np.abs(np.stack(matrices))},
        values={
            "sums": sums,
            "negative": negative,
            "top_label": labels[top],
            "last_label": labels[-1],
            "top_weight": float(last[top]),
        },
        places={"row": len(labels) - 1, "top": (len(labels) - 1) * len(labels) + top},
    )


def _busiest(states: SelectiveStates) -> int:
    """Return the channel with the most from earlier tokens in the last output: Σ |M x|."""
    sizes = [
        float((states.matrix(channel)[-1, :-1] * states.inputs[:-1, channel]).abs().sum())
        for channel in range(states.inputs.shape[1])
    ]
    return int(np.argmax(sizes))


def _memory(model: Model, states: list[int]) -> Scene:
    """Return the kilobytes that each layer keeps, [length, layer]."""
    layers = layers_of(model)
    width = torch.finfo(model.network.dtype).bits // 8
    kept = np.stack([layer_bytes(layers, one, bytes_per_number=width) for one in LENGTHS]) / 1e3
    attention = next(at for at in range(len(layers)) if at not in states)
    kinds = ["state" if at in states else "attention" for at in range(len(layers))]
    names = [phrase(kind, layer=at) for at, kind in enumerate(kinds)]
    return Scene(
        labels={"layers": names, "lengths": [f"{one:,}" for one in LENGTHS]},
        arrays={"kilobytes": kept},
        values={
            "shortest": float(LENGTHS[0]),
            "state_first": float(kept[0, states[0]]),
            "attention_first": float(kept[0, attention]),
            "times": float(kept[-1, attention] / kept[-1, states[0]]),
            "total": kept.sum(1).tolist(),
        },
        places={"longest": len(LENGTHS) - 1, "state": states[0], "attention": attention},
    )


def _copies(model: Model, seed: int) -> Scene:
    """Return the losses of repeated random tokens, with and without attention, [period, copy]."""
    off = [Edit("zero", head) for head in model.info.every_head()]
    losses, left = [], []
    for period in PERIODS:
        whole = repeat_random(model, period=period, sequences=SEQUENCES, seed=seed)
        with edited(model, off):
            without = repeat_random(model, period=period, sequences=SEQUENCES, seed=seed)
        copies = (whole.first_copy, whole.second_copy, without.second_copy)
        losses.append([float(one[1:].mean()) for one in copies])
        left.append(float(without.first_copy[1:].mean()) - losses[-1][2])
    return Scene(
        labels={
            "copies": tuple(
                phrase(key) for key in ("first_copy", "second_copy", "without_attention")
            ),
            "periods": [phrase("tokens", count=period) for period in PERIODS],
        },
        arrays={"losses": np.array(losses)},
        values={
            "gain": [one[0] - one[1] for one in losses],
            "left": left,
            "period": [float(period) for period in PERIODS],
            "heads": float(model.info.heads["self"][1]),
        },
        places={"first": 0, "second": 1, "without": 2, "period": PERIOD},
    )
