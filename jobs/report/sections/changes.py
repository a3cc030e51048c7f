"""What differs between two runs: why, which settings, and which documents only one of them selected."""

from tamis.jobs.manifest.compare import compare as compare_runs
from tamis.jobs.manifest.compare import independent, plain
from tamis.jobs.report.blocks import Block, Documents, Section, Table, Words
from tamis.jobs.report.facts import Facts
from tamis.jobs.sql.macros import document_key
from tamis.jobs.text import counted, one_line

__all__ = ["compare"]

SECTIONS = ("config", "models", "inputs", "program", "packages", "thresholds")
ROWS = 150
MANY = 20
"""Rows of a table from which on it is folded."""
KINDS = 12


def compare(a: Facts, b: Facts) -> Section | None:
    """Return the section."""
    found = compare_runs(a.run, b.run, documents=False)
    config = [difference for difference in found.differences if difference.section == "config"]
    rows = [
        [difference.section, difference.key, _value(difference.first), _value(difference.second)]
        for difference in independent(found.differences, config)
        if difference.section in SECTIONS
    ]
    blocks: list[Block] = [Words(sentence) for sentence in found.why]
    if rows:
        more = f", the first {ROWS} of {len(rows):,}" if len(rows) > ROWS else ""
        blocks.append(Table(("of", "key", a.name, b.name), rows[:ROWS], f"what differs{more}", folded=len(rows) > MANY))
    return Section("changes", "What differs", [*blocks, *_moved(a, b)])


def _value(value: object) -> str:
    return "" if value is None else one_line(plain(value), 200, "…")


def _moved(a: Facts, b: Facts) -> list[Block]:
    fate = "coalesce({0}.fate, 'absent') || coalesce(' at ' || {0}.step || ': ' || {0}.rule, '')"
    a.rows(
        "CREATE OR REPLACE TEMP TABLE moved AS SELECT doc_id, "
        f"{fate.format('a')} AS before, {fate.format('b')} AS after "
        f"FROM (SELECT doc_id, fate, step, rule FROM {a.schema}.documents) a "
        f"FULL JOIN (SELECT doc_id, fate, step, rule FROM {b.schema}.documents) b USING (doc_id)"
    )
    fates = "CASE WHEN starts_with({0}, 'rejected') THEN 'rejected' ELSE {0} END"
    matrix = a.rows(
        f"SELECT {fates.format('before')} AS b, {fates.format('after')} AS f, count(*) FROM moved "
        "GROUP BY ALL ORDER BY ALL"
    )
    kinds = a.rows(
        "SELECT before, after, count(*) AS n FROM moved WHERE (before = 'selected') <> (after = 'selected') "
        "GROUP BY ALL ORDER BY n DESC, before, after"
    )
    blocks: list[Block] = [Table((a.name, b.name, "documents"), matrix, "what became of each document")]
    for before, after, n in kinds[:KINDS]:
        drawn = a.rows(
            f"WITH drawn AS (SELECT doc_id FROM moved WHERE before = ? AND after = ? ORDER BY {document_key(a.seed)} "
            f"LIMIT {a.room.samples}) SELECT d.doc_id, any_value(d.source), any_value(d.text) FROM "
            f"(SELECT doc_id, source, text FROM {a.schema}.documents UNION ALL SELECT doc_id, source, text FROM "
            f"{b.schema}.documents) d JOIN drawn USING (doc_id) GROUP BY d.doc_id ORDER BY d.doc_id",
            [before, after],
        )
        ids = [row[0] for row in drawn]
        harmful = a.harmful(ids) | b.harmful(ids)
        shown = [a.shown(f"{source} {doc_id}", text, blurred=doc_id in harmful) for doc_id, source, text in drawn]
        title = f"{a.name}: {before}; {b.name}: {after}; {counted(n, 'document')}"
        blocks.append(Documents(title, shown))
    if len(kinds) > KINDS:
        blocks.append(
            Words(f"{len(kinds) - KINDS} more kinds of move, of {sum(k[2] for k in kinds[KINDS:]):,} documents.")
        )
    return blocks
