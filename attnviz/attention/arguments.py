"""Arguments of the library's attention functions: which of them change the weights."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from torch import nn

from attnviz.errors import ModelNotSupported

__all__ = ["check_arguments", "eager_function"]

COMPUTED = {"module", "query", "key", "value", "attention_mask", "scaling", "dropout", "kwargs"}
COMPUTED |= {"position_bias", "softcap", "s_aux", "indices"}
IN_THE_MASK = {"sliding_window"}


def check_arguments(module: nn.Module, keys: int, others: Mapping[str, Any]) -> None:
    """Refuse arguments on which the weights depend and that attnviz does not compute.

    Those are the ones that the library's eager function of the same file names, and blocks of keys
    that a layer selects.

    Args:
        module: attention module that calls.
        keys: number of keys.
        others: arguments of the call that attnviz does not use.

    Raises:
        ModelNotSupported: there is such an argument.
    """
    module_class: Any = type(module)
    for name in _unknown(module_class):
        if others.get(name) is not None:
            raise ModelNotSupported(
                f"the attention of this model depends on '{name}', which attnviz does not compute"
            )
    blocks = others.get("block_indices")
    if blocks is not None:
        size = getattr(getattr(module, "indexer", None), "block_size", 0)
        if keys > blocks.shape[-1] * size:
            raise ModelNotSupported(
                f"each head of this model selects {blocks.shape[-1]} blocks of {size} keys; a text "
                f"of {keys} tokens has more of them, and attnviz shows layers with one mask for "
                "all heads. Shorten the text"
            )


@cache
def _unknown(module_class: Any) -> tuple[str, ...]:
    """Return the arguments of a module's eager function that attnviz does not compute."""
    eager = eager_function(module_class)
    if eager is None:
        return ()
    named = inspect.signature(eager).parameters
    return tuple(name for name in named if name not in COMPUTED | IN_THE_MASK)


def eager_function(module_class: type[nn.Module]) -> Callable[..., Any] | None:
    """Return `eager_attention_forward` of the file of a module's class, or of a base class."""
    for kind in module_class.__mro__:
        function = getattr(sys.modules.get(kind.__module__), "eager_attention_forward", None)
        if function is not None:
            return function  # type: ignore[no-any-return]
    return None
