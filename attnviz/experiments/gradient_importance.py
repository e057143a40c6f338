"""Importance of each head for the loss, estimated by its gradient.

Michel, Levy and Neubig 2019, "Are sixteen heads really better than one?": multiply each head's
output by a gate of 1; the absolute gradient of the loss with respect to that gate is the rate at
which the loss changes when the head's output is scaled. `ablation` measures the loss without the
head's output.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from attnviz.attention import Intervention, Places, intervening
from attnviz.attention.recorder import Call
from attnviz.errors import InputError
from attnviz.experiments.ablation import by_text
from attnviz.experiments.hooked_model import HookedModel
from attnviz.experiments.loss_examples import Example, batches
from attnviz.experiments.replay import summed_losses
from attnviz.models import Model, model_inputs
from attnviz.types import Kind

__all__ = ["importance"]

BATCH_TOKENS = 1024


def importance(
    model: Model, examples: Sequence[Example], *, progress: Callable[[float], None] | None = None
) -> dict[Kind, Float[np.ndarray, "layer head text"]]:
    """Return |dL/d gate| of every head and text, per predicted token; nats.

    L is a text's mean loss per predicted token. The values are not normalised by layer (Michel et
    al. do that before pruning). NaN for texts without loss inputs.

    Args:
        model: from `attnviz.load`; with a trained language head.
        examples: from `attnviz.experiments.loss_examples`.
        progress: callback for the finished share. It may raise to cancel.

    Raises:
        InputError: no text has anything to predict.
    """
    loss_inputs = [loss_input for example in examples for loss_input in example.loss_inputs]
    if not loss_inputs:
        raise InputError("no text has anything to predict, so there is no loss with a gradient")
    hooked = HookedModel.of(model)
    gradients = {
        kind: np.zeros((*size, len(loss_inputs))) for kind, size in model.info.heads.items()
    }
    done = 0
    for group in batches([loss_input.encoded for loss_input in loss_inputs], BATCH_TOKENS):
        part = [loss_inputs[index] for index in group]
        gates = _OpenGates(hooked.places(), len(part))
        with torch.enable_grad(), intervening(gates):
            inputs = model_inputs(model, [loss_input.encoded for loss_input in part])
            # A text's gates touch no other text's loss: one gradient of the sum gives them all.
            total = summed_losses(hooked, inputs, part).sum()
        # autograd.grad: backward() would leave gradients on weights that the loaded model shares.
        slopes = torch.autograd.grad(total, list(gates.by_place.values()))
        for (kind, layer), slope in zip(gates.by_place, slopes, strict=True):
            gradients[kind][layer][:, group] = slope.T.double().cpu().numpy()
        done += len(group)
        if progress is not None:
            progress(done / len(loss_inputs))
    tokens = np.array([example.tokens or np.nan for example in examples], np.float64)
    return {kind: np.abs(by_text(sums, examples)) / tokens for kind, sums in gradients.items()}


class _OpenGates(Intervention):
    """Multiplies every head's output by a gate of 1, one per text."""

    def __init__(self, places: Places, rows: int) -> None:
        self.places = places
        self.rows = rows
        self.by_place: dict[tuple[Kind, int], Tensor] = {}

    def output(self, call: Call, output: Tensor) -> Tensor:
        """Return the same output, as a function of the gates that the gradient is taken for."""
        place = self.places.of(call)
        if place is None:
            return output
        gate = torch.ones(self.rows, output.shape[2], device=output.device, dtype=output.dtype)
        self.by_place[place] = gate.requires_grad_()
        return output * gate[:, None, :, None]
