"""Garbage collection while a command starts: next to nothing of what is made then is garbage."""

import gc

__all__ = ["started", "starting"]

_SELDOM = 50_000
"""Objects before the next look. Modules, models and kernels are 340,000 objects, 5,000 of them garbage; looking for it
again and again takes a sixth of a small run's time."""
_usual: list[tuple[int, int, int]] = []
_over: list[bool] = []  # not `gc.get_freeze_count`, which counts them one by one


def starting() -> None:
    """Have this process look for garbage seldom until `started`; once a process."""
    if not _usual:
        _usual.append(gc.get_threshold())
        gc.set_threshold(_SELDOM, *_usual[0][1:])


def started() -> None:
    """Have this process look for garbage as usual, but never again among what is there; only after `starting`."""
    if _usual and not _over:
        _over.append(True)
        gc.freeze()
        gc.set_threshold(*_usual[0])
