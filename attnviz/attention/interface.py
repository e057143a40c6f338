"""The attention function the library calls in place of its own, and its registration."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface

from attnviz.attention.interventions import intervened
from attnviz.attention.kernel import attend
from attnviz.attention.masks import lazy_mask, split_mask
from attnviz.attention.recorder import Call, current

__all__ = ["NAME", "attention", "register"]

NAME = "attnviz"


def attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    position_bias: Tensor | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **unused: Any,
) -> tuple[Tensor, None]:
    """Exact attention, shown to whoever listens in this context and changed by whoever intervenes.

    The signature is the library's. `sliding_window` and `is_causal` also arrive, and are left
    unused on purpose: the mask already says both, and it is what the library's eager path obeys.

    Args:
        module: the layer that calls; it tells the recorder where this is.
        query: (batch, head, query, dim), after rotation.
        key: (batch, key head, key, dim).
        value: (batch, key head, key, value dim).
        attention_mask: a `LazyMask`, flags, numbers to add, or None where all is visible.
        scaling: factor of the dot product; 1/sqrt(dim) when None.
        dropout: refused unless 0: a map with random holes is not what the model does.
        position_bias: (1 or batch, head, query, key), added to the scores (T5).
        softcap: bound of the scores (Gemma 2).
        s_aux: a learned sink per head (gpt-oss).
        unused: what else the library passes along.

    Returns:
        The output, (batch, query, head, value dim), and None: weights are never returned whole.
    """
    if dropout and module.training:
        raise ValueError(
            f"attention was called with dropout {dropout} while training; "
            "attnviz shows models as they run: call model.eval() first"
        )
    batch, _, queries, dim = query.shape
    visibility, added = split_mask(attention_mask, batch, queries, key.shape[2], query.device)
    bias = added if position_bias is None else position_bias
    if position_bias is not None and added is not None:
        bias = position_bias + added
    call = Call(
        module=module,
        query=query,
        key=key,
        value=value,
        visibility=visibility,
        scaling=dim**-0.5 if scaling is None else float(scaling),
        softcap=softcap,
        bias=bias,
        sinks=s_aux,
    )
    listener, workspace = current() or (None, None)
    observer = listener.begin(call) if listener is not None else None
    output = attend(
        query,
        key,
        value,
        visibility,
        scaling=call.scaling,
        softcap=softcap,
        bias=bias,
        sinks=s_aux,
        observe=observer,
        workspace=workspace,
    )
    if listener is not None:
        listener.end(call, observer)
    return intervened(call, output), None


def register() -> None:
    """Make `attnviz` a name the library knows, for attention and, as important, for masks."""
    AttentionInterface.register(NAME, attention)
    AttentionMaskInterface.register(NAME, lazy_mask)


register()
