"""Models inside wrappers: `instrument` finds them, and nothing about them changes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import GPT2LMHeadModel

import attnviz
from attnviz.errors import ModelNotSupported
from attnviz.models import unwrapped
from tests.models.small import network
from tests.vocabularies import vocabulary
from tests.zoo import all_weights

TEXT = "The cat sat on the mat."


class Training(nn.Module):
    """Module of a training that holds a model and a layer beside it."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.model = inner
        self.value = nn.Linear(2, 2)


WRAPPERS: dict[str, Any] = {
    "nothing": lambda inner: inner,
    "DataParallel": nn.DataParallel,
    "torch.compile": lambda inner: torch.compile(inner, backend="eager"),
    "a training module": Training,
    "several": lambda inner: nn.DataParallel(Training(torch.compile(inner, backend="eager"))),
    "a sequence": nn.Sequential,
    "a pipeline": lambda inner: SimpleNamespace(model=inner),
}


@pytest.fixture(scope="module")
def gpt2() -> GPT2LMHeadModel:
    return network("GPT2LMHeadModel", "GPT2").eval()


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS.keys())
def test_the_model_inside_is_captured(wrap: Any, gpt2: GPT2LMHeadModel) -> None:
    tokenizer = vocabulary("bpe")
    expected = attnviz.capture(attnviz.instrument(gpt2, tokenizer), TEXT)
    wrapped = wrap(gpt2)
    assert unwrapped(wrapped) is gpt2
    capture = attnviz.capture(attnviz.instrument(wrapped, tokenizer), TEXT)
    np.testing.assert_array_equal(all_weights(capture["self"]), all_weights(expected["self"]))


@pytest.mark.parametrize("what", [nn.Linear(2, 2), 5, None, "gpt2"])
def test_what_holds_no_model(what: Any) -> None:
    with pytest.raises(ModelNotSupported, match="which holds none; give it a PreTrainedModel"):
        attnviz.instrument(what)


def test_what_holds_two_models(gpt2: GPT2LMHeadModel) -> None:
    both = nn.ModuleList([gpt2, GPT2LMHeadModel(gpt2.config)])
    with pytest.raises(ModelNotSupported, match="holds GPT2LMHeadModel, GPT2LMHeadModel"):
        attnviz.instrument(both)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_learned_positions_before_the_text(gpt2: GPT2LMHeadModel) -> None:
    peft = pytest.importorskip("peft")
    tuned = peft.get_peft_model(
        GPT2LMHeadModel(gpt2.config),
        peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3),
    )
    with pytest.raises(ModelNotSupported, match="learned positions before the text"):
        attnviz.instrument(tuned)


def test_a_classifier_in_memory_predicts_no_tokens() -> None:
    for kind, family in (("GPT2ForSequenceClassification", "GPT2"), ("BertModel", "Bert")):
        assert not attnviz.instrument(network(kind, family)).predicts
