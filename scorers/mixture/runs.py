"""Tables of runs, each trained on its own mixture: read from two CSV files, reduced, drawn.

The files are those of Olmix (arXiv:2602.12237): `ratios.csv` has the share of each group in each run, `metrics.csv`
what the runs reached (lower is better), both with the run's name in a column `run` or `run_id`. Columns `name`, `index`
and one without a name (a row number) are left out.
"""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import numpy as np

from tamis.schemas.errors import ConfigError, DataError, InputError
from tamis.scorers.mixture.simplex import Vector, normalised

__all__ = ["Runs", "collapse_groups", "draw_mixtures", "expand_groups", "read_runs", "write_runs"]

_ID = ("run", "run_id")
_NOTHING = ("", "name", "index")
_SUM_TOLERANCE = 0.01


@dataclass(frozen=True)
class Runs:
    """Runs on different mixtures.

    Attributes:
        names: of the runs.
        groups: what mixtures have shares of.
        ratios: shares, shape (runs, groups); rows add to 1.
        metrics: names of what was measured.
        values: shape (runs, metrics), lower is better.
        notes: sentences on what was left out or changed when reading.
    """

    names: tuple[str, ...]
    groups: tuple[str, ...]
    ratios: Vector
    metrics: tuple[str, ...]
    values: Vector
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        """Refuse tables that don't fit each other.

        Raises:
            DataError: if shapes don't fit, a row doesn't add to 1, or a value isn't finite.
        """
        n = len(self.names)
        if self.ratios.shape != (n, len(self.groups)) or self.values.shape != (n, len(self.metrics)) or not n:
            msg = (
                f"{n} runs, {len(self.groups)} groups and {len(self.metrics)} metrics don't fit ratios of shape "
                f"{self.ratios.shape} and values of shape {self.values.shape}"
            )
            raise DataError(msg)
        if not (np.isfinite(self.ratios).all() and np.isfinite(self.values).all() and (self.ratios >= 0).all()):
            msg = "ratios must be finite numbers not below 0, and metrics finite numbers"
            raise DataError(msg)
        bad = np.flatnonzero(np.abs(self.ratios.sum(axis=1) - 1) > 1e-6)
        if len(bad):
            msg = f"the ratios of run {self.names[bad[0]]!r} add to {self.ratios[bad[0]].sum():.6g}, not 1"
            raise DataError(msg)

    def objective(self, weights: Mapping[str, float] | None = None) -> Vector:
        """Return the weighted mean of the metrics of each run, shape (runs,); see `metric_weights`."""
        return np.asarray(self.values @ self.metric_weights(weights))

    def metric_weights(self, weights: Mapping[str, float] | None = None) -> Vector:
        """Return a weight for each metric, adding to 1; None: all equal.

        Raises:
            ConfigError: if a metric isn't known, or weights are negative or all 0.
        """
        if weights is None:
            return np.full(len(self.metrics), 1 / len(self.metrics))
        unknown = sorted(set(weights) - set(self.metrics))
        if unknown:
            msg = f"there is no metric {unknown[0]!r}; known: {', '.join(self.metrics[:20])}"
            raise ConfigError(msg)
        return normalised([weights.get(name, 0.0) for name in self.metrics], "metric weights")


def read_runs(ratios: Path, metrics: Path, *, keep: Sequence[str] | None = None) -> Runs:
    """Read the two files, joined by the run's name, in the order of `ratios`.

    A run that only one file has, or one without a value for a metric that is kept, is left out, and noted. Rows that
    add to 1 within 0.01 are divided by their sum.

    Args:
        ratios: shares of the groups in each run.
        metrics: what each run reached.
        keep: metrics to keep, all others are ignored; None: all.

    Raises:
        InputError: if a file can't be read, has no column for the run, names one twice, or a number isn't one.
        DataError: if ratios don't add to 1, or no run is left.
        ConfigError: if a metric that is to be kept isn't there.
    """
    groups, shares = _read_table(ratios)
    names, measured = _read_table(metrics)
    missing = [name for name in keep or () if name not in names]
    if missing:
        msg = f"{metrics} has no column {missing[0]!r}; it has {', '.join(names[:20])}"
        raise ConfigError(msg)
    chosen = [names.index(name) for name in (names if keep is None else keep)]
    notes = []
    rows = []
    for run, row in shares.items():
        if any(math.isnan(x) for x in row) or not abs(sum(row) - 1) <= _SUM_TOLERANCE:
            msg = f"{ratios}: the ratios of run {run!r} add to {sum(row):.6g}, not 1"
            raise DataError(msg)
        if run not in measured:
            notes.append(f"run {run!r} has no metrics and is left out")
            continue
        values = [measured[run][i] for i in chosen]
        if any(math.isnan(x) for x in values):
            notes.append(f"run {run!r} lacks a metric and is left out")
            continue
        rows.append((run, normalised(row), values))
    notes += [f"run {run!r} has no ratios and is left out" for run in measured if run not in shares]
    if not rows:
        msg = f"no run of {ratios} has all metrics in {metrics}"
        raise DataError(msg)
    return Runs(
        tuple(run for run, _, _ in rows),
        tuple(groups),
        np.array([row for _, row, _ in rows]),
        tuple(names[i] for i in chosen),
        np.array([values for _, _, values in rows], np.float64).reshape(len(rows), len(chosen)),
        tuple(notes),
    )


def write_runs(runs: Runs, ratios: Path, metrics: Path) -> None:
    """Write the two files, which `read_runs` and Olmix read back to the same numbers."""
    for path, columns, table in ((ratios, runs.groups, runs.ratios), (metrics, runs.metrics, runs.values)):
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["run", *columns])
            for name, row in zip(runs.names, table.tolist(), strict=True):
                writer.writerow([name, *(repr(x) for x in row)])


def collapse_groups(runs: Runs, kept: Mapping[str, Mapping[str, float]], *, tolerance: float = 1e-3) -> Runs:
    """Return the runs with groups whose mixture is kept as one group each: reuse of a mixture when others change.

    Args:
        runs: runs in which the kept groups stand in their proportions.
        kept: new group's name to the proportions of the groups that it stands for.
        tolerance: how far a group's part of the sum may be from its proportion.

    Raises:
        ConfigError: if a group is unknown or kept twice, or a new name is taken.
        DataError: if a run has them in other proportions; the message names it.
    """
    members = [name for mixture in kept.values() for name in mixture]
    unknown = sorted(set(members) - set(runs.groups))
    if unknown or len(set(members)) != len(members):
        msg = f"kept groups must be of the runs' groups, each once; {(unknown or sorted(members))[0]!r} doesn't fit"
        raise ConfigError(msg)
    others = [name for name in runs.groups if name not in members]
    taken = sorted(set(kept) & set(others))
    if taken:
        msg = f"the kept mixture {taken[0]!r} has the name of a group: choose another"
        raise ConfigError(msg)
    columns = []
    for new, mixture in kept.items():
        part = runs.ratios[:, [runs.groups.index(name) for name in mixture]]
        wanted = normalised(list(mixture.values()), f"kept mixture {new!r}")
        total = part.sum(axis=1)
        off = np.abs(part - total[:, None] * wanted).max(axis=1)
        if (off > tolerance).any():
            run = runs.names[int(off.argmax())]
            msg = f"run {run!r} hasn't the groups of {new!r} in their kept proportions (off by {off.max():.3g})"
            raise DataError(msg)
        columns.append(total)
    ratios = np.column_stack([*columns, runs.ratios[:, [runs.groups.index(name) for name in others]]])
    return Runs(runs.names, (*kept, *others), ratios, runs.metrics, runs.values, runs.notes)


def expand_groups(mixture: Mapping[str, float], kept: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return a mixture of collapsed groups as one of all groups: each kept group's share by its proportions."""
    result: dict[str, float] = {}
    for name, share in mixture.items():
        if name in kept:
            parts = normalised(list(kept[name].values()), f"kept mixture {name!r}")
            result |= {group: share * float(part) for group, part in zip(kept[name], parts, strict=True)}
        else:
            result[name] = share
    return result


def draw_mixtures(
    prior: Sequence[float] | Vector,
    number: int,
    *,
    seed: int,
    strength: tuple[float, float] = (0.1, 5.0),
    purpose: str = "swarm",
) -> Vector:
    """Draw mixtures around a prior: Dirichlet with concentration prior x groups x strength, as RegMix does.

    Strengths of the draws are spaced evenly in logarithms over the given range, so that some lie near the prior and
    some near the corners. Draw i is a function of seed, purpose and i.

    Args:
        prior: shares, above 0.
        number: how many.
        seed: of the draw.
        strength: least and largest factor.
        purpose: what they are for; other purposes have other draws.

    Returns:
        shape (number, groups).

    Raises:
        ConfigError: if a share isn't above 0 or the strengths aren't above 0 and rising.
    """
    from scipy.special import gammaincinv, gammaln

    shares = normalised(prior, "prior")
    low, high = strength
    if not (shares > 0).all() or not 0 < low <= high:
        msg = f"mixtures need a prior above 0 and strengths 0 < low <= high, got {shares.tolist()} and {strength}"
        raise ConfigError(msg)
    rows = []
    for i in range(number):
        factor = low * (high / low) ** (i / max(1, number - 1))
        key = f"tamis-mixtures-1\0{seed}\0{purpose}\0{i}\0".encode()
        words = [int.from_bytes(sha256(key + str(j).encode()).digest()[:8], "big") for j in range(len(shares))]
        uniform = (np.array([word >> 11 for word in words], np.float64) + 0.5) / 2**53
        concentration = shares * len(shares) * factor
        gamma = gammaincinv(concentration, uniform)
        # Tiny concentrations underflow: there log gamma is (log u + log Gamma(a + 1)) / a.
        logs = np.where(gamma > 1e-290, np.log(np.maximum(gamma, 1e-300)),
                        (np.log(uniform) + gammaln(concentration + 1)) / concentration)  # fmt: skip
        weights = np.exp(logs - logs.max())
        rows.append(weights / weights.sum())
    return np.array(rows).reshape(number, len(shares))


def _read_table(path: Path) -> tuple[list[str], dict[str, list[float]]]:
    """Return the columns of a file and its rows by run; an empty cell is NaN."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        msg = f"{path} can't be read as CSV: {error}"
        raise InputError(msg) from error
    if not lines:
        msg = f"{path} is empty: it needs a header and a row for each run"
        raise InputError(msg)
    header = lines[0]
    places = [i for i, name in enumerate(header) if name in _ID]
    if len(places) != 1:
        msg = f"{path} needs exactly one column 'run' or 'run_id', it has {', '.join(map(repr, header[:20]))}"
        raise InputError(msg)
    columns = [i for i, name in enumerate(header) if name not in _ID and name not in _NOTHING]
    names = [header[i] for i in columns]
    if len(set(names)) != len(names) or not names:
        msg = f"{path} needs columns with different names beside the run's"
        raise InputError(msg)
    rows: dict[str, list[float]] = {}
    for number, line in enumerate(lines[1:], 2):
        if not line:
            continue
        if len(line) != len(header):
            msg = f"{path}, line {number}: {len(line)} cells where the header has {len(header)}"
            raise InputError(msg)
        run = line[places[0]]
        if run in rows:
            msg = f"{path}, line {number}: run {run!r} is there twice"
            raise InputError(msg)
        rows[run] = [_number(line[i], path, number, header[i]) for i in columns]
    return names, rows


def _number(cell: str, path: Path, line: int, column: str) -> float:
    if cell.strip().lower() in ("", "nan", "none", "null", "na"):
        return math.nan
    try:
        value = float(cell)
    except ValueError:
        value = math.inf
    if not math.isfinite(value):
        msg = f"{path}, line {line}: {cell!r} in column {column!r} isn't a finite number"
        raise InputError(msg)
    return value
