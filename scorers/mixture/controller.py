"""The one interface of all methods that find a mixture while models train.

```
while (request := controller.next()) is not None:
    train request.steps steps on request.mixture        # from the start again if request.restart
    controller.observe(measured, learning_rate=...)     # what request.measure and request.of name
print(controller.proportions())
```

A controller holds no model and draws no random number that isn't a function of its seed, so that parameters and state,
which are JSON, say all: resumed from any state it goes on as if it had not stopped.
"""

import json
import math
import numbers
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, Self, TypeAlias

from pydantic import Field, model_validator

from tamis.schemas.base import Model, canonical_json, digest, validate
from tamis.schemas.errors import DataError

__all__ = ["Controller", "ControllerParameters", "Measure", "Observation", "Request", "Seen", "read_state"]

Measure = Literal["nothing", "losses", "excess_losses", "gradient_scores", "alignments"]
"""What a trainer measures at the end of a segment:

* `losses`: the mean validation loss of each set, in nats a token, on the same rows each time;
* `excess_losses`: for each group the mean over the segment's tokens of that group of the model's loss minus the
  reference model's; None for a group without a row in the segment;
* `gradient_scores`: for each group the inner product of its training gradient with the mean validation gradient,
  divided by the mean norm of the groups' gradients;
* `alignments`: for each group (or distribution) the inner product, or cosine, of its gradient with the target set's.
"""

Observation: TypeAlias = Mapping[str, float | None] | Sequence[float | None] | Sequence[Sequence[float | None]]
"""Measured values: by name, or in the order of `Request.of`; where `Request.repeats` > 1 a list of such lists."""

_FORMAT = "tamis-mixture-controller"
_VERSION = 1


class Request(NamedTuple):
    """What a controller wants next.

    Attributes:
        kind: what it is for: `evaluate`, `prior`, `probe`, `main`, `single`, `reference`, `proxy` or `run`.
        mixture: the share of each group, adding to 1.
        steps: optimiser steps to train on it; 0 only measures.
        measure: what to measure after them.
        of: the names that the measurement has a value for.
        restart: whether the model starts again from its initial weights before these steps.
        repeats: how many independent measurements are wanted.
    """

    kind: str
    mixture: tuple[float, ...]
    steps: int
    measure: Measure
    of: tuple[str, ...]
    restart: bool = False
    repeats: int = 1

    def to_dict(self) -> dict[str, Any]:
        """Return the request as JSON values."""
        return {**self._asdict(), "mixture": list(self.mixture), "of": list(self.of)}


class Seen(NamedTuple):
    """An observation that fits its request.

    Attributes:
        values: `Request.repeats` lists, one value for each name of `Request.of`.
        learning_rate: the optimiser's, if it was told.
    """

    values: list[list[float | None]]
    learning_rate: float | None


class ControllerParameters(Model):
    """What every controller needs to know.

    Attributes:
        groups: names of the groups, each once.
        seed: of what is drawn.
    """

    groups: tuple[str, ...] = Field(min_length=1)
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        doubled = sorted({name for name in self.groups if self.groups.count(name) > 1})
        if doubled:
            msg = f"group {doubled[0]!r} is named twice"
            raise ValueError(msg)
        return self


class Controller(ABC):
    """A method that finds a mixture, as a state machine whose state is JSON.

    Attributes:
        method: its name.
        parameters: what it was made with.
    """

    method: ClassVar[str]
    parameters_type: ClassVar[type[ControllerParameters]]

    def __init__(self, parameters: Any = None, /, **options: Any) -> None:
        """Make a controller at its start.

        Args:
            parameters: an object of `parameters_type`, or a mapping of its fields.
            options: fields, where no mapping is given.

        Raises:
            ConfigError: if a field is unknown, missing or out of range; the message names it.
        """
        if not isinstance(parameters, self.parameters_type):
            parameters = validate(self.parameters_type, {**(parameters or {}), **options}, f"mixture {self.method}")
        self.parameters = parameters
        self._check()
        self.state: dict[str, Any] = self._start()

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups, in the order of mixtures."""
        groups: tuple[str, ...] = self.parameters.groups
        return groups

    @abstractmethod
    def next(self) -> Request | None:
        """Return what to train and measure next, the same until it is observed; None when the method has ended."""

    @abstractmethod
    def proportions(self) -> tuple[float, ...]:
        """Return the mixture that the method proposes, by what it has observed so far."""

    @abstractmethod
    def _start(self) -> dict[str, Any]:
        """Return the state at the start, JSON values only."""

    @abstractmethod
    def _take(self, request: Request, seen: Seen) -> None:
        """Move the state on by an observation."""

    def _check(self) -> None:  # noqa: B027 (most methods have nothing to refuse)
        """Refuse parameters that don't fit each other."""

    def observe(self, values: Observation = (), *, learning_rate: float | None = None) -> None:
        """Take what was measured for the request that `next` returns.

        Args:
            values: see `Observation`.
            learning_rate: the optimiser's, where a method needs it (DoGE).

        Raises:
            DataError: if the method has ended, names or numbers don't fit the request, or a value isn't finite.
        """
        request = self.next()
        if request is None:
            msg = f"the mixture method {self.method} has ended: there is nothing more to observe"
            raise DataError(msg)
        self._take(request, Seen(_rows(request, values), learning_rate))

    def history(self) -> list[dict[str, Any]]:
        """Return what was found by round (JSON values), for the manifest and for pictures."""
        rounds: list[dict[str, Any]] = self.state.get("history", [])
        return rounds

    def to_json(self) -> str:
        """Return parameters and state as JSON text, from which `from_json` goes on."""
        content = {
            "format": _FORMAT,
            "version": _VERSION,
            "method": self.method,
            "parameters": self.parameters.model_dump(mode="json"),
            "state": self.state,
        }
        return canonical_json(content)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the controller that `to_json` wrote, in the state it was in.

        Raises:
            DataError: if the text isn't a state of this method and version.
            ConfigError: if a parameter is out of range.
        """
        content = read_state(text)
        if content["method"] != cls.method:
            msg = f"the state is of mixture method {content['method']!r}, not {cls.method!r}"
            raise DataError(msg)
        controller = cls(content["parameters"])
        state = content["state"]
        if not isinstance(state, dict) or state.keys() != controller.state.keys():
            msg = f"the state of mixture method {cls.method} lacks keys or has unknown ones: another version wrote it"
            raise DataError(msg)
        controller.state = state
        return controller

    @property
    def digest(self) -> str:
        """SHA-256 of method and parameters."""
        return digest({"method": self.method, "parameters": self.parameters.model_dump(mode="json")})


def read_state(text: str) -> dict[str, Any]:
    """Return `method`, `parameters` and `state` of what `Controller.to_json` wrote.

    Raises:
        DataError: if the text isn't a controller's state, or of another version.
    """
    try:
        content = json.loads(text)
    except ValueError as error:
        msg = f"a mixture controller's state must be JSON: {error}"
        raise DataError(msg) from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT or content.get("version") != _VERSION:
        msg = f"the text isn't the state of a mixture controller of version {_VERSION}"
        raise DataError(msg)
    return {key: content.get(key) for key in ("method", "parameters", "state")}


def _rows(request: Request, values: Observation) -> list[list[float | None]]:
    """Return an observation as `repeats` lists in the order of the request's names."""
    if isinstance(values, Mapping):
        if request.repeats != 1:
            msg = f"{request.repeats} measurements are wanted: give a list of lists"
            raise DataError(msg)
        absent = sorted(set(request.of) ^ set(values))
        if absent:
            msg = f"the observation must have a value for each of {', '.join(request.of)}; {absent[0]!r} doesn't fit"
            raise DataError(msg)
        rows: list[Any] = [[values[name] for name in request.of]]
    elif request.repeats == 1 and not (len(values) == 1 and isinstance(values[0], Sequence)):
        rows = [values]
    else:
        rows = list(values)
    if len(rows) != request.repeats:
        msg = f"{request.repeats} measurements are wanted, got {len(rows)}"
        raise DataError(msg)
    return [_row(request, row) for row in rows]


def _row(request: Request, row: Sequence[Any]) -> list[float | None]:
    if len(row) != len(request.of):
        msg = f"{len(row)} values were observed for {len(request.of)} names: {', '.join(request.of)}"
        raise DataError(msg)
    result: list[float | None] = []
    for name, value in zip(request.of, row, strict=True):
        if value is None and request.measure == "excess_losses":
            result.append(None)
            continue
        if not isinstance(value, numbers.Real) or not math.isfinite(value):
            msg = f"the observed value of {name!r} is {value}: {request.measure} must be finite numbers"
            raise DataError(msg)
        result.append(float(value))
    return result
