"""Carries out `tamis mcp`."""

from collections.abc import Sequence

from tamis.jobs.cli.console import error_console, say
from tamis.jobs.cli.text import counted, harmless
from tamis.jobs.mcp.server import make_server

__all__ = ["serve_mcp"]


def serve_mcp(runs: Sequence[str]) -> None:
    """Answer an assistant on the standard input and output until it ends the connection.

    Args:
        runs: folders of finished runs.

    Raises:
        ConfigError: if the extra isn't installed, or a run isn't on this machine.
        RunError: if a folder holds no finished run.
    """
    server = make_server(runs)
    told = f"{counted(len(runs), 'run')}, read only, for an assistant on the standard input and output"
    say(harmless(f"tamis mcp: {told}; Ctrl-C stops it"), error_console())
    server.run("stdio")
