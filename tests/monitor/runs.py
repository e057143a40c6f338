"""Small trainings: models of two layers, and the library's Trainer around them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import (
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedModel,
    T5Config,
    T5ForConditionalGeneration,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from training.optimise import Rates, optimisers
from training.positions import sinusoids
from training.repeats import draw_repeats

VOCABULARY = 32
LENGTH = 52
RATE = 0.01


def small_gpt(seed: int = 0, **changes: Any) -> GPT2LMHeadModel:
    """Two layers of two heads; its positions start as sines, so that neighbours are found soon."""
    torch.manual_seed(seed)
    sizes: dict[str, Any] = {"n_embd": 64, "n_layer": 2, "n_head": 2, "n_positions": 64}
    words = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), 0)
    rest = {"vocab_size": VOCABULARY, "initializer_range": 0.15, "loss_type": "ForCausalLM"}
    quiet = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
    model = GPT2LMHeadModel(GPT2Config(**sizes | words | rest | quiet | changes))
    with torch.no_grad():
        model.transformer.wpe.weight.copy_(
            sinusoids(model.config.n_positions, model.config.n_embd, 1.0)
        )
    return model


def small_bert() -> BertForMaskedLM:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    sizes |= {"intermediate_size": 48, "max_position_embeddings": 64, "vocab_size": 200}
    return BertForMaskedLM(BertConfig(**sizes))


def small_t5() -> T5ForConditionalGeneration:
    torch.manual_seed(0)
    sizes = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 2}
    return T5ForConditionalGeneration(
        T5Config(**sizes, vocab_size=150, decoder_start_token_id=0, pad_token_id=0)
    )


def repeats(rows: int, seed: int = 0) -> list[dict[str, Tensor]]:
    """Random tokens that repeat; only what the first copy predicts is to be learned."""
    ids, known = draw_repeats(np.random.default_rng(seed), rows, LENGTH, (8, 22), VOCABULARY)
    labels = ids.masked_fill(~known, -100)
    mask = torch.ones_like(ids)
    return [
        {"input_ids": one, "labels": wanted, "attention_mask": real}
        for one, wanted, real in zip(ids, labels, mask, strict=True)
    ]


class Both(torch.optim.Optimizer):
    """Muon for the hidden matrices and AdamW for the rest, as one optimiser."""

    def __init__(self, model: torch.nn.Module, rate: float = RATE) -> None:
        rates = Rates(muon=rate, adam=rate, warm_steps=1, hold=1.0, weight_decay=0.0)
        self.parts = optimisers(model, rates)
        super().__init__(list(model.parameters()), {"lr": rate})

    def step(self, closure: Any = None) -> None:
        for part in self.parts:
            part.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        for part in self.parts:
            part.zero_grad(set_to_none)


def trainer(
    model: PreTrainedModel,
    folder: Path,
    callbacks: Sequence[TrainerCallback],
    *,
    steps: int,
    batch: int = 4,
    optimizer: torch.optim.Optimizer | None = None,
    examples: list[dict[str, Tensor]] | None = None,
    processing_class: Any = None,
    **changes: Any,
) -> Trainer:
    """Return a Trainer on one processor, by default without reporters."""
    options: dict[str, Any] = {"report_to": [], "save_strategy": "no", "disable_tqdm": True}
    options |= {"use_cpu": True, "dataloader_pin_memory": False, "logging_steps": 1000}
    options |= {"lr_scheduler_type": "constant", "learning_rate": 1e-3}
    arguments = TrainingArguments(
        str(folder), max_steps=steps, per_device_train_batch_size=batch, **options | changes
    )
    steady = None
    if optimizer is not None:
        steady = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    return Trainer(
        model,
        arguments,
        train_dataset=repeats(steps * batch) if examples is None else examples,
        callbacks=list(callbacks),
        optimizers=(optimizer, steady),
        processing_class=processing_class,
    )


class Notes(TrainerCallback):
    """Reporter that keeps the logged numbers, step by step."""

    def __init__(self) -> None:
        self.logged: list[tuple[int, dict[str, Any]]] = []

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **rest: Any) -> None:
        self.logged.append((state.global_step, dict(logs)))
