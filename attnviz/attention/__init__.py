"""Instrumented attention: registered with the library, computed by blocks, recorded."""

from attnviz.attention.interventions import Intervention, Places, intervening
from attnviz.attention.kernel.row_statistics import RowStatistics
from attnviz.attention.recorder import Keep, Recorder, listening
from attnviz.attention.reference.eager import EqualInputs
from attnviz.attention.reference.layer_comparison import Comparison, Outputs
from attnviz.attention.residual.additions import Added, Additions, following
from attnviz.attention.separate_layers import layers_share_weights, with_separate_layers
from attnviz.attention.sites import FEATURES, Sites, body_of, has_decoder
from attnviz.attention.stack.attention_stack import AttentionStack
from attnviz.attention.stack.layer import Layer, Vectors
from attnviz.attention.trial_run import find_sites

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
    "layers_share_weights",
    "listening",
    "with_separate_layers",
]
