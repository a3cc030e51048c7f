"""The inputs that paths hold: files of one format and the same fields together, and where in them things are."""

import glob
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from tamis.pipeline.formats.first_records import first_records
from tamis.pipeline.formats.options import Format, ReadOptions, data_suffixes, file_name
from tamis.pipeline.formats.reader import plan_splits
from tamis.pipeline.storage import filesystem
from tamis.pipeline.storage.filesystem import FileInfo
from tamis.schemas.errors import InputError

__all__ = ["FoundInput", "FoundInputs", "find_inputs", "place_fields"]

TEXTS = ("text", "content", "body", "raw_content", "document", "article", "page_content", "markdown", "html")
IDS = ("id", "doc_id", "docid", "document_id", "key", "uuid", "guid", "_id", "uid", "warc_record_id")
URLS = ("url", "uri", "link", "source_url", "page_url", "web_url", "target_uri", "warc_target_uri", "permalink", "href")
TIMES = ("timestamp", "date", "created", "created_at", "posted", "published", "published_at", "crawl_date", "warc_date")
TAKEN = {"id": ("id",), "url": ("url",), "timestamp": ("timestamp", "date")}
"""Fields that are found without being named."""
SHORT = 20
"""A field whose values are shorter than so many characters on average is taken for the text by its name alone."""
LOOKED_AT = 200
"""Files of a folder and suffix whose fields are looked at, evenly spread; the others are taken to be like the first."""
ADDRESS = re.compile(r"https?://\S+$")
PICTURE = re.compile("image|img|thumb|icon|logo|avatar|picture|photo|video|feed", re.IGNORECASE)
"""Names of fields whose addresses aren't the page's own."""
PAGE = re.compile(r"\s*<(!doctype|html|head|body|div|p|article|section)\b", re.IGNORECASE)


@dataclass(frozen=True)
class FoundInput:
    """An entry of a config's inputs.

    Attributes:
        path: files or globs.
        source: the label.
        format: of the files.
        files: how many.
        bytes: of them all.
        text: field of the text; None where the format has none.
        id: field of the identity; None where it is found by itself, or there is none.
        url: of the address, likewise.
        timestamp: of the time, likewise.
        html: whether the text field holds HTML.
        fields: names of the records' fields, in their order.
    """

    path: tuple[str, ...]
    source: str
    format: Format
    files: int
    bytes: int
    text: str | None = None
    id: str | None = None
    url: str | None = None
    timestamp: str | None = None
    html: bool = False
    fields: tuple[str, ...] = ()


@dataclass(frozen=True)
class FoundInputs:
    """What was found.

    Attributes:
        inputs: by source.
        left_out: sentences on files that can't be read, or hold no text.
    """

    inputs: tuple[FoundInput, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class _Kind:
    """What files have in common that one entry can read."""

    folder: str
    suffix: str
    format: Format
    text: str | None
    id: str | None
    url: str | None
    timestamp: str | None
    html: bool


def find_inputs(paths: Sequence[str]) -> FoundInputs:
    """Look at the beginnings of files and say how they are to be read.

    Args:
        paths: files, folders, globs or URLs.

    Raises:
        InputError: if they name no file, or none with text.
    """
    files = filesystem.expand(paths, suffixes=data_suffixes(), notice=lambda _: None)
    kinds: dict[_Kind, list[FileInfo]] = {}
    fields: dict[_Kind, tuple[str, ...]] = {}
    left_out: list[str] = []
    for group in _by_suffix(files).values():
        step = -(-len(group) // LOOKED_AT)
        kind: _Kind | None = None
        for number, file in enumerate(group):
            if number % step == 0 or kind is None:
                try:
                    kind, names = _look(file)
                except InputError as error:
                    left_out.append(str(error))
                    kind = None
                    continue
                fields.setdefault(kind, names)
            kinds.setdefault(kind, []).append(file)
    if not kinds:
        told = f": {left_out[0]}" if left_out else ""
        msg = f"no file with text is in {', '.join(paths)}{told}"
        raise InputError(msg)
    every = {file.path for file in files}
    found = [_entry(kind, members, fields[kind], every) for kind, members in kinds.items()]
    return FoundInputs(tuple(_labelled(found)), tuple(left_out))


def _by_suffix(files: Iterable[FileInfo]) -> dict[tuple[str, str], list[FileInfo]]:
    found: dict[tuple[str, str], list[FileInfo]] = {}
    for file in files:
        name = file_name(file.path)
        found.setdefault((file.path[: len(file.path) - len(name)], _suffix(name)), []).append(file)
    return found


def _suffix(name: str) -> str:
    """Return the ending of a file's name that tells its format and compression, as it is written."""
    known = [suffix for suffix in data_suffixes() if name.lower().endswith(suffix)]
    if not known:
        return PurePosixPath(name).suffix
    longest = max(known, key=len)
    return name[len(name) - len(longest) :]


def _look(file: FileInfo) -> tuple[_Kind, tuple[str, ...]]:
    name = file_name(file.path)
    folder, suffix = file.path[: len(file.path) - len(name)], _suffix(name)
    # The right field isn't known yet, so that an error about its absence would say nothing.
    probe = _probed(file)
    records = first_records(probe)
    names = tuple(dict.fromkeys(name for record in records for name in record))
    if not records:
        if probe.format in ("jsonl", "csv", "parquet", "arrow"):
            plan_splits(file, ReadOptions())  # says why, mostly
            msg = f"{file.path} holds no record where it begins"
            raise InputError(msg)
        return _Kind(folder, suffix, probe.format, None, None, None, None, html=False), names
    placed = place_fields(records)
    if placed is None:
        msg = f"{file.path} has no field that holds text, among {', '.join(names)}"
        raise InputError(msg)
    text, id_, url, time = (placed.get(key) for key in ("text", "id", "url", "timestamp"))
    html = any(PAGE.match(str(_at(record, str(text)) or "")) for record in records)
    options = ReadOptions(text=str(text), id=id_, url=url, timestamp=time, html=html)
    if not plan_splits(file, options):
        msg = f"{file.path} is empty"
        raise InputError(msg)
    return _Kind(folder, suffix, probe.format, text, id_, url, time, html), names


def _probed(file: FileInfo) -> Any:
    """Return a part of the file, to be looked at whatever its fields are called."""
    from tamis.pipeline.formats.options import Split, format_of

    form, codec = format_of(file.path, ReadOptions())
    if form in ("jsonl", "csv", "parquet", "arrow"):
        return Split(file.path, form, codec)
    splits = plan_splits(file, ReadOptions())
    if not splits:
        msg = f"{file.path} is empty"
        raise InputError(msg)
    return splits[0]


def place_fields(records: Sequence[Mapping[str, Any]]) -> dict[str, str | None] | None:
    """Return where in records things are: `text`, and `id`, `url`, `timestamp` where a reader must be told of them.

    A field is known by its name, in any case; the text, where no name is known, is the longest text on average, and the
    address the one field that holds nothing but addresses of pages.

    Args:
        records: some, as they lie in the file.

    Returns:
        Names of fields, dotted for those in objects; None if there is no text.
    """
    lengths: dict[str, list[int]] = {}
    for record in records:
        for name, value in _leaves(record):
            lengths.setdefault(name, [])
            if isinstance(value, str):
                lengths[name].append(len(value))
    texts = {name: sum(known) / len(records) for name, known in lengths.items() if any(known)}
    long = [name for name in texts if texts[name] >= SHORT]
    text = _named(TEXTS, texts) or max(long, key=lambda name: texts[name], default="")
    if not text:
        return None
    found: dict[str, str | None] = {"text": text}
    others = [name for name in lengths if name != text]
    addresses = {name for name in others if _is_address(name, records)}
    for key, known_as in (("id", IDS), ("url", URLS), ("timestamp", TIMES)):
        field = _named(known_as, others)
        if key == "url" and field is None and len(addresses) == 1:
            (field,) = addresses
        found[key] = None if field in TAKEN[key] else field
    return found


def _is_address(name: str, records: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a field holds addresses alone, and no picture's."""
    values = [value for value in (_at(record, name) for record in records) if value not in (None, "")]
    if not values or PICTURE.search(name):
        return False
    return all(isinstance(value, str) and ADDRESS.match(value) is not None for value in values)


def _leaves(record: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in record.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}.{inner}", leaf) for inner, leaf in value.items() if not isinstance(leaf, Mapping))
        else:
            yield name, value


def _named(wanted: Sequence[str], names: Iterable[str]) -> str | None:
    """Return the first of the fields that is called as wanted, those of the record itself before those of objects."""
    fields = list(names)
    for inside in (False, True):
        for word in wanted:
            for name in fields:
                if ("." in name) == inside and name.rpartition(".")[2].lower() == word:
                    return name
    return None


def _at(record: Mapping[str, Any], name: str) -> Any:
    if name in record:
        return record[name]
    outer, _, inner = name.partition(".")
    value = record.get(outer)
    return value.get(inner) if isinstance(value, Mapping) else None


def _entry(kind: _Kind, files: Sequence[FileInfo], fields: tuple[str, ...], every: set[str]) -> FoundInput:
    paths = [file.path for file in files]
    size = sum(file.size or 0 for file in files)
    if len(paths) == 1:
        source = file_name(paths[0]).removesuffix(kind.suffix)
    else:
        source = PurePosixPath(kind.folder.rstrip("/")).name or "files"
        pattern = f"{glob.escape(kind.folder)}*{kind.suffix}"
        among = {path for path in every if path.startswith(kind.folder) and _is_direct(path, kind)}
        if among == set(paths):
            paths = [pattern]
    return FoundInput(
        tuple(paths), source, kind.format, len(files), size, kind.text, kind.id, kind.url, kind.timestamp, kind.html,
        fields,
    )  # fmt: skip


def _is_direct(path: str, kind: _Kind) -> bool:
    name = path[len(kind.folder) :]
    return "/" not in name and name.endswith(kind.suffix)


def _labelled(found: Iterable[FoundInput]) -> Iterator[FoundInput]:
    """Yield the entries by source, each under a label of its own that a config takes."""
    taken: set[str] = set()
    for one in sorted(found, key=lambda one: (one.source, one.path)):
        label = re.sub(r"[^A-Za-z0-9_.-]+", "-", one.source).strip("-._") or "files"
        free = label if label not in taken else next(n for i in range(2, 10**6) if (n := f"{label}-{i}") not in taken)
        taken.add(free)
        yield replace(one, source=free, path=tuple(_plain(path) for path in one.path))


def _plain(path: str) -> str:
    return os.fspath(Path(filesystem.local_path(path))) if filesystem.is_local(path) else path
