"""Files to batches of documents: which parts a file is read in, and the reading of one part."""

import codecs
import difflib
import json
import re
from collections.abc import Callable, Iterator

from tamis.pipeline.formats.arc import begins_as_arc, read_arc
from tamis.pipeline.formats.arrow_ipc import plan_arrow, read_arrow
from tamis.pipeline.formats.columns import is_own_record, unnested
from tamis.pipeline.formats.compression import Codec, Piece, begins_as_text, codec_of_bytes, decompress
from tamis.pipeline.formats.delimited import check_csv, read_csv
from tamis.pipeline.formats.jsonl import LineFault, read_jsonl, read_lines
from tamis.pipeline.formats.options import Format, ReadOptions, Split, format_of
from tamis.pipeline.formats.parquet import plan_parquet, read_parquet
from tamis.pipeline.formats.partitions import partition_values
from tamis.pipeline.formats.records import BatchBuilder, ReadBatch
from tamis.pipeline.formats.single import read_single
from tamis.pipeline.formats.warc import read_warc
from tamis.pipeline.storage import filesystem
from tamis.pipeline.storage.filesystem import FileInfo
from tamis.schemas.errors import InputError
from tamis.scorers.extraction.html import check_engine

__all__ = ["EXPANSION", "plan_splits", "read_split"]

# What a byte of a compressed file holds, about; for estimates alone.
EXPANSION: dict[Codec | None, float] = {None: 1.0, "gz": 4.0, "zst": 4.0, "bz2": 5.0, "xz": 6.0, "lz4": 3.0}
_UNPACKED = frozenset({"parquet", "arrow"})  # compressed inside, if at all
_OF_PAGES = frozenset({"warc", "arc", "html"})
_LOOKED_AT = 100  # lines of a JSONL file that are looked at before work begins
_READERS: dict[Format, Callable[[Split, str, ReadOptions], Iterator[ReadBatch]]] = {
    "warc": read_warc,
    "wet": read_warc,
    "arc": read_arc,
    "jsonl": read_jsonl,
    "parquet": read_parquet,
    "arrow": read_arrow,
    "csv": read_csv,
    "text": read_single,
    "html": read_single,
}


def plan_splits(file: FileInfo, options: ReadOptions, target_bytes: int = 128 << 20) -> list[Split]:
    """Return the parts that a file is read in, in file order; they depend on the file and the target alone.

    Plain JSONL is cut into byte ranges and Parquet between row groups; every other file is read whole. The
    beginning of the file is looked at, so that what is wrong with all of it is known before work begins, and that a
    file is unpacked which is compressed whatever its name says.

    Args:
        file: as `filesystem.expand` gives it.
        options: how it is read.
        target_bytes: size of a part: of the file, or of row groups once decompressed.

    Raises:
        InputError: if the file can't be read, has no known format, or hasn't the fields named in the options.
        ModelError: if the file holds pages and the extraction engine isn't installed.
    """
    if target_bytes < 1:
        msg = f"{file.path}: parts of {target_bytes} bytes can't be read; give a positive size"
        raise InputError(msg)
    form, codec = format_of(file.path, options)
    if form in _OF_PAGES or options.html:
        check_engine(options.extract)
    if file.size == 0 and form not in _UNPACKED:
        return []
    if form == "parquet":
        return plan_parquet(file.path, options, target_bytes)
    if form == "arrow":
        return plan_arrow(file.path, options, file.size)
    codec = _codec(file.path, form, codec)
    estimate = int((file.size or 0) * EXPANSION[codec])
    whole = Split(file.path, form, codec, estimated_bytes=estimate)
    _check(whole, options)
    if form != "jsonl" or codec is not None or file.size is None:
        return [whole]
    return [
        Split(file.path, form, None, "bytes", start, end, end - start)
        for start in range(0, file.size, target_bytes)
        for end in [min(file.size, start + target_bytes)]
    ]


def _begins(head: bytes, form: Format) -> bool:
    """Return whether bytes begin as an uncompressed file of a format does."""
    if form == "arc":
        return begins_as_arc(head)
    marks = {"jsonl": b"{", "warc": b"WARC/", "wet": b"WARC/", "html": b"<"}
    return bool(head) and head.startswith(marks.get(form, b"")) and begins_as_text(head)


def _codec(path: str, form: Format, codec: Codec | None) -> Codec | None:
    """Return how a file is compressed: as it begins, and as its name says where it begins as nothing known.

    A file that isn't compressed although its name says so was unpacked on its way, if it begins as its format does.

    Raises:
        InputError: if the file can't be read.
    """
    try:
        with filesystem.open_binary(path) as stream:
            head = stream.read(1 << 10)
    except OSError as error:
        msg = f"{path} can't be read: {error}"
        raise InputError(msg) from error
    found = codec_of_bytes(head)
    if found is not None and codec is not None and found != codec and head[:4] != b"\x50\x2a\x4d\x18":
        return found
    if found is None and codec is not None and _begins(head.removeprefix(codecs.BOM_UTF8).lstrip(), form):
        return None
    return codec or found


def read_split(split: Split, source: str, options: ReadOptions) -> Iterator[ReadBatch]:
    """Yield the records of one part of a file, in file order, in batches bounded by the options.

    The parts of a file give together what the whole file gives, row for row. A file that turns out unreadable
    is one error record `unreadable_file`; failures of a network are raised, for the caller to try again.

    Args:
        split: from `plan_splits`.
        source: the label of the input.
        options: those that the split was planned with.

    Raises:
        OSError: if a remote file system fails for a reason that may pass.
        ModelError: if the extraction engine isn't installed.
    """
    try:
        yield from _READERS[split.format](split, source, options)
    except OSError as error:
        if not filesystem.is_local(split.path):
            raise
        yield _unreadable(split, source, options, error)
    except InputError as error:
        yield _unreadable(split, source, options, error)


def _unreadable(split: Split, source: str, options: ReadOptions, error: Exception) -> ReadBatch:
    builder = BatchBuilder(split.path, source, options)
    builder.error("file", "unreadable_file", str(error))
    return builder.flush()


def _check(split: Split, options: ReadOptions) -> None:
    """Look at the beginning of a file.

    Raises:
        InputError: if no record of it could become a document.
    """
    try:
        _check_codec(split)
        if split.format == "csv":
            check_csv(split, options)
        elif split.format == "jsonl":
            _check_jsonl(split, options)
    except OSError as error:
        msg = f"{split.path} can't be read: {error}"
        raise InputError(msg) from error


def _check_codec(split: Split) -> None:
    """Check that the file has a member of its compression, and that a WARC file's content begins as one."""
    fault = None
    with filesystem.open_binary(split.path) as stream:
        for event in decompress(stream, split.codec):
            if isinstance(event, Piece):
                if split.format in ("warc", "wet") and b"WARC-" not in event.data:
                    msg = f"{split.path} holds no WARC records where it begins; set `format:` to what it is"
                    raise InputError(msg)
                if split.format == "arc" and not begins_as_arc(event.data[: 1 << 14]):
                    msg = f"{split.path} holds no ARC records where it begins; set `format:` to what it is"
                    raise InputError(msg)
                return
            fault = event
    if fault is not None and fault.kind in ("garbage", "corrupt_member"):
        msg = f"{split.path} is no {split.codec} file, although its name says so: {fault.detail}"
        raise InputError(msg)


_NO_TEXT = (
    (b"PK\x03\x04", "a zip archive: unpack it"),
    (b"%PDF-", "a PDF, no lines of JSON"),
    (b"PAR1", "a Parquet file: set `format: parquet`, or name it so"),
    (b"ARROW1", "an Arrow file: set `format: arrow`, or name it so"),
    (b"SQLite format 3", "an SQLite data base, no lines of JSON"),
)


_RETURNS = re.compile(rb"\}[^\S\r]*\r\s*\{")
"""Two objects with a carriage return between them: in time that grows with the line alone, however blank it is."""


def _wide(line: bytes) -> str | None:
    """Return which encoding of two or four bytes a character a file's first line has; None if it has neither.

    Without a byte order mark it is known by its zeros: JSON begins with characters of ASCII.
    """
    if re.match(rb"\xff\xfe\0\0|\0\0\xfe\xff|[{\[]\0\0\0|\0\0\0[{\[]", line):
        return "UTF-32"
    return "UTF-16" if re.match(rb"\xff\xfe|\xfe\xff|[{\[]\0|\0[{\[]", line) else None


def _check_jsonl(split: Split, options: ReadOptions) -> None:
    names: set[str] = set()
    objects = lines = 0
    returns = False
    with filesystem.open_binary(split.path) as stream:
        for number, (_, line) in enumerate(read_lines(stream, split, options)):
            if number == _LOOKED_AT:
                break
            if isinstance(line, LineFault) or line.isspace() or not line:
                continue
            if number == 0 and (wide := _wide(line)):
                msg = f"{split.path} is {wide}: convert it to UTF-8"
                raise InputError(msg)
            if number == 0 and (other := next((what for begin, what in _NO_TEXT if line.startswith(begin)), None)):
                msg = f"{split.path} is {other}"
                raise InputError(msg)
            if number == 0 and line.lstrip(b"\xef\xbb\xbf \t\r").startswith(b"["):
                msg = f"{split.path} is a JSON array, not JSON Lines: write one object a line"
                raise InputError(msg)
            lines += 1
            try:
                text = line.decode(options.encoding, "replace").removeprefix("\ufeff")
                record = json.loads(text, parse_int=len)  # names alone count, and Python takes no endless number
            except (ValueError, RecursionError):
                returns = returns or _RETURNS.search(line) is not None
                continue
            if isinstance(record, dict):
                objects += 1
                names |= (unnested(record, record["meta"]) if is_own_record(record) else record).keys()
    if returns and not objects:
        msg = f"{split.path}: its lines end in a carriage return alone: convert them"
        raise InputError(msg)
    if lines > 1 and not objects:
        hint = "write one object a line, or set `format:`"
        msg = f"{split.path}: none of its first {lines} lines is a JSON object: {hint}"
        raise InputError(msg)
    names |= partition_values(split.path).keys()
    wanted = {"text": options.text, "id": options.id, "url": options.url, "timestamp": options.timestamp}
    pairs = [*wanted.items(), *(("columns", column.field) for column in options.columns)]
    for option, name in pairs:
        if objects and name is not None and name.partition(".")[0] not in names and name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            known = f"there are {', '.join(sorted(names)[:20])}" if names else "it has none"
            hint = f"did you mean {close[0]!r}?" if close else known
            looked_at = f"none of its first {objects} records has" if objects > 1 else "its first record hasn't"
            msg = f"{split.path}: {looked_at} the field {name!r}; {hint} (set `{option}:`)"
            raise InputError(msg)
