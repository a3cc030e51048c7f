"""The records of a WARC file, found again after any damage.

The usual iterators stop for good at the first malformed record. Here a fault costs the record it is in:
reading goes on at the next gzip member (or zstd frame) that begins with `WARC/`, or at the next line that
begins a record.
"""

import re
from collections import deque
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from tamis.pipeline.formats.compression import Codec, Fault, Piece, decompress
from tamis.pipeline.formats.http_message import begins_as_http, parse_headers, parse_http

__all__ = ["WarcFault", "WarcRecord", "warc_records"]

_MAGIC = b"WARC/"
_BEGINS = re.compile(rb"WARC/\d\.\d{1,2}[ \t]*\r{0,2}\n[A-Za-z][A-Za-z0-9-]{0,60}[ \t]*:")
_LOOKAHEAD = 128  # more than `_BEGINS` can match
_BLANK_LINE = re.compile(rb"\r{0,2}\n\r{0,2}\n")
_MAX_HEADER = 1 << 16
_BLANKS = re.compile(rb"[\r\n\t ]*")
_CLOSING = re.compile(rb"\r{0,2}\n\r{0,2}\n?\Z")


class WarcRecord(NamedTuple):
    """A record.

    Attributes:
        place: where it begins: "byte N" of the file (of the decompressed stream, "byte N+M", where it isn't
            the first of the member at byte N).
        headers: names in lower case.
        block: what follows the headers; None if it is larger than the limit.
        defects: headers that the bytes contradict.
    """

    place: str
    headers: dict[str, str]
    block: bytes | None
    defects: tuple[str, ...]


class WarcFault(NamedTuple):
    """A record, or bytes between records, that can't be read.

    Attributes:
        place: as in `WarcRecord`.
        error: the class of the error.
        detail: what is wrong, in words.
    """

    place: str
    error: str
    detail: str


class _Segment:
    """Bytes that belong together: no record reaches beyond their end.

    A segment ends where a member begins with `WARC/`, at damage, and at the end of the file. So a record with
    a wrong length can't swallow the next member.
    """

    def __init__(self, events: "_Events"):
        self._events = events
        self.buffer = bytearray()
        self.base = 0  # position in the segment of the buffer's first byte
        self.at = 0  # index in the buffer of the next byte to be read
        self.ended = False
        self.fault: Fault | None = None
        self.member: int | None = None  # where its first member begins in the file
        self._last_member = 0
        self._members: list[int] = []  # positions at which members after the first begin

    def more(self) -> bool:
        """Add the next piece to the buffer; False at the segment's end."""
        if self.ended:
            return False
        event = self._events.take()
        if isinstance(event, Piece):
            if self.member is None:
                self.member = event.offset
            elif event.first and event.data[: len(_MAGIC)] == _MAGIC:
                self._events.back(event)
                self.ended = True
                return False
            elif event.first:
                self._members.append(self.base + len(self.buffer))
            self._last_member = event.offset
            self.buffer += event.data
            return True
        self.ended = True
        if event is not None:
            if self.member is None or event.offset == self._last_member:
                self.fault = event
                self.member = event.offset if self.member is None else self.member
            else:  # damage of a later member
                self._events.back(event)
        return False

    def need(self, size: int) -> int:
        """Have at least `size` bytes in the buffer after `at`; return how many there are."""
        while len(self.buffer) - self.at < size and self.more():
            pass
        return len(self.buffer) - self.at

    def member_after(self, index: int) -> int:
        """Return where in the buffer the next member begins at or after an index; its end if there is none."""
        position = self.base + index
        return next((member - self.base for member in self._members if member >= position), len(self.buffer))

    def drop(self) -> None:
        """Forget what lies before `at`."""
        del self.buffer[: self.at]
        self.base += self.at
        self.at = 0

    def skip_blanks(self) -> None:
        """Pass over line ends between records."""
        while True:
            self.at = _blanks_end(self.buffer, self.at)
            self.drop()
            if self.at < len(self.buffer) or not self.more():
                return

    def find_record(self, size: int | None = None) -> bool:
        """Go to where the next record seems to begin, holding no more than two pieces in memory.

        Args:
            size: stop after so many bytes if there is none before.

        Returns:
            Whether there is one; else `at` is at the end, or after `size` bytes.
        """
        end = None if size is None else self.base + self.at + size
        while True:
            match = _BEGINS.search(self.buffer, self.at)
            if match and (end is None or self.base + match.start() < end):
                self.at = match.start()
                return True
            last = len(self.buffer) if self.ended else max(self.at, len(self.buffer) - _LOOKAHEAD)
            if end is not None and self.base + last >= end:
                self.at = end - self.base
                return False
            self.at = last
            self.drop()
            if not self.more() and self.at >= len(self.buffer):
                return False

    def place(self, *, compressed: bool) -> str:
        """Return where `at` is in the file."""
        inside = self.base + self.at
        if not compressed:
            return f"byte {inside}"
        return f"byte {self.member}+{inside}" if inside else f"byte {self.member}"


class _Events:
    """Pieces and faults, of which the last can be given back."""

    def __init__(self, events: Iterator[Piece | Fault]):
        self._events = events
        self._again: deque[Piece | Fault] = deque()

    def take(self) -> Piece | Fault | None:
        return self._again.popleft() if self._again else next(self._events, None)

    def back(self, event: Piece | Fault) -> None:
        self._again.append(event)


def warc_records(
    stream: BinaryIO, codec: Codec | None, *, max_record_bytes: int, max_expansion: int
) -> Iterator[WarcRecord | WarcFault]:
    """Yield the records of a WARC file and what couldn't be read, in file order.

    Memory is bounded by `max_record_bytes` and some tens of MiB.

    Args:
        stream: the file, at its start.
        codec: how it is compressed.
        max_record_bytes: a larger record is given without its block.
        max_expansion: see `decompress`.
    """
    pieces = decompress(
        stream,
        codec,
        begins=lambda data: data.startswith(_MAGIC),
        max_expansion=max_expansion,
        free_expansion=16 * max_record_bytes,
    )
    events = _Events(pieces)
    while True:
        segment = _Segment(events)
        if not segment.more() and segment.fault is None:
            return
        yield from _segment_records(segment, max_record_bytes, compressed=codec is not None)


def _segment_records(segment: _Segment, limit: int, *, compressed: bool) -> Iterator[WarcRecord | WarcFault]:
    while True:
        segment.skip_blanks()
        place = segment.place(compressed=compressed)
        if not segment.need(len(_MAGIC)):
            if segment.fault is not None:
                fault = segment.fault
                yield WarcFault(f"byte {fault.offset}", fault.kind, fault.detail)
            return
        if not segment.buffer.startswith(_MAGIC):
            found = segment.find_record()
            if found or segment.fault is None:
                yield WarcFault(place, "malformed_header", "bytes that are no WARC record")
            continue
        end = _header_end(segment)
        if end is None:
            segment.at = len(_MAGIC)
            found = segment.find_record()
            if found or segment.fault is None:
                yield WarcFault(place, "malformed_header", "the record's headers don't end")
            continue
        headers = parse_headers(bytes(segment.buffer[: end[0]]).partition(b"\n")[2], "utf-8")
        length = headers.get("content-length", "")
        segment.at = end[1]
        if not (length.isascii() and length.isdigit()) or len(length) > 18:
            yield from _unframed(segment, place, headers, limit)
        elif int(length) > limit:
            segment.find_record(int(length))
            segment.skip_blanks()
            damaged = segment.fault if segment.at == len(segment.buffer) else None
            if damaged is None:
                yield WarcRecord(place, headers, None, ())
            else:
                segment.fault = None
                yield WarcFault(place, damaged.kind, damaged.detail)
        else:
            yield from _framed(segment, place, headers, int(length), limit, compressed=compressed)


def _header_end(segment: _Segment) -> tuple[int, int] | None:
    """Return start and end of the blank line after the headers at the buffer's start."""
    size = 1 << 12
    while True:
        available = segment.need(size)
        match = _BLANK_LINE.search(segment.buffer, 0, _MAX_HEADER)
        if match:
            return match.start(), match.end()
        if available < size or size >= _MAX_HEADER:
            return None
        size *= 4


def _framed(
    segment: _Segment, place: str, headers: dict[str, str], length: int, limit: int, *, compressed: bool
) -> Iterator[WarcRecord | WarcFault]:
    """Yield the record whose block begins at `at`, of the declared length if what follows agrees with it."""
    start, end = segment.at, segment.at + length
    # Beyond the block: two line ends and the next record's first bytes, so that damage at its end is known,
    # too.
    available = segment.need(length + 4 + len(_MAGIC))
    whole = available >= length
    following = end
    if whole:
        following = _blanks_end(segment.buffer, end)
        if following == len(segment.buffer):
            segment.need(length + _MAX_HEADER)
            following = _blanks_end(segment.buffer, end)
    last = following == len(segment.buffer)
    # After a blank line comes the next record, or what is left of it: its own fault, not this record's length.
    proper = whole and (last or segment.buffer.startswith(_MAGIC, following))
    if not proper and whole and _BLANK_LINE.match(segment.buffer, end):
        proper = not _is_cut(bytes(segment.buffer[start:end]))
    if proper:
        segment.at = following
        damaged = segment.fault if last else None
        if damaged is not None and damaged.kind != "truncated_file":
            segment.fault = None
            yield WarcFault(place, damaged.kind, damaged.detail)
        else:
            yield WarcRecord(place, headers, bytes(segment.buffer[start:end]), ())
        return
    # The length is wrong, or the bytes are: does a record begin before the declared end?
    begins = _BEGINS.search(segment.buffer, start)
    if begins and begins.start() < end:
        segment.at = begins.start()
        block = _CLOSING.sub(b"", bytes(segment.buffer[start : segment.at]))
        yield WarcRecord(place, headers, block, ("content-length",))
    elif whole:
        # Too short: the block goes on to where the next record begins.
        segment.at = end
        found = _next_record(segment, start, limit)
        block = bytes(segment.buffer[start:end]) if found is None else bytes(segment.buffer[start:found])
        segment.at = end if found is None else found
        if found is None:
            segment.find_record()
        yield WarcRecord(place, headers, _CLOSING.sub(b"", block), ("content-length",))
    else:
        block = _CLOSING.sub(b"", bytes(segment.buffer[start:]))
        segment.at = len(segment.buffer)
        damaged = segment.fault
        segment.fault = None
        if damaged is not None:
            yield WarcFault(place, damaged.kind, damaged.detail)
        elif not compressed:
            detail = f"the file ends {length - available} bytes before the record"
            yield WarcFault(place, "truncated_file", detail)
        else:  # the member is intact, so its length is right and the record's isn't
            yield WarcRecord(place, headers, block, ("content-length",))


def _unframed(segment: _Segment, place: str, headers: dict[str, str], limit: int) -> Iterator[WarcRecord | WarcFault]:
    """Yield the record whose block begins at `at` and whose length isn't known: it ends where the next one begins."""
    start = segment.at
    found = _next_record(segment, start, limit)
    if found is None:
        segment.find_record()
        yield WarcRecord(place, headers, None, ())
        return
    segment.at = found
    if found == len(segment.buffer) and segment.fault is not None:
        damaged, segment.fault = segment.fault, None
        yield WarcFault(place, damaged.kind, damaged.detail)
    else:
        yield WarcRecord(place, headers, _CLOSING.sub(b"", bytes(segment.buffer[start:found])), ("content-length",))


def _is_cut(block: bytes) -> bool:
    """Return whether a block is an HTTP response whose own length says that it goes on, blank line or not."""
    if not begins_as_http(block):
        return False
    message = parse_http(block)
    length = message.headers.get("content-length", "")
    return length.isascii() and length.isdigit() and len(length) < 19 and int(length) > len(message.body)


def _next_record(segment: _Segment, start: int, limit: int) -> int | None:
    """Return where the block from `start` ends, whatever its length says; None if that is beyond the limit.

    It goes on to the next record, and no further than its member.
    """
    searched = segment.at
    while True:
        last = segment.member_after(segment.at)
        match = _BEGINS.search(segment.buffer, searched, last)
        if match or last < len(segment.buffer) or len(segment.buffer) - start > limit or not segment.more():
            end = match.start() if match else last
            return end if end - start <= limit else None
        searched = max(segment.at, len(segment.buffer) - _LOOKAHEAD)


def _blanks_end(buffer: bytearray, at: int) -> int:
    match = _BLANKS.match(buffer, at)
    return match.end() if match else at
