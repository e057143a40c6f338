"""Logit parts, composition and the logit lens equal plain loops over the library's weights."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import Tensor

import attnviz
from attnviz.captures.forward_pass import Encoded, encode
from attnviz.errors import InputError
from attnviz.experiments.decomposition.composition import composition
from attnviz.experiments.decomposition.copying import copying
from attnviz.experiments.decomposition.frozen_norm import read_norm
from attnviz.experiments.decomposition.head_matrices import head_matrices
from attnviz.experiments.decomposition.logit_lens import logit_lens
from attnviz.experiments.decomposition.logit_parts import logit_parts
from attnviz.experiments.patching.text_pair import LogitDifference
from attnviz.models import instrument
from tests.bounds import MODEL_NATS
from tests.zoo import ARCHITECTURES, inputs_of, random_texts

if TYPE_CHECKING:
    from tests.zoo import Pair

DIFFERENCE = LogitDifference(9, 12)


def text_of(pair: Pair) -> Encoded:
    """Return a random text, with a target for an encoder-decoder."""
    return random_texts(pair.model, (8,))[0]


@pytest.mark.parametrize("name", ["gpt2", "llama", "t5", "gpt_neox", "mistral", "jamba"])
def test_parts_sum_to_the_logit_difference(name: str, zoo: Callable[[str], Pair]) -> None:
    pair = zoo(name)
    text = text_of(pair)
    parts = logit_parts(pair.model, text, DIFFERENCE)
    with torch.inference_mode():
        logits = pair.eager(**inputs_of(pair.model, [text])).logits[0, -1]
    heads = sum(float(table.sum()) for table in parts.heads.values())
    whole = heads + parts.embedding + float(parts.rest.sum()) + parts.constant
    assert abs(parts.total - float(logits[9] - logits[12])) < MODEL_NATS
    assert abs(whole - parts.total) < MODEL_NATS
    assert min(float(np.abs(table).max()) for table in parts.heads.values()) > 10 * MODEL_NATS


def test_parts_of_gpt2_equal_a_loop_over_its_weights(zoo: Callable[[str], Pair]) -> None:
    pair = zoo("gpt2")
    text = text_of(pair)
    parts = logit_parts(pair.model, text, DIFFERENCE)
    network, kept = pair.eager, {}

    def keep(name: str, given: bool) -> None:
        def hook(module: object, arguments: tuple[Tensor, ...], output: Tensor) -> None:
            kept[name] = (arguments[0] if given else output)[0, -1].double()

        network.get_submodule(name).register_forward_hook(hook)

    for layer in range(3):
        keep(f"transformer.h.{layer}.attn.c_proj", True)
        keep(f"transformer.h.{layer}.mlp", False)
    keep("transformer.ln_f", True)
    with torch.no_grad():
        network(**inputs_of(pair.model, [text]))
    norm, words = network.transformer.ln_f, network.lm_head.weight.double()
    size = (kept["transformer.ln_f"].var(unbiased=False) + norm.eps).sqrt()

    def effect(vector: Tensor) -> float:
        scaled = norm.weight.double() * (vector - vector.mean()) / size
        return float(((words[9] - words[12]) @ scaled).detach())

    for layer in range(3):
        projection = network.transformer.h[layer].attn.c_proj
        for head in range(4):
            part = slice(8 * head, 8 * head + 8)
            added = (
                kept[f"transformer.h.{layer}.attn.c_proj"][part] @ projection.weight[part].double()
            )
            assert abs(parts.heads["self"][layer, head] - effect(added)) < MODEL_NATS
        rest = effect(kept[f"transformer.h.{layer}.mlp"] + projection.bias.double())
        assert abs(parts.rest[layer] - rest) < MODEL_NATS
    ids = torch.tensor(text.ids)
    table = network.transformer
    start = table.wte.weight[ids[-1]] + table.wpe.weight[len(ids) - 1]
    assert abs(parts.embedding - effect(start.double())) < MODEL_NATS
    assert (
        abs(parts.constant - float(((words[9] - words[12]) @ norm.bias.double()).detach()))
        < MODEL_NATS
    )


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_has_right_numbers_or_is_refused(
    name: str, zoo: Callable[[str], Pair]
) -> None:
    pair = zoo(name)
    text = text_of(pair)
    with torch.inference_mode():
        logits = pair.eager(**inputs_of(pair.model, [text])).logits[0]
    with suppress(InputError):
        parts = logit_parts(pair.model, text, DIFFERENCE)
        heads = sum(float(table.sum()) for table in parts.heads.values())
        whole = heads + parts.embedding + float(parts.rest.sum()) + parts.constant
        assert abs(whole - parts.total) < MODEL_NATS
        capped = any("caps its logits" in note for note in parts.notes)
        assert capped == (name == "gemma2")
        if not capped:
            assert abs(parts.total - float(logits[-1, 9] - logits[-1, 12])) < MODEL_NATS
    with suppress(InputError):
        np.testing.assert_array_equal(logit_lens(pair.model, text).best[-1], logits.argmax(-1))
    with suppress(InputError):
        scores = composition(pair.model)
        for table in (scores.query, scores.key, scores.value):
            known = table[np.isfinite(table)]
            assert ((known >= 0) & (known <= 1)).all()
        assert bool(scores.missing) == (name == "deepseek_v3")
    with suppress(InputError):
        table = copying(pair.model)
        assert (np.abs(table) <= 1).all()
        assert table.shape == pair.model.info.heads["self"]


def plain_matrices(name: str, pair: Pair) -> dict[str, Tensor]:
    """Return query, key, value and output matrices, [layer, head, ...], from weights by name."""
    network, each = pair.eager, {"query": [], "key": [], "value": [], "output": []}  # type: ignore[var-annotated]
    for layer in range(3):
        if name == "gpt2":
            block = network.transformer.h[layer]
            norm, centred = block.ln_1, True
            thirds = block.attn.c_attn.weight.split(32, 1)
            out, heads = block.attn.c_proj.weight, (4, 4, 4)
        else:
            block = network.model.layers[layer]
            norm, centred, attn = block.input_layernorm, False, block.self_attn
            thirds = [one.weight.T for one in (attn.q_proj, attn.k_proj, attn.v_proj)]
            out, heads = attn.o_proj.weight.T, (4, 2, 2)
        gain = torch.diag(norm.weight.double())
        mean = torch.eye(32).double() - (torch.ones(32, 32).double() / 32 if centred else 0)
        for part, weight, count in zip(("query", "key", "value"), thirds, heads, strict=True):
            split = (mean @ gain @ weight.double()).reshape(32, count, 8).transpose(0, 1)
            each[part].append(split.repeat_interleave(4 // count, 0))
        each["output"].append(out.double().reshape(4, 8, 32))
    return {part: torch.stack(stacked).detach() for part, stacked in each.items()}


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_composition_equals_plain_matrices(name: str, zoo: Callable[[str], Pair]) -> None:
    pair = zoo(name)
    plain = plain_matrices(name, pair)
    matrices = head_matrices(pair.model, "self")
    for part, expected in plain.items():
        np.testing.assert_allclose(getattr(matrices, part), expected, atol=1e-4)
    scores = composition(pair.model)

    def ratio(one: Tensor, other: Tensor) -> float:
        return float((one @ other).norm() / (one.norm() * other.norm()))

    for earlier in range(3):
        for head in range(4):
            ov = plain["value"][earlier, head] @ plain["output"][earlier, head]
            for later in range(3):
                for to in range(4):
                    place = (earlier, head, later, to)
                    if later <= earlier:
                        assert np.isnan(scores.query[place])
                        assert np.isnan(scores.value[place])
                        continue
                    qk = plain["query"][later, to] @ plain["key"][later, to].T
                    other = plain["value"][later, to] @ plain["output"][later, to]
                    assert abs(scores.query[place] - ratio(ov, qk)) < 1e-4
                    assert abs(scores.key[place] - ratio(ov, qk.T)) < 1e-4
                    assert abs(scores.value[place] - ratio(ov, other)) < 1e-4


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_copying_equals_eigenvalues_over_the_vocabulary(
    name: str, zoo: Callable[[str], Pair]
) -> None:
    pair = zoo(name)
    plain = plain_matrices(name, pair)
    network = pair.eager
    norm = network.transformer.ln_f if name == "gpt2" else network.model.norm
    mean = torch.eye(32).double() - (torch.ones(32, 32).double() / 32 if name == "gpt2" else 0)
    out = mean @ torch.diag(norm.weight.double()) @ network.lm_head.weight.double().T
    words = network.get_input_embeddings().weight.double()
    scores = copying(pair.model)
    for layer in range(3):
        for head in range(4):
            full = words @ plain["value"][layer, head] @ plain["output"][layer, head] @ out
            eigenvalues = np.linalg.eigvals(full.detach().numpy())  # [token, token]
            expected = eigenvalues.real.sum() / np.abs(eigenvalues).sum()
            assert abs(scores[layer, head] - expected) < 1e-3


@pytest.mark.parametrize("sign", [1, -1])
def test_a_head_that_hands_on_what_it_reads_copies(sign: int, zoo: Callable[[str], Pair]) -> None:
    model = zoo("llama").model
    network = copy.deepcopy(model.network)
    with torch.no_grad():
        network.lm_head.weight.copy_(network.get_input_embeddings().weight)
        attention = network.model.layers[1].self_attn
        attention.o_proj.weight[:, :8] = sign * attention.v_proj.weight[:8].T
    scores = copying(instrument(network, model.tokenizer))
    # Positive or negative definite on the value's 8 dimensions: all eigenvalues have one sign.
    assert abs(scores[1, 0] - sign) < 1e-6
    assert abs(scores[1, 2]) < 0.95


def test_induction_heads_of_the_classroom_model_copy() -> None:
    scores = copying(attnviz.load("gpt-classroom"))
    assert (scores[1, [0, 3, 5]] > 0.8).all()
    assert (scores[3] < 0).all()


def test_copying_is_of_models_that_predict_the_next_token() -> None:
    with pytest.raises(InputError, match="predict the next token"):
        copying(attnviz.load("bert-classroom"))


def test_chance_is_the_score_of_matrices_in_random_rotation() -> None:
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.randn(64, 64, generator=generator) for _ in range(2))
    one[:, 8:] = 0  # of low rank, as those of heads are
    scores = []
    for _ in range(50):
        turn = torch.linalg.qr(torch.randn(64, 64, generator=generator)).Q
        scores.append(float((one @ turn @ other).norm() / (one.norm() * other.norm())))
    assert np.sqrt(np.mean(np.square(scores))) == pytest.approx(64**-0.5, rel=0.05)


def test_previous_token_head_writes_into_the_keys_of_induction_heads() -> None:
    model = attnviz.load("gpt-classroom")
    scores = composition(model)
    reads = scores.key[0, 7, 1]
    assert set(np.argsort(reads)[-3:]) == {0, 3, 5}  # the induction heads that its card names
    assert reads[[0, 3, 5]].min() > 1.8 * scores.chance
    assert np.median(scores.key[0, :, 1]) < 1.3 * scores.chance


@pytest.mark.parametrize("width", [16, 32])
def test_norms_are_read_as_gain_and_offset(width: int) -> None:
    torch.manual_seed(1)
    layer = torch.nn.LayerNorm(width)
    rms = torch.nn.RMSNorm(width, eps=1e-6)
    for module in (layer, rms):
        torch.nn.init.normal_(module.weight)
    torch.nn.init.normal_(layer.bias)
    norm, other = read_norm(layer, width), read_norm(rms, width)
    assert norm.centred
    assert not other.centred
    np.testing.assert_allclose(norm.gain, layer.weight.detach(), atol=1e-4)
    np.testing.assert_allclose(norm.offset, layer.bias.detach(), atol=1e-4)
    np.testing.assert_allclose(other.gain, rms.weight.detach(), atol=1e-4)
    np.testing.assert_allclose(other.offset, np.zeros(width), atol=1e-6)


@pytest.mark.parametrize("name", ["gpt2", "llama", "bert", "t5"])
def test_logit_lens_equals_a_loop_over_the_library_s_streams(
    name: str, zoo: Callable[[str], Pair]
) -> None:
    pair = zoo(name)
    text = text_of(pair)
    lens = logit_lens(pair.model, text)
    network, inputs = pair.eager, inputs_of(pair.model, [text])
    with torch.inference_mode():
        output = network(**inputs, output_hidden_states=True)
    end = {
        "gpt2": lambda one: network.lm_head(network.transformer.ln_f(one)),
        "llama": lambda one: network.lm_head(network.model.norm(one)),
        "bert": lambda one: network.cls(one),
        "t5": lambda one: network.lm_head(
            network.decoder.final_layer_norm(one)
            * (network.model_dim**-0.5 if network.config.scale_decoder_outputs else 1)
        ),
    }[name]
    streams = output.decoder_hidden_states if name == "t5" else output.hidden_states
    final = output.logits[0].argmax(-1)
    assert len(lens.best) == len(streams)
    for row, stream in enumerate(streams):
        with torch.inference_mode():
            logits = output.logits[0] if row == len(streams) - 1 else end(stream)[0]
        shares = logits.softmax(-1)
        np.testing.assert_allclose(lens.probability[row], shares.max(-1).values, atol=MODEL_NATS)
        for position, token in enumerate(final.tolist()):
            assert lens.final_probability[row, position] == pytest.approx(
                float(shares[position, token]), abs=MODEL_NATS
            )
            better = int((shares[position] > shares[position, token] + 1e-6).sum())
            assert lens.final_rank[row, position] == pytest.approx(better, abs=1)
    np.testing.assert_array_equal(lens.best[-1], final)
    assert (lens.final_rank[-1] == 0).all()


def test_the_copy_of_a_repetition_appears_behind_the_layer_of_the_induction_heads() -> None:
    model = attnviz.load("gpt-classroom")
    text = encode(model, "red fox blue bird green tree red fox blue bird green")
    lens = logit_lens(model, text)
    assert model.tokenizer.convert_ids_to_tokens([lens.best[-1, -1]]) == ["Ġtree"]
    assert lens.final_rank[1, -1] > 0  # behind layer 0
    assert lens.final_rank[2, -1] == 0  # behind layer 1, which has the induction heads
