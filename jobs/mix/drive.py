"""A controller that another program drives, by JSON lines; its state is kept in a file."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tamis.schemas.base import nearest
from tamis.schemas.errors import ConfigError
from tamis.scorers.mixture.controller import Controller
from tamis.scorers.mixture.driving import serve
from tamis.scorers.mixture.methods import CONTROLLERS, controller_from_json

__all__ = ["drive_by_lines", "opened_controller"]


def opened_controller(method: str, options: dict[str, Any], state: Path | None) -> Controller:
    """Return a controller: that of a state file, where there is one, else a new one.

    Raises:
        ConfigError: for an unknown method or option, or a state of another method or with other options.
        DataError: if the state file isn't a controller's state.
    """
    if method not in CONTROLLERS:
        msg = f"there is no mixture method {method!r}{nearest(method, list(CONTROLLERS))}"
        raise ConfigError(msg)
    wanted = CONTROLLERS[method](options)
    if state is None or not state.exists():
        return wanted
    found = controller_from_json(state.read_text())
    if found.digest != wanted.digest:
        msg = (
            f"{state} is the state of another method, or of other options: name another file, or give the same options"
        )
        raise ConfigError(msg)
    return found


def drive_by_lines(
    controller: Controller, lines: Iterable[str], write: Callable[[str], object], state: Path | None
) -> None:
    """Answer lines until they end; the state is saved at each observation, and at the beginning."""
    if state is not None and not state.exists():
        state.parent.mkdir(parents=True, exist_ok=True)
        state.write_text(controller.to_json())
    serve(controller, lines, write, state)
