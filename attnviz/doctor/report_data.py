"""Data of a report's figures, as plain values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from attnviz.doctor.labels.thresholds import THRESHOLDS
from attnviz.types import Kind

if TYPE_CHECKING:
    from attnviz.doctor.diagnosis import Diagnosis

__all__ = ["entropies", "pictures", "threshold_meanings", "without_nan"]

QUANTILES = 20
"""Points that stand for a head's values over many texts, each for an equal share of them."""


def entropies(diagnosis: Diagnosis) -> dict[Kind, Float[np.ndarray, "layer head sample"]]:
    """Return normalized entropies of every head over texts; quantiles where texts are many."""
    middles = (np.arange(QUANTILES) + 0.5) / QUANTILES
    by_kind: dict[Kind, np.ndarray] = {}
    for kind, values in diagnosis.measures.values.items():
        samples = np.asarray(values["normalized_entropy"], np.float64)  # NaN where not finite
        known = ~np.isnan(samples).all(axis=-1)
        if samples.shape[-1] > QUANTILES:
            drawn = np.full((*samples.shape[:2], QUANTILES), np.nan)
            if known.any():
                drawn[known] = np.nanquantile(samples[known], middles, axis=-1).T
            samples = drawn
        by_kind[kind] = samples
    return by_kind


def pictures(diagnosis: Diagnosis) -> dict[str, Any]:
    """Return samples of entropy, the weight that places receive, and the thresholds' meanings."""
    return {
        "entropy": {kind: _plain(values) for kind, values in entropies(diagnosis).items()},
        "received": {kind: _plain(values) for kind, values in diagnosis.measures.received.items()},
        "limits": threshold_meanings(),
        "names": _names(diagnosis),
    }


def threshold_meanings() -> dict[str, Any]:
    """Return default, unit, meaning and source of every threshold, by name."""
    return {name: asdict(limit) for name, limit in THRESHOLDS.items()}


def without_nan(value: Any) -> Any:
    """Return plain values with None in place of NaN and infinity, for JSON."""
    if isinstance(value, Mapping):
        return {str(key): without_nan(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(one) for one in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def _names(diagnosis: Diagnosis) -> Mapping[str, str]:
    """Return the name of the first key, per kind."""
    return {kind: names.first for kind, names in diagnosis.names.items()}


def _plain(values: np.ndarray) -> list[Any]:
    """Return nested lists with four digits; None where a number does not exist."""
    rounded = np.round(np.asarray(values, np.float64), 4)
    values_or_none = rounded.astype(object)
    values_or_none[~np.isfinite(rounded)] = None
    rows: list[Any] = values_or_none.tolist()
    return rows
