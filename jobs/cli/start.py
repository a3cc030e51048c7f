"""Where the program begins: signals end it in a sentence from the first moment on, while the rest is being imported."""

import os
import sys

from tamis.jobs.cli.signals import end_by_signals

__all__ = ["main"]


def main() -> None:
    """Run the command line."""
    end_by_signals(sys.argv[1:])
    try:
        from tamis.jobs.cli import app
    except KeyboardInterrupt:  # of a command that has nothing to go on from
        os._exit(130)
    app.main()
