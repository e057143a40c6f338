"""Proof that what is shown is what the model does: the library's own eager attention, side by side.

`verify` runs the same input through a twin of the model whose attention is the library's eager
one, and compares. `load` does so on a short text for every model this project does not ship, and
refuses a model whose numbers it cannot prove.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from attnviz import models
from attnviz.attention import AttentionStack, EqualInputs, listening
from attnviz.attention.interface import NAME
from attnviz.captures import Capture, Encoded, capture_ids, encode, model_inputs
from attnviz.errors import ModelNotSupported
from attnviz.models import Model
from attnviz.types import Family, Head, Kind, Proof

__all__ = ["BOUNDS", "load", "verify"]

BOUNDS: Mapping[str, tuple[float, float]] = {"float32": (5e-5, 1e-4), "float64": (5e-5, 1e-4)}
"""Largest difference of a weight, and of a logit relative to the largest logit."""

SHORT_BOUNDS = (1e-2, 5e-2)  # bfloat16 and float16 carry two to three digits
PROBE = "The cat sat on the mat, and the cat slept on the mat."
OUTPUTS: Mapping[Kind, tuple[str, ...]] = {
    "self": ("attentions",),
    "encoder": ("encoder_attentions",),
    "decoder": ("decoder_attentions",),
    "cross": ("cross_attentions",),
    "image": ("vision_model_output", "attentions"),
    "text": ("text_model_output", "attentions"),
}
"""Where the library's output holds the weights of each kind."""

LOGITS = ("logits", "logits_per_image")


def load(
    name: str,
    *,
    device: str = "auto",
    dtype: str = "auto",
    revision: str | None = None,
    allowed_folders: Sequence[str | Path] | None = None,
) -> Model:
    """`attnviz.models.load`, and for models this project does not ship a proof on a short text
    (or on noise, for a model of pictures or sounds).

    Arguments and errors as there; `ModelNotSupported` also when the proof fails.
    """
    model = models.load(
        name, device=device, dtype=dtype, revision=revision, allowed_folders=allowed_folders
    )
    if model.info.source != "classroom":
        _self_check(model)
    return model


def _self_check(model: Model) -> None:
    """Refuse a model whose captured attention is not the library's own."""
    encoded = Encoded(features=_noise(model))
    if model.vocabulary is not None:
        target = PROBE if model.info.family == "encoder-decoder" else None
        encoded = replace(encode(model, PROBE, target=target, cut=True), features=encoded.features)
    proof = verify(capture_ids(model, [encoded])[0])
    if not proof.holds:
        raise ModelNotSupported(
            f"attnviz cannot prove its numbers for '{model.info.name}' "
            f"({model.info.model_type}), so it does not show them: " + "; ".join(proof.broken)
        )


def _noise(model: Model) -> dict[str, Tensor]:
    """A picture or a sound without any meaning, always the same."""
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.randn(shape, generator=generator) for name, shape in model.sites.sizes.items()
    }


def verify(capture: Capture) -> Proof:
    """Compare a capture with the library's own eager run of the same input.

    Costs two more forward passes, and for the moment all weights of all heads.

    Raises:
        CaptureError: only statistics were kept, or the model is no longer in memory.
    """
    model = capture.loaded_model()
    short = model.info.dtype not in BOUNDS
    eager, projections = _run(model, capture, "eager")
    if short:  # see below: the layers must have had the inputs that were captured
        _, projections = _run(model, capture, NAME)
    weights, worst, leak, row_sum = 0.0, Head(capture.kinds[0], 0, 0), 0.0, 0.0
    reconstructions: list[float | None] = []
    for kind, stack in capture.stacks.items():
        for layer in range(stack.shape[0]):
            theirs = _library_weights(eager, stack, layer)
            ours = np.stack([stack.weights(layer, head) for head in range(stack.shape[1])])
            apart = np.abs(ours - theirs).max(axis=(1, 2))
            if apart.max() > weights:
                weights, worst = float(apart.max()), Head(kind, layer, int(apart.argmax()))
            leak = max(leak, _leak(stack, layer, ours, theirs, model.info.family))
            row_sum = max(row_sum, _row_sum_error(stack, layer, ours))
            reconstructions.append(projections.error(stack, layer, ours))
    found = [error for error in reconstructions if error is not None]
    weights_bound, logits_bound = BOUNDS.get(model.info.dtype, SHORT_BOUNDS)
    with torch.inference_mode():
        logits = _logits_error(model.network(**model_inputs(model, [capture.inputs])), eager)
    if short:
        # Two correct runs drift apart in sixteen bits, the deeper the further: each layer is asked
        # with equal inputs instead, and the drift allowed is that of the library's own two ways.
        weights, worst = _equal_inputs(model, capture, weights, worst)
        logits_bound = max(logits_bound, 2 * _library_drift(model, capture, eager))
    return _judged(
        Proof(
            weights=weights,
            worst=worst,
            logits=logits,
            leak=leak,
            row_sum=row_sum,
            reconstruction=max(found) if len(found) == len(reconstructions) else math.nan,
            weights_bound=weights_bound,
            logits_bound=logits_bound,
            broken=(),
        )
    )


def _library_weights(
    eager: Any, stack: AttentionStack, layer: int
) -> Float[np.ndarray, "head query key"]:
    """The weights of a layer in the output of the library's eager run."""
    found = eager
    for name in OUTPUTS[stack.kind]:
        found = getattr(found, name, None)
    if found is None or len(found) != stack.shape[0]:
        raise ModelNotSupported(
            f"the library gives {0 if found is None else len(found)} layers of {stack.kind} "
            f"attention where attnviz has seen {stack.shape[0]}; they cannot be compared"
        )
    weights: Tensor = found[layer][0]
    return weights.float().cpu().numpy()


def _equal_inputs(
    model: Model, capture: Capture, weights: float, worst: Head
) -> tuple[float, Head]:
    """The largest difference of a weight when each layer is asked with the same inputs.

    Falls back on what was measured over the whole run where the library's file has no eager
    attention to ask.
    """
    comparison = EqualInputs(model.sites.kinds)
    with torch.inference_mode(), listening(comparison):
        model.network(**model_inputs(model, [capture.inputs]))
    if not comparison.compared or comparison.where is None:
        return weights, worst
    return comparison.worst, comparison.where


def _library_drift(model: Model, capture: Capture, eager: Any) -> float:
    """How far the library's own fused attention is from its eager one, in logits.

    Infinite, so that logits are reported and not judged, where it has none: a softcap or a learned
    sink is beyond the fused kernels.
    """
    try:
        fused, _ = _run(model, capture, "sdpa")
    except ValueError:
        return math.inf
    return _logits_error(fused, eager)


def _judged(proof: Proof) -> Proof:
    """The same proof, saying what is broken.

    A comparison that could not be made is NaN and not held against the model: it may have no
    language head, or no linear layer that can be told to be its output projection.
    """
    sentences = (
        (proof.weights, proof.weights_bound, f"a weight of {proof.worst.label} is off by"),
        (proof.leak, proof.weights_bound, "a key that may not be seen gets a weight of"),
        (proof.row_sum, proof.weights_bound, "a row of weights misses the sum of one by"),
        (proof.logits, proof.logits_bound, "relative to the largest, a logit is off by"),
        (
            proof.reconstruction,
            min(proof.logits_bound, SHORT_BOUNDS[1]),
            "relative to the largest, weights times values miss the layer's output by",
        ),
    )
    broken = tuple(
        f"{sentence} {value:.1e} (allowed: {bound:.0e})"
        for value, bound, sentence in sentences
        if value > bound
    )
    return replace(proof, broken=broken)


def _leak(
    stack: AttentionStack,
    layer: int,
    ours: Float[np.ndarray, "head query key"],
    theirs: Float[np.ndarray, "head query key"],
    family: Family,
) -> float:
    """The largest weight on a key that should be invisible, by our account and by the library's."""
    visible = stack.layers[layer].visibility.table()[0].numpy()
    leak = float(theirs[:, ~visible].max(initial=0.0))
    if stack.kind == "decoder" or (stack.kind == "self" and family == "decoder"):
        later = np.triu_indices(stack.shape[2], 1)
        leak = max(leak, float(ours[:, later[0], later[1]].max(initial=0.0)))
    return leak


def _row_sum_error(stack: AttentionStack, layer: int, ours: np.ndarray) -> float:
    """How far rows are from a sum of one, what a learned sink took counted in."""
    record = stack.layers[layer]
    assert record.normalizer is not None  # noqa: S101 - weights have been read from it
    visible = record.visibility.count[0].numpy() > 0
    worst = 0.0
    for head, rows in enumerate(ours):
        sums = rows.sum(-1, dtype=np.float64)
        if record.sinks is not None:
            taken = (record.sinks[head].float().cpu() - record.normalizer.highest[head].cpu()).exp()
            sums += (taken / record.normalizer.total[head].cpu()).numpy()
        worst = max(worst, float(np.abs(sums - 1.0)[visible].max(initial=0.0)))
    return worst


def _logits_error(run: Any, eager: Any) -> float:
    """Largest difference of a logit from the library's eager run, relative to the largest."""
    name = next((name for name in LOGITS if getattr(eager, name, None) is not None), None)
    if name is None:
        return math.nan
    ours, theirs = getattr(run, name).float(), getattr(eager, name).float()
    return float((ours - theirs).abs().max() / theirs.abs().max())


@dataclass(frozen=True)
class _Projections:
    """What went into and came out of the linear layers around each attention of the twin."""

    calls: Mapping[str, list[tuple[Tensor, Tensor, nn.Module]]]

    def error(self, stack: AttentionStack, layer: int, ours: np.ndarray) -> float | None:
        """How far the layer's output is from what the shown weights and values give.

        The output projection is the linear layer that took in just what our weights and values
        make: no name has to be known. None when no linear layer fits.
        """
        record = stack.layers[layer]
        mixed = np.concatenate(
            [rows @ stack.value(layer, head) for head, rows in enumerate(ours)], axis=-1
        )
        block = record.module_name.rpartition(".")[0]
        best: float | None = None
        for name, calls in self.calls.items():
            if not name.startswith(block):
                continue
            for went_in, came_out, module in calls:
                if went_in.shape[-2:] != mixed.shape:
                    continue
                with torch.inference_mode():
                    rebuilt = module(torch.from_numpy(mixed).to(went_in)[None])
                scale = came_out.float().abs().max().clamp_min(1e-6)
                error = float((rebuilt.float() - came_out.float()).abs().max() / scale)
                best = error if best is None else min(best, error)
        return best


def _run(model: Model, capture: Capture, attention: str) -> tuple[Any, _Projections]:
    """A run of a capture's input by another attention, on a twin that shares the weights."""
    twin = _twin(model.network, attention)
    calls: dict[str, list[tuple[Tensor, Tensor, nn.Module]]] = {}

    def watch(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            if inputs and isinstance(inputs[0], Tensor) and isinstance(output, Tensor):
                calls.setdefault(name, []).append((inputs[0], output, module))

        return hook

    blocks = {
        layer.module_name.rpartition(".")[0]
        for stack in capture.stacks.values()
        for layer in stack.layers
    }
    for name, module in twin.named_modules():
        is_linear = isinstance(getattr(module, "weight", None), nn.Parameter) and (
            module.weight.dim() == 2 and not isinstance(module, nn.Embedding)
        )
        if is_linear and any(name.startswith(block) for block in blocks):
            module.register_forward_hook(watch(name))
    with torch.inference_mode():
        inputs = model_inputs(model, [capture.inputs])
        output = twin(**inputs, output_attentions=attention == "eager")
    # The hooks must not see the projections that are tried out later.
    return output, _Projections({name: list(found) for name, found in calls.items()})


def _twin(network: PreTrainedModel, attention: str) -> PreTrainedModel:
    """The same model with its own configuration and hooks, on the same weights in memory.

    The shared model must not be switched to another attention while others are running it.
    """
    tensors = [*network.parameters(), *network.buffers()]
    twin: PreTrainedModel = copy.deepcopy(network, {id(tensor): tensor for tensor in tensors})
    twin.set_attn_implementation(attention)
    return twin
