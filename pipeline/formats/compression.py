"""Streaming decompression that outlives damage: what can be read is given, and what can't is reported.

A compressed file is a row of members: gzip members, zstd or LZ4 frames, bz2 or xz streams. A member that is cut off,
damaged or that expands beyond all measure costs what is left of that member; reading resumes at the next
member that begins as the format's content does.
"""

import bz2
import codecs
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Literal, NamedTuple

__all__ = ["SUFFIXES", "Codec", "Fault", "Piece", "begins_as_text", "codec_of", "codec_of_bytes", "decompress"]

Codec = Literal["gz", "zst", "bz2", "xz", "lz4"]

SUFFIXES: dict[str, Codec] = {
    ".gz": "gz",
    ".gzip": "gz",
    ".zst": "zst",
    ".zstd": "zst",
    ".bz2": "bz2",
    ".xz": "xz",
    ".lz4": "lz4",
}
"""Suffix of a file's name to how it is compressed."""

_MAGIC: dict[Codec, bytes] = {
    "gz": b"\x1f\x8b\x08",
    "zst": b"\x28\xb5\x2f\xfd",
    "bz2": b"BZh",
    "xz": b"\xfd7zXZ\x00",
    "lz4": b"\x04\x22\x4d\x18",
}
_BLOCK = 1 << 20
# zlib copies what follows a member's end: with larger slices many small members would cost quadratic time.
_SLICE = 1 << 15
_OUTPUT = 1 << 20
_PROBED = 1 << 10
_ZSTD_BLOCK = 1 << 17  # what a block decompresses to, at most
_ZSTD_BLOCKS = 8
_ZSTD_WINDOW = 1 << 31  # `zstd --long=31`, as large dumps are packed
_LZ4_BLOCK = 4 << 20  # what a block holds, at most
_SKIPPABLE = range(0x184D2A50, 0x184D2A60)
_WARC_DICTIONARY = 0x184D2A5D


class Piece(NamedTuple):
    """Decompressed bytes, in order.

    Attributes:
        data: never empty, at most some tens of MiB.
        first: whether a member begins here.
        offset: where that member begins in the file.
    """

    data: bytes
    first: bool
    offset: int


class Fault(NamedTuple):
    """Something that couldn't be read; the pieces that follow come from a later member.

    Attributes:
        kind: `truncated_file`, `corrupt_member`, `garbage` (bytes between members) or `expansion` (a zip
            bomb).
        offset: where the damaged member or the garbage begins in the file.
        detail: what is wrong, in words.
    """

    kind: str
    offset: int
    detail: str


class _TruncatedError(Exception):
    """The file ends inside a member."""


class _CorruptError(Exception):
    """The bytes are no valid member."""


class _Source:
    """Bytes of a file with their offsets; can step back, and start again elsewhere."""

    def __init__(self, stream: BinaryIO):
        self._stream = stream
        self._buffer = b""
        self._base = 0
        self._at = 0

    @property
    def offset(self) -> int:
        return self._base + self._at

    def seek(self, offset: int) -> None:
        if self._base <= offset <= self._base + len(self._buffer):
            self._at = offset - self._base
            return
        self._stream.seek(offset)
        self._buffer, self._base, self._at = b"", offset, 0

    def _fill(self) -> bool:
        """Read on; what has been taken is forgotten. False at the end."""
        block = self._stream.read(_BLOCK)
        if not block:
            return False
        self._base += self._at
        self._buffer = self._buffer[self._at :] + block
        self._at = 0
        return True

    def take(self, size: int) -> memoryview:
        """Return up to `size` bytes, none only at the end."""
        if self._at == len(self._buffer) and not self._fill():
            return memoryview(b"")
        view = memoryview(self._buffer)[self._at : self._at + size]
        self._at += len(view)
        return view

    def back(self, size: int) -> None:
        """Give back the last `size` bytes of what was just taken."""
        self._at -= size

    def peek(self, size: int) -> bytes:
        """Return the next `size` bytes, fewer only at the end, without taking them."""
        self.ensure(size)
        return self._buffer[self._at : self._at + size]

    def ensure(self, size: int) -> None:
        """Have the next `size` bytes in one piece, fewer only at the end."""
        while len(self._buffer) - self._at < size and self._fill():
            pass

    def exactly(self, size: int) -> bytes:
        """Take `size` bytes."""
        data = self.peek(size)
        if len(data) < size:
            raise _TruncatedError
        self._at += size
        return data

    def find(self, magic: bytes) -> int | None:
        """Go to the next occurrence of `magic` and return its offset; None if there is none."""
        while True:
            found = self._buffer.find(magic, self._at)
            if found >= 0:
                self._at = found
                return self.offset
            self._at = max(self._at, len(self._buffer) - len(magic) + 1)
            if not self._fill():
                return None


def _gzip_member(source: _Source) -> Iterator[bytes]:
    inflater = zlib.decompressobj(31)
    while not inflater.eof:
        view = source.take(_SLICE)
        if not view:
            raise _TruncatedError
        before = inflater.copy()
        try:
            data = inflater.decompress(view)
        except zlib.error as error:
            yield from _before_damage(before, view)
            raise _CorruptError(str(error)) from error
        source.back(len(inflater.unused_data))
        if data:
            yield data


def _before_damage(inflater: "zlib._Decompress", view: memoryview) -> Iterator[bytes]:
    """Yield what a slice holds before the byte at which it is damaged."""
    for at in range(len(view)):
        try:
            data = inflater.decompress(view[at : at + 1])
        except zlib.error:
            return
        if data:
            yield data


def _stream_member(source: _Source, decompressor: bz2.BZ2Decompressor | lzma.LZMADecompressor) -> Iterator[bytes]:
    while not decompressor.eof:
        view = source.take(_SLICE) if decompressor.needs_input else memoryview(b"")
        if decompressor.needs_input and not view:
            raise _TruncatedError
        try:
            data = decompressor.decompress(view, _OUTPUT)
        except (OSError, lzma.LZMAError, ValueError) as error:
            raise _CorruptError(str(error)) from error
        if data:
            yield data
    source.back(len(decompressor.unused_data))


def _zstd_blocks(source: _Source) -> Iterator[bytes]:
    """Yield a frame in parts that decompress to 128 KiB at most: its header, and each block."""
    header = source.peek(6)
    if len(header) < 6:
        raise _TruncatedError
    if header[:4] != _MAGIC["zst"]:
        msg = "no zstd frame begins here"
        raise _CorruptError(msg)
    flags = header[4]
    single = flags >> 5 & 1
    yield source.exactly(5 + (1 - single) + (0, 1, 2, 4)[flags & 3] + (single, 2, 4, 8)[flags >> 6])
    last = False
    while not last:
        head = int.from_bytes(source.peek(3), "little")
        last, kind, size = bool(head & 1), head >> 1 & 3, head >> 3
        if kind == 3 or size > _ZSTD_BLOCK:
            msg = "no zstd block begins where one should"
            raise _CorruptError(msg)
        block = source.exactly(3 + (1 if kind == 1 else size))
        yield block + source.exactly(4) if last and flags >> 2 & 1 else block


class _ZstdFrames:
    """Reads frames block by block, so that each one's end and its output a step are known."""

    def __init__(self) -> None:
        self._dictionary: Any = None

    def __call__(self, source: _Source) -> Iterator[bytes]:
        import zstandard

        start = source.offset
        magic = int.from_bytes(source.peek(4), "little")
        if magic in _SKIPPABLE:
            size = int.from_bytes(source.exactly(8)[4:], "little")
            self._skip(source, size, dictionary=magic == _WARC_DICTIONARY and start == 0)
            return
        options = {} if self._dictionary is None else {"dict_data": self._dictionary}
        frame = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW, **options).decompressobj()
        out: list[bytes] = []
        fault: Exception | None = None
        try:
            for block in _zstd_blocks(source):
                out.append(frame.decompress(block))
                if len(out) >= _ZSTD_BLOCKS and (data := b"".join(out)):
                    out = []
                    yield data
        except zstandard.ZstdError as error:
            fault = _CorruptError(str(error))
        except (_CorruptError, _TruncatedError) as error:
            fault = error
        if data := b"".join(out):
            yield data
        if fault is not None:
            raise fault

    def _skip(self, source: _Source, size: int, *, dictionary: bool) -> None:
        if dictionary:
            import zstandard

            content = source.exactly(size)
            if content.startswith(_MAGIC["zst"]):
                content = b"".join(_ZstdFrames()(_Source(io.BytesIO(content))))
            self._dictionary = zstandard.ZstdCompressionDict(content)
            return
        while size:
            view = source.take(size)
            if not view:
                raise _TruncatedError
            size -= len(view)


class _Lz4Frame(io.RawIOBase):
    """The bytes of one LZ4 frame, taken from a source block by block, so that it's known where the frame ends."""

    def __init__(self, source: _Source):
        super().__init__()
        self._parts = self._blocks(source)
        self._held = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._held:
            self._held = memoryview(next(self._parts, b""))
        size = min(len(buffer), len(self._held))
        buffer[:size] = self._held[:size]
        self._held = self._held[size:]
        return size

    @staticmethod
    def _blocks(source: _Source) -> Iterator[bytes]:
        """Yield the frame's header, its blocks, and its end (the format's description, version 1.6.1)."""
        header = source.exactly(7)
        flags = header[4]
        yield header + source.exactly((8 if flags & 8 else 0) + (4 if flags & 1 else 0))
        size = -1
        while size:
            head = source.exactly(4)
            size = int.from_bytes(head, "little") & 0x7FFFFFFF
            if size > _LZ4_BLOCK:
                msg = "no LZ4 block begins where one should"
                raise _CorruptError(msg)
            rest = size + (4 if flags & 16 else 0) if size else (4 if flags & 4 else 0)
            yield head + source.exactly(rest)


def _lz4_member(source: _Source) -> Iterator[bytes]:
    import pyarrow as pa

    magic = int.from_bytes(source.peek(4), "little")
    if magic in _SKIPPABLE:
        left = int.from_bytes(source.exactly(8)[4:], "little")
        while left:
            view = source.take(left)
            if not view:
                raise _TruncatedError
            left -= len(view)
        return
    # Buffered, since Arrow's stream takes less than it asked for as the end.
    frame = io.BufferedReader(_Lz4Frame(source), _BLOCK)
    try:
        with pa.CompressedInputStream(pa.PythonFile(frame, "r"), "lz4") as stream:
            while data := stream.read(_OUTPUT):
                yield data
    except (pa.ArrowException, OSError) as error:
        raise _CorruptError(str(error)) from error


def _members(codec: Codec) -> Callable[[_Source], Iterator[bytes]]:
    if codec == "gz":
        return _gzip_member
    if codec == "zst":
        return _ZstdFrames()
    if codec == "lz4":
        return _lz4_member
    if codec == "bz2":
        return lambda source: _stream_member(source, bz2.BZ2Decompressor())
    return lambda source: _stream_member(source, lzma.LZMADecompressor(lzma.FORMAT_XZ))


def codec_of(path: str) -> Codec | None:
    """Return how a file is compressed, by its name; None if it isn't."""
    name = path.lower()
    return next((codec for suffix, codec in SUFFIXES.items() if name.endswith(suffix)), None)


def codec_of_bytes(head: bytes) -> Codec | None:
    """Return how a file is compressed, by its first bytes (six at least); None if it isn't.

    Frames that a reader skips count as zstd's, as they begin WARC files of that kind.
    """
    if head[:3] == _MAGIC["bz2"] and not (head[3:4].isdigit() and head[4:6] in (b"1A", b"\x17r")):
        return None  # text may begin so
    if int.from_bytes(head[:4], "little") in _SKIPPABLE:
        return "zst"
    return next((codec for codec, magic in _MAGIC.items() if head.startswith(magic)), None)


def begins_as_text(data: bytes) -> bool:
    """Return whether the first bytes of a member are UTF-8 text; a character may be cut at the end."""
    try:
        codecs.utf_8_decode(data, "strict", False)  # noqa: FBT003  (lets a character cut at the end pass)
    except UnicodeDecodeError:
        return False
    return b"\0" not in data


def decompress(
    stream: BinaryIO,
    codec: Codec | None,
    *,
    begins: Callable[[bytes], bool] = begins_as_text,
    max_expansion: int = 200,
    free_expansion: int = 1 << 30,
) -> Iterator[Piece | Fault]:
    """Yield the content of a file, and the faults met on the way.

    Memory is bounded by some tens of MiB whatever the file holds.

    Args:
        stream: at its start; it must be able to seek for reading to resume after a fault.
        codec: None for a file that isn't compressed, which is given as one member.
        begins: whether a member that starts with these (up to 1024) decompressed bytes is one of this
            format's; asked of members found by searching for their magic bytes only.
        max_expansion: a member that expands beyond this ratio is given up...
        free_expansion: ...once it has given so many bytes.
    """
    if codec is None:
        first = True
        while data := stream.read(_BLOCK):
            yield Piece(data, first, 0)
            first = False
        return
    source = _Source(stream)
    member = _members(codec)
    while True:
        before = source.offset
        if not _skip_zeros(source):
            return
        start = source.offset
        given = 0
        fault = None
        try:
            if _has_magic(source, codec):
                source.ensure(_SLICE)  # so that a member's first piece shows what it is
                for data in member(source):
                    yield Piece(data, given == 0, start)
                    given += len(data)
                    if given > max(free_expansion, max_expansion * (source.offset - start)):
                        fault = Fault("expansion", start, f"it expands more than {max_expansion} times")
                        break
            else:
                fault = Fault("garbage", before, f"bytes that are no {codec} member")
        except _TruncatedError:
            fault = Fault("truncated_file", start, f"the file ends inside this {codec} member")
        except _CorruptError as error:
            asked = "Dictionary mismatch" in str(error)
            why = "it takes a dictionary, which isn't in the file" if asked else str(error)
            fault = Fault("corrupt_member", start, f"this {codec} member is damaged: {why}")
        if fault is not None:
            yield fault
            try:
                if not _resume(source, start + 1, codec, member, begins):
                    return
            except (io.UnsupportedOperation, ValueError):  # a stream that can't go back, such as plain HTTP
                return


def _skip_zeros(source: _Source) -> bool:
    """Pass over padding between members; return whether anything follows."""
    while view := source.take(_BLOCK):
        rest = bytes(view).lstrip(b"\0") if view[0] == 0 else view
        if rest:
            source.back(len(rest))
            return True
    return False


def _has_magic(source: _Source, codec: Codec) -> bool:
    head = source.peek(6)
    if codec in ("zst", "lz4") and int.from_bytes(head[:4], "little") in _SKIPPABLE:
        return True
    magic = _MAGIC[codec]
    return head.startswith(magic) or magic.startswith(head)  # a cut magic is truncation, not garbage


def _resume(
    source: _Source,
    offset: int,
    codec: Codec,
    member: Callable[[_Source], Iterator[bytes]],
    begins: Callable[[bytes], bool],
) -> bool:
    """Go to the next member at or after `offset` that begins as it should; return whether there is one."""
    source.seek(offset)
    while (found := source.find(_MAGIC[codec])) is not None:
        head = b""
        try:
            for data in member(source):
                head += data
                if len(head) >= _PROBED:
                    break
        except (_CorruptError, _TruncatedError):
            pass  # a damaged member is one all the same: its fault is told when it is read
        if head and begins(head[:_PROBED]):
            source.seek(found)
            return True
        source.seek(found + 1)
    return False
