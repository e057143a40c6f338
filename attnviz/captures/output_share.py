"""Lengths and directions of what heads add to the residual stream, measured while a model reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from attnviz.attention import Added, Additions, AttentionStack, body_of, following
from attnviz.captures.forward_pass import model_inputs
from attnviz.metrics.registry import mean_over_rows
from attnviz.models import Encoded, Model, call_options
from attnviz.types import Kind

__all__ = ["AddedCosines", "AddedLengths", "output_shares", "residual_norms"]


class _Watch:
    """Receives what each layer's heads add in one forward pass; `additions` is to be followed."""

    def __init__(self, model: Model) -> None:
        self.additions = Additions(model.sites.places(), self._receive_one_stream)

    def _receive_one_stream(self, place: tuple[Kind, int], added: Added) -> None:
        """Measure one layer, unless the model has several residual streams side by side.

        Hyper-connections and AltUp keep several vectors per position: there is no one vector to
        which a head adds, and its measures stay unknown.
        """
        if all(part.dim() == 3 for part in added.parts):  # batch, query, width
            self.receive(place, added)

    def receive(self, place: tuple[Kind, int], added: Added) -> None:
        """Measure one layer."""
        raise NotImplementedError


class AddedLengths(_Watch):
    """Length of what every head adds, per text and position."""

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self._norms: dict[tuple[Kind, int], Float[np.ndarray, "text query head"]] = {}

    def receive(self, place: tuple[Kind, int], added: Added) -> None:
        """Measure one layer."""
        lengths = [part.float().norm(dim=-1) for part in added.parts]
        self._norms[place] = torch.stack(lengths, -1).cpu().numpy()

    def queries(self, kind: Kind) -> int:
        """Return the number of positions that were measured; 0 if no layer was."""
        return next((one.shape[1] for place, one in self._norms.items() if place[0] == kind), 0)

    def share(
        self,
        kind: Kind,
        text: int,
        shape: tuple[int, ...],
        stream: Float[np.ndarray, "layer text position"] | None,
    ) -> Float[np.ndarray, "layer head"]:
        """Return the mean over positions of |what the head adds| / |residual stream|.

        The residual stream is taken at the layer's input. What a head adds is taken where it is
        added, behind the output projection and whatever follows it, with the statistics of norms
        held fixed and without biases, which belong to no head. NaN where either is unknown.

        Args:
            kind: which attention.
            text: row of the batch.
            shape: numbers of layers, heads and queries of the text.
            stream: lengths of the residual stream, from `residual_norms`.
        """
        layers, heads, queries = shape[:3]
        shares = np.full((layers, heads), np.nan, np.float32)
        if stream is None:
            return shares
        for layer in range(layers):
            norms = self._norms.get((kind, layer))
            if norms is not None:
                length = stream[layer, text, :queries, None]
                known = (length > 0) & np.isfinite(length)
                ratio = norms[text, :queries] / np.where(known, length, np.nan)
                shares[layer] = mean_over_rows(ratio.T)
        return shares

    def not_finite(
        self, kind: Kind, text: int, stack: AttentionStack
    ) -> Bool[np.ndarray, "layer head"]:
        """Return a mask of the heads that add NaN or infinity, or whose attention holds any."""
        layers, _, queries, _ = stack.shape
        mask = stack.not_finite.copy()
        for layer in range(layers):
            norms = self._norms.get((kind, layer))
            if norms is not None:
                mask[layer] |= ~np.isfinite(norms[text, :queries]).all(0)
        return mask


class AddedCosines(_Watch):
    """Cosine between what the heads of a layer add, per text."""

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self._tables: dict[tuple[Kind, int], Float[np.ndarray, "text head head"]] = {}

    def receive(self, place: tuple[Kind, int], added: Added) -> None:
        """Measure one layer."""
        units = torch.stack([_unit(part) for part in added.parts], 2)  # (B, q, h, d)
        tables = torch.einsum("bqhd,bqgd->bhg", units, units) / units.shape[1]
        self._tables[place] = tables.cpu().numpy()

    def table(
        self, kind: Kind, text: int, layers: int, heads: int
    ) -> Float[np.ndarray, "layer head head"]:
        """Return the mean over positions of the cosine; NaN where it is unknown, 0 with a dead one.

        A vector of no length has no direction: its cosine with anything counts as 0.
        """
        empty = np.full((heads, heads), np.nan, np.float32)
        return np.stack(
            [
                self._tables[kind, layer][text] if (kind, layer) in self._tables else empty
                for layer in range(layers)
            ]
        )


def _unit(vectors: Float[Tensor, "*place width"]) -> Float[Tensor, "*place width"]:
    return torch.nn.functional.normalize(vectors.float(), dim=-1)


def residual_norms(
    model: Model, texts: Sequence[Encoded]
) -> dict[Kind, Float[np.ndarray, "layer text position"]]:
    """Return the length of the residual stream at the input of each layer that has attention.

    Kinds for which the library does not return it are left out, and models that keep several
    vectors per position (hyper-connections, AltUp).
    """
    return _stream_lengths(model, _hidden_states(model, texts))


def _hidden_states(model: Model, texts: Sequence[Encoded]) -> Any:
    """Return what the model without its language head returns on texts."""
    body = body_of(model.network)
    options = call_options(model, body) | {"output_hidden_states": True}
    with torch.inference_mode():
        return body(**model_inputs(model, texts), **options)


def _stream_lengths(
    model: Model, output: Any
) -> dict[Kind, Float[np.ndarray, "layer text position"]]:
    lengths: dict[Kind, Float[np.ndarray, "layer text position"]] = {}
    for kind, numbers in model.info.layers.items():
        name = {"encoder": "encoder_", "decoder": "decoder_", "cross": "decoder_"}.get(kind, "")
        states = getattr(output, f"{name}hidden_states", None)
        if states is None or len(states) <= max(numbers):
            continue
        if all(states[number].dim() == 3 for number in numbers):  # text, position, width
            norms = [states[number].float().norm(dim=-1).cpu().numpy() for number in numbers]
            lengths[kind] = np.stack(norms)
    return lengths


def output_shares(model: Model, encoded: Encoded) -> dict[Kind, Float[np.ndarray, "layer head"]]:
    """Return the length of what each head adds on one input, as a share of the residual stream.

    The mean over positions, as `AddedLengths.share` defines it; NaN where it is unknown. Takes one
    forward pass.
    """
    added = AddedLengths(model)
    with following(added.additions):
        output = _hidden_states(model, [encoded])
    stream = _stream_lengths(model, output)
    return {
        kind: added.share(kind, 0, (*size, added.queries(kind)), stream.get(kind))
        for kind, size in model.info.heads.items()
    }
