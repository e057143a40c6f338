"""Shares and probabilities in percent."""

from __future__ import annotations

__all__ = ["percent"]


def percent(share: float) -> str:
    """Return a share of 0 to 1 in percent, with a decimal near both ends.

    Only 0 is written "0%", and only 1 "100%": what is nearer to them than a decimal shows is
    "<0.1%" and ">99.9%".
    """
    if share <= 0 or share >= 1:
        return f"{share:.0%}"
    if share < 0.0005:
        return "<0.1%"
    if share >= 0.9995:
        return ">99.9%"
    return f"{share:.0%}" if 0.0995 <= share < 0.995 else f"{share:.1%}"
