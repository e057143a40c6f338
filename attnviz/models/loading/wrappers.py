"""Search for the library's model inside the modules that training or serving puts around it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from attnviz.errors import ModelNotSupported

__all__ = ["unwrapped"]


def unwrapped(model: Any) -> PreTrainedModel:
    """Return the library's model inside a wrapper: DDP, torch.compile, PEFT, accelerate and others.

    The adapters of PEFT stay: they are layers of the model inside.

    Raises:
        ModelNotSupported: there is none, there are several, or the wrapper changes what the model
            reads (prompt tuning).
    """
    models = list(_outermost(model))
    if not models and not isinstance(model, nn.Module):  # a pipeline holds its model by this name
        models = list(_outermost(getattr(model, "model", None)))
    if len(models) != 1:
        what = (
            "holds " + ", ".join(type(one).__name__ for one in models) if models else "holds none"
        )
        raise ModelNotSupported(
            f"attnviz shows a model of the transformers library, and this one is a "
            f"{type(model).__name__}, which {what}; give it a PreTrainedModel, or a wrapper around "
            "one"
        )
    return models[0]


def _outermost(model: Any) -> Iterator[PreTrainedModel]:
    """Yield the library's models that are in no other one."""
    waiting, seen = [model], set()
    while waiting:
        one = waiting.pop(0)
        if not isinstance(one, nn.Module) or id(one) in seen:
            continue
        seen.add(id(one))
        _check_prompt(one)
        # torch.compile gives its wrapper the class of what it compiled, for isinstance alone.
        if isinstance(one, PreTrainedModel) and "_orig_mod" not in one._modules:
            yield one
        else:
            waiting += one._modules.values()


def _check_prompt(model: nn.Module) -> None:
    """Refuse PEFT's wrappers that put made-up positions before the text."""
    adapter: Any = (
        getattr(model, "active_peft_config", None) if hasattr(model, "peft_type") else None
    )
    if adapter is not None and adapter.is_prompt_learning:
        raise ModelNotSupported(
            f"{type(model).__name__} puts learned positions before the text ({adapter.peft_type}), "
            "which attnviz cannot show; it shows adapters inside the layers, such as LoRA"
        )
