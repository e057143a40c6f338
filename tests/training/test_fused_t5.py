"""Arithmetic written out for training, against the library's T5."""

import pytest
import torch
from torch.nn import functional
from transformers import T5Config, T5ForConditionalGeneration

from tests.bounds import MODEL_NATS, SAME
from training import fused_t5
from training.fused_t5 import Dropout, FusedT5, mask_shapes
from training.pair_batches import IGNORED


@pytest.fixture
def model():
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=97,
        d_model=24,
        d_kv=8,
        d_ff=40,
        num_layers=2,
        num_decoder_layers=3,
        num_heads=3,
        feed_forward_proj="gated-gelu",
        dense_act_fn="gelu_pytorch_tanh",
        dropout_rate=0.0,
        decoder_start_token_id=0,
    )
    return T5ForConditionalGeneration(config).eval()


@pytest.fixture
def batch():
    torch.manual_seed(1)
    source, target = torch.randint(3, 97, (4, 20)), torch.randint(3, 97, (4, 7))
    target[1, 5:] = IGNORED
    return source, target


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_and_gradients_are_the_librarys(model, batch, smoothing, monkeypatch):
    monkeypatch.setattr(fused_t5, "CHUNK", 5)  # several parts, the last one shorter
    source, target = batch
    logits = model(input_ids=source, labels=target).logits
    expected = functional.cross_entropy(
        logits.flatten(0, 1),
        target.flatten(),
        ignore_index=IGNORED,
        label_smoothing=smoothing,
        reduction="sum",
    )
    expected.backward()
    wanted = {name: one.grad.clone() for name, one in model.named_parameters()}
    model.zero_grad()
    fused = FusedT5(model, 0.0, torch.float32, compiled=False)
    loss = fused.loss(source, target, smoothing)
    loss.backward()
    assert loss.item() == pytest.approx(expected.item(), abs=MODEL_NATS)
    for name, one in model.named_parameters():
        assert torch.allclose(one.grad, wanted[name], rtol=1e-3, atol=1e-4), name


def test_every_mask_is_used_and_the_last_one_counts(model, batch):
    source, target = batch
    fused = FusedT5(model, 0.0, torch.float32, compiled=False)
    shapes = mask_shapes(model.config, 4, source.shape[1], target.shape[1])
    masks = [torch.ones(shape) for shape in shapes]

    class Given:
        def __init__(self, chosen):
            self.chosen = chosen

        def masks(self, wanted):
            assert wanted == shapes
            return self.chosen

    plain = fused.loss(source, target).item()
    fused.dropout = Given(masks)
    assert fused.loss(source, target).item() == pytest.approx(plain, abs=SAME)
    for number in range(len(masks)):
        changed = [one if at != number else one * 0 for at, one in enumerate(masks)]
        fused.dropout = Given(changed)
        assert fused.loss(source, target).item() != pytest.approx(plain, abs=2 * SAME), number


def test_masks_keep_the_mean():
    torch.manual_seed(0)
    dropout = Dropout(0.25, torch.float32, torch.device("cpu"))
    first, second = dropout.masks([(50, 40, 30), (50, 40, 30)])
    assert first.unique().tolist() == pytest.approx([0, 4 / 3])
    assert first.mean().item() == pytest.approx(1, abs=0.02)
    assert not torch.equal(first, second)


def test_the_decoder_does_not_see_what_it_is_to_write(model, batch):
    """A target that changes in its last place changes the loss of no place before."""
    source, target = batch[0], batch[1].clamp(min=3)
    fused = FusedT5(model, 0.0, torch.float32, compiled=False)
    other = target.clone()
    other[:, -1] = 3 + (other[:, -1] - 2) % 90
    with torch.no_grad():
        hidden_last = [
            fused.loss(source, torch.cat([one[:, :-1], torch.full((4, 1), IGNORED)], 1)).item()
            for one in (target, other)
        ]
        seen = [fused.loss(source, one).item() for one in (target, other)]
    assert hidden_last[0] == pytest.approx(hidden_last[1], abs=SAME)
    assert seen[0] != pytest.approx(seen[1], abs=100 * SAME)
