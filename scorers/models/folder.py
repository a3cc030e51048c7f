"""Model folders: what a model needs in one place, with `model.json` naming every file's digest.

`model.json` holds the `kind` of model, its `files` with their SHA-256, its `settings` (what is needed to use it, such
as its normaliser) and its `provenance` (what it was made from). A folder is refused when a file isn't the one it was
made with: an n-gram model scored with another tokenizer gives numbers that look right and mean nothing.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tamis.schemas.base import canonical_json, digest
from tamis.schemas.errors import ModelError
from tamis.schemas.secrets import redacted_all
from tamis.scorers.models.hub import sha256_file

__all__ = ["MODEL_FILE", "ModelFolder", "read_model_folder", "write_model_folder"]

MODEL_FILE = "model.json"
_FORMAT = "tamis-model"
_VERSION = 1


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A model folder whose files are those it was made with.

    Attributes:
        path: the folder.
        kind: what kind of model it is, such as `ngram_lm`.
        files: file name to SHA-256.
        settings: what is needed to use the model.
        provenance: what it was made from, and how.
    """

    path: Path
    kind: str
    files: Mapping[str, str]
    settings: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """SHA-256 over kind, files and settings: models with the same one give the same scores."""
        return digest({"kind": self.kind, "files": dict(self.files), "settings": dict(self.settings)})

    def file(self, name: str) -> Path:
        """Return the path of one of its files.

        Raises:
            ModelError: if it has no such file.
        """
        if name not in self.files:
            msg = f"{self.path} has no file {name!r}; its {MODEL_FILE} lists {', '.join(sorted(self.files)) or 'none'}"
            raise ModelError(msg)
        return self.path / name


def write_model_folder(
    path: Path, *, kind: str, files: list[str], settings: Mapping[str, Any], provenance: Mapping[str, Any]
) -> ModelFolder:
    """Write `model.json` for files that are in the folder already; until then no reader takes it for a model.

    Args:
        path: the folder.
        kind: what kind of model it is.
        files: names of its files, relative to the folder.
        settings: what is needed to use the model (JSON values).
        provenance: what it was made from (JSON values).
    """
    told = redacted_all(dict(provenance))
    folder = ModelFolder(path, kind, {name: sha256_file(path / name) for name in sorted(files)}, settings, told)
    content = {
        "format": _FORMAT,
        "version": _VERSION,
        "kind": kind,
        "files": dict(folder.files),
        "settings": dict(settings),
        "provenance": told,
    }
    partial = path / f".{MODEL_FILE}.{os.getpid()}"
    partial.write_text(
        json.dumps(json.loads(canonical_json(content)), indent=2, ensure_ascii=False, sort_keys=True) + "\n"
    )
    partial.replace(path / MODEL_FILE)
    return folder


def read_model_folder(path: Path, *, kind: str | None = None, verify: bool = True) -> ModelFolder:
    """Read a folder's `model.json` and check that its files are those it names.

    Args:
        path: the folder.
        kind: the kind of model that is wanted, if any will not do.
        verify: recompute the files' digests; False only checks that they are there.

    Raises:
        ModelError: if there is no `model.json`, if it is of another kind or version, or a file is missing or changed.
    """
    source = path / MODEL_FILE
    try:
        content = json.loads(source.read_text())
    except FileNotFoundError as error:
        msg = f"{path} has no {MODEL_FILE}; it isn't a model folder, or its training didn't finish"
        raise ModelError(msg) from error
    except (OSError, ValueError) as error:
        msg = f"{source} can't be read: {error}"
        raise ModelError(msg) from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT or content.get("version") != _VERSION:
        msg = (
            f"{source} isn't a model description of version {_VERSION}; train the model again with this version of "
            "Tamis"
        )
        raise ModelError(msg)
    if kind is not None and content.get("kind") != kind:
        msg = f"{path} holds a model of kind {content.get('kind')!r} where one of kind {kind!r} is needed"
        raise ModelError(msg)
    folder = ModelFolder(
        path, content["kind"], content["files"], content.get("settings", {}), content.get("provenance", {})
    )
    for name, wanted in folder.files.items():
        file = path / name
        if not file.is_file():
            msg = f"{file} is missing, though {MODEL_FILE} names it; copy the whole folder"
            raise ModelError(msg)
        if verify and sha256_file(file) != wanted:
            msg = (
                f"{file} isn't the file the model was made with (its SHA-256 differs from {MODEL_FILE}'s); restore "
                "it or train again"
            )
            raise ModelError(msg)
    return folder
