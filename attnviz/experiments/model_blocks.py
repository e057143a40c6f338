"""Blocks of a model: their names, their cached outputs, and the residual stream between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from jaxtyping import Float
from torch import Tensor
from torch.utils import _pytree as trees

from attnviz.errors import InputError
from attnviz.experiments.hooked_model import HookedModel
from attnviz.models import Encoded, Model, check_encoded, model_inputs
from attnviz.types import Kind

__all__ = [
    "block_names",
    "block_of",
    "cached_forward",
    "prediction_blocks",
    "prediction_run",
    "repeated",
    "stack_blocks",
    "stream_of",
    "streams_recorded",
    "with_stream",
]


def repeated(tensor: Tensor, copies: int) -> Tensor:
    """Return a batch repeated `copies` times, one copy after the other."""
    return tensor if copies == 1 else tensor.repeat(copies, *[1] * (tensor.dim() - 1))


def cached_forward(kept: Any, rows: int, copies: int) -> Any:
    """Return a forward function with a block's cached output, repeated for every copy."""

    def grown(value: Any) -> Any:
        batched = isinstance(value, Tensor) and value.dim() > 0 and value.shape[0] == rows
        return repeated(value, copies) if batched else value

    output = trees.tree_map(grown, kept)

    def forward(*arguments: Any, **options: Any) -> Any:
        return output

    return forward


def block_names(hooked: HookedModel) -> list[str]:
    """Return the names of the blocks with attention, in the order in which they run.

    The list is empty if a block runs more than once, or the attentions are in no list of blocks.
    """
    if hooked.places().shared:
        return []
    ordered: dict[str, None] = {}
    every: Mapping[int, str] = hooked.model.sites.names
    for module in hooked.model.sites.kinds:
        block = block_of(every[module])
        if not block:
            return []
        ordered[block] = None
    return list(ordered)


def block_of(name: str) -> str:
    """Return the block a module belongs to: its name up to the first number."""
    parts = name.split(".")
    number = next((at for at, part in enumerate(parts) if part.isdigit()), None)
    return "" if number is None else ".".join(parts[: number + 1])


def prediction_blocks(hooked: HookedModel) -> tuple[Kind, list[str]]:
    """Return the kind of the self-attention that predicts tokens, and the names of its blocks.

    Raises:
        InputError: as `stack_blocks`.
    """
    info = hooked.model.info
    kind: Kind = "decoder" if info.family == "encoder-decoder" else next(iter(info.heads))
    return kind, stack_blocks(hooked, kind)


def stack_blocks(hooked: HookedModel, kind: Kind) -> list[str]:
    """Return the names of the blocks with a kind of self-attention.

    Raises:
        InputError: the model has no list of blocks, or runs one block several times.
    """
    if not block_names(hooked):
        raise InputError(
            f"{hooked.model.info.name} has no list of blocks that each run once, so its residual "
            "stream cannot be read between them"
        )
    # The whole list: in a hybrid, blocks without attention too.
    parent = block_of(hooked.names[kind][0]).rpartition(".")[0]
    children = hooked.network.get_submodule(parent).named_children()
    return [f"{parent}.{name}" for name, _ in children if name.isdigit()]


def prediction_run(
    model: Model, encoded: Encoded
) -> tuple[HookedModel, list[str], dict[str, Tensor]]:
    """Return a model with hooks, the blocks of the stack that predicts, and inputs for a text.

    Raises:
        InputError: the model predicts no tokens or has no list of blocks; ids that do not fit.
    """
    if not model.predicts:
        raise InputError(f"{model.info.name} predicts no tokens: it has no trained language head")
    check_encoded(model, [encoded])
    hooked = HookedModel.of(model)
    _, blocks = prediction_blocks(hooked)
    return hooked, blocks, model_inputs(model, [encoded])


def stream_of(output: Any) -> Float[Tensor, "batch position width"]:
    """Return the residual stream in the output of a block."""
    stream: Tensor = output if isinstance(output, Tensor) else output[0]
    return stream


def with_stream(output: Any, stream: Float[Tensor, "batch position width"]) -> Any:
    """Return the output of a block with another residual stream."""
    return stream if isinstance(output, Tensor) else (stream, *output[1:])


@contextmanager
def streams_recorded(
    hooked: HookedModel, blocks: list[str]
) -> Iterator[dict[str, Float[Tensor, "batch position width"]]]:
    """Collect the streams of a forward pass: before the first block under "", then by block."""
    streams: dict[str, Tensor] = {}

    def before(module: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        streams[""] = arguments[0] if arguments else options["hidden_states"]

    def behind(name: str) -> Any:
        def hook(module: Any, arguments: Any, output: Any) -> None:
            streams[name] = stream_of(output)

        return hook

    first = hooked.network.get_submodule(blocks[0])
    handles = [first.register_forward_pre_hook(before, with_kwargs=True)]
    for name in blocks:
        module = hooked.network.get_submodule(name)
        handles.append(module.register_forward_hook(behind(name)))
    try:
        yield streams
    finally:
        for handle in handles:
            handle.remove()
