"""Carries out `tamis quad`: plays again or draws, and prints what came of it."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tamis.jobs.cli.console import out_console, say, write_json
from tamis.jobs.cli.layout import Column, print_rows
from tamis.jobs.cli.text import counted, harmless
from tamis.jobs.quad.replay import Replay, replay_quad
from tamis.jobs.quad.stored import stored_quad
from tamis.schemas.base import canonical_json
from tamis.schemas.errors import ConfigError

__all__ = ["draw", "show_replay"]

STOPS = {
    "budget": "the budget is spent",
    "rounds": "the rounds are over",
    "exhausted": "no cluster has documents left",
    "missing": "scores are missing",
}


def show_replay(run: str, step: str | None, changes: Mapping[str, Any], *, limit: int, as_json: bool) -> None:
    """Print what would be picked.

    Raises:
        TamisError: whatever stopped it, in a sentence.
    """
    found = replay_quad(run, step=step, changes=changes)
    if as_json:
        write_json(canonical_json(_told(found)))
        return
    options = found.options
    say(
        f"{harmless(found.label)}: alpha {options.alpha:g}, tau {options.tau:g}, budget {options.budget:,.10g} "
        f"{options.unit}, blocks of {options.block or options.probe:,}"
    )
    turns = counted(sum(one.accepted for one in found.state.draws), "accepted turn")
    spent = "" if options.unit == "documents" else f" ({found.spent:,.0f} {options.unit})"
    say(
        f"{counted(found.documents, 'document')}{spent} in {turns} of {len(found.state.draws):,}, "
        f"{counted(found.state.round, 'round')}; it ends as {STOPS[found.state.stop or 'exhausted']}"
    )
    say()
    columns = [Column("cluster", right=True), Column("about", wrap=True)]
    columns += [Column(name, right=True) for name in ("documents", "influence", "picked", "before")]
    shown = found.picks[:limit] if limit else found.picks
    rows = [
        [
            f"{pick.cluster}",
            harmless(pick.title),
            f"{pick.documents:,}",
            "" if pick.influence is None else f"{pick.influence:+.2f}",
            f"{pick.selected:,}",
            f"{pick.before:,}",
        ]
        for pick in shown
    ]
    print_rows(out_console(), columns, rows)
    if len(shown) < len(found.picks):
        say(f"{counted(len(found.picks) - len(shown), 'more cluster')}: --limit 0 shows all")
    if found.missing:
        say(
            f"To go on, round {found.state.round} needs {counted(found.missing, 'document')} scored: run the config "
            "with these options; what is scored stays"
        )


def _told(found: Replay) -> dict[str, Any]:
    return {
        "step": found.label,
        "options": asdict(found.options),
        "stop": found.state.stop,
        "rounds": found.state.round,
        "documents": found.documents,
        "spent": found.spent,
        "missing": found.missing,
        "selection": [{"cluster": one.cluster, "first": one.first, "after": one.after} for one in found.selection],
        "clusters": [asdict(pick) for pick in found.picks],
    }


def draw(run: str, step: str | None, output: Path) -> None:
    """Draw the clusters of a run.

    Raises:
        TamisError: whatever stopped it, in a sentence.
    """
    from tamis.scorers.influence.plot import plot_clusters

    if not output.parent.is_dir():
        msg = f"{output}: there is no folder {output.parent}"
        raise ConfigError(msg)
    stored = stored_quad(run, step)
    plot_clusters(stored.clusters, output, tau=stored.options.tau, title=f"{stored.label}, in standard deviations")
    say(f"{harmless(output)}: {counted(stored.clusters.num_rows, 'cluster')}")
