"""Any trainer can drive a controller: by a callback in Python, or by JSON lines from another program.

In Python, whatever has `segment(request)` is a trainer:

```
drive(Aioli(groups=...), trainer)          # calls trainer.segment(request) until the controller has ended
```

From another program, one JSON object a line on standard input and one answer a line on standard output:

```
-> {"do": "next"}
<- {"request": {"kind": "evaluate", "mixture": [0.5, 0.5], "steps": 0, "measure": "losses", "of": ["a", "b"],
                "restart": true, "repeats": 1}}
-> {"do": "observe", "values": {"a": 3.1, "b": 4.2}, "learning_rate": 0.0005}
<- {"request": {...}}                      # the next one; null when the method has ended
-> {"do": "proportions"}
<- {"proportions": {"a": 0.4, "b": 0.6}}
-> {"do": "state"}
<- {"state": "..."}                        # text to go on from
-> {"do": "end"}
```

What can't be done is answered with `{"error": "..."}` and changes nothing. With a state file, every observation is
saved before it is answered, so that a program that was cut off goes on where it stopped.
"""

import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from tamis.schemas.errors import TamisError
from tamis.scorers.mixture.controller import Controller, Observation, Request

__all__ = ["Measured", "SegmentTrainer", "drive", "serve"]


class Measured(NamedTuple):
    """What a trainer answers.

    Attributes:
        values: see `tamis.scorers.mixture.controller.Observation`.
        learning_rate: the optimiser's at the segment's end.
    """

    values: Observation = ()
    learning_rate: float | None = None


class SegmentTrainer(Protocol):
    """What trains a model by requests."""

    def segment(self, request: Request) -> Measured:
        """Train `request.steps` steps on `request.mixture`, from the start if `request.restart`, then measure."""
        ...


def drive(
    controller: Controller, trainer: SegmentTrainer, observed: Callable[[Request, Measured], None] | None = None
) -> tuple[float, ...]:
    """Run a controller to its end; return the mixture that it proposes.

    Args:
        controller: in any state.
        trainer: trains and measures.
        observed: called after each observation, such as to save a checkpoint.

    Raises:
        DataError: if what was measured doesn't fit the request.
    """
    while (request := controller.next()) is not None:
        measured = trainer.segment(request)
        controller.observe(measured.values, learning_rate=measured.learning_rate)
        if observed is not None:
            observed(request, measured)
    return controller.proportions()


def serve(
    controller: Controller, lines: Iterable[str], write: Callable[[str], object], state_file: Path | None = None
) -> None:
    """Answer JSON lines until they end or one says so; see the module.

    Args:
        controller: in any state.
        lines: messages.
        write: takes an answer with its line break; it should flush.
        state_file: where the state is saved at each observation.
    """
    for line in lines:
        if not line.strip():
            continue
        try:
            message = json.loads(line)
            if not isinstance(message, dict):
                message = {}
        except ValueError:
            message = {}
        if message.get("do") == "end":
            return
        try:
            answer = _answer(controller, message, state_file)
        except TamisError as error:
            answer = {"error": str(error)}
        write(json.dumps(answer, allow_nan=False) + "\n")


def _answer(controller: Controller, message: dict[str, Any], state_file: Path | None) -> dict[str, Any]:
    action = message.get("do")
    if action == "observe":
        rate = message.get("learning_rate")
        if rate is not None and not (isinstance(rate, int | float) and math.isfinite(rate)):
            return {"error": f"learning_rate must be a number, got {rate!r}"}
        values = message.get("values", [])
        if not _numbers(values):
            return {"error": "values must be a list of numbers, a list of such lists, or numbers by name"}
        controller.observe(values, learning_rate=rate)
        if state_file is not None:
            partial = state_file.with_name(f".{state_file.name}.partial")
            partial.write_text(controller.to_json())
            partial.replace(state_file)
    if action in ("next", "observe"):
        request = controller.next()
        return {"request": None if request is None else request.to_dict()}
    if action == "proportions":
        return {"proportions": dict(zip(controller.groups, controller.proportions(), strict=True))}
    if action == "state":
        return {"state": controller.to_json()}
    return {"error": 'a message is a JSON object with "do": "next", "observe", "proportions", "state" or "end"'}


def _numbers(values: Any) -> bool:
    if isinstance(values, dict):
        values = list(values.values())
    if not isinstance(values, list):
        return False
    if values and all(isinstance(row, list) for row in values):
        return all(_numbers(row) and not any(isinstance(x, list) for x in row) for row in values)
    return all(x is None or (isinstance(x, int | float) and not isinstance(x, bool)) for x in values)
