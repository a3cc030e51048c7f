"""Clusters of documents by meaning: titles, how many were selected, and Quad's influence, picks and rounds."""

from tamis.jobs.report.blocks import Block, Plot, Section, Table, Variant
from tamis.jobs.report.facts import Facts
from tamis.jobs.report.plots import bars, lines, points
from tamis.jobs.sql.names import identifier
from tamis.jobs.text import one_line

__all__ = ["build"]

SHOWN = 25
ROWS = 300
LINES = 8
TITLE = 60


def build(facts: Facts) -> Section | None:
    """Return the section."""
    blocks: list[Block] = []
    if "quad_clusters" in facts.views:
        for (step,) in facts.rows("SELECT DISTINCT step FROM {run}.quad_clusters ORDER BY step"):
            blocks += _picks(facts, step)
            if "quad_rounds" in facts.views:
                blocks += _rounds(facts, step)
    if "clusters" in facts.views:
        for (step,) in facts.rows("SELECT DISTINCT step FROM {run}.clusters ORDER BY step"):
            blocks += _titles(facts, step)
    return Section("clusters", "Clusters", blocks) if blocks else None


def _name(cluster: object, title: str | None) -> str:
    return f"{cluster} {one_line(title, TITLE, '…')}" if title else str(cluster)


def _picks(facts: Facts, step: str) -> list[Block]:
    rows = facts.rows(
        "SELECT cluster, title, documents, scored, mean_influence, cluster_score, turns, selected "
        "FROM {run}.quad_clusters WHERE step = ? ORDER BY mean_influence DESC NULLS LAST, cluster",
        [step],
    )
    drawn = [
        [_name(cluster, title), influence, 100 * selected / documents, documents]
        for cluster, title, documents, _, influence, _, _, selected in rows[:ROWS]
        if influence is not None and documents
    ]
    heads = ("cluster", "title", "documents", "scored", "mean influence", "score", "turns", "selected")
    more = f", the {ROWS} most influential of {len(rows):,}" if len(rows) > ROWS else ""
    table = Table(heads, rows[:ROWS], f"{step}: clusters{more}", folded=len(rows) > SHOWN)
    if not drawn:
        return [table]
    plot = Plot(
        f"{step}: influence and picks",
        points("mean influence, in standard deviations", "% selected", "documents"),
        [Variant("clusters", ("name", "x", "y", "size"), drawn)],
        "A circle a cluster, as large as it has documents.",
    )
    return [plot, table]


def _rounds(facts: Facts, step: str) -> list[Block]:
    rows = facts.rows(
        "WITH top AS (SELECT cluster, title, selected FROM {run}.quad_clusters WHERE step = $1 "
        f"ORDER BY selected DESC, cluster LIMIT {LINES}) "
        "SELECT r.round, top.cluster, top.title, r.mean_influence, r.selected "
        "FROM {run}.quad_rounds r JOIN top USING (cluster) "
        "WHERE r.step = $1 AND r.mean_influence IS NOT NULL ORDER BY top.selected DESC, top.cluster, r.round",
        [step],
    )
    if not rows:
        return []
    parts = list(dict.fromkeys(_name(cluster, title) for _, cluster, title, *_ in rows))
    influence = [[number, told, parts.index(_name(cluster, title))] for number, cluster, title, told, _ in rows]
    total: dict[int, int] = {}
    picked = []
    for number, cluster, title, _, selected in rows:
        part = parts.index(_name(cluster, title))
        total[part] = total.get(part, 0) + selected
        picked.append([number, total[part], part])
    fields = ("x", "y", "part")
    variants = [
        Variant("influence of the probe", fields, influence, parts),
        Variant("selected so far", fields, picked, parts),
    ]
    told = f"The {len(parts)} clusters of which most was selected."
    return [Plot(f"{step}: rounds", lines("round", "influence, or documents"), variants, told)]


def _titles(facts: Facts, step: str) -> list[Block]:
    rows = facts.rows(
        "SELECT cluster, title, documents FROM {run}.clusters WHERE step = ? ORDER BY documents DESC, cluster", [step]
    )
    column = step.partition(".")[2] or step
    blocks: list[Block] = []
    if column in facts.types:
        name = identifier(column)
        query = f"SELECT {name}, count(*) FROM {{run}}.selected WHERE {name} >= 0 GROUP BY 1"
        kept = dict(facts.rows(query))
        parts = ["selected", "rejected"]
        drawn = []
        for cluster, title, documents in rows[:SHOWN]:
            selected = kept.get(cluster, 0)
            drawn += [[_name(cluster, title), 0, selected], [_name(cluster, title), 1, documents - selected]]
        blocks.append(
            Plot(
                f"{step}: the largest clusters",
                bars("documents", rows=min(SHOWN, len(rows))),
                [Variant("fate", ("name", "part", "n"), drawn, parts)],
                "Titles are a cluster's most distinctive words against the corpus.",
            )
        )
    more = f", the {ROWS} largest of {len(rows):,}" if len(rows) > ROWS else ""
    table = Table(("cluster", "title", "documents"), rows[:ROWS], f"{step}: clusters{more}", folded=True)
    return [*blocks, table]
