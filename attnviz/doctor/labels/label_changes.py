"""Changes of a head's label between two models."""

from __future__ import annotations

from dataclasses import dataclass

from attnviz.findings import Finding, Verdict
from attnviz.types import Head

__all__ = ["Change"]

UNDECIDED = ("undecided", "not tested")


@dataclass(frozen=True)
class Change:
    """Head with different labels in two models.

    Attributes:
        head: the head.
        before: its finding in the first model.
        after: its finding in the second model.
        ruined: True if the loss of the second model is higher.
    """

    head: Head
    before: Finding
    after: Finding
    ruined: bool = False

    @property
    def clear(self) -> bool:
        """Return True if no interval that decides the two labels contains its limit.

        NaN and infinity are no matter of limits: a head that computes them has clearly changed.
        """
        if "non-finite" in (self.before.label, self.after.label):
            return True
        if self.before.label == self.after.label == "sink":
            return not {self.before.detail, self.after.detail} & set(UNDECIDED)
        labels = {_key(one.name) for one in (self.before, self.after)}
        close = {_key(name) for one in (self.before, self.after) for name in one.close}
        return not labels & close

    @property
    def lost(self) -> bool:
        """Return True if the head has become degenerate and is not needed."""
        return (
            self.clear
            and not self.before.degenerate
            and self.after.degenerate
            and (not self.after.contradicted)
        )

    @property
    def recovered(self) -> bool:
        """Return True if the head was degenerate and without use and is neither now.

        The second model has to need the head, the first not, and its loss must not be higher.
        """
        return (
            self.clear
            and self.before.degenerate
            and not self.after.degenerate
            and self.before.verdict in (Verdict.NO_DIFFERENCE, Verdict.BETTER_WITHOUT)
            and self.after.verdict is Verdict.NEEDED
            and not self.ruined
        )

    @property
    def sentence(self) -> str:
        """Return the change in words."""
        what = f"{self.head.label} was “{self.before.name}” and is “{self.after.name}”"
        if not self.clear:
            return f"{what}: a close call, the intervals contain the limit."
        if self.after.label == "non-finite":
            return f"{what}: it computes NaN or infinity now."
        if self.before.label == "non-finite":
            return f"{what}: its numbers are finite again."
        if self.lost:
            return f"{what}: it has become degenerate."
        if self.after.contradicted and not self.before.degenerate:
            return f"{what}: it looks degenerate now, but the model needs it."
        if self.recovered:
            return f"{what}: it has recovered, and the model needs it now."
        if self.before.degenerate and not self.after.degenerate:
            return f"{what}: it no longer looks degenerate."
        return f"{what}."


def _key(name: str) -> str:
    """Return the part of a name that its limits decide: variants of patterns, labels of others."""
    return name if name.startswith("specialised") else name.partition(":")[0]
