"""What came to each step and left it: documents, bytes of text and tokens, by source."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from tamis.jobs.report.blocks import Block, Plot, Section, Table, Variant
from tamis.jobs.report.facts import OTHERS, PARTS, Facts
from tamis.jobs.report.plots import bars
from tamis.jobs.sql.names import identifier

__all__ = ["build", "compare", "fates"]

MANY = 20
"""Sources from which on their table is folded."""
UNITS = ("documents", "bytes", "tokens")


def build(facts: Facts) -> Section | None:
    """Return the section."""
    left, note = remaining(facts)
    groups = _groups(left["documents"])
    labels = ["came in", *(step.label for step in facts.manifest.steps)]
    variants = []
    for unit in UNITS:
        if unit not in left:
            continue
        rows = [
            [label, part, round(sum(left[unit][source][place] for source in sources))]
            for place, label in enumerate(labels)
            for part, sources in enumerate(groups.values())
        ]
        variants.append(Variant(unit, ("name", "part", "n"), rows, list(groups)))
    blocks: list[Block] = [
        Plot("What is left after each step", bars("left", rows=len(labels)), variants, note),
        _steps(left, labels),
        _sources(facts),
        Table(
            ("step", "source", "documents", "kept", "rejected", "errors"),
            facts.rows(
                "SELECT label, source, documents, kept, rejected, errors FROM {run}.steps WHERE documents > 0 "
                "ORDER BY position, source"
            ),
            "each step by source",
            folded=True,
        ),
    ]
    return Section("funnel", "Funnel", blocks)


def _groups(documents: Mapping[str, Sequence[float]]) -> dict[str, list[str]]:
    """Return the sources of each colour: the largest have one of their own, the rest are others."""
    sources = sorted(documents)
    if len(sources) <= PARTS + 1:
        return {source: [source] for source in sources}
    largest = sorted(sorted(sources, key=lambda source: -documents[source][0])[:PARTS])
    return {source: [source] for source in largest} | {OTHERS: [s for s in sources if s not in largest]}


def compare(a: Facts, b: Facts) -> Section | None:
    """Return the section for two runs."""
    labels = list(dict.fromkeys(step.label for facts in (a, b) for step in facts.manifest.steps))
    parts = [a.name, b.name]
    after = []
    for facts in (a, b):
        left, _ = remaining(facts)
        mine = [step.label for step in facts.manifest.steps]
        counts = left["documents"].values()
        total = {label: round(sum(count[i + 1] for count in counts)) for i, label in enumerate(mine)}
        after.append({"came in": round(sum(count[0] for count in counts)), **total})
    names = ["came in", *labels]
    # One bar a step and run: stacked bars of two runs would say nothing.
    rows = [
        [f"{name} · {parts[part]}", part, after[part][name]]
        for name in names for part in (0, 1) if name in after[part]
    ]  # fmt: skip
    table = [
        [name, after[0].get(name), after[1].get(name), _difference(after[0].get(name), after[1].get(name))]
        for name in names
    ]
    plot = Plot(
        "Documents left after each step", bars("documents", rows=len(rows)),
        [Variant("documents", ("name", "part", "n"), rows, parts)],
    )  # fmt: skip
    heads = ("step", a.name, b.name, "difference")
    return Section("funnel", "Funnel", [plot, Table(heads, table, "documents left after each step")])


def _difference(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else second - first


def fates(facts: Facts) -> list[tuple[str, str | None, int, int]]:
    """Return source, step (None of selected ones), documents and bytes of text of each fate."""
    return [
        (source, step, documents, size)
        for source, step, documents, size in facts.rows(
            "SELECT source, step, count(*), sum(strlen(text))::BIGINT FROM {run}.documents GROUP BY ALL ORDER BY ALL"
        )
    ]


def remaining(facts: Facts) -> tuple[dict[str, dict[str, list[float]]], str]:
    """Return, by unit and source, what came in and what was left after each step; and a sentence about the units."""
    place = {step.label: i + 1 for i, step in enumerate(facts.manifest.steps)}
    steps = len(place)
    fell: dict[str, dict[str, list[float]]] = {
        unit: defaultdict(lambda: [0.0] * (steps + 2)) for unit in ("documents", "bytes")
    }
    for source, step, documents, size in fates(facts):
        at = steps + 1 if step is None else place.get(step, steps)
        fell["documents"][source][at] += documents
        fell["bytes"][source][at] += size
    left: dict[str, dict[str, list[float]]] = {}
    for unit, by_source in fell.items():
        left[unit] = {}
        for source in facts.manifest.sources:
            mine = by_source[source]
            # What fell at a step had come to it: all that fell there or later was there before.
            left[unit][source] = [sum(mine[at:]) for at in range(1, steps + 2)]
    note = (
        "Records that couldn't be read or scored are not among them. Bytes are those of the text as it was at its end."
    )
    counted = _tokens(facts)
    if counted is not None:
        column, per_byte = counted
        left["tokens"] = {
            source: [size * per_byte.get(source, per_byte[""]) for size in sizes]
            for source, sizes in left["bytes"].items()
        }
        note += (
            f" Tokens are estimated: the bytes, times what {column} comes to per byte in those documents of the source"
            " that have the column."
        )
    return left, note


def _tokens(facts: Facts) -> tuple[str, dict[str, float]] | None:
    columns = [name for name in facts.types if name == "tokens" or name.endswith(("_tokens", "token_count"))]
    if not columns:
        return None
    column = min(columns, key=lambda name: (name not in ("tokens", "token_count"), columns.index(name)))
    query = (
        f"SELECT source, sum({identifier(column)}) / nullif(sum(strlen(text)), 0) FROM {{run}}.documents "
        f"WHERE {identifier(column)} IS NOT NULL GROUP BY GROUPING SETS ((source), ()) ORDER BY source"
    )
    found = {source or "": float(value) for source, value in facts.rows(query) if value is not None}
    return (column, found) if "" in found else None


def _steps(left: dict[str, dict[str, list[float]]], labels: Sequence[str]) -> Table:
    units = [unit for unit in UNITS if unit in left]
    rows: list[list[Any]] = []
    total = {unit: [sum(left[unit][s][i] for s in left[unit]) for i in range(len(labels))] for unit in units}
    for place, label in enumerate(labels):
        before = total["documents"][place - 1] if place else 0
        share = round(100 * total["documents"][place] / before, 1) if before else None
        rows.append([label, share, *(round(total[unit][place]) for unit in units)])
    return Table(("step", "kept %", *units), rows, "what is left after each step")


def _sources(facts: Facts) -> Table:
    rows = facts.rows("SELECT source, read, selected, rejected, errors, proportion FROM {run}.sources ORDER BY source")
    heads = ("source", "read", "selected", "rejected", "errors", "share of bytes")
    return Table(heads, rows, "how each source ended", folded=len(rows) > MANY)
