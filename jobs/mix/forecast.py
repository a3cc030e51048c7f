"""What a mixture would hold, said before the run: by sizes of groups that are known only about."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tamis.jobs.mix.estimate import proportions_from_files
from tamis.schemas.errors import DataError
from tamis.schemas.mixture import MixtureConfig
from tamis.scorers.mixture.blend import Blend, plan_blend
from tamis.scorers.mixture.repetition import HEAVY, SeenClass, repetition

__all__ = ["Amounts", "Forecast", "GroupSizes", "forecast", "forecast_json"]

Known = Literal["run", "sample", "files"]


@dataclass(frozen=True)
class Amounts:
    """What a group has, about.

    Attributes:
        documents: their number.
        bytes: of their texts.
        tokens: of them, with the end of each; 0 where none are counted.
    """

    documents: float
    bytes: float
    tokens: float = 0.0


@dataclass(frozen=True)
class GroupSizes:
    """Groups and their sizes, as an index of documents has them."""

    groups: Mapping[str, Amounts]

    @property
    def names(self) -> tuple[str, ...]:
        """The groups, sorted."""
        return tuple(sorted(self.groups))

    def totals(self, unit: str) -> dict[str, int]:
        """Return the groups' sizes in a unit: tokens, bytes or documents."""
        return {name: round(getattr(self.groups[name], unit)) for name in self.names}


@dataclass(frozen=True)
class Forecast:
    """A mixture as far as it can be told.

    Attributes:
        known: what it follows from: the finished run, a sample, or the sizes of files.
        method: how the shares are found.
        sizes: of the groups.
        blend: the quotas; None if shares are found from documents only, when the mixture is made.
        repetition: how much would be seen how often, as in a manifest; None without quotas.
        notes: sentences.
    """

    known: Known
    method: str
    sizes: GroupSizes
    blend: Blend | None
    repetition: Mapping[str, Any] | None
    notes: tuple[str, ...]


def forecast(config: MixtureConfig, groups: Mapping[str, Amounts], known: Known) -> Forecast:
    """Say what a mixture would hold.

    Args:
        config: of the mixture.
        groups: what each has.
        known: where that comes from.

    Raises:
        ConfigError: if proportions name a group that the data hasn't.
        DataError: if a group can't give what it should, and the config refuses that.
    """
    notes = []
    wanted = {name for stage in config.stages or () for name in stage.proportions} | set(config.proportions or ())
    absent = sorted(wanted - set(groups)) if known == "sample" else []
    notes += [f"no document of the sample is of group {name}: it counts as empty" for name in absent]
    sizes = GroupSizes({**groups, **dict.fromkeys(absent, Amounts(0, 0))})
    found = proportions_from_files(config, sizes)
    if found is None:
        method = "" if config.estimate is None else config.estimate.method
        notes.append(f"{method} finds the shares from documents, when the mixture is made: there are no quotas yet")
        return Forecast(known, method, sizes, None, None, tuple(notes))
    totals = sizes.totals(config.unit)
    blend = plan_blend(
        totals,
        budget=config.budget,
        exhausted=config.exhausted,
        proportions=found.proportions,
        without=config.without,
        documents=sizes.totals("documents"),
        unit=config.unit,
        max_epochs=config.max_epochs,
    )
    if not blend.total:
        msg = "mixture: no group would give anything"
        raise DataError(msg)
    return Forecast(known, found.method, sizes, blend, _repetition(config, blend), (*notes, *found.notes, *blend.notes))


def _repetition(config: MixtureConfig, blend: Blend) -> dict[str, Any]:
    """Return what is seen how often by the groups' epochs alone: copies and lines are known when it is made."""
    classes = [SeenClass(float(group.size), group.epochs, group.name) for group in blend.groups if group.quota]
    found = repetition(classes)
    rows: list[dict[str, Any]] = [dict(row) for row in found.histogram]
    heavy = [row for row in rows if row["seen"][0] >= HEAVY]
    tokens, unique = (math.fsum(row[name] for row in heavy) for name in ("tokens", "unique_tokens"))
    share = tokens / found.tokens_seen if found.tokens_seen else 0.0
    return {
        "unit": config.unit,
        "histogram": rows,
        "seen": found.tokens_seen,
        "unique": found.unique_tokens,
        "effective": found.effective_tokens,
        "heavy": {"times": HEAVY, "tokens": tokens, "unique_tokens": unique, "share": share, "lines": None},
    }


def forecast_json(found: Forecast) -> dict[str, Any]:
    """Return a forecast as JSON values."""
    blend = found.blend
    if blend is None:
        groups = [
            {"name": name, "size": size, "documents": round(found.sizes.groups[name].documents)}
            for name, size in found.sizes.totals("bytes").items()
        ]
        return {"known": found.known, "method": found.method, "groups": groups, "notes": list(found.notes)}
    return {
        "known": found.known,
        "method": found.method,
        "unit": blend.unit,
        "budget": blend.budget,
        "total": blend.total,
        "groups": [group._asdict() for group in blend.groups],
        "repetition": found.repetition,
        "notes": list(found.notes),
    }
