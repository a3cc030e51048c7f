"""Reads the manifest of a finished run, and says where its shards lie."""

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, TypeVar

import pydantic

from tamis.pipeline.storage import filesystem
from tamis.schemas.base import Model
from tamis.schemas.errors import RunError
from tamis.schemas.manifest import MANIFEST_VERSION, Manifest, Provenance, ShardRecord, TableRecord

__all__ = [
    "FATES",
    "MANIFEST",
    "TABLES",
    "config_folders",
    "files_of",
    "inside",
    "manifest_and_digest",
    "read_manifest",
    "read_record",
    "shard_path",
    "shards_of",
]

_Record = TypeVar("_Record", bound=Model)

MANIFEST = "manifest.json"
FATES = ("selected", "rejected", "errors")
"""What a record can end as; the names of the folders that hold the shards."""


TABLES = "tables"
"""The folder of what decisions left beside the shards."""


def read_manifest(run: str) -> Manifest:
    """Read a finished run's manifest.

    Raises:
        RunError: if the folder holds no finished run, or a manifest that can't be understood.
    """
    return manifest_and_digest(run)[0]


def manifest_and_digest(run: str) -> tuple[Manifest, str]:
    """Read a finished run's manifest, and return the SHA-256 of its bytes too.

    Raises:
        RunError: as `read_manifest` does.
    """
    absent = "it is no run of tamis, or one that hasn't finished (tamis run resumes it)"
    return read_record(run, MANIFEST, Manifest, newest=MANIFEST_VERSION, absent=absent, what="manifest")


class _Written(Protocol):
    @property
    def version(self) -> int: ...

    @property
    def provenance(self) -> Provenance: ...


def read_record(
    folder: str, name: str, model: "type[_Record]", *, newest: int, absent: str, what: str
) -> "tuple[_Record, str]":
    """Read the record of a folder that tamis made, and return the SHA-256 of its bytes too.

    Args:
        folder: whose it is.
        name: of the file.
        model: of what is in it.
        newest: version that is understood.
        absent: what a folder without one is, for the sentence on it.
        what: what the record is called.

    Raises:
        RunError: if the folder holds none, or one that can't be understood.
    """
    path = filesystem.join(folder, name)
    text = filesystem.content(path)
    if text is None:
        msg = f"{folder} holds no {name}: {absent}"
        raise RunError(msg)
    try:
        found = model.model_validate_json(text)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        msg = f"{path} is no {what} that this version reads: {where + ': ' if where else ''}{first['msg']}"
        raise RunError(msg) from None
    written: _Written = found  # type: ignore[assignment]  # both records have these
    if written.version > newest:
        msg = f"{path} was written by a newer tamis ({written.provenance.tamis}): read it with that version"
        raise RunError(msg)
    return found, hashlib.sha256(text).hexdigest()


def shard_path(run: str, record: ShardRecord | TableRecord) -> str:
    """Return where a shard or table of the run lies."""
    return filesystem.join(run, record.path)


def config_folders(run: str, manifest: Manifest) -> tuple[str, ...]:
    """Return the folders in which relative paths of a run's inputs and models are looked up, in their order."""
    here = str(Path.cwd())
    if manifest.folder is None or not filesystem.is_local(run):
        return (here,)
    folder = os.path.normpath(Path(filesystem.absolute(run)) / manifest.folder)
    return tuple(dict.fromkeys((folder, here)))


def shards_of(manifest: Manifest, fate: str) -> list[ShardRecord]:
    """Return the recorded shards of one fate: selected, rejected or errors."""
    return [record for record in manifest.shards if record.fate == fate]


def inside(run: str, path: str) -> str | None:
    """Return `path` relative to the run's folder; None if it lies elsewhere."""
    root, name = (_bare(p) for p in (run, path))
    return name[len(root) + 1 :] if name.startswith(root + "/") else None


def _bare(path: str) -> str:
    if filesystem.is_local(path):
        return str(Path(filesystem.local_path(path)).absolute())
    return re.sub(r"^[^/]+://", "", path).strip("/")


def files_of(run: str) -> Iterator[str]:
    """Yield the files in the run's folders of shards and tables, relative to the run; hidden ones aside."""
    for name in (*FATES, TABLES):
        for path in sorted(filesystem.below(filesystem.join(run, name))):
            if not any(part.startswith((".", "_")) for part in path.split("/")):
                yield f"{name}/{path}"
