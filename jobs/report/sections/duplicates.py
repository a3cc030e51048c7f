"""Clusters of duplicates: how many of which size, and the largest."""

from tamis.jobs.report.blocks import Block, Document, Documents, Plot, Section, Variant, Words
from tamis.jobs.report.facts import Facts
from tamis.jobs.report.plots import bars
from tamis.jobs.sql.names import identifier
from tamis.jobs.text import counted

__all__ = ["build"]

LARGEST = 10
CLASSES = (2, 3, 5, 10, 20, 50, 100, 1000, 10_000)


def build(facts: Facts) -> Section | None:
    """Return the section."""
    blocks: list[Block] = []
    for column in facts.types:
        size = f"{column}_size"
        if column.endswith("_cluster") and size in facts.types:
            blocks += _clusters(facts, column, size)
    if not blocks:
        return None
    return Section("duplicates", "Duplicates", blocks)


def _clusters(facts: Facts, column: str, size: str) -> list[Block]:
    name, many = identifier(column), identifier(size)
    facts.rows(
        f"CREATE OR REPLACE TEMP TABLE found_clusters AS SELECT {name} AS cluster, max({many}) AS size, "
        f"count(DISTINCT source) AS sources FROM {{run}}.documents WHERE {many} > 1 GROUP BY 1"
    )
    clusters, copies = facts.rows("SELECT count(*), coalesce(sum(size - 1), 0)::BIGINT FROM found_clusters")[0]
    if not clusters:
        return [Words(f"{column}: no document has another one in its cluster.")]
    edges = list(zip(CLASSES, [*CLASSES[1:], None], strict=True))
    rows = []
    for low, high in edges:
        (number,) = facts.rows(
            "SELECT count(*) FROM found_clusters WHERE size >= ? AND (?::BIGINT IS NULL OR size < ?)", [low, high, high]
        )[0]
        told = f"{low:,}" if high == low + 1 else f"{low:,} to {high - 1:,}" if high else f"{low:,} and more"
        rows.append([told, number])
    rows = rows[: max(i for i, row in enumerate(rows) if row[1]) + 1]
    plot = Plot(
        f"{column}: clusters by size",
        bars("clusters", rows=len(rows), log=True),
        [Variant("clusters", ("name", "n"), rows)],
        f"{clusters:,} clusters of two or more, with {copies:,} documents beyond the first of each.",
    )
    largest = facts.rows(
        f"WITH top AS (FROM found_clusters ORDER BY size DESC, cluster LIMIT {LARGEST}) "
        f"SELECT top.size, top.sources, top.cluster, any_value(d.doc_id ORDER BY d.fate DESC, d.doc_id), "
        f"arg_min(d.text, d.doc_id), arg_min(d.source, d.doc_id) "
        f"FROM {{run}}.documents d JOIN top ON d.{name} = top.cluster GROUP BY ALL ORDER BY top.size DESC, top.cluster"
    )
    harmful = facts.harmful([row[3] for row in largest])
    documents: list[Document] = [
        facts.shown(f"{number:,} documents of {counted(sources, 'source')}, {source}", text, blurred=doc_id in harmful)
        for number, sources, _, doc_id, text, source in largest
    ]
    return [plot, Documents(f"{column}: the largest clusters", documents, "One document of each.")]
