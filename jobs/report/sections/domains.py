"""Where documents come from: hosts by documents and bytes."""

from tamis.jobs.report.blocks import Block, Plot, Section, Table, Variant, Words
from tamis.jobs.report.facts import Facts
from tamis.jobs.report.plots import bars

__all__ = ["build"]

TOP = 20


def build(facts: Facts) -> Section | None:
    """Return the section."""
    connection = facts.connection
    facts.rows("CREATE OR REPLACE TEMP TABLE found_domains AS FROM {run}.domains()")
    total, with_host = connection.execute("SELECT count(*), sum(documents)::BIGINT FROM found_domains").fetchall()[0]
    if not total:
        return None
    columns = "domain, documents, selected, bytes, selected_bytes"
    by_documents = facts.rows(f"SELECT {columns} FROM found_domains ORDER BY documents DESC, domain LIMIT {TOP}")
    by_bytes = facts.rows(
        f"SELECT {columns} FROM found_domains WHERE selected > 0 ORDER BY selected_bytes DESC, domain LIMIT {TOP}"
    )
    parts = ["selected", "rejected"]
    variants = []
    for name, rows, kept, whole in (("documents", by_documents, 2, 1), ("bytes", by_bytes, 4, 3)):
        bars_ = [[row[0], part, row[kept] if part == 0 else row[whole] - row[kept]] for row in rows for part in (0, 1)]
        if bars_:
            variants.append(Variant(name, ("name", "part", "n"), bars_, parts))
    heads = ("domain", "documents", "selected", "bytes", "bytes selected")
    told = (
        f"{total:,} hosts (without www.) of the {with_host:,} documents that have an address. The full list: "
        f'tamis sql {facts.run} "FROM domains()" -o domains.parquet'
    )
    blocks: list[Block] = [
        Words(told),
        Plot(f"The {len(by_documents)} largest hosts", bars("documents or bytes", rows=len(by_documents)), variants),
        Table(heads, by_documents, "by documents", folded=True),
        Table(heads, by_bytes, "by bytes selected", folded=True),
    ]
    return Section("domains", "Domains", blocks)
