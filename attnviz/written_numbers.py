"""Numbers as a reader sees them; `docs/written-numbers.md` says where each form stands.

`attnviz/ui/components/assets/written_numbers.js` writes the same texts in the browser. A minus is
U+2212, halves are rounded away from 0, and nothing is rounded to a negative zero.
"""

from __future__ import annotations

import math
from decimal import ROUND_HALF_UP, Decimal

__all__ = [
    "MINUS",
    "change_in_nats",
    "count",
    "decimals",
    "duration",
    "exact",
    "nats",
    "percent",
    "scientific",
    "signed",
    "signed_nats",
    "significant",
    "size",
]

MINUS = "\N{MINUS SIGN}"
UNDEFINED = "not defined"


def decimals(value: float, digits: int = 2) -> str:
    """Return a number with so many decimals: "0.40", "1,234.5"; "not defined" for NaN."""
    if not math.isfinite(value):
        return _not_finite(value)
    shown = format(_rounded(value, digits), ",f")
    return shown.replace("-", "" if not shown.strip("-0.") else MINUS)


def signed(value: float, digits: int = 2) -> str:
    """Return a difference: "+0.12", "−0.40"; what is rounded to zero has no sign."""
    return _with_plus(decimals(value, digits))


def nats(value: float) -> str:
    """Return a loss, an entropy or a divergence, without the unit.

    Two decimals from 0.1 on, three below: "3.21", "0.080". Only 0 is "0": what is nearer to it
    than a decimal shows is "<0.001".
    """
    return "<0.001" if 0 < value < 0.0005 else change_in_nats(value)


def change_in_nats(value: float) -> str:
    """Return a change of a loss, as `nats`; one that is nearer to 0 is "0.000", whatever its sign.

    A change of nothing at all is "0".
    """
    return "0" if value == 0 else decimals(value, 2 if abs(value) >= 0.1 else 3)


def signed_nats(value: float) -> str:
    """Return a change in nats with its sign: "+0.12", "−0.031", "0.000"."""
    return _with_plus(change_in_nats(value))


def percent(share: float, digits: int | None = None) -> str:
    """Return a share in percent.

    Args:
        share: 1 is the whole.
        digits: decimals; without them one below 10% and within half a percent of the whole, and
            none otherwise.

    Returns:
        "67%", "5.7%", "99.8%". Only 0 is "0%", and only 1 "100%": what is nearer to them than the
        decimals show is "<0.1%" or ">99.9%".
    """
    size = abs(share)
    if size in (0, 1) or not math.isfinite(share):
        return f"{decimals(100 * share, 0)}%" if math.isfinite(share) else _not_finite(share)
    fine = size < 0.0995 or abs(size - 1) < 0.005
    digits = int(fine) if digits is None else digits
    step = 10.0**-digits
    if 100 * size < step / 2:
        return f"<{decimals(step, digits)}%" if share > 0 else f">{MINUS}{decimals(step, digits)}%"
    if 100 - step / 2 <= 100 * size < 100:
        end = decimals(100 - step, digits)
        return f">{end}%" if share > 0 else f"<{MINUS}{end}%"
    return f"{decimals(100 * share, digits)}%"


def count(number: float) -> str:
    """Return a number of things, with commas from 1,000 on."""
    return f"{_rounded(number, 0) + 0:,f}".replace("-", MINUS)


def significant(value: float, digits: int) -> str:
    """Return a number with so many significant digits: "0.0123", "4.56", "2.4e−8" below 0.0001."""
    if value == 0 or not math.isfinite(value):
        return decimals(value, 0)
    _, power = _mantissa(value, digits - 1)
    if power < -4:
        return scientific(value, digits - 1)
    return decimals(value, max(0, digits - 1 - power))


def scientific(value: float, digits: int = 0) -> str:
    """Return a tiny number, such as a rounding error: "1e−7", "2.4e−8"; "0" for 0."""
    if value == 0 or not math.isfinite(value):
        return decimals(value, 0)
    first, power = _mantissa(value, digits)
    return f"{first:f}e{power:+d}".replace("-", MINUS)


def exact(value: float) -> str:
    """Return the number of one place, as a pointer over a map shows it: four decimals or more."""
    if value == 0 or abs(value) >= 0.0001 or not math.isfinite(value):
        return "0" if value == 0 else decimals(value, 4)
    return scientific(value, 1)


def size(number: float) -> str:
    """Return a number of bytes with a decimal unit: "63.5 kB"; 1 kB is 1,000 bytes."""
    for unit in ("bytes", "kB", "MB", "GB"):
        digits = 0 if unit == "bytes" else max(0, 2 - Decimal(float(number)).adjusted())
        shown = _rounded(number, digits)
        if shown < 1000 or unit == "GB":
            break
        number /= 1000
    text = f"{shown:,f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text} {unit}"


def duration(seconds: float) -> str:
    """Return a time: "12.3 ms", "4.5 s", "34 s", "3 min 20 s", "2 h 5 min"."""
    if seconds < 0.9995:
        return f"{decimals(1000 * seconds, 1)} ms"
    if seconds < 59.5:
        return f"{decimals(seconds, 1 if seconds < 9.95 else 0)} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _mantissa(value: float, digits: int) -> tuple[Decimal, int]:
    """Return a number between 1 and 10, rounded, and the power of ten it is multiplied by."""
    whole = Decimal(float(value))
    power = whole.adjusted()
    first = _rounded(whole.scaleb(-power), digits)
    return (_rounded(first / 10, digits), power + 1) if abs(first) >= 10 else (first, power)


def _rounded(value: float | Decimal, digits: int) -> Decimal:
    """Return the nearest decimal number, as `toFixed` of a browser does."""
    exactly = value if isinstance(value, Decimal) else Decimal(float(value))
    return exactly.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)


def _with_plus(shown: str) -> str:
    return f"+{shown}" if shown[0] in "0123456789∞" and shown.strip("0.") else shown


def _not_finite(value: float) -> str:
    return UNDEFINED if math.isnan(value) else "∞" if value > 0 else f"{MINUS}∞"
