"""Parts of Beam for services that no local run opens, left out of its import until something of them is asked for."""

import contextlib
import importlib
import sys
import threading
from types import ModuleType
from typing import Any

__all__ = ["import_beam"]

SERVICES = ("apache_beam.io.mongodbio", "apache_beam.io.gcp.bigquery")
"""They bring MongoDB's client and Google's: a third of the 0.5 CPU-s that importing Beam takes."""
_lock = threading.Lock()


class _Later(ModuleType):
    """Stands for a module that hasn't been imported yet, and imports it when it is asked for any of its names."""

    __all__: tuple[str, ...] = ()  # `apache_beam.io` would take all of them: now it asks `_name_of_io`

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # who looks all modules through doesn't want this one
            raise AttributeError(name)
        return getattr(_whole(self.__name__), name)


def import_beam() -> None:
    """Import Beam without `SERVICES`; code in this process that uses or imports them finds them all the same.

    Does nothing where Beam is imported already.
    """
    if "apache_beam" in sys.modules:
        return
    for name in SERVICES:
        sys.modules.setdefault(name, _Later(name))
    io: Any = importlib.import_module("apache_beam.io")
    io.__getattr__ = _name_of_io
    for name in SERVICES:
        parent, _, child = name.rpartition(".")
        setattr(importlib.import_module(parent), child, sys.modules[name])


def _whole(name: str) -> ModuleType:
    """Return a module of `SERVICES`, imported."""
    with _lock:
        if isinstance(sys.modules.get(name), _Later):
            del sys.modules[name]
    return importlib.import_module(name)  # which also puts it in its parent's place


def _name_of_io(name: str) -> Any:
    """Return what `apache_beam.io` would have taken from `SERVICES`."""
    if not name.startswith("_"):
        for service in SERVICES:
            with contextlib.suppress(ImportError):  # of what a service needs: Beam goes without, too
                module = _whole(service)
                if name in module.__all__:
                    return getattr(module, name)
    msg = f"module 'apache_beam.io' has no attribute {name!r}"
    raise AttributeError(msg)
