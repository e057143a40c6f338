"""Device and data type that a model computes on."""

from __future__ import annotations

import torch
from transformers import PreTrainedConfig

from attnviz.errors import ModelError

__all__ = ["best_device", "compute_dtype", "usable_device"]


def best_device() -> str:
    """Return the fastest device of this machine: CUDA, then Apple's, then the processor."""
    if torch.cuda.is_available():
        return "cuda"
    if torch.backends.mps.is_available():
        return "mps"
    return "cpu"


def usable_device(device: str) -> torch.device:
    """Return the requested device after a first tensor has been put there."""
    try:
        chosen = torch.device(best_device() if device == "auto" else device)
        torch.zeros(1, device=chosen).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ModelError(
            f"this machine has no device '{device}' that could compute; use 'auto' or 'cpu'"
        ) from error
    return chosen


def compute_dtype(dtype: str, device: torch.device, config: PreTrainedConfig) -> torch.dtype:
    """Return the data type to compute in: float32 on a processor, as stored on a GPU."""
    if dtype == "auto":
        stored = getattr(config, "dtype", None)
        if device.type == "cpu" or not isinstance(stored, torch.dtype):
            return torch.float32
        return stored
    named = getattr(torch, dtype, None)
    if not isinstance(named, torch.dtype) or not named.is_floating_point:
        raise ModelError(
            f"dtype {dtype!r} is not a float type; use 'auto', 'float32', 'bfloat16' or 'float16'"
        )
    return named
