"""Clusters of documents by meaning: titles, influence and picks, where a step made them."""

from tamis.jobs.report.blocks import Block, Plot, Section, Table, Variant, Words
from tamis.jobs.report.facts import Facts
from tamis.jobs.report.plots import bars, lines
from tamis.jobs.sql.names import identifier

__all__ = ["build"]

VIEWS = ("quad_clusters", "clusters", "quad_rounds")
ROWS = 200
LONG = 300
SHOWN = 30


def build(facts: Facts) -> Section | None:
    """Return the section."""
    blocks: list[Block] = []
    if "quad_cluster" in facts.types and "quad_influence" in facts.types:
        blocks += _picks(facts)
    if "quad_rounds" in facts.views:
        blocks += _rounds(facts)
    for view in VIEWS:
        if view in facts.views:
            columns = facts.rows(f"DESCRIBE {{run}}.{view}")
            shown = [(name, kind) for name, kind, *_ in columns if "FLOAT[" not in kind and "BLOB" not in kind]
            listed = ", ".join(
                f"left({identifier(name)}::VARCHAR, {LONG})" if "[]" in kind or kind == "VARCHAR" else identifier(name)
                for name, kind in shown
            )
            rows = facts.rows(f"SELECT {listed} FROM {{run}}.{view} LIMIT {ROWS}")
            blocks.append(Table([name for name, _ in shown], rows, view.replace("_", " "), folded=len(rows) > SHOWN))
    return Section("clusters", "Clusters", blocks) if blocks else None


def _picks(facts: Facts) -> list[Block]:
    rows = facts.rows(
        "SELECT quad_cluster::VARCHAR, count(*) FILTER (fate = 'selected'), count(*) FILTER (fate <> 'selected'), "
        "avg(quad_influence) FROM {run}.documents WHERE quad_cluster IS NOT NULL GROUP BY 1 "
        f"ORDER BY 4 DESC NULLS LAST, 1 LIMIT {SHOWN}"
    )
    if not rows:
        return []
    parts = ["selected", "rejected"]
    drawn = [[name, part, row] for name, *numbers in rows for part, row in enumerate(numbers[:2])]
    heads = ("cluster", "selected", "rejected", "mean influence")
    return [
        Plot("Picks by cluster, the most influential first", bars("documents", rows=len(rows)),
             [Variant("fate", ("name", "part", "n"), drawn, parts)]),
        Table(heads, rows, "clusters by influence", folded=True),
    ]  # fmt: skip


def _rounds(facts: Facts) -> list[Block]:
    types = {name: kind for name, kind, *_ in facts.rows("DESCRIBE {run}.quad_rounds")}
    round_ = next((name for name in types if "round" in name), None)
    cluster = next((name for name in types if "cluster" in name), None)
    number = next((name for name in types if "influence" in name or "reward" in name or "score" in name), None)
    if round_ is None or number is None:
        return [Words("The rounds are in the table below.")]
    part = identifier(cluster) + "::VARCHAR" if cluster else "'all'"
    rows = facts.rows(
        f"SELECT {identifier(round_)}::DOUBLE, {identifier(number)}::DOUBLE, {part} FROM {{run}}.quad_rounds "
        f"WHERE {identifier(number)} IS NOT NULL ORDER BY ALL LIMIT 2000"
    )
    parts = list(dict.fromkeys(row[2] for row in rows))[:9]
    shown = [[x, y, parts.index(name)] for x, y, name in rows if name in parts]
    return [Plot(f"{number} by round", lines("round", number), [Variant("cluster", ("x", "y", "part"), shown, parts)])]
