"""Models: the shipped ones, and any other of their kind."""

from attnviz.models.catalogue import CLASSROOM, Shipped, fine_tuned, shipped
from attnviz.models.inputs.features import describe_features, feature_tokens
from attnviz.models.inputs.given_inputs import encode_inputs
from attnviz.models.inputs.input_checks import check_encoded, check_reads
from attnviz.models.inputs.model_inputs import Encoded, call_options, model_inputs, source_inputs
from attnviz.models.inputs.predictions import read_logits, wrong_sizes_explained
from attnviz.models.inputs.target_writing import with_target, writes
from attnviz.models.inputs.text_encoding import closed, encode, target_ids
from attnviz.models.loading.build_lock import cancellable, check_wanted
from attnviz.models.loading.described import side_config, vocabulary_size
from attnviz.models.loading.devices import best_device
from attnviz.models.loading.hub_downloads import Download, download, needed_download
from attnviz.models.loading.load import Model, instrument, load
from attnviz.models.loading.model_classes import reads_its_text_twice
from attnviz.models.loading.quiet_library import quiet_library
from attnviz.models.loading.twins import twin
from attnviz.models.loading.wrappers import unwrapped
from attnviz.models.tokenizers.token_labels import labels, printable, tokens
from attnviz.models.tokenizers.tokenizer_errors import tokenizing
from attnviz.models.tokenizers.word_edges import single_words, words

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
    "fine_tuned",
    "instrument",
    "labels",
    "load",
    "model_inputs",
    "needed_download",
    "printable",
    "quiet_library",
    "read_logits",
    "reads_its_text_twice",
    "shipped",
    "side_config",
    "single_words",
    "source_inputs",
    "target_ids",
    "tokenizing",
    "tokens",
    "twin",
    "unwrapped",
    "vocabulary_size",
    "with_target",
    "words",
    "writes",
    "wrong_sizes_explained",
]
