"""Plays Quad's bandit again over a run's scores, with other options: what would be picked, without scoring anything."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tamis.jobs.quad.stored import StoredQuad, stored_quad
from tamis.scorers.influence.bandit import BanditOptions, BanditState, Draw, play, selected

__all__ = ["Pick", "Replay", "replay_quad"]


@dataclass(frozen=True)
class Pick:
    """What is picked of a cluster.

    Attributes:
        cluster: its number.
        title: its words.
        documents: in it.
        influence: mean of those scored, in standard deviations; None if none is.
        selected: documents picked now.
        before: documents that the run picked.
    """

    cluster: int
    title: str
    documents: int
    influence: float | None
    selected: int
    before: int


@dataclass(frozen=True)
class Replay:
    """A selection played again.

    Attributes:
        label: of the step.
        options: that it was played with.
        state: at its end.
        selection: the turns that select.
        picks: of all clusters, most picked first, then by influence.
        spent: what the selection comes to, in the budget's unit.
        missing: documents that would have to be scored to go on; 0 if the bandit came to its end.
    """

    label: str
    options: BanditOptions
    state: BanditState
    selection: tuple[Draw, ...]
    picks: tuple[Pick, ...]
    spent: float
    missing: int

    @property
    def documents(self) -> int:
        """How many are selected."""
        return sum(draw.after - draw.first for draw in self.selection)


def replay_quad(run: str, *, step: str | None = None, changes: Mapping[str, Any] | None = None) -> Replay:
    """Play again over the scores of a finished run.

    Args:
        run: the run's folder.
        step: label of the step; the only one if None.
        changes: fields of `BanditOptions` that differ: alpha, tau, budget, rounds, per_round, block, first_turn.

    Raises:
        ConfigError: if an option is out of range, or it isn't said which of several steps is meant.
        RunError: if the run has no such step, or its tables aren't what it left.
    """
    stored = stored_quad(run, step)
    options = replace(stored.options, **(changes or {}))
    state = play(stored.table, options)
    selection = tuple(selected(stored.table, options, state, cut=True))
    return Replay(
        stored.label,
        options,
        state,
        selection,
        _picks(stored, selection),
        _spent(stored, options, selection),
        sum(probe.after - probe.first for probe in state.missing),
    )


def _spent(stored: StoredQuad, options: BanditOptions, selection: tuple[Draw, ...]) -> float:
    costs = stored.table.costs
    if options.unit == "documents" or costs is None:
        return float(sum(draw.after - draw.first for draw in selection))
    return float(sum(sum(costs[draw.cluster][draw.first : draw.after]) for draw in selection))


def _picks(stored: StoredQuad, selection: tuple[Draw, ...]) -> tuple[Pick, ...]:
    taken = Counter[int]()
    for draw in selection:
        taken[draw.cluster] += draw.after - draw.first
    picks = [
        Pick(
            row["cluster"],
            row["title"],
            row["documents"],
            row["mean_influence"],
            taken[row["cluster"]],
            row["selected"],
        )
        for row in stored.clusters.to_pylist()
    ]

    def order(pick: Pick) -> tuple[int, float, int]:
        return -pick.selected, -(pick.influence if pick.influence is not None else float("-inf")), pick.cluster

    return tuple(sorted(picks, key=order))
