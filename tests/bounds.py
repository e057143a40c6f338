"""Numeric bounds of the tests, derived from the arithmetic of float32.

EPSILON is the distance from 1 to the next float32. Processors differ in the order of sums and in
the last digit of exp, so a result is right within a few EPSILON of its size, not to the last bit.

A score is a sum of a few dozen products; those of the tests are below 30 in size, and their error
is below 3 x 30 x EPSILON = 1e-5. A weight changes by at most a quarter of what its score does, the
entropy of a row of 20 keys by at most three times as much as its scores do. Through the layers of
a model such errors grow: in the small random models of all architectures of the library the largest
difference of a weight between two right runs was 7e-6 (`docs/reference/models.md`), apart from
MobileBERT, which has no norms and whose numbers reach the thousands: 3e-5.

`tests/test_bounds.py` compares these bounds with what two runs of the library differ by, and with
what a fault makes of the same numbers.
"""

from __future__ import annotations

__all__ = ["CALL", "CALL_NATS", "EPSILON", "HALF", "MODEL", "MODEL_NATS", "SAME"]

EPSILON = 2.0**-23

HALF = 2.0**-8
"""Distance from 1 to the next bfloat16: each rounding of a number of size 1 costs half of it."""

SAME = 1e-5
"""The same float32 numbers added or packed in another order: 80 EPSILON for numbers up to 1."""

CALL = 1e-5
"""Weights of one attention call against float64: errors of 3e-6 at most."""

CALL_NATS = 1e-4
"""Entropies of one attention call: errors of 3e-5 at most."""

MODEL = 5e-5
"""Weights of a model in two right runs: seven times the largest difference that was seen, and the
bound that `attnviz.verify` holds a float32 model to."""

MODEL_NATS = 5e-4
"""Entropies, losses and log-probabilities of a model in two right runs."""
