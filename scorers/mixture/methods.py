"""All controllers by name."""

from collections.abc import Mapping

from tamis.schemas.base import nearest
from tamis.schemas.errors import DataError
from tamis.scorers.mixture.aioli import Aioli
from tamis.scorers.mixture.controller import Controller, read_state
from tamis.scorers.mixture.dga import Dga
from tamis.scorers.mixture.fixed import Fixed
from tamis.scorers.mixture.reweighting import DoGE, DoReMi
from tamis.scorers.mixture.skill_it import SkillIt
from tamis.scorers.mixture.swarm import Swarm

__all__ = ["CONTROLLERS", "controller_from_json"]

CONTROLLERS: Mapping[str, type[Controller]] = {
    kind.method: kind for kind in (Aioli, Dga, DoGE, DoReMi, Fixed, SkillIt, Swarm)
}
"""Method name to class."""


def controller_from_json(text: str) -> Controller:
    """Return the controller whose `to_json` wrote the text, in the state it was in.

    Raises:
        DataError: if the text isn't a controller's state, of another version, or of an unknown method.
        ConfigError: if a parameter is out of range.
    """
    method = read_state(text)["method"]
    if method not in CONTROLLERS:
        msg = f"there is no mixture method {method!r}{nearest(str(method), list(CONTROLLERS))}"
        raise DataError(msg)
    return CONTROLLERS[method].from_json(text)
