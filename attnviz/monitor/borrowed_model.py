"""Model that is being trained, borrowed for a moment and given back as it was."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from attnviz.errors import ModelNotSupported

__all__ = ["borrowed", "check_whole"]


def check_whole(model: nn.Module) -> None:
    """Refuse a model of which this process holds a part.

    Raises:
        ModelNotSupported: its weights are split over processes.
    """
    classes = {one.__name__ for module in model.modules() for one in type(module).__mro__}
    marks = ("ds_id", "placements")  # of DeepSpeed, and of torch's distributed tensors
    if classes & {"FSDPModule", "FullyShardedDataParallel"} or any(
        hasattr(weights, mark) for weights in model.parameters() for mark in marks
    ):
        raise ModelNotSupported(
            "the weights of this model are split over processes (FSDP, DeepSpeed ZeRO-3 or tensor "
            "parallel), so no process can read the probe alone; train with DDP, ZeRO-1 or ZeRO-2, "
            "or without AttentionMonitor"
        )


@contextmanager
def borrowed(network: PreTrainedModel) -> Iterator[None]:
    """Put a model into evaluation mode for a block, and restore its training state afterwards.

    Put back: the mode of every module, the attention implementation, the state of the random
    numbers. Set aside: dropout, autocast (weights run in their own precision) and torch.compile,
    which would compile anew for another attention.
    """
    modes = [(module, module.training) for module in network.modules()]
    implementations = [
        (config, config._attn_implementation_internal) for config in _configs(network)
    ]
    device = network.device
    with ExitStack() as stack:
        stack.enter_context(
            torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])
        )
        stack.enter_context(torch.autocast(device.type, enabled=False))
        if "torch._dynamo" in sys.modules:  # importing it takes seconds, and nothing is compiled
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        # Mixed precision replaces `forward` of the one instance by a version under autocast.
        replaced = network.__dict__.pop("forward", None)
        try:
            network.eval()
            yield
        finally:
            if replaced is not None:
                network.__dict__["forward"] = replaced
            for config, name in implementations:
                config._attn_implementation_internal = name
            for module, mode in modes:
                module.training = mode


def _configs(network: PreTrainedModel) -> list[PreTrainedConfig]:
    """Return every configuration that names an attention implementation, once."""
    waiting = [one.config for one in network.modules() if isinstance(one, PreTrainedModel)]
    configs: dict[int, PreTrainedConfig] = {}
    while waiting:
        config = waiting.pop()
        if id(config) not in configs:
            configs[id(config)] = config
            parts = (getattr(config, name, None) for name in config.sub_configs)
            waiting += [part for part in parts if part is not None]
    return list(configs.values())
