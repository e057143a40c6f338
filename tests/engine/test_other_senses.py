"""Pictures and sounds: every size, the right place for every label, and refusals in words."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSpeechSeq2Seq,
    PreTrainedModel,
)

import attnviz
from attnviz import Model
from attnviz.captures.forward_pass import Encoded, capture_ids
from attnviz.errors import InputError, ModelNotSupported, TextTooLong
from attnviz.models import instrument
from tests.bounds import CALL, MODEL
from tests.engine.test_equal_library import assert_equal_weights
from tests.zoo import (
    OTHER_SENSES,
    PICTURE,
    TOWERS,
    WHISPER,
    Pair,
    all_weights,
    eager_attentions,
    inputs_of,
    random_features,
    random_ids,
    random_texts,
    shake,
)

Zoo = Callable[[str], Pair]
LENGTHS = (1, 2, 3, 9, 33, 130)
WORDS = {"vocab_size": 200, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1}


def twice(model_type: str, auto: Any = AutoModel, **sizes: Any) -> tuple[Model, PreTrainedModel]:
    """Return a random model without a tokenizer, instrumented, and its eager copy."""
    network = auto.from_config(AutoConfig.for_model(model_type, **sizes)).eval()
    shake(network)
    eager = copy.deepcopy(network)
    eager.set_attn_implementation("eager")
    return instrument(network), eager


def assert_equal_eager(model: Model, eager: PreTrainedModel, texts: list[Encoded]) -> None:
    truth = eager_attentions(eager, **inputs_of(model, texts))
    for number, one in enumerate(capture_ids(model, texts)):
        assert_equal_weights(one, truth, number)
        proof = attnviz.verify(one)
        assert proof.holds, proof.broken


@pytest.mark.parametrize("positions", LENGTHS)
def test_pictures_of_every_number_of_positions(positions: int) -> None:
    """SigLIP's eye: nothing but patches, so that even a single one is possible."""
    sizes = PICTURE | {"image_size": [4, 4 * positions]}
    sizes["image_size"] = 4 * positions if positions == 1 else sizes["image_size"]
    kind = "siglip_vision_model" if positions == 1 else "vit"
    if kind == "vit":
        sizes["image_size"] = [4, 4 * (positions - 1)]  # one is [CLS]
    model, eager = twice(kind, **sizes)
    features = [{"pixel_values": torch.randn(model.sites.sizes["pixel_values"])} for _ in range(2)]
    assert_equal_eager(model, eager, [Encoded(features=one) for one in features])
    stack = capture_ids(model, [Encoded(features=features[0])])[0]["self"]
    assert stack.shape[2:] == (positions, positions)
    assert stack.key_tokens.labels[-1] == f"patch 0,{max(positions - 2, 0)}"


@pytest.mark.parametrize("positions", LENGTHS)
def test_sounds_of_every_length(positions: int) -> None:
    """Also of the very lengths by which encoder and decoder are distinguished."""
    sizes = WHISPER | WORDS | {"max_source_positions": positions}
    model, eager = twice("whisper", AutoModelForSpeechSeq2Seq, **sizes)
    assert model.info.heads == {"encoder": (2, 4), "decoder": (3, 4), "cross": (3, 4)}
    texts = [
        Encoded(target=tuple(range(5, 5 + length)), features=random_features(model, length))
        for length in LENGTHS
    ]
    truth = eager_attentions(
        eager,
        input_features=torch.stack([one.features["input_features"] for one in texts]),
        decoder_input_ids=torch.tensor(
            [[*(one.target or ()), *[0] * (130 - len(one.target or ()))] for one in texts]
        ),
        decoder_attention_mask=torch.tensor(
            [[1] * length + [0] * (130 - length) for length in LENGTHS]
        ),
    )
    for number, one in enumerate(capture_ids(model, texts)):
        assert_equal_weights(one, truth, number)
        assert one["cross"].shape[2:] == (LENGTHS[number], positions)
        assert one["cross"].key_tokens.labels[-1] == f"{0.02 * (positions - 1):.2f} s"


@pytest.mark.parametrize("patches", [1, 2])
@pytest.mark.parametrize("text", [(1, 2), (4, 2), (3, 2)])
def test_towers_of_the_length_of_the_probe(
    monkeypatch: pytest.MonkeyPatch, patches: int, text: tuple[int, int]
) -> None:
    """A picture of as many positions as the text is still a picture."""
    monkeypatch.setattr("attnviz.attention.trial_run.TEXT_TOKENS", text)
    vision = TOWERS["vision_config"] | {"image_size": 4 * patches}
    model, _ = twice("siglip", text_config=TOWERS["text_config"] | WORDS, vision_config=vision)
    assert model.info.heads == {"image": (2, 4), "text": (3, 4)}
    assert model.sites.names.keys() == model.sites.kinds.keys()
    for number, kind in model.sites.kinds.items():
        assert {"image": "vision", "text": "text"}[kind] in model.sites.names[number]


LABELLED = {
    "vit": PICTURE,
    "deit": PICTURE,
    "dinov2_with_registers": PICTURE | {"image_size": 12, "num_register_tokens": 3},
    "dinov3_vit": PICTURE | {"image_size": 12, "num_register_tokens": 2},
    "siglip_vision_model": PICTURE | {"image_size": 12},
    "clip_vision_model": PICTURE | {"image_size": 12},
    "beit": PICTURE | {"image_size": 12},
}


@pytest.mark.parametrize("model_type", LABELLED)
def test_a_patch_is_where_its_label_says(model_type: str) -> None:
    """Other pixels in one patch are another key at that position, and at no other."""
    model, _ = twice(model_type, **LABELLED[model_type])
    _, height, width = model.sites.sizes["pixel_values"]
    before = random_features(model)
    stack = capture_ids(model, [Encoded(features=before)])[0]["self"]
    tokens = stack.key_tokens
    patches = [label for label in tokens.labels if label.startswith("patch")]
    assert len(patches) == height // 4 * (width // 4) == (~tokens.special).sum()
    for row, column in ((0, 0), (1, 2), (height // 4 - 1, width // 4 - 1)):
        after = {"pixel_values": before["pixel_values"].clone()}
        after["pixel_values"][:, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 1
        other = capture_ids(model, [Encoded(features=after)])[0]["self"]
        moved = np.abs(stack.key(0, 0) - other.key(0, 0)).max(-1) > 1e-4
        assert [tokens.labels[place] for place in np.flatnonzero(moved)] == [
            f"patch {row},{column}"
        ]


def test_positions_that_fit_no_grid_are_counted() -> None:
    """YOLOS has further tokens behind the patches: no label may pretend to know better."""
    model, _ = twice("yolos", **PICTURE, num_detection_tokens=5)
    stack = capture_ids(model, [Encoded(features=random_features(model))])[0]["self"]
    assert stack.key_tokens.labels[:2] == ("position 0", "position 1")
    assert len(set(stack.key_tokens.labels)) == stack.shape[3] == 21


def test_a_moment_is_when_its_label_says(zoo: Zoo) -> None:
    model = zoo("whisper").model
    before = random_features(model)
    after = {"input_features": before["input_features"].clone()}
    after["input_features"][:, 24] += 1  # 0.24 s
    one, other = (
        capture_ids(model, [Encoded(target=(5, 6), features=features)])[0]["encoder"]
        for features in (before, after)
    )
    moved = np.flatnonzero(np.abs(one.key(0, 0) - other.key(0, 0)).max(-1) > 1e-4)
    # Two convolutions of width three look at the neighbours as well.
    labels = [one.key_tokens.labels[place] for place in moved]
    assert labels == ["0.22 s", "0.24 s", "0.26 s"]


def test_what_a_picture_has_no_copies_of(zoo: Zoo) -> None:
    """Patches have neighbours and distances, but none is a repetition of another."""
    model = zoo("vit").model
    stack = capture_ids(model, [Encoded(features=random_features(model))])[0]["self"]
    weights = all_weights(stack)
    assert np.isnan(stack.statistic("duplicate")).all()
    assert np.isnan(stack.statistic("induction")).all()
    diagonal = np.diagonal(weights, -1, 2, 3)
    np.testing.assert_allclose(stack.statistic("previous")[..., 1:], diagonal, atol=CALL)


def picture(model: Model, seed: int = 0) -> dict[str, torch.Tensor]:
    return {name: values[None] for name, values in random_features(model, seed).items()}


def test_a_picture(zoo: Zoo) -> None:
    model = zoo("vit").model
    capture = attnviz.capture_inputs(model, picture(model))
    assert capture.kinds == ("self",)
    assert capture.text == "picture of 12 × 20 pixels"
    assert (capture.target_text, capture.predictions, capture.generated) == (None, (), False)
    labels = capture["self"].query_tokens.labels
    assert labels[:3] == ("[CLS]", "patch 0,0", "patch 0,1")
    assert labels[-1] == "patch 2,4"
    assert capture["self"].shape == (3, 4, 16, 16)
    assert len(attnviz.summarize(capture)) == 12


def test_a_picture_and_a_text(zoo: Zoo) -> None:
    pair = zoo("clip")
    encoding = pair.model.tokenizer("The cat sat.", return_tensors="pt")
    inputs = picture(pair.model) | {
        name: encoding[name] for name in ("input_ids", "attention_mask") if name in encoding
    }
    capture = attnviz.capture_inputs(pair.model, inputs)
    assert_equal_weights(capture, eager_attentions(pair.eager, **inputs))
    assert capture.kinds == ("image", "text")
    assert capture.text == "picture of 12 × 12 pixels, The cat sat."
    assert capture["image"].query_tokens.labels[1] == "patch 0,0"
    assert "·cat" in capture["text"].key_tokens.labels
    assert np.triu(all_weights(capture["text"]), 1).max() == 0  # CLIP's text does not look ahead


def test_padding_behind_a_text_is_left_out(zoo: Zoo) -> None:
    model = zoo("siglip").model
    ids = torch.tensor([random_ids(model, 9)])
    short = attnviz.capture_inputs(model, picture(model) | {"input_ids": ids})
    padded = torch.nn.functional.pad(ids, (0, 4))
    long = attnviz.capture_inputs(
        model, picture(model) | {"input_ids": padded, "attention_mask": (padded > 0).long()}
    )
    assert long["text"].shape == short["text"].shape
    np.testing.assert_array_equal(all_weights(long["text"]), all_weights(short["text"]))
    left = torch.nn.functional.pad(ids, (4, 0))
    before = attnviz.capture_inputs(
        model, picture(model) | {"input_ids": left, "attention_mask": (left > 0).long()}
    )
    np.testing.assert_array_equal(all_weights(before["text"]), all_weights(short["text"]))
    masked = (padded > 0).long()
    masked[0, 3] = 0
    with pytest.raises(InputError, match="padding before or behind the text"):
        attnviz.capture_inputs(
            model, picture(model) | {"input_ids": padded, "attention_mask": masked}
        )


def test_a_sound_and_what_the_model_writes(zoo: Zoo) -> None:
    pair = zoo("whisper")
    sound = picture(pair.model)
    capture = attnviz.capture_inputs(pair.model, sound)
    assert capture.generated
    assert capture.text == "sound of 0.60 s"
    read = capture["decoder"].query_tokens.ids.tolist()
    written = pair.eager.generate(**sound, max_new_tokens=64, force_unique_generate_call=True)
    assert read == written[0, : len(read)].tolist()
    assert len(capture.predictions) == len(read)
    target = torch.tensor([read])
    with torch.inference_mode():
        logits = pair.eager(**sound, decoder_input_ids=target).logits[0]
    for row, prediction in enumerate(capture.predictions):
        best = logits[row].softmax(-1).max()
        assert prediction.probabilities[0] == pytest.approx(float(best), abs=MODEL)


def test_a_sound_and_a_wanted_target(zoo: Zoo) -> None:
    model = zoo("whisper").model
    sound = picture(model)
    by_text = attnviz.capture_inputs(model, sound, target="The cat sat.")
    ids = by_text["decoder"].query_tokens.ids
    assert ids[0] == 0
    assert by_text.target_text == "The cat sat."
    by_ids = attnviz.capture_inputs(
        model, sound | {"decoder_input_ids": torch.from_numpy(ids)[None]}
    )
    for kind in by_text.kinds:
        np.testing.assert_array_equal(all_weights(by_text[kind]), all_weights(by_ids[kind]))
    assert by_text.inputs.closing == model.tokenizer.eos_token_id


def test_a_target_that_starts_by_itself_is_not_started_twice(zoo: Zoo) -> None:
    """Whisper's tokenizer writes the start token, T5's does not."""
    model = zoo("whisper").model
    start = model.tokenizer.convert_ids_to_tokens(0)
    capture = attnviz.capture_inputs(model, picture(model), target=f"{start}The cat")
    ids = capture["decoder"].query_tokens.ids.tolist()
    assert ids.count(0) == 1


def test_inputs_are_equal_when_their_pictures_are(zoo: Zoo) -> None:
    model = zoo("vit").model
    one, same, other = (
        Encoded((5, 6), features=random_features(model, seed)) for seed in (0, 0, 1)
    )
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert one != Encoded((5, 6))
    assert Encoded((5, 6)) == Encoded((5, 6)) != Encoded((5, 7))
    assert Encoded((5, 6)) != (5, 6)


def test_what_becomes_of_a_picture_later_changes_no_capture(zoo: Zoo) -> None:
    model = zoo("vit").model
    pixels = picture(model)
    capture = attnviz.capture_inputs(model, pixels)
    pixels["pixel_values"].zero_()
    assert attnviz.verify(capture).holds


@pytest.mark.parametrize("name", ["vit", "clip", "whisper"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_other_precisions_are_proved(zoo: Zoo, name: str, dtype: str) -> None:
    model = attnviz.load(str(zoo(name).folder), dtype=dtype)
    assert model.info.dtype == dtype
    capture = capture_ids(model, random_texts(model, (12,)))[0]
    assert attnviz.verify(capture).holds


def test_statistics_of_a_picture(zoo: Zoo) -> None:
    model = zoo("vit").model
    whole, few = (
        attnviz.capture_inputs(model, picture(model), keep=keep)["self"]
        for keep in ("qkv", "statistics")
    )
    assert not few.keeps_weights
    np.testing.assert_array_equal(whole.statistic("entropy"), few.statistic("entropy"))


def test_without_a_tokenizer_words_are_numbers() -> None:
    sizes = WHISPER | WORDS
    model, _ = twice("whisper", AutoModelForSpeechSeq2Seq, **sizes)
    capture = attnviz.capture_inputs(
        model, picture(model) | {"decoder_input_ids": torch.tensor([[0, 7, 8]])}
    )
    assert capture["cross"].query_tokens.labels == ("⟨id 0⟩", "⟨id 7⟩", "⟨id 8⟩")
    assert capture.predictions[0].labels[0].startswith("⟨id ")
    assert capture.target_text == "⟨id 0⟩ ⟨id 7⟩ ⟨id 8⟩"
    with pytest.raises(InputError, match=r"has no tokenizer.*'input_features': tensor"):
        attnviz.capture_inputs(model, picture(model), target="The cat")


@pytest.mark.parametrize("name", OTHER_SENSES)
def test_a_text_alone_is_refused(zoo: Zoo, name: str) -> None:
    model = zoo(name).model
    needed = "input_features" if name == "whisper" else "pixel_values"
    message = rf"without a (picture|sound) \({needed}\).*_inputs\(model, .*'{needed}': tensor"
    with pytest.raises(InputError, match=message):
        attnviz.capture(model, "The cat sat.")
    with pytest.raises(InputError, match=message):
        list(attnviz.capture_many(model, ["The cat sat."]))
    text = random_texts(model, (4,))[0]
    with pytest.raises(InputError, match=message):
        capture_ids(model, [Encoded(text.ids, target=text.target)])


def test_a_text_may_be_captured_as_ids(gpt: Model) -> None:
    ids = torch.tensor([random_ids(gpt, 7)])
    capture = attnviz.capture_inputs(gpt, {"input_ids": ids})
    same = capture_ids(gpt, [Encoded(tuple(ids[0].tolist()))])[0]
    np.testing.assert_array_equal(all_weights(capture["self"]), all_weights(same["self"]))


WRONG = {
    "nothing at all": ({}, r"cannot run without a picture \(pixel_values\)"),
    "another name": (
        {"pixel_values": torch.zeros(1, 3, 12, 20), "image": torch.zeros(1)},
        "does not read image; it reads pixel_values",
    ),
    "two pictures": ({"pixel_values": torch.zeros(2, 3, 12, 20)}, r"one input at a time.*\(2, 3"),
    "no first axis": ({"pixel_values": torch.zeros(3, 12, 20)}, r"one input at a time.*\(3, 12"),
    "another size": (
        {"pixel_values": torch.zeros(1, 3, 12, 12)},
        r"was made for pixel_values of \(3, 12, 20\).*holds pixel_values of \(3, 12, 12\)",
    ),
    "another number of colours": (
        {"pixel_values": torch.zeros(1, 1, 12, 20)},
        r"was made for pixel_values of \(3, 12, 20\)",
    ),
    "bytes": (
        {"pixel_values": torch.zeros(1, 3, 12, 20, dtype=torch.uint8)},
        "should be finite floats.*uint8",
    ),
    "no numbers": (
        {"pixel_values": torch.full((1, 3, 12, 20), torch.nan)},
        "float32 with NaN or infinities",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_pictures_that_are_none(zoo: Zoo, case: str) -> None:
    inputs, message = WRONG[case]
    with pytest.raises(InputError, match=message):
        attnviz.capture_inputs(zoo("vit").model, inputs)


def test_wrong_sounds_and_targets(zoo: Zoo) -> None:
    model = zoo("whisper").model
    sound = picture(model)
    for target in (None, "The cat"):
        with pytest.raises(InputError, match=r"was made for input_features of \(8, 60\)"):
            attnviz.capture_inputs(model, {"input_features": torch.zeros(1, 8, 50)}, target=target)
    with pytest.raises(InputError, match="decoder_input_ids or target, not both"):
        attnviz.capture_inputs(
            model, sound | {"decoder_input_ids": torch.tensor([[0, 5]])}, target="The cat"
        )
    with pytest.raises(InputError, match="no decoder"):
        attnviz.capture_inputs(zoo("vit").model, picture(zoo("vit").model), target="The cat")
    with pytest.raises(TextTooLong, match="room for 160"):
        attnviz.capture_inputs(model, sound | {"decoder_input_ids": torch.full((1, 161), 5)})
    with pytest.raises(InputError, match="token ids go from 0 to 100000"):
        attnviz.capture_inputs(model, sound | {"decoder_input_ids": torch.tensor([[0, 100_000]])})


def test_words_outside_the_vocabulary_of_a_tower(zoo: Zoo) -> None:
    model = zoo("clip").model
    with pytest.raises(InputError, match="token ids go from 5 to 100000"):
        attnviz.capture_inputs(model, picture(model) | {"input_ids": torch.tensor([[5, 100_000]])})


def test_pictures_of_different_sizes_do_not_share_a_batch() -> None:
    model, _ = twice("beit", **PICTURE | {"image_size": 12})
    texts = [Encoded(features={"pixel_values": torch.zeros(3, 12, size)}) for size in (12, 16)]
    with pytest.raises(InputError, match="run together have one size"):
        capture_ids(model, texts)


SMALL_WINDOWS = {"image_size": 16, "patch_size": 2, "embed_dim": 16, "window_size": 4}
OUTSIDE = {
    "swin": (SMALL_WINDOWS | {"depths": [2], "num_heads": [4]}, "into windows"),
    "blip": ({}, "attention interface"),
    "speech_to_text": ({"d_model": 32}, "do not say which size of 'input_features'"),
}


@pytest.mark.parametrize("model_type", OUTSIDE)
def test_models_of_pictures_and_sounds_that_cannot_be_shown(model_type: str) -> None:
    sizes, message = OUTSIDE[model_type]
    if model_type == "blip":
        sizes = {"text_config": TOWERS["text_config"], "vision_config": TOWERS["vision_config"]}
    auto = AutoModelForSpeechSeq2Seq if model_type == "speech_to_text" else AutoModel
    network = auto.from_config(AutoConfig.for_model(model_type, **sizes))
    with pytest.raises(ModelNotSupported, match=f"'{model_type}'.*{message}"):
        instrument(network)


def test_a_picture_of_a_size_that_one_tower_cannot_read(zoo: Zoo) -> None:
    model = zoo("siglip").model
    inputs = {"pixel_values": torch.zeros(1, 3, 20, 20), "input_ids": torch.tensor([[5, 6]])}
    with pytest.raises(InputError, match=r"of \(3, 12, 12\), and this input holds .*\(3, 20, 20\)"):
        attnviz.capture_inputs(model, inputs)


def test_a_larger_picture_where_the_model_reads_one() -> None:
    """BEiT-like models stretch their positions over any size; the labels go along."""
    model, eager = twice("dinov2", **PICTURE | {"image_size": 12})
    larger = Encoded(features={"pixel_values": torch.randn(3, 16, 24)})
    assert_equal_eager(model, eager, [larger])
    stack = capture_ids(model, [larger])[0]["self"]
    assert stack.key_tokens.labels[-1] == "patch 3,5"


def test_a_second_tower_without_attention() -> None:
    """ALIGN sees by convolutions: only its text has attention to show."""
    vision = {"image_size": 32, "width_coefficient": 0.2, "depth_coefficient": 0.1}
    vision["hidden_dim"] = 32
    text = TOWERS["text_config"] | WORDS
    model, _ = twice("align", text_config=text, vision_config=vision, projection_dim=64)
    assert list(model.info.heads) == ["text"]
    one = capture_ids(model, [Encoded((5, 6, 7), features=random_features(model))])[0]
    assert one["text"].shape == (3, 4, 3, 3)
