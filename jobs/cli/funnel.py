"""The funnel of a run as a table: what came to each step, what it kept, and what fell to which rule."""

from collections import Counter

from rich.table import Table
from rich.text import Text

from tamis.schemas.manifest import Manifest

__all__ = ["funnel_table", "sources_table"]

TOP_RULES = 3


def funnel_table(manifest: Manifest) -> Table:
    """Return a line a step, all sources together."""
    table = Table("step", title="steps", title_justify="left")
    for column in ("documents", "kept", "kept %", "rejected", "errors", "CPU s"):
        table.add_column(column, justify="right")
    table.add_column("most rejected by")
    for step in manifest.steps:
        rules = Counter[str]()
        for counts in step.counts:
            rules.update(counts.rejected)
        documents, kept, errors = (
            sum(getattr(counts, name) for counts in step.counts) for name in ("documents", "kept", "errors")
        )
        top = sorted(rules.items(), key=lambda item: (-item[1], item[0]))[:TOP_RULES]
        table.add_row(
            Text(step.label),
            f"{documents:,}",
            f"{kept:,}",
            _percent(kept, documents),
            f"{sum(rules.values()):,}",
            f"{errors:,}",
            f"{step.seconds:.1f}",
            Text(", ".join(f"{rule} {rows:,}" for rule, rows in top)),
        )
    return table


def sources_table(manifest: Manifest) -> Table:
    """Return a line a source: what was read, how it ended, and its share of what was selected."""
    table = Table("source", title="sources", title_justify="left")
    for column in ("files", "read", "selected", "selected %", "rejected", "errors", "share"):
        table.add_column(column, justify="right")
    files = Counter(record.source for record in manifest.inputs)
    shares = manifest.mixture.get("proportions", {})
    for source, counts in manifest.sources.items():
        numbers = {name: counts.get(name, 0) for name in ("read", "selected", "rejected", "errors")}
        table.add_row(
            Text(source),
            f"{files[source]:,}",
            f"{numbers['read']:,}",
            f"{numbers['selected']:,}",
            _percent(numbers["selected"], numbers["read"]),
            f"{numbers['rejected']:,}",
            f"{numbers['errors']:,}",
            f"{shares[source]:.4f}" if source in shares else "-",
        )
    return table


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f}" if whole else "-"
