"""A histogram of every score by source, language and fate, with the thresholds drawn in."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from tamis.jobs.report.blocks import Block, Plot, Section, Variant, Words
from tamis.jobs.report.facts import Facts
from tamis.jobs.report.plots import histogram
from tamis.jobs.sql.names import identifier
from tamis.jobs.text import counted, figure

__all__ = ["Axis", "build", "compare", "spread"]

BINS = 40
SPREAD = 20
"""A column whose large values are so many times its median is drawn on a logarithmic axis."""
MARKS = 24
TOLD = 4


def build(facts: Facts) -> Section | None:
    """Return the section."""
    columns = spread(facts)
    if not columns:
        return None
    splits = ["source", *(["language"] if "language" in facts.types else []), "fate"]
    parts = {split: facts.parts(split) for split in splits}
    plots: list[Block] = []
    for column, axis in columns.items():
        variants = [
            Variant(split, ("low", "high", "n", "part"), _bars(facts, column, axis, split, parts[split]), parts[split])
            for split in splits
        ]
        plots.append(_plot(facts, column, axis, variants))
    return Section("scores", "Scores", [Words(_told(facts, len(columns))), *plots], searchable=True)


def compare(a: Facts, b: Facts) -> Section | None:
    """Return the section for two runs: the columns that both have, as shares of each run's documents."""
    first, second = spread(a), spread(b)
    plots: list[Block] = []
    for column, mine in first.items():
        other = second.get(column)
        if other is None:
            continue
        axis = Axis(min(mine.low, other.low), max(mine.high, other.high), mine.log and other.log)
        rows: list[list[Any]] = []
        for part, facts in enumerate((a, b)):
            drawn = _bars(facts, column, axis, "fate", None)
            total = sum(row[2] for row in drawn)
            rows += [[start, end, round(n / total, 6), part] for start, end, n, _ in drawn]
        variant = Variant("run", ("low", "high", "n", "part"), rows, [a.name, b.name])
        plots.append(_plot(a, column, axis, [variant], share=True, whose=a.name))
    if not plots:
        return None
    told = f"Columns that both runs have; heights are shares. Of {a.name}: {a.sampled} Of {b.name}: {b.sampled}"
    return Section("scores", "Scores", [Words(told), *plots], searchable=True)


def _told(facts: Facts, shown: int) -> str:
    left_out = len(facts.numbers) - shown
    more = (
        f" Not drawn are {counted(left_out, 'column')} of one value, or beyond the first {facts.room.columns}."
        if left_out
        else ""
    )
    return (
        f"{facts.sampled} Dashed lines are thresholds. The outermost bars hold what lies beyond the 0.5th and the "
        f"99.5th percentile. Documents that fell before a step have no value of its columns.{more}"
    )


class Axis(NamedTuple):
    """Where a column's axis begins and ends.

    Attributes:
        low: its beginning.
        high: its end.
        log: it is logarithmic.
        common: a value that most documents have, such as 0, and that isn't drawn since it would hide all others.
    """

    low: float
    high: float
    log: bool
    common: float | None = None


def spread(facts: Facts) -> dict[str, Axis]:
    """Return the axes of the columns that have several values."""
    names = list(facts.numbers)[: facts.room.columns]
    if not names:
        return {}
    each = []
    for name in names:
        number = f"{identifier(name)}::DOUBLE"
        given = f"CASE WHEN isfinite({number}) THEN {number} END"
        each.append(f"list_concat([min({given}), max({given})], quantile_cont({given}, [0.005, 0.5, 0.8, 0.995]))")
    (row,) = facts.rows(f"SELECT {', '.join(each)} FROM {facts.drawn}.documents")
    found = {}
    for name, values in zip(names, row, strict=True):
        if not values or None in values[:2] or values[0] == values[1]:
            continue
        least, most, low, middle, large, high = values
        common = least if large == least else None
        low, high = (low, high) if high > low else (least, most)
        log = low > 0 and middle > 0 and high > SPREAD * middle
        whole = "INT" in facts.types[name] and not log
        found[name] = Axis(math.floor(low), math.ceil(high), log, common) if whole else Axis(low, high, log, common)
    return found


def _bars(facts: Facts, column: str, axis: Axis, split: str, parts: Sequence[str] | None) -> list[list[Any]]:
    """Return low, high, documents and the part's place of each bar that isn't empty."""
    name = identifier(column)
    value, ends = name, (axis.low, axis.high)
    if axis.common is not None:
        value = f"nullif({name}, {axis.common!r})"
    if axis.log:  # a logarithm of nothing is none
        value, ends = f"CASE WHEN {value} > 0 THEN log10({value}) END", (math.log10(axis.low), math.log10(axis.high))
    part = facts.part(split, parts) if parts is not None else "''"
    query = (
        f"FROM {facts.drawn}.histogram_by({value}, {part}, {BINS}, {ends[0]!r}, {ends[1]!r}) "
        "SELECT part, low, high, documents"
    )
    places = {known: place for place, known in enumerate(parts or ("",))}
    rows = []
    for told, start, end, documents in facts.rows(query):
        edges = (10**start, 10**end) if axis.log else (start, end)
        rows.append([float(f"{edges[0]:.6g}"), float(f"{edges[1]:.6g}"), documents, places[told]])
    return rows


def _plot(
    facts: Facts, column: str, axis: Axis, variants: Sequence[Variant], *, share: bool = False, whose: str = ""
) -> Plot:
    mine = [limit for limit in facts.limits if limit.column == column]
    marks, told = [], []
    for limit in mine:
        for bounds in limit.bounds:
            group = f" of {bounds.group}" if bounds.group is not None else ""
            sides = [("at least", bounds.low), ("at most", bounds.high)]
            for side, number in sides:
                if number is not None:
                    text = f"{limit.rule}{group}: {side} {figure(number)}"
                    told.append(text)
                    if not axis.log or number > 0:
                        marks.append({"at": number, "told": text})
    note = "; ".join(told[:TOLD]) + (f"; and {len(told) - TOLD} more thresholds" if len(told) > TOLD else "")
    if whose and note:
        note = f"Thresholds of {whose}: {note}"
    if axis.common is not None:
        have, rest = facts.rows(
            f"SELECT count(*) FILTER (x = {axis.common!r}), count(x) FROM "
            f"(SELECT {identifier(column)}::DOUBLE AS x FROM {facts.drawn}.documents)"
        )[0]
        most = f"{have:,} of {rest:,} documents have {figure(axis.common)}, which isn't drawn"
        note = f"{most}. {note}" if note else f"{most}."
    ends = [row[0] for variant in variants for row in variant.rows] + [row[1] for v in variants for row in v.rows]
    zoom = (min([*ends, axis.low]), max([*ends, axis.high]), axis.log)
    spec = histogram(column, marks[:MARKS], log=axis.log, share=share)
    words = " ".join(f"{limit.rule} {limit.step}" for limit in mine)
    return Plot(column, spec, variants, note, zoom, words)
