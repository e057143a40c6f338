"""Arithmetic of T5 written out for training on a processor, three to four times as fast.

The library's model does each small operation by itself and in the padded shape of a batch. Here
the sources of a batch have one length and the decoder looks at nothing to its right, so that
nothing needs a mask over padding; projections that read the same rows are one product; and what
is left between the products is compiled into a few loops. A test holds it to the library's model.
"""

import ctypes
import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import T5Config
from transformers.models.t5.modeling_t5 import T5Attention

CHUNK = 512  # rows of logits that exist at a time
POOL = 1 << 24  # dropout masks are cut from this many numbers
EPSILON = 1e-6

Weights = dict[str, Tensor]


def keep_memory() -> None:
    """Make the C library keep freed memory: returning and fetching it costs a tenth of a step."""
    try:
        library = ctypes.CDLL("libc.so.6")
    except OSError:
        return  # another C library: slower, nothing else
    library.mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
    library.mallopt(-1, (1 << 31) - 1)  # M_TRIM_THRESHOLD


class Dropout:
    """Masks cut at random places from a pool of them, which costs less than to draw each anew."""

    def __init__(self, share: float, dtype: torch.dtype, device: torch.device) -> None:
        keep = torch.rand(POOL) >= share
        self.pool = (keep / (1 - share)).to(device, dtype)

    def masks(self, shapes: list[tuple[int, ...]]) -> list[Tensor]:
        """Return a dropout mask per shape, each number 0 or 1 / (1 - share)."""
        masks = []
        for shape in shapes:
            size = functools.reduce(int.__mul__, shape)
            start = int(torch.randint((POOL - size) // 64, ())) * 64
            masks.append(self.pool[start : start + size].view(shape))
        return masks


def mask_shapes(config: T5Config, rows: int, source: int, target: int) -> list[tuple[int, ...]]:
    """Return the shapes of the masks that `hidden` takes, in its order."""
    model, inner = config.d_model, config.d_ff
    encoder = [model] + [model, inner, model] * config.num_layers + [model]
    decoder = [model] + [model, model, inner, model] * config.num_decoder_layers + [model]
    return [(rows, source, width) for width in encoder] + [
        (rows, target, width) for width in decoder
    ]


def distances(config: T5Config, length: int, *, both: bool) -> Tensor:
    """Return the bucket of every distance between two positions, [query, key]."""
    places = torch.arange(length)
    buckets: Tensor = T5Attention._relative_position_bucket(
        places[None] - places[:, None],
        bidirectional=both,
        num_buckets=config.relative_attention_num_buckets,
        max_distance=config.relative_attention_max_distance,
    )
    return buckets


def normed(rows: Tensor, weight: Tensor) -> Tensor:
    """Apply T5's norm: no mean, no bias."""
    return rows * torch.rsqrt(rows.pow(2).mean(-1, keepdim=True) + EPSILON) * weight


def gelu(rows: Tensor) -> Tensor:
    """Return the tanh form of GELU, written as a sigmoid: quicker on a processor."""
    exact = rows.float()
    curve = 2 * math.sqrt(2 / math.pi) * (exact + 0.044715 * exact.pow(3))
    return (exact * torch.sigmoid(curve)).to(rows.dtype)


def attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
    """Compute attention, [row, head, position, number] to [row, position, number]."""
    rows, heads, length, size = query.shape
    keys = key.shape[2]
    scores = torch.bmm(
        query.reshape(rows * heads, length, size),
        key.reshape(rows * heads, keys, size).transpose(1, 2),
    )
    exact = scores.view(rows, heads, length, keys).float()
    if bias is not None:
        exact = exact + bias
    shares = torch.softmax(exact, -1).to(value.dtype)
    read = torch.bmm(
        shares.view(rows * heads, length, keys), value.reshape(rows * heads, keys, size)
    )
    return read.view(rows, heads, length, size).transpose(1, 2).reshape(rows, length, heads * size)


def hidden(
    weights: Weights,
    source: Tensor,
    target: Tensor,
    source_distances: Tensor,
    target_distances: Tensor,
    masks: list[Tensor] | None,
    *,
    layers: tuple[int, int],
    heads: int,
    dtype: torch.dtype,
) -> Tensor:
    """Return the decoder's last states for sources without padding and shifted targets."""
    left = iter(masks) if masks is not None else None

    def drop(rows: Tensor) -> Tensor:
        return rows if left is None else rows * next(left)

    def product(rows: Tensor, *names: str) -> Tensor:
        matrices = [weights[name + ".weight"] for name in names]
        joined = matrices[0] if len(matrices) == 1 else torch.cat(matrices)
        return functional.linear(rows, joined.to(dtype))

    def by_head(rows: Tensor, parts: int) -> tuple[Tensor, ...]:
        split = rows.view(*rows.shape[:2], parts, heads, -1)
        return split.permute(2, 0, 3, 1, 4).unbind(0)

    def norm(rows: Tensor, name: str) -> Tensor:
        return normed(rows, weights[name + ".weight"]).to(dtype)

    def bias(stack: str, places: Tensor) -> Tensor:
        table = weights[f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"]
        return functional.embedding(places, table).permute(2, 0, 1)[None]

    def itself(rows: Tensor, name: str, distance: Tensor) -> Tensor:
        attention = name + ".SelfAttention."
        read = norm(rows, name + ".layer_norm")
        query, key, value = by_head(product(read, *(attention + part for part in "qkv")), 3)
        return rows + drop(product(attend(query, key, value, distance), attention + "o"))

    def forward(rows: Tensor, name: str) -> Tensor:
        dense = name + ".DenseReluDense."
        read = norm(rows, name + ".layer_norm")
        gate, up = product(read, dense + "wi_0", dense + "wi_1").chunk(2, -1)
        inner = drop(gelu(gate) * up)
        return rows + drop(product(inner, dense + "wo"))

    table = weights["shared.weight"]
    rows = drop(functional.embedding(source, table))
    distance = bias("encoder", source_distances)
    for layer in range(layers[0]):
        rows = itself(rows, f"encoder.block.{layer}.layer.0", distance)
        rows = forward(rows, f"encoder.block.{layer}.layer.1")
    encoded = drop(norm(rows, "encoder.final_layer_norm"))

    cross = [f"decoder.block.{layer}.layer.1.EncDecAttention." for layer in range(layers[1])]
    names = [name + part for name in cross for part in "kv"]
    keys_values = by_head(product(encoded, *names), 2 * layers[1])
    rows = drop(functional.embedding(target, table))
    length = target.shape[1]
    future = torch.full((length, length), float("-inf"), device=target.device).triu(1)
    distance = bias("decoder", target_distances) + future
    for layer in range(layers[1]):
        rows = itself(rows, f"decoder.block.{layer}.layer.0", distance)
        read = norm(rows, f"decoder.block.{layer}.layer.1.layer_norm")
        (query,) = by_head(product(read, cross[layer] + "q"), 1)
        key, value = keys_values[2 * layer : 2 * layer + 2]
        rows = rows + drop(product(attend(query, key, value, None), cross[layer] + "o"))
        rows = forward(rows, f"decoder.block.{layer}.layer.2")
    return drop(norm(rows, "decoder.final_layer_norm"))


def piece_losses(
    logits: Tensor, target: Tensor, known: Tensor, smoothing: float
) -> tuple[Tensor, Tensor]:
    """Return the summed loss of the known targets and its gradient by the logits."""
    chances = torch.log_softmax(logits.float(), -1)
    count = logits.shape[1]
    picked = chances.gather(1, target[:, None])[:, 0]
    losses = (1 - smoothing) * picked + smoothing / count * chances.sum(-1)
    right = torch.arange(count, device=target.device)[None] == target[:, None]
    wanted = smoothing / count + torch.where(right, 1 - smoothing, 0.0)
    gradient = (chances.exp() - wanted) * known[:, None]
    return -(losses * known).sum(), gradient.to(logits.dtype)


class PieceLoss(torch.autograd.Function):
    """Loss over the whole vocabulary, a few rows at a time: all logits are never kept."""

    @staticmethod
    def forward(
        context: Any,
        states: Tensor,
        table: Tensor,
        target: Tensor,
        known: Tensor,
        smoothing: float,
        losses: Callable[..., tuple[Tensor, Tensor]],
    ) -> Tensor:
        """Return the summed loss; its gradients are computed in the same pass."""
        scale = table.shape[1] ** -0.5
        matrix = (table * scale).to(states.dtype)
        to_states = torch.empty_like(states)
        to_table = torch.zeros_like(table)
        total = torch.zeros((), device=states.device)
        for start in range(0, len(states), CHUNK):
            part = slice(start, start + CHUNK)
            logits = functional.linear(states[part], matrix)
            loss, gradient = losses(logits, target[part], known[part], smoothing)
            total += loss
            torch.mm(gradient, matrix, out=to_states[part])
            to_table += gradient.t() @ states[part]
        context.save_for_backward(to_states, to_table * scale)
        return total

    @staticmethod
    def backward(context: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of states and table, times the incoming gradient."""
        to_states, to_table = context.saved_tensors
        return to_states * upstream[0].to(to_states.dtype), to_table * upstream[0], *[None] * 4


class FusedT5:
    """Loss of a T5 on batches of sources of one length; the model keeps its weights."""

    def __init__(
        self, model: torch.nn.Module, dropout: float, dtype: torch.dtype, *, compiled: bool
    ) -> None:
        self.config: T5Config = model.config
        self.weights: Weights = dict(model.named_parameters())
        self.device = next(model.parameters()).device
        self.dtype = dtype
        self.dropout = Dropout(dropout, dtype, self.device) if dropout else None
        self.hidden = torch.compile(hidden, dynamic=True) if compiled else hidden
        self.losses = torch.compile(piece_losses, dynamic=True) if compiled else piece_losses

    def loss(self, source: Tensor, target: Tensor, smoothing: float = 0.0) -> Tensor:
        """Return the summed loss, in nats, of the targets that are not negative."""
        source, target = source.to(self.device), target.to(self.device)
        rows, length = target.shape
        shifted = functional.pad(target, (1, 0))[:, :-1].clamp(min=0)
        shapes = mask_shapes(self.config, rows, source.shape[1], length)
        states = self.hidden(
            self.weights,
            source,
            shifted,
            distances(self.config, source.shape[1], both=True).to(self.device),
            distances(self.config, length, both=False).to(self.device),
            self.dropout.masks(shapes) if self.dropout else None,
            layers=(self.config.num_layers, self.config.num_decoder_layers),
            heads=self.config.num_heads,
            dtype=self.dtype,
        )
        flat = target.flatten()
        total: Tensor = PieceLoss.apply(  # type: ignore[no-untyped-call]
            states.view(rows * length, -1),
            self.weights["shared.weight"],
            flat.clamp(min=0),
            (flat >= 0).float(),
            smoothing,
            self.losses,
        )
        return total
