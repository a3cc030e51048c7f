"""A DuckDB connection over a run: documents from its shards, and tables of what its manifest records."""

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from tamis.jobs.manifest.file import read_manifest, shard_path, shards_of
from tamis.jobs.mix.folder import holds_mixture, read_mixture
from tamis.jobs.sql.limits import Limit, limits_of
from tamis.jobs.sql.macros import add_macros
from tamis.jobs.sql.mixture_views import mixture_tables
from tamis.jobs.sql.names import identifier, literal
from tamis.pipeline.storage import filesystem
from tamis.schemas.base import canonical_json
from tamis.schemas.errors import RunError
from tamis.schemas.manifest import Manifest, ShardRecord
from tamis.schemas.tables import DOCUMENT_SCHEMA, ERROR_SCHEMA, REJECTED_SCHEMA, described

__all__ = ["add_run", "connect", "database", "reach", "relation_of", "shard_relation"]

RECORD = "record"
"""Schema of the in-memory tables behind the views of the manifest."""
REASON = ("step", "rule", "value", "threshold")
"""The columns of a rejected document that say why."""
JSON_COLUMNS = frozenset({"config", "metrics", "mixture", "provenance", "source_config", "thresholds"})
FATE = described("fate", pa.string(), "selected or rejected", nullable=False)

_text, _count = pa.string(), pa.int64()
_COUNTS = (
    described("position", pa.int32(), "place of the step in the run, from 0"),
    described("label", _text, "the step"),
)
SHARDS = pa.schema(
    [
        described("path", _text, "relative to the run's folder"),
        described("fate", _text, "selected, rejected or errors"),
        described("sources", pa.list_(_text), "labels of the inputs that its rows come from"),
        described("rows", _count, "documents, or error records"),
        described("text_bytes", _count, "bytes of text, UTF-8"),
        described("bytes", _count, "size of the file"),
        described("sha256", _text, "digest of the file"),
    ]
)
STEPS = pa.schema(
    [
        *_COUNTS,
        described("verb", _text, "kind of the step"),
        described("source", _text, "label of the input"),
        described("documents", _count, "documents that came to the step"),
        described("kept", _count, "documents that left it"),
        described("rejected", _count, "documents that fell to its rules; the view rules says to which"),
        described("errors", _count, "documents that it couldn't score"),
        described("step_seconds", pa.float64(), "CPU seconds of the step, all sources together, on each row"),
        described("thresholds", _text, "of the step"),
        described("metrics", _text, "figures that the step reports"),
    ]
)
RULES = pa.schema(
    [
        *_COUNTS,
        described("source", _text, "label of the input"),
        described("rule", _text, "the rule's reason, as in rejected"),
        described("rejected", _count, "documents that fell to it"),
        described("threshold", pa.float64(), "in numbers, where the rule has just one"),
    ]
)
THRESHOLDS = pa.schema(
    [
        *_COUNTS,
        described("rule", _text, "the rule's reason, as in rejected"),
        described("column", _text, "the column that it looks at"),
        described("part", _text, "the group of documents that the numbers are for, where there are groups"),
        described("low", pa.float64(), "the smallest value that is kept"),
        described("high", pa.float64(), "the largest value that is kept"),
    ]
)
PASSES = pa.schema(
    [
        described("name", _text, "the pass"),
        described("step", _text, "label of the step, or of the steps, that it belongs to"),
        described("tasks", _count, "shards or parts that it worked on"),
        described("cpu_seconds", pa.float64(), "of all workers together"),
    ]
)
INPUTS = pa.schema(
    [
        described("path", _text, "the input file"),
        described("source", _text, "label of the input"),
        described("bytes", _count, "size of the file"),
        described("sha256", _text, "digest of the file, where it was read for one"),
        described("fingerprint", _text, "etag, or size and time"),
        described("records", _count, "records read"),
        described("skipped", pa.map_(_text, _count), "records that hold no document, by kind"),
    ]
)
MODELS = pa.schema(
    [
        described("step", _text, "label of the step"),
        described("option", _text, "option of the step that names it"),
        described("reference", _text, "as the config names it"),
        described("sha256", _text, "digest of its content"),
    ]
)
SOURCES = pa.schema(
    [
        described("source", _text, "label of the input"),
        *(described(name, _count, f"records {name}") for name in ("read", "selected", "rejected")),
        described("errors", _count, "records that couldn't be read or scored"),
        described("proportion", pa.float64(), "share of what the run selected, as the mixture measures it"),
    ]
)
INCREMENTS = pa.schema(
    [
        described("run", _text, "its folder, relative to this one's"),
        described("started", _text, "when it began"),
        described("files", _count, "input files read"),
        *(described(name, _count, f"records {name}") for name in ("read", "selected", "rejected")),
        described("errors", _count, "records that couldn't be read or scored"),
        described("sha256", _text, "digest of its manifest"),
    ]
)
MANIFEST = pa.schema(
    [
        described("name", _text, "name of the run"),
        described("config_sha256", _text, "digest of all that can change a result"),
        *(described(name, _count, f"records {name}") for name in ("read", "selected", "rejected")),
        described("errors", _count, "records that couldn't be read or scored"),
        described("text_bytes", _count, "bytes of text read"),
        described("started", _text, "when the run that finished it began"),
        described("seconds", pa.float64(), "wall seconds of that run"),
        described("warnings", pa.list_(_text), "what the run warned of"),
        described("config", _text, "resolved: defaults filled in, models as digests"),
        described("source_config", _text, "as it was given"),
        described("provenance", _text, "versions of program and packages"),
        described("mixture", _text, "shares by source"),
    ]
)


def connect(run: str) -> duckdb.DuckDBPyConnection:
    """Open a run for SQL.

    Views over shards, read where they lie: `selected`, `rejected`, `errors`, and `documents` (both fates, with a column
    `fate`). Views of the manifest: `manifest`, `sources`, `steps` (one row a step and source), `rules` (one row a step,
    source and rule that rejected something), `thresholds` (one row a rule over a column, and group), `passes`,
    `inputs`, `models`, `shards`, and `increments`: the runs that a corpus is made of, or that this one follows. Views
    of the tables that decisions left, such as `clusters`, with the `step` that each row is of. Macros: see
    `tamis.jobs.sql.macros`. Only files that the manifest names are read. Of a mixture, which a run may have been
    materialised in: `mixture` (one row a group), `mixture_rounds`, `repetition` and `repetition_heavy`; in a mixture's
    own folder also its documents, as `documents`, and `shards`.

    Args:
        run: the folder of a run or of a mixture, a local path or a URL.

    Raises:
        RunError: if the folder holds no finished run, or one of its shards is missing or damaged.
    """
    connection = database()
    if holds_mixture(run):
        _mixed(connection, run)
    else:
        add_run(connection, run)
    return connection


def database() -> duckdb.DuckDBPyConnection:
    """Return an empty database in memory, which spills into the system's folder for temporary files."""
    # By itself it would spill into the folder where the user happens to stand.
    connection = duckdb.connect(config={"temp_directory": tempfile.gettempdir(), "python_enable_replacements": False})
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def add_run(connection: duckdb.DuckDBPyConnection, run: str, schema: str = "main") -> Manifest:
    """Create the views and macros of a run in a schema, which is made, and return the run's manifest.

    Raises:
        RunError: as `connect` does.
    """
    manifest = read_manifest(run)
    reach(connection, run)
    at = _made_place(connection, schema)
    fields = _documents(at, run, manifest)
    limits = limits_of(manifest, set(fields.names))
    _records(at, manifest, limits)
    _decisions(at, run, manifest)
    told = manifest.mixture.get("materialised") or {}
    _mixture(at, told, told.get("repetition") or {})
    add_macros(
        connection,
        labels=[step.label for step in manifest.steps],
        columns=fields.names,
        limits=limits,
        seed=int(manifest.config.get("seed", 0)),
        schema=schema,
    )
    return manifest


def reach(connection: duckdb.DuckDBPyConnection, run: str) -> None:
    """Let a connection read where a run lies."""
    if not filesystem.is_local(run):
        import fsspec

        known = fsspec.core.url_to_fs(run)[0]
        names = (known.protocol,) if isinstance(known.protocol, str) else known.protocol
        if not connection.filesystem_is_registered(names[0]):
            connection.register_filesystem(known)


def _made_place(connection: duckdb.DuckDBPyConnection, schema: str) -> "_Place":
    at = _Place(connection, schema)
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {identifier(schema)}")
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {at.record}")
    return at


def shard_relation(run: str, manifest: Manifest, fate: str) -> str | None:
    """Return the SQL that reads all shards of one fate; None if there is none."""
    shards = shards_of(manifest, fate)
    return relation_of(run, shards) if shards else None


def relation_of(run: str, shards: Sequence[ShardRecord]) -> str:
    """Return the SQL that reads shards."""
    paths = [_sql_path(shard_path(run, record)) for record in shards]
    return f"read_parquet([{', '.join(map(literal, paths))}], hive_partitioning = false)"


def _sql_path(path: str) -> str:
    return filesystem.local_path(path) if filesystem.is_local(path) else path


@dataclass(frozen=True)
class _Place:
    """Where a run's views go: a schema for them, and one for the tables behind those of the manifest."""

    connection: duckdb.DuckDBPyConnection
    schema: str

    @property
    def record(self) -> str:
        return identifier(RECORD if self.schema == "main" else f"{RECORD}_{self.schema}")


# --- views over shards ---


def _documents(at: _Place, run: str, manifest: Manifest) -> pa.Schema:
    schemas = {fate: _shard_schema(run, manifest, fate) for fate in ("selected", "rejected", "errors")}
    selected, rejected = schemas["selected"], schemas["rejected"]
    # What one folder lacks, the other's files tell: a run that selected nothing still has its score columns.
    if selected is None:
        rest = [] if rejected is None else [f for f in rejected if f.name not in (*DOCUMENT_SCHEMA.names, *REASON)]
        selected = pa.schema([*DOCUMENT_SCHEMA, *rest])
    if rejected is None:
        rest = [f for f in selected if f.name not in REJECTED_SCHEMA.names]
        rejected = pa.schema([*REJECTED_SCHEMA, *rest])
    for fate, schema in (("selected", selected), ("rejected", rejected), ("errors", schemas["errors"] or ERROR_SCHEMA)):
        relation = shard_relation(run, manifest, fate)
        if relation is None:
            _table(at, f"no_{fate}", schema.empty_table())
            relation = f"{at.record}.no_{fate}"
        _view_of_files(at, run, f"the {fate} shards", fate, f"FROM {relation}", schema)
    return _both_fates(at, selected, rejected)


def _shard_schema(run: str, manifest: Manifest, fate: str) -> pa.Schema | None:
    for record in shards_of(manifest, fate):
        return _parquet_schema(shard_path(run, record))
    return None


def _parquet_schema(path: str) -> pa.Schema:
    if not filesystem.exists(path):
        msg = f"{path} is missing, though the manifest names it: tamis manifest verify checks all shards"
        raise RunError(msg)
    with filesystem.open_binary(path) as stream:
        try:
            return pq.read_schema(stream)
        except (pa.ArrowInvalid, OSError) as error:
            msg = f"{path} is damaged ({_first_line(error)}): tamis manifest verify checks all shards"
            raise RunError(msg) from None


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _both_fates(at: _Place, selected: pa.Schema, rejected: pa.Schema) -> pa.Schema:
    """Make the view `documents`: the columns of both, by name; null where a fate hasn't the column."""
    columns = {f.name: f for f in (*REJECTED_SCHEMA, *DOCUMENT_SCHEMA, *selected, *rejected)}
    place = list(columns).index(REASON[0])
    fields = list(columns.values())
    parts = []
    for fate, schema in (("selected", selected), ("rejected", rejected)):
        # Null where a fate lacks the column; the other side of the union gives it its type.
        shown = [name if name in schema.names else None for name in columns]
        listed = [identifier(n) if n else f"NULL AS {identifier(c)}" for n, c in zip(shown, columns, strict=True)]
        listed.insert(place, f"{literal(fate)} AS fate")
        parts.append(f"SELECT {', '.join(listed)} FROM {identifier(at.schema)}.{fate}")  # noqa: S608  (names are quoted)
    fields.insert(place, FATE)
    both = pa.schema(fields)
    _view(at, "documents", " UNION ALL ".join(parts), both)
    for column in both:
        # What a document has any number of, such as evaluation items found in it, is a table of its own.
        if pa.types.is_list(column.type) and pa.types.is_struct(column.type.value_type):
            name = identifier(column.name)
            rows = f"SELECT doc_id, source, fate, unnest({name}, recursive := true)"
            _view(at, name, f"{rows} FROM {identifier(at.schema)}.documents", ())
    return both


# --- views of the manifest ---


def _records(at: _Place, manifest: Manifest, limits: Sequence[Limit]) -> None:
    shares: Mapping[str, float] = manifest.mixture.get("proportions", {})
    head = {name: getattr(manifest, name) for name in MANIFEST.names}
    head["provenance"] = manifest.provenance.model_dump(mode="json")
    head |= {name: canonical_json(value) for name, value in head.items() if name in JSON_COLUMNS}
    inputs = [record.model_dump() | {"skipped": list(record.skipped.items())} for record in manifest.inputs]
    sources = [{"source": name, "proportion": shares.get(name)} | counts for name, counts in manifest.sources.items()]
    tables: Mapping[str, tuple[pa.Schema, Iterable[Mapping[str, Any]]]] = {
        "manifest": (MANIFEST, [head]),
        "sources": (SOURCES, sources),
        "steps": (STEPS, _steps(manifest)),
        "rules": (RULES, _rules(manifest)),
        "thresholds": (THRESHOLDS, _thresholds(limits)),
        "passes": (PASSES, [record.model_dump() for record in manifest.passes]),
        "inputs": (INPUTS, inputs),
        "models": (MODELS, [record.model_dump() for record in manifest.models]),
        "shards": (SHARDS, [record.model_dump() for record in manifest.shards]),
        "increments": (INCREMENTS, [parent.model_dump() | {"run": parent.path} for parent in manifest.parents]),
    }
    for name, (schema, rows) in tables.items():
        casts = ", ".join(f"{column}::JSON AS {column}" for column in schema.names if column in JSON_COLUMNS)
        shown = f" SELECT * REPLACE ({casts})" if casts else ""
        _view_of_table(at, name, pa.Table.from_pylist(list(rows), schema), shown)


def _steps(manifest: Manifest) -> list[dict[str, Any]]:
    return [
        {
            "position": position,
            "label": step.label,
            "verb": step.verb,
            "source": counts.source,
            "documents": counts.documents,
            "kept": counts.kept,
            "rejected": sum(counts.rejected.values()),
            "errors": counts.errors,
            "step_seconds": step.seconds,
            "thresholds": canonical_json(step.thresholds),
            "metrics": canonical_json(step.metrics),
        }
        for position, step in enumerate(manifest.steps)
        for counts in step.counts
    ]


def _rules(manifest: Manifest) -> list[dict[str, Any]]:
    rows = []
    for position, step in enumerate(manifest.steps):
        numbers = {rule: float(v) for rule, v in step.thresholds.items() if isinstance(v, int | float)}
        for counts in step.counts:
            row = {"position": position, "label": step.label, "source": counts.source}
            rows += [
                row | {"rule": rule, "rejected": rejected, "threshold": numbers.get(rule)}
                for rule, rejected in counts.rejected.items()
            ]
    return rows


def _thresholds(limits: Sequence[Limit]) -> list[dict[str, Any]]:
    return [
        {"position": limit.position, "label": limit.step, "rule": limit.rule, "column": limit.column}
        | {"part": bounds.group, "low": bounds.low, "high": bounds.high}
        for limit in limits
        for bounds in limit.bounds
    ]


# --- views of what decisions left ---


def _decisions(at: _Place, run: str, manifest: Manifest) -> None:
    """Make a view of each table that decisions left, those of several steps together."""
    for name in sorted({record.name for record in manifest.tables}):
        parts, fields = [], {"step": described("step", _text, "label of the step")}
        for record in manifest.tables:
            if record.name == name:
                path = shard_path(run, record)
                schema = _parquet_schema(path)
                fields |= {f.name: f for f in schema if f.name not in fields}
                told = f"SELECT {literal(record.step)} AS step, * FROM read_parquet({literal(_sql_path(path))})"  # noqa: S608
                parts.append(told)
        query = " UNION ALL BY NAME ".join(parts)
        _view_of_files(at, run, f"the files of the table {name}", identifier(name), query, list(fields.values()))


# --- views of a mixture ---


def _mixed(connection: duckdb.DuckDBPyConnection, run: str) -> None:
    """Make the views of a mixture's own folder."""
    mixed = read_mixture(run)
    reach(connection, run)
    at = _made_place(connection, "main")
    paths = ", ".join(literal(_sql_path(filesystem.join(run, shard.path))) for shard in mixed.shards)
    reader = "read_parquet" if all(shard.path.endswith(".parquet") for shard in mixed.shards) else "read_json"
    options = ", hive_partitioning = false" if reader == "read_parquet" else ", format = 'newline_delimited'"
    _view_of_files(at, run, "the mixture's shards", "documents", f"FROM {reader}([{paths}]{options})", ())
    _view_of_table(at, "shards", pa.Table.from_pylist([shard.model_dump() for shard in mixed.shards], SHARDS))
    _mixture(at, mixed.mixture, mixed.repetition)


def _mixture(at: _Place, record: Mapping[str, Any], repetition: Mapping[str, Any]) -> None:
    for name, table in mixture_tables(record, repetition):
        _view_of_table(at, name, table)


# --- SQL ---


def _view_of_files(at: _Place, run: str, what: str, name: str, query: str, schema: Sequence[pa.Field]) -> None:
    try:
        _view(at, name, query, schema)
    except duckdb.Error as error:
        msg = f"{run}: {what} can't be read ({_first_line(error)}): tamis manifest verify says which"
        raise RunError(msg) from None


def _view_of_table(at: _Place, name: str, table: pa.Table, shown: str = "") -> None:
    _table(at, name, table)
    _view(at, name, f"FROM {at.record}.{name}{shown}", table.schema)


def _table(at: _Place, name: str, table: pa.Table) -> None:
    at.connection.register("arriving", table)
    at.connection.execute(f"CREATE TABLE {at.record}.{name} AS SELECT * FROM arriving")  # noqa: S608  (names of ours)
    at.connection.unregister("arriving")


def _view(at: _Place, name: str, query: str, schema: Sequence[pa.Field]) -> None:
    place = f"{identifier(at.schema)}.{name}"
    at.connection.execute(f"CREATE VIEW {place} AS {query}")
    for column in schema:
        told = (column.metadata or {}).get(b"description")
        if told:
            comment = f"COMMENT ON COLUMN {place}.{identifier(column.name)} IS {literal(told.decode())}"
            at.connection.execute(comment)
