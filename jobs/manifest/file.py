"""Reads the manifest of a finished run, and says where its shards lie."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pydantic

from tamis.pipeline.storage import filesystem
from tamis.schemas.errors import RunError
from tamis.schemas.manifest import MANIFEST_VERSION, Manifest, ShardRecord, TableRecord

__all__ = [
    "FATES",
    "MANIFEST",
    "TABLES",
    "config_folders",
    "files_of",
    "inside",
    "read_manifest",
    "shard_path",
    "shards_of",
]

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
    path = filesystem.join(run, MANIFEST)
    text = filesystem.content(path)
    if text is None:
        msg = f"{run} holds no {MANIFEST}: it is no run of tamis, or one that hasn't finished (tamis run resumes it)"
        raise RunError(msg)
    try:
        manifest = Manifest.model_validate_json(text)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        msg = f"{path} is no manifest that this version reads: {where + ': ' if where else ''}{first['msg']}"
        raise RunError(msg) from None
    if manifest.version > MANIFEST_VERSION:
        msg = f"{path} was written by a newer tamis ({manifest.provenance.tamis}): read it with that version"
        raise RunError(msg)
    return manifest


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
