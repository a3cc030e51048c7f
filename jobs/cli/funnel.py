"""The funnel of a run: what came to each step, what it kept, and below it what fell to which rule."""

from collections import Counter
from collections.abc import Iterator

from rich.console import Console

from tamis.jobs.cli.layout import Column, print_pairs, print_rows
from tamis.jobs.cli.text import counted, file_size
from tamis.schemas.manifest import Manifest, StepRecord

__all__ = ["balance_lines", "print_funnel", "print_sources"]

TOP_RULES = 3


def balance_lines(manifest: Manifest) -> Iterator[str]:
    """Yield what became of the records, and how much text that was."""
    yield (
        f"{counted(manifest.read, 'record')} read = {manifest.selected:,} selected + {manifest.rejected:,} rejected + "
        f"{counted(manifest.errors, 'error')}"
    )
    yield f"{file_size(manifest.text_bytes)} of text in {manifest.seconds:.1f} s"


def print_funnel(console: Console, manifest: Manifest) -> None:
    """Print a line a step, all sources together, and below for each the rules that rejected most."""
    names = ("documents", "kept", "kept %", "rejected", "errors", "CPU s")
    columns = [Column("step"), *(Column(name, right=True) for name in names)]
    rows = []
    reasons = []
    for step in manifest.steps:
        rules = _rules(step)
        documents, kept, errors = (
            sum(getattr(counts, name) for counts in step.counts) for name in ("documents", "kept", "errors")
        )
        rejected = sum(rules.values())
        numbers = (f"{documents:,}", f"{kept:,}", _percent(kept, documents), f"{rejected:,}", f"{errors:,}")
        rows.append([step.label, *numbers, f"{step.seconds:.1f}"])
        if rules:
            reasons.append((step.label, _top(rules)))
    print_rows(console, columns, rows, title="steps")
    if reasons:
        console.print()
        console.print("most rejected by", style="bold")
        # One by one, so that each stands on a line of its own.
        width = max(len(label) for label, _ in reasons)
        for label, told in reasons:
            print_pairs(console, [(label.ljust(width), told)])


def _rules(step: StepRecord) -> Counter[str]:
    rules = Counter[str]()
    for counts in step.counts:
        rules.update(counts.rejected)
    return rules


def _top(rules: Counter[str]) -> str:
    top = sorted(rules.items(), key=lambda item: (-item[1], item[0]))
    told = [f"{rule} {rows:,}" for rule, rows in top[:TOP_RULES]]
    if len(top) > TOP_RULES:
        told.append(f"{counted(len(top) - TOP_RULES, 'more rule')} {sum(rows for _, rows in top[TOP_RULES:]):,}")
    return ", ".join(told)


def print_sources(console: Console, manifest: Manifest) -> None:
    """Print a line a source: what was read, how it ended, and its share of what was selected."""
    names = ("files", "read", "selected", "selected %", "rejected", "errors", "share")
    columns = [Column("source"), *(Column(name, right=True) for name in names)]
    files = Counter(record.source for record in manifest.inputs)
    shares = manifest.mixture.get("proportions", {})
    rows = []
    for source, counts in manifest.sources.items():
        numbers = {name: counts.get(name, 0) for name in ("read", "selected", "rejected", "errors")}
        rows.append(
            [
                source,
                f"{files[source]:,}",
                f"{numbers['read']:,}",
                f"{numbers['selected']:,}",
                _percent(numbers["selected"], numbers["read"]),
                f"{numbers['rejected']:,}",
                f"{numbers['errors']:,}",
                f"{shares[source]:.4f}" if source in shares else "-",
            ]
        )
    print_rows(console, columns, rows, title="sources")


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f}" if whole else "-"
