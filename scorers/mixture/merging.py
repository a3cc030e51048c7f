"""Ablation by merging: a candidate corpus is judged by the average of models trained on its parts (arXiv:2410.15661).

From one seed model a model is trained on each *unit*, a part of about the same number of tokens; the average of the
models of a candidate's units stands for a model trained on them. An average of n units of s steps imitates s steps on
the equal mixture, not n s steps on the union, so it is biased high: it ranks candidates and compares them, and is never
a loss.

The plain average is exact for least squares iff the units' Gram matrices agree, which is why units must be equal.
"""

import hashlib
import itertools
import json
import math
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tamis.schemas.errors import ConfigError, DataError, ModelError
from tamis.scorers.mixture.simplex import Vector, normalised

__all__ = [
    "CheckRow",
    "CheckTable",
    "LeaveOneOutRow",
    "average_weights",
    "candidate_subsets",
    "check_table",
    "leave_one_out",
    "read_weights",
    "unit_sizes",
    "unit_weights",
    "update_ratio",
    "write_weights",
]

Weights = Mapping[str, npt.NDArray[np.generic]]

_WARN_RATIO = 0.2
_DTYPES: Mapping[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"), "F32": np.dtype("<f4"), "F16": np.dtype("<f2"),
    "I64": np.dtype("<i8"), "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"), "I8": np.dtype("i1"), "U8": np.dtype("u1"), "U16": np.dtype("<u2"), "U32": np.dtype("<u4"),
    "U64": np.dtype("<u8"), "BOOL": np.dtype("?"),
}  # fmt: skip


class CheckRow(NamedTuple):
    """A candidate that was also trained.

    Attributes:
        candidate: its name.
        proxy: loss of the average, by evaluation set, nats.
        trained: loss of the trained model, likewise.
        proxy_rank: place by mean proxy loss, 1 the best; equal ones share the mean place.
        trained_rank: by mean trained loss.
    """

    candidate: str
    proxy: tuple[float, ...]
    trained: tuple[float, ...]
    proxy_rank: float
    trained_rank: float


class CheckTable(NamedTuple):
    """How far averages can be trusted to rank.

    Attributes:
        rows: by candidate.
        pearson: correlation of perplexities by evaluation set, then of the mean losses' perplexities.
        pearson_loss: of mean losses.
        spearman: of mean losses' ranks.
        kendall: tau-b of mean losses.
        best_by_proxy: the candidate with the lowest mean proxy loss.
        regret: trained loss of that one minus the lowest trained loss, nats.
        spread: highest minus lowest trained loss, for comparison.
        mean_offset: mean of proxy minus trained loss, nats.
        update_ratios: by unit; above 0.2 an average is doubtful.
        notes: sentences for a person.
    """

    rows: tuple[CheckRow, ...]
    pearson: tuple[float, ...]
    pearson_loss: float
    spearman: float
    kendall: float
    best_by_proxy: str
    regret: float
    spread: float
    mean_offset: float
    update_ratios: Mapping[str, float]
    notes: tuple[str, ...]


class LeaveOneOutRow(NamedTuple):
    """What leaving a group out does.

    Attributes:
        group: the group.
        change: relative change of the perplexity on each evaluation set, 0.008 for 0.8 % worse.
        mean_change: their mean.
    """

    group: str
    change: tuple[float, ...]
    mean_change: float


def unit_sizes(tokens: int, unit: int) -> list[int]:
    """Return the sizes of a group's units: as many whole ones as fit, the rest goes to the last.

    A group smaller than a unit is one unit, to be flagged: its model sees less.

    Raises:
        ConfigError: if a number isn't above 0.
    """
    if tokens < 1 or unit < 1:
        msg = f"units need tokens and a unit's size above 0, got {tokens} and {unit}"
        raise ConfigError(msg)
    pieces = max(1, tokens // unit)
    return [unit] * (pieces - 1) + [tokens - unit * (pieces - 1)]


def unit_weights(units: Mapping[str, Sequence[str]], shares: Mapping[str, float] | None = None) -> dict[str, float]:
    """Return the weight of each unit in the average that stands for a mixture.

    Args:
        units: names of each group's units.
        shares: of the groups: each group's mean of units by its share (`macro`); None: equal for all units (`micro`).

    Raises:
        ConfigError: if a group has no unit, a unit is there twice, or shares name another group.
    """
    names = [unit for members in units.values() for unit in members]
    if len(set(names)) != len(names) or any(not members for members in units.values()):
        msg = "each group needs units, and each unit belongs to one group"
        raise ConfigError(msg)
    if shares is None:
        return dict.fromkeys(sorted(names), 1 / len(names))
    unknown = sorted(set(shares) - set(units))
    if unknown:
        msg = f"the mixture names group {unknown[0]!r}, which has no unit"
        raise ConfigError(msg)
    parts = normalised([shares.get(group, 0.0) for group in units], "shares")
    weights = {
        unit: float(p) / len(members) for p, members in zip(parts, units.values(), strict=True) for unit in members
    }
    return {unit: weights[unit] for unit in sorted(weights) if weights[unit] > 0}


def average_weights(
    models: Mapping[str, Weights], weights: Mapping[str, float] | None = None
) -> dict[str, npt.NDArray[np.generic]]:
    """Return the average of models: floating-point tensors in float64, added in the order of names; others must agree.

    Args:
        models: tensors by name, by unit.
        weights: by unit, adding to 1; None: equal.

    Returns:
        Tensors in the type of the models.

    Raises:
        ModelError: if tensors differ in names, shapes or types, or one that isn't floating point in values.
        ConfigError: if weights don't fit.
    """
    names = sorted(models)
    if not names:
        msg = "an average needs at least one model"
        raise ConfigError(msg)
    parts = dict.fromkeys(names, 1 / len(names)) if weights is None else dict(weights)
    if sorted(parts) != names or abs(math.fsum(parts.values()) - 1) > 1e-9:
        msg = f"weights must be given for {', '.join(names[:10])}, adding to 1"
        raise ConfigError(msg)
    first = models[names[0]]
    result: dict[str, npt.NDArray[np.generic]] = {}
    for name in names[1:]:
        if set(models[name]) != set(first):
            odd = sorted(set(models[name]) ^ set(first))[0]
            msg = f"models {names[0]} and {name} don't have the same tensors: {odd!r} is only in one"
            raise ModelError(msg)
    for tensor in sorted(first):
        result[tensor] = _average_tensor(tensor, {name: models[name][tensor] for name in names}, parts)
    return result


def _average_tensor(
    tensor: str, values: Mapping[str, npt.NDArray[np.generic]], parts: Mapping[str, float]
) -> npt.NDArray[np.generic]:
    names = sorted(values)
    first = values[names[0]]
    for name in names[1:]:
        if values[name].shape != first.shape or values[name].dtype != first.dtype:
            msg = (
                f"tensor {tensor!r} of {name} is {values[name].dtype}{list(values[name].shape)}, not that of {names[0]}"
            )
            raise ModelError(msg)
    if not np.issubdtype(first.dtype, np.floating):
        if any(not np.array_equal(values[name], first) for name in names[1:]):
            msg = f"tensor {tensor!r} isn't floating point and differs between the models: they can't be averaged"
            raise ModelError(msg)
        return first.copy()
    # Differences from the first, so that the average of equal models is that model to the last bit.
    base = first.astype(np.float64)
    total = np.zeros(first.shape)
    for name in names[1:]:
        total += parts[name] * (values[name].astype(np.float64) - base)
    return np.asarray((base + total).astype(first.dtype))


def update_ratio(start: Weights, trained: Weights) -> float:
    """Return sum|trained - start| / (sum|trained| + sum|start|) over floating-point tensors; about 0.1 is wanted.

    Raises:
        ModelError: if the models don't have the same tensors.
    """
    if set(start) != set(trained):
        msg = "the trained model hasn't the tensors of its seed model"
        raise ModelError(msg)
    moved, sizes = [], []
    for name in sorted(start):
        if np.issubdtype(start[name].dtype, np.floating):
            a, b = start[name].astype(np.float64), trained[name].astype(np.float64)
            moved.append(float(np.abs(b - a).sum()))
            sizes += [float(np.abs(a).sum()), float(np.abs(b).sum())]
    total = math.fsum(sizes)
    return math.fsum(moved) / total if total else 0.0


def candidate_subsets(groups: Sequence[str], largest: int) -> Iterator[tuple[str, ...]]:
    """Yield all subsets of 1 to `largest` groups, small ones first, each sorted.

    Raises:
        ConfigError: if `largest` isn't from 1 to the number of groups.
    """
    if not 1 <= largest <= len(groups):
        msg = f"subsets of up to {largest} of {len(groups)} groups can't be made"
        raise ConfigError(msg)
    for size in range(1, largest + 1):
        yield from itertools.combinations(sorted(groups), size)


def check_table(
    proxy: Mapping[str, Sequence[float]],
    trained: Mapping[str, Sequence[float]],
    *,
    update_ratios: Mapping[str, float] | None = None,
) -> CheckTable:
    """Return how the averages' losses go with those of trained models, over the candidates that have both.

    Args:
        proxy: losses of the averages by evaluation set, nats a token, by candidate.
        trained: losses of the trained models.
        update_ratios: by unit.

    Raises:
        DataError: if fewer than three candidates have both, or numbers of evaluation sets differ.
    """
    from scipy.stats import kendalltau, rankdata

    names = [name for name in proxy if name in trained]
    widths = {len(values) for name in names for values in (proxy[name], trained[name])}
    if len(names) < 3 or len(widths) != 1:
        msg = f"a check needs at least three candidates with losses on the same evaluation sets, got {len(names)}"
        raise DataError(msg)
    a, b = (np.array([table[name] for name in names], np.float64) for table in (proxy, trained))
    mean_a, mean_b = a.mean(axis=1), b.mean(axis=1)
    rank_a, rank_b = rankdata(mean_a), rankdata(mean_b)
    best = int(mean_a.argmin())
    ratios = dict(update_ratios or {})
    notes = [
        f"unit {name} moved {ratio:.2f} of its weights: averages of such units are doubtful (above {_WARN_RATIO})"
        for name, ratio in sorted(ratios.items())
        if ratio > _WARN_RATIO
    ]
    pearson = [_pearson(np.exp(x), np.exp(y)) for x, y in zip(a.T, b.T, strict=True)]
    return CheckTable(
        tuple(
            CheckRow(name, tuple(x), tuple(y), float(r), float(s))
            for name, x, y, r, s in zip(names, a.tolist(), b.tolist(), rank_a, rank_b, strict=True)
        ),
        (*pearson, _pearson(np.exp(mean_a), np.exp(mean_b))),
        _pearson(mean_a, mean_b),
        _pearson(rank_a, rank_b),
        float(kendalltau(mean_a, mean_b).statistic),
        names[best],
        float(mean_b[best] - mean_b.min()),
        float(np.ptp(mean_b)),
        float((mean_a - mean_b).mean()),
        ratios,
        tuple(notes),
    )


def _pearson(x: Vector, y: Vector) -> float:
    """Return the correlation, NaN where one side doesn't vary."""
    a, b = x - x.mean(), y - y.mean()
    scale = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / scale if scale > 0 else math.nan


def leave_one_out(whole: Sequence[float], without: Mapping[str, Sequence[float]]) -> list[LeaveOneOutRow]:
    """Return what leaving each group out does to perplexity, the group that is missed most first.

    Args:
        whole: losses of the average of all units by evaluation set, nats a token.
        without: losses of the averages without a group.

    Raises:
        DataError: if numbers of evaluation sets differ.
    """
    base = np.asarray(whole, np.float64)
    rows = []
    for group, losses in without.items():
        if len(losses) != len(base):
            msg = f"{len(losses)} losses without {group!r}, but {len(base)} with it"
            raise DataError(msg)
        change = np.expm1(np.asarray(losses, np.float64) - base)
        rows.append(LeaveOneOutRow(group, tuple(change.tolist()), float(change.mean())))
    return sorted(rows, key=lambda row: (-row.mean_change, row.group))


def read_weights(path: Path) -> dict[str, npt.NDArray[np.generic]]:
    """Return the tensors of a safetensors file, memory-mapped; bfloat16 ones as float32.

    Raises:
        ModelError: if the file isn't one, is cut short, or has a type that isn't known.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > size - 8:
            msg = f"{path} isn't a safetensors file, or was cut short"
            raise ModelError(msg)
        try:
            header = json.loads(file.read(length))
        except ValueError as error:
            msg = f"{path} isn't a safetensors file: {error}"
            raise ModelError(msg) from error
    data = np.memmap(path, np.uint8, "r", offset=8 + length) if size > 8 + length else np.empty(0, np.uint8)
    result: dict[str, npt.NDArray[np.generic]] = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        if not 0 <= begin <= end <= len(data):
            msg = f"{path}: tensor {name!r} lies outside of the file; it was cut short"
            raise ModelError(msg)
        raw = np.asarray(data[begin:end])
        if entry["dtype"] == "BF16":
            wide = raw.view("<u2").astype(np.uint32) << np.uint32(16)
            result[name] = wide.view(np.float32).reshape(entry["shape"])
        elif entry["dtype"] in _DTYPES:
            result[name] = raw.view(_DTYPES[entry["dtype"]]).reshape(entry["shape"])
        else:
            msg = f"{path}: tensor {name!r} has type {entry['dtype']}, which can't be averaged; save it as float32"
            raise ModelError(msg)
    return result


def write_weights(path: Path, weights: Weights) -> str:
    """Write tensors as a safetensors file, which appears once it is complete; return its SHA-256.

    Equal tensors give equal bytes: names are sorted, and tensors stand in that order.
    """
    kinds = {dtype: kind for kind, dtype in _DTYPES.items()}
    header: dict[str, object] = {}
    at = 0
    for name in sorted(weights):
        array = weights[name]
        if array.dtype not in kinds:
            msg = f"tensor {name!r} of type {array.dtype} can't be written"
            raise ModelError(msg)
        header[name] = {
            "dtype": kinds[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [at, at + array.nbytes],
        }
        at += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    digest = hashlib.sha256()
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        for block in _blocks(struct.pack("<Q", len(text)) + text, (weights[name] for name in sorted(weights))):
            file.write(block)
            digest.update(block)
    partial.replace(path)
    return digest.hexdigest()


def _blocks(head: bytes, arrays: Iterable[npt.NDArray[np.generic]]) -> Iterator[bytes]:
    yield head
    for array in arrays:
        yield np.ascontiguousarray(array).tobytes()
