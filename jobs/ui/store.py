"""What the page asks of a run: documents by filters, histograms, what a threshold would change, SQL."""

import re
import tempfile
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal

from pydantic import Field

from tamis.jobs.manifest.file import read_manifest, shards_of
from tamis.jobs.report.harmful import harmful_steps
from tamis.jobs.sql.closed import first_rows, shut
from tamis.jobs.sql.limits import limits_of
from tamis.jobs.sql.macros import add_macros
from tamis.jobs.sql.names import identifier
from tamis.jobs.sql.statements import columns_of
from tamis.jobs.sql.views import add_run, database, relation_of
from tamis.pipeline.storage import filesystem
from tamis.schemas.base import Model, nearest
from tamis.schemas.errors import ConfigError, RunError
from tamis.schemas.manifest import Manifest, ShardRecord

__all__ = ["Filters", "Store", "WhatIf"]

INDEX = "browsed"
"""The schema of the table that is kept in memory, and of the macros over it."""
FOLDED = '"text in lower case"'
PREVIEW = 200
TEXT_BYTES = 2_000_000_000
"""Texts of a run are kept in memory up to so many bytes; of a larger one their beginnings are."""
PAGE = 50
SQL_ROWS = 500
SQL_SECONDS = 60.0
_NUMBERS = re.compile(r"^(U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|DOUBLE|FLOAT|DECIMAL.*)$")


class Filters(Model):
    """Which documents are wanted, and in which order."""

    search: str = Field(default="", max_length=1000, description="words that stand in the text, or a doc_id")
    source: str = ""
    language: str = ""
    fate: Literal["", "selected", "rejected"] = ""
    rule: str = Field(default="", description="step and rule, as `step: rule`")
    column: str = Field(default="", description="of the bounds, and shown beside the text")
    low: float | None = None
    high: float | None = None
    sort: str = Field(default="", description="a column; by doc_id if empty")
    descending: bool = False
    page: int = Field(default=0, ge=0)


class WhatIf(Model):
    """Bounds that are tried."""

    column: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class _Where:
    sql: str
    values: list[Any]


class Store:
    """A run in DuckDB, its columns in memory so that filters answer at once.

    Args:
        run: the run's folder.

    Raises:
        RunError: if it holds no finished run, or its shards can't be read.
    """

    def __init__(self, run: str):
        self.run = run
        self.manifest = read_manifest(run)
        self._connection = database()
        self._spill = tempfile.TemporaryDirectory(prefix="tamis-ui-")
        add_run(self._connection, run)
        described = self._connection.execute("DESCRIBE documents").fetchall()
        self.types: Mapping[str, str] = {name: kind for name, kind, *_ in described}
        self.numbers = [n for n, kind in self.types.items() if _NUMBERS.match(kind)]
        size = sum(shard.text_bytes for shard in self.manifest.shards)
        self.whole_texts = size <= TEXT_BYTES
        self._drawn: dict[str, tuple[list[tuple[Any, ...]], bool]] = {}
        self._load()
        self._ends, self._shards = _shards_by_row(self.manifest)
        self._meaning = {name: told for name, _, told in columns_of(self._connection, "documents")}
        self._shut()

    def _load(self) -> None:
        text = "text" if self.whole_texts else f"left(text, {PREVIEW})"
        columns = [name for name in self.types if name not in ("text", "meta") and not name.endswith("_match")]
        listed = ", ".join(map(identifier, columns))
        self._connection.execute(f"CREATE SCHEMA {INDEX}")
        # Rows stay in the order of the shards, by which a document's own is found (`_shards_by_row`).
        # Searching looks at every text: folding each of them every time would take most of it.
        texts = f"{text} AS text, lower({text}) AS {FOLDED}"
        self._connection.execute(f"CREATE TABLE {INDEX}.documents AS SELECT {listed}, {texts} FROM documents")  # noqa: S608
        add_macros(
            self._connection, labels=(), columns=[*columns, "text"], limits=(), seed=0, schema=INDEX,
            only=("histogram", "histogram_by", "what_if"),
        )  # fmt: skip

    def _shut(self) -> None:
        """Let nothing but the run's own folder be read from now on, and nothing be written."""
        folders = [filesystem.local_path(self.run)] if filesystem.is_local(self.run) else []
        shut(self._connection, folders, self._spill.name)

    def close(self) -> None:
        """Close the database."""
        self._connection.close()
        self._spill.cleanup()

    def _rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:  # requests come in several threads
            return cursor.execute(query, list(values)).fetchall()

    def _column(self, name: str, known: Sequence[str] | None = None) -> str:
        names = list(self.types) if known is None else list(known)
        if name not in names:
            msg = f"there is no column {name!r}{' of numbers' if known is not None else ''}{nearest(name, names)}"
            raise ConfigError(msg)
        return identifier(name)

    # --- what the page begins with ---

    def overview(self) -> dict[str, Any]:
        """Return what the page's choices are made of."""
        language = "language" in self.types
        limits = limits_of(self.manifest, set(self.types))
        return {
            "run": self.run,
            "name": self.manifest.name,
            "counts": {name: getattr(self.manifest, name) for name in ("read", "selected", "rejected", "errors")},
            "columns": [name for name in self.types if name not in ("text", "meta")],
            "numbers": self.numbers,
            "sources": sorted(self.manifest.sources),
            "languages": self._values("language") if language else [],
            "rules": [
                f"{step}: {rule}"
                for step, rule in self._rows("SELECT DISTINCT label, rule FROM rules ORDER BY label, rule")
            ],
            "thresholds": [
                {
                    "step": limit.step,
                    "rule": limit.rule,
                    "column": limit.column,
                    "low": b.low,
                    "high": b.high,
                    "part": b.group,
                }
                for limit in limits
                for b in limit.bounds
            ],
            "harmful": sorted(harmful_steps(self.manifest)),
            "warnings": list(self.manifest.warnings),
            "whole_texts": self.whole_texts,
        }

    def _values(self, column: str) -> list[str]:
        query = f"SELECT {identifier(column)}::VARCHAR AS v, count(*) AS n FROM {INDEX}.documents "  # noqa: S608
        return [v for v, _ in self._rows(query + "WHERE v IS NOT NULL GROUP BY v ORDER BY n DESC, v LIMIT 300")]

    # --- documents ---

    def _where(self, filters: Filters) -> _Where:
        tests, values = ["true"], []
        for column in ("source", "language", "fate"):
            wanted = getattr(filters, column)
            if wanted:
                tests.append(f"{self._column(column)} = ?")
                values.append(wanted)
        if filters.rule:
            tests.append("step || ': ' || rule = ?")
            values.append(filters.rule)
        if filters.column and (filters.low is not None or filters.high is not None):
            column = self._column(filters.column, self.numbers)
            for bound, sign in ((filters.low, ">="), (filters.high, "<=")):
                if bound is not None:
                    tests.append(f"{column} {sign} ?")
                    values.append(bound)
        if re.fullmatch("[0-9a-f]{32}", filters.search):
            tests.append("doc_id = ?")
            values.append(filters.search)
        elif filters.search:
            tests.append(f"contains({FOLDED}, ?)")
            values.append(filters.search.lower())
        return _Where(" AND ".join(tests), values)

    def documents(self, filters: Filters) -> dict[str, Any]:
        """Return how many documents pass the filters, and a page of them."""
        where = self._where(filters)
        shown = self._column(filters.column) if filters.column else "NULL"
        order = self._column(filters.sort) if filters.sort else "doc_id"
        direction = "DESC" if filters.descending else "ASC"
        language = "d.language" if "language" in self.types else "NULL"
        beside = f"d.{shown}" if filters.column else "NULL"
        ordered = f"ORDER BY o {direction} NULLS LAST"
        # The page is found by its rows' numbers: texts of all that pass would be carried through the sort.
        rows = self._rows(
            f"WITH found AS MATERIALIZED (SELECT rowid AS place, {order} AS o, doc_id FROM {INDEX}.documents "  # noqa: S608
            f"WHERE {where.sql}), page AS (FROM found {ordered}, doc_id, place "
            f"LIMIT {PAGE} OFFSET {PAGE * filters.page}) "
            f"SELECT (SELECT count(*) FROM found), d.doc_id, d.source, {language}, d.fate, d.step, d.rule, d.value, "
            f"d.threshold, {beside}, left(d.text, {PREVIEW}) "
            f"FROM {INDEX}.documents d JOIN page ON d.rowid = page.place {ordered}, d.doc_id, d.rowid",
            where.values,
        )
        total = rows[0][0] if rows else 0
        rows = [row[1:] for row in rows]
        heads = ["doc_id", "source", "language", "fate", "step", "rule", "value", "threshold", "shown", "text"]
        return {"total": total, "page": filters.page, "pages": -(-total // PAGE), "heads": heads, "rows": rows}

    def document(self, doc_id: str) -> dict[str, Any]:
        """Return all columns of a document.

        Raises:
            ConfigError: if there is none.
        """
        known = self._rows(f"SELECT rowid, fate FROM {INDEX}.documents WHERE doc_id = ? LIMIT 1", [doc_id])  # noqa: S608
        if not known:
            msg = f"there is no document {doc_id!r}"
            raise ConfigError(msg)
        ((row, fate),) = known
        found = self._in_shard(self._shards[bisect_right(self._ends, row)], doc_id)
        values = {name: found.get(name) for name in self.types} | {"fate": fate}
        return {"values": values, "meaning": self._meaning}

    def _in_shard(self, shard: ShardRecord, doc_id: str) -> dict[str, Any]:
        """Return a document's columns, of which its own shard alone is read: one row group, since it is sorted."""
        with self._connection.cursor() as cursor:
            cursor.execute(f"FROM {relation_of(self.run, [shard])} WHERE doc_id = ? LIMIT 1", [doc_id])
            names = [column[0] for column in cursor.description or ()]
            row = cursor.fetchone()
        if row is None:
            msg = f"{shard.path} has changed since it was loaded: start tamis ui anew"
            raise RunError(msg)
        return dict(zip(names, row, strict=True))

    # --- thresholds ---

    def what_if(self, asked: WhatIf) -> dict[str, Any]:
        """Return the histogram of a column, and what bounds would keep and lose by source and language."""
        column = self._column(asked.column, self.numbers)
        if asked.column not in self._drawn:  # the picture is the same whatever bounds are tried
            self._drawn[asked.column] = self._histogram(column)
        bars, log = self._drawn[asked.column]
        bounds = ["NULL" if bound is None else repr(bound) for bound in (asked.low, asked.high)]
        rows = self._rows(f"FROM {INDEX}.what_if({column}, {', '.join(bounds)})")
        heads = ["source", "language", "documents", "selected", "stay", "fall", "rejected inside", "rejected outside"]
        return {"bars": bars, "log": log, "heads": heads, "rows": rows}

    def _histogram(self, column: str) -> tuple[list[tuple[Any, ...]], bool]:
        """Return fate, low, high and documents of each bar, and whether the axis is logarithmic."""
        ends = self._rows(
            f"SELECT quantile_cont({column}::DOUBLE, [0.002, 0.5, 0.998]) FROM {INDEX}.documents "  # noqa: S608
            f"WHERE isfinite({column}::DOUBLE)"
        )[0][0]
        if not ends or ends[0] is None:
            return [], False
        low, middle, high = ends
        log = low > 0 and high > 20 * middle
        value = f"CASE WHEN {column} > 0 THEN log10({column}) END" if log else column
        bounds = "log10(?), log10(?)" if log else "?, ?"
        bars = self._rows(
            f"SELECT part, low, high, documents FROM {INDEX}.histogram_by({value}, fate, 60, {bounds})",  # noqa: S608
            [low, high],
        )
        return [(part, 10**start, 10**end, n) if log else (part, start, end, n) for part, start, end, n in bars], log

    # --- SQL ---

    def sql(self, query: str) -> dict[str, Any]:
        """Run one query that only reads, and return its first rows.

        Raises:
            ConfigError: for a mistake, a statement that isn't a query, or one that takes more than a minute.
        """
        found = first_rows(self._connection, query, SQL_ROWS, SQL_SECONDS)
        return {"heads": found.heads, "rows": found.rows, "more": found.more}


def _shards_by_row(manifest: Manifest) -> tuple[list[int], list[ShardRecord]]:
    """Return the shards in the order in which the view `documents` reads them, and the row that each ends before."""
    shards = [*shards_of(manifest, "selected"), *shards_of(manifest, "rejected")]
    return list(accumulate(shard.rows for shard in shards)), shards
