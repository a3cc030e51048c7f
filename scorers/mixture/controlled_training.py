"""A whole training run by a controller, kept so that it goes on where it was cut off.

After each segment model, optimiser, cursors and controller are saved together, and a run that was cut off goes on bit
by bit as if it had not been, on one machine with the same number of threads.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from tamis.schemas.errors import ConfigError, RunError
from tamis.scorers.mixture.controller import Controller, Request
from tamis.scorers.mixture.dga import Dga
from tamis.scorers.mixture.driving import Measured, drive
from tamis.scorers.mixture.methods import controller_from_json
from tamis.scorers.mixture.rows import GroupRows, Rows
from tamis.scorers.mixture.trainer import CausalTrainer, TrainerOptions

__all__ = ["Boundary", "TrainingResult", "train_by_controller"]

_STATE = "checkpoint.json"
_TENSORS = "checkpoint-{}.pt"


@dataclass(frozen=True)
class Boundary:
    """What was known at the end of a segment.

    Attributes:
        kind: of the request.
        mixture: that was trained on.
        steps: of the segment.
        step: of the run, from its restart.
        values: what was measured.
        epochs: passes over each group since the restart.
    """

    kind: str
    mixture: tuple[float, ...]
    steps: int
    step: int
    values: Any
    epochs: tuple[float, ...]


@dataclass
class TrainingResult:
    """A finished run.

    Attributes:
        proportions: what the controller proposes.
        boundaries: in their order.
        rows: rows that each group gave since the last restart.
        epochs: passes over each group since the last restart.
        parameters: trainable numbers of the model.
    """

    proportions: tuple[float, ...]
    boundaries: list[Boundary] = field(default_factory=list)
    rows: tuple[int, ...] = ()
    epochs: tuple[float, ...] = ()
    parameters: int = 0


def train_by_controller(
    controller: Controller,
    options: TrainerOptions,
    groups: Sequence[GroupRows],
    *,
    folder: Path | None = None,
    extra: Mapping[str, Rows] | None = None,
    segments: int | None = None,
) -> TrainingResult | None:
    """Train until the controller has ended, or go on with a run that was cut off.

    Args:
        controller: at its start; in a folder with a checkpoint its state is taken from there.
        options: see `TrainerOptions`.
        groups: rows of each group, named and ordered as the controller's groups.
        folder: where checkpoints are kept; None: nowhere.
        extra: see `CausalTrainer`.
        segments: stop after so many segments, as if cut off.

    Returns:
        The result; None if it was stopped before its end.

    Raises:
        ConfigError: if the groups aren't the controller's, or the folder holds a run with other options.
        DataError, ModelError, RunError: see `CausalTrainer`.
    """
    if [group.name for group in groups] != list(controller.groups):
        names = ", ".join(group.name for group in groups)
        msg = f"rows are of {names}, but the controller's groups are {', '.join(controller.groups)}"
        raise ConfigError(msg)
    arms = None
    if isinstance(controller, Dga) and controller.parameters.distributions is not None:
        arms = dict(zip(controller.arms, controller.parameters.distributions, strict=True))
    trainer = CausalTrainer(options, groups, extra=extra, distributions=arms)
    boundaries: list[Boundary] = []
    identity = sha256(
        json.dumps([controller.digest, asdict(options), [_rows_digest(g) for g in groups]], sort_keys=True).encode()
    ).hexdigest()
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        resumed = _resumed(folder, identity, trainer)
        if resumed is not None:
            controller, boundaries = resumed
    done = 0

    class _Stopped(Exception):  # noqa: N818 (a signal, not an error)
        pass

    def observed(request: Request, measured: Measured) -> None:
        nonlocal done
        done += 1
        boundaries.append(
            Boundary(request.kind, request.mixture, request.steps, trainer.step, measured.values, trainer.epochs)
        )
        if folder is not None:
            _save(folder, identity, len(boundaries), controller, trainer, boundaries)
        if segments is not None and done >= segments and controller.next() is not None:
            raise _Stopped

    try:
        proportions = drive(controller, trainer, observed)
    except _Stopped:
        return None
    return TrainingResult(proportions, boundaries, trainer.rows, trainer.epochs, trainer.parameters)


def _rows_digest(group: GroupRows) -> str:
    digest = sha256(group.name.encode())
    for rows in (group.train, group.validation):
        digest.update(str(rows.shape).encode() + np.ascontiguousarray(rows, "<i4").tobytes())
    return digest.hexdigest()


def _save(
    folder: Path, identity: str, number: int, controller: Controller, trainer: CausalTrainer, boundaries: list[Boundary]
) -> None:
    """Write tensors under a new name, then the state that names them, then forget the tensors before."""
    import torch

    values, tensors = trainer.state()
    name = _TENSORS.format(number)
    partial = folder / f".{name}.partial"
    torch.save(tensors, partial)
    partial.replace(folder / name)
    state = {
        "identity": identity,
        "tensors": name,
        "trainer": values,
        "controller": controller.to_json(),
        "boundaries": [asdict(boundary) for boundary in boundaries],
    }
    partial = folder / f".{_STATE}.partial"
    partial.write_text(json.dumps(state))
    partial.replace(folder / _STATE)
    for old in folder.glob(_TENSORS.format("*")):
        if old.name != name:
            old.unlink()


def _resumed(folder: Path, identity: str, trainer: CausalTrainer) -> tuple[Controller, list[Boundary]] | None:
    import torch

    path = folder / _STATE
    if not path.exists():
        return None
    try:
        state = json.loads(path.read_text())
        same = state["identity"] == identity
        tensors = torch.load(folder / state["tensors"], weights_only=True, map_location="cpu") if same else {}
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        msg = f"{path} can't be read: {error}; remove the folder to train again"
        raise RunError(msg) from error
    if not same:
        msg = f"{folder} holds a run with another mixture method, other options or other rows; choose another folder"
        raise ConfigError(msg)
    trainer.load(state["trainer"], tensors)
    boundaries = [
        Boundary(**{**boundary, "mixture": tuple(boundary["mixture"]), "epochs": tuple(boundary["epochs"])})
        for boundary in state["boundaries"]
    ]
    return controller_from_json(state["controller"]), boundaries
