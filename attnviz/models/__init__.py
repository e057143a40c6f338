"""Models: the shipped ones, and any other of their kind."""

from attnviz.models.catalogue import CLASSROOM, Shipped, shipped
from attnviz.models.features import describe_features, feature_tokens
from attnviz.models.loading import Model, best_device, instrument, load
from attnviz.models.tokens import labels, printable, tokens

__all__ = [
    "CLASSROOM",
    "Model",
    "Shipped",
    "best_device",
    "describe_features",
    "feature_tokens",
    "instrument",
    "labels",
    "load",
    "printable",
    "shipped",
    "tokens",
]
