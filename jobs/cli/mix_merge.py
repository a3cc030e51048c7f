"""Carries out `tamis mix merge`."""

import sys
from collections.abc import Sequence
from pathlib import Path

from tamis.jobs.cli.console import RunProgress, out_console, resumable, say, say_more
from tamis.jobs.cli.layout import Column, print_rows
from tamis.jobs.cli.text import counted, figure, harmless
from tamis.jobs.mix.merge import MergeResult, load_merge, merge
from tamis.pipeline.graph.engine import Engine
from tamis.pipeline.storage import filesystem
from tamis.scorers.mixture.plot import plot_check

__all__ = ["show_merge"]

SHOWN = 12
FIGURE = "check.svg"


def show_merge(
    config: str,
    overrides: Sequence[str],
    output: str | None,
    *,
    workers: int,
    fresh: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Merge, and say what averages found; the options are those of `merge`.

    Raises:
        TamisError: whatever stopped it, in a sentence.
    """
    parsed = load_merge(config, overrides)
    folder = output or parsed.output
    scratch = filesystem.join(folder, "work", "passes")
    with Engine(scratch, workers=workers, progress=RunProgress(quiet=quiet)) as engine, resumable():
        found = merge(parsed, folder, engine, fresh=fresh)
    if found.check is not None:
        plot_check(found.check, found.sets, Path(filesystem.local_path(folder)) / FIGURE)
    if as_json:
        sys.stdout.write((Path(filesystem.local_path(folder)) / "merge.json").read_text())
        return
    if not quiet:
        _print(found)
    for note in found.notes:
        say(harmless(f"note: {note}"))
    shares = ", ".join(f"{name}: {share:.4g}" for name, share in found.shares[found.best].items())
    say(harmless(f"best by averages: {found.best}"))
    say(harmless(f"Use it: mixture: {{proportions: {{{shares}}}, exhausted: repeat}}"))


def _print(found: MergeResult) -> None:
    console = out_console()
    units = sum(len(some) for some in found.units.values())
    told = (
        f"{counted(units, 'unit')} of {counted(len(found.units), 'group')}, models of {found.parameters:,} parameters"
    )
    say(f"{told}; {found.trained} trained now")
    say()
    columns = [Column("average of"), *(Column(name, right=True) for name in (*found.sets, "mean"))]
    rows = [
        [name, *(f"{value:.4f}" for value in values), f"{sum(values) / len(values):.4f}"]
        for name, values in list(found.candidates.items())[:SHOWN]
    ]
    print_rows(console, columns, rows, title="losses of averages, nats a token: for ranks, never as losses")
    say_more(len(found.candidates), SHOWN, "candidate")
    if found.without:
        say()
        columns = [Column("without"), *(Column(name, right=True) for name in (*found.sets, "mean"))]
        rows = [[r.group, *(f"{c:+.1%}" for c in r.change), f"{r.mean_change:+.1%}"] for r in found.without]
        print_rows(console, columns, rows, title="change of perplexity when a group is left out")
    if found.check is not None:
        table = found.check
        say()
        columns = [
            Column("checked"),
            *(Column(n, right=True) for n in ("average", "rank", "trained", "rank ")),
        ]
        rows = [
            [
                row.candidate,
                f"{sum(row.proxy) / len(row.proxy):.4f}",
                f"{row.proxy_rank:g}",
                f"{sum(row.trained) / len(row.trained):.4f}",
                f"{row.trained_rank:g}",
            ]
            for row in table.rows
        ]
        print_rows(console, columns, rows)
        say(
            f"Pearson {figure(table.pearson[-1])} of perplexities, Spearman {figure(table.spearman)}, Kendall "
            f"{figure(table.kendall)}; choosing by averages costs {table.regret:.4f} of a spread of {table.spread:.4f} "
            f"nats, averages lie {table.mean_offset:+.4f} off"
        )
        for note in table.notes:
            say(harmless(f"note: {note}"))
