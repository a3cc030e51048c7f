"""Where the machine code of kernels is kept between processes, and when it is no longer right.

Numba's own cache stamps a function with the digest of its own file, so that a change of a helper in another file leaves
old machine code in use. Here the folder's name has the digest of *all* sources that kernels are made of: any change of
one gives another, empty folder. A file in it is named by everything else that decides about the code (argument types,
processor, versions of Python, Numba and llvmlite), carries its own digest, and appears whole or not at all, so that any
number of processes may share it.

Looked at, in this order: Numba's own setting NUMBA_CACHE_DIR; the `__pycache__` of the package; `$TAMIS_CACHE`, else
`tamis` in the user's cache folder; a private folder in the system's temporary one. What is found in one of them is used
though it may be read-only, as in an image that was warmed by another user; what is compiled is written to the first
that takes it. Folders of other digests are removed, but for the last ones in use: two versions of the code that take
turns don't hinder each other, and a process whose folder is gone compiles again.

A package other than Tamis that has kernels gets a folder of its own, by the digest of its sources and of these here.
"""

import contextlib
import functools
import hashlib
import inspect
import os
import pickle
import platform
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numba
from numba.core import sigutils
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

from tamis.scorers.kernels.numba_start import start_numba

__all__ = ["MachineCode", "machine_code_folder"]

KEPT = 2
"""Folders of other digests that stay: those used last."""

_HERE = Path(__file__).resolve().parent
_TAMIS = _HERE.parent
_MARK = b"kernels.jit"
"""What a source with kernels has in it: the import of their decorators."""

_Stamp = tuple[int, int]
_IMPORTED: dict[Path, _Stamp] = {}
"""Time and size of each source with kernels when it was imported."""


class MachineCode:
    """Keeps the machine code of one function: what a Numba dispatcher expects of its cache.

    Attributes:
        name: module and function.
        compiled: number of signatures compiled by this process.
        loaded: number of signatures read.
    """

    def __init__(self, function: Callable[..., Any], *, owns: bool):
        """Note whose code it is; nothing is read before the first call.

        Args:
            function: the Python function.
            owns: whether it may own arrays, so that it may return some.
        """
        self.name = f"{function.__module__}.{function.__qualname__}"
        self.compiled = 0
        self.loaded = 0
        self._owns = owns
        self._module = function.__module__
        code = function.__code__
        self._code = hashlib.sha256(code.co_code).hexdigest()
        self._line = code.co_firstlineno
        self._path = Path(inspect.getfile(function)).resolve()
        with contextlib.suppress(OSError):  # a notebook's cell is no file
            _IMPORTED.setdefault(self._path, _stamp(self._path))

    @property
    def cache_path(self) -> str | None:
        """The first folder that is looked at."""
        folders = self._folders()
        return str(folders[0]) if folders else None

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the compiled function for these argument types, None if there is none or a damaged one."""
        start_numba()
        target_context.refresh()
        name = self._file(sig, target_context.codegen())
        for folder in self._folders():
            try:
                data = (folder / name).read_bytes()
            except OSError:
                continue
            if hashlib.sha256(data[32:]).digest() == data[:32]:
                self.loaded += 1
                return CompileResult._rebuild(target_context, *pickle.loads(data[32:]))  # noqa: S301  # our own file
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep a newly compiled function; where no folder can be written to, it lives as long as the process.

        Raises:
            TypeError: if the function returns arrays though it is compiled without reference counting.
        """
        self.compiled += 1
        result = data.signature.return_type
        if not self._owns and data.target_context.data_model_manager[result].contains_nrt_meminfo():
            msg = f"{self.name} returns {result}: a helper or lean_kernel can't return arrays, make it a kernel"
            raise TypeError(msg)
        if data.lifted or data.library.has_dynamic_globals:
            return
        payload = dumps(data._reduce())
        name = self._file(sig, data.codegen)
        for folder in self._folders():
            if _write(folder, name, hashlib.sha256(payload).digest() + payload):
                return

    def enable(self) -> None:
        """Do nothing: part of what a dispatcher expects."""

    def disable(self) -> None:
        """Do nothing: part of what a dispatcher expects."""

    def flush(self) -> None:
        """Remove what is kept of this function in the first folder."""
        for folder in self._folders()[:1]:
            for path in folder.glob(f"{self._prefix}.*"):
                path.unlink(missing_ok=True)

    @property
    def _prefix(self) -> str:
        name = self.name.replace("<", "").replace(">", "")
        return f"{name[-100:]}-{self._line}"

    def _file(self, sig: Any, codegen: Any) -> str:
        arguments, result = sigutils.normalize_signature(sig)
        versions = (
            numba.__version__,
            sys.modules["llvmlite"].__version__,
            platform.python_version(),
            sys.implementation.cache_tag,
        )
        key = repr((str(arguments), str(result), codegen.magic_tuple(), versions, self._code))
        return f"{self._prefix}.{hashlib.sha256(key.encode()).hexdigest()[:32]}"

    def _folders(self) -> tuple[Path, ...]:
        sources = _sources(self._module, self._path)
        return sources.folders if sources.unchanged() else ()


def machine_code_folder() -> str | None:
    """Return the folder that holds or will hold the machine code of Tamis's own kernels; None if there is none."""
    for folder in _tamis().folders:
        if folder.is_dir():
            return str(folder)
    return None


class _Sources:
    """The sources that the kernels of one package are made of, as they are when the first of them is needed."""

    def __init__(self, package: str, files: list[Path], base: Path, below: "_Sources | None"):
        self.stamps: dict[Path, _Stamp] = {}
        self._below = below
        total = hashlib.sha256(b"" if below is None else below.digest.encode())
        for path in files:
            with contextlib.suppress(OSError):
                stamp, data = _stamp(path), path.read_bytes()
                if _MARK in data or path.parent == _HERE:
                    self.stamps[path] = stamp
                    name = path.relative_to(base).as_posix().encode()
                    total.update(b"%d %s %d " % (len(name), name, len(data)) + data)
        self.digest: str = total.hexdigest()[:32]
        self.folders = tuple(_folders(package, self.digest, base)) if self.stamps else ()
        for folder in self.folders:
            with contextlib.suppress(OSError):
                os.utime(folder)  # the order of use, by which old ones are removed

    def unchanged(self) -> bool:
        """Tell whether all that was imported is what was digested: else code of one state bore another's digest."""
        if self._below is not None and not self._below.unchanged():
            return False
        return all(_IMPORTED.get(path, stamp) == stamp for path, stamp in self.stamps.items())


def _stamp(path: Path) -> _Stamp:
    state = path.stat()
    return state.st_mtime_ns, state.st_size


@functools.cache
def _tamis() -> _Sources:
    return _Sources("tamis", sorted(_TAMIS.rglob("*.py")), _TAMIS, None)


@functools.cache
def _package(name: str, folder: Path, whole: bool) -> _Sources:
    """Return the sources of another package, or of the modules that lie side by side in a folder."""
    return _Sources(name, sorted(folder.rglob("*.py") if whole else folder.glob("*.py")), folder, _tamis())


def _sources(module: str, path: Path) -> _Sources:
    if path.is_relative_to(_TAMIS):
        return _tamis()
    name = module.partition(".")[0]
    for folder in getattr(sys.modules.get(name), "__path__", ()):
        if path.is_relative_to(Path(folder).resolve()):
            return _package(name, Path(folder).resolve(), True)  # noqa: FBT003
    return _package(name, path.parent, False)  # noqa: FBT003


def _folders(package: str, digest: str, base: Path) -> Iterator[Path]:
    """Yield where code may lie, the private folder only where no other one could be written to."""
    name = f"{package}-kernels-{digest}"
    usual = list(_usual_folders(base))
    yield from (folder / name for folder in usual)
    if not any(_could_be_written(folder) for folder in usual):
        private = _private_folder()
        if private is not None:
            yield private / name


def _usual_folders(base: Path) -> Iterator[Path]:
    if numba.config.CACHE_DIR:
        yield Path(numba.config.CACHE_DIR)
    yield base / "__pycache__"
    own = os.environ.get("TAMIS_CACHE")
    if own:
        yield Path(own) / "kernels"
    else:
        home = os.environ.get("XDG_CACHE_HOME")
        with contextlib.suppress(RuntimeError):  # no home folder
            yield (Path(home) if home else Path.home() / ".cache") / "tamis" / "kernels"


def _could_be_written(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        present = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        return present.is_dir() and os.access(present, os.W_OK)
    return False


def _private_folder() -> Path | None:
    """Return a folder among the temporary ones that no one else can write to: what lies in it is executed."""
    if not hasattr(os, "getuid"):
        return None
    path = Path(tempfile.gettempdir()) / f"tamis-kernels-{os.getuid()}"
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        state = path.lstat()
    except OSError:
        return None
    safe = stat.S_ISDIR(state.st_mode) and state.st_uid == os.getuid() and not state.st_mode & 0o022
    return path if safe else None


def _write(folder: Path, name: str, data: bytes) -> bool:
    """Write a file whole; return whether it could be."""
    for _ in range(2):  # once more if another process has just removed the folder
        try:
            if not folder.is_dir():
                folder.mkdir(parents=True, exist_ok=True)
                _remove_old(folder)
            handle, partial = tempfile.mkstemp(dir=folder, prefix=".")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                Path(partial).chmod(0o644)  # others may use what root warmed
                Path(partial).replace(folder / name)
            except BaseException:
                Path(partial).unlink(missing_ok=True)
                raise
        except FileNotFoundError:
            continue
        except OSError:
            return False
        return True
    return False


def _remove_old(new: Path) -> None:
    """Remove the folders of other digests beside a new one, but for those used last."""
    package = new.name.rpartition("-")[0]
    others = []
    for path in new.parent.glob(f"{package}-*"):
        with contextlib.suppress(OSError):
            if path != new and path.name.rpartition("-")[0] == package:
                others.append((path.stat().st_mtime_ns, path))
    for _, path in sorted(others)[: max(len(others) - KEPT, 0)]:
        shutil.rmtree(path, ignore_errors=True)
