"""What work warns of while it goes on, as sentences for people."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["told_warnings"]


class _Teller(logging.Handler):
    """Tells what is logged as the summary of a run tells its warnings: a line on the standard error, made harmless."""

    def emit(self, record: logging.LogRecord) -> None:
        from tamis.jobs.cli.console import error_console, say
        from tamis.jobs.cli.text import harmless
        from tamis.schemas.secrets import redacted

        say(f"{record.levelname.lower()}: {harmless(redacted(record.getMessage()))}", error_console())


@contextmanager
def told_warnings() -> Iterator[None]:
    """Tell the warnings of the program's own log while the block runs, whatever a library made of the root logger."""
    logger, teller = logging.getLogger("tamis"), _Teller(logging.WARNING)
    propagates = logger.propagate
    logger.addHandler(teller)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(teller)
        logger.propagate = propagates
