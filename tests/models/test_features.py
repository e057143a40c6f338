"""Models of pictures and sounds from folders: which class, which words, and what may be missing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForImageClassification,
    PreTrainedModel,
    ViTForMaskedImageModeling,
)

import attnviz
from attnviz.errors import InputError, ModelError, ModelNotFound, ModelNotSupported
from attnviz.models import describe_features, feature_tokens
from tests.zoo import OTHER_SENSES, PICTURE, TOWERS, WHISPER, Pair, all_weights, shake

Zoo = Callable[[str], Pair]

KINDS = {
    "vit": ["self"],
    "vit-body": ["self"],
    "deit": ["self"],
    "clip": ["image", "text"],
    "siglip": ["image", "text"],
    "whisper": ["encoder", "decoder", "cross"],
}
READS = {
    "clip": ("pixel_values", "input_ids"),
    "siglip": ("pixel_values", "input_ids"),
    "whisper": ("input_features",),
}


@pytest.mark.parametrize("name", OTHER_SENSES)
def test_what_is_known_of_a_model(zoo: Zoo, name: str) -> None:
    model, eager = zoo(name).model, zoo(name).eager
    assert model.info.source == "folder"
    assert model.info.model_type == eager.config.model_type
    assert model.info.family == OTHER_SENSES[name].family
    assert list(model.info.heads) == KINDS[name]
    assert model.sites.reads == READS.get(name, ("pixel_values",))
    assert model.info.max_tokens == (160 if name in READS else None)
    for kind, (layers, heads) in model.info.heads.items():
        assert heads == 4
        assert layers == (2 if kind in ("image", "encoder") else 3)
        assert model.info.layers[kind] == tuple(range(layers))
        assert model.info.key_heads[kind] == 4


@pytest.mark.parametrize("name", ["vit", "vit-body", "deit"])
def test_a_model_of_pictures_needs_no_tokenizer(zoo: Zoo, name: str) -> None:
    pair = zoo(name)
    assert not list(pair.folder.glob("tokenizer*"))
    assert pair.model.vocabulary is None
    with pytest.raises(InputError, match=r"has no tokenizer.*\{'pixel_values': tensor\}"):
        _ = pair.model.tokenizer


@pytest.mark.parametrize("name", ["clip", "whisper", "gpt2", "bert", "t5"])
def test_a_model_of_words_needs_one(zoo: Zoo, tmp_path: Path, name: str) -> None:
    """The library would make one up that knows no word."""
    zoo(name).eager.save_pretrained(tmp_path)
    with pytest.raises(ModelNotFound, match=r"without a tokenizer: expected a tokenizer\.json"):
        attnviz.load(str(tmp_path))


def saved(network: PreTrainedModel, folder: Path) -> str:
    shake(network)
    network.save_pretrained(folder)
    return str(folder)


def test_a_body_without_its_pooler(tmp_path: Path) -> None:
    """Nothing that is pooled has been attended to: its weights may be missing."""
    config = AutoConfig.for_model("vit", **PICTURE | {"image_size": 12})
    name = saved(ViTForMaskedImageModeling(config), tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    written["architectures"] = ["ViTModel"]
    (tmp_path / "config.json").write_text(json.dumps(written))
    model = attnviz.load(name)
    assert not model.predicts
    assert "pooler.dense.weight" in model.network.state_dict()
    stack = attnviz.capture_inputs(model, {"pixel_values": torch.ones(1, 3, 12, 12)})["self"]
    assert stack.shape == (3, 4, 10, 10)


def test_a_body_without_a_layer(tmp_path: Path) -> None:
    config = AutoConfig.for_model("vit", **PICTURE)
    name = saved(AutoModelForImageClassification.from_config(config), tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    kept = {key: value for key, value in weights.items() if ".1." not in key}
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="incomplete"):
        attnviz.load(name)


def test_a_tower_alone(zoo: Zoo, tmp_path: Path) -> None:
    """CLIP's eye saved without its text is the same eye."""
    pair = zoo("clip")
    pair.eager.vision_model.save_pretrained(tmp_path)
    model = attnviz.load(str(tmp_path))
    assert model.info.model_type == "clip_vision_model"
    pixels = torch.randn(1, 3, 12, 12, generator=torch.Generator().manual_seed(1))
    alone = attnviz.capture_inputs(model, {"pixel_values": pixels})["self"]
    beside = attnviz.capture_inputs(
        pair.model, {"pixel_values": pixels, "input_ids": torch.tensor([[5, 6]])}
    )["image"]
    np.testing.assert_array_equal(all_weights(alone), all_weights(beside))
    assert alone.key_tokens.labels == beside.key_tokens.labels


def test_a_model_that_reads_at_random_is_not_proved(tmp_path: Path) -> None:
    """ViT-MAE leaves out patches by lot, so that no run is like another."""
    config = AutoConfig.for_model("vit_mae", **PICTURE | {"image_size": 12})
    with pytest.raises(ModelNotSupported, match="cannot prove its numbers"):
        attnviz.load(saved(AutoModel.from_config(config), tmp_path))


def test_the_same_library_class_for_the_same_weights(zoo: Zoo) -> None:
    assert type(zoo("vit").model.network).__name__ == "ViTForImageClassification"
    assert type(zoo("vit-body").model.network).__name__ == "ViTModel"
    assert type(zoo("whisper").model.network).__name__ == "WhisperForConditionalGeneration"


def test_labels_of_patches_that_are_not_square() -> None:
    config = AutoConfig.for_model("vit", **PICTURE | {"patch_size": [4, 10]})
    tokens = feature_tokens(config, "pixel_values", torch.zeros(3, 12, 20), 7)
    assert tokens.labels[:3] == ("[CLS]", "patch 0,0", "patch 0,1")
    assert tokens.labels[-1] == "patch 2,1"
    assert tokens.special.tolist() == [True, *[False] * 6]
    assert tokens.ids.tolist() == list(range(7))


@pytest.mark.parametrize("positions", [1, 11, 14, 18])
def test_a_number_of_positions_that_no_grid_has(positions: int) -> None:
    config = AutoConfig.for_model("vit", **PICTURE)
    tokens = feature_tokens(config, "pixel_values", torch.zeros(3, 12, 20), positions)
    assert tokens.labels == tuple(f"position {number}" for number in range(positions))
    assert not tokens.special.any()


def test_labels_of_moments() -> None:
    config = AutoConfig.for_model("whisper", **WHISPER)
    tokens = feature_tokens(config, "input_features", torch.zeros(80, 3000), 1500)
    assert tokens.labels[:3] == ("0.00 s", "0.02 s", "0.04 s")
    assert tokens.labels[-1] == "29.98 s"
    assert describe_features("input_features", torch.zeros(80, 3000)) == "sound of 30.00 s"


def test_the_size_of_a_tower_is_that_of_its_picture() -> None:
    config = AutoConfig.for_model("clip", **TOWERS)
    tokens = feature_tokens(config, "pixel_values", torch.zeros(3, 12, 12), 10)
    assert tokens.labels[-1] == "patch 2,2"
    assert describe_features("pixel_values", torch.zeros(3, 12, 8)) == "picture of 12 × 8 pixels"
