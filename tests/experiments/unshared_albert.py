"""ALBERT without sharing: the library's own model with a copy of the weights for each layer."""

from __future__ import annotations

import copy
import re
from pathlib import Path

from transformers import AlbertForMaskedLM, PreTrainedModel

from tests.zoo import Pair, make_pair

__all__ = ["SIZES", "pair_of_sizes", "unshared"]

SIZES: dict[str, dict[str, int]] = {
    "one group": {"num_hidden_layers": 3},
    "two groups": {"num_hidden_layers": 5, "num_hidden_groups": 2},
    "two inner layers": {"num_hidden_layers": 2, "num_hidden_groups": 2, "inner_group_num": 2},
    "two of both": {"num_hidden_layers": 3, "num_hidden_groups": 2, "inner_group_num": 2},
}


def unshared(network: PreTrainedModel) -> PreTrainedModel:
    """Return an eager ALBERT with as many groups of one layer as the given one runs layers.

    Run number r is of group floor(r * groups / runs), and runs the inner layers of it in turn. Each
    attention has the number of its layer as `layer_idx`.
    """
    config = copy.deepcopy(network.config)
    runs, groups, inner = (
        config.num_hidden_layers, config.num_hidden_groups, config.inner_group_num
    )  # fmt: skip
    config.num_hidden_layers = config.num_hidden_groups = runs * inner
    config.inner_group_num = 1
    config._attn_implementation = "eager"
    place = re.compile(r"albert_layer_groups\.(\d+)\.albert_layers\.(\d+)\.")
    state = {}
    for name, weights in network.state_dict().items():
        names = [name]
        if match := place.search(name):
            group, number = int(match[1]), int(match[2])
            layers = (run * inner + number for run in range(runs) if run * groups // runs == group)
            names = [
                place.sub(f"albert_layer_groups.{layer}.albert_layers.0.", name) for layer in layers
            ]
        state |= {one: weights.clone() for one in names}
    separate = AlbertForMaskedLM(config).eval()
    separate.load_state_dict(state)
    for layer, group in enumerate(separate.albert.encoder.albert_layer_groups):
        group.albert_layers[0].attention.layer_idx = layer
    return separate


def pair_of_sizes(sizes: str, folder: Path) -> Pair:
    """Return an ALBERT as attnviz loads it, and the same model without sharing beside it."""
    pair = make_pair("albert", folder, **SIZES[sizes])
    return Pair(pair.model, unshared(pair.eager), folder)
