"""Which column, comparison and numbers stand behind each rule of a finished run."""

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any, Literal

from tamis.pipeline.steps.base import Step
from tamis.pipeline.steps.registry import parse_step
from tamis.schemas.errors import ConfigError
from tamis.schemas.manifest import Manifest, StepRecord

__all__ = ["Bounds", "Limit", "limits_of"]

SIDES: Mapping[str, Literal["min", "max"]] = {"min": "min", "above": "min", "max": "max", "below": "max"}


@dataclass(frozen=True)
class Bounds:
    """What a value is held against, in one group of documents.

    Attributes:
        group: values of the columns that part the groups, joined by a slash; None where there is one group.
        low: the smallest value that is kept; None without one.
        high: the largest.
    """

    group: str | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Limit:
    """A rule over a column of numbers.

    Attributes:
        position: place of the step in the run, from 0.
        step: its label.
        rule: the rule's reason, as in rejected.
        column: what is held against the bounds.
        by: the columns that part the groups.
        bounds: of each group.
    """

    position: int
    step: str
    rule: str
    column: str
    by: tuple[str, ...]
    bounds: tuple[Bounds, ...]


def limits_of(manifest: Manifest, columns: Set[str]) -> list[Limit]:
    """Return the rules of a run that hold a column of its documents against numbers.

    A draw is none: what it compares has noise added, so that no column is on one side of its threshold. Nor is a rule
    of a step that isn't installed here and whose name doesn't say what it is about.

    Args:
        manifest: of the run.
        columns: of its documents.
    """
    configured = manifest.source_config.get("steps") or []
    steps = {step.label: step for step in map(_step, configured) if step is not None}
    found = []
    for position, record in enumerate(manifest.steps):
        limits = _of_step(position, record, steps.get(record.label))
        found += [limit for limit in limits if limit.column in columns and set(limit.by) <= set(columns)]
    return found


def _step(plain: Any) -> Step | None:
    try:
        return parse_step(plain, "steps")
    except ConfigError:  # of another version, or of a distribution that isn't here
        return None


def _of_step(position: int, record: StepRecord, step: Step | None) -> Iterator[Limit]:
    numbers = dict(record.thresholds)
    told = set()
    for rule in step.rules if step is not None else ():
        side = SIDES[rule.op]
        low, high = (rule.threshold, None) if side == "min" else (None, rule.threshold)
        told.add(rule.reason)
        yield Limit(position, record.label, rule.reason, rule.column, (), (Bounds(None, low, high),))
    if step is not None and getattr(step, "min_score", None) is not None and "language_score_min" in step.rule_names:
        numbers.setdefault("language_score_min", getattr(step, "min_score"))  # noqa: B009  (an option of one verb)
    for name, value in numbers.items():
        if name in told or (record.verb == "dsir" and name.endswith(("_fraction", "_documents"))):
            continue
        column, _, kind = name.rpartition("_")
        keep = step.kept if step is not None else None
        if kind in SIDES:
            side = SIDES[kind]
        elif kind in ("fraction", "documents"):
            best = (keep.best if keep is not None else None) or (step.best if step is not None else "high")
            side = "min" if best == "high" else "max"
        elif kind == "percentile":
            side = "min"  # a pair says both
        else:
            continue
        bounds = tuple(_bounds(value, side))
        if bounds:
            by = keep.by if keep is not None and kind == "percentile" else ()
            yield Limit(position, record.label, name, column, by if bounds[0].group is not None else (), bounds)


def _bounds(value: Any, side: Literal["min", "max"], group: str | None = None) -> Iterator[Bounds]:
    match value:
        case bool() | None:
            return
        case int() | float():
            number = float(value)
            yield Bounds(group, number, None) if side == "min" else Bounds(group, None, number)
        case [low, high]:
            yield Bounds(group, low, high)
        case Mapping() if group is None:
            for name, inner in value.items():
                yield from _bounds(inner, side, str(name))
        case _:
            return
