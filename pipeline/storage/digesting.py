"""A stream that digests what is written to it, so that a file needn't be read for its digest."""

from typing import Any, Generic, Protocol, TypeVar

__all__ = ["DigestingStream"]


class _Digest(Protocol):
    def update(self, data: Any, /) -> object: ...


D = TypeVar("D", bound=_Digest)


class DigestingStream(Generic[D]):
    """Passes bytes on to a stream, and digests and counts them on their way; for `pyarrow.PythonFile`.

    Attributes:
        digest: of what was written so far.
        size: bytes written so far.
    """

    closed = False

    def __init__(self, stream: Any, digest: D):
        self._stream = stream
        self.digest = digest
        self.size = 0

    def write(self, data: Any) -> int:
        """Write bytes."""
        self.digest.update(data)
        self.size += len(data)
        return int(self._stream.write(data))

    def flush(self) -> None:
        """Flush the stream."""
        self._stream.flush()

    def writable(self) -> bool:
        """It is."""
        return True

    def readable(self) -> bool:
        """It isn't."""
        return False

    def seekable(self) -> bool:
        """It isn't."""
        return False

    def close(self) -> None:
        """The stream is the caller's."""
