"""What the shards of a run say about the data set: sizes by source and language, periods, domains."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from tamis.jobs.manifest.file import read_manifest, shard_path, shards_of
from tamis.jobs.sql.views import connect
from tamis.pipeline.storage import filesystem
from tamis.schemas.manifest import Manifest
from tamis.schemas.tables import DOCUMENT_SCHEMA

__all__ = ["Domain", "Facts", "Size", "SourceFacts", "collect_facts"]

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
class Facts:
    """What was selected.

    Attributes:
        schema: columns of the selected shards, with their descriptions.
        size: of all together.
        sources: by label; those of which nothing was selected too.
        languages: by label, largest first; empty if no step told languages.
    """

    schema: pa.Schema
    size: Size
    sources: dict[str, SourceFacts]
    languages: dict[str, Size]


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
    total = Size(sum(s.size.documents for s in sources.values()), sum(s.size.bytes for s in sources.values()))
    return manifest, Facts(schema, total, sources, languages)


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
