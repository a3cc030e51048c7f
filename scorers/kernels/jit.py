"""The one decorator of all kernels: compiled on first use, cached on disk, without the GIL."""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import numba

__all__ = ["kernel"]

P = ParamSpec("P")
R = TypeVar("R")


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function` with Numba in nopython mode.

    The machine code is cached beside the source, so that only the first process pays for compilation, and the GIL is
    released, so that threads share a core's worth of work. The decorated function keeps its type for mypy.
    """
    compiled: Any = numba.njit(cache=True, nogil=True)(function)
    return compiled  # type: ignore[no-any-return]
