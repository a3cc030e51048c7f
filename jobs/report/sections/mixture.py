"""The mixture: shares by group, by round where it was found in rounds, and how often documents are seen."""

from collections.abc import Mapping
from typing import Any

from tamis.jobs.report.blocks import Block, Plot, Section, Table, Variant, Words
from tamis.jobs.report.facts import Facts
from tamis.jobs.report.plots import bars, lines

__all__ = ["build", "compare"]


def build(facts: Facts) -> Section | None:
    """Return the section."""
    mixture = written(facts.manifest.mixture)
    shares = shares_of(mixture)
    blocks: list[Block] = []
    if shares:
        told = f"Method: {mixture.get('method', 'as selected')}; shares of {mixture.get('unit', 'text bytes')}."
        rows = [[name, 100 * share] for name, share in shares.items()]
        drawn = bars("%", rows=len(rows), whole=False)
        plot = Plot("Share of each group", drawn, [Variant("share", ("name", "n"), rows)], told)
        blocks.append(plot)
        sizes = mixture.get("bytes", {})
        if sizes:
            table = [[name, sizes.get(name), share] for name, share in shares.items()]
            blocks.append(Table(("group", "bytes", "share"), table, "shares"))
    blocks += _groups(mixture)
    blocks += _rounds(facts)
    if "repetition" in facts.views:
        cursor = facts.rows("FROM {run}.repetition")
        heads = [name for name, *_ in facts.rows("DESCRIBE {run}.repetition")]
        if cursor:  # a run without a mixture has the view, and nothing in it
            blocks.append(Table(heads, cursor, "repetition: how much is seen how often"))
    if "repetition_heavy" in facts.views:
        cursor = facts.rows("FROM {run}.repetition_heavy")
        heads = [name for name, *_ in facts.rows("DESCRIBE {run}.repetition_heavy")]
        if cursor:
            blocks.append(Table(heads, cursor, "what is seen ten times or more"))
    return Section("mixture", "Mixture", blocks) if blocks else None


def compare(a: Facts, b: Facts) -> Section | None:
    """Return the section for two runs."""
    first, second = (shares_of(written(facts.manifest.mixture)) for facts in (a, b))
    names = list(dict.fromkeys([*first, *second]))
    if not names:
        return None
    rows: list[list[Any]] = []
    for name in names:
        for part, shares in enumerate((first, second)):
            rows.append([f"{name} · {(a.name, b.name)[part]}", part, 100 * shares.get(name, 0.0)])
    plot = Plot(
        "Share of each group",
        bars("%", rows=len(rows), whole=False),
        [Variant("run", ("name", "part", "n"), rows, [a.name, b.name])],
    )
    return Section("mixture", "Mixture", [plot])


def written(mixture: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the mixture that the run wrote, where it did, or else what it selected."""
    return mixture.get("materialised") or mixture


def shares_of(mixture: Mapping[str, Any]) -> dict[str, float]:
    """Return the share of each group, as it was realised where that is known."""
    groups = mixture.get("groups")
    if isinstance(groups, list) and groups:
        return {str(group["name"]): float(group.get("realised", group.get("share", 0.0))) for group in groups}
    proportions = mixture.get("proportions") or {}
    return {str(name): float(share) for name, share in proportions.items()}


def _groups(mixture: Mapping[str, Any]) -> list[Block]:
    groups = mixture.get("groups")
    if not isinstance(groups, list) or not groups:
        return []
    heads = [key for key, value in groups[0].items() if not isinstance(value, dict | list)]
    blocks: list[Block] = [Table(heads, [[group.get(key) for key in heads] for group in groups], "groups")]
    seen = [
        [group["name"], int(times), documents]
        for group in groups
        for times, documents in group.get("times_seen", {}).items()
    ]
    if seen:
        blocks.append(Table(("group", "times seen", "documents"), seen, "how often documents are seen", folded=True))
    notes = [Words(str(note)) for note in mixture.get("notes", ())]
    return [*blocks, *notes]


def _rounds(facts: Facts) -> list[Block]:
    rows: list[tuple[float, str, float | None, float | None]] = []
    if "mixture_rounds" in facts.views:
        query = "SELECT round, name, share, loss FROM {run}.mixture_rounds ORDER BY ALL"
        rows = [(number, str(name), share, loss) for number, name, share, loss in facts.rows(query)]
    parts = list(dict.fromkeys(name for _, name, *_ in rows))[:9]
    blocks: list[Block] = []
    for title, place in (("share", 2), ("validation loss", 3)):
        drawn = [
            [row[0], row[place], parts.index(row[1])] for row in rows if row[place] is not None and row[1] in parts
        ]
        if drawn:
            plot = Plot(
                f"{title} by round", lines("round", title), [Variant("group", ("x", "y", "part"), drawn, parts)]
            )
            blocks.append(plot)
    return blocks
