"""Folders of small files, such as models, as local ones."""

import atexit
import io
import shutil
import zipfile
from pathlib import Path

from tamis.pipeline.storage import filesystem
from tamis.pipeline.storage.temporary import make_temporary
from tamis.schemas.errors import NoFileError

__all__ = ["local_folder", "packed_folder", "unpacked_folder"]

_fetched: dict[str, Path] = {}


def local_folder(folder: str) -> Path:
    """Return a folder of small files, such as a model, as a local one, fetched once a process if it lies elsewhere."""
    if filesystem.is_local(folder):
        return Path(filesystem.local_path(folder))
    if folder not in _fetched:
        scratch = _until_the_end()
        for file in filesystem.expand(folder):
            content = filesystem.content(file.path)
            if content is None:
                raise NoFileError(f"{file.path}: there is no such file")
            (scratch / file.path.rsplit("/", 1)[-1]).write_bytes(content)
        _fetched[folder] = scratch
    return _fetched[folder]


def packed_folder(folder: Path) -> bytes:
    """Return the files of a folder as one value: on a store each file is a request, for everybody who reads it."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for file in sorted(folder.iterdir()):
            archive.writestr(zipfile.ZipInfo(file.name), file.read_bytes())  # no time: equal files, equal bytes
    return packed.getvalue()


def unpacked_folder(name: str, packed: bytes) -> Path:
    """Return a local folder of the files that `packed_folder` packed, unpacked once a process under that name."""
    if name not in _fetched:
        scratch = _until_the_end()
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            archive.extractall(scratch)
        _fetched[name] = scratch
    return _fetched[name]


def _until_the_end() -> Path:
    scratch = make_temporary()
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    return scratch
