"""Optimisers: the parameters of each, and their rates.

Muon on the hidden matrices makes previous-token and induction heads form several times sooner than
AdamW alone; embeddings, norms and biases stay with AdamW, for which they are the usual case.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import nn

NOT_HIDDEN = ("embed", "wte", "wpe", "shared", "lm_head", "relative_attention_bias", "decoder.bias")
# Tables of single numbers, one or a few per channel: no matrix products, and no decay.
NOT_MATRICES = ("A_log", "conv1d")


@dataclass(frozen=True)
class Rates:
    """Peak learning rates and the shape of their curriculum over the training.

    The rate climbs over `warm_steps`, then holds until `hold` of the time is over, then falls as a
    half cosine to `floor` of the peak. Decay early and the heads never form.
    """

    muon: float
    adam: float
    warm_steps: int
    hold: float
    floor: float = 0.02
    weight_decay: float = 0.01
    average: float = 0.0  # how much a moving average of the weights keeps per step; 0: no average

    def scaled(self, factor: float) -> "Rates":
        """Return the same schedule with other peaks: trained weights forget less at lower rates."""
        return replace(self, muon=self.muon * factor, adam=self.adam * factor)

    def factor(self, step: int, fraction: float) -> float:
        """Return the share of the peak rate at this step, `fraction` of the time being over."""
        warm = min(1.0, (step + 1) / self.warm_steps)
        if fraction <= self.hold:
            return warm
        passed = min(1.0, (fraction - self.hold) / (1 - self.hold))
        return warm * (self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * passed)))


def optimisers(model: nn.Module, rates: Rates) -> list[torch.optim.Optimizer]:
    """Return Muon for the hidden matrices and AdamW for everything else; AdamW alone at rate 0.

    Muon multiplies in bfloat16, which a processor without these instructions does a hundred times
    slower.
    """
    hidden: list[nn.Parameter] = []
    tables: list[nn.Parameter] = []
    vectors: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if parameter.dim() < 2 or any(part in name for part in NOT_MATRICES):
            vectors.append(parameter)
        elif any(part in name for part in NOT_HIDDEN):
            tables.append(parameter)
        else:
            (hidden if rates.muon else tables).append(parameter)
    adam = torch.optim.AdamW(
        [
            {"params": tables, "weight_decay": rates.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ],
        lr=rates.adam,
        betas=(0.9, 0.95),
        fused=True,
    )
    chosen: list[torch.optim.Optimizer] = [adam]
    if hidden:
        chosen.append(
            torch.optim.Muon(
                hidden,
                lr=rates.muon,
                weight_decay=rates.weight_decay,
                adjust_lr_fn="match_rms_adamw",
            )
        )
    for optimiser in chosen:
        for group in optimiser.param_groups:
            group["peak"] = group["lr"]
    return chosen


def set_rates(optimisers: list[torch.optim.Optimizer], factor: float) -> None:
    """Set every group's rate to `factor` of its peak."""
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = group["peak"] * factor
