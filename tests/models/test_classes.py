"""Family, language head, limits and decoder input, from the class and files of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig,
    CLIPVisionConfig,
    EncoderDecoderConfig,
    EncoderDecoderModel,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedModel,
)

import attnviz
from attnviz.errors import InputError, ModelError, TextTooLong
from tests.models.small import BERT, LLAMA, eager_run, edit, ids_of, saved
from tests.vocabularies import vocabulary
from tests.zoo import all_weights, shake

TEXT = "The cat sat on the mat."
WEIGHT_BOUND = 5e-5  # float32: rows of at most 30 weights, a hundred times their rounding

ONE_STACK = {
    "BertForSequenceClassification": ("Bert", "encoder", False),
    "BertForTokenClassification": ("Bert", "encoder", False),
    "BertForQuestionAnswering": ("Bert", "encoder", False),
    "BertForMultipleChoice": ("Bert", "encoder", False),
    "BertForNextSentencePrediction": ("Bert", "encoder", False),
    "BertForPreTraining": ("Bert", "encoder", True),
    "BertForMaskedLM": ("Bert", "encoder", True),
    "BertModel": ("Bert", "encoder", False),
    "RobertaForSequenceClassification": ("Roberta", "encoder", False),
    "DistilBertForSequenceClassification": ("DistilBert", "encoder", False),
    "DistilBertForTokenClassification": ("DistilBert", "encoder", False),
    "ElectraForPreTraining": ("Electra", "encoder", False),
    "GPT2ForSequenceClassification": ("GPT2", "decoder", False),
    "GPT2ForTokenClassification": ("GPT2", "decoder", False),
    "GPT2ForQuestionAnswering": ("GPT2", "decoder", False),
    "GPT2LMHeadModel": ("GPT2", "decoder", True),
    "GPT2Model": ("GPT2", "decoder", False),
    "LlamaForSequenceClassification": ("Llama", "decoder", False),
    "LlamaForTokenClassification": ("Llama", "decoder", False),
    "LlamaForCausalLM": ("Llama", "decoder", True),
    "OPTForSequenceClassification": ("OPT", "decoder", False),
    "T5EncoderModel": ("T5", "encoder", False),
    "MT5EncoderModel": ("MT5", "encoder", False),
    "UMT5EncoderModel": ("UMT5", "encoder", False),
    "T5ForTokenClassification": ("T5", "encoder", False),
    "BartForCausalLM": ("Bart", "decoder", True),
}


@pytest.mark.parametrize("kind", ONE_STACK)
def test_models_of_one_stack(kind: str, tmp_path: Path) -> None:
    """Family, predictions and weights, beside the library's own run of the same class."""
    family, expected, predicts = ONE_STACK[kind]
    folder = saved(tmp_path, kind, family)
    model = attnviz.load(folder)
    capture = attnviz.capture(model, TEXT)
    assert (model.info.family, model.predicts) == (expected, predicts)
    assert capture.kinds == ("self",)
    assert bool(capture.predictions) == predicts
    run_by = type(model.network).__name__ if kind.endswith("MultipleChoice") else kind
    theirs = eager_run(run_by, folder, input_ids=torch.tensor([capture.inputs.ids]))
    for ours, layer in zip(all_weights(capture["self"]), theirs.attentions, strict=True):
        np.testing.assert_allclose(ours, layer[0].numpy(), atol=WEIGHT_BOUND)
    assert attnviz.verify(capture).holds


def test_a_decoder_that_classifies_takes_its_begin_token_and_no_pair(tmp_path: Path) -> None:
    model = attnviz.load(saved(tmp_path, "LlamaForSequenceClassification", "Llama"))
    assert attnviz.capture(model, TEXT).inputs.ids[0] == model.tokenizer.bos_token_id
    with pytest.raises(InputError, match="reads one text"):
        attnviz.capture(model, TEXT, pair="A dog.")


@pytest.mark.parametrize("tied", [True, False])
def test_a_head_that_was_never_in_the_file(tied: bool, tmp_path: Path) -> None:
    """A classifier on a tied model has no language head, though its embedding could be one."""
    name = saved(
        tmp_path, "GPT2ForSequenceClassification", "GPT2", tie_word_embeddings=tied, num_labels=3
    )
    assert not attnviz.load(name).predicts


TWO_STACKS = {
    "T5ForSequenceClassification": "T5",
    "T5ForQuestionAnswering": "T5",
    "BartForSequenceClassification": "Bart",
    "BartForQuestionAnswering": "Bart",
}


@pytest.mark.parametrize("kind", TWO_STACKS)
def test_the_decoder_of_a_classifier_reads_what_its_class_gives_it(
    kind: str, tmp_path: Path
) -> None:
    folder = saved(tmp_path, kind, TWO_STACKS[kind])
    model = attnviz.load(folder)
    capture = attnviz.capture(model, TEXT)
    theirs = eager_run(kind, folder, input_ids=torch.tensor([capture.inputs.ids]))
    assert not model.predicts
    assert not capture.generated
    for stack, layers in (
        ("encoder", theirs.encoder_attentions),
        ("decoder", theirs.decoder_attentions),
        ("cross", theirs.cross_attentions),
    ):
        for ours, layer in zip(all_weights(capture[stack]), layers, strict=True):
            np.testing.assert_allclose(ours, layer[0].numpy(), atol=WEIGHT_BOUND)
    assert attnviz.verify(capture).holds
    pair = attnviz.capture(model, TEXT, pair="A dog.")
    assert pair["encoder"].query_tokens.segments is not None
    with pytest.raises(InputError, match="reads the text itself; leave the target out"):
        attnviz.capture(model, TEXT, target="A dog.")
    diagnosis = attnviz.diagnose(model, [TEXT, "A dog ran."], ablate=False)
    assert len(diagnosis.findings) == 3 * 2 * 4


def test_a_classifier_without_an_end_token_in_its_text(tmp_path: Path) -> None:
    model = attnviz.load(saved(tmp_path, "BartForSequenceClassification", "Bart"))
    with pytest.raises(InputError, match="end token"):
        attnviz.capture_inputs(model, {"input_ids": [5, 6, 7]})


def llava() -> PreTrainedModel:
    torch.manual_seed(0)
    tokenizer = vocabulary("bpe")
    vision = BERT | {"image_size": 12, "patch_size": 4, "max_position_embeddings": 10}
    model = LlavaForConditionalGeneration(
        LlavaConfig(
            text_config=LlamaConfig(**LLAMA | ids_of(tokenizer)),
            vision_config=CLIPVisionConfig(**vision),
            image_token_index=5,
        )
    )
    shake(model)
    return model


def test_the_text_side_of_a_model_of_pictures_and_texts(tmp_path: Path) -> None:
    llava().save_pretrained(tmp_path)
    vocabulary("bpe").save_pretrained(tmp_path)
    model = attnviz.load(str(tmp_path))
    capture = attnviz.capture(model, TEXT)
    assert (model.info.family, model.info.max_tokens) == ("decoder", 160)
    assert capture.predictions
    assert capture.inputs.ids[0] == model.tokenizer.bos_token_id
    ids = torch.tensor([capture.inputs.ids])
    theirs = eager_run("LlavaForConditionalGeneration", str(tmp_path), input_ids=ids)
    for ours, layer in zip(all_weights(capture["self"]), theirs.attentions, strict=True):
        np.testing.assert_allclose(ours, layer[0].numpy(), atol=WEIGHT_BOUND)
    diagnosis = attnviz.diagnose(model, [TEXT, "A dog ran."])
    assert len(diagnosis.findings) == 2 * 4


def two_berts(**decoder: Any) -> EncoderDecoderModel:
    torch.manual_seed(0)
    tokenizer = vocabulary("wordpiece")
    ids = ids_of(tokenizer)
    model = EncoderDecoderModel(
        EncoderDecoderConfig.from_encoder_decoder_configs(
            BertConfig(**BERT | ids), BertConfig(**BERT | ids | decoder)
        )
    )
    model.config.decoder_start_token_id = tokenizer.cls_token_id
    model.config.pad_token_id = tokenizer.pad_token_id
    shake(model)
    return model


def test_an_encoder_decoder_made_of_two_configurations(tmp_path: Path) -> None:
    """Positions and vocabularies of both sides differ."""
    two_berts(max_position_embeddings=40, vocab_size=60).save_pretrained(tmp_path)
    vocabulary("wordpiece").save_pretrained(tmp_path)
    model = attnviz.load(str(tmp_path))
    assert model.info.family == "encoder-decoder"
    assert (model.info.max_tokens, model.info.max_target_tokens) == (160, 40)
    capture = attnviz.capture(model, TEXT)
    assert capture.generated
    assert capture.inputs.target is not None
    assert capture.inputs.target[0] == model.tokenizer.cls_token_id
    theirs = eager_run(
        "EncoderDecoderModel",
        str(tmp_path),
        input_ids=torch.tensor([capture.inputs.ids]),
        decoder_input_ids=torch.tensor([capture.inputs.target]),
    )
    for ours, layer in zip(all_weights(capture["cross"]), theirs.cross_attentions, strict=True):
        np.testing.assert_allclose(ours, layer[0].numpy(), atol=WEIGHT_BOUND)
    given = {"input_ids": [[5, 6]]}
    with pytest.raises(InputError, match="from 0 to 59"):
        attnviz.capture_inputs(model, given | {"decoder_input_ids": [[2, 99]]})
    with pytest.raises(TextTooLong, match="this target has 41 tokens"):
        attnviz.capture_inputs(model, given | {"decoder_input_ids": [[5] * 41]})
    attnviz.capture_inputs(model, {"input_ids": [[5] * 41], "decoder_input_ids": [[2]]})


def test_a_file_with_an_encoder_alone(tmp_path: Path) -> None:
    name = saved(tmp_path, "T5EncoderModel", "T5")
    edit(name, architectures=["T5ForConditionalGeneration"], is_encoder_decoder=True)
    with pytest.raises(ModelError, match=r'encoder alone.*architectures to \["T5EncoderModel"\]'):
        attnviz.load(name)


@pytest.mark.parametrize("named", [None, [], ["Unknown"], ["GPT2LMHeadModel"], [5], "BertModel"])
def test_a_class_that_is_not_named_is_found_by_the_configuration(
    named: Any, tmp_path: Path
) -> None:
    name = saved(tmp_path, "BertForMaskedLM", "Bert")
    edit(name, architectures=named)
    model = attnviz.load(name)
    assert type(model.network).__name__ == "BertForMaskedLM"
    assert model.predicts


def test_a_type_that_is_not_named_is_found_by_the_class(tmp_path: Path) -> None:
    name = saved(tmp_path, "BertForMaskedLM", "Bert")
    edit(name, model_type=None)
    assert attnviz.load(name).info.model_type == "bert"


def test_a_language_head_that_the_file_lacks(tmp_path: Path) -> None:
    name = saved(tmp_path, "LlamaForCausalLM", "Llama", tie_word_embeddings=False)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert not attnviz.load(name).predicts
