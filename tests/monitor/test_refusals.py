"""Models that cannot be watched give one warning: no training ends because of the monitor."""

from __future__ import annotations

import copy
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


def test_an_unsupported_model_is_one_warning_and_the_training_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    without, steps, monitor = small_bloom(), Steps(), AttentionMonitor(every=1)
    watched = copy.deepcopy(without)
    trainer(without, tmp_path, [], steps=3).train()
    trainer(watched, tmp_path, [steps, monitor], steps=3).train()
    assert steps.begun == 3
    said = [one for one in caplog.messages if "attention could not be measured" in one]
    assert len(said) == 1 and "'bloom'" in said[0] and "attnviz cannot see it" in said[0]
    assert monitor.history.empty
    assert watched.config._attn_implementation == without.config._attn_implementation
    for name, weights in without.named_parameters():
        assert torch.equal(weights, watched.get_parameter(name)), name


BROKEN: dict[str, Any] = {
    "a text that the model cannot read": {"texts": ["a text"]},
    "ids beyond the embedding": {"texts": {"input_ids": torch.full((1, 4), 40)}},
    "negative ids": {"texts": {"input_ids": torch.full((1, 4), -1)}},
    "no ids": {"texts": {"input_ids": torch.zeros(1, 0, dtype=torch.long)}},
    "arguments it does not read": {"texts": {"weather": torch.zeros(1, 4)}},
    "half numbers": {"texts": {"input_ids": torch.full((1, 4), 0.5)}},
    "too many ids": {"texts": {"input_ids": torch.ones(1, 65, dtype=torch.long)}},
    "rows of several lengths": {"texts": {"input_ids": [[1, 2], [1]]}},
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN.keys())
def test_a_probe_that_cannot_be_read_never_ends_a_training(
    broken: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    steps, model = Steps(), small_gpt()
    trainer(model, tmp_path, [steps, AttentionMonitor(every=1, **broken)], steps=3).train()
    assert steps.begun == 3
    assert sum("attention could not be measured" in one for one in caplog.messages) == 1
    assert model.config._attn_implementation == "sdpa"


class Refuses(TrainerCallback):
    """Reporter that fails on the monitor's numbers alone."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **rest: Any) -> None:
        if any(str(name).startswith("attention/") for name in logs):
            raise OSError("the disk is full")


def test_a_reporter_that_fails_on_the_curves_never_ends_a_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    steps = Steps()
    run = trainer(small_gpt(), tmp_path, [steps, Refuses(), AttentionMonitor(every=1)], steps=3)
    run.train()
    assert steps.begun == 3
    assert sum("the disk is full" in one for one in caplog.messages) == 1


def test_a_padding_token_that_the_embedding_lacks(tmp_path: Path) -> None:
    tokenizer = vocabulary("bpe")
    model = small_gpt(vocab_size=len(tokenizer))
    tokenizer.add_special_tokens({"pad_token": "[new]"})
    monitor = AttentionMonitor(every=1, tokenizer=tokenizer)
    trainer(model, tmp_path, [monitor], steps=2).train()
    assert list(monitor.history.index) == [0, 1, 2]


@pytest.mark.parametrize("mark", ["ds_id", "placements"])
def test_split_weights_are_refused(mark: str) -> None:
    model = small_gpt()
    setattr(model.transformer.h[0].mlp.c_fc.weight, mark, ())
    with pytest.raises(ModelNotSupported, match=r"split over processes.*train with DDP"):
        AttentionMonitor().probe(model, 0)


def test_what_is_no_model_of_the_library_is_refused() -> None:
    with pytest.raises(ModelNotSupported, match=r"this one is a Linear.*give it a PreTrainedModel"):
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


def test_what_goes_wrong_later_is_one_warning(
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
    assert list(monitor.history.index) == [0]
    assert sum("step 2: attention could not be measured" in one for one in caplog.messages) == 1
    assert sum("no memory left" in one for one in caplog.messages) == 1
    assert model.training and model.config._attn_implementation == "sdpa"
