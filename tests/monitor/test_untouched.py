"""Model that is watched trains as one that is not: to the last bit."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import GPT2LMHeadModel, PreTrainedModel, TrainerCallback

from attnviz import AttentionMonitor
from attnviz.models import unwrapped
from attnviz.monitor.borrowed_model import borrowed
from tests.monitor.runs import Both, repeats, small_bert, small_gpt, small_t5, trainer
from tests.vocabularies import vocabulary

STEPS = 6


class Gradients(TrainerCallback):
    """Record of every step's gradients."""

    def __init__(self) -> None:
        self.seen: list[Tensor] = []

    def on_pre_optimizer_step(
        self, args: Any, state: Any, control: Any, model: Any, **rest: Any
    ) -> None:
        flat = [one.grad.flatten().clone() for one in model.parameters() if one.grad is not None]
        self.seen.append(torch.cat(flat))


def trained(
    folder: Path,
    make: Callable[[], PreTrainedModel],
    monitors: list[AttentionMonitor],
    **options: Any,
) -> tuple[PreTrainedModel, list[Tensor], Tensor]:
    """Return a trained model, the gradients on the way, and the next random draw."""
    model, gradients = make(), Gradients()
    trainer(model, folder, [gradients, *monitors], steps=STEPS, **options).train()
    return model, gradients.seen, torch.rand(3)


def bert_examples() -> list[dict[str, Tensor]]:
    return [
        {"input_ids": one["input_ids"], "labels": one["input_ids"], "attention_mask": mask}
        for one in repeats(4 * STEPS)
        if (mask := one["attention_mask"]) is not None
    ]


def dropping() -> GPT2LMHeadModel:
    return small_gpt(attn_pdrop=0.2, resid_pdrop=0.2, embd_pdrop=0.2)


CASES: dict[str, tuple[Callable[[], PreTrainedModel], str | None, dict[str, Any]]] = {
    "gpt with dropout": (dropping, None, {}),
    "muon": (dropping, None, {"optimizer": "muon"}),
    "gradient checkpointing": (dropping, None, {"activation_checkpointing": True}),
    "accumulation": (dropping, None, {"gradient_accumulation_steps": 2, "batch": 2}),
    "bfloat16": (dropping, None, {"bf16": True}),
    "compiled": (dropping, None, {"torch_compile": True, "torch_compile_backend": "eager"}),
    "bert": (small_bert, "wordpiece", {"examples": bert_examples()}),
    "t5": (small_t5, "unigram", {"examples": bert_examples()}),
}


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # torch's compiler looks at some
@pytest.mark.parametrize("case", CASES)
def test_training_is_the_same_bit_for_bit(case: str, tmp_path: Path) -> None:
    make, words, options = CASES[case]
    results = []
    for watched in (False, True):
        tokenizer = None if words is None else vocabulary(words)
        monitors = [AttentionMonitor(tokenizer=tokenizer, every=2)] if watched else []
        changes = dict(options)
        if "optimizer" in changes:
            model = make()
            changes["optimizer"] = Both(model)
            results.append(trained(tmp_path, lambda model=model: model, monitors, **changes))
        else:
            results.append(trained(tmp_path, make, monitors, **changes))
        if monitors:
            assert list(monitors[0].history.index) == [0, 2, 4, 6]
    (alone, gradients, drawn), (model, seen, after) = results
    assert len(gradients) == len(seen) == STEPS
    assert all(torch.equal(one, other) for one, other in zip(gradients, seen, strict=True))
    weights = model.state_dict()
    assert all(torch.equal(one, weights[name]) for name, one in alone.state_dict().items())
    assert torch.equal(drawn, after)
    assert model.config._attn_implementation == alone.config._attn_implementation == "sdpa"
    assert model.config.to_dict() == alone.config.to_dict()


def test_everything_is_put_back() -> None:
    model = small_gpt()
    model.train()
    model.transformer.h[1].mlp.eval()  # a part that is frozen in evaluation mode
    model.set_attn_implementation("eager")
    changed = model.forward = lambda *args, **kwargs: None  # as mixed precision does
    for weights in model.parameters():
        weights.grad = torch.randn_like(weights)
    before = [weights.grad.clone() for weights in model.parameters()]
    modes = [one.training for one in model.modules()]
    torch.manual_seed(3)
    random.seed(3)
    np.random.seed(3)
    AttentionMonitor().probe(model, 0)
    drawn = [torch.rand(1).item(), random.random(), np.random.rand()]
    torch.manual_seed(3)
    random.seed(3)
    np.random.seed(3)
    assert drawn == [torch.rand(1).item(), random.random(), np.random.rand()]
    assert [one.training for one in model.modules()] == modes
    assert model.config._attn_implementation == "eager"
    assert model.forward is changed
    assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
    grads = [weights.grad for weights in model.parameters()]
    assert all(torch.equal(one, other) for one, other in zip(before, grads, strict=True))


def test_it_is_put_back_after_an_error_too() -> None:
    model = small_gpt()
    model.train()
    with pytest.raises(RuntimeError, match="on the way"), borrowed(model):
        model.set_attn_implementation("eager")
        assert not model.training
        raise RuntimeError("on the way")
    assert model.training and model.config._attn_implementation == "sdpa"


def test_the_probe_runs_in_the_weights_own_precision() -> None:
    model = small_gpt()
    plain = AttentionMonitor().probe(model, 0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert AttentionMonitor().probe(model, 0) == plain
    # What mixed precision makes of an encoder-decoder's forward.
    t5 = small_t5()
    texts = {"texts": None, "tokenizer": vocabulary("unigram")}
    plain = AttentionMonitor(**texts).probe(t5, 0)
    t5.forward = torch.autocast("cpu", dtype=torch.bfloat16)(t5.forward)
    assert AttentionMonitor(**texts).probe(t5, 0) == plain


def test_inputs_that_require_gradients_do_not_disturb() -> None:
    model = small_gpt()
    model.enable_input_require_grads()  # what adapters do for gradient checkpointing
    assert AttentionMonitor().probe(model, 0) == AttentionMonitor().probe(small_gpt(), 0)


class Parallel(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module


class Adapted(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.base_model = SimpleNamespace(model=model)
        self.inner = model

    def get_base_model(self) -> nn.Module:
        return self.inner


def test_wrappers_are_looked_through() -> None:
    model = small_gpt()
    compiled = torch.compile(model, backend="eager")
    for outer in (Parallel(model), Adapted(model), compiled, Parallel(Adapted(compiled))):
        assert unwrapped(outer) is model
    plain = AttentionMonitor().probe(model, 0)
    assert AttentionMonitor().probe(Parallel(compiled), 0) == plain


def test_nothing_is_compiled_for_the_probe() -> None:
    graphs = []

    def compiler(graph: Any, inputs: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    model, ids = small_gpt(), repeats(1)[0]["input_ids"][None]
    plain = AttentionMonitor().probe(model, 0)
    model.transformer.compile(backend=compiler)
    for _ in range(3):
        model(ids)
        assert len(graphs) == 1  # the one for training: neither another, nor the same again
        assert AttentionMonitor().probe(model, 0) == plain


def test_another_model_is_noticed() -> None:
    monitor = AttentionMonitor()
    first = monitor.probe(small_gpt(seed=0), 0)
    assert monitor.probe(small_gpt(seed=1), 1) != first
    assert monitor.probe(small_gpt(seed=0), 2) == first
