"""Vectors that each head adds to the residual stream, followed through the model's own operations.

Between the attention function and the residual stream a model may place an output projection, a
gate, a norm, a multiplier or a layer scale. All of these are linear in the attention's output once
the statistics of norms and the values of gates are held fixed as they are on this input. So what a
layer adds is a sum over heads and a constant,

    a_i = sum_h F_i o_h,i + b_i

with o_h,i the output of head h at position i, F_i the product of all that stands in between, and
b_i the biases, which belong to no head. `Additions` watches the operations of a forward pass and
applies each of them to the heads' parts too: no name of an architecture or module has to be known.
Source: Kobayashi et al. 2021 (norms held fixed), Elhage et al. 2021 (a layer as a sum over heads).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from attnviz.attention.interventions import Places, intervening
from attnviz.attention.recorder import Call
from attnviz.attention.residual.linear_operations import (
    FACTORS,
    KEEPS_ORDER,
    LINEAR,
    NORMS,
    PRODUCTS,
    SUMS,
    base_name,
    factors,
    normed,
    out_of_place,
)
from attnviz.attention.residual.parts import Parts
from attnviz.types import Kind

__all__ = ["Added", "Additions", "following"]

RULES = SUMS | FACTORS | PRODUCTS | NORMS | LINEAR | {"cat"}


@dataclass(frozen=True)
class Added:
    """Vectors that the heads of one layer add to the residual stream, over a batch.

    Attributes:
        parts: of each head, [batch, query, width].
        projection: each head's slice of the output projection; None if there is no such matrix.
        projected: the parts directly behind the output projection.
    """

    parts: tuple[Float[Tensor, "batch query width"], ...]
    projection: Float[Tensor, "head value_dim width"] | None
    projected: tuple[Float[Tensor, "batch query width"], ...]

    def effective_projection(self) -> Float[Tensor, "head value_dim width"] | None:
        """Return the projection times what stands behind it, mean over positions.

        What stands behind is taken as one factor per position and dimension, as for a norm, a gate,
        a multiplier and a layer scale: sum_h c_h r_h / sum_h r_h², with r_h the part of head h
        before and c_h the part behind.
        """
        if self.projection is None or not self.projected:
            return None
        before, behind = torch.stack(self.projected).float(), torch.stack(self.parts).float()
        if before.shape != behind.shape:
            return None
        size = before.square().sum(0).clamp_min(torch.finfo(torch.float32).tiny)
        factor = (before * behind).sum(0) / size  # (B, q, d)
        return self.projection.float() * factor.flatten(0, -2).mean(0)


class Additions(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follow the heads' parts from the attention function to the residual stream.

    Used by `following`. An operation that is neither linear nor a norm ends what is followed, so a
    layer whose parts do not reach the stream is not reported. A factor that is computed from the
    attention's output counts as a statistic if it is one number per position, as in a norm; one per
    dimension (x * sigmoid(x)) is no statistic.

    Args:
        places: kind and layer of a call.
        report: called once per layer, while the model runs, with what its heads add.
    """

    def __init__(self, places: Places, report: Callable[[tuple[Kind, int], Added], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._places = places
        self._report = report
        # By id; the tensor is kept beside its parts: the id of a freed tensor may be reused.
        self._followed: dict[int, tuple[Tensor, Parts]] = {}
        self._statistics: dict[int, Tensor] = {}  # computed from what is followed, not linearly
        self._reached: Parts | None = None
        self._latest: tuple[Kind, int] | None = None

    def output(self, call: Call, output: Tensor) -> Tensor:
        """Follow the output of an attention call; return it unchanged."""
        if self._reached is not None:
            self.finish()
        self._statistics.clear()
        # A layer that calls twice puts both outputs together: the one before is followed on.
        self._followed = {
            number: (tensor, parts)
            for number, (tensor, parts) in self._followed.items()
            if parts.place == self._latest
        }
        place = self._latest = self._places.of(call)
        if place is not None:
            batch, queries, heads, _ = output.shape
            self._followed[id(output)] = output, Parts(place, (batch, queries), heads, output)
        return output

    def finish(self) -> None:
        """Report the layer whose parts are in the stream, and follow it no further."""
        reached, self._reached = self._reached, None
        self._followed.clear()
        self._statistics.clear()
        if reached is not None:
            added = Added(
                reached.by_position(), reached.projection, reached.projected_by_position()
            )
            self._report(reached.place, added)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run an operation, and apply it to the parts of its arguments."""
        kwargs = kwargs or {}
        if not self._followed:
            return func(*args, **kwargs)
        if not any(self._is_in(self._followed, one) for one in args):
            output = func(*args, **kwargs)
            if any(self._is_in(self._statistics, one) for one in args):
                self._keep(output, None)
            return output
        name = base_name(func)
        if name not in RULES and func._can_decompose():  # einsum, for example
            with self:
                output = func.decompose(*args, **kwargs)
            if output is not NotImplemented:
                return output
        parts = self._parts(name, out_of_place(func), args, kwargs)
        output = func(*args, **kwargs)
        self._keep(output, parts)
        return output

    def _is_in(self, known: Mapping[int, object], value: Any) -> bool:
        """Return whether an argument, or one of a list, is a known tensor."""
        if isinstance(value, (list, tuple)):
            return any(self._is_in(known, one) for one in value)
        return isinstance(value, Tensor) and id(value) in known

    def _of(self, value: Any) -> Parts | None:
        entry = self._followed.get(id(value)) if isinstance(value, Tensor) else None
        return None if entry is None else entry[1]

    def _keep(self, output: Any, new: Parts | Sequence[Parts] | None) -> None:
        """Store the parts of an operation's output, or that it is a statistic."""
        if isinstance(output, Tensor):
            outputs: Sequence[Any] = (output,)
        else:
            outputs = output if isinstance(output, (list, tuple)) else ()
        for one in outputs:
            if isinstance(one, Tensor) and self._followed:
                self._followed.pop(id(one), None)  # changed in place
                self._statistics[id(one)] = one
        several = new if isinstance(new, Sequence) else () if new is None else (new,)
        for one, parts in zip(outputs, several, strict=False):
            self._followed[id(one)] = one, parts
            self._statistics.pop(id(one), None)

    def _parts(
        self, name: str, func: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]
    ) -> Parts | Sequence[Parts] | None:
        """Return the parts of an operation's output; None if it has none."""
        if name in SUMS:
            return self._sum(name, args, kwargs)
        parents = [parts for one in args if (parts := self._of(one)) is not None]
        plain = name in KEEPS_ORDER or (name in FACTORS and _is_scalar(args[1]))
        if any(parts.in_stream for parts in parents) and not plain:
            self.finish()  # the next norm or layer reads the stream
            return None
        first = self._of(args[0])
        if name == "cat":
            return self._cat(func, args, kwargs)
        if name in FACTORS:
            return self._scaled(name, func, args)
        if name in PRODUCTS:
            left, right = factors(name, args)
            return self._product(left, right)
        if first is None:
            return None
        if name in NORMS:
            first = first.apart()
            return first.replaced(normed(name, args[0], args[1:], first.each))
        if name in KEEPS_ORDER:
            return first.mapped(lambda part: func(part, *args[1:], **kwargs))
        if name in LINEAR:
            return first.apart().split(lambda part: func(part, *args[1:], **kwargs))
        return None

    def _sum(self, name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> Parts | None:
        """Follow a sum or difference; one with a tensor of the same shape reaches the stream."""
        one, other = self._of(args[0]), self._of(args[1])
        factor = kwargs.get("alpha", args[2] if len(args) > 2 else 1)
        factor = -factor if name == "sub" else factor
        if other is not None and factor != 1:
            other = other.mapped(lambda part: part * factor)
        if one is not None and other is not None:
            return one.plus(other)
        parts = other if one is None else one
        if parts is None:
            return None
        whole, rest = (args[1], args[0]) if one is None else (args[0], args[1])
        if not isinstance(rest, Tensor) or isinstance(rest, nn.Parameter):
            return parts
        if rest.shape == whole.shape and rest.numel() > rest.shape[-1]:
            self._reached = parts.joined()
            return self._reached
        # Broadcasting to a larger shape would need parts of that shape.
        return parts if _fits(rest, whole) else None

    def _scaled(self, name: str, func: Callable[..., Any], args: Sequence[Any]) -> Parts | None:
        """Follow a product or quotient with numbers that have no parts."""
        one, other = self._of(args[0]), self._of(args[1])
        if one is not None and other is not None:
            return None  # a square, as a norm computes it
        if one is None:
            if name == "div" or other is None:
                return None
            parts, whole, rest = other, args[1], args[0]
        else:
            parts, whole, rest = one, args[0], args[1]
        if self._is_in(self._statistics, rest) and rest.shape[-1] != 1:
            return None
        if not _fits(rest, whole):
            parts = parts.apart()
        scaled = parts.mapped(
            lambda part: func(part, *args[1:]) if one is not None else rest * part
        )
        if scaled.in_stream:
            self._reached = scaled
        return scaled

    def _product(self, left: Any, right: Any) -> Parts | None:
        """Follow a product with a matrix; of the output's columns it is the output projection."""
        parts, other = self._of(left), self._of(right)
        if parts is None:
            if other is None:
                return None
            return other.apart().mapped(lambda part: torch.matmul(left, part))
        if other is not None:
            return None
        if right.dim() == 2 and left.shape[-1] == right.shape[0]:
            return parts.projected_by(right)
        return parts.apart().mapped(lambda part: part @ right)

    def _cat(
        self, func: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]
    ) -> Parts | None:
        """Follow tensors that are put together; those without parts add zeros."""
        followed = [self._of(one) for one in args[0]]
        known = [parts.apart() for parts in followed if parts is not None]
        if any(parts.in_stream or parts.place != known[0].place for parts in known):
            return None
        each = []
        for head in range(known[0].heads):
            pieces = [
                torch.zeros_like(one) if parts is None else parts.apart().each[head]
                for one, parts in zip(args[0], followed, strict=True)
            ]
            each.append(func(pieces, *args[1:], **kwargs))
        return known[0].replaced(each)


def _fits(factor: Any, whole: Tensor) -> bool:
    """Return whether a product or sum with a factor has the shape of the whole."""
    if not isinstance(factor, Tensor):
        return True
    sizes = zip(reversed(factor.shape), reversed(whole.shape), strict=False)
    return factor.dim() <= whole.dim() and all(one in (1, other) for one, other in sizes)


def _is_scalar(value: Any) -> bool:
    return not isinstance(value, Tensor) or value.numel() == 1


@contextmanager
def following(additions: Additions) -> Iterator[Additions]:
    """Follow the heads' parts in the forward passes of this block, in this thread alone."""
    with intervening(additions), additions:
        yield additions
    additions.finish()
