"""Models that run a stack of layers several times, in an order that attnviz does not know."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import attnviz
from attnviz import Edit, Model, edited
from attnviz.attention import layers_share_weights
from attnviz.captures.forward_pass import Encoded, capture_ids
from attnviz.errors import InputError
from attnviz.experiments.ablation import ablate
from attnviz.experiments.decomposition.composition import composition
from attnviz.experiments.decomposition.logit_lens import logit_lens
from attnviz.experiments.decomposition.logit_parts import logit_parts
from attnviz.experiments.edges.value_zeroing import value_zeroing
from attnviz.experiments.edits.heads_off import divergence_without_heads
from attnviz.experiments.loss_examples import Example, LossInput
from attnviz.experiments.patching.head_patches import patch_heads
from attnviz.experiments.patching.stream_patches import patch_stream
from attnviz.experiments.patching.text_pair import LogitDifference, TextPair
from attnviz.types import Head
from benchmarks.architectures import built
from tests.bounds import MODEL, MODEL_NATS
from tests.vocabularies import vocabulary

IDS = (7, 9, 30, 12, 9, 41)
TEXT = Encoded(IDS)
PAIR = TextPair(TEXT, Encoded((8, *IDS[1:])))
DIFFERENCE = LogitDifference(9, 12)
HEAD = Head("self", 1, 1)


@pytest.fixture(scope="module")
def hrm() -> Model:
    """Return a small random HRM: its low stack runs several times, then its high one, in turns."""
    return attnviz.instrument(built("hrm_text", "causal", vocabulary("bpe")), vocabulary("bpe"))


def test_it_is_captured_run_by_run(hrm: Model) -> None:
    layers, heads = hrm.info.heads["self"]
    assert layers > len(hrm.sites.kinds)  # modules run again
    assert layers_share_weights(hrm.network, hrm.sites)
    stack = capture_ids(hrm, [TEXT])[0]["self"]
    seen: list[torch.Tensor] = []
    hrm.network.set_attn_implementation("eager")
    handles = [
        hrm.network.get_submodule(name).register_forward_hook(
            lambda *given: seen.append(given[-1][1])
        )
        for name in hrm.sites.names.values()
    ]
    try:
        with torch.inference_mode():
            hrm.network(torch.tensor([IDS]), output_attentions=True, use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
        hrm.network.set_attn_implementation("attnviz")
    assert len(seen) == layers
    for layer, head in np.ndindex(layers, heads):
        np.testing.assert_allclose(stack.weights(layer, head), seen[layer][0, head], atol=MODEL)


def test_heads_are_switched_off_run_by_run(hrm: Model) -> None:
    example = Example(0, TEXT, (LossInput(TEXT, (2, 4), (12, 41)),))
    costs = ablate(hrm, [example], replacements=("zero", "mean"))
    again = ablate(hrm, [example], replacements=("zero", "mean"))
    dim = hrm.network.config.hidden_size // hrm.info.heads["self"][1]
    modules = [f"{name}.o_proj" for name in hrm.sites.names.values()]
    for layer in (0, hrm.info.heads["self"][0] - 1):
        runs = 0

        def off(module: Any, given: tuple[Any, ...], layer: int = layer) -> Any:
            nonlocal runs
            runs += 1
            if runs != layer + 1:
                return None
            changed = given[0].clone()
            changed[..., dim : 2 * dim] = 0
            return (changed, *given[1:])

        places = [hrm.network.get_submodule(name) for name in modules]
        handles = [one.register_forward_pre_hook(off) for one in places]
        with torch.inference_mode():
            logits = hrm.network(torch.tensor([IDS]), use_cache=False).logits[0].double()
        for handle in handles:
            handle.remove()
        loss = -float(logits.log_softmax(-1)[[2, 4], [12, 41]].sum())
        expected = loss - float(costs.baseline[0])
        assert costs.change["zero"]["self"][layer, 1, 0] == pytest.approx(expected, abs=MODEL_NATS)
    for replacement in ("zero", "mean"):
        np.testing.assert_allclose(
            costs.change[replacement]["self"], again.change[replacement]["self"], atol=MODEL_NATS
        )


REFUSED: dict[str, tuple[Callable[[Model], Any], str]] = {
    "patched": (lambda model: patch_heads(model, PAIR, DIFFERENCE), "patched by itself"),
    "heads off": (lambda model: divergence_without_heads(model, TEXT), "edited by itself"),
    "edges": (lambda model: value_zeroing(model, TEXT, HEAD), "changed by itself"),
    "streams": (lambda model: patch_stream(model, PAIR, DIFFERENCE), "patched by itself"),
    "lens": (lambda model: logit_lens(model, TEXT), "no list of blocks that each run once"),
    "parts": (
        lambda model: logit_parts(model, TEXT, DIFFERENCE), "no list of blocks that each run once"
    ),
    "matrices": (composition, "no separate attention module for each layer"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_needs_a_module_per_layer_is_refused(what: str, hrm: Model) -> None:
    run, sentence = REFUSED[what]
    with pytest.raises(InputError, match=sentence):
        run(hrm)


def test_edits_are_refused(hrm: Model) -> None:
    with (
        pytest.raises(InputError, match="only ALBERT is taken apart"),
        edited(hrm, [Edit("zero", HEAD)]),
    ):
        pass
    with edited(hrm, []):
        capture_ids(hrm, [TEXT])
