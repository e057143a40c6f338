"""Results of page Patch for a pair of texts, computed in one background job."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from jaxtyping import Float

from attnviz.errors import InputError
from attnviz.experiments.decomposition.composition import Composition, composition
from attnviz.experiments.decomposition.copying import copying
from attnviz.experiments.decomposition.logit_lens import LogitLens, logit_lens
from attnviz.experiments.decomposition.logit_parts import LogitParts, logit_parts
from attnviz.experiments.patching.head_patches import (
    PARTS,
    Part,
    PatchEffects,
    patch_heads,
    patch_together,
)
from attnviz.experiments.patching.stream_patches import StreamEffects, patch_stream
from attnviz.findings import Progress
from attnviz.models import Model
from attnviz.ui.jobs.background_jobs import Work
from attnviz.ui.jobs.long_jobs import wait_for
from attnviz.ui.patch.pair_fields import ChosenPair
from attnviz.ui.server.run_places import giving_way

__all__ = ["PatchStudy", "studied"]

Value = TypeVar("Value")

STEPS = len(PARTS) + 6
"""Parts of a head, the two streams, the direct effects, composition, copying and the logit lens."""


@dataclass(frozen=True)
class PatchStudy:
    """Results of a pair of texts; a sentence in place of what a model has not.

    Attributes:
        effects: by part, of each head.
        together: logit difference with the outputs of all heads patched in one run.
        stream: of each layer and position; of an encoder-decoder those of the decoder.
        encoder: those of the encoder's stream; None without one.
        parts: direct effects on the clean text.
        composition: of the model's heads, in its first kind of self-attention.
        copying: score of each head of a decoder.
        lenses: predictions of the layers on the clean text and on the corrupted one.
    """

    effects: Mapping[Part, PatchEffects]
    together: float
    stream: StreamEffects | str
    encoder: StreamEffects | str | None
    parts: LogitParts | str
    composition: Composition | str
    copying: Float[np.ndarray, "layer head"] | str
    lenses: tuple[LogitLens, ...] | str


def studied(model: Model, chosen: ChosenPair) -> PatchStudy | None:
    """Return the results once the background job has finished; until then a button or a bar."""

    def work() -> Work[PatchStudy]:
        def run(progress: Callable[[Progress], None]) -> PatchStudy:
            report, begun = giving_way(progress), time.monotonic()

            def step(number: int, name: str) -> Callable[[float], None]:
                def reported(share: float) -> None:
                    whole = (number + share) / STEPS
                    report(Progress(name, whole, time.monotonic() - begun))

                reported(0.0)
                return reported

            return _study(model, chosen, step)

        return run

    key = ("patch", model.info.name, model.info.revision, chosen.pair, chosen.difference)
    result: PatchStudy | None = wait_for(key, work, "Patch every head")
    return result


def _study(
    model: Model, chosen: ChosenPair, step: Callable[[int, str], Callable[[float], None]]
) -> PatchStudy:
    pair, difference = chosen.pair, chosen.difference
    effects = {
        part: patch_heads(model, pair, difference, part, progress=step(at, f"Patching each {part}"))
        for at, part in enumerate(PARTS)
    }
    together = patch_together(model, pair, difference, model.info.every_head())
    at = len(PARTS)
    streamed = step(at, "Patching layers and positions")
    stream = _or_reason(lambda: patch_stream(model, pair, difference, progress=streamed))
    encoder = None
    if model.info.family == "encoder-decoder":
        streamed = step(at + 1, "Patching layers and positions of the encoder")
        encoder = _or_reason(
            lambda: patch_stream(model, pair, difference, side="encoder", progress=streamed)
        )
    step(at + 2, "Direct effects")(0.0)
    parts = _or_reason(lambda: logit_parts(model, pair.clean, difference))
    step(at + 3, "Composition")(0.0)
    scores = _or_reason(lambda: composition(model))
    step(at + 4, "Copying")(0.0)
    copies = _or_reason(lambda: copying(model))
    step(at + 5, "Logit lens")(0.0)
    lenses = _or_reason(
        lambda: tuple(logit_lens(model, one) for one in (pair.clean, pair.corrupted))
    )
    return PatchStudy(effects, together, stream, encoder, parts, scores, copies, lenses)


def _or_reason(compute: Callable[[], Value]) -> Value | str:
    """Return a result, or the sentence why a model has none."""
    try:
        return compute()
    except InputError as error:
        return str(error)
