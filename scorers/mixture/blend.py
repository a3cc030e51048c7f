"""Plans a blend: how much each group gives of a budget, and what happens where a group has too little.

Nothing is left to a default: whoever gives no proportions says what they are then, and whoever gives some says what
becomes of a group that runs out.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from tamis.schemas.errors import ConfigError, DataError
from tamis.scorers.mixture.fixed import proportional, unimax
from tamis.scorers.mixture.quotas import largest_remainder
from tamis.scorers.mixture.simplex import Vector, cap_shares, normalised

__all__ = ["Blend", "Exhausted", "GroupQuota", "WithoutProportions", "plan_blend"]

Exhausted = Literal["repeat", "once", "shrink", "error"]
"""What happens when a group's quota is more than it has:

* `repeat`: it is repeated up to `max_epochs` times, and what is above that goes to the others in proportion;
* `once`: the same with one epoch: nothing is repeated;
* `shrink`: the proportions stay, and the budget becomes what the first group to run out allows (with `max_epochs`);
* `error`: the blend is refused.
"""

WithoutProportions = Literal["union", "equal", "unimax"]
"""What the proportions are when none are given: by size (the union), equal, or UniMax."""


class GroupQuota(NamedTuple):
    """What one group gives.

    Attributes:
        name: of the group.
        size: what it has, in the budget's unit.
        documents: how many documents that is.
        asked: the share that was asked for.
        quota: what it gives, in the budget's unit.
        share: its part of all quotas.
        epochs: quota by size; 0 for a group without anything.
        capped: whether it gives less than was asked, for lack of data.
    """

    name: str
    size: int
    documents: int
    asked: float
    quota: int
    share: float
    epochs: float
    capped: bool


class Blend(NamedTuple):
    """A planned blend.

    Attributes:
        groups: by group, in the given order.
        unit: `tokens`, `bytes` or `documents`.
        budget: what was asked for.
        total: what the quotas add to.
        exhausted: what happens to groups that run out.
        max_epochs: see `Exhausted`.
        notes: sentences on all that differs from what was asked.
    """

    groups: tuple[GroupQuota, ...]
    unit: str
    budget: int
    total: int
    exhausted: Exhausted
    max_epochs: float
    notes: tuple[str, ...]


def plan_blend(
    sizes: Mapping[str, int],
    *,
    budget: int | None,
    exhausted: Exhausted,
    proportions: Mapping[str, float] | None = None,
    without: WithoutProportions | None = None,
    documents: Mapping[str, int] | None = None,
    unit: Literal["tokens", "bytes", "documents"] = "tokens",
    max_epochs: float = 4.0,
) -> Blend:
    """Plan what each group gives.

    Args:
        sizes: what each group has, in the unit; 0 for one that is empty after filtering.
        budget: how much is wanted in all; None: with proportions the most that no group must repeat for, else all.
        exhausted: see `Exhausted`.
        proportions: the wanted shares, in any scale; groups without one get nothing.
        without: see `WithoutProportions`; needed where there are no proportions, and only there.
        documents: number of documents by group, for the plan's table.
        unit: of sizes and budget.
        max_epochs: most passes over a group, at least 1 (1 with `once`).

    Raises:
        ConfigError: if proportions name an unknown group, are missing without a word, or a number is out of range.
        DataError: if all groups that should give are empty, or with `error` if one can't give its quota.
    """
    names = list(sizes)
    _check(sizes, budget, proportions, without, max_epochs)
    have = np.array([sizes[name] for name in names], np.float64)
    epochs = 1.0 if exhausted == "once" else max_epochs
    asked = _asked(names, have, proportions, without, budget, epochs)
    notes: list[str] = []
    empty = [name for name, size, share in zip(names, have, asked, strict=True) if size == 0 and share > 0]
    if empty and exhausted == "error":
        msg = f"group {empty[0]!r} is empty: it can't give {asked[names.index(empty[0])]:.4g} of the blend"
        raise DataError(msg)
    notes += [f"{name} is empty: its share goes to the others" for name in empty]
    if empty:
        left = np.where(have > 0, asked, 0.0)
        if not left.any():
            msg = "every group that should give is empty"
            raise DataError(msg)
        asked_of = left / left.sum()
    else:
        asked_of = asked
    wanted = _budget(have, asked_of, budget)
    shares, total = _supplied(names, have, asked_of, wanted, exhausted, epochs, notes, unit)
    quotas = largest_remainder(shares, total) if total else np.zeros(len(names), np.int64)
    limits = np.floor(have * epochs + 1e-9).astype(np.int64)
    quotas = np.minimum(quotas, limits)  # a rounding up must not ask for what isn't there
    given = int(quotas.sum())
    groups = tuple(
        GroupQuota(
            name,
            int(size),
            int((documents or {}).get(name, size if unit == "documents" else 0)),
            float(ask),
            int(quota),
            float(quota / given) if given else 0.0,
            float(quota / size) if size else 0.0,
            bool(quota < math.floor(ask * wanted) - 1),
        )
        for name, size, ask, quota in zip(names, have, asked, quotas, strict=True)
    )
    notes += [f"{g.name} is repeated: {g.epochs:.2f} epochs of {g.size:,} {unit}" for g in groups if g.epochs > 1]
    return Blend(groups, unit, wanted if budget is None else budget, given, exhausted, epochs, tuple(notes))


def _check(
    sizes: Mapping[str, int],
    budget: int | None,
    proportions: Mapping[str, float] | None,
    without: str | None,
    max_epochs: float,
) -> None:
    if not sizes or any(size < 0 for size in sizes.values()):
        msg = f"a blend needs groups with sizes not below 0, got {dict(sizes)}"
        raise ConfigError(msg)
    if (proportions is None) == (without is None):
        msg = "say either the groups' proportions, or what they are without: union, equal or unimax"
        raise ConfigError(msg)
    unknown = sorted(set(proportions or ()) - set(sizes))
    if unknown:
        msg = f"proportions name group {unknown[0]!r}, which the data hasn't; it has {', '.join(sorted(sizes)[:20])}"
        raise ConfigError(msg)
    if budget is not None and budget < 1:
        msg = f"a budget of {budget} can't be given: it must be at least 1"
        raise ConfigError(msg)
    if not max_epochs >= 1:
        msg = f"max_epochs is {max_epochs}: a group's first pass must be allowed, so at least 1"
        raise ConfigError(msg)


def _asked(
    names: Sequence[str],
    have: Vector,
    proportions: Mapping[str, float] | None,
    without: str | None,
    budget: int | None,
    epochs: float,
) -> Vector:
    if proportions is not None:
        return normalised([proportions.get(name, 0.0) for name in names], "proportions")
    if not have.any():
        msg = "every group that should give is empty"
        raise DataError(msg)
    if without == "union":
        return proportional(have.tolist())
    full = have > 0
    result = np.zeros(len(have))
    if without == "equal":
        result[full] = 1 / full.sum()
    else:
        result[full] = unimax(have[full].tolist(), float(have.sum()) if budget is None else budget, epochs).shares
    return normalised(result)


def _budget(have: Vector, shares: Vector, budget: int | None) -> int:
    if budget is not None:
        return budget
    giving = shares > 0
    return math.floor(float((have[giving] / shares[giving]).min()) + 1e-6)


def _supplied(
    names: Sequence[str],
    have: Vector,
    shares: Vector,
    budget: int,
    exhausted: Exhausted,
    epochs: float,
    notes: list[str],
    unit: str,
) -> tuple[Vector, int]:
    """Return shares and total that the groups can supply."""
    caps = have * epochs / budget
    over = [j for j in range(len(names)) if shares[j] > caps[j] * (1 + 1e-12)]
    if not over:
        return shares, budget
    if exhausted == "error":
        j = over[0]
        msg = (
            f"group {names[j]!r} has {have[j]:,.0f} {unit}, with {epochs:g} epochs {have[j] * epochs:,.0f}, and should "
            f"give {shares[j] * budget:,.0f}: lower its share, the budget, or say what happens when a group runs out"
        )
        raise DataError(msg)
    if exhausted == "shrink":
        total = math.floor(float((have[over] * epochs / shares[over]).min()) + 1e-6)
        first = min(over, key=lambda j: have[j] / shares[j])
        notes.append(f"the budget shrinks from {budget:,} to {total:,} {unit}: {names[first]} runs out there")
        return shares, total
    capped = cap_shares(shares, caps)
    notes += [
        f"{names[j]} is capped at {epochs:g} epochs: {capped.shares[j]:.4f} of the budget instead of {shares[j]:.4f}"
        for j in capped.capped
    ]
    total = budget
    if capped.missing:
        total = math.floor(budget * (1 - capped.missing) + 1e-6)
        notes.append(f"the budget shrinks from {budget:,} to {total:,} {unit}: all groups are at their caps")
    return capped.shares, total
