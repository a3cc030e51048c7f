"""The documents nearest to each threshold, on both of its sides."""

from tamis.jobs.report.blocks import Block, Documents, Section, Words
from tamis.jobs.report.facts import Facts
from tamis.jobs.sql.names import literal
from tamis.jobs.text import counted

__all__ = ["build"]


def build(facts: Facts) -> Section | None:
    """Return the section."""
    rejected: dict[tuple[str, str], int] = {
        (label, rule): n
        for label, rule, n in facts.rows("SELECT label, rule, sum(rejected)::BIGINT FROM {run}.rules GROUP BY ALL")
    }
    limits = [limit for limit in facts.limits if rejected.get((limit.step, limit.rule))]
    limits.sort(key=lambda limit: (-rejected[limit.step, limit.rule], limit.position, limit.rule))
    found = []
    for limit in limits[: facts.room.rules // 2]:
        name = literal(f"{limit.step}.{limit.rule}")
        rows = facts.rows(
            f"SELECT side, doc_id, source, url, value, threshold, fate "
            f"FROM {{run}}.near_threshold({name}, {facts.room.near})"
        )
        if rows:
            found.append((limit, rows))
    if not found:
        return None
    ids = [row[1] for _, rows in found for row in rows]
    harmful = facts.harmful(ids)
    texts = facts.texts(ids)
    blocks: list[Block] = [
        Words(
            "Would a reader have drawn the line here? Of each rule over a number, the documents that only just fell "
            "and those that only just passed, whatever became of them later."
        )
    ]
    for limit, rows in found:
        shown = [
            facts.shown(
                f"{side}: {facts.told(value=value, threshold=threshold)}, {source}, {_fate(side, fate)}{url or doc_id}",
                texts.get((doc_id, fate), ""),
                blurred=doc_id in harmful,
            )
            for side, doc_id, source, url, value, threshold, fate in rows
        ]
        fell = counted(rejected[limit.step, limit.rule], "document")
        blocks.append(Documents(f"{limit.step}: {limit.rule} ({limit.column}), {fell} fell", shown))
    return Section("thresholds", "At the thresholds", blocks)


def _fate(side: str, fate: str) -> str:
    return "" if side == "fell" else "selected, " if fate == "selected" else "fell later, "
