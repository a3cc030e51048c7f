"""The folder of a corpus that grows: which increments it is made of, and what is remembered from one to the next.

`corpus.json` names the increments; each is a run of its own in `increments/`. `manifest.json` adds them up, so that
whatever opens a run opens a corpus too. `work/` has the lock, and the finished stages that all increments share.
"""

import json
import os
from pathlib import Path
from typing import Any

import pydantic
from pydantic import Field

from tamis.pipeline.storage import filesystem
from tamis.schemas.base import Model
from tamis.schemas.errors import ConfigError, RunError
from tamis.schemas.manifest import ModelRecord

__all__ = [
    "INCREMENTS",
    "CorpusRecord",
    "increment_folder",
    "increment_name",
    "is_corpus",
    "path_from",
    "read_corpus",
    "refuse_corpus",
    "write_corpus",
]

CORPUS = "corpus.json"
INCREMENTS = "increments"
_VERSION = 1


class CorpusRecord(Model):
    """What is remembered of a corpus from one pass to the next."""

    version: int = _VERSION
    name: str
    config: dict[str, Any] = Field(description="resolved, as the latest increment's pass had it")
    source_config: dict[str, Any] = Field(description="as it was given")
    config_sha256: str
    deciding_sha256: str = Field(description="of what decides about a document: the config without its inputs")
    models: tuple[ModelRecord, ...] = ()
    folder: str | None = Field(default=None, description="where relative paths lead from, relative to the corpus")
    increments: tuple[str, ...] = Field(default=(), description="that the corpus is made of, in order")
    next: int = Field(default=1, description="number of the next increment")
    frozen: dict[str, dict[str, Any]] = Field(default={}, description="step to the thresholds that hold")
    frozen_models: dict[str, str] = Field(default={}, description="step to the folder of the model that holds")
    same: dict[str, str] = Field(
        default={}, description="file to the fingerprint that it has now, though its content is what was read"
    )
    told: dict[str, str] = Field(
        default={}, description="file to the fingerprint that was told of: it changed, or it is gone"
    )
    leftover: tuple[str, ...] = Field(default=(), description="increments that were merged, and are to be deleted")


def is_corpus(folder: str) -> bool:
    """Return whether a folder holds a corpus."""
    return filesystem.exists(filesystem.join(folder, CORPUS))


def refuse_corpus(folder: str) -> None:
    """Refuse a corpus where a run of its own would go.

    Raises:
        ConfigError: if there is one.
    """
    if is_corpus(folder):
        msg = f"{folder} holds a corpus of tamis watch, which takes new files in: give another folder with --output"
        raise ConfigError(msg)


def read_corpus(folder: str) -> CorpusRecord:
    """Read what is remembered of a corpus.

    Raises:
        RunError: if the folder holds none, or one that can't be understood.
    """
    path = filesystem.join(folder, CORPUS)
    if not filesystem.exists(path):
        msg = f"{folder} holds no {CORPUS}: it is no corpus of tamis watch"
        raise RunError(msg)
    with filesystem.open_binary(path) as stream:
        text = stream.read()
    try:
        record = CorpusRecord.model_validate_json(text)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        msg = f"{path} is nothing that this version reads: {where + ': ' if where else ''}{first['msg']}"
        raise RunError(msg) from None
    if record.version > _VERSION:
        msg = f"{path} was written by a newer tamis: go on with that version"
        raise RunError(msg)
    return record


def write_corpus(folder: str, record: CorpusRecord) -> None:
    """Write what is remembered of a corpus; it takes the place of what was there in one step."""
    with filesystem.write_atomically(filesystem.join(folder, CORPUS)) as stream:
        stream.write(json.dumps(record.model_dump(mode="json"), indent=1).encode() + b"\n")


def increment_name(number: int) -> str:
    """Return the name of an increment."""
    return f"{number:05d}"


def increment_folder(folder: str, name: str) -> str:
    """Return the folder of an increment."""
    return filesystem.join(folder, INCREMENTS, name)


def path_from(folder: str, path: str) -> str:
    """Return a path as a config in a folder names it: relative to that where both are local."""
    if not filesystem.is_local(path) or not filesystem.is_local(folder):
        return path
    return os.path.relpath(filesystem.absolute(path), Path(filesystem.local_path(folder)).absolute())
