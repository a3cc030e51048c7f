"""Folders of small files, such as models, as local ones."""

import atexit
import shutil
from pathlib import Path

from tamis.pipeline.storage import filesystem
from tamis.pipeline.storage.temporary import make_temporary

__all__ = ["local_folder"]

_fetched: dict[str, Path] = {}


def local_folder(folder: str) -> Path:
    """Return a folder of small files as a local one, fetched once a process if it lies elsewhere."""
    if filesystem.is_local(folder):
        return Path(filesystem.local_path(folder))
    if folder not in _fetched:
        scratch = make_temporary()
        atexit.register(shutil.rmtree, scratch, ignore_errors=True)
        for file in filesystem.expand(folder):
            with filesystem.open_binary(file.path) as stream:
                (scratch / file.path.rsplit("/", 1)[-1]).write_bytes(stream.read())
        _fetched[folder] = scratch
    return _fetched[folder]
