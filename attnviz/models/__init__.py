"""Models: the shipped ones, and any other of their kind."""

from attnviz.models.building import cancellable, check_wanted
from attnviz.models.catalogue import CLASSROOM, Shipped, shipped
from attnviz.models.downloads import Download, download, needed_download
from attnviz.models.features import describe_features, feature_tokens
from attnviz.models.inputs import (
    Encoded,
    check_encoded,
    check_reads,
    encode_inputs,
    model_inputs,
    source_inputs,
)
from attnviz.models.loading import Model, best_device, instrument, load
from attnviz.models.outputs import read_logits, with_target, wrong_sizes_explained
from attnviz.models.texts import closed, encode, target_ids
from attnviz.models.tokenizing import tokenizing
from attnviz.models.tokens import labels, printable, tokens
from attnviz.models.twins import twin

__all__ = [
    "CLASSROOM",
    "Download",
    "Encoded",
    "Model",
    "Shipped",
    "best_device",
    "cancellable",
    "check_encoded",
    "check_reads",
    "check_wanted",
    "closed",
    "describe_features",
    "download",
    "encode",
    "encode_inputs",
    "feature_tokens",
    "instrument",
    "labels",
    "load",
    "model_inputs",
    "needed_download",
    "printable",
    "read_logits",
    "shipped",
    "source_inputs",
    "target_ids",
    "tokenizing",
    "tokens",
    "twin",
    "with_target",
    "wrong_sizes_explained",
]
