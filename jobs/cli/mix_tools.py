"""Carries out `tamis mix compare`, `plot`, `drive` and `cmr`."""

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tamis.jobs.cli.console import RunProgress, out_console, print_json, say
from tamis.jobs.cli.layout import Column, print_rows
from tamis.jobs.cli.text import counted, figure, harmless
from tamis.jobs.config_file import override, parse_override
from tamis.jobs.mix.compare import compare_configs
from tamis.jobs.mix.drive import drive_by_lines, opened_controller
from tamis.jobs.mix.picture import plot_mixture
from tamis.pipeline.graph.engine import Engine
from tamis.pipeline.storage import filesystem
from tamis.pipeline.storage.temporary import temporary_folder
from tamis.schemas.errors import ConfigError
from tamis.scorers.mixture.critical_ratio import critical_ratio
from tamis.scorers.mixture.curve_files import read_curves
from tamis.scorers.mixture.plot import plot_critical_ratio

__all__ = ["compare", "critical", "drive", "plot"]


def compare(
    run: str,
    mixtures: Sequence[str],
    overrides: Sequence[str],
    runs: tuple[str | None, str | None],
    *,
    work: str | None,
    workers: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """Print mixtures side by side; the arguments are those of `compare_configs`.

    Raises:
        TamisError: whatever stands against it, in a sentence.
    """
    ratios, metrics = runs
    if (ratios is None) != (metrics is None):
        msg = "--ratios and --metrics go together: a law is fitted to both"
        raise ConfigError(msg)
    files = None if ratios is None or metrics is None else (ratios, metrics)
    with temporary_folder() as scratch:
        folder = work or str(scratch)
        with Engine(filesystem.join(folder, "passes"), workers=workers, progress=RunProgress(quiet=quiet)) as engine:
            found = compare_configs(run, mixtures, engine, folder, overrides=overrides, runs=files)
    rows = found.table.to_pylist()
    if as_json:
        told = {"groups": found.groups, "unit": found.unit, "budget": found.budget, "mixtures": rows}
        print_json(told, indent=1)
        return
    console = out_console()
    say(harmless(f"{counted(len(found.groups), 'group')}, {found.budget:,} {found.unit} to train on"))
    if found.left_out:
        say(harmless(f"without content: {', '.join(found.left_out)}"))
    say()
    shares = [[row["method"], *(f"{100 * share:.1f}" for share in row["shares"])] for row in rows]
    columns = [Column("mixture"), *(Column(f"{name} %", right=True) for name in found.groups)]
    print_rows(console, columns, shares)
    say()
    columns = [
        Column("mixture"),
        Column("from sizes", right=True),
        Column("most epochs", right=True),
        Column("worth", right=True),
        *([Column("predicted", right=True)] if files else []),
        Column("extra steps", right=True),
    ]
    lines = [
        [
            row["method"],
            f"{row['distance']:.3f}",
            f"{row['most_epochs']:.2f} ({row['most_repeated']})",
            figure(round(row["effective_tokens"])),
            *([figure(row["predicted"])] if files else []),
            figure(row["extra_steps"]),
        ]
        for row in rows
    ]
    print_rows(console, columns, lines)
    for row in rows:
        if row["note"]:
            say(harmless(f"{row['method']}: {row['note']}"))


def plot(source: str, path: Path) -> None:
    """Draw a mixture's rounds."""
    rounds = plot_mixture(source, path)
    say(harmless(f"{path}: {counted(rounds, 'round')}"))


def drive(method: str, groups: Sequence[str], overrides: Sequence[str], state: Path | None) -> None:
    """Answer JSON lines on the standard input until they end."""
    options: dict[str, Any] = {"groups": list(groups)}
    for pair in overrides:
        key, value = parse_override(pair)
        override(options, key, value)

    def write(line: str) -> None:
        sys.stdout.write(line)
        sys.stdout.flush()

    drive_by_lines(opened_controller(method, options, state), sys.stdin, write, state)


def critical(
    path: Path,
    *,
    epsilon: float,
    tokens: float,
    start: tuple[float, float] | None,
    picture: Path | None,
    as_json: bool,
) -> None:
    """Print how much domain data continued training may have, with an interval."""
    curves = read_curves(path, start=start)
    found = critical_ratio(curves, epsilon=epsilon, tokens=tokens)
    if picture is not None:
        plot_critical_ratio(curves, found, picture, tokens=tokens)
    if as_json:
        print_json(_plain(found._asdict()), indent=1)
        return
    rows = [
        [f"{ratio:.1%}", f"{general:+.4f}", f"{domain:+.4f}", "yes" if feasible else "no"]
        for ratio, general, domain, feasible in zip(
            found.ratios, found.general_change, found.domain_change, found.feasible, strict=True
        )
    ]
    columns = [Column("domain"), *(Column(n, right=True) for n in ("general change", "domain change", "feasible"))]
    print_rows(out_console(), columns, rows)
    say(harmless(found.verdict))
    if found.ratio is not None:
        low, high = (f"{end:.3f}" if end is not None else "beyond what was tried" for end in found.interval)
        say(f"80 % interval: {low} to {high}")
        say(f"Use it: mixture: {{proportions: {{domain: {found.ratio:.4f}, general: {1 - found.ratio:.4f}}}}}")
    for law in found.laws:
        if law.note:
            say(harmless(law.note))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if hasattr(value, "_asdict"):
        return _plain(value._asdict())
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
