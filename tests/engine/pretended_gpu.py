"""Simulated GPU: tensors on the CPU that report a CUDA device, and a log of their operations.

Checks without a GPU that no operation mixes devices, that numbers are equal, which operations would
wait for a GPU, and that the arguments of the GPU-only attention kernel are valid. It does not test
speed, memory or the kernel itself.
"""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

import attnviz
from attnviz import Model
from attnviz.attention.masks.lazy_mask import LazyMask

__all__ = ["Pretended", "Watch", "on_pretended_gpu", "pretended", "pretending", "real"]

GPU = torch.device("cuda", 0)
ENGINE = str(Path(attnviz.__file__).parent) + os.sep  # waits are recorded for this package
ops = torch.ops.aten

WAITING = (
    # These read a result on the host, so they wait for all operations before.
    *(ops._local_scalar_dense, ops.is_nonzero, ops.item, ops.equal, ops.nonzero),
    *(ops.masked_select, ops._unique2, ops.unique_dim, ops.unique_consecutive),
)
READING = (Tensor.tolist, Tensor.numpy)
ABOUT = (
    "shape",
    "dtype",
    "ndim",
    "device",
    "is_cuda",
    "is_cpu",
    "is_meta",
    "is_mps",
    "is_xpu",
    "is_sparse",
    "layout",
)
LSE_ROWS = 32  # the kernel pads its log-sum-exp to a multiple of this


class Pretended(Tensor):
    """Tensor that reports a CUDA device; its numbers are on the CPU."""

    held: Tensor

    @staticmethod
    def __new__(cls: type[Pretended], held: Tensor) -> Pretended:
        """Return a tensor of the same shape, strides and storage."""
        tensor: Pretended = Tensor._make_wrapper_subclass(
            cls, held.shape, strides=held.stride(), dtype=held.dtype, device=GPU
        )
        tensor.held = held
        return tensor

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return f"Pretended({self.held!r})"

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the function; operations are recorded only within `pretending`."""
        return run(func, args, kwargs or {}, Watch())

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Raise: operations run on the CPU tensor instead."""
        raise AssertionError(f"{func} has reached a tensor without numbers")


@dataclass
class Watch:
    """Record of waits: the operation, and the line of attnviz that called it."""

    waits: list[tuple[str, str]] = field(default_factory=list)

    def wait(self, what: Any) -> None:
        """Record a wait."""
        frame = sys._getframe()
        while frame.f_back is not None and not frame.f_code.co_filename.startswith(ENGINE):
            frame = frame.f_back
        file = frame.f_code.co_filename.rsplit("/", 1)[-1]
        place = f"{file}:{frame.f_lineno} {frame.f_code.co_name}"
        self.waits.append((getattr(what, "__name__", str(what)), place))


class _FunctionLog(TorchFunctionMode):
    """Mode that receives every torch function that Python calls."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self.watch = watch

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(func, args, kwargs or {}, self.watch)


class _OperationLog(TorchDispatchMode):
    """Mode that receives the operations of a function, and records waits."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self.watch = watch

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = tensors(args)
        if func.overloadpacket in WAITING or _picks_by_flags(func, given):
            self.watch.wait(func)
        if func is ops.repeat_interleave.Tensor and kwargs.get("output_size") is None:
            self.watch.wait(func)
        return func(*args, **kwargs)


def _picks_by_flags(func: Any, given: list[Tensor]) -> bool:
    """Return True for indexing with a mask: the size of the result depends on its numbers."""
    picking = func.overloadpacket in (ops.index, ops.index_put, ops.index_put_)
    return picking and any(one.dtype == torch.bool for one in given[1:])


@contextmanager
def pretending() -> Iterator[Watch]:
    """Allow tensors on the simulated GPU and record waits."""
    watch = Watch()
    kernel = ops._scaled_dot_product_efficient_attention
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ops, kernel.__name__, _efficient_attention)
        patch.setattr(torch.cuda, "get_device_capability", lambda device=None: (7, 0))
        with _FunctionLog(watch):
            yield watch


SINGLE = (Pretended, Tensor, torch.nn.Parameter, int, float, bool, str, type(None), torch.dtype)
"""Kinds that hold no other value."""


def mapped(change: Callable[[Any], Any], given: Any) -> Any:
    """Return what `tree_map` does, sooner for the tuples, lists and dicts of an operation."""
    kind = type(given)
    if kind in SINGLE:
        return change(given)
    if kind is tuple or kind is list:
        return kind([mapped(change, one) for one in given])
    if kind is dict:
        return {key: mapped(change, one) for key, one in given.items()}
    return tree_map(change, given)


def tensors(given: Any) -> list[Tensor]:
    """Return all tensors among the arguments of an operation."""
    listed: list[Tensor] = []

    def put(one: Any) -> None:
        if isinstance(one, Tensor):
            listed.append(one)

    mapped(put, given)
    return listed


def pretended(tensor: Tensor) -> Tensor:
    """Return the tensor on the simulated GPU."""
    return tensor if isinstance(tensor, Pretended) else Pretended(tensor.detach())


def real(tensor: Tensor) -> Tensor:
    """Return the CPU tensor of a simulated one."""
    return tensor.held if isinstance(tensor, Pretended) else tensor


def on_pretended_gpu(model: Model) -> Model:
    """Return a copy of the model with its weights on the simulated GPU."""
    network = copy.deepcopy(model.network)
    for module in network.modules():
        for name, weight in list(module._parameters.items()):
            if weight is not None:
                module._parameters[name] = pretended(weight)
        for name, buffer in list(module._buffers.items()):
            if buffer is not None:
                module._buffers[name] = pretended(buffer)
    twins = dict(zip(map(id, model.network.modules()), network.modules(), strict=True))
    sites = replace(
        model.sites,
        kinds={id(twins[key]): kind for key, kind in model.sites.kinds.items()},
        names={id(twins[key]): name for key, name in model.sites.names.items()},
        by_blocks=set(),
    )
    return replace(model, network=network, sites=sites, original=network)


def run(func: Any, args: Any, kwargs: dict[str, Any], watch: Watch) -> Any:
    """Run an operation as a GPU would, and return its result."""
    name = getattr(getattr(func, "__self__", None), "__name__", "")
    if func.__name__ == "__get__" and name in ABOUT:
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **kwargs)
    args, kwargs = mapped(partial(_without_lazy_masks, watch=watch), (args, kwargs))
    given = tensors((args, kwargs))
    here = any(isinstance(one, Pretended) for one in given)
    args, kwargs, requested = _without_device(func, args, kwargs)
    there = here if requested is None else requested.type == "cuda"
    if func in READING or func is Tensor.cpu:
        there = False
        assert func is not Tensor.numpy or not here, "numpy() of a tensor on a GPU"
    if _moves(func, given, here, there):
        watch.wait(func)  # copies between devices wait, unless memory is pinned
    wrappers = {id(one.held): one for one in given if isinstance(one, Pretended)}
    args, kwargs = mapped(_unwrapped, (args, kwargs))
    if func is torch.histc:  # waits for integers on a GPU, not on a CPU
        args = (args[0].float(), *args[1:])
    with ExitStack() as stack:
        if here:
            stack.enter_context(_OperationLog(watch))
        result = func(*args, **kwargs)

    def wrapped(one: Any) -> Any:
        if not isinstance(one, Tensor) or isinstance(one, Pretended):
            return one
        known = wrappers.get(id(one))  # an operation in place returns its input
        if known is not None and there:
            assert known.shape == one.shape, f"{func} changes a shape in place"
            return known
        return Pretended(one) if there else one

    return mapped(wrapped, result)


MAKING = (torch.tensor, torch.as_tensor, torch.from_numpy)


def _moves(func: Any, given: list[Tensor], here: bool, there: bool) -> bool:
    """Return True if an operation copies between devices; few operations may."""
    both_devices = here and any(not isinstance(one, Pretended) and one.dim() for one in given)
    if both_devices:
        # Indexing a GPU tensor with a CPU index is allowed.
        indexing = func in (Tensor.__getitem__, Tensor.__setitem__)
        assert func is Tensor.copy_ or (indexing and isinstance(given[0], Pretended)), (
            f"{func} mixes devices"
        )
        return True
    return here != there and (here or func in MAKING or func is Tensor.to)


def _without_device(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any], torch.device | None]:
    """Return the arguments for the CPU, and the device of the call."""
    kwargs = dict(kwargs)
    requested = kwargs.get("device")
    if func is Tensor.to:
        rest: list[Any] = []
        for one in args[1:]:
            if isinstance(one, str | torch.device):
                requested = one
            elif isinstance(one, Tensor):
                requested = one.device
                rest.append(one.dtype)
            else:
                rest.append(one)
        kwargs.pop("device", None)
        args = (args[0], "cpu", *rest)
    elif requested is not None:
        kwargs["device"] = "cpu"
    return args, kwargs, None if requested is None else torch.device(requested)


def _without_lazy_masks(one: Any, watch: Watch) -> Any:
    """Replace lazy masks by their flags."""
    if not isinstance(one, LazyMask):
        return one
    with _FunctionLog(watch):
        return one.materialize()


def _unwrapped(one: Any) -> Any:
    return one.held if isinstance(one, Pretended) else one


def _efficient_attention(*args: Any, **kwargs: Any) -> Any:
    """Compute the fused attention that exists on a GPU only."""
    args, kwargs = mapped(_unwrapped, (args, kwargs))
    return tree_map(pretended, efficient_attention(*args, **kwargs))


def efficient_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None,
    with_lse: bool,
    dropout: float = 0.0,
    causal: bool = False,
    *,
    scale: float | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Check the arguments as the GPU kernel does; return its results."""
    whole = 16 // query.element_size()
    for tensor in (query, key, value):
        assert tensor.dim() == 4
        assert tensor.stride(-1) == 1
        assert tensor.shape[-1] % whole == 0, "the kernel reads vectors of whole 16 bytes"
    assert query.dtype == key.dtype == value.dtype
    assert query.shape[1] == key.shape[1] == value.shape[1]
    assert query.shape[-1] == key.shape[-1]
    assert scale is not None
    assert not dropout
    rows, keys = query.shape[2], key.shape[2]
    scores = (query @ key.transpose(2, 3)).float() * scale
    if bias is not None:
        assert bias.shape == scores.shape, "the kernel does not broadcast a bias"
        assert bias.dtype == query.dtype
        assert bias.stride(-1) == 1
        assert all(bias.stride(axis) % whole == 0 for axis in range(3) if bias.shape[axis] > 1), (
            "rows of a bias begin at whole 16 bytes"
        )
        scores = scores + bias
    if causal:
        hidden = torch.ones(rows, keys, dtype=torch.bool).triu(1)
        scores = scores.masked_fill(hidden, -torch.inf)
    output = (scores.softmax(-1).to(value.dtype) @ value).transpose(1, 2).contiguous()
    lse = scores.new_full((*scores.shape[:2], -(-rows // LSE_ROWS) * LSE_ROWS), torch.inf)
    lse[..., :rows] = scores.logsumexp(-1)
    state = torch.zeros((), dtype=torch.long)
    return output.transpose(1, 2), lse if with_lse else lse[..., :0], state, state
