"""The decorators of all kernels: compiled on first use, cached on disk, without the GIL.

Which one a function gets depends on who calls it and on whether it makes arrays:

| | called from | may allocate, return arrays | counts references |
| --- | --- | --- | --- |
| `kernel` | Python, kernels | yes | yes |
| `lean_kernel` | Python, kernels | no | no |
| `helper` | kernels | no | no |

Numba counts references to arrays, with atomic additions that LLVM can remove only where it sees both ends. A function
that takes arrays, or tuples of arrays, and is called for every byte or token pays them every time: folding white space
went from 115 to 580 MB/s without. A function that neither allocates nor returns an array borrows its caller's
references and needs no count of its own. Numba itself refuses an allocation in such a function; returning an array is
refused here. Writing into arrays that it is given is fine, and so are views (slices) that it doesn't return.

A `helper` has no entry from Python either, which saves a third of its compile time.
"""

import sys
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, ParamSpec, TypeVar

import numba

from tamis.scorers.kernels.machine_code import MachineCode
from tamis.scorers.kernels.numba_start import start_numba

__all__ = ["KernelState", "helper", "kernel", "kernel_states", "lean_kernel", "make_ready", "ready_kernels"]

P = ParamSpec("P")
R = TypeVar("R")

_DECORATED: list[tuple[Any, MachineCode, bool]] = []


class KernelState(NamedTuple):
    """What this process has of a decorated function.

    Attributes:
        name: module and function.
        entry: whether Python code calls it: it isn't a `helper`.
        signatures: number of argument types that it is ready for.
        compiled: how many of these were compiled here.
        loaded: how many came from the disk.
    """

    name: str
    entry: bool
    signatures: int
    compiled: int
    loaded: int


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function` with Numba in nopython mode.

    The machine code is kept (see `tamis.scorers.kernels.machine_code`), so that only the first process pays for
    compilation, and the GIL is released, so that threads share a core's worth of work. The decorated function keeps its
    type for mypy.
    """
    return _compiled(function, counted=True, entry=True)


def lean_kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function` like a `kernel`, but without reference counting: it neither allocates nor returns arrays."""
    return _compiled(function, counted=False, entry=True)


def helper(function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function` like a `lean_kernel`, but for calls from kernels only: Python can't call it."""
    return _compiled(function, counted=False, entry=False)


def kernel_states() -> list[KernelState]:
    """Return the state of every decorated function of the modules imported so far, by name."""
    found = []
    for dispatcher, code, entry in _DECORATED:
        ready = len(dispatcher.overloads)
        found.append(KernelState(code.name, entry, ready, code.compiled, code.loaded))
    return sorted(found)


def ready_kernels() -> list[tuple[str, str, Any]]:
    """Return the kernels that this process has ready: module, name in it, types of the arguments."""
    return [
        (dispatcher.py_func.__module__, dispatcher.py_func.__qualname__, kinds)
        for dispatcher, _, entry in _DECORATED
        if entry
        for kinds in dispatcher.overloads
    ]


def make_ready(kernels: Iterable[tuple[str, str, Any]]) -> None:
    """Load or compile kernels that another process had ready, without calling them; those that aren't here are left."""
    start_numba()
    for module, name, kinds in kernels:
        dispatcher: Any = getattr(sys.modules.get(module), name, None)
        if hasattr(dispatcher, "compile"):
            dispatcher.compile(kinds)


def _compiled(function: Callable[P, R], *, counted: bool, entry: bool) -> Callable[P, R]:
    # Without an explicit _nrt, a function would inherit it from whichever caller happens to be compiled first.
    dispatcher: Any = numba.njit(nogil=True, _nrt=counted, no_cpython_wrapper=not entry, no_cfunc_wrapper=not entry)(
        function
    )
    if hasattr(dispatcher, "enable_caching"):  # with NUMBA_DISABLE_JIT it is the Python function itself
        code = MachineCode(function, owns=counted)
        dispatcher._cache = code
        dispatcher.get_call_template = _without_literals(dispatcher.get_call_template)
        _DECORATED.append((dispatcher, code, entry))
    return dispatcher  # type: ignore[no-any-return]


def _without_literals(get_call_template: Callable[..., Any]) -> Callable[..., Any]:
    """Have kernels called for the types of their arguments alone.

    For a call from another kernel Numba compiles a version for each constant, among them the first values of a loop's
    variables, which no call is left with once the loop is understood.
    """

    def resolve(args: Any, kws: Any) -> Any:
        return get_call_template(
            tuple(map(numba.types.unliteral, args)), {name: numba.types.unliteral(kind) for name, kind in kws.items()}
        )

    return resolve
