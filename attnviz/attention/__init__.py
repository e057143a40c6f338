"""Instrumented attention: registered with the library, computed by blocks, recorded."""

from attnviz.attention.additions import Added, Additions, following
from attnviz.attention.comparison import Comparison, Outputs, is_linear
from attnviz.attention.eager import EqualInputs
from attnviz.attention.interventions import Intervention, Places, intervening
from attnviz.attention.layer import Layer, Vectors
from attnviz.attention.recorder import Keep, Recorder, listening
from attnviz.attention.rows import RowStatistics
from attnviz.attention.sites import FEATURES, Sites, body_of, find_sites, has_decoder
from attnviz.attention.stack import AttentionStack

__all__ = [
    "FEATURES",
    "Added",
    "Additions",
    "AttentionStack",
    "Comparison",
    "EqualInputs",
    "Intervention",
    "Keep",
    "Layer",
    "Outputs",
    "Places",
    "Recorder",
    "RowStatistics",
    "Sites",
    "Vectors",
    "body_of",
    "find_sites",
    "following",
    "has_decoder",
    "intervening",
    "is_linear",
    "listening",
]
