"""attnviz: what attention really does inside a transformer.

    model = attnviz.load("gpt-classroom")
    capture = attnviz.capture(model, "The cat sat on the mat. The cat")
    capture["self"].weights(layer=1, head=3)       # [query, key], exact
    attnviz.summarize(capture)                     # every metric of every head

Importing this costs nothing: torch is loaded when the first of these names is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from attnviz import doctor, efficient, errors, metrics, monitor, views
    from attnviz.captures.checked_load import load
    from attnviz.captures.forward_pass import Capture, capture, capture_inputs, capture_many
    from attnviz.captures.proof import verify
    from attnviz.captures.summary import summarize
    from attnviz.captures.word_weights import word_weights
    from attnviz.doctor import Diagnosis, diagnose
    from attnviz.doctor.strongest_texts.text_search import strongest
    from attnviz.experiments.edits.edit_rules import Edit
    from attnviz.experiments.edits.edited_model import edited
    from attnviz.experiments.generation.sampling import Sampling
    from attnviz.experiments.generation.token_by_token import GenerationStep, generate
    from attnviz.experiments.patching.head_patches import patch_heads
    from attnviz.experiments.patching.text_pair import LogitDifference, TextPair
    from attnviz.models import Model, instrument
    from attnviz.monitor import AttentionMonitor
    from attnviz.types import Proof, Words, WordWeights

__version__ = "0.1.0"

__all__ = [
    "AttentionMonitor",
    "Capture",
    "Diagnosis",
    "Edit",
    "GenerationStep",
    "LogitDifference",
    "Model",
    "Proof",
    "Sampling",
    "TextPair",
    "WordWeights",
    "Words",
    "__version__",
    "capture",
    "capture_inputs",
    "capture_many",
    "diagnose",
    "doctor",
    "edited",
    "efficient",
    "errors",
    "generate",
    "instrument",
    "load",
    "metrics",
    "monitor",
    "patch_heads",
    "strongest",
    "summarize",
    "verify",
    "views",
    "word_weights",
]

_HOMES = {
    "AttentionMonitor": "attnviz.monitor",
    "Capture": "attnviz.captures.forward_pass",
    "Diagnosis": "attnviz.doctor",
    "Edit": "attnviz.experiments.edits.edit_rules",
    "GenerationStep": "attnviz.experiments.generation.token_by_token",
    "LogitDifference": "attnviz.experiments.patching.text_pair",
    "Model": "attnviz.models",
    "TextPair": "attnviz.experiments.patching.text_pair",
    "patch_heads": "attnviz.experiments.patching.head_patches",
    "Sampling": "attnviz.experiments.generation.sampling",
    "capture": "attnviz.captures.forward_pass",
    "capture_inputs": "attnviz.captures.forward_pass",
    "capture_many": "attnviz.captures.forward_pass",
    "diagnose": "attnviz.doctor",
    "edited": "attnviz.experiments.edits.edited_model",
    "generate": "attnviz.experiments.generation.token_by_token",
    "instrument": "attnviz.models",
    "Proof": "attnviz.types",
    "load": "attnviz.captures.checked_load",
    "strongest": "attnviz.doctor.strongest_texts.text_search",
    "summarize": "attnviz.captures.summary",
    "verify": "attnviz.captures.proof",
    "Words": "attnviz.types",
    "WordWeights": "attnviz.types",
    "word_weights": "attnviz.captures.word_weights",
}


_MODULES = ("doctor", "efficient", "errors", "metrics", "monitor", "views")
"""Parts of the package that are attributes of it without an import of their own."""


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"attnviz.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'attnviz' has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
