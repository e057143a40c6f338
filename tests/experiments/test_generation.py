"""Generation token by token equals the library's `generate`, and its rows equal a capture's."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from transformers import GenerationConfig

import attnviz
from attnviz.captures.forward_pass import Encoded, capture_ids
from attnviz.errors import EmptyText, InputError, TextTooLong
from attnviz.experiments.generation.sampling import Sampling
from attnviz.experiments.generation.token_by_token import generate_ids, prompt_ids
from tests.bounds import MODEL
from tests.zoo import random_ids

if TYPE_CHECKING:
    from attnviz import Model
    from tests.zoo import Pair

NAMES = ("gpt2", "llama", "gemma2", "gpt_oss", "jamba", "t5", "bart")
NEW = 8
SAMPLINGS = {
    "greedy": Sampling(),
    "penalty": Sampling(repetition_penalty=1.3),
    "temperature": Sampling(sample=True, temperature=0.7, seed=3),
    "top-k": Sampling(sample=True, top_k=5, seed=4),
    "top-p": Sampling(sample=True, top_p=0.6, seed=5),
    "all": Sampling(True, 1.4, 12, 0.8, 1.2, 6),
}


def _prompt(model: Model) -> Encoded:
    target = (0,) if model.info.family == "encoder-decoder" else None
    return Encoded(random_ids(model, 7), target=target)


def _of_the_library(pair: Pair, encoded: Encoded, sampling: Sampling) -> list[int]:
    """Return prompt and new ids as the library's eager model writes them."""
    settings = sampling.library_settings()
    settings.max_new_tokens = NEW
    given = pair.eager.generation_config
    # BART's configuration forces an end token at the last position; the settings here do not.
    network = copy.copy(pair.eager)
    network.generation_config = GenerationConfig()
    for role in ("eos", "pad", "bos", "decoder_start"):
        setattr(settings, f"{role}_token_id", getattr(given, f"{role}_token_id"))
    ids = torch.tensor([encoded.ids])
    torch.manual_seed(sampling.seed)
    # The library sizes its cache by the encoder's depth, and a deeper decoder overruns it.
    settings.use_cache = pair.model.info.family == "decoder"
    written = network.generate(ids, attention_mask=torch.ones_like(ids), generation_config=settings)
    written_ids: list[int] = written[0].tolist()
    return written_ids


@pytest.mark.parametrize("settings", SAMPLINGS)
@pytest.mark.parametrize("name", NAMES)
def test_ids_equal_those_of_the_library(
    name: str, settings: str, zoo: Callable[[str], Pair]
) -> None:
    pair = zoo(name)
    encoded = _prompt(pair.model)
    steps = generate_ids(pair.model, encoded, sampling=SAMPLINGS[settings], max_new_tokens=NEW)
    ids = [*(encoded.target or encoded.ids), *(step.token.id for step in steps)]
    assert ids == _of_the_library(pair, encoded, SAMPLINGS[settings])


@pytest.mark.parametrize("name", NAMES)
def test_rows_equal_those_of_a_capture_of_the_whole_text(
    name: str, zoo: Callable[[str], Pair]
) -> None:
    model = zoo(name).model
    encoded = _prompt(model)
    steps = list(generate_ids(model, encoded, max_new_tokens=NEW))
    written = (*(encoded.target or encoded.ids), *(step.token.id for step in steps[:-1]))
    both = encoded.target is not None
    whole = Encoded(encoded.ids, target=written) if both else Encoded(written)
    capture = capture_ids(model, [whole], predict=False)[0]
    kinds = ("decoder", "cross") if both else ("self",)
    assert steps[0].rows.keys() == set(kinds)
    for step in steps:
        for kind in kinds:
            layers, heads, _, keys = capture[kind].shape
            seen = keys if kind == "cross" else step.position + 1
            assert step.rows[kind].shape == (layers, heads, seen)
            for layer in range(layers):
                for head in range(heads):
                    row = capture[kind].weights(layer, head)[step.position, :seen]
                    np.testing.assert_allclose(
                        step.rows[kind][layer, head], np.nan_to_num(row), atol=MODEL
                    )


def test_candidates_have_probabilities_before_and_after_the_settings(gpt: Model) -> None:
    encoded = _prompt(gpt)
    sampling = Sampling(sample=True, temperature=0.5, top_k=3, seed=1)
    step = next(generate_ids(gpt, encoded, sampling=sampling, candidates=6))
    with torch.inference_mode():
        logits = gpt.network(torch.tensor([encoded.ids])).logits[0, -1].double()
    given = logits.softmax(-1)
    best = logits.topk(3)
    drawn = (best.values / 0.5).softmax(-1)
    assert [one.id for one in step.candidates[:3]] == best.indices.tolist()
    for place, one in enumerate(step.candidates[:3]):
        assert one.probability == pytest.approx(float(given[one.id]), abs=MODEL)
        assert one.drawn == pytest.approx(float(drawn[place]), abs=MODEL)
    assert [one.drawn for one in step.candidates[3:]] == [0.0] * 3
    assert step.token.id in best.indices


def test_the_cache_has_the_bytes_of_the_formula(zoo: Callable[[str], Pair]) -> None:
    for name in ("gpt2", "llama", "gemma2"):
        model = zoo(name).model
        config = model.network.config
        steps = list(generate_ids(model, _prompt(model), max_new_tokens=3))
        windows = getattr(config, "layer_types", None)
        for step in steps:
            for layer, held in step.cache_bytes.items():
                windowed = windows is not None and windows[layer] == "sliding_attention"
                # The library keeps one token less than the window: the query is the last.
                window = config.sliding_window - 1 if windowed else None
                size = getattr(config, "head_dim", None) or 32 // model.info.heads["self"][1]
                assert held == attnviz.efficient.kv_cache_bytes(
                    layers=1,
                    kv_heads=model.info.key_heads["self"],
                    d_head=size,
                    tokens=step.position + 1,
                    bytes_per_number=4,
                    window=window,
                )


def test_a_text_ends_at_the_end_token_and_at_the_last_position(gpt: Model) -> None:
    limit = gpt.info.max_tokens or 0
    full = Encoded(random_ids(gpt, limit - 2))
    assert [step.position for step in generate_ids(gpt, full)] == [limit - 3, limit - 2]
    step = next(generate_ids(gpt, full))
    config = gpt.network.generation_config
    before = config.eos_token_id
    try:
        config.eos_token_id = [step.token.id]
        assert [one.ends for one in generate_ids(gpt, full)] == [True]
    finally:
        config.eos_token_id = before


def test_prompts_end_before_the_end_token(t5: Model, gpt: Model) -> None:
    assert len(prompt_ids(t5, "a b").target or ()) == 1
    begun = prompt_ids(t5, "a b", target="a").target
    assert begun is not None
    assert begun[-1] != t5.tokenizer.eos_token_id
    assert prompt_ids(gpt, "a b").target is None


def test_bad_requests_are_refused_with_a_sentence(gpt: Model, bert: Model) -> None:
    limit = gpt.info.max_tokens or 0
    with pytest.raises(InputError, match="writes no text"):
        attnviz.generate(bert, "a")
    with pytest.raises(EmptyText):
        attnviz.generate(gpt, " ")
    with pytest.raises(InputError, match="leave the target out"):
        attnviz.generate(gpt, "a", target="b")
    with pytest.raises(TextTooLong, match="no position is left"):
        generate_ids(gpt, Encoded(random_ids(gpt, limit)))
    with pytest.raises(InputError, match="at least 1"):
        attnviz.generate(gpt, "a", max_new_tokens=0)
    for wrong in ({"temperature": 0.0}, {"temperature": float("nan")}, {"top_p": 0.0},
                  {"top_p": 1.5}, {"top_k": -1}, {"seed": -1}):  # fmt: skip
        with pytest.raises(InputError):
            Sampling(sample=True, **wrong)
