"""Settings in a folder that attnviz replaces: none of them blocks a load or changes a number."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import attnviz
from attnviz.errors import ModelError, ModelNotSupported
from tests.models.small import edit, saved
from tests.models.test_classes import llava
from tests.vocabularies import vocabulary
from tests.zoo import all_weights

TEXT = "The cat sat on the mat."

SETTINGS: dict[str, dict[str, Any]] = {
    "flash": {"_attn_implementation": "flash_attention_2"},
    "flash, old name": {"attn_implementation": "flash_attention_2"},
    "flash per part": {"attn_implementation": {"": "flash_attention_2"}},
    "a kernel of the hub": {"attn_implementation": "kernels-community/flash-attn3"},
    "an unknown attention": {"_attn_implementation": "xformers"},
    "weights with flash": {"attn_implementation": "flash_attention_2", "output_attentions": True},
    "weights": {"output_attentions": True},
    "hidden states": {"output_hidden_states": True},
    "tuples": {"return_dict": False},
    "torchscript": {"torchscript": True},
    "no cache": {"use_cache": False},
    "chunks": {"chunk_size_feed_forward": 2},
    "experts": {"experts_implementation": "grouped_mm"},
    "generation": {"num_beams": 4, "max_length": 3, "do_sample": True, "forced_eos_token_id": 3},
    "an unknown precision": {"torch_dtype": "fp16"},
    "a later version": {"transformers_version": "99.0"},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
def test_settings_of_a_run_change_nothing(settings: dict[str, Any], tmp_path: Path) -> None:
    name = saved(tmp_path, "BertForMaskedLM", "Bert")
    before = attnviz.capture(attnviz.load(name), TEXT)
    edit(name, **settings)
    after = attnviz.capture(attnviz.load(name), TEXT)
    np.testing.assert_array_equal(all_weights(after["self"]), all_weights(before["self"]))
    assert [one.labels for one in after.predictions] == [one.labels for one in before.predictions]
    assert after.predictions


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
def test_settings_of_a_nested_configuration(settings: dict[str, Any], tmp_path: Path) -> None:
    llava().save_pretrained(tmp_path)
    vocabulary("bpe").save_pretrained(tmp_path)
    nested = json.loads((tmp_path / "config.json").read_text())["text_config"]
    edit(tmp_path, text_config=nested | settings)
    assert attnviz.capture(attnviz.load(str(tmp_path)), TEXT).predictions


def test_a_model_in_memory_that_returns_tuples(tmp_path: Path) -> None:
    model = attnviz.load(saved(tmp_path, "BertForMaskedLM", "Bert"))
    model.network.config.return_dict = False
    instrumented = attnviz.instrument(model.network, model.tokenizer)
    capture = attnviz.capture(instrumented, TEXT)
    assert capture.predictions
    assert attnviz.verify(capture).holds
    assert model.network.config.return_dict is False


GENERATION: dict[str, dict[str, Any]] = {
    "named outputs": {"return_dict_in_generate": True, "output_scores": True},
    "attention": {"return_dict_in_generate": True, "output_attentions": True},
    "beams": {"num_beams": 4, "early_stopping": True, "length_penalty": 2.0},
    "several sequences": {"num_beams": 4, "num_return_sequences": 4},
    "groups of beams": {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 1.0},
    "sampling": {"do_sample": True, "temperature": 0.1, "top_k": 3},
    "length": {"max_length": 2, "min_length": 50},
    "new tokens": {"max_new_tokens": 1, "min_new_tokens": 60},
    "forced end": {"forced_eos_token_id": 1},
    "forced end beyond the vocabulary": {"forced_eos_token_id": 99999},
    "forced begin beyond the vocabulary": {"forced_bos_token_id": 99999},
    "banned tokens beyond the vocabulary": {"bad_words_ids": [[99999]]},
    "no repeats": {"no_repeat_ngram_size": 1, "repetition_penalty": 9.0},
    "a cache that is fixed": {"cache_implementation": "static"},
    "no cache": {"use_cache": False},
    "stop words": {"stop_strings": ["cat"]},
    "a padding token beyond the vocabulary": {"pad_token_id": 99999},
    "guidance": {"guidance_scale": 3.0},
    "a time": {"max_time": 0.0},
}


@pytest.mark.parametrize("settings", GENERATION.values(), ids=GENERATION.keys())
@pytest.mark.parametrize("kind", ["BartForConditionalGeneration", "T5ForConditionalGeneration"])
def test_settings_of_generation_change_nothing(
    kind: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    name = saved(tmp_path, kind, kind.removesuffix("ForConditionalGeneration"))
    before = attnviz.capture(attnviz.load(name), TEXT).inputs
    path = tmp_path / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    assert attnviz.capture(attnviz.load(name), TEXT).inputs == before
    assert before.target is not None
    assert len(before.target) > 1


def test_a_padding_token_that_the_embedding_lacks(tmp_path: Path) -> None:
    name = saved(tmp_path, "LlamaForCausalLM", "Llama")
    edit(name, pad_token_id=99999)
    assert attnviz.load(name).predicts


def test_quantised_weights_name_the_package(tmp_path: Path) -> None:
    name = saved(tmp_path, "BertForMaskedLM", "Bert")
    edit(name, quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True})
    with pytest.raises(ModelError, match="bitsandbytes"):
        attnviz.load(name)


def test_a_type_that_the_library_does_not_know(tmp_path: Path) -> None:
    name = saved(tmp_path, "BertForMaskedLM", "Bert")
    edit(name, model_type="future9", transformers_version="99.1")
    with pytest.raises(ModelNotSupported, match=r"'future9'.*written by 99\.1.*newer transformers"):
        attnviz.load(name)


def test_no_type_and_no_class(tmp_path: Path) -> None:
    name = saved(tmp_path, "BertForMaskedLM", "Bert")
    edit(name, model_type=None, architectures=None)
    with pytest.raises(ModelNotSupported, match="names no model_type"):
        attnviz.load(name)
