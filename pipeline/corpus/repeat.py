"""How often documents are to be taken: by a column's value, by a table over it, or by an upsampling curve of groups."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tamis.pipeline.corpus.context import Corpus, Decision, Outcome
from tamis.pipeline.graph.passes import Done, Values
from tamis.pipeline.passes.shard_reader import ColumnReader, rewrite_states
from tamis.pipeline.passes.stage import Stage
from tamis.pipeline.storage import filesystem
from tamis.pipeline.storage.column_file import intact_note, writer
from tamis.pipeline.storage.place import Place, Shard
from tamis.pipeline.storage.row_state import RowState
from tamis.schemas.errors import DataError
from tamis.scorers.selection.groups import GroupLabel, Groups, group_rows
from tamis.scorers.selection.upsampling import copies, upsampling_curve

__all__ = ["Curve", "Repetition", "repeat"]


@dataclass(frozen=True)
class Curve:
    """An upsampling curve over the ranges that a column numbers, ascending with quality.

    Attributes:
        times: tokens wanted per token there is.
        cap: see `upsampling_curve`.
        throwaway: see `upsampling_curve`.
        continuous: see `upsampling_curve`.
        unit: column of what a document weighs; None: one each.
        by: columns whose groups have curves of their own.
    """

    times: float
    cap: float
    throwaway: float
    continuous: bool
    unit: str | None
    by: tuple[str, ...]


@dataclass(frozen=True)
class Repetition:
    """What is repeated.

    Attributes:
        column: the number that factors follow from.
        table: pairs of a least value and the factor from it on, ascending; None: the value is the factor.
        curve: instead of a table.
        missing: the factor of documents without a value.
        field: the column of the copies.
        rule: position of the rule that documents without a copy fall to.
    """

    column: str
    table: tuple[tuple[float, float], ...] | None
    curve: Curve | None
    missing: float
    field: pa.Field
    rule: int

    @property
    def by(self) -> tuple[str, ...]:
        """The grouping columns of the curve."""
        return () if self.curve is None else self.curve.by

    def groups(self, batch: pa.RecordBatch) -> Groups:
        """Return the rows' groups."""
        if self.by:
            return group_rows([batch.column(name) for name in self.by])
        return Groups.one(batch.num_rows)

    def values(self, batch: pa.RecordBatch) -> npt.NDArray[np.float64]:
        """Return the column; NaN where a row has no value."""
        column: npt.NDArray[Any] = batch.column(self.column).to_numpy(zero_copy_only=False)
        return column.astype(np.float64)

    def factors(
        self, batch: pa.RecordBatch, curves: Mapping[GroupLabel, Mapping[int, float]]
    ) -> npt.NDArray[np.float64]:
        """Return the factor of each row.

        Args:
            batch: the columns.
            curves: of a curve: group to number of a range to its factor.
        """
        values = self.values(batch)
        if self.curve is not None:
            groups = self.groups(batch)
            rows = zip(groups.codes.tolist(), values.tolist(), strict=True)
            known = [curves.get(label, {}) for label in groups.labels]
            found = np.array([0.0 if math.isnan(value) else known[code].get(int(value), 0.0) for code, value in rows])
        elif self.table is not None:
            lows = np.array([low for low, _ in self.table])
            factors = np.array([0.0, *(factor for _, factor in self.table)])
            found = factors[np.searchsorted(lows, values, side="right")]
        else:
            found = values.copy()
        found[np.isnan(values)] = self.missing
        return found


def _label(parts: Sequence[str | None]) -> GroupLabel:
    return tuple(parts)


@dataclass(frozen=True)
class _Weigh:
    """Sums what the documents alive of each range weigh."""

    reader: ColumnReader
    wanted: Repetition

    def __call__(self, shard: Shard, values: Values) -> bytes:
        """Return a line of JSON: [[group, number of the range, weight], ...]."""
        del values
        curve = self.wanted.curve
        found: dict[tuple[GroupLabel, int], int] = {}
        for batch, state, _ in self.reader.read(shard):
            numbers = self.wanted.values(batch)
            rows = np.flatnonzero(state.mask & ~np.isnan(numbers))
            groups = self.wanted.groups(batch)
            unit = None if curve is None else curve.unit
            weights = np.ones(batch.num_rows) if unit is None else batch.column(unit).to_numpy(zero_copy_only=False)
            for row in rows.tolist():
                key = (groups.labels[groups.codes[row]], int(numbers[row]))
                found[key] = found.get(key, 0) + int(weights[row])
        lines = [[list(label), number, weight] for (label, number), weight in sorted(found.items(), key=str)]
        return json.dumps(lines).encode() + b"\n"


def _weights(value: bytes) -> dict[GroupLabel, dict[int, int]]:
    """Return group to number of a range to what its documents weigh, of all shards."""
    found: dict[GroupLabel, dict[int, int]] = {}
    for line in value.splitlines():
        for label, number, weight in json.loads(line):
            mine = found.setdefault(_label(label), {})
            mine[number] = mine.get(number, 0) + weight
    return found


def _curves(label: str, curve: Curve, value: bytes) -> dict[GroupLabel, dict[int, float]]:
    """Return group to number of a range to its factor.

    Raises:
        DataError: naming the group whose tokens no curve fits.
    """
    found = {}
    for group, weights in _weights(value).items():
        numbers = sorted(weights)
        tokens = [weights[number] for number in numbers]
        if not sum(tokens):
            found[group] = dict.fromkeys(numbers, 0.0)
            continue
        try:
            made = upsampling_curve(
                tokens,
                curve.times * sum(tokens),
                cap=curve.cap,
                throwaway=curve.throwaway,
                continuous=curve.continuous,
            )
        except DataError as error:
            of = f" of {'/'.join(part or 'null' for part in group)}" if group else ""
            msg = f"step {label}: curve{of}: {error}"
            raise DataError(msg) from None
        found[group] = dict(zip(numbers, made.factors.tolist(), strict=True))
    return found


@dataclass(frozen=True)
class _Apply:
    """Writes how often each document of a shard is taken, and lets those fall that aren't."""

    stage: Stage
    reader: ColumnReader
    wanted: Repetition
    weighed: str | None
    place: Place
    seed: int

    def __call__(self, shard: Shard, values: Values) -> Done:
        """Return a line of JSON: documents taken, copies beyond the first of each."""
        path = self.place.file(shard)
        known = intact_note(path, [])
        if known is not None and intact_note(self.stage.state.file(shard), []) is not None:
            return Done(json.dumps(known).encode() + b"\n", reused=True)
        filesystem.remove(self.stage.state.file(shard))  # both are written together
        curve = self.wanted.curve
        curves: Mapping[GroupLabel, Mapping[int, float]] = {}
        if curve is not None and self.weighed is not None:
            curves = _curves(self.stage.label, curve, values[self.weighed])
        schema = pa.schema([self.wanted.field])
        told: dict[str, Any] = {"source": shard.source, "documents": 0, "copies": 0, "bytes": 0, "longest": 0}
        with writer(path, schema) as out:

            def change(batch: pa.RecordBatch, state: RowState, positions: npt.NDArray[np.uint64]) -> None:
                del positions
                alive = state.mask
                factors = self.wanted.factors(batch, curves)
                wrong = np.flatnonzero(alive & ~(np.isfinite(factors) & (factors >= 0)))
                if len(wrong):
                    msg = (
                        f"step {self.stage.label}: a document's {self.wanted.column} is {factors[wrong[0]]:g}, and "
                        "what says how often it is taken is a number from 0 on"
                    )
                    raise DataError(msg)
                number = np.zeros(batch.num_rows, np.int64)
                rows = np.flatnonzero(alive)
                number[rows] = copies(self.seed, factors[rows], batch.column("doc_id").take(pa.array(rows)))
                out.write_batch(pa.RecordBatch.from_arrays([pa.array(number, mask=~alive)], schema=schema))
                state.fall(self.stage.index, alive & (number == 0), self.wanted.rule, factors, 1.0)
                more = number[number > 0] - 1
                sizes = batch.column("text_bytes").to_numpy(zero_copy_only=False)[number > 0]
                told["documents"] += len(more)
                told["copies"] += int(more.sum())
                told["bytes"] += int((more * sizes).sum())
                told["longest"] = max(told["longest"], int(number.max(initial=0)))

            fell = rewrite_states(self.reader, shard, self.stage.state, change)
            out.note = told
        return Done(json.dumps(told).encode() + b"\n", self.stage.rejections(fell))


def repeat(corpus: Corpus, wanted: Repetition) -> Decision:
    """Say of each document how often it is to be taken, and let those fall that aren't at all.

    Args:
        corpus: what there is to work with.
        wanted: what is repeated.
    """
    curve = wanted.curve
    units = [] if curve is None or curve.unit is None else [curve.unit]
    reader = ColumnReader.of(corpus.state, corpus.columns, [wanted.column, *wanted.by, *units, "text_bytes"])
    place = corpus.stage.place("copies")
    weigh = None if curve is None else corpus.each_shard("weigh", _Weigh(reader, wanted))
    weighed = None if weigh is None else weigh.name
    inputs = () if weighed is None else (weighed,)
    work = _Apply(corpus.stage, reader, wanted, weighed, place, corpus.seed)
    apply = corpus.each_shard("copies", work, inputs=inputs)
    report = _Found(corpus.label, wanted, weighed, apply.name)
    nodes = (apply,) if weigh is None else (weigh, apply)
    return Decision(nodes, {wanted.field.name: place}, report, (*inputs, apply.name))


@dataclass(frozen=True)
class _Found:
    """How many copies there are beyond the documents, by source, and the factors of curves."""

    label: str
    wanted: Repetition
    weighed: str | None
    applied: str

    def __call__(self, values: Values) -> Outcome:
        told = [json.loads(line) for line in values[self.applied].splitlines()]
        sources = sorted({one["source"] for one in told})
        by_source = {
            source: {
                "copies": sum(one["copies"] for one in told if one["source"] == source),
                "bytes": sum(one["bytes"] for one in told if one["source"] == source),
            }
            for source in sources
        }
        metrics: dict[str, Any] = {
            "documents": sum(one["documents"] for one in told),
            "copies": sum(one["copies"] for one in told),
            "copied_bytes": sum(one["bytes"] for one in told),
            "most": max((one["longest"] for one in told), default=0),
            "by_source": by_source,
        }
        if self.weighed is not None and self.wanted.curve is not None:
            curves = _curves(self.label, self.wanted.curve, values[self.weighed])
            metrics["factors"] = {
                "/".join("null" if part is None else part for part in label) or "all": {
                    str(number): round(factor, 6) for number, factor in sorted(factors.items())
                }
                for label, factors in sorted(curves.items(), key=str)
            }
        return Outcome(metrics=metrics)
