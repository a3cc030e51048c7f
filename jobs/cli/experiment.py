"""Carries out `tamis experiment`: runs it with progress, and prints losses, differences and the verdict."""

import sys
from collections.abc import Sequence
from pathlib import Path

from tamis.jobs.cli.console import RunProgress, out_console, resumable, say
from tamis.jobs.cli.layout import Column, print_rows
from tamis.jobs.cli.text import counted, harmless
from tamis.jobs.experiment.run import RECORD, Experiment, load_experiment, run_experiment
from tamis.pipeline.graph.engine import Engine
from tamis.pipeline.storage import filesystem
from tamis.scorers.mixture.plot_arms import plot_arms

__all__ = ["show_experiment"]

FIGURE = "differences.svg"


def show_experiment(
    config: str,
    overrides: Sequence[str],
    output: str | None,
    *,
    workers: int,
    runner: str,
    fresh: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Run an experiment, draw its figure, and say what it found.

    Args:
        config: a YAML file.
        overrides: "key=value".
        output: the experiment's folder; the config's own if None.
        workers: local worker processes.
        runner: name of a Beam runner.
        fresh: forget what earlier calls left.
        as_json: print the record.
        quiet: show no progress, and the verdict alone.

    Raises:
        TamisError: whatever stopped it, in a sentence.
    """
    parsed, plain = load_experiment(config, overrides)
    folder = output or parsed.output
    scratch = filesystem.join(folder, "work", "passes")
    with Engine(scratch, workers=workers, runner=runner, progress=RunProgress(quiet=quiet)) as engine, resumable():
        found = run_experiment(parsed, plain, folder, engine, fresh=fresh)
    if filesystem.is_local(folder):
        picture = Path(filesystem.local_path(folder)) / FIGURE
        plot_arms(found.comparisons, found.baseline, picture, unit=found.unit)
    if as_json:
        with filesystem.open_binary(filesystem.join(folder, RECORD)) as stream:
            sys.stdout.write(stream.read().decode())
        return
    if not quiet:
        _print(found)
    for sentence in found.verdict:
        say(harmless(sentence))
    if not quiet:
        for note in found.notes:
            say(harmless(f"note: {note}"))
        say(harmless(f"{folder}: {RECORD}, {FIGURE}"))


def _print(found: Experiment) -> None:
    console = out_console()
    arms = list(found.losses)
    sets = list(found.losses[arms[0]])
    seeds = len(found.losses[arms[0]][sets[0]])
    told = f"{found.tokens:,} tokens an arm, {counted(seeds, 'seed')}, proxies of {found.parameters:,} parameters"
    say(harmless(f"{told}; {found.trained} trained now"))
    say()
    rows = []
    for arm in arms:
        values = [list(found.losses[arm][name].values()) for name in sets]
        rows.append([arm, *(f"{sum(some) / len(some):.4f}" for some in values)])
    print_rows(console, [Column(f"loss, {found.unit}"), *(Column(name, right=True) for name in sets)], rows)
    say()
    for one in found.comparisons:
        say(harmless(one.sentence))
    say()
