"""A DuckDB connection over a run: documents from its shards, and tables of what its manifest records."""

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from tamis.jobs.manifest.file import read_manifest, shard_path, shards_of
from tamis.jobs.mix.folder import holds_mixture, read_mixture
from tamis.pipeline.storage import filesystem
from tamis.schemas.base import canonical_json
from tamis.schemas.errors import RunError
from tamis.schemas.manifest import Manifest
from tamis.schemas.mixture_manifest import MixtureManifest
from tamis.schemas.tables import DOCUMENT_SCHEMA, ERROR_SCHEMA, REJECTED_SCHEMA, described

__all__ = ["connect", "identifier", "literal", "shard_relation"]

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

MIXTURE = pa.schema(
    [
        described("name", _text, "the group"),
        described("unit", _text, "tokens, bytes or documents, of sizes and quotas"),
        described("size", _count, "what the group has"),
        described("documents", _count, "how many documents that is"),
        described("asked", pa.float64(), "the share that was asked for"),
        described("quota", _count, "what it was to give"),
        described("share", pa.float64(), "its part of all quotas"),
        described("amount", _count, "what it gives"),
        described("realised", pa.float64(), "its part of all that is given"),
        described("taken", _count, "documents, repeats included"),
        described("epochs", pa.float64(), "quota by size"),
        described("effective", pa.float64(), "what it gives, in fresh tokens (or bytes)"),
        described("capped", pa.bool_(), "whether it gives less than was asked, for lack of data"),
    ]
)
ROUNDS = pa.schema(
    [
        described("round", pa.int32(), "of the estimate, from 0"),
        described("name", _text, "the group"),
        described("share", pa.float64(), "its share in that round"),
        described("loss", pa.float64(), "its validation loss at the round's end, where it was measured"),
    ]
)
REPETITION = pa.schema(
    [
        described("least", _count, "least times seen of the class"),
        described("most", _count, "most; null: no bound"),
        described("unit", _text, "tokens or bytes"),
        described("seen", pa.float64(), "seen of documents in the class, repeats included"),
        described("unique", pa.float64(), "different ones"),
        described("share", pa.float64(), "of all that is seen"),
    ]
)


def connect(run: str) -> duckdb.DuckDBPyConnection:
    """Open a run, or a materialised mixture, for SQL.

    Views over shards, read where they lie: `selected`, `rejected`, `errors`, and `documents` (both fates, with a column
    `fate`). Views of the manifest: `manifest`, `sources`, `steps` (one row a step and source), `rules` (one row a step,
    source and rule that rejected something), `inputs`, `models`, `shards`. Only files that the manifest names are read.
    Of a mixture, which a run may have been materialised in: `mixture` (one row a group), `mixture_rounds` and
    `repetition`; in a mixture's own folder also its documents, as `documents`, and `shards`.

    Args:
        run: the folder of a run or of a mixture, a local path or a URL.

    Raises:
        RunError: if the folder holds no finished run, or one of its shards is missing or damaged.
    """
    mixed = read_mixture(run) if holds_mixture(run) else None
    manifest = None if mixed is not None else read_manifest(run)
    # An in-memory database would spill into the folder where the user happens to stand.
    connection = duckdb.connect(config={"temp_directory": tempfile.gettempdir(), "python_enable_replacements": False})
    connection.execute("SET TimeZone = 'UTC'")
    if not filesystem.is_local(run):
        import fsspec

        connection.register_filesystem(fsspec.core.url_to_fs(run)[0])
    if manifest is not None:
        _documents(connection, run, manifest)
        _records(connection, manifest)
        told = manifest.mixture.get("materialised") or {}
        _mixture(connection, told, told.get("repetition") or {})
    elif mixed is not None:
        _mixed(connection, run, mixed)
        _mixture(connection, mixed.mixture, mixed.repetition)
    return connection


def identifier(name: str) -> str:
    """Quote a name for SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Quote a text for SQL."""
    return "'" + text.replace("'", "''") + "'"


def shard_relation(run: str, manifest: Manifest, fate: str) -> str | None:
    """Return the SQL that reads all shards of one fate; None if there is none."""
    paths = [_sql_path(shard_path(run, record)) for record in shards_of(manifest, fate)]
    if not paths:
        return None
    return f"read_parquet([{', '.join(map(literal, paths))}], hive_partitioning = false)"


def _sql_path(path: str) -> str:
    return filesystem.local_path(path) if filesystem.is_local(path) else path


# --- views over shards ---


def _documents(connection: duckdb.DuckDBPyConnection, run: str, manifest: Manifest) -> None:
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
            _table(connection, f"no_{fate}", schema.empty_table())
            relation = f"{RECORD}.no_{fate}"
        try:
            _view(connection, fate, f"FROM {relation}", schema)
        except duckdb.Error as error:
            msg = f"{run}: the {fate} shards can't be read ({_first_line(error)}): tamis manifest verify says which"
            raise RunError(msg) from None
    _both_fates(connection, selected, rejected)


def _shard_schema(run: str, manifest: Manifest, fate: str) -> pa.Schema | None:
    for record in shards_of(manifest, fate):
        path = shard_path(run, record)
        if not filesystem.exists(path):
            msg = f"{path} is missing, though the manifest names it: tamis manifest verify checks all shards"
            raise RunError(msg)
        with filesystem.open_binary(path) as stream:
            try:
                return pq.read_schema(stream)
            except (pa.ArrowInvalid, OSError) as error:
                msg = f"{path} is damaged ({_first_line(error)}): tamis manifest verify checks all shards"
                raise RunError(msg) from None
    return None


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _both_fates(connection: duckdb.DuckDBPyConnection, selected: pa.Schema, rejected: pa.Schema) -> None:
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
        parts.append(f"SELECT {', '.join(listed)} FROM {fate}")  # noqa: S608  (names are quoted)
    fields.insert(place, FATE)
    _view(connection, "documents", " UNION ALL ".join(parts), pa.schema(fields))


# --- views of the manifest ---


def _records(connection: duckdb.DuckDBPyConnection, manifest: Manifest) -> None:
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
        "inputs": (INPUTS, inputs),
        "models": (MODELS, [record.model_dump() for record in manifest.models]),
        "shards": (SHARDS, [record.model_dump() for record in manifest.shards]),
    }
    for name, (schema, rows) in tables.items():
        _table(connection, name, pa.Table.from_pylist(list(rows), schema))
        casts = ", ".join(f"{column}::JSON AS {column}" for column in schema.names if column in JSON_COLUMNS)
        shown = f" SELECT * REPLACE ({casts})" if casts else ""
        _view(connection, name, f"FROM {RECORD}.{name}{shown}", schema)


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


# --- views of a mixture ---


def _mixed(connection: duckdb.DuckDBPyConnection, run: str, mixed: MixtureManifest) -> None:
    """Make the views over a mixture's own shards."""
    paths = ", ".join(literal(_sql_path(filesystem.join(run, shard.path))) for shard in mixed.shards)
    reader = "read_parquet" if all(shard.path.endswith(".parquet") for shard in mixed.shards) else "read_json"
    options = ", hive_partitioning = false" if reader == "read_parquet" else ", format = 'newline_delimited'"
    try:
        _view(connection, "documents", f"FROM {reader}([{paths}]{options})", ())
    except duckdb.Error as error:
        msg = f"{run}: the mixture's shards can't be read ({_first_line(error)}): tamis manifest verify says which"
        raise RunError(msg) from None
    _table(connection, "shards", pa.Table.from_pylist([shard.model_dump() for shard in mixed.shards], SHARDS))
    _view(connection, "shards", f"FROM {RECORD}.shards", SHARDS)


def _mixture(connection: duckdb.DuckDBPyConnection, record: Mapping[str, Any], repetition: Mapping[str, Any]) -> None:
    rounds = [
        {"round": number, "name": name, "share": float(share), "loss": loss}
        for number, found in enumerate(record.get("rounds", ()))
        if "p" in found
        for name, share, loss in _of_round(record, found)
    ]
    seen = [
        {"least": row["seen"][0], "most": row["seen"][1], "seen": row["tokens"], "unique": row["unique_tokens"]}
        | {"share": row["share"], "unit": repetition.get("unit")}
        for row in repetition.get("histogram", ())
    ]
    worth = repetition.get("groups", {})
    groups = [
        {name: group.get(name) for name in MIXTURE.names}
        | {"unit": record.get("unit"), "effective": worth.get(group["name"], {}).get("effective_tokens")}
        for group in record.get("groups", ())
    ]
    for name, schema, rows in (
        ("mixture", MIXTURE, groups),
        ("mixture_rounds", ROUNDS, rounds),
        ("repetition", REPETITION, seen),
    ):
        _table(connection, name, pa.Table.from_pylist(rows, schema))
        _view(connection, name, f"FROM {RECORD}.{name}", schema)


def _of_round(record: Mapping[str, Any], found: Mapping[str, Any]) -> list[tuple[str, float, float | None]]:
    names = list(record.get("proportions") or {})
    losses = found.get("loss_end") or []
    told = losses if len(losses) == len(names) else [None] * len(names)
    return list(zip(names, found["p"], told, strict=False))


# --- SQL ---


def _table(connection: duckdb.DuckDBPyConnection, name: str, table: pa.Table) -> None:
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {RECORD}")
    connection.register("arriving", table)
    connection.execute(f"CREATE TABLE {RECORD}.{name} AS SELECT * FROM arriving")  # noqa: S608  (names of ours)
    connection.unregister("arriving")


def _view(connection: duckdb.DuckDBPyConnection, name: str, query: str, schema: Sequence[pa.Field]) -> None:
    connection.execute(f"CREATE VIEW {name} AS {query}")
    for column in schema:
        told = (column.metadata or {}).get(b"description")
        if told:
            comment = f"COMMENT ON COLUMN {name}.{identifier(column.name)} IS {literal(told.decode())}"
            connection.execute(comment)
