"""Folders of small files, such as models, as local ones."""

import atexit
import shutil
from collections.abc import Sequence
from pathlib import Path

from tamis.pipeline.storage import filesystem
from tamis.pipeline.storage.temporary import make_temporary
from tamis.schemas.errors import NoFileError

__all__ = ["local_folder"]

_fetched: dict[str, Path] = {}


def local_folder(folder: str, names: Sequence[str] | None = None) -> Path:
    """Return a folder of small files as a local one, fetched once a process if it lies elsewhere.

    Args:
        folder: the folder.
        names: of its files, where they are known; otherwise it is listed.
    """
    if filesystem.is_local(folder):
        return Path(filesystem.local_path(folder))
    if folder not in _fetched:
        scratch = make_temporary()
        atexit.register(shutil.rmtree, scratch, ignore_errors=True)
        listed = [file.path for file in filesystem.expand(folder)] if names is None else None
        for path in listed or [filesystem.join(folder, name) for name in names or ()]:
            content = filesystem.content(path)
            if content is None:
                raise NoFileError(f"{path}: there is no such file")
            (scratch / path.rsplit("/", 1)[-1]).write_bytes(content)
        _fetched[folder] = scratch
    return _fetched[folder]
