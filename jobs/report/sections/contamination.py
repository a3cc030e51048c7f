"""Evaluation items that stand in documents: item and document side by side."""

from dataclasses import replace

from tamis.jobs.report.blocks import Block, Documents, Section, Table, Words
from tamis.jobs.report.facts import Facts
from tamis.jobs.sql.macros import document_key
from tamis.jobs.sql.names import identifier

__all__ = ["build"]

HITS = 25
SETS = 20


def build(facts: Facts) -> Section | None:
    """Return the section."""
    blocks: list[Block] = []
    for step in facts.manifest.steps:
        if step.verb == "decontaminate":
            name = step.label.partition(".")[2] or "contamination"
            if f"{name}_item" in facts.types:
                blocks += _hits(facts, name)
    return Section("contamination", "Contamination", blocks) if blocks else None


def _hits(facts: Facts, name: str) -> list[Block]:
    item, coverage, match, other = (
        identifier(f"{name}_{rest}") for rest in ("item", "coverage", "match", "item_match")
    )
    whole = identifier(f"{name}_whole_items")
    counts = facts.rows(
        f"SELECT split_part({item}, '/', 1) AS items, count(*) AS n, count(DISTINCT {item}), "
        f"count(*) FILTER ({whole} > 0), count(*) FILTER (fate = 'selected') FROM {{run}}.documents "
        f"WHERE {item} IS NOT NULL GROUP BY 1 ORDER BY n DESC, 1 LIMIT {SETS}"
    )
    if not counts:
        return [Words(f"{name}: no evaluation item was found.")]
    heads = ("items", "documents", "different items", "with a whole item", "still selected")
    blocks: list[Block] = [Table(heads, counts, f"{name}: documents with an item")]
    hits = facts.rows(
        f"WITH hits AS (SELECT doc_id, {document_key(facts.seed)} AS draw FROM {{run}}.documents "
        f"WHERE {item} IS NOT NULL "
        f"ORDER BY draw, doc_id LIMIT {HITS}) SELECT d.doc_id, d.source, d.{item}, d.{coverage}, d.{match}, d.{other} "
        f"FROM {{run}}.documents d JOIN hits USING (doc_id) WHERE d.{item} IS NOT NULL "
        f"ORDER BY d.{coverage} DESC, d.doc_id"
    )
    shown = [
        replace(
            facts.shown(f"{found}, {facts.told(coverage=share)}, in {source} {doc_id}", mine, blurred=False),
            beside=facts.shown("", theirs, blurred=False).text,
        )
        for doc_id, source, found, share, mine, theirs in hits
    ]
    note = f"Drawn by a keyed hash; {sum(row[1] for row in counts):,} documents have one."
    heads_ = ("in the document", "in the item")
    return [*blocks, Documents(f"{name}: hits side by side", shown, note, heads_)]
