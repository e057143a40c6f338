"""Size of a model, estimated before it is built: layers, parameters and memory.

A configuration of a few lines can describe a million layers. Its numbers are compared with bounds
first, then the model is built without memory (on torch's meta device), and what it needs is
compared with what the machine has free.
"""

from __future__ import annotations

import copy
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch.nn.modules import module as torch_module
from transformers import PreTrainedConfig, PreTrainedModel

from attnviz.characters import shortened
from attnviz.errors import ModelError
from attnviz.models.loading.build_lock import building
from attnviz.models.loading.free_memory import free_bytes
from attnviz.written_numbers import size

__all__ = ["check_configuration", "check_files", "check_model"]

BOUNDS = (
    (re.compile(r"(num|n)_\w*layers?|\w*layers|n_layer"), 512, "layers"),
    (re.compile(r"\w*num_\w*heads\w*|n_heads?|\w+_attention_heads"), 1 << 16, "heads"),
    (re.compile(r"\w*image_size"), 8192, "pixels a side"),
    (re.compile(r"max_source_positions"), 1 << 16, "positions of sound"),
    (re.compile(r"num_mel_bins|num_channels"), 1024, "channels"),
)
"""Settings by name, the largest value accepted, and its unit: several times those of any model."""

POSITIONS = re.compile(r"max_\w*positions?\w*|n_positions|n_ctx")
WIDTHS = re.compile(r"hidden_size|d_model|n_embd|dim|emb_dim")
TABLE = 1 << 28
"""Most entries of a table of positions. Some classes fill theirs number by number in Python."""

PATCHES = 1 << 14
MODULES = 100_000
"""Most modules of a model; the largest have some ten thousand."""


def check_configuration(config: PreTrainedConfig, name: str) -> None:
    """Refuse a configuration with numbers that no model has, before anything is built.

    Raises:
        ModelError: too many layers, heads, pixels or positions, with the figure and the bound.
    """
    for part in _parts(config.to_dict()):
        for key, value in part.items():
            numbers = value if isinstance(value, (list, tuple)) else [value]
            for number in numbers:
                if isinstance(number, int) and not isinstance(number, bool):
                    _check_bound(key, number, name)
        _check_patches(part, name)
    for one in _configs(config):
        _check_positions(one, name)


def _parts(settings: object) -> Iterator[dict[str, Any]]:
    """Yield settings and everything nested in them."""
    waiting = [settings]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            yield one
            waiting += one.values()
        elif isinstance(one, (list, tuple)):
            waiting += one


def _check_bound(key: str, number: int, name: str) -> None:
    for pattern, most, unit in BOUNDS:
        if number > most and pattern.fullmatch(key):
            raise ModelError(
                f"the configuration of '{name}' describes {number:,} {unit} ('{shortened(key)}'); "
                f"attnviz loads models with up to {most:,}"
            )


def _check_patches(part: dict[str, Any], name: str) -> None:
    image, patch = part.get("image_size"), part.get("patch_size")
    if isinstance(image, int) and isinstance(patch, int) and patch > 0:
        patches = (image // patch) ** 2
        if patches > PATCHES:
            raise ModelError(
                f"the configuration of '{name}' cuts pictures into {patches:,} patches; attnviz "
                f"loads models with up to {PATCHES:,}"
            )


def _configs(config: PreTrainedConfig) -> Iterator[PreTrainedConfig]:
    yield config
    for value in vars(config).values():
        if isinstance(value, PreTrainedConfig):
            yield from _configs(value)


def _check_positions(config: PreTrainedConfig, name: str) -> None:
    """Bound the table of positions, unless the class rotates queries and keys and has none."""
    kinds = type(config).__mro__
    if any("rope_parameters" in vars(kind).get("__annotations__", {}) for kind in kinds):
        return
    settings = [(key, one) for key, one in vars(config).items() if isinstance(one, int)]
    positions = max([one for key, one in settings if POSITIONS.fullmatch(key)], default=0)
    width = max([one for key, one in settings if WIDTHS.fullmatch(key)], default=1)
    if positions * width > TABLE:
        raise ModelError(
            f"the configuration of '{name}' describes {positions:,} positions of {width:,} numbers "
            f"each; attnviz loads models with up to {TABLE:,} numbers in such a table"
        )


def check_files(files: Sequence[Path], dtype: torch.dtype, device: torch.device, name: str) -> None:
    """Refuse weights that do not fit into memory; only the files' headers are read.

    Raises:
        ModelError: with the number of parameters, the memory they need and the memory that is free.
    """
    parameters = 0
    for path in files:
        with safe_open(path, framework="pt") as opened:
            for key in opened.keys():  # noqa: SIM118 - it is no dict
                count = 1
                for length in opened.get_slice(key).get_shape():
                    count *= length
                parameters += count
    _check_memory(parameters, parameters * dtype.itemsize, None, dtype, device, name)


def check_model(
    build: Callable[[PreTrainedConfig], PreTrainedModel],
    config: PreTrainedConfig,
    dtype: torch.dtype,
    device: torch.device,
    name: str,
) -> None:
    """Refuse a model that does not fit into memory; it is built without any.

    Raises:
        ModelError: too many modules, or more memory than is free, with the figures.
        LoadCancelled: the load is no longer wanted.

    Args:
        build: the class of the model, or what makes a model of a configuration.
        config: of the model.
        dtype: of its weights.
        device: where it is to run.
        name: what messages call it.
    """
    with building(), _bounded_modules(name), torch.device("meta"):
        built = build(copy.deepcopy(config))
    tensors = [*built.parameters(), *built.buffers()]
    parameters = sum(one.numel() for one in built.parameters())
    needed = sum(one.numel() for one in tensors) * dtype.itemsize
    layers = getattr(config.get_text_config(), "num_hidden_layers", None)
    _check_memory(parameters, needed, layers, dtype, device, name)


@contextmanager
def _bounded_modules(name: str) -> Iterator[None]:
    """End a build in this thread that adds more than MODULES modules."""
    added, thread = 0, threading.get_ident()

    def count(*unused: Any) -> None:
        nonlocal added
        if threading.get_ident() == thread:
            added += 1
            if added > MODULES:
                raise ModelError(
                    f"the configuration of '{name}' describes more than {MODULES:,} modules, which "
                    "is more than any model has; correct its config.json"
                )

    handle = torch_module.register_module_module_registration_hook(count)
    try:
        yield
    finally:
        handle.remove()


def _check_memory(
    parameters: int,
    needed: int,
    layers: int | None,
    dtype: torch.dtype,
    device: torch.device,
    name: str,
) -> None:
    free = free_bytes(device)
    if free is None or needed <= free:
        return
    precision = str(dtype).removeprefix("torch.")
    layered = f" in {layers:,} layers" if isinstance(layers, int) else ""
    raise ModelError(
        f"'{name}' has {parameters:,} parameters{layered} and needs {size(needed)} in "
        f"{precision}; {device} has {size(free)} free. Choose a smaller model"
        + (", or dtype='bfloat16'" if dtype.itemsize > 2 else "")
    )
