"""What sections of a report ask of a run: its manifest, and DuckDB over its documents or a keyed sample of them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import duckdb

from tamis.jobs.report.blocks import Document
from tamis.jobs.report.harmful import harmful_steps
from tamis.jobs.sql.limits import Limit, limits_of
from tamis.jobs.sql.macros import add_macros, document_key
from tamis.jobs.sql.names import identifier, literal
from tamis.jobs.text import counted, figure
from tamis.schemas.manifest import Manifest

__all__ = ["OTHERS", "PARTS", "Facts", "Room"]

OTHERS = "others"
PARTS = 7
"""Sources or languages with a colour of their own; the rest are others."""
_NUMBERS = re.compile(r"^(U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|DOUBLE|FLOAT|DECIMAL.*)$")


@dataclass(frozen=True)
class Room:
    """How much a report may hold.

    Attributes:
        documents: so many are looked at for histograms and correlations; of more a sample is drawn.
        text: characters of a shown document.
        rules: rules whose documents are shown, those that rejected most first.
        samples: documents of a rule.
        near: documents on each side of a threshold.
        columns: score columns with a histogram.
    """

    documents: int = 400_000
    text: int = 1500
    rules: int = 60
    samples: int = 10
    near: int = 4
    columns: int = 90


@dataclass
class Facts:
    """One run.

    Attributes:
        run: its folder, as it was named.
        connection: which has its views in `schema`.
        manifest: of the run.
        room: how much may be shown.
        schema: where its views and macros are.
        name: what it is called where two runs are compared.
        price: of a CPU hour, in any currency.
    """

    run: str
    connection: duckdb.DuckDBPyConnection
    manifest: Manifest
    room: Room
    schema: str = "main"
    name: str = ""
    price: float | None = None
    _made: set[str] = field(default_factory=set)

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a query and return all rows; `{run}` in it stands for the schema of the run's views."""
        return self.connection.execute(query.replace("{run}", identifier(self.schema)), list(values)).fetchall()

    @property
    def seed(self) -> int:
        """The run's seed."""
        return int(self.manifest.config.get("seed", 0))

    @property
    def documents(self) -> int:
        """How many documents there are, selected and rejected."""
        return self.manifest.selected + self.manifest.rejected

    @cached_property
    def types(self) -> Mapping[str, str]:
        """Column of `documents` to its type."""
        return {name: kind for name, kind, *_ in self.rows("DESCRIBE {run}.documents")}

    @cached_property
    def views(self) -> frozenset[str]:
        """The views there are."""
        query = "SELECT table_name FROM information_schema.tables WHERE table_schema = ?"
        return frozenset(name for (name,) in self.rows(query, [self.schema]))

    @cached_property
    def limits(self) -> Sequence[Limit]:
        """The rules over columns of numbers."""
        return limits_of(self.manifest, set(self.types))

    @cached_property
    def numbers(self) -> Sequence[str]:
        """The columns of numbers that steps computed, those that rules look at first."""
        ruled = dict.fromkeys(limit.column for limit in self.limits)
        rest = [
            name for name, kind in self.types.items() if _NUMBERS.match(kind) and name not in ("value", "threshold")
        ]
        return [name for name in ruled if name in rest] + [name for name in rest if name not in ruled]

    # --- the sample ---

    @property
    def share(self) -> float:
        """The share of the documents that `drawn` holds."""
        return min(1.0, self.room.documents / max(1, self.documents))

    @property
    def sampled(self) -> str:
        """A sentence about the sample."""
        if self.share >= 1:
            return f"All {counted(self.documents, 'document')} are counted."
        (rows,) = self.rows(f"SELECT count(*) FROM {self.drawn}.documents")[0]
        return (
            f"A sample of {rows:,} of {self.documents:,} documents, drawn by a keyed hash of their doc_id and the "
            f"run's seed ({self.seed}), is counted."
        )

    @cached_property
    def drawn(self) -> str:
        """The schema with the columns of a sample of `documents`, but for texts, and the macros over it."""
        schema = f"drawn_{self.schema}"
        columns = [name for name in self.types if name not in ("text", "meta", "url") and not name.endswith("_match")]
        listed = ", ".join(map(identifier, columns))
        drawn = "" if self.share >= 1 else f"WHERE {document_key(self.seed)} < '{int(self.share * 16**8):08x}'"
        self.connection.execute(f"CREATE SCHEMA {schema}")
        self.rows(f"CREATE TABLE {schema}.documents AS SELECT {listed} FROM {{run}}.documents {drawn}")
        add_macros(
            self.connection, labels=(), columns=columns, limits=(), seed=self.seed, schema=schema,
            only=("histogram", "histogram_by", "what_if"),
        )  # fmt: skip
        return schema

    def parts(self, column: str) -> list[str]:
        """Return the values of a column with a colour of their own, the most frequent first."""
        query = f"SELECT {identifier(column)}::VARCHAR AS part, count(*) AS n FROM {self.drawn}.documents "
        found = self.rows(query + f"WHERE part IS NOT NULL GROUP BY part ORDER BY n DESC, part LIMIT {PARTS + 2}")
        names = [str(part) for part, _ in found]
        return names if len(names) <= PARTS + 1 else [*names[:PARTS], OTHERS]

    def part(self, column: str, parts: Sequence[str]) -> str:
        """Return the SQL of a document's part: one of `parts`, or others."""
        known = ", ".join(literal(name) for name in parts if name != OTHERS)
        name = f"{identifier(column)}::VARCHAR"
        return f"CASE WHEN {name} IN ({known}) THEN {name} ELSE '{OTHERS}' END" if known else f"'{OTHERS}'"

    # --- documents ---

    @cached_property
    def harmful_steps(self) -> frozenset[str]:
        """Labels of the steps that look for harmful text."""
        return harmful_steps(self.manifest)

    def harmful(self, ids: Sequence[str]) -> frozenset[str]:
        """Return those of the documents that a step found harmful, whatever else became of them."""
        told = [limit for limit in self.limits if limit.step in self.harmful_steps and not limit.by]
        tests = [f"step IN ({', '.join(map(literal, sorted(self.harmful_steps)))})"] if self.harmful_steps else []
        for limit in told:
            for bounds in limit.bounds:
                column = identifier(limit.column)
                tests += [f"{column} < {bounds.low!r}"] if bounds.low is not None else []
                tests += [f"{column} > {bounds.high!r}"] if bounds.high is not None else []
        if not tests or not ids:
            return frozenset()
        query = f"SELECT doc_id FROM {{run}}.documents WHERE doc_id IN (SELECT unnest(?)) AND ({' OR '.join(tests)})"
        return frozenset(doc_id for (doc_id,) in self.rows(query, [list(ids)]))

    def texts(self, ids: Sequence[str]) -> Mapping[tuple[str, str], str]:
        """Return documents' texts by `doc_id` and fate; all in one scan, since texts are long."""
        query = "SELECT doc_id, fate, text FROM {run}.documents WHERE doc_id IN (SELECT unnest(?))"
        return {(doc_id, fate): text for doc_id, fate, text in self.rows(query, [list(dict.fromkeys(ids))])}

    def shown(self, facts: str, text: str | None, *, blurred: bool) -> Document:
        """Return a document for the page: its text cut, with what was cut said."""
        whole = text or ""
        room = self.room.text
        cut = f"{whole[:room]}\n[and {len(whole) - room:,} characters more]" if len(whole) > room else whole
        return Document(facts, cut, blurred)

    @staticmethod
    def told(**values: Any) -> str:
        """Return named values in a line; those that are None are left out."""
        return ", ".join(f"{name} {figure(value)}" for name, value in values.items() if value is not None)
