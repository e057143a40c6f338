"""What cannot be watched is refused before the first step, in a sentence; later nothing stops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import BloomConfig, BloomForCausalLM, TrainerCallback

import attnviz
from attnviz import AttentionMonitor
from attnviz.errors import CaptureError, InputError, ModelNotSupported
from tests.monitor.runs import small_bert, small_gpt, small_t5, trainer
from tests.vocabularies import vocabulary


def small_bloom() -> BloomForCausalLM:
    return BloomForCausalLM(BloomConfig(vocab_size=32, hidden_size=32, n_layer=1, n_head=2))


class Steps(TrainerCallback):
    """Counts the steps that were begun."""

    begun = 0

    def on_step_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        self.begun += 1


def test_an_unsupported_model_is_refused_before_the_first_step(tmp_path: Path) -> None:
    steps, model = Steps(), small_bloom()
    made = trainer(model, tmp_path, [steps, AttentionMonitor()], steps=3)
    with pytest.raises(ModelNotSupported, match=r"'bloom'.*attnviz cannot see it"):
        made.train()
    assert steps.begun == 0
    assert model.training
    trainer(model, tmp_path, [steps], steps=3).train()  # the model is as good as before
    assert steps.begun == 3


@pytest.mark.parametrize("mark", ["ds_id", "placements"])
def test_split_weights_are_refused(mark: str) -> None:
    model = small_gpt()
    setattr(model.transformer.h[0].mlp.c_fc.weight, mark, ())
    with pytest.raises(ModelNotSupported, match=r"split over processes.*train with DDP"):
        AttentionMonitor().probe(model, 0)


def test_what_is_no_model_of_the_library_is_refused() -> None:
    with pytest.raises(ModelNotSupported, match="this one is a Linear; give it a PreTrainedModel"):
        AttentionMonitor().probe(nn.Linear(2, 2), 0)


@pytest.mark.parametrize("texts", [[], "a text", {}])
def test_texts_of_another_kind(texts: Any) -> None:
    with pytest.raises(InputError, match=r"texts should be strings in a list.*empty|a str"):
        AttentionMonitor(texts)


def test_a_tokenizer_in_the_place_of_texts() -> None:
    with pytest.raises(InputError, match="a tokenizer is given as tokenizer="):
        AttentionMonitor(vocabulary("bpe"))


def test_wrong_arguments() -> None:
    with pytest.raises(InputError, match="not every -1"):
        AttentionMonitor(every=-1)
    with pytest.raises(CaptureError, match="there is no metric 'entropi'; there are entropy, "):
        AttentionMonitor(metrics=["entropi"])


def test_texts_that_the_model_cannot_read(t5: attnviz.Model) -> None:
    with pytest.raises(InputError, match=r"nothing that BertForMaskedLM could read.*tokenizer"):
        AttentionMonitor().probe(small_bert(), 0)
    with pytest.raises(InputError, match=r"nothing that GPT2LMHeadModel could read.*tokenizer"):
        AttentionMonitor(["a text"]).probe(small_gpt(), 0)
    tokenizer = vocabulary("unigram")
    with pytest.raises(InputError, match="needs a target for each text: give pairs"):
        AttentionMonitor(["a text"], tokenizer=tokenizer).probe(small_t5(), 0)
    ids = torch.ones(1, 4, dtype=torch.long)
    with pytest.raises(InputError, match="needs labels or decoder_input_ids in the batch"):
        AttentionMonitor({"input_ids": ids}).probe(small_t5(), 0)
    with pytest.raises(InputError, match="does not read weather"):
        AttentionMonitor({"input_ids": ids, "weather": ids}).probe(small_gpt(), 0)
    with pytest.raises(InputError, match="knows those from 0 to 31"):
        AttentionMonitor({"input_ids": 40 * ids}).probe(small_gpt(), 0)


def test_what_goes_wrong_later_is_told_and_the_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from attnviz.monitor import callback

    measure, calls = callback.measure, []

    def fails_once(*args: Any) -> Any:
        calls.append(args)
        if len(calls) == 2:
            raise torch.OutOfMemoryError("no memory left")
        return measure(*args)

    monkeypatch.setattr(callback, "measure", fails_once)
    model, monitor = small_gpt(), AttentionMonitor(every=2)
    trainer(model, tmp_path, [monitor], steps=6).train()
    assert list(monitor.history.index) == [0, 4, 6]
    assert "step 2: attention could not be measured: no memory left" in caplog.messages
    assert model.training and model.config._attn_implementation == "sdpa"
