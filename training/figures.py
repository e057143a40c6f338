"""Measured figures and their bars."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from training.position_rules import Rule


@dataclass(frozen=True)
class Figure:
    """Measured number beside its bar.

    `rule` is the best rule of position alone on the same data, for figures about what a head does.
    """

    name: str
    value: float
    bar: float
    side: Literal["at least", "below"] = "at least"
    note: str = ""
    rule: Rule | None = None

    @property
    def reached(self) -> bool:
        """Return True if the value reaches the bar."""
        return self.value >= self.bar if self.side == "at least" else self.value < self.bar


def part_of(file: str, every: int) -> str:
    """Return the name of a sample of a file: every so-many-th window or sentence; 1 for all."""
    return file if every == 1 else f"a sample of {file} (1 of {every})"


def table(figures: Iterable[Figure]) -> str:
    """Return the figures as a Markdown table for a model card."""
    lines = [
        "| figure | value | bar | reached | best rule of position alone | where |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {figure.name} | {figure.value:.4g} | {figure.side} {figure.bar:g} | "
        f"{'yes' if figure.reached else '**no**'} | {rule_cell(figure.rule)} | {figure.note} |"
        for figure in figures
    ]
    return "\n".join(lines)


def rule_cell(rule: Rule | None) -> str:
    """Return a rule as a cell of a table: its score and its name."""
    return "" if rule is None else f"{rule.score:.2f} ({rule.label})"
