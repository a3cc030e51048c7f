"""Why documents fell: every rule with its count, and documents that fell to it."""

from tamis.jobs.report.blocks import Block, Documents, Plot, Section, Table, Variant, Words
from tamis.jobs.report.facts import Facts
from tamis.jobs.report.plots import bars
from tamis.jobs.text import counted

__all__ = ["build"]

BARS = 25


def build(facts: Facts) -> Section | None:
    """Return the section."""
    if not facts.manifest.rejected:
        return None
    rules = facts.rows(
        "SELECT label, rule, sum(rejected)::BIGINT AS n, count(*) FROM {run}.rules GROUP BY position, label, rule "
        "ORDER BY n DESC, position, rule"
    )
    steps = list(dict.fromkeys(step.label for step in facts.manifest.steps))
    parts = [step for step in steps if any(label == step for label, *_ in rules)]
    rows = [[rule, parts.index(label), n] for label, rule, n, _ in rules[:BARS]]
    more = f" The other {counted(len(rules) - BARS, 'rule')} are in the table." if len(rules) > BARS else ""
    blocks: list[Block] = [
        Plot(
            "Rules that rejected most",
            bars("documents", rows=len(rows)),
            [Variant("step", ("name", "part", "n"), rows, parts)],
            f"Each document falls to one rule, the first that it breaks.{more}",
        ),
        Table(("step", "rule", "rejected", "sources"), rules, "all rules", folded=True),
        Words(_about(facts)),
    ]
    samples: dict[tuple[str, str], list[tuple[object, ...]]] = {}
    for doc_id, source, url, step, rule, value, threshold, text in facts.rows(
        f"FROM {{run}}.samples({facts.room.samples})"
    ):
        samples.setdefault((step, rule), []).append((doc_id, source, url, value, threshold, text))
    ids = [str(row[0]) for rows_ in samples.values() for row in rows_]
    harmful = facts.harmful(ids)
    for label, rule, n, _ in rules[: facts.room.rules]:
        shown = [
            facts.shown(
                f"{source}: {facts.told(value=value, threshold=threshold)} {url or doc_id}",
                str(text),
                blurred=doc_id in harmful,
            )
            for doc_id, source, url, value, threshold, text in samples.get((label, rule), ())[: facts.room.samples]
        ]
        if shown:
            blocks.append(Documents(f"{label}: {rule}, {counted(n, 'document')}", shown))
    return Section("rejected", "Rejected documents", blocks)


def _about(facts: Facts) -> str:
    told = (
        f"Below, up to {facts.room.samples} documents of each rule, drawn by a keyed hash of the doc_id and the run's "
        f"seed ({facts.seed}): the same ones each time. tamis sql draws more: FROM sample('rule', 100)."
    )
    if facts.harmful_steps:
        steps = ", ".join(sorted(facts.harmful_steps))
        told += f" What {steps} found harmful is blurred until clicked; it never saw what fell before it."
    return told
