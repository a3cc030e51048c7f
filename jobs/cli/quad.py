"""The commands `tamis quad ...`; what they need is imported when they run."""

from pathlib import Path
from typing import Annotated

import typer

from tamis.jobs.cli.options import AsJson, RunFolder, examples, group

__all__ = ["quad_app"]

quad_app = group(about="Try other options on a run of quad, or draw its clusters.")

StepLabel = Annotated[
    str | None, typer.Option("--step", metavar="LABEL", help="Which step, if the run has several, such as quad.second.")
]


@quad_app.command(
    "replay",
    short_help="Say what would be picked with other options.",
    epilog=examples("tamis quad replay runs/quad --alpha 1 --tau 0.5", "tamis quad replay runs/quad --budget 2000"),
)
def replay_command(
    run_folder: RunFolder,
    step: StepLabel = None,
    alpha: Annotated[float | None, typer.Option(metavar="X", help="Weight of exploration.")] = None,
    tau: Annotated[float | None, typer.Option(metavar="X", help="A probe's mean must be above it.")] = None,
    budget: Annotated[float | None, typer.Option(metavar="N", help="In the unit that the run counted in.")] = None,
    block: Annotated[int | None, typer.Option(metavar="N", help="Documents selected at a turn.")] = None,
    per_round: Annotated[int | None, typer.Option(metavar="N", help="Clusters drawn in a round.")] = None,
    rounds: Annotated[int | None, typer.Option(metavar="N", help="At most.")] = None,
    first_turn: Annotated[
        str | None, typer.Option(metavar="probe|block", help="What a cluster's first turn can select.")
    ] = None,
    limit: Annotated[int, typer.Option(min=0, metavar="N", help="Print so many clusters; 0: all.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Play the bandit again over the scores that a run left: what it would pick. Scores nothing and changes no run."""
    from tamis.jobs.cli.quad_output import show_replay

    given = {
        "alpha": alpha,
        "tau": tau,
        "budget": budget,
        "block": block,
        "per_round": per_round,
        "rounds": rounds,
        "first_turn": first_turn,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    show_replay(run_folder, step, changes, limit=limit, as_json=as_json)


@quad_app.command(
    "plot",
    short_help="Draw clusters by influence, and what was picked.",
    epilog=examples("tamis quad plot runs/quad", "tamis quad plot runs/quad -o clusters.png"),
)
def plot_command(
    run_folder: RunFolder,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="A .svg or .png file.")] = Path(
        "quad.svg"
    ),
    step: StepLabel = None,
) -> None:
    """Draw the clusters of a run, best first: mean influence of the documents scored, and the share that was picked."""
    from tamis.jobs.cli.quad_output import draw

    draw(run_folder, step, output)
