"""What a manifest says of a mixture, and how two of them differ, in words."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tamis.scorers.mixture.blend import Blend
from tamis.scorers.mixture.controller import Controller
from tamis.scorers.mixture.order import Fill

__all__ = ["explain_difference", "mixture_record"]

_SHARE = 0.0005
"""Shares that differ by less are the same when rounded to a tenth of a per cent."""


def mixture_record(
    blend: Blend, *, seed: int, controller: Controller | None = None, fills: Mapping[str, Sequence[Fill]] | None = None
) -> dict[str, Any]:
    """Return the manifest's `mixture` section, JSON values only.

    Args:
        blend: the planned quotas.
        seed: of the order.
        controller: what found the proportions; None: they were given.
        fills: the parts that each group gave, for realised shares and times seen.

    Returns:
        `method`, `parameters`, `proportions`, `rounds` (laws and shares by round), `unit`, `budget`, `total`,
        `exhausted`, `max_epochs`, `seed`, `notes`, and `groups` with size, asked share, quota, epochs and, where it was
        filled, amount, realised share, documents taken and a count of documents by times seen.
    """
    amounts = {name: sum(fill.amount for fill in parts) for name, parts in (fills or {}).items()}
    total = sum(amounts.values())
    groups = []
    for group in blend.groups:
        entry: dict[str, Any] = {key: value for key, value in group._asdict().items() if key != "name"}
        entry = {"name": group.name, **entry}
        if fills is not None and group.name in fills:
            entry |= _filled(fills[group.name], amounts[group.name], total)
        groups.append(entry)
    return {
        "method": "given" if controller is None else controller.method,
        "parameters": {} if controller is None else controller.parameters.model_dump(mode="json"),
        "proportions": None
        if controller is None
        else dict(zip(controller.groups, controller.proportions(), strict=True)),
        "rounds": [] if controller is None else controller.history(),
        "unit": blend.unit,
        "budget": blend.budget,
        "total": blend.total,
        "exhausted": blend.exhausted,
        "max_epochs": blend.max_epochs,
        "seed": seed,
        "groups": groups,
        "notes": list(blend.notes),
    }


def _filled(parts: Sequence[Fill], amount: int, total: int) -> dict[str, Any]:
    seen: dict[int, int] = {}
    for count in np.sum([part.times_seen for part in parts], axis=0).tolist() if parts else []:
        seen[count] = seen.get(count, 0) + 1
    return {
        "amount": amount,
        "realised": amount / total if total else 0.0,
        "taken": sum(len(part.documents) for part in parts),
        "times_seen": {str(count): seen[count] for count in sorted(seen)},
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
