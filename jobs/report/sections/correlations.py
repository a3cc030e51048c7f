"""How scores go together: rank correlations."""

from typing import Any

import numpy as np

from tamis.jobs.report.blocks import Plot, Section, Table, Variant, Words
from tamis.jobs.report.facts import Facts
from tamis.jobs.report.plots import heat
from tamis.jobs.report.sections.scores import spread
from tamis.jobs.sql.macros import document_key
from tamis.jobs.sql.names import identifier

__all__ = ["build", "rank_correlations"]

COLUMNS = 24
ROWS = 10_000
LEAST = 20
"""Documents that two columns must share."""
TOP = 12


def build(facts: Facts) -> Section | None:
    """Return the section."""
    names = list(spread(facts))[:COLUMNS]
    if len(names) < 2:
        return None
    listed = ", ".join(f"{identifier(name)}::DOUBLE AS {identifier(name)}" for name in names)
    key = document_key(facts.seed)
    cursor = facts.connection.execute(
        f"SELECT {listed} FROM {facts.drawn}.documents ORDER BY {key}, doc_id LIMIT {ROWS}"
    )
    found = cursor.fetchnumpy()
    columns = np.stack([np.ma.filled(np.ma.masked_invalid(found[name]).astype(np.float64), np.nan) for name in names])
    matrix = rank_correlations(columns)
    rows = [
        [str(i + 1), f"{j + 1} {y}", round(float(matrix[j, i]), 4), x]
        for j, y in enumerate(names)
        for i, x in enumerate(names)
        if np.isfinite(matrix[j, i])
    ]
    pairs: list[list[Any]] = [
        [names[i], names[j], round(float(matrix[i, j]), 3)]
        for i in range(len(names))
        for j in range(i)
        if np.isfinite(matrix[i, j])
    ]
    pairs.sort(key=lambda row: (-abs(row[2]), row[0], row[1]))
    used = min(ROWS, columns.shape[1])
    told = (
        f"Spearman's rank correlation over {used:,} documents, each pair over those that have both. Steps that reject "
        f"by one score change what is left for the next."
    )
    plot = Plot("Rank correlations of scores", heat(len(names)), [Variant("all", ("x", "y", "r", "column"), rows)])
    table = Table(("column", "and", "correlation"), pairs[:TOP], "the strongest pairs")
    return Section("correlations", "Correlations", [Words(told), plot, table])


def rank_correlations(
    columns: "np.ndarray[tuple[int, int], np.dtype[np.float64]]",
) -> "np.ndarray[tuple[int, int], np.dtype[np.float64]]":
    """Return Spearman's correlation of each pair of columns over the rows that have both, with mean ranks for ties.

    Args:
        columns: float64 (columns, rows); NaN where there is no value.

    Returns:
        float64 (columns, columns); NaN where too few rows are shared or one of the two is constant there.
    """
    many = len(columns)
    have = ~np.isnan(columns)
    matrix = np.full((many, many), np.nan)
    # Columns of one step share the rows that have them: their ranks are found once for all such pairs.
    masks = {mask.tobytes(): number for number, mask in enumerate(have)}
    kinds = [masks[mask.tobytes()] for mask in have]
    known: dict[tuple[int, int, int], np.ndarray[tuple[int], np.dtype[np.float64]]] = {}
    for i in range(many):
        for j in range(i + 1):
            both = have[i] & have[j]
            if both.sum() < LEAST:
                continue
            for k in (i, j):
                key = (k, min(kinds[i], kinds[j]), max(kinds[i], kinds[j]))
                if key not in known:
                    known[key] = _ranks(columns[k][both])
            x, y = (known[k, min(kinds[i], kinds[j]), max(kinds[i], kinds[j])] for k in (i, j))
            x, y = x - x.mean(), y - y.mean()
            size = float(np.sqrt((x @ x) * (y @ y)))
            if size > 0:
                matrix[i, j] = matrix[j, i] = float(x @ y) / size
    return matrix


def _ranks(values: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """Return each value's rank; equal ones have the mean of theirs."""
    _, place, times = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(times) - (times - 1) / 2)[place]
