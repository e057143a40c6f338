"""Text on which a head follows the rule of its label most clearly."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from attnviz.doctor.diagnosis import Diagnosis
from attnviz.findings import Finding

__all__ = ["clearest_text"]

REST = "rest"  # weight on the first token and on separators


def clearest_text(diagnosis: Diagnosis, finding: Finding) -> tuple[int, bool] | None:
    """Return the number of a text and whether it is chosen by the rule of the head's label.

    For each condition of the rule that was measured per text, the distance between value and
    threshold is divided by the standard deviation over the texts; a text counts by the smallest of
    its distances. Without such a condition the text is chosen on which the head gives least weight
    to the first token and separators.

    Returns:
        None if some texts were read in windows, or if the head was measured on no text.
    """
    read = diagnosis.texts
    if read.count != read.windows:
        return None
    measured = diagnosis.measures.values.get(finding.head.kind, {})
    cell = (finding.head.layer, finding.head.head)

    def per_text(name: str) -> Float[np.ndarray, " text"] | None:
        if name not in diagnosis.measures.per_text or name not in measured:
            return None
        values: np.ndarray = measured[name][cell]
        return values if len(values) == read.count and np.isfinite(values).any() else None

    distances = []
    for one in finding.evidence:
        values = per_text(one.measure)
        if values is not None and not one.variant:
            spread = float(np.nanstd(values)) or 1.0
            distances.append((values - one.threshold) * (1 if one.above else -1) / spread)
    if distances:
        return _highest(np.min(distances, axis=0)), True
    resting = per_text(REST)
    return None if resting is None else (_highest(-resting), False)


def _highest(values: Float[np.ndarray, " text"]) -> int:
    return int(np.argmax(np.where(np.isfinite(values), values, -np.inf)))
