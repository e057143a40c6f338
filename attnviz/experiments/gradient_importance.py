"""Importance of each head for the loss, estimated by its gradient.

Michel, Levy and Neubig 2019, "Are sixteen heads really better than one?": multiply each head's
output by a gate of 1; the absolute gradient of the loss by that gate says how fast the loss would
change if the head were turned down a little. The ablation beside it says what happens when it is
turned off altogether.
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
from attnviz.experiments.hooked_model import Patient
from attnviz.experiments.loss_examples import Example, batches
from attnviz.experiments.replay import summed_losses
from attnviz.models import Model, model_inputs
from attnviz.types import Kind

__all__ = ["importance"]

BATCH_TOKENS = 1024


def importance(
    model: Model, examples: Sequence[Example], *, progress: Callable[[float], None] | None = None
) -> dict[Kind, Float[np.ndarray, "layer head text"]]:
    """|dL/d gate| of every head and text, per predicted token; nats.

    L is a text's mean loss per predicted token. The values are not normalised by layer (Michel et
    al. do that before pruning). NaN for texts without questions.

    Args:
        model: from `attnviz.load`; with a trained language head.
        examples: from `attnviz.experiments.loss_examples`.
        progress: callback for the finished share. It may raise to cancel.

    Raises:
        InputError: no text has anything to predict.
    """
    questions = [question for example in examples for question in example.questions]
    if not questions:
        raise InputError("no text has anything to predict, so there is no loss with a gradient")
    patient = Patient.of(model)
    found = {kind: np.zeros((*size, len(questions))) for kind, size in model.info.heads.items()}
    done = 0
    for group in batches([question.encoded for question in questions], BATCH_TOKENS):
        part = [questions[index] for index in group]
        gates = _OpenGates(patient.places(), len(part))
        with torch.enable_grad(), intervening(gates):
            inputs = model_inputs(model, [question.encoded for question in part])
            # A text's gates touch no other text's loss: one gradient of the sum gives them all.
            total = summed_losses(patient, inputs, part).sum()
        # Not backward(): that would leave gradients on weights that others are using.
        slopes = torch.autograd.grad(total, list(gates.made.values()))
        for (kind, layer), slope in zip(gates.made, slopes, strict=True):
            found[kind][layer][:, group] = slope.T.double().cpu().numpy()
        done += len(group)
        if progress is not None:
            progress(done / len(questions))
    tokens = np.array([example.tokens or np.nan for example in examples], np.float64)
    return {kind: np.abs(by_text(sums, examples)) / tokens for kind, sums in found.items()}


class _OpenGates(Intervention):
    """Multiplies every head's output by a gate of 1, one per text."""

    def __init__(self, places: Places, rows: int) -> None:
        self.places = places
        self.rows = rows
        self.made: dict[tuple[Kind, int], Tensor] = {}

    def output(self, call: Call, output: Tensor) -> Tensor:
        """Return the same output, as a function of the gates that the gradient is taken for."""
        place = self.places.of(call)
        if place is None:
            return output
        gate = torch.ones(self.rows, output.shape[2], device=output.device, dtype=output.dtype)
        self.made[place] = gate.requires_grad_()
        return output * gate[:, None, :, None]
