"""Attention function that the library calls, and its registration."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface

from attnviz.attention.arguments import check_arguments
from attnviz.attention.call_changes import changed_call, changed_output
from attnviz.attention.interventions import intervened
from attnviz.attention.kernel.attend import attend
from attnviz.attention.masks.lazy_mask import lazy_mask, only_selected, split_mask
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
    indices: Tensor | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Compute exact attention for the library, record it and apply the context's intervention.

    The signature is the library's. `sliding_window` and `is_causal` are passed too and not used:
    the mask contains both, and the library's eager path uses the mask alone.

    Args:
        module: attention module that calls; the recorder finds kind and layer by it.
        query: (batch, head, query, dim), after rotation.
        key: (batch, key head, key, dim).
        value: (batch, key head, key, value dim).
        attention_mask: a `LazyMask`, a mask of visible pairs, numbers to add to the scores, or None
            if all keys are visible.
        scaling: factor of the dot product; 1/sqrt(dim) when None.
        dropout: must be 0 in training mode: dropped weights are not those of the model.
        position_bias: (1 or batch, head, query, key), added to the scores (T5).
        softcap: bound of the scaled dot product (Gemma 2).
        s_aux: one learned sink per head (gpt-oss).
        indices: (batch, query, selected), the keys that a layer selects (DeepSeek V3.2); the
            library's eager path has them in its mask.
        others: other arguments of the library.

    Returns:
        The output, (batch, query, head, value dim), and None in place of all weights.

    Raises:
        ValueError: dropout in training mode.
        ModelNotSupported: the weights depend on an argument that is not computed here.
    """
    if dropout and module.training:
        raise ValueError(
            f"attention was called in training mode with dropout {dropout}; attnviz computes "
            "attention without dropout: call model.eval() first"
        )
    check_arguments(module, key.shape[2], others)
    batch, _, queries, dim = query.shape
    visibility, added = split_mask(attention_mask, batch, queries, key.shape[2], query.device)
    if indices is not None:
        visibility = only_selected(visibility, indices)
    bias = added if position_bias is None else position_bias
    if position_bias is not None and added is not None:
        bias = position_bias + added
    given = Call(
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
    call = changed_call(given)
    listener, workspace = current() or (None, None)
    observer = listener.begin(call) if listener is not None else None
    output = attend(
        call.query,
        call.key,
        call.value,
        call.visibility,
        call.terms,
        observe=observer,
        workspace=workspace,
    )
    if listener is not None:
        listener.end(call, observer)
    return intervened(call, changed_output(call, output)), None


def register() -> None:
    """Register the name `attnviz` with the library, for attention and for masks."""
    AttentionInterface.register(NAME, attention)
    AttentionMaskInterface.register(NAME, lazy_mask)


register()
