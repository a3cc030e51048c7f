"""What each step cost: CPU time, and money where a CPU hour has a price."""

from tamis.jobs.report.blocks import Block, Plot, Section, Table, Variant, Words
from tamis.jobs.report.facts import Facts
from tamis.jobs.report.plots import bars
from tamis.jobs.text import duration

__all__ = ["build", "compare"]

HOUR = 3600
ENOUGH = 100
"""Records from which on it is said what a million would cost: of fewer, starting is most of it."""


def spent(facts: Facts) -> dict[str, float]:
    """Return CPU seconds by step; what a pass of several steps took stands under their joined labels."""
    found: dict[str, float] = {}
    for step, seconds in facts.rows("SELECT step, sum(cpu_seconds) FROM {run}.passes GROUP BY step ORDER BY step"):
        found[step or "the run"] = seconds
    if not found:  # of a manifest that has no passes
        found = {step.label: step.seconds for step in facts.manifest.steps}
    order = {step.label: i for i, step in enumerate(facts.manifest.steps)}
    return dict(sorted(found.items(), key=lambda item: (order.get(item[0].split(" + ")[0], len(order)), item[0])))


def _rough(value: float) -> str:
    """Return a number with three digits: 0.631, 74,700."""
    return f"{float(f'{value:.3g}'):,.10g}"


def build(facts: Facts) -> Section | None:
    """Return the section."""
    seconds = spent(facts)
    total = sum(seconds.values())
    size = facts.manifest.text_bytes
    documents = facts.manifest.read
    told = f"{duration(total)} of CPU time in {duration(facts.manifest.seconds)} of the run that finished"
    if documents >= ENOUGH and size:
        told += f"; {_rough(total / documents * 1e6 / HOUR)} CPU hours a million records"
        told += f", {_rough(total / size * 1e12 / HOUR)} a TB of text"
    told += "."
    heads = ["step", "CPU seconds", "%"]
    rows: list[list[object]] = [
        [step, round(spent_, 2), round(100 * spent_ / total, 1) if total else 0.0] for step, spent_ in seconds.items()
    ]
    if facts.price is not None:
        told += f" At {facts.price:g} a CPU hour that is {total / HOUR * facts.price:.4g}."
        heads.append("cost")
        for row, spent_ in zip(rows, seconds.values(), strict=True):
            row.append(float(f"{spent_ / HOUR * facts.price:.4g}"))
    plot = Plot(
        "CPU seconds by step", bars("CPU seconds", rows=len(seconds), whole=False),
        [Variant("step", ("name", "n"), [[step, round(s, 3)] for step, s in seconds.items()])],
    )  # fmt: skip
    passes = facts.rows("SELECT name, step, tasks, cpu_seconds FROM {run}.passes")
    blocks: list[Block] = [Words(told), plot, Table(heads, rows, "CPU time by step")]
    if passes:
        blocks.append(Table(("pass", "step", "tasks", "CPU seconds"), passes, "each pass", folded=True))
    return Section("costs", "Time and cost", blocks)


def compare(a: Facts, b: Facts) -> Section | None:
    """Return the section for two runs."""
    first, second = spent(a), spent(b)
    rows = [
        [step, round(first[step], 2) if step in first else None, round(second[step], 2) if step in second else None]
        for step in dict.fromkeys([*first, *second])
    ]
    totals = ["all", round(sum(first.values()), 2), round(sum(second.values()), 2)]
    return Section("costs", "Time", [Table(("step", a.name, b.name), [*rows, totals], "CPU seconds by step")])
