"""Which files under a config's inputs are new, which were read, and which of these changed or are gone."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tamis.jobs.run.paths import Places
from tamis.pipeline.formats.options import data_suffixes
from tamis.pipeline.storage import filesystem
from tamis.pipeline.storage.filesystem import FileInfo
from tamis.schemas.config import Config, InputConfig
from tamis.schemas.errors import ConfigError, InputError, NoFileError
from tamis.schemas.manifest import InputRecord, Manifest
from tamis.schemas.secrets import redacted

__all__ = ["GONE", "FoundFile", "Standing", "file_key", "known_files", "listed_files", "standing"]

GONE = "gone"
"""Stands for the fingerprint of a file that isn't there any more."""


@dataclass(frozen=True, order=True)
class FoundFile:
    """A file under an input.

    Attributes:
        source: label of the input.
        info: what is known of the file.
        input: position of the input's entry in the config.
    """

    source: str
    info: FileInfo
    input: int

    @property
    def key(self) -> str:
        """What it is remembered by."""
        return file_key(self.source, self.info.path)


@dataclass(frozen=True)
class Standing:
    """How the files under the inputs stand to what was read.

    Attributes:
        new: never read, in order.
        waiting: never read, and written to just now.
        changed: read, with another content now.
        gone: keys of files that were read and aren't there any more.
        same: key to fingerprint of files that have another one than when they were read, and the same content.
        seen: how many are as they were read.
    """

    new: tuple[FoundFile, ...]
    waiting: tuple[FoundFile, ...]
    changed: tuple[FoundFile, ...]
    gone: tuple[str, ...]
    same: Mapping[str, str]
    seen: int


def file_key(source: str, path: str) -> str:
    """Return what a file is remembered by; credentials in its address aren't part of it."""
    return f"{source}: {redacted(path)}"


def known_files(manifests: Sequence[Manifest]) -> dict[str, InputRecord]:
    """Return what was read, by key; of a file that was read in several states the last one."""
    return {file_key(record.source, record.path): record for one in manifests for record in one.inputs}


def listed_files(config: Config, places: Places) -> tuple[list[FoundFile], list[str]]:
    """Return the files under a config's inputs, by source and path, and a sentence for each input without one.

    Raises:
        ConfigError: if two inputs of one source name the same file.
        InputError: if a store or a folder can't be listed.
    """
    found: dict[str, FoundFile] = {}
    empty: list[str] = []
    with filesystem.relative_to(places.folders):
        for number, entry in enumerate(places.inputs(config).inputs):
            for info in _of_entry(entry, empty):
                file = FoundFile(entry.source, info, number)
                other = found.setdefault(file.key, file)
                if other.input != number:
                    msg = f"input {entry.source}: {info.path} is named by two inputs: give each a source of its own"
                    raise ConfigError(msg)
    return sorted(found.values()), empty


def _of_entry(entry: InputConfig, empty: list[str]) -> Iterator[FileInfo]:
    named: dict[str, FileInfo] = {}
    for pattern in entry.path:
        try:
            listed = filesystem.expand(pattern, suffixes=data_suffixes())
        except NoFileError as error:
            if pattern.startswith("@"):  # the list itself, or a file that it names
                raise
            empty.append(f"input {entry.source}: {error}")
            continue
        except InputError as error:
            msg = f"input {entry.source}: {error}"
            raise InputError(msg) from None
        named |= {info.path: info for info in listed}
    yield from named.values()


def standing(
    listed: Sequence[FoundFile],
    known: Mapping[str, InputRecord],
    same: Mapping[str, str],
    places: Places,
    *,
    settle: float,
) -> Standing:
    """Hold the files that there are against those that were read.

    Args:
        listed: those that there are.
        known: those that were read, see `known_files`.
        same: key to a fingerprint that was found to stand for the content that was read.
        places: where relative paths lead from.
        settle: seconds since a local file was written to, for it to be read.
    """
    new: list[FoundFile] = []
    waiting: list[FoundFile] = []
    changed: list[FoundFile] = []
    unchanged: dict[str, str] = {}
    seen = 0
    with filesystem.relative_to(places.folders):
        for file in listed:
            record = known.get(file.key)
            if record is None:
                (waiting if _unsettled(file.info.path, settle) else new).append(file)
            elif _as_read(file, record, same.get(file.key)):
                seen += 1
                if file.info.fingerprint != record.fingerprint:
                    unchanged[file.key] = file.info.fingerprint
            elif _unsettled(file.info.path, settle):
                waiting.append(file)
            else:
                changed.append(file)
    there = {file.key for file in listed}
    gone = tuple(sorted(key for key in known if key not in there))
    return Standing(tuple(new), tuple(waiting), tuple(changed), gone, unchanged, seen)


def _as_read(file: FoundFile, record: InputRecord, same: str | None) -> bool:
    """Return whether a file has the content that was read: by its fingerprint, or else by its bytes."""
    info = file.info
    if filesystem.tells_changes(info.fingerprint) and info.fingerprint in (record.fingerprint, same):
        return True
    if record.sha256 is None:
        return info.fingerprint == record.fingerprint
    if None not in (info.size, record.bytes) and info.size != record.bytes:
        return False
    return filesystem.sha256(info.path) == record.sha256


def _unsettled(path: str, settle: float) -> bool:
    """Return whether a local file was written to within the last seconds."""
    if settle <= 0 or not filesystem.is_local(path):
        return False
    try:
        status = Path(filesystem.local_path(path)).stat()
    except OSError:  # its reader says what is the matter
        return False
    return time.time() - status.st_mtime < settle
