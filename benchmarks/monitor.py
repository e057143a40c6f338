"""Cost of monitoring a training: steps with and without `attnviz.AttentionMonitor`.

    python -m benchmarks.monitor                       # a tiny model, and GPT-2 small's size
    python -m benchmarks.monitor --model gpt2-small --steps 40

Random weights, random tokens, the library's Trainer and AdamW on one device. Each model is trained
twice from the same weights, the second time with the monitor and the interval that it chooses. The
share is the time that passed inside the monitor's callbacks between the first step and the last,
by all time that passed; what it looks at before the first and after the last step comes on top,
once, and is reported as a probe.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from dataclasses import dataclass
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from attnviz import AttentionMonitor
from attnviz.monitor.probe import TEXTS


@dataclass(frozen=True)
class Size:
    """Model, and the batch of one step of its training."""

    layers: int
    heads: int
    width: int
    vocabulary: int
    batch: int
    tokens: int
    steps: int


SIZES = {
    "tiny": Size(2, 2, 64, 256, 16, 64, 2000),
    "gpt2-small": Size(12, 12, 768, 50257, 4, 128, 8),
}


class Begins(TrainerCallback):
    """Times at which each step began, and at which the last one ended."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_step_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        self.times.append(time.perf_counter())

    @property
    def durations(self) -> list[float]:
        return [after - before for before, after in zip(self.times, self.times[1:], strict=False)]


class Timed(AttentionMonitor):
    """Monitor that keeps the time of each probe."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.inside: list[float] = []
        self.probes: list[float] = []

    def probe(self, model: Any, step: int) -> dict[str, float]:
        began = time.perf_counter()
        row = super().probe(model, step)
        self.probes.append(time.perf_counter() - began)
        return row

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        began = time.perf_counter()
        control = super().on_step_end(args, state, control, **kwargs)
        self.inside.append(time.perf_counter() - began)
        return control


def words(size: int) -> PreTrainedTokenizerFast:
    """Return a tokenizer of that size that knows the words of the probe's texts."""
    known = sorted({word for text in TEXTS for word in text.split()})
    names = ["<begin>", "<unknown>", *known, *(f"w{number}" for number in range(size))][:size]
    tokenizer = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, "<unknown>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<begin>", unk_token="<unknown>", pad_token="<begin>"
    )


def train(size: Size, steps: int, callbacks: list[TrainerCallback], device: str) -> None:
    torch.manual_seed(0)
    model = GPT2LMHeadModel(
        GPT2Config(
            n_layer=size.layers,
            n_head=size.heads,
            n_embd=size.width,
            vocab_size=size.vocabulary,
            n_positions=1024,
            **dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), 0),
            loss_type="ForCausalLM",
        )
    )
    ids = torch.randint(1, size.vocabulary, (64, size.tokens))
    examples = [{"input_ids": one, "labels": one} for one in ids]
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            max_steps=steps,
            per_device_train_batch_size=size.batch,
            report_to=[],
            save_strategy="no",
            logging_steps=10**9,
            disable_tqdm=True,
            use_cpu=device == "cpu",
            dataloader_pin_memory=False,
        )
        Trainer(model, arguments, train_dataset=examples, callbacks=callbacks).train()


def compare(name: str, steps: int, device: str) -> None:
    size = SIZES[name]
    steps = steps or size.steps
    plain, watched = Begins(), Begins()
    train(size, steps, [plain], device)
    monitor = Timed(tokenizer=words(size.vocabulary))
    train(size, steps, [watched, monitor], device)
    step, beside = (statistics.median(one.durations) for one in (plain, watched))
    probe = statistics.median(monitor.probes[1:])
    share = sum(monitor.inside[:-1]) / sum(watched.durations)
    looked = list(monitor.history.index)
    print(
        f"{name}: {size.batch} x {size.tokens} tokens a step, {steps} steps on {device}\n"
        f"  median step without {1e3 * step:.1f} ms, with {1e3 * beside:.1f} ms\n"
        f"  one probe {1e3 * probe:.1f} ms = {probe / step:.2f} steps, "
        f"{monitor.history.shape[1]} curves; interval now {monitor._interval.interval} steps\n"
        f"  probed at {looked if len(looked) < 12 else [*looked[:10], '...', looked[-1]]}\n"
        f"  share of the time: {share:.2%}; at this interval, one probe after the other: "
        f"{probe / (monitor._interval.interval * step):.2%}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--model", choices=[*SIZES, "both"], default="both")
    parser.add_argument("--steps", type=int, default=0, help="as many as fit the model when 0")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    for name in SIZES if chosen.model == "both" else [chosen.model]:
        compare(name, chosen.steps, chosen.device)


if __name__ == "__main__":
    main()
