"""Course of a diagnosis: read the texts, measure and remove heads, label them."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from attnviz import __version__
from attnviz.attention import layers_share_weights
from attnviz.doctor.diagnosis import Diagnosis, TextsRead
from attnviz.doctor.group_removal import remove_groups, remove_listed
from attnviz.doctor.labels.broken_numbers import loss_note, origin_note
from attnviz.doctor.labels.cost_weighting import weighting_note
from attnviz.doctor.labels.evidence_sentences import Names
from attnviz.doctor.labels.rules import Experiments, findings
from attnviz.doctor.labels.thresholds import Thresholds
from attnviz.doctor.measures.all_measures import Measures, measure
from attnviz.doctor.measures.bootstrap import Intervals, intervals, ratios
from attnviz.doctor.measures.text_losses import text_losses
from attnviz.doctor.stages import GRADIENTS, MEASURING, PAIRS, READING, REMOVING, Clock
from attnviz.errors import InputError
from attnviz.experiments.ablation import ablate as ablate_heads
from attnviz.experiments.encoded_texts import LongTexts
from attnviz.experiments.gradient_importance import importance
from attnviz.experiments.hooked_model import head_projections
from attnviz.experiments.loss_examples import Example, examples
from attnviz.experiments.text_sets import Text, TextSet, as_text_set
from attnviz.findings import REPLACEMENTS, Progress, Replacement
from attnviz.models import Model, check_reads
from attnviz.types import Kind

__all__ = ["Reading", "diagnose", "examine"]


def diagnose(
    model: Model,
    texts: str | Path | Sequence[str | Text] | TextSet | None = None,
    *,
    ablate: bool = True,
    replacements: Sequence[Replacement] = ("zero", "mean"),
    thresholds: Thresholds | None = None,
    long: LongTexts = "windows",
    seed: int = 0,
    progress: Callable[[Progress], None] | None = None,
) -> Diagnosis:
    """Return one finding per head: label, evidence, and the effect of its removal on the loss.

    >>> import attnviz
    >>> model = attnviz.load("gpt-classroom")
    >>> texts = ["The cat sat on the mat.", "The dog ran to the tree."]
    >>> diagnosis = attnviz.diagnose(model, texts, ablate=False)
    >>> layers, heads = model.info.heads["self"]
    >>> len(diagnosis.findings) == layers * heads
    True

    Args:
        model: from `attnviz.load`.
        texts: None for the 60 that come with attnviz; a list; or a file, a text on each line, or a
            folder of .txt files.
        ablate: replace every head and measure what that costs; by far the longest part.
        replacements: what takes the place of a head's output: "zero", "mean" (the head's average),
            "uniform" (the plain average of what it can see).
        thresholds: where the rules draw their lines; `Diagnosis.relabelled` moves them later.
        long: "windows" reads texts that are too long in pieces, "refuse" raises.
        seed: of masks, random tokens and the bootstrap.
        progress: callback for stage, finished share and time. It may raise to
            cancel: the model is left as it was.

    Raises:
        EmptyText: there is no text.
        TextTooLong: a text longer than the model reads, and `long` is "refuse".
        InputError: a model that reads no text alone, a text it cannot read, an unknown
            replacement.
    """
    ways = _ways(ablate, replacements)
    clock = Clock(progress, experiments=bool(ways))
    clock.begin(READING)
    reading = Reading.of(model, texts, long=long, seed=seed)
    return _examined(model, reading, ways, thresholds, seed, clock)


@dataclass(frozen=True)
class Reading:
    """Set of texts as one model reads them.

    Attributes:
        texts: the set.
        examples: inputs and targets of the loss.
        notes: what was done to the texts.
    """

    texts: TextSet
    examples: tuple[Example, ...]
    notes: tuple[str, ...]

    @classmethod
    def of(
        cls,
        model: Model,
        texts: str | Path | Sequence[str | Text] | TextSet | None,
        *,
        long: LongTexts,
        seed: int,
    ) -> Reading:
        """Read the texts of a diagnosis. Arguments and errors as for `diagnose`."""
        check_reads(model, ("input_ids",))
        chosen = as_text_set(texts, model.info.family)
        read, notes = examples(model, chosen, long=long, seed=seed)
        return cls(chosen, read, (*chosen.notes, *notes))


def examine(
    model: Model,
    reading: Reading,
    *,
    ablate: bool = True,
    replacements: Sequence[Replacement] = ("zero", "mean"),
    thresholds: Thresholds | None = None,
    seed: int = 0,
    progress: Callable[[Progress], None] | None = None,
) -> Diagnosis:
    """Diagnose a model on texts that have been read already."""
    ways = _ways(ablate, replacements)
    clock = Clock(progress, experiments=bool(ways), read=True)
    return _examined(model, reading, ways, thresholds, seed, clock)


def _ways(ablate: bool, replacements: Sequence[Replacement]) -> tuple[Replacement, ...]:
    """Return the replacements to try; none without ablation."""
    for replacement in replacements:
        if replacement not in REPLACEMENTS:
            raise InputError(
                f"a head's output is replaced by {', '.join(REPLACEMENTS)}, not {replacement!r}"
            )
    return tuple(replacements) if ablate else ()


def _examined(
    model: Model,
    reading: Reading,
    ways: Sequence[Replacement],
    thresholds: Thresholds | None,
    seed: int,
    clock: Clock,
) -> Diagnosis:
    limits = thresholds or Thresholds()
    read = reading.examples
    tick = clock.begin(MEASURING)
    projections = head_projections(model)
    measured = measure(model, read, reading.texts, projections, seed=seed, progress=tick)
    notes = (*reading.notes, *measured.notes)
    losses = text_losses(model, read)
    broken = origin_note(model, read, measured, losses)
    notes = (*filter(None, (broken, loss_note(losses))), *notes)
    tried = Experiments()
    leaning: dict[Kind, Intervals] = {}
    if not ways:
        notes = (*notes, "no head was removed: labels rest on what heads look at alone")
    elif losses.counted and not losses.all_broken:
        tried, leaning, said = _experiments(model, read, measured, ways, limits, seed, clock)
        notes = (*notes, *said, *_notes_on_pruning(model))
    called = _names(model, read)
    labelled = findings(measured, limits, tried, called)
    clock.end()
    return Diagnosis(
        model=model.info,
        texts=TextsRead(
            reading.texts.name,
            reading.texts.digest,
            len(reading.texts.texts),
            len(read),
            sum(example.tokens for example in read),
        ),
        findings=labelled,
        notes=notes,
        thresholds=limits,
        measures=measured,
        experiments=tried,
        importance=leaning,
        loss=losses.mean(seed=seed),
        versions=_versions(),
        seed=seed,
        seconds=clock.seconds,
        names=called,
        not_finite=broken,
        losses=losses,
    )


def _notes_on_pruning(model: Model) -> tuple[str, ...]:
    """Return what a reader of the lists has to know before heads are cut out of the weights."""
    if not layers_share_weights(model.network, model.sites):
        return ()
    return (
        "several layers have the same weights: a head can be switched off in one of them, but cut "
        "out of all of them only",
    )


def _experiments(
    model: Model,
    read: Sequence[Example],
    measured: Measures,
    replacements: Sequence[Replacement],
    limits: Thresholds,
    seed: int,
    clock: Clock,
) -> tuple[Experiments, dict[Kind, Intervals], tuple[str, ...]]:
    """Return the costs of removing heads, alone and in groups, their importance, and notes.

    Notes on costs that depend on the weighting of texts.
    """
    tick = clock.begin(REMOVING)
    ablation = ablate_heads(model, read, replacements=replacements, progress=tick)
    tokens = ablation.tokens.astype(np.float64)
    alone = {
        name: {kind: ratios(change, tokens, seed=seed) for kind, change in kinds.items()}
        for name, kinds in ablation.change.items()
    }
    tick = clock.begin(PAIRS)
    way: Replacement = "zero" if "zero" in alone else next(iter(alone))
    together, groups = remove_groups(
        model, read, measured, Experiments(alone), way, limits, seed, tick
    )
    tick = clock.begin(GRADIENTS)
    slopes = importance(model, read, progress=tick)
    leaning = {kind: intervals(slope, seed=seed) for kind, slope in slopes.items()}
    note = weighting_note(ablation.change[way], tokens, alone[way], limits.tolerance)
    tried = Experiments(alone, together, groups)
    listed = remove_listed(model, read, measured, tried, way, limits, seed)
    return listed, leaning, (note,) if note else ()


def _names(model: Model, read: Sequence[Example]) -> dict[Kind, Names]:
    """Return the names of the first token and the separators among the keys of each kind."""
    special = {int(one) for one in model.tokenizer.all_special_ids}
    first_ids = {example.encoded.ids[0] for example in read}
    by_kind = {}
    for kind in model.info.heads:
        names = Names()
        if kind in ("self", "encoder", "cross") and model.info.family != "decoder":
            ending = read[0].encoded.ids[-1]
            ids = list(first_ids) if len(first_ids) == 1 and first_ids <= special else []
            first = model.tokenizer.convert_ids_to_tokens(ids)[0] if ids else names.first
            separator = names.separator
            if ending in special:
                separator = model.tokenizer.convert_ids_to_tokens([ending])[0]
            names = Names(first, separator)
        by_kind[kind] = names
    return by_kind


def _versions() -> dict[str, str]:
    return {
        "attnviz": __version__,
        "torch": importlib.metadata.version("torch"),
        "transformers": importlib.metadata.version("transformers"),
        "python": platform.python_version(),
    }
