"""Training loop of all models: steps, log, checkpoints, resume.

The length of a training is given in minutes, because a class server has an evening, not a number of
steps. All that a recipe may ask about where it stands is in `Moment`.
"""

import argparse
import contextlib
import json
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from training.average import Average
from training.optimise import Rates, optimisers, set_rates
from training.team import Team


@dataclass(frozen=True)
class Moment:
    """State of a training: steps made, and the share of its time that is over."""

    step: int
    fraction: float


@dataclass(frozen=True)
class Plan:
    """Settings from the command line."""

    minutes: float
    out: Path
    data: Path | None
    device: torch.device
    threads: int
    resume: bool
    start: Path | None
    seed: int = 0
    processes: int = 1
    log_steps: int = 100
    evaluate_seconds: float = 180  # of processor time: a training beside other work still learns
    checkpoint_seconds: float = 240

    @property
    def checkpoint(self) -> Path:
        """Return the path of the checkpoint that a later run resumes from."""
        return self.out / "checkpoint.pt"


class Recipe(Protocol):
    """Recipe of a model: the batches, the curriculum, the figures."""

    rates: Rates
    random: np.random.Generator

    def gradients(self, model: nn.Module, moment: Moment, team: Team) -> float:
        """Leave the gradients of a step in the weights, the same in all processes; the loss."""

    def figures(self, model: nn.Module) -> dict[str, Any]:
        """Return the figures of the bar as they stand, to be printed."""

    def state(self) -> dict[str, Any]:
        """Return the state of the recipe's curriculum as plain numbers and strings."""

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from an earlier `state`."""


class BatchRecipe(ABC):
    """Recipe of one process: gradients of the library's model on one batch."""

    @abstractmethod
    def loss(self, model: nn.Module, moment: Moment) -> Tensor:
        """Draw a batch and return its mean loss."""

    def gradients(self, model: nn.Module, moment: Moment, team: Team) -> float:
        """Leave the gradients of a batch in the weights."""
        if team.size > 1:
            raise ValueError("this model is trained by one process")
        with mixed_precision(next(model.parameters()).device):
            loss = self.loss(model, moment)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item()


def parse_plan(name: str, minutes: float, description: str) -> Plan:
    """Read the options every training has in common."""
    parser = argparse.ArgumentParser(prog=f"python -m training.{name}", description=description)
    parser.add_argument("--minutes", type=float, default=minutes, help="length of the training")
    parser.add_argument("--out", type=Path, default=Path("runs") / f"{name}-classroom")
    parser.add_argument("--data", type=Path, help="folder with the corpora")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--resume", action="store_true", help="continue from the last checkpoint")
    parser.add_argument("--start", type=Path, help="begin with these weights instead of chance")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--processes", type=int, default=1, help="T5 on a CPU: as many as it has cores"
    )
    options = parser.parse_args()
    automatic = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    return Plan(
        minutes=options.minutes,
        out=options.out,
        data=options.data,
        device=torch.device(automatic if options.device == "auto" else options.device),
        threads=options.threads,
        resume=options.resume,
        start=options.start,
        seed=options.seed,
        processes=options.processes,
    )


def mixed_precision(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Return a bfloat16 context where it is faster than float32, else an empty one."""
    fast = (
        device.type == "cuda"
        or torch.cpu._is_amx_tile_supported()  # Intel
        or torch.cpu._is_avx512_bf16_supported()  # AMD since Zen 4
    )
    if not fast:
        return contextlib.nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def train(model: nn.Module, recipe: Recipe, plan: Plan, team: Team | None = None) -> dict[str, Any]:
    """Train until the time is over; returns steps, seconds and the last figures.

    If the recipe's rates ask for an average of the weights, the figures are the average's and the
    model has the average at the end.
    """
    team = team or Team()
    model.to(plan.device).train()
    optimiser_list = optimisers(model, recipe.rates)
    average = Average(model, recipe.rates.average)
    step, before = 0, 0.0
    if plan.resume and plan.checkpoint.exists():
        step, before = load_checkpoint(plan.checkpoint, model, optimiser_list, recipe, average)
    limit = plan.minutes * 60
    begun = saved = time.monotonic()
    evaluated = time.process_time()
    smooth = 0.0
    bar = tqdm(total=100, unit="%", disable=not sys.stderr.isatty() or not team.leads)
    while (elapsed := team.leader(before + time.monotonic() - begun)) < limit:
        moment = Moment(step, elapsed / limit)
        factor = recipe.rates.factor(step, moment.fraction)
        set_rates(optimiser_list, factor)
        loss = recipe.gradients(model, moment, team)
        update(model, optimiser_list)
        average.follow()
        smooth += (loss - smooth) * (0.05 if step else 1.0)
        step += 1
        if not team.leads:
            continue
        bar.update(100 * moment.fraction - bar.n)
        if step % plan.log_steps == 0:
            note = " ".join(f"{key}={value}" for key, value in recipe.state().items())
            report(bar, f"{step:6d} {elapsed:6.0f}s loss {smooth:.3f} rate {factor:.2f} {note}")
        if time.process_time() - evaluated > plan.evaluate_seconds:
            with average.in_use():
                figures = json.dumps(evaluate(model, recipe), ensure_ascii=False)
            report(bar, f"{step:6d} {elapsed:6.0f}s {figures}")
            evaluated = time.process_time()
        if time.monotonic() - saved > plan.checkpoint_seconds:
            save_checkpoint(plan.checkpoint, model, optimiser_list, recipe, average, step, elapsed)
            saved = time.monotonic()
    if not team.leads:
        return {}
    save_checkpoint(plan.checkpoint, model, optimiser_list, recipe, average, step, elapsed)
    average.give()
    bar.close()
    return {"steps": step, "seconds": round(elapsed), **evaluate(model, recipe)}


def update(model: nn.Module, optimiser_list: Sequence[torch.optim.Optimizer]) -> None:
    """Clip the gradients to length 1, let every optimiser make its step, and clear them."""
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimiser in optimiser_list:
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)


def denser_early(steps: int, count: int) -> list[int]:
    """Return at most `count` steps from 0 to `steps`; their distances grow evenly."""
    return sorted({round(steps * (at / (count - 1)) ** 2) for at in range(count)})


def report(bar: "tqdm[Any]", line: str) -> None:
    """Print above the progress bar on a terminal, as a plain line elsewhere."""
    if bar.disable:
        print(line, flush=True)
    else:
        bar.write(line)


def evaluate(model: nn.Module, recipe: Recipe) -> dict[str, Any]:
    """Return the recipe's figures, without gradients and with dropout off."""
    model.eval()
    with torch.no_grad():
        figures = recipe.figures(model)
    model.train()
    return figures


def save_checkpoint(
    path: Path,
    model: nn.Module,
    optimiser_list: list[torch.optim.Optimizer],
    recipe: Recipe,
    average: Average,
    step: int,
    elapsed: float,
) -> None:
    """Write everything a later run needs, in place of the last checkpoint at once."""
    partial = path.with_suffix(".partial")
    torch.save(
        {
            "model": model.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in optimiser_list],
            "recipe": recipe.state(),
            "average": average.state(),
            "torch_random": torch.get_rng_state(),
            "numpy_random": json.dumps(recipe.random.bit_generator.state),
            "step": step,
            "elapsed": elapsed,
        },
        partial,
    )
    partial.replace(path)


def load_checkpoint(
    path: Path,
    model: nn.Module,
    optimiser_list: list[torch.optim.Optimizer],
    recipe: Recipe,
    average: Average,
) -> tuple[int, float]:
    """Restore weights, optimisers, curriculum and random numbers; returns step and seconds."""
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(checkpoint["model"])
    for optimiser, state in zip(optimiser_list, checkpoint["optimisers"], strict=True):
        peaks = [group["peak"] for group in optimiser.param_groups]
        optimiser.load_state_dict(state)
        for group, peak in zip(optimiser.param_groups, peaks, strict=True):
            group["peak"] = peak  # the rates of this run, not those of the one before
    recipe.restore(checkpoint["recipe"])
    average.restore(checkpoint["average"])
    torch.set_rng_state(checkpoint["torch_random"])
    recipe.random.bit_generator.state = json.loads(checkpoint["numpy_random"])
    return int(checkpoint["step"]), float(checkpoint["elapsed"])
