"""What Beam would tell a user's terminal, and when it may."""

import logging
import os

__all__ = ["debugging", "silence_beam"]


def debugging() -> bool:
    """Return whether TAMIS_DEBUG=1 asks for everything that is usually kept from the terminal."""
    return os.environ.get("TAMIS_DEBUG") == "1"


def silence_beam() -> None:
    """Keep Beam's notes about absent cloud extras out of a user's terminal."""
    logging.getLogger().addFilter(_worth_telling)
    # What went wrong is told in one sentence; TAMIS_DEBUG=1 shows the rest.
    logging.getLogger("apache_beam").setLevel(logging.WARNING if debugging() else logging.CRITICAL)


def _worth_telling(record: logging.LogRecord) -> bool:
    return "apitools not found" not in record.getMessage()
