"""Second models on the same weights, to hook and patch while the first one runs."""

from __future__ import annotations

import copy

from transformers import PreTrainedModel

from attnviz.models.loading.build_lock import building

__all__ = ["twin"]


def twin(network: PreTrainedModel) -> PreTrainedModel:
    """Return the model with separate modules, configuration and hooks, on the same weights.

    A model in a server is shared: a hook on it would see other people's texts.
    """
    tensors = [*network.parameters(), *network.buffers()]
    with building():
        copied: PreTrainedModel = copy.deepcopy(network, {id(tensor): tensor for tensor in tensors})
    return copied
