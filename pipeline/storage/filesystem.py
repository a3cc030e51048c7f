"""All file access of the program: local paths directly, every other scheme through fsspec.

A path is a plain local path, a `file://` URL, or a URL of any file system that fsspec knows (`gs://`,
`s3://`, `hdfs://`, `hf://`, `https://`, `memory://`). Local paths never import fsspec. Faults that a user can
mend are `InputError`s that name the path.
"""

import functools
import glob
import hashlib
import io
import logging
import os
import shutil
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NoReturn, cast

from tamis.pipeline.storage.remembered import Remembered
from tamis.pipeline.storage.stores import SCHEME, check_reach, client_options, patient, scheme_of, store_fault
from tamis.pipeline.storage.temporary import temporary_folder
from tamis.schemas.errors import InputError, NoFileError
from tamis.schemas.secrets import redacted
from tamis.schemas.wording import install_extra

__all__ = [
    "DOCUMENT_SUFFIXES",
    "FileInfo",
    "Listing",
    "absent",
    "absolute",
    "at_home",
    "below",
    "content",
    "create",
    "exists",
    "expand",
    "fingerprints_below",
    "forget",
    "info",
    "is_local",
    "join",
    "keep",
    "know",
    "local_path",
    "look",
    "looking",
    "make_dirs",
    "names_in",
    "open_binary",
    "relative_to",
    "remove",
    "remove_below",
    "remove_tree",
    "sha256",
    "tells_changes",
    "write_atomically",
]

_BUFFER = 1 << 20
# Extras that bring the file system of a scheme; fsspec names the Python package, the user needs the extra.
_EXTRAS = {"gs": "gcp", "gcs": "gcp", "s3": "aws", "s3a": "aws", "abfs": "azure", "abfss": "azure", "az": "azure"}
# A put on these replaces the object in one step; elsewhere a rename does.
_OBJECT_STORES = frozenset({"gs", "gcs", "s3", "s3a", "abfs", "abfss", "az", "hf", "memory", "oss"})
_TRIES, _WAIT = 4, 0.1
DOCUMENT_SUFFIXES = (".txt", ".text", ".md", ".markdown", ".html", ".htm", ".xhtml")
"""Suffixes of files that are one document each."""
DESCRIPTIONS = frozenset({
    "croissant.json", "datapackage.json", "dataset_dict.json", "dataset_info.json", "dataset_infos.json",
    "manifest.json", "metadata.json", "provenance.json", "state.json",
})  # fmt: skip
"""Names of files that describe the data beside them: of the hub, Croissant, Frictionless and others."""
_PACKED = frozenset({".gz", ".gzip", ".zst", ".zstd", ".bz2", ".xz", ".lz4"})
_NOWHERE = "link to nothing"
RUN_MARKS = ("work/tamis-run", "manifest.json")
"""Files by which a run's folder is known, that it may not be read as input by mistake."""
_LOG = logging.getLogger("tamis")
_REMEMBERED = Remembered()
_PIECE, _GLANCE = 16 << 20, 1 << 20
"""Bytes of a remote file that one request fetches: of one that is read, and of one that is looked at."""
_MOST_TOLD = 256
"""Names that workers are told of one folder, at most: they travel with every pass."""
_WHOLE: set[str] = set()
"""Files by HTTP that come whole, since their servers ignore ranges, or don't tell how long they are."""
_IGNORED_RANGE = "doesn't appear to support range requests"
_LOOKED_AT: ContextVar[dict[str, Any] | None] = ContextVar("looked_at", default=None)
_FOLDERS: ContextVar[tuple[str, ...]] = ContextVar("folders", default=())
"""Where relative local paths are looked up, the first one that has them; the working folder alone if there is none."""


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


def is_local(path: str) -> bool:
    """Return whether `path` lies on a file system of this machine."""
    return scheme_of(path) is None


@contextmanager
def relative_to(folders: Iterable[str]) -> Iterator[None]:
    """Look relative local paths up in some folders, in their order, while the block runs.

    So paths keep the names that a config gives them, wherever a worker stands; of none the first folder is taken.
    """
    token = _FOLDERS.set(tuple(folders))
    try:
        yield
    finally:
        _FOLDERS.reset(token)


def at_home(path: str) -> Path:
    """Return a path with `~` and `~name` resolved; of no user's home, it is a file's own name."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def local_path(path: str) -> str:
    """Return a local path without its `file://`, with `~` resolved, and looked up as `relative_to` says."""
    plain = str(at_home(SCHEME.sub("", path)))
    folders = _FOLDERS.get()
    if not folders or Path(plain).is_absolute():
        return plain
    places = [str(Path(folder) / plain) for folder in folders]
    return next((place for place in places if os.path.lexists(place)), places[0])


def absolute(path: str) -> str:
    """Return a path that means the same wherever a worker stands."""
    return str(Path(local_path(path)).absolute()) if is_local(path) else path


def _remote(path: str) -> tuple[Any, str]:
    """Return the fsspec file system of `path`, and the path as that file system calls it."""
    import fsspec

    scheme = scheme_of(path) or ""
    check_reach(path)
    try:
        fs, inner = fsspec.core.url_to_fs(path, **client_options(path))
    except ImportError as error:
        extra = install_extra(_EXTRAS[scheme]) if scheme in _EXTRAS else str(error)
        msg = f"{path}: the file system {scheme}:// needs a package that isn't installed: {extra}"
        raise InputError(msg) from error
    except ValueError as error:
        msg = f"{path}: no file system is known for {scheme}:// ({error})"
        raise InputError(msg) from error
    except OSError as error:  # a native library that is missing, such as Hadoop's
        msg = f"{path}: the file system {scheme}:// can't be used: {error}"
        raise InputError(msg) from error
    return patient(path, fs), inner


def _is_http(path: str) -> bool:
    return scheme_of(path) in ("http", "https")


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
    with _asked(path):
        try:
            return bool(fs.exists(inner))
        except ValueError as error:  # an address that this file system can't have
            msg = f"{path}: {error}"
            raise InputError(msg) from _cause(path, error)


def _entries(path: str, *, deep: bool) -> dict[str, dict[str, Any]]:
    """Return what a store says of each name below a remote folder, folders among them.

    Asked for anew, and not kept: a listing that file systems hold back would hide what other processes write.
    """
    fs, inner = _remote(path)
    root = inner.rstrip("/")
    with _asked(path):
        fs.invalidate_cache(root)
        try:
            entries = fs.find(root, detail=True).values() if deep else fs.ls(root, detail=True)
        except FileNotFoundError:
            return {}
        finally:
            fs.invalidate_cache(root)
    found = {}
    for entry in entries:
        name = str(entry["name"]).rstrip("/").rpartition(f"{root.strip('/')}/")[2]
        if name and not name.startswith("/"):
            found[name] = entry
    return found


def _listing(path: str, *, deep: bool) -> dict[str, int]:
    """Return the names below a remote folder with the files' sizes; folders among them have size -1."""
    return {
        name: -1 if entry.get("type") == "directory" else int(entry.get("size") or 0)
        for name, entry in _entries(path, deep=deep).items()
    }


def names_in(folder: str) -> set[str]:
    """Return the names of the files and folders in a folder, by one request; none where there is no such folder."""
    if is_local(folder):
        path = Path(local_path(folder))
        return {entry.name for entry in path.iterdir()} if path.is_dir() else set()
    return set(_listing(folder, deep=False))


def below(folder: str) -> dict[str, int]:
    """Return the files below a folder, relative to it, with their sizes in bytes; one request for a thousand."""
    if is_local(folder):
        root = Path(local_path(folder))
        names = _below(str(root)) if root.is_dir() else []
        return {name: (root / name).stat().st_size for name in names if (root / name).exists()}
    return {name: size for name, size in _listing(folder, deep=True).items() if size >= 0}


def fingerprints_below(folder: str) -> dict[str, str]:
    """Return the files below a folder, relative to it, with their fingerprints; one request for a thousand."""
    if is_local(folder):
        root = Path(local_path(folder))
        return {name: _local_info(str(root / name), name).fingerprint for name in below(folder)}
    entries = _entries(folder, deep=True)
    return {n: _remote_info(n, entry).fingerprint for n, entry in entries.items() if entry.get("type") != "directory"}


@dataclass(frozen=True)
class Listing:
    """What folders on stores held when a run began, for workers that would have to ask.

    Attributes:
        mark: unique to the run.
        folders: each with its names.
    """

    mark: str
    folders: tuple[tuple[str, tuple[str, ...]], ...]


def look(folders: Iterable[str]) -> Listing:
    """List remote folders that a run is about to fill, one request each, and remember it; return what others may know.

    From then on `absent` knows of all that they hadn't.
    """
    told = []
    for folder in dict.fromkeys(folders):
        if not is_local(folder):
            names = names_in(folder)
            _REMEMBERED.list(folder, names)
            if len(names) <= _MOST_TOLD:
                told.append((folder, tuple(sorted(names))))
    _REMEMBERED.mark = uuid.uuid4().hex
    return Listing(_REMEMBERED.mark, tuple(told))


def know(listing: Listing) -> None:
    """Take what another process found when its run began; what is remembered of an earlier run is forgotten."""
    if _REMEMBERED.mark == listing.mark:
        return
    _REMEMBERED.clear()
    for folder, names in listing.folders:
        _REMEMBERED.list(folder, set(names))
    _REMEMBERED.mark = listing.mark


def absent(path: str) -> bool:
    """Return whether a file is known not to be there, by what folders held when the run began: nobody is asked.

    Only for files that would be made again for nothing at worst: one that another process has written since then counts
    as absent. Local files are asked for themselves.
    """
    if is_local(path):
        return not Path(local_path(path)).exists()
    return _REMEMBERED.absent(path)


def forget() -> None:
    """Forget what is remembered of remote files: a run begins, and others may have written since the last one."""
    _REMEMBERED.clear()


def content(path: str) -> bytes | None:
    """Return a file's bytes, by one request; None if there is no such file.

    Raises:
        InputError: if it can't be read, or there is no such bucket.
        OSError: if a remote file system fails for a reason that may pass.
    """
    if is_local(path):
        try:
            with open_binary(path) as stream:
                return stream.read()
        except InputError:
            if Path(local_path(path)).exists():
                raise
            return None
    known = _REMEMBERED.content(path)
    if known is not None:
        return known
    fs, inner = _remote(path)
    # S3's would ask for the size first, to fetch what is large in parts at once.
    more = {"max_concurrency": 1} if scheme_of(path) in ("s3", "s3a") else {}
    with _asked(path):
        try:
            return cast("bytes", fs.cat_file(inner, **more))
        except FileNotFoundError as error:
            told = store_fault(path, error)  # such as that there is no such bucket
            if told is not None:
                raise InputError(told) from error
            return None


def keep(path: str, found: bytes) -> None:
    """Remember the bytes of a remote file that never changes, and that proved to be whole."""
    if not is_local(path):
        _REMEMBERED.keep(path, found)


def make_dirs(path: str) -> None:
    """Create a folder and those above it; does nothing where they exist or the file system has none."""
    if is_local(path):
        Path(local_path(path)).mkdir(parents=True, exist_ok=True)
        return
    if scheme_of(path) in _OBJECT_STORES:  # they have none, and asking might make a bucket
        return
    fs, inner = _remote(path)
    with _asked(path):
        fs.makedirs(inner, exist_ok=True)


def remove(path: str) -> None:
    """Delete one file; does nothing if it is gone already."""
    if is_local(path):
        Path(local_path(path)).unlink(missing_ok=True)
        return
    fs, inner = _remote(path)
    _REMEMBERED.removed(path)
    with _asked(path), suppress(FileNotFoundError):
        fs.rm_file(inner)


def remove_tree(path: str) -> None:
    """Delete a folder with all below it; does nothing if it is gone already."""
    if is_local(path):
        folder = Path(local_path(path))
        if folder.exists():
            shutil.rmtree(folder)
        return
    fs, inner = _remote(path)
    _REMEMBERED.removed(path)
    with _asked(path):
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
    _REMEMBERED.removed(folder)
    with _asked(folder):
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
    with _asked(path):
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


def tells_changes(fingerprint: str) -> bool:
    """Return whether a fingerprint changes when a file's content does; where it doesn't, the content has to be read."""
    return " " in fingerprint or not fingerprint.startswith("size:")


def _remote_info(path: str, entry: dict[str, Any]) -> FileInfo:
    size = entry.get("size")
    if _is_http(path):
        # Each alone can stay what it is while the content changes: weak ETags do, and times have whole seconds.
        names = ("ETag", "Content-MD5", "Digest", "Last-Modified")
        told = [f"{name.lower()}:{str(entry[name]).replace(chr(34), '')}" for name in names if entry.get(name)]
        return FileInfo(path, size, " ".join([f"size:{size}", *told]))
    for key in ("ETag", "etag", "md5Hash", "crc32c", "oid", "blob_id", "checksum", "Content-MD5", "Digest"):
        if entry.get(key):
            return FileInfo(path, size, f"{key.lower()}:{str(entry[key]).strip(chr(34))}")
    for key in ("mtime", "LastModified", "last_modified", "Last-Modified", "updated", "created"):
        if entry.get(key):
            return FileInfo(path, size, f"size:{size} {key.lower()}:{entry[key]}")
    return FileInfo(path, size, f"size:{size}")


@contextmanager
def _asked(path: str) -> Iterator[None]:
    """Turn what a remote store raises, but for a file that is missing or in the way, into one sentence about `path`."""
    try:
        yield
    except (InputError, FileExistsError, TypeError, NotImplementedError, ValueError):
        raise
    except Exception as error:
        told = store_fault(path, error)
        if told is not None:
            raise InputError(told) from _cause(path, error)
        if isinstance(error, OSError):
            raise
        msg = f"{path}: the store refuses this: {type(error).__name__}: {error}"
        raise InputError(msg) from _cause(path, error)


def _cause(path: str, error: Exception) -> Exception | None:
    """Return what may be shown as an error's cause: nothing where the address has credentials, which it would tell."""
    return error if redacted(path) == path else None


@contextmanager
def _sentences(path: str, otherwise: str) -> Iterator[None]:
    """Turn what a file system raises into an `InputError` about `path`."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # noqa: BLE001  (each file system has its own kinds of failure)
        told = None if is_local(path) or _is_http(path) else store_fault(path, error)
        if told is None:
            _tell(path, error, otherwise)
        raise InputError(told) from _cause(path, error)


def _tell(path: str, error: Exception, otherwise: str) -> NoReturn:
    """Raise an `InputError` about what happened to one file."""
    kind = InputError
    try:
        raise error
    except FileNotFoundError:
        msg = f"{path}: there is no such file"
        if error.__cause__ is None or getattr(error.__cause__, "status", None) == 404:
            kind = NoFileError
        if error.__cause__ is not None:  # HTTP tells all failures so
            msg = f"{path} can't be reached: {error.__cause__}"
            if getattr(error.__cause__, "status", None) == 404:
                msg = f"{path}: there is no such file (404)"
        if is_local(path) and Path(local_path(path)).is_symlink():
            target = Path(local_path(path)).readlink()
            msg = f"{path} is a link to nothing ({target}): restore what it leads to, or remove the link"
        raise kind(msg) from _cause(path, error)
    except PermissionError:
        msg = f"{path}: no permission to read this file"
        raise InputError(msg) from error
    except IsADirectoryError:
        msg = f"{path} is a folder, not a file"
        raise InputError(msg) from error
    except Exception:  # noqa: BLE001  (each file system has its own kinds of failure)
        msg = f"{path} {otherwise}: {type(error).__name__}: {error}"
        raise InputError(msg) from _cause(path, error)


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
        fs.invalidate_cache(fs._parent(inner))  # a listing that was made before hides what changed since
        return _remote_info(path, fs.info(inner))


def expand(
    patterns: str | Iterable[str],
    *,
    suffixes: tuple[str, ...] | None = None,
    notice: Callable[[str], None] = _LOG.warning,
) -> list[FileInfo]:
    """Return all files that the patterns name, each once, sorted by path.

    Args:
        patterns: a file, a folder (all below it but names that begin with `.` or `_`), a glob (`*`, `?`,
            `[...]`, `**`) of files and folders, a URL, `@list.txt` (a file of such patterns, one a line), or several
            of these. Links are followed; one that leads nowhere is a file that can't be read.
        suffixes: of a folder's files, only those whose name ends so, but no descriptions of a data set
            (`dataset_infos.json`); files named otherwise aren't filtered. Documents
            that are a file each (`.txt`, `.md`, `.html`) are taken from folders that hold nothing else: beside files
            of records they are a README, not data.
        notice: called with a sentence for each folder of which files are left out for their suffix.

    Raises:
        InputError: if a pattern names no file, or a file can't be read.
    """
    files: dict[str, FileInfo] = {}
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        if pattern.startswith("@"):
            with open_binary(pattern[1:]) as stream:
                lines = [line.strip() for line in stream.read().decode().splitlines()]
            listed = [line for line in lines if line and not line.startswith("#")]
            found = expand(listed, suffixes=suffixes, notice=notice)
        elif is_local(pattern):
            found = _expand_local(pattern, suffixes, notice)
        else:
            found = _expand_remote(pattern, suffixes, notice)
        files |= {file.path: file for file in found}
    if not files:
        msg = "no input file is named: give a file, folder, glob or URL"
        raise InputError(msg)
    for path in files:
        if not path.isprintable() and any("\ud800" <= character <= "\udfff" for character in path):
            msg = f"{path}: its name isn't UTF-8, which manifests are in: rename the file"
            raise InputError(msg)
    return [files[path] for path in sorted(files)]


def _wanted(
    folder: str, names: Iterable[str], suffixes: tuple[str, ...] | None, notice: Callable[[str], None]
) -> list[str]:
    """Return the names below a folder that are read.

    Args:
        folder: for the notice.
        names: of its files, relative to it.
        suffixes: see `expand`.
        notice: see `expand`.
    """
    every = list(names)
    runs = _runs(every)
    if "" in runs:
        msg = f"{folder} is a run's folder: its documents are in {join(folder, 'selected')}"
        raise InputError(msg)
    if runs:
        told = "a run's folder is" if len(runs) == 1 else f"{len(runs):,} folders of runs are"
        notice(f"{redacted(folder)}: {told} left out, such as {join(redacted(folder), min(runs))}")
        every = [name for name in every if not name.startswith(tuple(runs))]
    shown = [name for name in every if not any(part.startswith((".", "_")) for part in name.split("/"))]
    if suffixes is None:
        return shown
    known = [name for name in shown if name.lower().endswith(suffixes) and _file_of(name) not in DESCRIPTIONS]
    records = [name for name in known if not _is_document(name)]
    wanted = records or known
    kept = set(wanted)
    left_out = Counter(_suffix(name) for name in shown if name not in kept)
    if wanted and left_out:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(left_out.items()))
        count = left_out.total()
        files = "1 file is" if count == 1 else f"{count:,} files are"
        notice(f"{redacted(folder)}: {files} left out, of kinds that aren't read from a folder of data: {kinds}")
    return wanted


def _runs(names: Iterable[str]) -> set[str]:
    """Return the folders, with a slash behind them, that runs were written to, among files below a folder; "": itself.

    They have the mark of a work folder, or a manifest beside shards.
    """
    known = set(names)
    found = {name.removesuffix(mark) for mark in RUN_MARKS for name in known if f"/{name}".endswith(f"/{mark}")}
    shards = {name.rpartition("errors/part-")[0] for name in known if "errors/part-" in name}
    return {root for root in found if f"{root}{RUN_MARKS[0]}" in known or root in shards}


def _file_of(name: str) -> str:
    """Return the last part of a name, in small letters."""
    return name.rpartition("/")[2].lower()


def _is_document(name: str) -> bool:
    """Return whether a file is a document by itself, by its suffix before that of compression."""
    name = name.lower()
    stem, _, last = name.rpartition(".")
    return name.endswith(DOCUMENT_SUFFIXES) or (f".{last}" in _PACKED and stem.endswith(DOCUMENT_SUFFIXES))


def _suffix(name: str) -> str:
    """Return the suffix of a name as people say it: `.tar.gz`, `.zip`, or `without suffix`."""
    if _file_of(name) in DESCRIPTIONS:
        return _file_of(name)
    suffixes = PurePosixPath(name.lower()).suffixes
    if not suffixes:
        return "without suffix"
    return "".join(suffixes[-2:]) if suffixes[-1] in _PACKED and len(suffixes) > 1 else suffixes[-1]


def _below(folder: str) -> list[str]:
    """Return the files below a local folder, relative to it; linked folders are entered, but never one above."""
    names: list[str] = []

    def enter(inner: str, above: frozenset[str]) -> None:
        real = os.path.realpath(Path(folder) / inner)
        if real in above:
            return
        with os.scandir(Path(folder) / inner) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                name = f"{inner}/{entry.name}" if inner else entry.name
                if entry.is_dir():
                    enter(name, above | {real})
                elif entry.is_file() or entry.is_symlink():  # the second: a link that leads nowhere
                    names.append(name)

    enter("", frozenset())
    return names


def _in_folder(folder: str, shown: str, suffixes: tuple[str, ...] | None, notice: Callable[[str], None]) -> list[str]:
    """Return the paths of the files below a local folder that are read."""
    with _sentences(shown, "can't be listed"):
        names = _below(folder)
    wanted = _wanted(shown, names, suffixes, notice)
    return [str(Path(folder) / name) for name in wanted]


def _expand_local(pattern: str, suffixes: tuple[str, ...] | None, notice: Callable[[str], None]) -> list[FileInfo]:
    plain = str(at_home(SCHEME.sub("", pattern)))
    folders = _FOLDERS.get()
    roots: tuple[str, ...] = folders if folders and not Path(plain).is_absolute() else ("",)
    for root in roots:
        path = str(Path(root) / plain)
        names = _matches(path, pattern, suffixes, notice)
        if names is not None:
            break
    else:
        msg = f"{pattern}: there is no such file or folder"
        if "$" in pattern:
            msg += "; an environment variable is written ${NAME}"
        if "{" in plain and "}" in plain:
            msg += "; braces stand for themselves: give a list of paths"
        elif glob.has_magic(plain):
            msg = f"no file matches {pattern}: check the folder and the pattern (*, ?, [...] and **)"
        raise NoFileError(msg)
    found = []
    for name in names:
        shown = name.removeprefix(root.rstrip("/") + "/") if root else name
        if not Path(name).exists():  # its reader says so, for an input may take files that can't be read as errors
            found.append(FileInfo(shown, None, _NOWHERE))
            continue
        if not os.access(name, os.R_OK):
            msg = f"{shown}: no permission to read this file"
            raise InputError(msg)
        found.append(_local_info(name, shown))
    return found


def _matches(
    path: str, pattern: str, suffixes: tuple[str, ...] | None, notice: Callable[[str], None]
) -> list[str] | None:
    """Return the files that a local path means: itself, those of a folder, or what a glob matches; None if nothing."""
    if Path(path).is_dir():
        names = _in_folder(path, pattern, suffixes, notice)
        if not names:
            raise NoFileError(_nothing_in(pattern, suffixes))
        return names
    if Path(path).exists() or Path(path).is_symlink():
        return [path]
    if not glob.has_magic(path):
        return None
    matches = sorted(glob.glob(path, recursive=True))  # noqa: PTH207  (patterns may be absolute)
    if "**" in path:
        matches = _outside_runs(matches, path.partition("**")[0], notice)
    names = [name for name in matches if not Path(name).is_dir()]
    last = PurePosixPath(path).name
    for name in matches:
        # A folder that matches is read as one that is named; what a ** matches on its way has its own files.
        if Path(name).is_dir() and "**" not in last and not Path(name).name.startswith((".", "_")):
            names += _in_folder(name, name, suffixes, notice)
    return names or None


def _outside_runs(matches: list[str], above: str, notice: Callable[[str], None]) -> list[str]:
    """Return what a `**` matched without the folders of runs that lie below where it begins, and what is in them."""
    runs: dict[str, bool] = {}

    def in_run(folder: str) -> bool:
        if len(folder) < len(above):
            return False
        if folder not in runs:
            work, manifest = (Path(folder) / mark for mark in RUN_MARKS)
            made = work.exists() or (manifest.exists() and (Path(folder) / "errors").is_dir())
            runs[folder] = made or in_run(os.path.dirname(folder))  # noqa: PTH120  (names as they are written)
        return runs[folder]

    kept = [name for name in matches if not in_run(name if Path(name).is_dir() else os.path.dirname(name))]  # noqa: PTH120
    if len(kept) < len(matches):
        notice(f"{above}**: the files of runs are left out; name a run's folder `selected` to read what it selected")
    return kept


def _expand_remote(pattern: str, suffixes: tuple[str, ...] | None, notice: Callable[[str], None]) -> list[FileInfo]:
    if _is_http(pattern):  # no listing, and ? is part of an address
        return [info(pattern)]
    fs, inner = _remote(pattern)

    def below(folder: str, shown: str) -> dict[str, Any]:
        listed = {
            name.removeprefix(folder.rstrip("/") + "/"): (name, entry)
            for name, entry in fs.find(folder, detail=True).items()
        }
        return dict(listed[name] for name in _wanted(shown, sorted(listed), suffixes, notice))

    with _sentences(pattern, "can't be listed"):
        if glob.has_magic(inner) and not fs.exists(inner):
            entries = {}
            for name, entry in fs.glob(inner, detail=True).items():
                if entry.get("type") != "directory":
                    entries[name] = entry
                elif "**" not in inner.rpartition("/")[2]:
                    entries |= below(name, str(fs.unstrip_protocol(name)))
        else:
            entry = fs.info(inner)
            if entry.get("type") != "directory":
                return [_remote_info(pattern, entry)]
            entries = below(inner, pattern)
            if not entries:
                raise NoFileError(_nothing_in(pattern, suffixes))
    found = [
        _remote_info(str(fs.unstrip_protocol(name)), entry)
        for name, entry in entries.items()
        if entry.get("type") != "directory"
    ]
    if not found:
        root = inner.strip("/").partition("/")[0]
        msg = f"no file matches {pattern}: check the folder and the pattern"
        if scheme_of(pattern) in _OBJECT_STORES and not glob.has_magic(root) and not fs.exists(root):
            msg = f"no file matches {pattern}: there is no bucket {root}, or no permission to list it"
            raise InputError(msg)
        raise NoFileError(msg)
    return found


def _nothing_in(pattern: str, suffixes: tuple[str, ...] | None) -> str:
    if suffixes is None:
        return f"the folder {pattern} holds no file"
    kinds = ", ".join(suffix for suffix in suffixes if suffix.count(".") == 1)
    return (
        f"the folder {pattern} holds no file of a known kind ({kinds}, also compressed); "
        "name the files with a glob and set `format:`"
    )


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
            except Exception as error:  # noqa: BLE001  (each file system has its own kinds of network failure)
                if _IGNORED_RANGE in str(error) and self._path not in _WHOLE:
                    self._fetch_whole()
                    continue
                if attempt == _TRIES or not self._file.seekable():
                    msg = f"{redacted(self._path)} can't be read at byte {self._position}: {redacted(str(error))}"
                    raise OSError(msg) from _cause(self._path, error)
            time.sleep(_WAIT * 4**attempt)
            attempt += 1
            self._file = self._open()
            self._file.seek(self._position)

    def _fetch_whole(self) -> None:
        """Go on where it was with a copy: the server ignores which part of a file is asked for."""
        _WHOLE.add(self._path)
        (_LOOKED_AT.get() or {}).pop(self._path, None)
        self._file.close()
        self._file = self._open()
        self._file.seek(self._position)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


class _Lent:
    """A remote file that several readers use one after the other: closing leaves it open."""

    def __init__(self, file: Any):
        self._file = file
        file.seek(0)

    def read(self, size: int) -> Any:
        return self._file.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> Any:
        return self._file.seek(offset, whence)

    def seekable(self) -> bool:
        return bool(self._file.seekable())

    def close(self) -> None:
        """The file is `looking`'s."""


@contextmanager
def looking() -> Iterator[None]:
    """Open each remote file once while the block runs, whoever asks for it, and fetch it in smaller pieces.

    For looking at what a file is: its beginning, or its end, several times over.
    """
    files: dict[str, Any] = {}
    token = _LOOKED_AT.set(files)
    try:
        yield
    finally:
        _LOOKED_AT.reset(token)
        for file in files.values():
            file.close()


class _Pieces:
    """A file on an object store that comes in pieces; one that isn't larger than a piece takes one request in all."""

    def __init__(self, fs: Any, inner: str, piece: int):
        self._open: Callable[[], Any] = functools.partial(fs.open, inner, "rb", block_size=piece)
        self._first: bytes = fs.cat_file(inner, start=0, end=piece)
        self._whole = len(self._first) < piece
        self._position = 0
        self._rest: Any = None

    def _file(self) -> Any:
        if self._rest is None:
            self._rest = self._open()
        return self._rest

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        begin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position}.get(whence)
        if begin is None:
            begin = len(self._first) if self._whole else int(self._file().seek(0, io.SEEK_END))
        self._position = begin + offset
        return self._position

    def read(self, size: int) -> bytes:
        data = self._first[self._position : self._position + size]
        if not data and not self._whole:
            file = self._file()
            file.seek(self._position)
            data = file.read(size)
        self._position += len(data)
        return data

    def close(self) -> None:
        if self._rest is not None:
            self._rest.close()


def _fetched(fs: Any, inner: str) -> Any:
    """Return a remote file as a local copy without a name, which goes when it is closed."""
    with temporary_folder() as folder:
        copy = folder / "fetched"
        fs.get_file(inner, str(copy))
        return copy.open("rb")


def _opened(path: str, fs: Any, inner: str) -> Any:
    """Open a remote file; from an object store it comes in pieces so large that requests don't cost more than bytes."""
    files = _LOOKED_AT.get()
    if files is not None and path in files:
        return _Lent(files[path])
    file: Any
    if scheme_of(path) in _OBJECT_STORES - {"memory", "hf"}:
        try:
            file = _Pieces(fs, inner, _PIECE if files is None else _GLANCE)
        except (FileNotFoundError, PermissionError):
            raise
        except Exception:  # noqa: BLE001  (an empty file has no first byte, and each store says so in its own way)
            file = fs.open(inner, "rb")
    elif path in _WHOLE:
        file = _fetched(fs, inner)
    else:
        file = fs.open(inner, "rb")
        if _is_http(path) and type(file).__name__ == "HTTPStreamFile":  # of a length that nobody told, or without parts
            file.close()
            _WHOLE.add(path)
            file = _fetched(fs, inner)
    if files is None or not file.seekable():
        return file
    files[path] = file
    return _Lent(file)


def _open_remote(path: str) -> BinaryIO:
    fs, inner = _remote(path)
    try:
        with _asked(path):
            raw = _Resuming(path, lambda: _opened(path, fs, inner))
    except InputError:
        raise
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        with _sentences(path, "can't be opened"):
            raise error
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001  (each file system has its own kinds of failure)
        msg = f"{redacted(path)} can't be opened: {type(error).__name__}: {redacted(str(error))}"
        raise OSError(msg) from _cause(path, error)
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
def write_atomically(path: str, *, keep: bool = False) -> Iterator[BinaryIO]:
    """Give a stream whose bytes appear under `path` at once when the block ends, and not at all if it raises.

    Locally that is a temporary file beside it and a rename; on an object store one put of a spooled file;
    elsewhere a put under a temporary name and a rename. Folders above are made.

    Args:
        path: the file.
        keep: remember what was written to a remote store: a work file, which a later pass will read.
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
        with _asked(path):
            _REMEMBERED.written(path)
            if scheme_of(path) in _OBJECT_STORES:
                fs.put_file(str(spooled), inner)
            else:
                parent, _, name = inner.rpartition("/")
                fs.makedirs(parent, exist_ok=True)
                beside = f"{parent}/.{name}.{uuid.uuid4().hex[:8]}.tmp"
                fs.put_file(str(spooled), beside)
                fs.mv(beside, inner)
        if keep and spooled.stat().st_size <= _REMEMBERED.largest:
            _REMEMBERED.keep(path, spooled.read_bytes())


def sha256(path: str) -> str:
    """Return the SHA-256 of a file's bytes, in hex."""
    with open_binary(path) as stream:
        digest = hashlib.sha256()
        while block := stream.read(_BUFFER):
            digest.update(block)
    return digest.hexdigest()
