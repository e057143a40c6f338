"""Proof that what is shown is what the model does: the library's own eager attention, side by side.

`verify` runs the same input through a twin of the model whose attention is the library's eager
one, and compares.
"""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from transformers import PreTrainedModel

from attnviz import models
from attnviz.attention import Comparison, EqualInputs, Outputs, Places, intervening, listening
from attnviz.captures.forward_pass import Capture, capture_ids, model_inputs
from attnviz.captures.origins import broken_weights, origin_of
from attnviz.errors import CaptureError
from attnviz.finite import exceeds, largest_difference, largest_size
from attnviz.models import Model, twin
from attnviz.types import Head, Kind, Proof
from attnviz.written_numbers import scientific

__all__ = ["BOUNDS", "verify"]

BOUNDS: Mapping[str, tuple[float, float]] = {"float32": (5e-5, 1e-4), "float64": (5e-5, 1e-4)}
"""Largest difference of a weight, and of a logit relative to the largest logit."""

SHORT_BOUNDS = (1e-2, 5e-2)  # bfloat16 and float16 carry two to three digits
DRIFTS = 4  # two runs, each as far from the exact one as rounding takes it, and a factor of two
SMALLEST = float(np.finfo(np.float32).tiny)
OUTPUTS = ("logits", "logits_per_image", "last_hidden_state")
"""What a model returns, by the names of the library; the first one that there is gets compared."""


def verify(capture: Capture, *, model: Model | None = None) -> Proof:
    """Compare a capture with the library's eager run of the same input; return the differences.

    Takes two more forward passes, and memory for the weights of all heads of one layer.

    >>> import attnviz
    >>> model = attnviz.load("gpt-classroom")
    >>> proof = attnviz.verify(attnviz.capture(model, "The cat sat on the mat."))
    >>> proof.holds
    True
    >>> proof.weights < 5e-5
    True

    Args:
        capture: with queries, keys and values.
        model: the model that the capture was taken from. When None, the one still in memory; if it
            has been released, it is loaded again from its folder or the hub.

    Raises:
        CaptureError: only statistics were kept, `model` is another one, or the model was never
            loaded from a file and has been released.
        ModelError: the model has to be loaded again, and cannot be.
    """
    if model is None:
        model = _of_capture(capture)
    elif model.info != capture.model:
        raise CaptureError(
            f"this capture was taken from {capture.model.name} ({capture.model.dtype}), and is to "
            f"be compared with {model.info.name} ({model.info.dtype})"
        )
    compared = Comparison(capture.stacks)
    eager = _run(model, model.network, capture, "eager", compared)
    compared.check_complete()
    weights, worst = compared.worst()
    weights_bound, logits_bound = BOUNDS.get(model.info.dtype, SHORT_BOUNDS)
    outputs = Outputs(Places(model.sites.kinds, _layers(capture)), compared.weighted_values)
    with torch.inference_mode(), intervening(outputs):
        run = _forward(model, model.network, capture)
    logits = _logits_error(run, eager)
    if model.original is not model.network:  # a view, which is to compute what the model does
        apart = _logits_error(run, _run(model, model.original, capture, "eager"))
        logits = apart if exceeds(apart, logits) else logits
    if model.info.dtype not in BOUNDS or weights > weights_bound:
        # Two correct runs drift apart, the deeper and the sharper the further, and in sixteen bits
        # always: each layer is compared on equal inputs instead, which forgives no error of its
        # own, and outputs may differ by a few times what rounding does to the library's run.
        weights, worst = max(
            _equal_inputs(model, capture, weights, worst),
            _since_captured(model, capture),
            key=lambda one: one[0],
        )
        logits_bound = max(logits_bound, DRIFTS * _library_drift(model, capture, eager))
    return _judged(
        Proof(
            weights=weights,
            worst=worst,
            logits=logits,
            leak=compared.leak(),
            row_sum=compared.row_sum(),
            reconstruction=outputs.apart,
            weights_bound=weights_bound,
            logits_bound=logits_bound,
            broken=(),
            not_finite=_not_finite(model, capture, compared.all_finite() and _is_finite(eager)),
        )
    )


def _of_capture(capture: Capture) -> Model:
    """Return a capture's model, loaded again if it has been released."""
    info = capture.model
    try:
        return capture.loaded_model()
    except CaptureError:
        if info.source == "object":
            raise
    revision = info.revision if info.source == "hub" else None
    model = models.load(info.name, device=info.device, dtype=info.dtype, revision=revision)
    if model.info != info:
        raise CaptureError(
            f"{info.name} has changed since this capture was taken: its weights were "
            f"{info.revision} and are {model.info.revision}; capture the text again"
        )
    return model


def _equal_inputs(
    model: Model, capture: Capture, weights: float, worst: Head
) -> tuple[float, Head]:
    """Return the largest difference of a weight when each layer gets the same inputs.

    Falls back on what was measured over the whole run where the library's file has no eager
    attention to ask.
    """
    comparison = EqualInputs(model.sites.kinds)
    with torch.inference_mode(), listening(comparison):
        _forward(model, model.network, capture)
    if not comparison.compared or comparison.where is None:
        return weights, worst
    return comparison.worst, comparison.where


def _since_captured(model: Model, capture: Capture) -> tuple[float, Head]:
    """Return the largest difference of a weight between the capture and the same run made anew.

    A layer with equal inputs tests the attention, not what is in the capture. In
    sixteen bits a text that was captured beside others, with padding, differs by rounding; there
    the comparison over the whole run has to do.
    """
    worst = (0.0, Head(capture.kinds[0], 0, 0))
    if model.info.dtype not in BOUNDS:
        return worst
    again = capture_ids(model, [capture.inputs], predict=False)[0]
    for kind, stack in capture.stacks.items():
        for layer in range(stack.shape[0]):
            for head in range(stack.shape[1]):
                anew = again[kind].weights(layer, head)
                apart = largest_difference(stack.weights(layer, head), anew)
                if apart > worst[0]:
                    worst = (apart, Head(kind, layer, head))
    return worst


def _library_drift(model: Model, capture: Capture, eager: Any) -> float:
    """Return how far rounding moves the outputs of the library's run, relative to the largest.

    In float32 that is the distance of the eager run from the same run in float64; a fused run would
    not do, since a model that computes with its mask may be wrong in it. In sixteen bits it is the
    distance of the eager run from the fused one: a run in more bits could exceed the memory. There
    it is infinite for models without a fused run, those with a softcap or a learned sink.
    """
    if model.info.dtype == "float32":
        wide = copy.deepcopy(model.network).double()
        wide.set_attn_implementation("eager")
        with torch.inference_mode(), contextlib.suppress(RuntimeError):
            return _logits_error(_forward(model, wide, capture), eager)
    try:
        fused = _run(model, model.network, capture, "sdpa")
    except ValueError:
        return math.inf
    return _logits_error(fused, eager)


def _judged(proof: Proof) -> Proof:
    """Return the proof with `broken` filled in.

    A comparison that could not be made is NaN and not held against the model. A number that is
    not finite where the library's is makes a comparison infinite, never NaN.
    """
    sentences = (
        (proof.weights, proof.weights_bound, f"a weight of {proof.worst.label} is off by"),
        (proof.leak, proof.weights_bound, "a key that may not be seen gets a weight of"),
        (proof.row_sum, proof.weights_bound, "a row of weights misses the sum of one by"),
        (proof.logits, proof.logits_bound, "relative to the largest, an output is off by"),
        (
            proof.reconstruction,
            min(proof.logits_bound, SHORT_BOUNDS[1]),
            "relative to the largest, weights times values miss the attention's output by",
        ),
    )
    broken = tuple(
        f"{sentence} {scientific(value, 1)} (allowed: {scientific(bound)})"
        for value, bound, sentence in sentences
        if not math.isnan(value) and exceeds(value, bound)
    )
    first = (proof.not_finite,) if proof.not_finite else ()
    return replace(proof, broken=(*first, *broken))


def _not_finite(model: Model, capture: Capture, run_is_finite: bool) -> str:
    """Return the sentence that names where NaN or infinity begin; empty if there are none."""
    weights = broken_weights(model.original)
    if run_is_finite and not weights:
        return ""
    origin = origin_of(model, capture, weights=weights)
    if origin is not None:
        return origin.sentence
    return "NaN or infinity in the library's own eager run of this input"


def _logits_error(run: Any, eager: Any) -> float:
    """Return the largest difference of an output from the eager run's, relative to the largest.

    Over the numbers that are finite there; NaN without any.
    """
    ours, theirs = _output(run), _output(eager)
    if ours is None or theirs is None:
        return math.nan
    return largest_difference(ours, theirs) / max(largest_size(theirs), SMALLEST)


def _output(run: Any) -> Float[np.ndarray, ...] | None:
    """Return the output of a run that gets compared; None if there is none."""
    name = next((name for name in OUTPUTS if getattr(run, name, None) is not None), None)
    return None if name is None else getattr(run, name).float().cpu().numpy()


def _is_finite(run: Any) -> bool:
    """Return whether all numbers of a run's output are finite."""
    output = _output(run)
    return output is None or bool(np.isfinite(output).all())


def _forward(model: Model, network: Any, capture: Capture, **options: Any) -> Any:
    """Run a network, the model's or a twin of it, on the input of a capture."""
    options = models.call_options(model, network) | options
    return network(**model_inputs(model, [capture.inputs]), **options)


def _run(
    model: Model,
    network: PreTrainedModel,
    capture: Capture,
    attention: str,
    compared: Comparison | None = None,
) -> Any:
    """Return a run of a capture's input by another attention, on a twin that shares the weights."""
    other = twin(network)  # others may be running the model, on the attention it has
    other.set_attn_implementation(attention)
    if compared is not None:
        compared.watch(other)
    with torch.inference_mode():
        output = _forward(model, other, capture, output_attentions=compared is not None)
    return output


def _layers(capture: Capture) -> dict[Kind, int]:
    """Return the number of layers per kind."""
    return {kind: stack.shape[0] for kind, stack in capture.stacks.items()}
