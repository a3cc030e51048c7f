"""What the shards of a run say about the data set: sizes by source and language, periods, domains."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from tamis.jobs.manifest.file import read_manifest, shard_path, shards_of
from tamis.jobs.sql.names import identifier
from tamis.jobs.sql.views import connect
from tamis.pipeline.storage import filesystem
from tamis.schemas.manifest import Manifest
from tamis.schemas.tables import DOCUMENT_SCHEMA

__all__ = ["Domain", "Facts", "OptOut", "Size", "SourceFacts", "collect_facts"]

HOST = r"^[a-z][a-z0-9+.-]*://(?:[^/?#@]*@)?(\[[^\]]*\]|[^/?#:]+)"
"""The host of an address; group 1."""


@dataclass(frozen=True)
class Size:
    """Documents, and bytes of their text in UTF-8."""

    documents: int
    bytes: int


@dataclass(frozen=True)
class Domain:
    """A registered domain (eTLD+1 of the Public Suffix List; an IP address stands for itself), and what is from it."""

    name: str
    size: Size


@dataclass(frozen=True)
class SourceFacts:
    """What was selected of one source; `first` and `last` are the oldest and newest timestamps, UTC, where known."""

    size: Size
    first: datetime | None
    last: datetime | None
    domains: tuple[Domain, ...]


@dataclass(frozen=True)
class OptOut:
    """A list of addresses whose owners reserve their rights, as a step `url_filter` was given it.

    Attributes:
        name: of the list.
        sha256: of its content.
        selected: documents under its addresses that the run selected.
        rejected: how many fell to the list.
    """

    name: str
    sha256: str
    selected: Size
    rejected: int


@dataclass(frozen=True)
class Facts:
    """What was selected.

    Attributes:
        schema: columns of the selected shards, with their descriptions.
        size: of all together.
        sources: by label; those of which nothing was selected too.
        languages: by label, largest first; empty if no step told languages.
        opt_outs: the lists of reserved rights that the run was given.
    """

    schema: pa.Schema
    size: Size
    sources: dict[str, SourceFacts]
    languages: dict[str, Size]
    opt_outs: tuple[OptOut, ...] = ()


def collect_facts(run: str) -> tuple[Manifest, Facts]:
    """Read a run's manifest and the columns of its selected shards that the papers need.

    Texts are read for their sizes alone. Domains are counted by DuckDB, one row a host comes to Python.

    Raises:
        RunError: if the folder holds no finished run, or one of its shards is missing or damaged.
    """
    manifest = read_manifest(run)
    schema = _schema(run, manifest)
    with connect(run) as connection:
        sources = _sources(connection, manifest)
        languages = _languages(connection) if "language" in schema.names else {}
        opt_outs = tuple(_opt_outs(connection, manifest))
    total = Size(sum(s.size.documents for s in sources.values()), sum(s.size.bytes for s in sources.values()))
    return manifest, Facts(schema, total, sources, languages, opt_outs)


def _schema(run: str, manifest: Manifest) -> pa.Schema:
    for record in shards_of(manifest, "selected"):
        with filesystem.open_binary(shard_path(run, record)) as stream:
            return pq.read_schema(stream)
    return DOCUMENT_SCHEMA


def _sources(connection: duckdb.DuckDBPyConnection, manifest: Manifest) -> dict[str, SourceFacts]:
    found = connection.execute(
        """SELECT source, count(*), coalesce(sum(strlen(text)), 0)::BIGINT,
        min(timestamp) AT TIME ZONE 'UTC', max(timestamp) AT TIME ZONE 'UTC' FROM selected GROUP BY source"""
    ).fetchall()
    rows = {source: rest for source, *rest in found}
    domains = _domains(connection)
    sources = {}
    for source in manifest.sources:
        documents, size, first, last = rows.get(source, (0, 0, None, None))
        sources[source] = SourceFacts(Size(documents, size), first, last, domains.get(source, ()))
    return sources


def _domains(connection: duckdb.DuckDBPyConnection) -> dict[str, tuple[Domain, ...]]:
    hosts = connection.execute(
        """SELECT source, lower(regexp_extract(url, ?, 1, 'i')) AS host, count(*), sum(strlen(text))::BIGINT
        FROM selected WHERE url IS NOT NULL GROUP BY ALL HAVING host <> ''""",
        [HOST],
    )
    documents: dict[str, Counter[str]] = {}
    sizes: dict[str, Counter[str]] = {}
    while rows := hosts.fetchmany(10_000):
        for source, host, many, size in rows:
            name = _registered(host)
            documents.setdefault(source, Counter())[name] += many
            sizes.setdefault(source, Counter())[name] += size
    found = {}
    for source, counts in documents.items():
        named = [Domain(name, Size(many, sizes[source][name])) for name, many in counts.items()]
        found[source] = tuple(sorted(named, key=lambda one: (-one.size.bytes, one.name)))
    return found


def _opt_outs(connection: duckdb.DuckDBPyConnection, manifest: Manifest) -> Iterator[OptOut]:
    """Yield the lists of each step `url_filter` that was given some, by name."""
    for step in manifest.config["steps"]:
        options = step.get("url_filter") or {}
        lists = options.get("opt_out") or {}
        if not lists:
            continue
        own = options.get("name", "url")
        label, column = ("url_filter", "opt_out") if own == "url" else (f"url_filter.{own}", f"{own}_opt_out")
        rows = connection.execute(
            f"""SELECT unnest(string_split({identifier(column)}, ' ')) AS list, count(*), sum(strlen(text))::BIGINT
            FROM selected WHERE {identifier(column)} IS NOT NULL GROUP BY list"""  # noqa: S608  (a quoted name)
        ).fetchall()
        sizes = {name: Size(many, size) for name, many, size in rows}
        counts = [one for told in manifest.steps if told.label == label for one in told.counts]
        digests = {model.option: model.sha256 for model in manifest.models if model.step == label}
        for name in sorted(lists):
            fell = sum(one.rejected.get(f"{own}_list_{name}", 0) for one in counts)
            yield OptOut(name, digests[f"opt_out.{name}"], sizes.get(name, Size(0, 0)), fell)


def _registered(host: str) -> str:
    from tld import get_fld

    name = host.rstrip(".")
    return get_fld(f"http://{name}", fail_silently=True, search_private=False) or name


def _languages(connection: duckdb.DuckDBPyConnection) -> dict[str, Size]:
    rows = connection.execute(
        """SELECT coalesce(language, 'und') AS name, count(*), sum(strlen(text))::BIGINT AS size
        FROM selected GROUP BY ALL ORDER BY size DESC, name"""
    ).fetchall()
    return {name: Size(many, size) for name, many, size in rows}
