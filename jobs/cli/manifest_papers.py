"""Carries out `tamis manifest export`: writes papers, and says what was written."""

import json
from collections.abc import Sequence

from tamis.jobs.cli.console import say
from tamis.jobs.cli.text import harmless
from tamis.jobs.manifest.papers.about import About
from tamis.jobs.manifest.papers.export import export_papers
from tamis.schemas.errors import ConfigError

__all__ = ["export", "print_schema"]


def export(run: str | None, papers: Sequence[str], *, about: str | None, output: str | None, replace: bool) -> None:
    """Write the papers and print their paths; see `tamis.jobs.manifest.papers.export.export_papers`.

    Raises:
        ConfigError: if no run is named, or for what `export_papers` says.
        RunError: as `export_papers` says.
    """
    if run is None:
        msg = "name the run whose papers to write, such as: tamis manifest export runs/demo --card"
        raise ConfigError(msg)
    for path in export_papers(run, papers, about=about, output=output, replace=replace):
        say(harmless(path))


def print_schema() -> None:
    """Print the JSON Schema of the file that says what no run knows."""
    say(json.dumps(About.model_json_schema(), indent=2))
