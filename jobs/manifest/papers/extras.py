"""Says which extra is missing."""

from collections.abc import Iterator
from contextlib import contextmanager

from tamis.schemas.errors import ConfigError
from tamis.schemas.wording import install_extra

__all__ = ["needs"]


@contextmanager
def needs(package: str, what: str) -> Iterator[None]:
    """Turn a failed import into a sentence that names the extra.

    Raises:
        ConfigError: if what is imported inside isn't installed.
    """
    try:
        yield
    except ImportError as error:
        msg = f"{package} is missing, by which {what} made: {install_extra('papers')} ({error})"
        raise ConfigError(msg) from None
