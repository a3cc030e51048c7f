"""Perplexity buckets and other classes: how documents are spread over them."""

from tamis.jobs.report.blocks import Block, Plot, Section, Table, Variant
from tamis.jobs.report.facts import Facts
from tamis.jobs.report.plots import bars
from tamis.jobs.sql.names import identifier

__all__ = ["build"]

ORDER = ("head", "middle", "tail")
BUCKETS = 20


def build(facts: Facts) -> Section | None:
    """Return the section."""
    blocks: list[Block] = []
    for column in facts.types:
        if not column.endswith("_bucket"):
            continue
        name = identifier(column)
        splits = ["source", *(["language"] if "language" in facts.types else []), "fate"]
        variants = []
        for split in splits:
            parts = facts.parts(split)
            rows = facts.rows(
                f"SELECT {name}::VARCHAR AS bucket, {facts.part(split, parts)} AS part, count(*) "
                f"FROM {facts.drawn}.documents WHERE bucket IS NOT NULL GROUP BY ALL"
            )
            rows.sort(key=lambda row: (ORDER.index(row[0]) if row[0] in ORDER else len(ORDER), row[0], row[1]))
            variants.append(
                Variant(
                    split, ("name", "part", "n"), [[bucket, parts.index(part), n] for bucket, part, n in rows], parts
                )
            )
        many = len({row[0] for row in variants[0].rows})
        if not 0 < many <= BUCKETS:
            continue
        blocks.append(Plot(column, bars("documents", rows=many), variants, facts.sampled))
        blocks += _bounds(facts, column)
    return Section("buckets", "Perplexity buckets", blocks) if blocks else None


def _bounds(facts: Facts, column: str) -> list[Block]:
    for step in facts.manifest.steps:
        found = step.thresholds.get(column)
        if isinstance(found, dict) and found:
            rows = [[group, *bounds] for group, bounds in found.items() if isinstance(bounds, list)]
            heads = ("group", *(f"bound {i + 1}" for i in range(len(rows[0]) - 1))) if rows else ()
            if rows and all(len(row) == len(heads) for row in rows):
                return [Table(heads, rows, f"{column}: where the buckets part", folded=True)]
    return []
