"""Permissions of visitors: models, downloads and diagnoses; from the environment.

`attnviz app --class` sets these variables; each can also be set by hand.
"""

from __future__ import annotations

import os

from attnviz.errors import ModelNotAllowed
from attnviz.models import CLASSROOM

__all__ = ["DIAGNOSES", "check_model", "listed_models", "takes_any_model"]

DIAGNOSES = int(os.environ.get("ATTNVIZ_DIAGNOSES", "32"))
"""Most diagnoses that run and wait at the same time, of all visitors."""


def listed_models() -> list[str]:
    """Return the names in the model menus: those of ATTNVIZ_MODELS, or the shipped models.

    "shipped" in the variable stands for all shipped models.
    """
    every = [model.name for model in CLASSROOM]
    names: list[str] = []
    for name in os.environ.get("ATTNVIZ_MODELS", "shipped").split(","):
        names += every if name == "shipped" else [name] if name else []
    return names or every


def takes_any_model() -> bool:
    """Return whether visitors may name other models than the listed ones."""
    return not os.environ.get("ATTNVIZ_MODELS")


def check_model(name: str) -> None:
    """Raise ModelNotAllowed if visitors may not load this model."""
    if not takes_any_model() and name not in listed_models():
        raise ModelNotAllowed(
            f"this server shows {', '.join(listed_models())} and no other models; choose one of "
            "these"
        )
