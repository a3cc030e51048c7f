"""What a manifest says of a mixture, and how two of them differ, in words."""

from collections.abc import Mapping, Sequence
from typing import Any

from tamis.scorers.mixture.blend import Blend

__all__ = ["explain_difference", "mixture_record"]

_SHARE = 0.0005
"""Shares that differ by less are the same when rounded to a tenth of a per cent."""


def mixture_record(
    blend: Blend,
    *,
    seed: int,
    method: str,
    parameters: Mapping[str, Any],
    proportions: Mapping[str, float] | None,
    rounds: Sequence[Mapping[str, Any]] = (),
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """Return what the manifest's `mixture` section says of a plan, JSON values only.

    Args:
        blend: the planned quotas.
        seed: of the order.
        method: what found the proportions, or `given`.
        parameters: the method's.
        proportions: that it found or was given, by group.
        rounds: laws and shares by round, of a method that has rounds.
        notes: what is to be told before the blend's own notes.

    Returns:
        `method`, `parameters`, `proportions`, `rounds`, `unit`, `budget`, `total`, `exhausted`, `max_epochs`, `seed`,
        `notes`, and `groups` with size, asked share, quota and epochs.
    """
    return {
        "method": method,
        "parameters": dict(parameters),
        "proportions": None if proportions is None else dict(proportions),
        "rounds": list(rounds),
        "unit": blend.unit,
        "budget": blend.budget,
        "total": blend.total,
        "exhausted": blend.exhausted,
        "max_epochs": blend.max_epochs,
        "seed": seed,
        "groups": [{"name": group.name} | group._asdict() for group in blend.groups],
        "notes": [*notes, *blend.notes],
    }


def explain_difference(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Return how a second mixture differs from a first, one sentence a difference, the causes before what follows.

    Args:
        first: a section as `mixture_record` makes it.
        second: another.
    """
    sentences = []
    if first["method"] != second["method"]:
        sentences.append(f"the proportions were {_found(first)}, now they are {_found(second)}")
    else:
        before, after = first["parameters"], second["parameters"]
        sentences += [
            f"{first['method']}'s {key} was {before.get(key)}, now it is {after.get(key)}"
            for key in sorted((set(before) | set(after)) - {"groups"})
            if before.get(key) != after.get(key)
        ]
    for key in ("unit", "budget", "exhausted", "max_epochs", "seed"):
        if first[key] != second[key]:
            sentences.append(f"{key} was {first[key]}, now it is {second[key]}")
    old_groups = {group["name"]: group for group in first["groups"]}
    new_groups = {group["name"]: group for group in second["groups"]}
    sentences += [f"group {name} is gone" for name in old_groups if name not in new_groups]
    sentences += [
        f"group {name} is new, with a share of {new_groups[name]['share']:.1%}"
        for name in new_groups
        if name not in old_groups
    ]
    for name, old in old_groups.items():
        if name in new_groups:
            sentences += _group_difference(name, old, new_groups[name], str(second["unit"]))
    if first["total"] != second["total"]:
        sentences.append(f"the whole was {first['total']:,} {first['unit']}, now it is {second['total']:,}")
    return sentences


def _found(section: Mapping[str, Any]) -> str:
    return "given" if section["method"] == "given" else f"found by {section['method']}"


def _group_difference(name: str, old: Mapping[str, Any], new: Mapping[str, Any], unit: str) -> list[str]:
    sentences = []
    if old["size"] != new["size"]:
        sentences.append(f"{name} had {old['size']:,} {unit}, now it has {new['size']:,}")
    if abs(old["asked"] - new["asked"]) >= _SHARE:
        sentences.append(f"{name} was asked for {old['asked']:.1%}, now for {new['asked']:.1%}")
    if abs(old["share"] - new["share"]) >= _SHARE:
        sentences.append(f"{name} gives {new['share']:.1%} in {new['epochs']:.2f} epochs, it gave {old['share']:.1%}")
    return sentences
