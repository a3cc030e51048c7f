"""What Beam would tell a user's terminal, and when it may."""

import logging
import os

__all__ = ["debugging", "silence_beam"]

ITS_LOGGERS = ("apache_beam", "PrismJobServer", "PrismRunner", "FlinkJarJobServer", "SparkJarJobServer")
"""Beam's modules, and the job servers that it starts, whose output it logs."""


def debugging() -> bool:
    """Return whether TAMIS_DEBUG=1 asks for everything that is usually kept from the terminal."""
    return os.environ.get("TAMIS_DEBUG") == "1"


def silence_beam() -> None:
    """Keep what Beam and its job servers log out of a user's terminal; other loggers are left alone.

    What went wrong is told in one sentence; TAMIS_DEBUG=1 shows the rest.
    """
    # Beam logs on the root logger too: notes about absent cloud extras, type hints, and messages of portable jobs.
    logging.getLogger().addFilter(_worth_telling)
    for name in ITS_LOGGERS:
        # A filter beside the level, since Beam sets the levels of its job servers' loggers itself.
        logging.getLogger(name).addFilter(_worth_telling)
    logging.getLogger("apache_beam").setLevel(logging.WARNING if debugging() else logging.CRITICAL)


def _worth_telling(record: logging.LogRecord) -> bool:
    if debugging():
        return "apitools not found" not in record.getMessage()
    return not (record.name.startswith(ITS_LOGGERS) or f"{os.sep}apache_beam{os.sep}" in record.pathname)
