"""The model the doctor experiments on: own modules on shared weights, and where they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from attnviz.attention import Intervention, Places, intervening, is_linear
from attnviz.attention.recorder import Call
from attnviz.models import Model, twin
from attnviz.types import Kind

__all__ = ["Patient", "Projections"]

Projections = dict[Kind, tuple["Float[Tensor, 'head value_dim out'] | None", ...]]


@dataclass(frozen=True)
class Patient:
    """A model to experiment on.

    Attributes:
        model: whose twin it is.
        network: the twin.
        kinds: kind by `id` of the twin's attention modules, in the order in which they run.
        names: their names per kind, one per layer; fewer where a module is used again (ALBERT).
    """

    model: Model
    network: PreTrainedModel
    kinds: dict[int, Kind]
    names: dict[Kind, tuple[str, ...]]

    @classmethod
    def of(cls, model: Model) -> Patient:
        """A twin of a loaded model."""
        network = twin(model.network)
        kinds = {
            id(network.get_submodule(model.sites.names[module])): kind
            for module, kind in model.sites.kinds.items()
        }
        names = {
            kind: tuple(
                model.sites.names[module]
                for module, found in model.sites.kinds.items()
                if found == kind
            )
            for kind in model.sites.heads
        }
        return cls(model, network, kinds, names)

    def places(self) -> Places:
        """Which layer a call comes from, for one run after another."""
        return Places(self.kinds, {kind: size[0] for kind, size in self.model.sites.heads.items()})

    def run(self, inputs: dict[str, Tensor], **options: Any) -> Any:
        """A forward pass without a cache."""
        if self.model.info.family != "encoder":
            options["use_cache"] = False
        return self.network(**inputs, **options)

    def projections(self) -> Projections:
        """Each head's slice of its layer's output projection, [head, value_dim, out].

        What a head adds to the text's vectors is its output times this. The projection is the
        linear layer that takes in just what the attention gave: no name has to be known. None for
        a layer where there is no such thing (a gate in between, as in some newer models).
        """
        finder = _Finder(self)
        ids = torch.arange(5, device=self.model.network.device)[None] + 4
        inputs = {"input_ids": ids % int(self.network.config.vocab_size)}
        if self.model.info.family == "encoder-decoder":
            inputs["decoder_input_ids"] = inputs["input_ids"][:, :3]
        with torch.no_grad(), intervening(finder), finder.watching():
            self.run(inputs)
        return {
            kind: tuple(finder.found.get((kind, layer)) for layer in range(size[0]))
            for kind, size in self.model.sites.heads.items()
        }


class _Finder(Intervention):
    """Notes what each attention gave, and which linear layer was handed it."""

    def __init__(self, patient: Patient) -> None:
        self.patient = patient
        self.places = patient.places()
        self.waiting: tuple[tuple[Kind, int], Tensor] | None = None
        self.found: dict[tuple[Kind, int], Tensor] = {}

    def output(self, call: Call, output: Tensor) -> Tensor:
        """Remember it until the next linear layer runs."""
        place = self.places.of(call)
        self.waiting = None if place is None else (place, output)
        return output

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look at every linear layer's input."""
        handles = [
            module.register_forward_pre_hook(self._look)
            for module in self.patient.network.modules()
            if is_linear(module)
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _look(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if self.waiting is None or not inputs or not isinstance(inputs[0], Tensor):
            return
        place, output = self.waiting
        went_in = inputs[0]
        heads, dim = output.shape[-2:]
        if went_in.shape[-1] != heads * dim or went_in.numel() != output.numel():
            return
        if not torch.equal(went_in.reshape(-1), output.reshape(-1)):
            return
        self.waiting = None
        # The hook runs for this call as well, and finds nothing waiting.
        basis = torch.eye(heads * dim, device=went_in.device, dtype=went_in.dtype)
        matrix = module(basis) - module(torch.zeros_like(basis[:1]))
        self.found[place] = matrix.float().view(heads, dim, -1)
