"""ARC files, in which web archives kept pages before there was WARC, to documents.

A record is a line of address, IP address, time of 14 digits, media type and (perhaps after others) length, and so many
bytes of an HTTP response (https://archive.org/web/researcher/ArcFileFormat.php). As with WARC, damage costs the record
that it is in: reading goes on at the next member of the compressed file or the next line that is such.
"""

import re
from collections.abc import Iterator
from typing import BinaryIO

from tamis.pipeline.formats.compression import Codec, Fault, decompress
from tamis.pipeline.formats.options import ReadOptions, Split
from tamis.pipeline.formats.records import BatchBuilder, ReadBatch
from tamis.pipeline.formats.warc import batches_of
from tamis.pipeline.formats.warc_records import WarcFault, WarcRecord
from tamis.pipeline.storage import filesystem

__all__ = ["begins_as_arc", "read_arc"]

_HEAD = re.compile(
    rb"(?P<url>[A-Za-z][A-Za-z0-9+.-]{0,30}:[^ \n]{1,8192}) (?P<ip>[0-9A-Fa-f.:]{1,45}|-) (?P<date>\d{8,17}) "
    rb"(?P<type>[^\n]{0,1000}? )?(?P<length>\d{1,15})[ \t]*\r?\n"
)
_LINE = re.compile(rb"(?<=\n)" + _HEAD.pattern)
_LOOKAHEAD = 1 << 14  # more than a line can have
_VERSION = b"filedesc:"


def begins_as_arc(data: bytes) -> bool:
    """Return whether bytes begin with the line before a record."""
    return _HEAD.match(data.lstrip(b"\r\n")) is not None


def _records(stream: BinaryIO, codec: Codec | None, options: ReadOptions) -> Iterator[WarcRecord | WarcFault]:
    """Yield the records of a file as if they were of a WARC file, and what couldn't be read."""
    limit = options.max_record_bytes
    buffer = bytearray()
    base = 0  # offset of the buffer in the decompressed file
    pieces = decompress(
        stream, codec, begins=begins_as_arc, max_expansion=options.max_expansion, free_expansion=16 * limit
    )
    ended = False

    def more() -> bool | Fault:
        nonlocal ended
        piece = next(pieces, None)
        if isinstance(piece, Fault):
            return piece
        if piece is None:
            ended = True
            return False
        buffer.extend(piece.data)
        return True

    def drop(size: int) -> None:
        nonlocal base
        del buffer[:size]
        base += size

    while True:
        drop(len(buffer) - len(buffer.lstrip(b"\r\n")))
        head = _HEAD.match(buffer)
        if head is None and not ended and len(buffer) < _LOOKAHEAD:
            if isinstance(fault := more(), Fault):
                yield WarcFault(f"byte {fault.offset}", fault.kind, fault.detail)
                drop(len(buffer))
            continue
        place = f"byte {base}"
        if head is None:
            if not buffer:
                return
            found = _LINE.search(buffer)
            if found is None and not ended:
                drop(max(0, len(buffer) - _LOOKAHEAD))
                if isinstance(fault := more(), Fault):
                    yield WarcFault(f"byte {fault.offset}", fault.kind, fault.detail)
                    drop(len(buffer))
                continue
            drop(len(buffer) if found is None else found.start())
            yield WarcFault(place, "malformed_header", "bytes that are no ARC record")
            continue
        length = int(head["length"])
        fields = {name: (value or b"").decode("utf-8", "replace").strip() for name, value in head.groupdict().items()}
        drop(head.end())
        kept = bytearray()
        missing = length
        met: Fault | bool = True
        while missing and not isinstance(met, Fault) and (buffer or not ended):
            if not buffer:
                met = more()
                continue
            taken = min(missing, len(buffer))
            if length <= limit:
                kept += buffer[:taken]
            drop(taken)
            missing -= taken
        if isinstance(met, Fault):
            yield WarcFault(place, met.kind, met.detail)
            drop(len(buffer))
        elif missing:
            yield WarcFault(place, "truncated_file", f"the file ends {missing} bytes before the record")
        else:
            headers = {
                "content-length": str(length),
                "warc-date": fields["date"],
                "warc-target-uri": fields["url"],
                "warc-type": "warcinfo" if fields["url"].startswith(_VERSION.decode()) else "response",
            }
            if not bytes(kept[:16]).lstrip(b"\r\n").upper().startswith((b"HTTP", b"ICY")) and fields["type"]:
                headers["content-type"] = fields["type"]
            yield WarcRecord(place, headers, bytes(kept) if length <= limit else None, ())


def read_arc(split: Split, source: str, options: ReadOptions) -> Iterator[ReadBatch]:
    """Yield the documents of an ARC file, as `read_warc` does; a record has no identity but address and text."""
    builder = BatchBuilder(split.path, source, options)
    with filesystem.open_binary(split.path) as stream:
        yield from batches_of(_records(stream, split.codec, options), builder, options)
