"""A second model on the same weights, to hook and patch while others run the first one."""

from __future__ import annotations

import copy

from transformers import PreTrainedModel

from attnviz.models.loading.build_lock import building

__all__ = ["twin"]


def twin(network: PreTrainedModel) -> PreTrainedModel:
    """The same model with its own modules, configuration and hooks, on the same weights in memory.

    A model in a server is shared: a hook on it would see other people's texts.
    """
    tensors = [*network.parameters(), *network.buffers()]
    with building():
        found: PreTrainedModel = copy.deepcopy(network, {id(tensor): tensor for tensor in tensors})
    return found
