"""All file access of the program: local paths directly, every other scheme through fsspec.

A path is a plain local path, a `file://` URL, or a URL of any file system that fsspec knows (`gs://`,
`s3://`, `hdfs://`, `hf://`, `https://`, `memory://`). Local paths never import fsspec. Faults that a user can
mend are `InputError`s that name the path.
"""

import glob
import hashlib
import io
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from tamis.pipeline.storage.temporary import temporary_folder
from tamis.schemas.errors import InputError

__all__ = [
    "FileInfo",
    "create",
    "exists",
    "expand",
    "info",
    "is_local",
    "join",
    "local_path",
    "make_dirs",
    "open_binary",
    "remove",
    "remove_below",
    "remove_tree",
    "sha256",
    "write_atomically",
]

_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+)://")
_BUFFER = 1 << 20
# Extras that bring the file system of a scheme; fsspec names the Python package, the user needs the extra.
_EXTRAS = {"gs": "gcp", "gcs": "gcp", "s3": "aws", "s3a": "aws"}
# A put on these replaces the object in one step; elsewhere a rename does.
_OBJECT_STORES = frozenset({"gs", "gcs", "s3", "s3a", "abfs", "abfss", "az", "hf", "memory", "oss"})
_TRIES = 4


@dataclass(frozen=True, order=True)
class FileInfo:
    """A file as it was when listed.

    Attributes:
        path: as `open_binary` takes it.
        size: in bytes; None where a server doesn't say.
        fingerprint: changes when the content does, as far as the file system can tell: an etag, or size and
            time.
    """

    path: str
    size: int | None
    fingerprint: str


def _scheme(path: str) -> str | None:
    match = _SCHEME.match(path)
    scheme = match.group(1).lower() if match else None
    return None if scheme in ("file", "local") else scheme


def is_local(path: str) -> bool:
    """Return whether `path` lies on a file system of this machine."""
    return _scheme(path) is None


def local_path(path: str) -> str:
    """Return a local path without its `file://`, and with `~` resolved."""
    return str(Path(_SCHEME.sub("", path)).expanduser())


def _remote(path: str) -> tuple[Any, str]:
    """Return the fsspec file system of `path`, and the path as that file system calls it."""
    import fsspec

    scheme = _scheme(path) or ""
    try:
        return cast("tuple[Any, str]", fsspec.core.url_to_fs(path))
    except ImportError as error:
        extra = f'pip install "tamis[{_EXTRAS[scheme]}]"' if scheme in _EXTRAS else str(error)
        msg = f"{path}: the file system {scheme}:// needs a package that isn't installed: {extra}"
        raise InputError(msg) from error
    except ValueError as error:
        msg = f"{path}: no file system is known for {scheme}:// ({error})"
        raise InputError(msg) from error
    except OSError as error:  # a native library that is missing, such as Hadoop's
        msg = f"{path}: the file system {scheme}:// can't be used: {error}"
        raise InputError(msg) from error


def _is_http(path: str) -> bool:
    return _scheme(path) in ("http", "https")


def join(base: str, *parts: str) -> str:
    """Join path parts with single slashes, whatever the file system."""
    path = base
    for part in parts:
        path = f"{path.rstrip('/')}/{part.lstrip('/')}" if path else part
    return path


def exists(path: str) -> bool:
    """Return whether a file or folder of that name exists."""
    if is_local(path):
        return Path(local_path(path)).exists()
    fs, inner = _remote(path)
    return bool(fs.exists(inner))


def make_dirs(path: str) -> None:
    """Create a folder and those above it; does nothing where they exist or the file system has none."""
    if is_local(path):
        Path(local_path(path)).mkdir(parents=True, exist_ok=True)
        return
    fs, inner = _remote(path)
    fs.makedirs(inner, exist_ok=True)


def remove(path: str) -> None:
    """Delete one file; does nothing if it is gone already."""
    if is_local(path):
        Path(local_path(path)).unlink(missing_ok=True)
        return
    fs, inner = _remote(path)
    if fs.exists(inner):
        fs.rm_file(inner)


def remove_tree(path: str) -> None:
    """Delete a folder with all below it; does nothing if it is gone already."""
    if is_local(path):
        folder = Path(local_path(path))
        if folder.exists():
            shutil.rmtree(folder)
        return
    fs, inner = _remote(path)
    if fs.exists(inner):
        fs.rm(inner, recursive=True)


def remove_below(folder: str, *, keep: tuple[str, ...] = ()) -> None:
    """Delete all that a folder holds but the files of some names; does nothing if it is gone already."""
    if not exists(folder):
        return
    if is_local(folder):
        for path in Path(local_path(folder)).iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name not in keep:
                path.unlink()
        return
    fs, inner = _remote(folder)
    for path in fs.ls(inner, detail=False):
        if str(path).rsplit("/", 1)[-1] not in keep:
            fs.rm(path, recursive=True)


def create(path: str, content: bytes) -> bool:
    """Write a small file unless it exists; return whether it was written.

    On stores that have a conditional write, two who ask at once can't both be told yes.
    """
    if is_local(path):
        Path(local_path(path)).parent.mkdir(parents=True, exist_ok=True)
        try:
            with Path(local_path(path)).open("xb") as stream:
                stream.write(content)
        except FileExistsError:
            return False
        return True
    fs, inner = _remote(path)
    try:
        fs.pipe_file(inner, content, mode="create")
    except FileExistsError:
        return False
    except (TypeError, NotImplementedError, ValueError):  # a file system without a conditional write
        if fs.exists(inner):
            return False
        fs.pipe_file(inner, content)
    return True


def _local_info(path: str, shown: str) -> FileInfo:
    status = Path(path).stat()
    # Nobody can set a file's ctime: with it, a file of the same size and time that was written again is told apart.
    told = f"size:{status.st_size} mtime:{status.st_mtime_ns} ctime:{status.st_ctime_ns} inode:{status.st_ino}"
    return FileInfo(shown, status.st_size, told)


def _remote_info(path: str, entry: dict[str, Any]) -> FileInfo:
    size = entry.get("size")
    for key in ("ETag", "etag", "md5Hash", "crc32c", "oid", "blob_id", "checksum"):
        if entry.get(key):
            return FileInfo(path, size, f"{key.lower()}:{str(entry[key]).strip(chr(34))}")
    for key in ("mtime", "LastModified", "last_modified", "updated", "created"):
        if entry.get(key):
            return FileInfo(path, size, f"size:{size} {key.lower()}:{entry[key]}")
    return FileInfo(path, size, f"size:{size}")


@contextmanager
def _sentences(path: str, otherwise: str) -> Iterator[None]:
    """Turn what a file system raises into an `InputError` about `path`."""
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError as error:
        why = f" ({error.__cause__})" if error.__cause__ is not None else ""  # HTTP tells all failures so
        msg = f"{path}: there is no such file{why}"
        raise InputError(msg) from error
    except PermissionError as error:
        msg = f"{path}: no permission to read this file"
        raise InputError(msg) from error
    except IsADirectoryError as error:
        msg = f"{path} is a folder, not a file"
        raise InputError(msg) from error
    except Exception as error:  # each file system has its own kinds of failure
        msg = f"{path} {otherwise}: {type(error).__name__}: {error}"
        raise InputError(msg) from error


def info(path: str) -> FileInfo:
    """Return what the file system knows of one file.

    Raises:
        InputError: if there is no such file, or it can't be asked for.
    """
    with _sentences(path, "can't be reached"):
        if is_local(path):
            local = local_path(path)
            if Path(local).is_dir():
                raise IsADirectoryError(local)
            return _local_info(local, path)
        fs, inner = _remote(path)
        return _remote_info(path, fs.info(inner))


def expand(patterns: str | Iterable[str], *, suffixes: tuple[str, ...] | None = None) -> list[FileInfo]:
    """Return all files that the patterns name, each once, sorted by path.

    Args:
        patterns: a file, a folder (all below it but names that begin with `.` or `_`), a glob (`*`, `?`,
            `[...]`, `**`), a URL, `@list.txt` (a file of such patterns, one a line), or several of these.
        suffixes: of a folder's files, only those whose name ends so; files named otherwise aren't filtered.

    Raises:
        InputError: if a pattern names no file, or a file can't be read.
    """
    files: dict[str, FileInfo] = {}
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        if pattern.startswith("@"):
            with open_binary(pattern[1:]) as stream:
                lines = [line.strip() for line in stream.read().decode().splitlines()]
            found = expand([line for line in lines if line and not line.startswith("#")], suffixes=suffixes)
        elif is_local(pattern):
            found = _expand_local(pattern, suffixes)
        else:
            found = _expand_remote(pattern, suffixes)
        files |= {file.path: file for file in found}
    if not files:
        msg = "no input file is named: give a file, folder, glob or URL"
        raise InputError(msg)
    return [files[path] for path in sorted(files)]


def _wanted(path: str, root: str, suffixes: tuple[str, ...] | None) -> bool:
    parts = path[len(root) :].strip("/").split("/")
    if any(part.startswith((".", "_")) for part in parts):
        return False
    return suffixes is None or parts[-1].lower().endswith(suffixes)


def _expand_local(pattern: str, suffixes: tuple[str, ...] | None) -> list[FileInfo]:
    path = local_path(pattern)
    if Path(path).is_dir():
        names = [str(file) for file in Path(path).rglob("*") if file.is_file()]
        names = [name for name in names if _wanted(name, path, suffixes)]
        if not names:
            raise InputError(_nothing_in(pattern, suffixes))
    elif Path(path).exists():
        names = [path]
    elif glob.has_magic(path):
        matches = glob.glob(path, recursive=True)  # noqa: PTH207  (patterns may be absolute)
        names = [name for name in matches if not Path(name).is_dir()]
        if not names:
            msg = f"no file matches {pattern}: check the folder and the pattern (*, ?, [...] and **)"
            raise InputError(msg)
    else:
        msg = f"{pattern}: there is no such file or folder"
        raise InputError(msg)
    for name in names:
        if not os.access(name, os.R_OK):
            msg = f"{name}: no permission to read this file"
            raise InputError(msg)
    return [_local_info(name, name) for name in names]


def _expand_remote(pattern: str, suffixes: tuple[str, ...] | None) -> list[FileInfo]:
    if _is_http(pattern):  # no listing, and ? is part of an address
        return [info(pattern)]
    fs, inner = _remote(pattern)
    with _sentences(pattern, "can't be listed"):
        if glob.has_magic(inner) and not fs.exists(inner):
            entries = fs.glob(inner, detail=True)
        elif fs.isdir(inner):
            entries = fs.find(inner, detail=True)
            entries = {name: entry for name, entry in entries.items() if _wanted(name, inner, suffixes)}
            if not entries:
                raise InputError(_nothing_in(pattern, suffixes))
        else:
            return [info(pattern)]
    found = [
        _remote_info(str(fs.unstrip_protocol(name)), entry)
        for name, entry in entries.items()
        if entry.get("type") != "directory"
    ]
    if not found:
        msg = f"no file matches {pattern}: check the folder and the pattern"
        raise InputError(msg)
    return found


def _nothing_in(pattern: str, suffixes: tuple[str, ...] | None) -> str:
    if suffixes is None:
        return f"the folder {pattern} holds no file"
    kinds = ", ".join(suffixes)
    return f"the folder {pattern} holds no file of a known kind ({kinds}); name the files with a glob"


class _Resuming(io.RawIOBase):
    """A remote file that is opened again where it was when a read fails on the way."""

    def __init__(self, path: str, open_: Callable[[], Any]):
        super().__init__()
        self._path = path
        self._open = open_
        self._file = open_()
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return bool(self._file.seekable())

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = int(self._file.seek(offset, whence))
        return self._position

    def readinto(self, buffer: Any) -> int:
        data = self._read(len(buffer))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def _read(self, size: int) -> bytes:
        attempt = 1
        while True:
            try:
                return cast("bytes", self._file.read(size))
            except (FileNotFoundError, PermissionError):
                raise
            except Exception as error:  # each file system has its own kinds of network failure
                if attempt == _TRIES or not self._file.seekable():
                    msg = f"{self._path} can't be read at byte {self._position}: {error}"
                    raise OSError(msg) from error
            time.sleep(0.1 * 4**attempt)
            attempt += 1
            self._file = self._open()
            self._file.seek(self._position)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def _open_remote(path: str) -> BinaryIO:
    fs, inner = _remote(path)
    try:
        raw = _Resuming(path, lambda: fs.open(inner, "rb"))
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        with _sentences(path, "can't be opened"):
            raise error
    except OSError:
        raise
    except Exception as error:
        msg = f"{path} can't be opened: {type(error).__name__}: {error}"
        raise OSError(msg) from error
    return cast("BinaryIO", io.BufferedReader(raw, _BUFFER))


def open_binary(path: str, start: int = 0) -> BinaryIO:
    """Open a file for reading bytes, from byte `start` on.

    Remote reads that fail on the way are tried again from where they stopped.

    Raises:
        InputError: if the file is missing, a folder, or not readable.
        OSError: if a remote file system fails for another reason, which may pass.
    """
    if is_local(path):
        with _sentences(path, "can't be opened"):
            stream: BinaryIO = Path(local_path(path)).open("rb", buffering=_BUFFER)  # noqa: SIM115  (the caller's)
    else:
        stream = _open_remote(path)
    if start:
        stream.seek(start)
    return stream


@contextmanager
def write_atomically(path: str) -> Iterator[BinaryIO]:
    """Give a stream whose bytes appear under `path` at once when the block ends, and not at all if it raises.

    Locally that is a temporary file beside it and a rename; on an object store one put of a spooled file;
    elsewhere a put under a temporary name and a rename. Folders above are made.
    """
    if is_local(path):
        target = Path(local_path(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}.tmp")
        try:
            with temporary.open("wb") as stream:
                yield stream
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
        return
    fs, inner = _remote(path)
    with temporary_folder() as folder:
        spooled = folder / "spooled"
        with spooled.open("wb") as stream:
            yield stream
        if _scheme(path) in _OBJECT_STORES:
            fs.put_file(str(spooled), inner)
            return
        parent, _, name = inner.rpartition("/")
        fs.makedirs(parent, exist_ok=True)
        beside = f"{parent}/.{name}.{uuid.uuid4().hex[:8]}.tmp"
        fs.put_file(str(spooled), beside)
        fs.mv(beside, inner)


def sha256(path: str) -> str:
    """Return the SHA-256 of a file's bytes, in hex."""
    with open_binary(path) as stream:
        digest = hashlib.sha256()
        while block := stream.read(_BUFFER):
            digest.update(block)
    return digest.hexdigest()
