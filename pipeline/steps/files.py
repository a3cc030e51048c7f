"""Finds the models and files that steps refer to, and digests them."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from tamis.pipeline.steps.base import FoundFile
from tamis.pipeline.storage import filesystem
from tamis.schemas.errors import InputError, ModelError

__all__ = ["digest_path", "digest_set", "find_documents", "find_file", "find_model"]

FOLDER_SIDECARS = (".projected", ".cache", ".tmp")


def digest_path(path: str) -> tuple[str, int]:
    """Return SHA-256 and size of a file, or of a folder by the names and contents below it."""
    local = Path(filesystem.local_path(path))
    if filesystem.is_local(path) and local.is_dir():
        files = [f for f in local.rglob("*") if f.is_file() and not _is_sidecar(f, local)]
        return digest_set([(f.relative_to(local).as_posix(), str(f)) for f in files])
    size = filesystem.info(path).size
    return filesystem.sha256(path), size or 0


def _is_sidecar(path: Path, root: Path) -> bool:
    """Return whether a file is a cache that a scorer keeps beside a model: its content follows from the model's."""
    return any(part.startswith(".") or part.endswith(FOLDER_SIDECARS) for part in path.relative_to(root).parts)


def digest_set(named: Sequence[tuple[str, str]]) -> tuple[str, int]:
    """Return SHA-256 and size of files by their names and contents.

    Args:
        named: (name, path) of each.
    """
    total = hashlib.sha256()
    size = 0
    for name, path in sorted(named):
        total.update(f"{name}\0{filesystem.sha256(path)}\n".encode())
        size += filesystem.info(path).size or 0
    return total.hexdigest(), size


def find_model(label: str, option: str, reference: str) -> FoundFile:
    """Find a model: a file or folder, or whatever `tamis.scorers.models.hub.resolve` takes.

    Raises:
        ModelError: if it is missing or can't be fetched.
    """
    from tamis.scorers.models.hub import resolve

    try:
        path = resolve(reference)
        sha256, size = digest_path(str(path))
    except (InputError, ModelError) as error:
        msg = f"step {label}: {option}: {error}"
        raise ModelError(msg) from None
    return FoundFile(reference, str(path), sha256, size)


def find_file(label: str, option: str, reference: str) -> FoundFile:
    """Find a file that is no model, such as a word list.

    Raises:
        ModelError: if there is none.
    """
    if "://" not in reference and not Path(reference).is_file():
        msg = f"step {label}: {option}: there is no file {reference}"
        raise ModelError(msg)
    return find_model(label, option, reference)


def find_documents(label: str, option: str, reference: str, text: str) -> FoundFile:
    """Find the files of a set of documents, such as a target corpus, with the field of their text.

    Raises:
        ModelError: if there are none, or no document in them.
    """
    from tamis.pipeline.formats.options import ReadOptions
    from tamis.pipeline.formats.reader import plan_splits

    try:  # also says now, and not after the pool was read, that a field is missing
        files = filesystem.expand(reference)
        parts = [part for file in files for part in plan_splits(file, ReadOptions(text=text))]
    except InputError as error:
        msg = f"step {label}: {option}: {error}"
        raise ModelError(msg) from None
    if not parts:
        msg = f"step {label}: {option}: {reference} holds no document"
        raise ModelError(msg)
    sha256, size = digest_set([(Path(file.path).name, file.path) for file in files])
    return FoundFile(reference, reference, sha256, size)
