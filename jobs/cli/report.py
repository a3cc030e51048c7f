"""Carries out `tamis report`."""

from collections.abc import Sequence

from tamis.jobs.cli.console import say
from tamis.jobs.cli.text import file_size, harmless
from tamis.jobs.report.report import make_report
from tamis.pipeline.storage import filesystem

__all__ = ["write_report"]


def write_report(runs: Sequence[str], output: str | None, *, price: float | None = None) -> None:
    """Write the report of a run, or of two that are compared, and say where it lies.

    Args:
        runs: their folders.
        output: the file; `report.html` in the first run's folder if None, of two `compared.html`.
        price: of a CPU hour.

    Raises:
        RunError: if a folder holds no finished run, or its shards can't be read.
    """
    path = output or filesystem.join(runs[0], "report.html" if len(runs) == 1 else "compared.html")
    data = make_report(runs, price=price).encode()
    with filesystem.write_atomically(path) as stream:
        stream.write(data)
    say(f"{harmless(path)}, {file_size(len(data))}: open it in a browser")
