"""Views of models that run one module for several layers: a separate module per layer."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping
from typing import Any

from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from attnviz.attention.sites import Sites

__all__ = ["layers_share_weights", "with_separate_layers"]

ALBERT = ("transformers.models.albert.modeling_albert", "AlbertTransformer")
"""Module and name of the class whose groups of layers run several times. Its subclasses may run
them in another order, and are left as they are."""


def with_separate_layers(network: PreTrainedModel) -> PreTrainedModel:
    """Return a view of a model in which each layer has a separate module, on the same weights.

    A hook on a module that several layers run cannot tell which of them is running. In the view it
    can. Two kinds of models are taken apart: ALBERT, which runs groups of layers several times,
    and models that hold one block in several places, as in `ModuleList([block] * 6)`. Any other
    model is returned as it is.

    The view computes what the model computes. It has the same parameters and buffers, also after
    `model.to(device)`; its modules, configuration and hooks are separate.
    """
    encoders = [name for name, module in network.named_modules() if _runs_groups_again(module)]
    again = _blocks_held_again(network)
    if not encoders and not again:
        return network
    kept = _weights(network)
    view: PreTrainedModel = copy.deepcopy(network, dict(kept))
    kept |= _configurations(view)
    for name in encoders:
        _unroll(view.get_submodule(name), kept)
    for name in again:
        parent, _, last = name.rpartition(".")
        holder = view.get_submodule(parent)
        holder._modules[last] = copy.deepcopy(holder._modules[last], dict(kept))
    return view


def layers_share_weights(network: PreTrainedModel, sites: Sites) -> bool:
    """Return whether several layers of attention have the same weights."""
    if sites.places().shared:
        return True
    owners = Counter(
        id(weights)
        for name in sites.names.values()
        for weights in network.get_submodule(name).parameters()
    )
    return any(count > 1 for count in owners.values())


def _runs_groups_again(module: nn.Module) -> bool:
    """Return whether a module is ALBERT's encoder, with a group of several layers or runs."""
    if (type(module).__module__, type(module).__name__) != ALBERT:
        return False
    config: Any = module.config
    runs_again: bool = config.num_hidden_layers > config.num_hidden_groups
    return runs_again or config.inner_group_num > 1


def _blocks_held_again(network: nn.Module) -> list[str]:
    """Return the places, by name, that hold a block which an earlier place holds too.

    A block is a module with modules inside that has parameters. Embeddings and heads that are tied
    to each other, activations and dropout are none.
    """
    seen: Counter[int] = Counter()
    names: list[str] = []
    for name, module in network.named_modules(remove_duplicate=False):
        if any(name.startswith(f"{outer}.") for outer in names[-1:]):
            continue  # it is copied together with the block around it
        if not list(module.children()) or next(module.parameters(), None) is None:
            continue
        seen[id(module)] += 1
        if seen[id(module)] > 1:
            names.append(name)
    return names


def _weights(network: nn.Module) -> dict[int, Any]:
    """Return by `id` what a deep copy is to share: parameters, buffers, and the tables of them."""
    modules = list(network.modules())
    shared: list[Any] = [*network.parameters(), *network.buffers()]
    shared += [table for one in modules for table in (one._parameters, one._buffers)]
    return {id(one): one for one in shared}


def _configurations(network: nn.Module) -> Mapping[int, Any]:
    """Return by `id` the configurations of all modules."""
    values = (value for module in network.modules() for value in vars(module).values())
    return {id(value): value for value in values if isinstance(value, PreTrainedConfig)}


def _unroll(encoder: Any, kept: Mapping[int, Any]) -> None:
    """Give ALBERT's encoder a group of one layer for each layer that it runs.

    The encoder divides its runs evenly among its groups; with as many groups as runs, each group
    runs once.
    """
    config = encoder.config
    groups, runs = encoder.albert_layer_groups, config.num_hidden_layers
    unrolled = []
    for run in range(runs):
        group = groups[int(run / (runs / config.num_hidden_groups))]
        for inner in range(len(group.albert_layers)):
            one = copy.deepcopy(group, dict(kept))
            one.albert_layers = one.albert_layers[inner : inner + 1]
            unrolled.append(one)
    encoder.albert_layer_groups = nn.ModuleList(unrolled)
    encoder.config = copy.deepcopy(config)
    encoder.config.num_hidden_layers = encoder.config.num_hidden_groups = len(unrolled)
