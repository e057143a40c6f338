"""Options of loading, kinds of models, and models that cannot be shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    PreTrainedModel,
)

import attnviz
from attnviz import Model, models
from attnviz.errors import AttnvizError, InputError, ModelError, ModelNotSupported
from attnviz.models import CLASSROOM, best_device, instrument, shipped
from tests.vocabularies import vocabulary
from tests.zoo import ARCHITECTURES, Pair, all_weights


def saved(network: PreTrainedModel, kind: str, folder: Path) -> str:
    network.save_pretrained(folder)
    vocabulary(kind).save_pretrained(folder)
    return str(folder)


SMALL = {"vocab_size": 400, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
OUTSIDE = {
    "bloom": {"n_layer": 2, "n_head": 4, "hidden_size": 32},
    "gptj": {"n_layer": 2, "n_head": 4, "n_embd": 32, "rotary_dim": 4},
    "gpt_neo": {
        "hidden_size": 32,
        "num_layers": 2,
        "num_heads": 4,
        "attention_types": [[["global", "local"], 1]],
    },
    "falcon": SMALL,
    "xlnet": {"n_layer": 2, "n_head": 4, "d_model": 32, "d_inner": 32},
    "mamba": SMALL,
}


@pytest.mark.parametrize("model_type", OUTSIDE)
def test_models_outside_the_interface_are_named_and_refused(
    tmp_path: Path, model_type: str
) -> None:
    config = AutoConfig.for_model(model_type, **({"vocab_size": 400} | OUTSIDE[model_type]))
    name = saved(AutoModelForCausalLM.from_config(config), "bpe", tmp_path)
    with pytest.raises(ModelNotSupported, match=f"'{model_type}'.*Supported are BERT, GPT-2, T5"):
        attnviz.load(name)


@pytest.mark.parametrize("model_type", ["deberta-v2", "longformer", "reformer"])
def test_encoders_outside_the_interface(tmp_path: Path, model_type: str) -> None:
    sizes = {
        "deberta-v2": SMALL,
        "longformer": SMALL | {"attention_window": 4},
        "reformer": {"is_decoder": False, "vocab_size": 400},
    }[model_type]
    config = AutoConfig.for_model(model_type, **sizes)
    name = saved(AutoModelForMaskedLM.from_config(config), "wordpiece", tmp_path)
    with pytest.raises(ModelNotSupported, match=f"'{model_type}'"):
        attnviz.load(name)


def test_layers_with_different_numbers_of_heads_are_refused(gpt: Model) -> None:
    config = AutoConfig.for_model("gpt2", n_embd=32, n_head=4, n_layer=2, vocab_size=400)
    network = AutoModelForCausalLM.from_config(config)
    network.transformer.h[1].attn.num_heads = 8
    network.transformer.h[1].attn.head_dim = 4
    with pytest.raises(ModelNotSupported, match="4 and with 8 heads"):
        instrument(network, gpt.tokenizer)


HEADLESS = {"bert": "encoder", "gpt2": "decoder", "t5": "encoder-decoder"}


@pytest.mark.parametrize("name", HEADLESS)
def test_a_body_without_a_language_head(
    zoo: Callable[[str], Pair], tmp_path: Path, name: str
) -> None:
    """Attention is in the body: it is the same with whatever head the library adds."""
    pair = zoo(name)
    body = AutoModel.from_pretrained(pair.folder, dtype=torch.float32)
    folder = saved(body, {"bert": "wordpiece", "gpt2": "bpe", "t5": "unigram"}[name], tmp_path)
    model = attnviz.load(folder)
    assert model.info.family == HEADLESS[name]
    target = "The dog." if name == "t5" else None
    mine = attnviz.capture(model, "The cat sat.", target=target)
    theirs = attnviz.capture(pair.model, "The cat sat.", target=target)
    for kind in mine.kinds:
        np.testing.assert_allclose(all_weights(mine[kind]), all_weights(theirs[kind]), atol=5e-5)


def test_predictions_of_a_head_that_was_never_trained_are_not_shown(
    zoo: Callable[[str], Pair], tmp_path: Path
) -> None:
    body = AutoModel.from_pretrained(zoo("bert").folder, dtype=torch.float32)
    model = attnviz.load(saved(body, "wordpiece", tmp_path))
    assert attnviz.capture(model, "The cat sat.").predictions == ()


def test_a_decoder_without_a_trained_head_writes_no_target(t5: Model) -> None:
    model = replace(t5, predicts=False)
    with pytest.raises(InputError, match=r"no trained language head.*give one"):
        attnviz.capture(model, "The cat sat.")
    assert attnviz.capture(model, "The cat sat.", target="The dog.").predictions == ()


def test_a_classifier_is_read_as_the_encoder_it_stands_on(
    zoo: Callable[[str], Pair], tmp_path: Path
) -> None:
    network = AutoModelForSequenceClassification.from_pretrained(
        zoo("bert").folder, dtype=torch.float32
    )
    model = attnviz.load(saved(network, "wordpiece", tmp_path))
    assert model.info.family == "encoder"
    mine = attnviz.capture(model, "The cat sat.")["self"]
    theirs = attnviz.capture(zoo("bert").model, "The cat sat.")["self"]
    np.testing.assert_allclose(all_weights(mine), all_weights(theirs), atol=5e-5)


def test_a_sharded_model(zoo: Callable[[str], Pair], tmp_path: Path) -> None:
    pair = zoo("gpt2")
    AutoModelForCausalLM.from_pretrained(pair.folder).save_pretrained(
        tmp_path, max_shard_size="20KB"
    )
    pair.model.tokenizer.save_pretrained(tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    mine = attnviz.capture(attnviz.load(str(tmp_path)), "The cat")["self"]
    theirs = attnviz.capture(pair.model, "The cat")["self"]
    np.testing.assert_array_equal(all_weights(mine), all_weights(theirs))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
def test_a_dtype_of_ones_choice(gpt_folder: Path, dtype: str) -> None:
    model = models.load(str(gpt_folder), dtype=dtype)
    assert model.info.dtype == dtype
    assert model.network.dtype is getattr(torch, dtype)
    stack = attnviz.capture(model, "The cat sat on the mat.")["self"]
    np.testing.assert_allclose(all_weights(stack).sum(-1), 1, atol=1e-2)


def test_half_precision_stays_close_to_full(gpt_folder: Path) -> None:
    text = "The cat sat on the mat. The cat sat."
    full, half = (
        all_weights(attnviz.capture(models.load(str(gpt_folder), dtype=dtype), text)["self"])
        for dtype in ("float32", "bfloat16")
    )
    assert np.abs(full - half)[0].max() < 0.03  # the first layer; later ones pass errors on


@pytest.mark.parametrize("name", ["gpt2", "bert", "t5", "llama", "gemma2", "gpt_oss"])
def test_a_sound_model_in_half_precision_passes_its_proof(
    zoo: Callable[[str], Pair], name: str
) -> None:
    attnviz.load(str(zoo(name).folder), dtype="bfloat16")


def test_stored_half_precision_is_computed_in_full_on_a_processor(
    zoo: Callable[[str], Pair], tmp_path: Path
) -> None:
    network = AutoModelForCausalLM.from_pretrained(zoo("gpt2").folder, dtype=torch.bfloat16)
    name = saved(network, "bpe", tmp_path)
    assert attnviz.load(name, device="cpu").info.dtype == "float32"


@pytest.mark.parametrize("dtype", ["int8", "bool", "nonsense", "", "__name__", "nn", "complex64"])
def test_dtypes_that_are_none(gpt_folder: Path, dtype: str) -> None:
    with pytest.raises(ModelError, match=r"not a float type; use 'auto'"):
        attnviz.load(str(gpt_folder), dtype=dtype)


@pytest.mark.parametrize("device", ["abacus", "", "cuda:99", "cpu:x", "meta", "xpu"])
def test_devices_that_are_none(gpt_folder: Path, device: str) -> None:
    with pytest.raises(AttnvizError) as caught:
        attnviz.load(str(gpt_folder), device=device)
    assert "device" in str(caught.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the device")
def test_a_device_this_machine_lacks(gpt_folder: Path) -> None:
    with pytest.raises(ModelError, match="device 'cuda'"):
        attnviz.load(str(gpt_folder), device="cuda")


def test_the_device_of_ones_choice(gpt_folder: Path) -> None:
    assert attnviz.load(str(gpt_folder), device="cpu").info.device == "cpu"
    chosen = attnviz.load(str(gpt_folder)).info.device
    assert chosen.startswith(best_device())


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_what_is_known_of_a_model(zoo: Callable[[str], Pair], name: str) -> None:
    info, config = zoo(name).model.info, zoo(name).eager.config
    assert info.model_type == config.model_type
    assert info.family == ARCHITECTURES[name].family
    assert info.max_tokens == 160
    both = info.family == "encoder-decoder"
    expected = {"self": range(getattr(config, "num_hidden_layers", 0))}
    expected |= {"encoder": range(2), "decoder": range(3), "cross": range(3)}
    if name == "jamba":  # the others are Mamba layers, which have no attention
        expected["self"] = (1, 4)
    assert list(info.heads) == (["encoder", "decoder", "cross"] if both else ["self"])
    for kind, (layers, heads) in info.heads.items():
        assert heads == 4
        assert layers == len(expected[kind])
        assert info.layers[kind] == tuple(expected[kind])
    groups = getattr(config, "num_key_value_heads", None) or 4
    if name != "gpt_bigcode":
        assert set(info.key_heads.values()) == {groups}


def test_a_model_from_memory(zoo: Callable[[str], Pair]) -> None:
    pair = zoo("gpt2")
    network = AutoModelForCausalLM.from_pretrained(pair.folder, dtype=torch.float32)
    model = instrument(network.train(), pair.model.tokenizer, name="mine")
    assert (model.info.source, model.info.name, model.info.title) == ("object", "mine", "mine")
    assert not network.training
    mine = attnviz.capture(model, "The cat")["self"]
    np.testing.assert_array_equal(
        all_weights(mine), all_weights(attnviz.capture(pair.model, "The cat")["self"])
    )


def test_an_instrumented_model_still_generates(zoo: Callable[[str], Pair]) -> None:
    """Step by step with a cache: fewer queries than keys, and the mask must know."""
    pair = zoo("gpt2")
    ids = torch.tensor([pair.model.tokenizer("The cat sat")["input_ids"]])
    options = {"max_new_tokens": 12, "do_sample": False, "pad_token_id": 0}
    mine = pair.model.network.generate(ids, attention_mask=torch.ones_like(ids), **options)
    theirs = pair.eager.generate(ids, attention_mask=torch.ones_like(ids), **options)
    assert mine.tolist() == theirs.tolist()


def test_an_instrumented_t5_generates_what_the_library_does(zoo: Callable[[str], Pair]) -> None:
    pair = zoo("t5")
    ids = torch.tensor([pair.model.tokenizer("The cat sat")["input_ids"]])
    options = {"max_new_tokens": 12, "attention_mask": torch.ones_like(ids), "use_cache": False}
    mine, theirs = (
        network.generate(ids, **options) for network in (pair.model.network, pair.eager)
    )
    assert mine.tolist() == theirs.tolist()


def test_training_with_dropout_is_refused(zoo: Callable[[str], Pair]) -> None:
    network = AutoModelForCausalLM.from_pretrained(zoo("gpt2").folder)
    instrument(network, zoo("gpt2").model.tokenizer)
    network.train()
    with pytest.raises(ValueError, match=r"dropout 0\.1.*model\.eval\(\)"):
        network(torch.tensor([[5, 6, 7]]))


def test_the_catalogue() -> None:
    names = [one.name for one in CLASSROOM]
    assert {"bert-classroom", "gpt-classroom", "t5-classroom"} <= set(names)
    assert len(set(names)) == len(names)
    for one in CLASSROOM:
        assert shipped(one.name) is one
    assert shipped("gpt-classroom ") is None
    assert shipped("") is None
