"""Thresholds that an earlier run found, in place of those of this corpus: as manifests tell them, by group."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tamis.scorers.selection.groups import GroupLabel
from tamis.scorers.selection.selection import Decision, Threshold

__all__ = ["NOTHING_GIVEN", "Given", "group_name"]


def group_name(label: GroupLabel) -> str:
    """Return what manifests call a group: its values joined by a slash; nothing for the only one there is."""
    return "/".join("null" if part is None else part for part in label)


@dataclass(frozen=True)
class Given:
    """Thresholds of an earlier run.

    Attributes:
        numbers: a number, or low and high; or a mapping from groups' names to these. None stands for none.
        largest: whether large values are best, so that a number is the least that is kept; no matter for pairs.
    """

    numbers: Any = None
    largest: bool = True

    @property
    def complete(self) -> bool:
        """Whether nothing has to be looked for: there are no groups, and there is a number."""
        return self.numbers is not None and not isinstance(self.numbers, Mapping)

    def of(self, label: GroupLabel) -> Threshold | None:
        """Return the threshold of a group; None if there is none."""
        found = self.numbers
        if isinstance(found, Mapping):
            found = found.get(group_name(label))
        if found is None:
            return None
        if isinstance(found, Sequence):
            low, high = found
            return Threshold(
                -math.inf if low is None else float(low), math.inf if high is None else float(high), descending=False
            )
        if self.largest:
            return Threshold(float(found), math.inf, descending=True)
        return Threshold(-math.inf, float(found), descending=False)

    def over(self, decision: Decision) -> Decision:
        """Return a decision in which these stand where they are known; others stay as they were found."""
        return Decision({label: self.of(label) or found for label, found in decision.thresholds.items()})


NOTHING_GIVEN = Given()
