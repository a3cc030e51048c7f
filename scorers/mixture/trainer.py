"""Trains a causal language model by a controller's requests: minutes on a CPU for a small one, ready for a GPU.

AdamW, a warm-up and a schedule, batches by quota (never by sampling), rows in hash order with a cursor for each group,
and evaluation on fixed rows.

torch and transformers are imported when a trainer is made.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal

import numpy as np

from tamis.schemas.errors import ConfigError, DataError, ModelError, RunError
from tamis.scorers.causal.models import resolve_device
from tamis.scorers.mixture.controller import Request
from tamis.scorers.mixture.driving import Measured
from tamis.scorers.mixture.quotas import QuotaBatches, largest_remainder
from tamis.scorers.mixture.rows import GroupRows, RowCursor, Rows

__all__ = ["CausalTrainer", "TrainerOptions", "learning_rate_at"]


@dataclass(frozen=True)
class TrainerOptions:
    """How a model is trained.

    Attributes:
        model: a configuration of transformers (`model_type` and its own options), or the folder of a model to start
            from.
        total_steps: steps of a whole run from a restart, which the schedule ends at.
        batch_rows: rows of a batch.
        learning_rate: largest.
        final_learning_rate: at the end of a cosine schedule.
        warmup_steps: steps of linear warm-up from 0.
        schedule: `cosine` or `constant` after the warm-up.
        weight_decay: on matrices, not on vectors (biases, norms).
        betas: of AdamW.
        epsilon: of AdamW.
        clip: largest norm of the gradient.
        evaluation_rows: rows of an evaluation batch.
        gradient_rows: rows of a batch whose gradient is measured.
        cosine_alignment: whether alignments are cosines.
        seed: of weights, dropout and the order of rows.
        device: as PyTorch calls it, or `auto`.
        autocast: compute in bfloat16 where it is safe; weights stay in float32.
    """

    model: Mapping[str, Any] | str
    total_steps: int
    batch_rows: int = 8
    learning_rate: float = 5e-4
    final_learning_rate: float = 0.0
    warmup_steps: int = 0
    schedule: Literal["cosine", "constant"] = "cosine"
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    clip: float = 1.0
    evaluation_rows: int = 32
    gradient_rows: int = 8
    cosine_alignment: bool = True
    seed: int = 0
    device: str = "cpu"
    autocast: bool = False

    def __post_init__(self) -> None:
        """Refuse numbers out of range.

        Raises:
            ConfigError: if one is.
        """
        positive = ("total_steps", "batch_rows", "learning_rate", "clip", "evaluation_rows", "gradient_rows", "epsilon")
        for name in positive:
            if not getattr(self, name) > 0:
                msg = f"{name} is {getattr(self, name)}: it must be above 0"
                raise ConfigError(msg)
        if self.warmup_steps < 0 or self.weight_decay < 0 or self.final_learning_rate < 0 or self.seed < 0:
            msg = "warmup_steps, weight_decay, final_learning_rate and seed can't be below 0"
            raise ConfigError(msg)


def learning_rate_at(options: TrainerOptions, step: int) -> float:
    """Return the learning rate of step 0, 1, ... of a run."""
    if step < options.warmup_steps:
        return options.learning_rate * (step + 1) / options.warmup_steps
    if options.schedule == "constant":
        return options.learning_rate
    length = max(1, options.total_steps - options.warmup_steps)
    part = min(1.0, (step - options.warmup_steps) / length)
    low = options.final_learning_rate
    return low + (options.learning_rate - low) * (1 + math.cos(math.pi * part)) / 2


class CausalTrainer:
    """A model in training, with its optimiser and cursors.

    Attributes:
        model: the model of transformers.
        step: optimiser steps since the restart.
        parameters: trainable numbers.
    """

    def __init__(
        self,
        options: TrainerOptions,
        groups: Sequence[GroupRows],
        *,
        extra: Mapping[str, Rows] | None = None,
        distributions: Mapping[str, Sequence[float]] | None = None,
    ) -> None:
        """Make a trainer at its start.

        Args:
            options: see `TrainerOptions`.
            groups: rows of each group, in the controller's order.
            extra: validation rows of sets that aren't groups, by name; `target` is the set of alignments.
            distributions: shares of the groups, by name, whose gradients may be asked for beside the groups' own.

        Raises:
            ConfigError: if torch or transformers is missing, or the model's configuration isn't known.
            ModelError: if the model's folder can't be loaded.
            DataError: if there is no group.
        """
        if not groups:
            msg = "a trainer needs at least one group of rows"
            raise DataError(msg)
        self.options, self._groups = options, list(groups)
        self._extra = dict(extra or {})
        self._device = resolve_device(options.device)
        self._sets = {group.name: group.validation for group in groups} | self._extra
        alone = np.eye(len(groups))
        self._arms: dict[str, Sequence[float]] = {
            group.name: row for group, row in zip(groups, alone.tolist(), strict=True)
        } | dict(distributions or {})
        self._reference: Any = None
        self.model: Any = None
        self._cursors: list[RowCursor] = []
        self._restart()
        self.parameters = sum(p.numel() for p in self._trainable())

    # What a controller asks for.

    def segment(self, request: Request) -> Measured:
        """Train and measure as a controller asks; see `tamis.scorers.mixture.driving.SegmentTrainer`.

        Raises:
            DataError: if the request doesn't fit the groups and sets.
        """
        if len(request.mixture) != len(self._groups):
            msg = f"the controller has {len(request.mixture)} groups, the trainer {len(self._groups)}"
            raise DataError(msg)
        if request.restart:
            self._restart()
        with self._seeded("segment", self.step):
            excess = self.train(request.mixture, request.steps, with_reference=request.measure == "excess_losses")
        if request.kind == "reference":
            self._reference = self._copied()
        rate = learning_rate_at(self.options, max(0, self.step - 1))
        return Measured(self._measured(request, excess), rate)

    def _measured(self, request: Request, excess: list[float | None]) -> Any:
        if request.measure == "nothing":
            return []
        if request.measure == "excess_losses":
            return excess
        if request.measure == "losses":
            return self.evaluate(request.of)
        rows = [self._scores(request, repeat) for repeat in range(request.repeats)]
        return rows[0] if request.repeats == 1 else rows

    def train(self, mixture: Sequence[float], steps: int, *, with_reference: bool = False) -> list[float | None]:
        """Train on a mixture; return each group's mean excess loss over the reference model, None where it had no row.

        Args:
            mixture: share of each group.
            steps: optimiser steps.
            with_reference: whether excess losses are wanted.

        Raises:
            RunError: if the loss isn't finite, or there is no reference model to compare with.
        """
        import torch

        if with_reference and self._reference is None:
            msg = "excess losses need a reference model: no reference run was asked for before"
            raise RunError(msg)
        sums, counts = [0.0] * len(self._groups), [0] * len(self._groups)
        self.model.train()
        for _ in range(steps):
            numbers = self._quotas.next(mixture, self.options.batch_rows)
            batch = np.concatenate([cursor.take(n) for cursor, n in zip(self._cursors, numbers, strict=True)])
            rows = self._tensor(batch)
            rate = learning_rate_at(self.options, self.step)
            for group in self._optimizer.param_groups:
                group["lr"] = rate
            losses = self._row_losses(self.model, rows)
            loss = losses.mean()
            if not torch.isfinite(loss):
                msg = f"the training loss isn't finite at step {self.step}: lower the learning rate"
                raise RunError(msg)
            self._optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self._trainable(), self.options.clip)
            self._optimizer.step()
            self.step += 1
            if with_reference:
                with torch.no_grad():
                    difference = (losses.detach() - self._row_losses(self._reference, rows)).double().cpu().numpy()
                for j, part in enumerate(np.split(difference, np.cumsum(numbers)[:-1])):
                    sums[j] += float(part.sum())
                    counts[j] += len(part)
        return [total / n if n else None for total, n in zip(sums, counts, strict=True)]

    def evaluate(self, names: Sequence[str]) -> list[float]:
        """Return the mean loss of validation sets, nats a token.

        Raises:
            DataError: if a set isn't known or has no row.
        """
        import torch

        result = []
        self.model.eval()
        with torch.no_grad():
            for name in names:
                rows = self._set(name)
                losses = [
                    self._row_losses(self.model, self._tensor(rows[at : at + self.options.evaluation_rows]))
                    for at in range(0, len(rows), self.options.evaluation_rows)
                ]
                result.append(float(torch.cat(losses).double().mean()))
        return result

    # State.

    def state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what a resumed run needs: JSON values, and tensors."""
        values = {
            "step": self.step,
            "taken": [cursor.taken for cursor in self._cursors],
            "owed": self._quotas.owed,
            "reference": self._reference is not None,
        }
        tensors = {"model": self.model.state_dict(), "optimizer": self._optimizer.state_dict()}
        if self._reference is not None:
            tensors["reference"] = self._reference.state_dict()
        return values, tensors

    def load(self, values: Mapping[str, Any], tensors: Mapping[str, Any]) -> None:
        """Go on from what `state` returned.

        Raises:
            ModelError: if the tensors are those of another model.
        """
        self._restart()
        try:
            self.model.load_state_dict(tensors["model"])
            self._optimizer.load_state_dict(tensors["optimizer"])
            if values["reference"]:
                self._reference = self._copied()
                self._reference.load_state_dict(tensors["reference"])
        except (KeyError, ValueError, RuntimeError) as error:
            msg = f"the checkpoint is of another model: {str(error).splitlines()[0]}; start in an empty folder"
            raise ModelError(msg) from error
        self.step = values["step"]
        for i, taken in enumerate(values["taken"]):
            self._cursors[i].taken = taken
        self._quotas = QuotaBatches(len(self._groups), values["owed"])

    @property
    def rows(self) -> tuple[int, ...]:
        """Rows that each group gave since the restart."""
        return tuple(cursor.taken for cursor in self._cursors)

    @property
    def epochs(self) -> tuple[float, ...]:
        """Passes over each group since the restart."""
        return tuple(cursor.epochs for cursor in self._cursors)

    def _restart(self) -> None:
        """Go back to the initial weights, the first rows and no debts."""
        import torch

        with self._seeded("weights", 0):
            self.model = _build_model(self.options.model).to(self._device)
        matrices = [p for p in self._trainable() if p.ndim >= 2]
        vectors = [p for p in self._trainable() if p.ndim < 2]
        self._optimizer = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": self.options.weight_decay}, {"params": vectors, "weight_decay": 0.0}],
            lr=self.options.learning_rate,
            betas=self.options.betas,
            eps=self.options.epsilon,
        )
        self.step = 0
        self._cursors = [RowCursor(group, self.options.seed) for group in self._groups]
        self._quotas = QuotaBatches(len(self._groups))

    def _trainable(self) -> list[Any]:
        return [p for p in self.model.parameters() if p.requires_grad]

    def _copied(self) -> Any:
        import copy

        return copy.deepcopy(self.model).eval().requires_grad_(False)  # noqa: FBT003 (torch's own signature)

    @contextmanager
    def _seeded(self, purpose: str, step: int) -> Iterator[None]:
        """Draw random numbers that are a function of seed, purpose and step, and leave the caller's alone."""
        import torch

        key = sha256(f"tamis-trainer-1\0{self.options.seed}\0{purpose}\0{step}".encode()).digest()
        devices = [self._device] if self._device.startswith("cuda") else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(int.from_bytes(key[:7], "big"))
            yield

    # Numbers.

    def _tensor(self, rows: Rows) -> Any:
        import torch

        return torch.from_numpy(rows.astype(np.int64)).to(self._device)

    def _row_losses(self, model: Any, rows: Any) -> Any:
        """Return the mean loss of each row's tokens after its first, nats, shape (rows,)."""
        import torch

        kind = self._device.split(":", maxsplit=1)[0]
        with torch.autocast(kind, torch.bfloat16, enabled=self.options.autocast):
            logits = model(input_ids=rows).logits
        flat = logits[:, :-1].float().transpose(1, 2)
        return torch.nn.functional.cross_entropy(flat, rows[:, 1:], reduction="none").mean(dim=1)

    def _set(self, name: str) -> Rows:
        rows = self._sets.get(name)
        if rows is None or not len(rows):
            msg = f"there are no validation rows of {name!r}; there are some of {', '.join(sorted(self._sets))}"
            raise DataError(msg)
        return rows

    def _gradient(self, rows: Rows) -> list[Any]:
        """Return the gradient of the mean loss of rows, in evaluation batches so that memory stays bounded."""
        import torch

        parameters = self._trainable()
        total = [torch.zeros_like(p) for p in parameters]
        for at in range(0, len(rows), self.options.evaluation_rows):
            part = self._tensor(rows[at : at + self.options.evaluation_rows])
            loss = self._row_losses(self.model, part).sum() / len(rows)
            for sum_, grad in zip(total, torch.autograd.grad(loss, parameters, allow_unused=True), strict=True):
                if grad is not None:
                    sum_.add_(grad)
        return total

    def _scores(self, request: Request, repeat: int) -> list[float]:
        """Return gradient scores (DoGE) or alignments with the target set (DGA); rows ahead of cursors, not taken."""
        self.model.eval()
        number = self.options.gradient_rows
        unknown = [name for name in request.of if name not in self._arms]
        if unknown:
            msg = f"gradients of {unknown[0]!r} are wanted, which is neither a group nor a distribution of the trainer"
            raise DataError(msg)
        if request.measure == "alignments":
            goal = self._gradient(self._set("target"))
        else:
            validation = [self._gradient(self._set(group.name)) for group in self._groups]
            goal = [sum(parts) / len(validation) for parts in zip(*validation, strict=True)]
        products, norms = [], []
        for name in request.of:
            counts = largest_remainder(self._arms[name], number)
            parts = [cursor.peek(int(n), repeat * int(n)) for cursor, n in zip(self._cursors, counts, strict=True) if n]
            gradient = self._gradient(np.concatenate(parts))
            products.append(_dot(gradient, goal))
            norms.append(math.sqrt(_dot(gradient, gradient)))
        if request.measure == "gradient_scores":
            mean = sum(norms) / len(norms)
            return [x / mean if mean else 0.0 for x in products]
        if not self.options.cosine_alignment:
            return products
        length = math.sqrt(_dot(goal, goal))
        return [x / (n * length) if n and length else 0.0 for x, n in zip(products, norms, strict=True)]


def _dot(a: Sequence[Any], b: Sequence[Any]) -> float:
    return math.fsum(float((x.double() * y.double()).sum()) for x, y in zip(a, b, strict=True))


def _build_model(model: Mapping[str, Any] | str) -> Any:
    """Return a model with random weights by its configuration, or the one in a folder."""
    if isinstance(model, str):
        from tamis.scorers.causal.models import load_causal_model

        return load_causal_model(model).model
    import transformers

    options = dict(model)
    kind = options.pop("model_type", None)
    try:
        config = transformers.AutoConfig.for_model(kind, **options)
        return transformers.AutoModelForCausalLM.from_config(config)
    except (ValueError, TypeError, KeyError) as error:
        msg = f"the model's configuration {dict(model)} can't be used: {str(error).splitlines()[0]}"
        raise ConfigError(msg) from error
