"""Which code can change a result: the digests that name what a run keeps, so that it is only reused by that code.

A module's digest covers the module and all modules of ours that it imports, anywhere, and the versions of the packages
that can change a result. The command line and the report are imported by none of them: a word changed there keeps all
finished work.
"""

import functools
import hashlib
import importlib
import platform
import re
import sys
import unicodedata
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import tamis
from tamis.pipeline.steps.base import Step
from tamis.pipeline.steps.registry import plugged_in

__all__ = ["module_code", "package_versions", "step_code"]

PACKAGES = (
    "apache-beam",
    "duckdb",
    "eldc",
    "fasttext-community",
    "fastwarc",
    "kenlm",
    "llvmlite",
    "numba",
    "numpy",
    "orjson",
    "pyarrow",
    "pydantic",
    "resiliparse",
    "scipy",
    "sentencepiece",
    "trafilatura",
    "xxhash",
    "zstandard",
)
"""Packages that can change a result."""
_FROM = re.compile(r"^[ \t]*from[ \t]+(tamis[\w.]*)[ \t]+import[ \t]+(\([^)]*\)|[^\n#]*)", re.MULTILINE)
_IMPORT = re.compile(r"^[ \t]*import[ \t]+(tamis[\w.]*)", re.MULTILINE)
_CHILD = re.compile(r"[\"'](tamis\.[\w.]+):")


@functools.cache
def package_versions() -> dict[str, str]:
    """Return the versions of the packages that can change a result, those that are installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


@functools.cache
def _file_of(module: str) -> Path | None:
    """Return the source file of a module of ours."""
    parts = module.split(".")[1:]
    base = Path(tamis.__file__).parent.joinpath(*parts)
    for path in (base / "__init__.py", base.with_suffix(".py")):
        if path.is_file():
            return path
    return None


@functools.cache
def _content(module: str) -> bytes:
    path = _file_of(module)
    return b"" if path is None else path.read_bytes()


@functools.cache
def _imports(module: str) -> frozenset[str]:
    """Return the modules of ours that a module names in its imports, or runs in a child process."""
    text = _content(module).decode()
    found = {match.group(1) for match in (*_IMPORT.finditer(text), *_CHILD.finditer(text))}
    for match in _FROM.finditer(text):
        origin, names = match.groups()
        found.add(origin)
        for name in re.findall(r"\w+", names):
            if _file_of(f"{origin}.{name}") is not None:
                found.add(f"{origin}.{name}")
    return frozenset(name for name in found if name != "tamis" and _file_of(name) is not None)


def _closure(module: str) -> Iterator[str]:
    seen = {module}
    waiting = [module]
    while waiting:
        current = waiting.pop()
        yield current
        fresh = _imports(current) - seen
        seen |= fresh
        waiting += fresh


@functools.cache
def module_code(module: str) -> str:
    """Return the SHA-256 of a module of ours with all that it imports, and of the versions of packages.

    Args:
        module: its full name, such as `tamis.pipeline.passes.read`.
    """
    total = hashlib.sha256()
    for name in sorted(_closure(module)):
        total.update(name.encode() + b"\0" + _content(name) + b"\0")
    versions = {**package_versions(), "python": platform.python_version(), "unicode": unicodedata.unidata_version}
    total.update(repr(sorted(versions.items())).encode())
    return total.hexdigest()


def step_code(step: Step) -> str:
    """Return the SHA-256 of the code of a step: its module's, or its distribution's files if it isn't ours."""
    module = type(step).__module__
    if module.startswith("tamis."):
        return module_code(module)
    return _foreign_code(module, step.verb)


@functools.cache
def _foreign_code(module: str, verb: str) -> str:
    total = hashlib.sha256(module_code("tamis.pipeline.steps.base").encode())
    point = plugged_in().get(verb)
    if point is not None and point.dist is not None:
        total.update(f"{point.dist.name} {point.dist.version}\0".encode())
    for path in _foreign_files(module):
        total.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return total.hexdigest()


def _foreign_files(module: str) -> list[Path]:
    """Return the Python files of the package that a module belongs to, or of the module alone."""
    top = importlib.import_module(module.partition(".")[0])
    folders = [Path(folder) for folder in getattr(top, "__path__", ())]
    if folders:
        return sorted(path for folder in folders for path in folder.rglob("*.py"))
    file = getattr(sys.modules[module], "__file__", None)
    return [] if file is None else [Path(file)]
