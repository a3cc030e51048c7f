"""What importance resampling gained, in the step's own figures."""

from tamis.jobs.report.blocks import Block, Section, Table, Words
from tamis.jobs.report.facts import Facts

__all__ = ["build"]

MEANING = {
    "kl_reduction": "KL reduction in nats: how much nearer the draw is to the target than a uniform draw of the pool",
    "pool_documents": "documents of the pool that the ratio was fitted on",
    "target_documents": "documents of the target",
    "candidates": "documents that could be drawn",
    "passes": "passes that the exact threshold took",
}


def build(facts: Facts) -> Section | None:
    """Return the section."""
    blocks: list[Block] = []
    for step in facts.manifest.steps:
        if step.verb != "dsir":
            continue
        gain = step.metrics.get("kl_reduction")
        if gain is not None:
            blocks.append(Words(f"{step.label}: the draw is {gain:.4f} nats nearer to the target than the pool is."))
        rows = [[name, value, MEANING.get(name, "")] for name, value in _flat(step.metrics)]
        blocks.append(Table(("figure", "value", "meaning"), rows, f"{step.label}: figures"))
        kept = facts.rows(
            "SELECT source, documents, kept, kept / documents FROM {run}.steps "
            "WHERE label = ? AND documents > 0 ORDER BY source",
            [step.label],
        )
        blocks.append(Table(("source", "documents", "drawn", "share"), kept, f"{step.label}: what was drawn by source"))
    return Section("dsir", "Importance resampling", blocks) if blocks else None


def _flat(metrics: object, prefix: str = "") -> list[tuple[str, object]]:
    if not isinstance(metrics, dict):
        return [(prefix, metrics)]
    return [pair for key, value in metrics.items() for pair in _flat(value, f"{prefix}.{key}" if prefix else str(key))]
