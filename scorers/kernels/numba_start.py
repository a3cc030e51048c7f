"""What Numba does before a process's first kernel, without the third of it that no kernel here needs."""

import functools
from typing import Any

__all__ = ["start_numba"]


@functools.cache
def start_numba() -> None:
    """Have Numba register what its own library offers, which it would do at the first kernel.

    Numba looks then whether there is a BLAS by importing all of SciPy's linear algebra, 0.2 CPU-s a process. SciPy is
    among the dependencies, so the answer is known; a function that does use BLAS imports it by itself.
    """
    from numba.core.registry import cpu_target
    from numba.np import linalg

    module: Any = linalg
    look = getattr(module, "ensure_blas", None)
    if look is not None:
        module.ensure_blas = _there_is_one
    try:
        cpu_target.target_context.refresh()
        cpu_target.typing_context.refresh()
    finally:
        if look is not None:
            module.ensure_blas = look


def _there_is_one() -> None:
    """Stand for `numba.np.linalg.ensure_blas` while it is known that it would find one."""
