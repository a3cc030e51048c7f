"""Text that steps took out because the whole input has it again: how much, of which source, of which documents."""

from tamis.jobs.report.blocks import Block, Documents, Plot, Section, Table, Variant, Words
from tamis.jobs.report.facts import Facts
from tamis.jobs.report.plots import bars
from tamis.jobs.sql.names import identifier
from tamis.schemas.manifest import StepRecord

__all__ = ["build"]

WHAT = {"paragraph_dedup": "lines or paragraphs", "substring_dedup": "substrings"}
CLASSES = (0, 1, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90)
"""Percent of a document's characters from which on a bar counts it; the first are those that lost something at all."""
SHOWN = 10


def build(facts: Facts) -> Section | None:
    """Return the section."""
    blocks: list[Block] = []
    for step in facts.manifest.steps:
        prefix = step.label.partition(".")[2] or "text"
        if step.verb in WHAT and f"{prefix}_removed_chars" in facts.types:
            blocks += _taken_out(facts, step, prefix)
    return Section("repeats", "Repeated text", blocks) if blocks else None


def _taken_out(facts: Facts, step: StepRecord, prefix: str) -> list[Block]:
    gone, left = identifier(f"{prefix}_removed_chars"), identifier(f"{prefix}_left_chars")
    counts = facts.rows(
        f"SELECT source, count(*), count(*) FILTER ({gone} > 0), sum({gone})::BIGINT AS gone, "
        f"round(100 * sum({gone}) / greatest(1, sum({gone} + {left})), 1), count(*) FILTER (step = ?) "
        f"FROM {{run}}.documents WHERE {gone} IS NOT NULL GROUP BY source ORDER BY gone DESC, source",
        [step.label],
    )
    if not any(row[2] for row in counts):
        return [Words(f"{step.label}: no document had {WHAT[step.verb]} that stand elsewhere too.")]
    heads = ("source", "documents", "that lost text", "characters taken out", "% of the text", "nothing left")
    blocks: list[Block] = [Table(heads, counts, f"{step.label}: {WHAT[step.verb]} taken out")]
    blocks.append(_shares(facts, step, gone, left))
    blocks.append(_documents(facts, step, gone, left))
    return blocks


def _shares(facts: Facts, step: StepRecord, gone: str, left: str) -> Plot:
    parts = facts.parts("source")
    drawn = facts.rows(
        f"SELECT 100 * {gone} / ({gone} + {left}) AS share, {facts.part('source', parts)} AS part "
        f"FROM {facts.drawn}.documents WHERE {gone} > 0"
    )
    edges = list(zip(CLASSES, [*CLASSES[1:], 101], strict=True))
    rows = [
        (_told(low, high), number, sum(low <= share < high for share, of in drawn if of == part))
        for low, high in edges
        for number, part in enumerate(parts)
    ]
    return Plot(
        f"{step.label}: share of its characters that a document lost",
        bars("documents", rows=len(edges)),
        [Variant("source", ("name", "part", "n"), rows, parts)],
        f"Documents that lost nothing aren't counted. {facts.sampled}",
    )


def _told(low: int, high: int) -> str:
    return "under 1 %" if low == 0 else f"{low} to {high} %" if high <= 90 else f"{low} % and more"


def _documents(facts: Facts, step: StepRecord, gone: str, left: str) -> Documents:
    found = facts.rows(
        f"SELECT doc_id, source, {gone}, {left}, fate, text "
        f"FROM {{run}}.documents WHERE {gone} > 0 ORDER BY {gone} DESC, doc_id LIMIT {SHOWN}"
    )
    harmful = facts.harmful([row[0] for row in found])
    shown = [
        facts.shown(
            f"{source} {doc_id}, {lost:,} of {lost + rest:,} characters taken out"
            + (", the text as it came" if fate == "rejected" else ", what is left"),
            text,
            blurred=doc_id in harmful,
        )
        for doc_id, source, lost, rest, fate, text in found
    ]
    note = "Selected documents have what is left, rejected ones the text as it came."
    return Documents(f"{step.label}: the documents that lost most", shown, note)
