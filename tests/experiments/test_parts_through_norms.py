"""Direct effects through the norms of BERT and BART, below a cap, and matrices behind norms."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import Tensor

from attnviz.captures.forward_pass import Encoded
from attnviz.experiments.decomposition.composition import composition
from attnviz.experiments.decomposition.head_matrices import head_matrices
from attnviz.experiments.decomposition.logit_parts import logit_parts
from attnviz.experiments.patching.text_pair import LogitDifference
from tests.bounds import MODEL_NATS
from tests.zoo import inputs_of, random_texts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.zoo import Pair

AT = 3
DIFFERENCE = LogitDifference(9, 12, AT)


def text_of(pair: Pair) -> Encoded:
    """Return a random text, with a target for an encoder-decoder."""
    return random_texts(pair.model, (8,))[0]


@contextmanager
def kept(network: Any) -> Iterator[dict[str, tuple[Tensor, Tensor]]]:
    """Collect input and output of every module at position `AT`, float64, by name."""
    calls: dict[str, tuple[Tensor, Tensor]] = {}
    handles = []
    for name, module in network.named_modules():

        def hook(one: Any, given: Any, output: Any, name: str = name) -> None:
            both = given and isinstance(given[0], Tensor) and isinstance(output, Tensor)
            if both and output.dim() == given[0].dim() == 3:
                calls[name] = (given[0][0, AT].double(), output[0, AT].double())

        handles.append(module.register_forward_hook(hook))
    try:
        with torch.no_grad():
            yield calls
    finally:
        for handle in handles:
            handle.remove()


def through(norm: torch.nn.LayerNorm, given: Tensor) -> Tensor:
    """Return a norm as a matrix, with its statistics on one input; columns are vectors."""
    count = len(given)
    size = (given.var(unbiased=False) + norm.eps).sqrt()
    centred = torch.eye(count).double() - torch.ones(count, count).double() / count
    return torch.diag(norm.weight.detach().double() / size) @ centred


def test_parts_of_bert_equal_a_loop_over_its_weights(zoo: Callable[[str], Pair]) -> None:
    pair = zoo("bert")
    text, network = text_of(pair), pair.eager
    parts = logit_parts(pair.model, text, DIFFERENCE)
    with kept(network) as calls:
        network(**inputs_of(pair.model, [text]))
    head = network.cls.predictions
    words = head.decoder.weight.detach().double()
    direction = words[9] - words[12]
    dense = calls["cls.predictions.transform.dense"][1]
    activated = calls["cls.predictions.transform.LayerNorm"][0]
    direction = direction @ through(head.transform.LayerNorm, activated)
    direction = direction @ torch.diag(activated / dense)
    direction = direction @ head.transform.dense.weight.detach().double()
    for layer in (2, 1, 0):
        path = f"bert.encoder.layer.{layer}."
        block = network.bert.encoder.layer[layer]
        end = f"{path}output.LayerNorm"
        direction = direction @ through(block.output.LayerNorm, calls[end][0])
        mlp = calls[f"{path}output.dense"][1]
        middle = block.attention.output
        before = direction @ through(
            middle.LayerNorm, calls[f"{path}attention.output.LayerNorm"][0]
        )
        given, weight = calls[f"{path}attention.output.dense"][0], middle.dense.weight
        expected = []
        for one in range(4):
            part = slice(8 * one, 8 * one + 8)
            added = weight[:, part].detach().double() @ given[part]
            expected.append(float(before @ added))
        np.testing.assert_allclose(parts.heads["self"][layer], expected, atol=MODEL_NATS)
        rest = float(direction @ mlp + before @ middle.dense.bias.detach().double())
        # Offsets of the two norms: what they add, seen from behind them.
        offset = float(direction @ middle.LayerNorm.bias.detach().double())
        upper = _upper(network, calls, layer)
        offset += float(upper @ block.output.LayerNorm.bias.detach().double())
        assert abs(parts.rest[layer] - rest - offset) < MODEL_NATS
        direction = before
    start = calls["bert.embeddings.LayerNorm"][1]
    assert abs(parts.embedding - float(direction @ start)) < MODEL_NATS
    assert max(abs(parts.heads["self"]).ravel()) > 10 * MODEL_NATS
    assert "Each layer ends in a norm" in parts.notes[0]
    assert "activation" in parts.notes[1]


def _upper(network: Any, calls: dict[str, tuple[Tensor, Tensor]], layer: int) -> Tensor:
    """Return the direction of BERT's logit difference behind a layer."""
    head = network.cls.predictions
    words = head.decoder.weight.detach().double()
    dense = calls["cls.predictions.transform.dense"][1]
    activated = calls["cls.predictions.transform.LayerNorm"][0]
    way = (words[9] - words[12]) @ through(head.transform.LayerNorm, activated)
    way = way @ torch.diag(activated / dense) @ head.transform.dense.weight.detach().double()
    for above in range(2, layer, -1):
        block = network.bert.encoder.layer[above]
        for place, norm in (
            ("output.LayerNorm", block.output.LayerNorm),
            ("attention.output.LayerNorm", block.attention.output.LayerNorm),
        ):
            way = way @ through(norm, calls[f"bert.encoder.layer.{above}.{place}"][0])
    return way


@pytest.mark.parametrize("name", ["bart", "marian"])
def test_parts_of_bart_and_marian_equal_a_loop_over_their_weights(
    name: str, zoo: Callable[[str], Pair]
) -> None:
    pair = zoo(name)
    text, network = text_of(pair), pair.eager
    parts = logit_parts(pair.model, text, DIFFERENCE)
    with kept(network) as calls:
        logits = network(**inputs_of(pair.model, [text])).logits[0, AT]
    assert abs(parts.total - float(logits[9] - logits[12])) < MODEL_NATS
    words = network.lm_head.weight.detach().double()
    direction = words[9] - words[12]
    for layer in (2, 1, 0):
        block = network.model.decoder.layers[layer]
        path = f"model.decoder.layers.{layer}."
        norms = {
            "mlp": ("final_layer_norm", block.final_layer_norm, None),
            "cross": ("encoder_attn_layer_norm", block.encoder_attn_layer_norm, "encoder_attn"),
            "decoder": ("self_attn_layer_norm", block.self_attn_layer_norm, "self_attn"),
        }
        for kind, (place, norm, attention) in norms.items():
            direction = direction @ through(norm, calls[path + place][0])
            if attention is None:
                continue
            projection = getattr(block, attention).out_proj
            given = calls[f"{path}{attention}.out_proj"][0]
            expected = [
                float(
                    direction
                    @ projection.weight[:, 8 * one : 8 * one + 8].detach().double()
                    @ given[8 * one : 8 * one + 8]
                )
                for one in range(4)
            ]
            np.testing.assert_allclose(
                parts.heads[kind][layer],  # type: ignore[index]
                expected,
                atol=MODEL_NATS,
            )
    assert min(float(abs(one).max()) for one in parts.heads.values()) > 10 * MODEL_NATS
    heads = sum(float(table.sum()) for table in parts.heads.values())
    whole = heads + parts.embedding + float(parts.rest.sum()) + parts.constant
    assert abs(whole - parts.total) < MODEL_NATS


def test_parts_of_capped_logits_are_read_before_the_cap(zoo: Callable[[str], Pair]) -> None:
    pair = zoo("gemma2")
    text, network = text_of(pair), pair.eager
    parts = logit_parts(pair.model, text, DIFFERENCE)
    with kept(network) as calls:
        logits = network(**inputs_of(pair.model, [text])).logits[0, AT].double()
    before = calls["lm_head"][1]
    cap = network.config.final_logit_softcapping
    torch.testing.assert_close(cap * (before / cap).tanh(), logits, atol=1e-5, rtol=0)
    assert abs(float(logits[9] - logits[12]) - float(before[9] - before[12])) > 1e-4
    assert parts.total == pytest.approx(float(before[9] - before[12]), abs=1e-5)
    assert parts.notes == ("This model caps its logits. The numbers are of logits before the cap.",)
    # The stream is a sum, so a loop over what the projections add gives the same effects.
    weight = 1 + network.model.norm.weight.detach().double()
    words = network.lm_head.weight.detach().double()
    stream = calls["model.norm"][0]
    size = (stream.square().mean() + network.config.rms_norm_eps).sqrt()
    direction = (words[9] - words[12]) * weight / size
    for layer in range(4):
        block = network.model.layers[layer]
        path = f"model.layers.{layer}."
        given, output = calls[f"{path}self_attn.o_proj"]
        gain = 1 + block.post_attention_layernorm.weight.detach().double()
        behind = (output.square().mean() + network.config.rms_norm_eps).sqrt()
        for head in range(4):
            part = slice(8 * head, 8 * head + 8)
            added = block.self_attn.o_proj.weight[:, part].detach().double() @ given[part]
            expected = float(direction @ (added * gain / behind))
            assert abs(parts.heads["self"][layer, head] - expected) < MODEL_NATS


@pytest.mark.parametrize("name", ["qwen3", "gemma3", "olmo2"])
def test_matrices_of_normed_queries_and_keys_hold_the_gains(
    name: str, zoo: Callable[[str], Pair]
) -> None:
    pair = zoo(name)
    matrices, scores = head_matrices(pair.model, "self"), composition(pair.model)
    assert not scores.missing
    one = 1 if name == "gemma3" else 0
    by_part: dict[str, list[Tensor]] = {"query": [], "key": [], "value": []}
    for layer in pair.eager.model.layers:
        attention = layer.self_attn
        gain = torch.ones(32).double()  # an OLMo 2 reads the stream as it is
        if name != "olmo2":
            gain = one + layer.input_layernorm.weight.detach().double()
        for part, projection, norm in (
            ("query", attention.q_proj, attention.q_norm),
            ("key", attention.k_proj, attention.k_norm),
            ("value", attention.v_proj, None),
        ):
            matrix = gain[:, None] * projection.weight.detach().double().T
            if norm is not None:  # of one head, or of all heads together
                factor = one + norm.weight.detach().double()
                matrix = matrix * factor.repeat(matrix.shape[1] // len(factor))
            each = matrix.reshape(32, -1, 8).transpose(0, 1)
            by_part[part].append(each.repeat_interleave(4 // len(each), 0))
    for part, plain in by_part.items():
        mine = getattr(matrices, part)
        np.testing.assert_allclose(mine, torch.stack(plain), atol=1e-4)
    # A score is the norm of a product, over the norms of both.
    write = matrices.value[0, 1] @ matrices.output[0, 1]  # type: ignore[index]
    read = by_part["query"][2][3] @ by_part["key"][2][3].T
    expected = float((write @ read).norm() / (write.norm() * read.norm()))
    assert scores.query[0, 1, 2, 3] == pytest.approx(expected, abs=1e-4)


def test_latent_values_have_a_matrix_and_partly_normed_keys_have_none(
    zoo: Callable[[str], Pair],
) -> None:
    pair = zoo("deepseek_v3")
    matrices, scores = head_matrices(pair.model, "self"), composition(pair.model)
    assert matrices.key is None  # its rotated part is not divided, the other part is
    assert np.isnan(scores.query).all()
    assert np.isnan(scores.key).all()
    assert "divides a part of each query or key alone" in scores.missing
    assert matrices.value is not None
    for number, layer in enumerate(pair.eager.model.layers):
        attention = layer.self_attn
        down = attention.kv_a_proj_with_mqa.weight.detach().double()[:16]
        up = attention.kv_b_proj.weight.detach().double().reshape(4, 8 + 12, 16)[:, 8:]
        gain = layer.input_layernorm.weight.detach().double()
        inner = attention.kv_a_layernorm.weight.detach().double()
        for head in range(4):
            plain = gain[:, None] * (down.T * inner) @ up[head].T
            np.testing.assert_allclose(matrices.value[number, head], plain, atol=1e-4)
    assert np.isfinite(scores.value[0, 0, 1]).all()
