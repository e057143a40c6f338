"""Models: the shipped ones, and any other of their kind."""

from attnviz.models.building import cancellable, check_wanted
from attnviz.models.catalogue import CLASSROOM, Shipped, shipped
from attnviz.models.checks import check_encoded, check_reads
from attnviz.models.classes import reads_its_text_twice
from attnviz.models.described import side_config, vocabulary_size
from attnviz.models.downloads import Download, download, needed_download
from attnviz.models.features import describe_features, feature_tokens
from attnviz.models.given import encode_inputs
from attnviz.models.inputs import Encoded, call_options, model_inputs, source_inputs
from attnviz.models.loading import Model, best_device, instrument, load
from attnviz.models.outputs import read_logits, wrong_sizes_explained
from attnviz.models.texts import closed, encode, target_ids
from attnviz.models.tokenizing import tokenizing
from attnviz.models.tokens import labels, printable, tokens
from attnviz.models.twins import twin
from attnviz.models.wrappers import unwrapped
from attnviz.models.writing import with_target, writes

__all__ = [
    "CLASSROOM",
    "Download",
    "Encoded",
    "Model",
    "Shipped",
    "best_device",
    "call_options",
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
    "reads_its_text_twice",
    "shipped",
    "side_config",
    "source_inputs",
    "target_ids",
    "tokenizing",
    "tokens",
    "twin",
    "unwrapped",
    "vocabulary_size",
    "with_target",
    "writes",
    "wrong_sizes_explained",
]
