"""Second model on shared weights, for experiments with hooks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from attnviz.attention import Added, Additions, Places, body_of, following
from attnviz.models import Model, call_options, twin, vocabulary_size
from attnviz.types import Kind

__all__ = ["HookedModel", "Projections", "head_projections"]

Projections = dict[Kind, tuple["Float[Tensor, 'head value_dim out'] | None", ...]]


@dataclass(frozen=True)
class HookedModel:
    """Model for experiments, with the places of its attention modules.

    Attributes:
        model: the loaded model.
        network: its copy on the same weights.
        kinds: kind by `id` of the twin's attention modules, in the order in which they run.
        names: their names per kind, one per layer; fewer where a module runs several times.
    """

    model: Model
    network: PreTrainedModel
    kinds: dict[int, Kind]
    names: dict[Kind, tuple[str, ...]]

    @classmethod
    def of(cls, model: Model) -> HookedModel:
        """Return a copy of a loaded model on the same weights."""
        network = twin(model.network)
        kinds = {
            id(network.get_submodule(model.sites.names[module])): kind
            for module, kind in model.sites.kinds.items()
        }
        names = {
            kind: tuple(
                model.sites.names[module]
                for module, its_kind in model.sites.kinds.items()
                if its_kind == kind
            )
            for kind in model.sites.heads
        }
        return cls(model, network, kinds, names)

    def places(self) -> Places:
        """Return the `Places` that name the layer of each call, for one run after another."""
        return Places(self.kinds, {kind: size[0] for kind, size in self.model.sites.heads.items()})

    def run(self, inputs: dict[str, Tensor], **options: Any) -> Any:
        """Run a forward pass without a cache; without the head where no head was trained."""
        body = self.network if self.model.predicts else body_of(self.network)
        return body(**inputs, **call_options(self.model, body), **options)

    def projections(self) -> Projections:
        """Return linear maps from head outputs to the residual stream, [head, value_dim, width].

        Each is the head's slice of the output projection times the factors between it and the
        residual stream (a norm, a multiplier, a layer scale), averaged over the positions of a
        short probe. A gate before the projection is left out: it depends on the query. None for a
        layer whose output could not be followed to the stream.
        """
        by_place: dict[tuple[Kind, int], Tensor | None] = {}

        def report(place: tuple[Kind, int], added: Added) -> None:
            by_place[place] = added.effective_projection()

        ids = torch.arange(5, device=self.model.network.device)[None] + 4
        inputs = {"input_ids": ids % vocabulary_size(self.network)}
        if self.model.info.family == "encoder-decoder":
            inputs["decoder_input_ids"] = ids[:, :3] % vocabulary_size(self.network, "target")
        with torch.inference_mode(), following(Additions(self.places(), report)):
            self.run(inputs)
        return {
            kind: tuple(by_place.get((kind, layer)) for layer in range(size[0]))
            for kind, size in self.model.sites.heads.items()
        }


def head_projections(model: Model) -> Projections:
    """Return the linear maps from a head's output to the stream; see `HookedModel.projections`."""
    return HookedModel.of(model).projections()
