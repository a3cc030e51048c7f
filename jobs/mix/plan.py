"""Plans a mixture: what each group gives, which documents that is, how often each is seen, in which order."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tamis.jobs.mix.estimate import Found
from tamis.jobs.mix.selection import Index
from tamis.pipeline.mixing.lines import count_lines
from tamis.schemas.errors import ConfigError, DataError
from tamis.schemas.mixture import MixtureConfig
from tamis.scorers.mixture.blend import Blend, plan_blend
from tamis.scorers.mixture.fixed import mean_mixture
from tamis.scorers.mixture.record import mixture_record
from tamis.scorers.mixture.repetition import HEAVY, SeenClass, repetition, repetition_warning
from tamis.scorers.mixture.simplex import normalised
from tamis.scorers.mixture.streams import Curve, Stream, fill_stream, stage_quotas, training_order

__all__ = ["PlannedMixture", "plan_mixture"]


@dataclass(frozen=True)
class PlannedMixture:
    """A mixture, down to its documents.

    Attributes:
        blend: the quotas.
        streams: what each group gives, in the groups' order.
        quotas: by stage and group, in the unit, int64 (stages, groups).
        order: the documents in training order (or group by group), positions in the index, int64 (taken,).
        group: of each, int32 (taken,).
        stage: of each, int32 (taken,).
        passes: how often each was taken before, int32 (taken,).
        record: the manifest's section `mixture`.
        repetition: its section `repetition`.
        warnings: sentences.
    """

    blend: Blend
    streams: tuple[Stream, ...]
    quotas: npt.NDArray[np.int64]
    order: npt.NDArray[np.int64]
    group: npt.NDArray[np.int32]
    stage: npt.NDArray[np.int32]
    passes: npt.NDArray[np.int32]
    record: dict[str, Any]
    repetition: dict[str, Any]
    warnings: tuple[str, ...]


def plan_mixture(config: MixtureConfig, index: Index, found: Found) -> PlannedMixture:
    """Plan a mixture.

    Args:
        config: budget, unit, and what is done where a group runs out.
        index: the documents.
        found: the proportions.

    Raises:
        ConfigError: if proportions name a group that the data hasn't, or a schedule is asked for that there isn't.
        DataError: if a group can't give what it should, and the config refuses that.
    """
    if config.schedule == "rounds" and found.stages:
        found = replace(found, proportions=_mean(found))  # of the rounds alone: probes aren't written
    blend = plan_blend(
        index.totals(config.unit),
        budget=config.budget,
        exhausted=config.exhausted,
        proportions=found.proportions,
        without=config.without,
        documents=index.documents(),
        unit=config.unit,
        max_epochs=config.max_epochs,
    )
    quotas = _stages(config, index, found, blend)
    sizes = index.sizes(config.unit)
    fill = config.fill.curve
    curve = None if fill is None else Curve(fill.ranges, fill.cap, fill.throwaway)
    streams = []
    for number, (name, members) in enumerate(zip(index.names, index.members, strict=True)):
        quality = None if config.fill.by is None else index.quality[members]
        try:
            stream = fill_stream(
                index.words[members],
                sizes[members],
                quotas[:, number].tolist(),
                seed=config.seed,
                quality=quality,
                curve=curve,
            )
        except DataError as error:
            msg = f"group {name!r}: {error}"
            raise DataError(msg) from None
        streams.append(stream)
    order, group, stage, passes = _ordered(config, index, streams)
    record = _record(config, found, blend, streams, quotas, index)
    repeated, warned = repetition_record(config, index, streams)
    notes = (*found.notes, *blend.notes)
    if config.max_epochs > 4 and any(g.epochs > 4 for g in blend.groups):
        most = max(blend.groups, key=lambda g: g.epochs)
        notes = (*notes, f"{most.name} is seen {most.epochs:.1f} times: beyond 4 epochs a token is worth less and less")
    return PlannedMixture(
        blend, tuple(streams), quotas, order, group, stage, passes, record, repeated, (*notes, *warned)
    )


def _mean(found: Found) -> dict[str, float]:
    names = sorted({name for shares, _ in found.stages for name in shares})
    rows = [[shares.get(name, 0.0) for name in names] for shares, _ in found.stages]
    return dict(zip(names, mean_mixture(rows, [length for _, length in found.stages]).tolist(), strict=True))


def _stages(config: MixtureConfig, index: Index, found: Found, blend: Blend) -> npt.NDArray[np.int64]:
    totals = [group.quota for group in blend.groups]
    if config.schedule != "rounds":
        return np.array([totals], np.int64)
    if not found.stages:
        msg = f"schedule: {found.method} has no rounds, so there is nothing to go through in turn: take the mean"
        raise ConfigError(msg)
    rows = np.array([[shares.get(name, 0.0) for name in index.names] for shares, _ in found.stages])
    rows = np.array([normalised(row, "a stage") for row in rows])
    given = np.array(totals) > 0
    rows = np.where(given, rows, 0.0)  # what an empty group should have given goes to the others
    empty = rows.sum(axis=1) <= 0
    if empty.any():
        msg = f"stage {int(np.flatnonzero(empty)[0]) + 1} of the schedule has only groups that are empty"
        raise DataError(msg)
    rows = rows / rows.sum(axis=1, keepdims=True)
    return stage_quotas(rows, [length for _, length in found.stages], totals)


def _ordered(config: MixtureConfig, index: Index, streams: list[Stream]) -> tuple[Any, Any, Any, Any]:
    if config.in_training_order:
        groups, places = training_order(streams)
    else:
        groups = np.concatenate([np.full(len(s.documents), i, np.int64) for i, s in enumerate(streams)])
        places = np.concatenate([np.arange(len(s.documents), dtype=np.int64) for s in streams])
    order, stage, passes = (np.empty(len(groups), kind) for kind in (np.int64, np.int32, np.int32))
    for number, stream in enumerate(streams):
        mine = groups == number
        at = places[mine]
        order[mine] = index.members[number][stream.documents[at]]
        stage[mine], passes[mine] = stream.stages[at], stream.passes[at]
    return order, groups.astype(np.int32), stage, passes


def _record(
    config: MixtureConfig,
    found: Found,
    blend: Blend,
    streams: list[Stream],
    quotas: npt.NDArray[np.int64],
    index: Index,
) -> dict[str, Any]:
    record = mixture_record(
        blend,
        seed=config.seed,
        method=found.method,
        parameters=found.parameters,
        proportions=found.proportions,
        rounds=found.rounds,
        notes=found.notes,
    )
    total = sum(stream.amount for stream in streams)
    for number, (entry, stream) in enumerate(zip(record["groups"], streams, strict=True)):
        counts = np.bincount(stream.times_seen(len(index.members[number])))
        entry |= {
            "amount": stream.amount,
            "realised": stream.amount / total if total else 0.0,
            "taken": len(stream.documents),
            "times_seen": {str(times): int(n) for times, n in enumerate(counts) if n},
        }
        if stream.factors is not None:
            entry["factors"] = list(stream.factors)
    return record | {
        "figures": dict(found.figures),
        "by": config.by,
        "schedule": config.schedule,
        "order": "training" if config.in_training_order else "group",
        "fill": config.fill.model_dump(mode="json"),
        "stages": [dict(zip(index.names, row, strict=True)) for row in quotas.tolist()],
    }


def _heavy(classes: Sequence[SeenClass], index: Index, times: npt.NDArray[np.int64]) -> dict[str, Any]:
    """Return what is seen ten times or more: of tokens (or bytes), and of lines."""
    heavy = [one for one in classes if one.times >= HEAVY]
    amounts = [math.fsum(one.unique_tokens * one.times for one in some) for some in (heavy, classes)]
    bounds = np.searchsorted(index.shard, np.arange(len(index.lines) + 1))
    of_shard = [times[begin:end] for begin, end in itertools.pairwise(bounds.tolist())]
    lines = count_lines(index.lines, of_shard, HEAVY)
    return {
        "times": HEAVY,
        "tokens": amounts[0],
        "unique_tokens": math.fsum(one.unique_tokens for one in heavy),
        "share": amounts[0] / amounts[1] if amounts[1] else 0.0,
        "lines": {
            "seen": lines.heavy_seen,
            "unique": lines.heavy_unique,
            "share": lines.heavy_seen / lines.seen if lines.seen else 0.0,
            "counted": 0.5**index.bits,
        },
    }


def repetition_record(
    config: MixtureConfig, index: Index, streams: list[Stream]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the histogram of times seen with what it is worth, and warnings.

    A document is seen as often as its duplicate cluster is taken, in all groups together.
    """
    unit = "tokens" if config.tokenizer is not None else "bytes"
    sizes = index.sizes(unit)
    times = np.zeros(len(index.group), np.int64)
    for members, stream in zip(index.members, streams, strict=True):
        times[members] = stream.times_seen(len(members))
    seen = times
    if index.cluster is not None:
        _, numbers = np.unique(index.cluster, return_inverse=True)
        seen = np.bincount(numbers, weights=times).astype(np.int64)[numbers]
    taken = times > 0
    keys = np.column_stack([index.group[taken].astype(np.int64), seen[taken]])
    rows, where = np.unique(keys, axis=0, return_inverse=True)
    amounts = np.bincount(where.ravel(), weights=(sizes * times)[taken].astype(np.float64), minlength=len(rows))
    classes = [
        SeenClass(float(amount) / int(often), float(often), index.names[int(group)])
        for (group, often), amount in zip(rows.tolist(), amounts.tolist(), strict=True)
    ]
    found = repetition(classes)
    record: dict[str, Any] = {
        "unit": unit,
        "clusters": index.cluster is not None,
        "histogram": [dict(row) for row in found.histogram],
        "seen": found.tokens_seen,
        "unique": found.unique_tokens,
        "effective": found.effective_tokens,
        "groups": {name: dict(row) for name, row in found.groups.items()},
        "heavy": _heavy(classes, index, times),
        "warning": None,
    }
    warnings: tuple[str, ...] = ()
    if config.parameters is not None and found.tokens_seen:
        warned = repetition_warning(classes, config.parameters)
        record["warning"] = warned._asdict()
        if warned.sentence:
            warnings = (f"repetition ({warned.level}): {warned.sentence}",)
    return record, warnings
