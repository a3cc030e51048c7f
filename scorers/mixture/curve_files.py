"""Reads loss curves of continued training: CSV with `ratio, tokens, general_loss, domain_loss` and perhaps `seed`.

The row at tokens 0 of a ratio (and seed) is its start; where a curve has none, the start is given.
"""

import csv
import math
from pathlib import Path

import numpy as np

from tamis.schemas.errors import InputError
from tamis.scorers.mixture.critical_ratio import Curve

__all__ = ["read_curves"]

_COLUMNS = ("ratio", "tokens", "general_loss", "domain_loss")


def read_curves(path: Path, *, start: tuple[float, float] | None = None) -> list[Curve]:
    """Return one curve for each ratio, rising, as changes against the start.

    Rows may stand in any order; all seeds of a ratio need the same token counts.

    Args:
        path: the file; other columns are left out.
        start: general and domain loss before the training, for curves without a row at tokens 0.

    Raises:
        InputError: if the file can't be read, lacks a column, has a cell that isn't a number, a point twice, a curve
            without a start, or seeds with different token counts; the message names line or ratio.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        msg = f"{path} can't be read as CSV: {error}"
        raise InputError(msg) from error
    missing = [name for name in _COLUMNS if not lines or name not in lines[0]]
    if missing:
        msg = f"{path} needs rows with the columns {', '.join(_COLUMNS)}; {missing[0]} is missing"
        raise InputError(msg)
    runs: dict[float, dict[str, dict[float, tuple[float, float]]]] = {}
    for number, line in enumerate(lines, 2):
        ratio, tokens, general, domain = (_number(line[name], name, path, number) for name in _COLUMNS)
        points = runs.setdefault(ratio, {}).setdefault(line.get("seed") or "", {})
        if tokens < 0 or tokens in points:
            msg = f"{path}, line {number}: tokens {tokens:g} of ratio {ratio:g} are below 0 or there twice"
            raise InputError(msg)
        points[tokens] = general, domain
    return [_curve(path, ratio, runs[ratio], start) for ratio in sorted(runs)]


def _curve(
    path: Path, ratio: float, seeds: dict[str, dict[float, tuple[float, float]]], start: tuple[float, float] | None
) -> Curve:
    counts = {seed: tuple(sorted(t for t in points if t > 0)) for seed, points in seeds.items()}
    if len(set(counts.values())) != 1:
        msg = f"{path}: the seeds of ratio {ratio:g} have losses at different token counts"
        raise InputError(msg)
    tokens = next(iter(counts.values()))
    changes = []
    for seed in sorted(seeds):
        begin = seeds[seed].get(0.0, start)
        if begin is None:
            msg = f"{path}: ratio {ratio:g} has no row at tokens 0: add one, or give the losses at the start"
            raise InputError(msg)
        changes.append([np.array(seeds[seed][t]) - np.array(begin) for t in tokens])
    table = np.array(changes).reshape(len(seeds), len(tokens), 2)
    return Curve(ratio, np.array(tokens), table[:, :, 0], table[:, :, 1])


def _number(cell: str | None, name: str, path: Path, line: int) -> float:
    try:
        value = float(cell or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        msg = f"{path}, line {line}: {cell!r} in column {name} isn't a finite number"
        raise InputError(msg)
    return value
