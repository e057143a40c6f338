"""A figure of the bar: what was measured, what was promised, and whether it was kept."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Figure:
    """One measured number beside its bar."""

    name: str
    value: float
    bar: float
    side: Literal["at least", "below"] = "at least"
    note: str = ""

    @property
    def reached(self) -> bool:
        """Whether the bar was reached."""
        return self.value >= self.bar if self.side == "at least" else self.value < self.bar


def table(figures: Iterable[Figure]) -> str:
    """The figures as a Markdown table, ready for a model card."""
    lines = ["| figure | value | bar | reached | |", "|---|---|---|---|---|"]
    lines += [
        f"| {figure.name} | {figure.value:.4g} | {figure.side} {figure.bar:g} | "
        f"{'yes' if figure.reached else '**no**'} | {figure.note} |"
        for figure in figures
    ]
    return "\n".join(lines)
