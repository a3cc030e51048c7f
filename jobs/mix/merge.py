"""Ablation by merging: units trained from one seed model, candidates judged by averages; stages found by digest.

torch is imported by what trains, in the workers.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tamis.jobs.config_file import load_plain
from tamis.jobs.experiment.sources import evaluation_texts
from tamis.jobs.mix.estimate import target_documents
from tamis.jobs.mix.selection import index_selection, open_selection
from tamis.jobs.mix.train import group_rows, packed_texts, proxy_model, proxy_tokenizer, trainer_options
from tamis.jobs.run.folder import claim, owned
from tamis.jobs.run.paths import led
from tamis.pipeline.code import module_code
from tamis.pipeline.graph.engine import Engine
from tamis.pipeline.storage import filesystem
from tamis.schemas.base import digest, validate
from tamis.schemas.errors import ConfigError, DataError, ModelError
from tamis.schemas.merge import MergeConfig
from tamis.schemas.mixture import MixtureConfig
from tamis.scorers.causal.models import resolve_device
from tamis.scorers.mixture.merging import (
    CheckTable,
    LeaveOneOutRow,
    average_weights,
    candidate_subsets,
    check_table,
    leave_one_out,
    read_weights,
    unit_sizes,
    unit_weights,
    update_ratio,
    write_weights,
)
from tamis.scorers.mixture.quotas import largest_remainder
from tamis.scorers.mixture.rows import GroupRows
from tamis.scorers.mixture.runs import draw_mixtures

__all__ = ["EvaluateCandidate", "MergeResult", "TrainModel", "load_merge", "merge"]

RECORD = "merge.json"
CODE = "tamis.scorers.mixture.trainer"
_WARN_RATIO = 0.2


@dataclass(frozen=True)
class TrainModel:
    """Trains one model.

    Attributes:
        config: says how.
        steps: how long.
        seed: file of the weights to begin with; None: random ones.
    """

    config: MergeConfig
    steps: int
    seed: str | None = None

    def __call__(self, task: tuple[str, str, int]) -> dict[str, Any]:
        """Train on a file of rows for so many steps, write the weights.

        Args:
            task: the rows' file, the weights' file, and steps (0: `self.steps`).
        """
        rows, out, steps = task
        trainer = _trainer(self.config, {"rows": np.load(rows)}, {}, steps or self.steps)
        if self.seed is not None:
            _load(trainer, read_weights(Path(self.seed)))
        trainer.train([1.0], steps or self.steps)
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        return {"out": out, "sha256": write_weights(Path(out), _weights(trainer))}


@dataclass(frozen=True)
class EvaluateCandidate:
    """Measures averages of models.

    Attributes:
        config: says how.
        sets: name to file of rows.
    """

    config: MergeConfig
    sets: Mapping[str, str]

    def __call__(self, task: tuple[Mapping[str, tuple[str, float]], str]) -> dict[str, Any]:
        """Average, measure, write the losses.

        Args:
            task: unit to its weights' file and its weight; and the file of the result.
        """
        units, out = task
        models = {name: read_weights(Path(path)) for name, (path, _) in units.items()}
        average = average_weights(models, {name: weight for name, (_, weight) in units.items()})
        trainer = _trainer(self.config, {}, {name: np.load(path) for name, path in self.sets.items()}, 1)
        _load(trainer, average)
        losses = trainer.evaluate(list(self.sets))
        with filesystem.write_atomically(out) as stream:
            stream.write(json.dumps({"losses": losses, "parameters": trainer.parameters}).encode())
        return {"out": out}


@dataclass(frozen=True)
class MergeResult:
    """What averages say.

    Attributes:
        folder: where it is.
        sets: names of what was measured.
        units: group to its units.
        candidates: name to losses by set, nats a token, the best mean first.
        shares: name to the groups' shares.
        best: the candidate with the lowest mean loss.
        without: what leaving each group out does.
        check: how averages go with trained models; None if none were trained.
        update_ratios: by unit.
        notes: sentences for a person.
        parameters: of a model.
        trained: models that were trained now; all others were found.
    """

    folder: str
    sets: tuple[str, ...]
    units: Mapping[str, Sequence[str]]
    candidates: Mapping[str, Sequence[float]]
    shares: Mapping[str, Mapping[str, float]]
    best: str
    without: tuple[LeaveOneOutRow, ...]
    check: CheckTable | None
    update_ratios: Mapping[str, float]
    notes: tuple[str, ...]
    parameters: int
    trained: int


PATHS = ("run", "seed.path", "evaluation.*.path", "evaluation.*.run")
"""Keys of the config that hold paths."""


def load_merge(path: str, overrides: Sequence[str] = ()) -> MergeConfig:
    """Read a config file.

    Raises:
        ConfigError: one sentence naming file and key.
    """
    plain, _ = led(load_plain(path, overrides), path, PATHS, "runs/merge")
    try:
        return validate(MergeConfig, plain, "merge")
    except ConfigError as error:
        msg = f"{path}: {error}"
        raise ConfigError(msg) from None


def merge(config: MergeConfig, output: str, engine: Engine, *, fresh: bool = False) -> MergeResult:
    """Train what isn't there, measure all candidates, and write the results.

    Args:
        config: what to do.
        output: the folder; local.
        engine: where passes run.
        fresh: forget what earlier calls left.

    Raises:
        ConfigError: for a mistake in the config, or if torch is missing.
        DataError: if a group is too small.
        RunError: if `run` is no finished run.
    """
    if not filesystem.is_local(output):
        msg = f"{output}: models are kept in a local folder: give one with --output"
        raise ConfigError(msg)
    resolve_device(config.proxy.device)
    claim(output)
    with owned(output):
        work = filesystem.join(output, "work")
        if fresh:
            filesystem.remove_below(work, keep=("lock.json", "tamis-run"))
        result = _Merge(config, output, work, engine).result()
        with filesystem.write_atomically(filesystem.join(output, RECORD)) as stream:
            stream.write(json.dumps(_plain(config, result), indent=1).encode() + b"\n")
    return result


class _Merge:
    def __init__(self, config: MergeConfig, output: str, work: str, engine: Engine):
        self._config, self._output, self._work, self._engine = config, output, Path(filesystem.local_path(work)), engine
        self._notes: list[str] = []
        self._trained = 0
        self._steps = max(1, config.unit_tokens // (config.proxy.context * config.proxy.batch_rows))
        proxy = config.proxy.model_dump(mode="json", exclude={"device", "threads", "group_mb", "validation_rows"})
        tokenizer = proxy_tokenizer(config.proxy).digest
        self._how = [proxy | {"tokenizer": tokenizer}, config.random_seed, module_code(CODE)]

    def result(self) -> MergeResult:
        groups = self._groups()
        names = [group.name for group in groups]
        sets = self._sets(groups)
        seed = self._seed_model(groups)
        units, files = self._units(groups, seed)
        ratios = self._ratios(seed, files)
        shares = self._candidates(names, groups)
        losses, parameters = self._measured(shares, units, files, sets, seed)
        whole = self._measured({"all": dict.fromkeys(names, 1.0)}, units, files, sets, seed)[0]["all"]
        rest = {name: {other: 1.0 for other in names if other != name} for name in names} if len(names) > 1 else {}
        without = self._measured(rest, units, files, sets, seed)[0]
        means = {name: sum(values) / len(values) for name, values in losses.items()}
        order = sorted(losses, key=lambda name: (means[name], name))
        check = self._checked(shares, losses, groups, sets, seed, ratios)
        self._notes += [
            f"unit {name} moved {ratio:.2f} of its weights: averages of such units are doubtful (above {_WARN_RATIO})"
            for name, ratio in sorted(ratios.items())
            if ratio > _WARN_RATIO and check is None
        ]
        return MergeResult(
            self._output,
            tuple(sets),
            units,
            {name: losses[name] for name in order},
            {name: shares[name] for name in order},
            order[0],
            tuple(leave_one_out(whole, without)),
            check,
            ratios,
            tuple(self._notes),
            parameters,
            self._trained,
        )

    # Data.

    def _groups(self) -> list[GroupRows]:
        config = self._config
        plain = {"by": config.by, "missing": config.missing, "without": "union", "exhausted": "once"}
        mixture = validate(MixtureConfig, plain | {"seed": config.random_seed}, "merge")
        selection = open_selection(config.run)
        work = str(self._work)
        index = index_selection(selection, mixture, self._engine, work)
        return group_rows(config.proxy, mixture, selection, index, self._engine, work)

    def _kept(self, rows: npt.NDArray[np.int32]) -> str:
        """Return the file of rows, named by what they are."""
        name = sha256(str(rows.shape).encode() + np.ascontiguousarray(rows, "<i4").tobytes()).hexdigest()[:24]
        path = self._work / "rows" / f"{name}.npy"
        if not path.exists():
            with filesystem.write_atomically(str(path)) as stream:
                np.save(stream, rows)
        return str(path)

    def _sets(self, groups: Sequence[GroupRows]) -> dict[str, str]:
        sets = {group.name: self._kept(group.validation) for group in groups}
        for name, one in self._config.evaluation.items():
            if name in sets:
                msg = f"evaluation: {name!r} is a group, whose own rows are measured under that name: choose another"
                raise ConfigError(msg)
            found = evaluation_texts(name, one)
            rows = packed_texts(self._config.proxy, name, list(found), list(found.values()), self._config.random_seed)
            sets[name] = self._kept(rows)
        return sets

    # Models.

    def _train(self, label: str, work: TrainModel, tasks: Sequence[tuple[str, str, int]]) -> None:
        missing = [task for task in tasks if not Path(task[1]).exists()]
        self._trained += len(missing)
        self._engine.map(label, missing, work)

    def _seed_model(self, groups: Sequence[GroupRows]) -> str:
        config = self._config
        if config.seed is not None:
            ids, texts = target_documents(config.seed, config.proxy.group_mb * 1e6, what="the seed's text")
            every = config.proxy.model_copy(update={"validation_rows": 1 << 40})
            rows = packed_texts(every, "seed", ids, texts, config.random_seed)
        else:
            wanted = config.seed_groups or tuple(group.name for group in groups)
            unknown = sorted(set(wanted) - {group.name for group in groups})
            if unknown:
                msg = f"seed_groups: there is no group {unknown[0]!r}"
                raise ConfigError(msg)
            rows = np.concatenate([group.train for group in groups if group.name in wanted])
        path = self._kept(rows)
        out = self._work / "models" / f"seed-{digest([Path(path).name, config.seed_steps, self._how])[:24]}.safetensors"
        self._train("seed model", TrainModel(config, config.seed_steps), [(path, str(out), 0)])
        return str(out)

    def _units(self, groups: Sequence[GroupRows], seed: str) -> tuple[dict[str, list[str]], dict[str, str]]:
        config = self._config
        context = config.proxy.context
        rows_of = self._steps * config.proxy.batch_rows
        units: dict[str, list[str]] = {}
        files: dict[str, str] = {}
        tasks = []
        for group in groups:
            sizes = unit_sizes(len(group.train), rows_of)
            if len(sizes) == 1 and sizes[0] < rows_of:
                self._notes.append(
                    f"{group.name} has {sizes[0] * context:,} tokens, fewer than a unit: its one model sees them again"
                )
            at = 0
            for number, size in enumerate(sizes):
                path = self._kept(group.train[at : at + size])
                at += size
                name = f"{group.name}/{number}"
                key = digest([Path(path).name, Path(seed).name, self._steps, self._how])[:24]
                files[name] = str(self._work / "models" / f"unit-{key}.safetensors")
                units.setdefault(group.name, []).append(name)
                tasks.append((path, files[name], 0))
        self._train("units", TrainModel(config, self._steps, seed), tasks)
        return units, files

    @staticmethod
    def _ratios(seed: str, files: Mapping[str, str]) -> dict[str, float]:
        start = read_weights(Path(seed))
        return {name: update_ratio(start, read_weights(Path(path))) for name, path in files.items()}

    # Candidates.

    def _candidates(self, names: Sequence[str], groups: Sequence[GroupRows]) -> dict[str, dict[str, float]]:
        config = self._config
        if config.candidates == "subsets":
            largest = min(config.largest or 2, len(names))
            return {" + ".join(some): dict.fromkeys(some, 1 / len(some)) for some in candidate_subsets(names, largest)}
        drawn = draw_mixtures([len(group.train) for group in groups], config.draws, seed=config.random_seed)
        return {f"draw {i:03d}": dict(zip(names, row, strict=True)) for i, row in enumerate(drawn.tolist())}

    def _measured(
        self,
        shares: Mapping[str, Mapping[str, float]],
        units: Mapping[str, Sequence[str]],
        files: Mapping[str, str],
        sets: Mapping[str, str],
        seed: str,
    ) -> tuple[dict[str, list[float]], int]:
        where = [sorted((name, Path(path).name) for name, path in sets.items()), Path(seed).name]
        tasks = {}
        for name, mixture in shares.items():
            some = {group: units[group] for group in units if mixture.get(group, 0) > 0}
            micro = self._config.weights == "micro" and self._config.candidates == "subsets"
            weights = unit_weights(some, None if micro else {group: mixture[group] for group in some})
            parts = {unit: (files[unit], weight) for unit, weight in weights.items()}
            key = digest([sorted((Path(path).name, weight) for path, weight in parts.values()), where])[:24]
            tasks[name] = (parts, str(self._work / "losses" / f"{key}.json"))
        missing = {task[1]: task for task in tasks.values() if not Path(task[1]).exists()}
        self._engine.map("averages", list(missing.values()), EvaluateCandidate(self._config, dict(sets)))
        found = {name: json.loads(Path(out).read_text()) for name, (_, out) in tasks.items()}
        parameters = max((one["parameters"] for one in found.values()), default=0)
        return {name: one["losses"] for name, one in found.items()}, parameters

    def _checked(
        self,
        shares: Mapping[str, Mapping[str, float]],
        losses: Mapping[str, Sequence[float]],
        groups: Sequence[GroupRows],
        sets: Mapping[str, str],
        seed: str,
        ratios: Mapping[str, float],
    ) -> CheckTable | None:
        config = self._config
        if not config.check:
            return None
        if len(shares) < 3:
            msg = f"check needs at least three candidates, there are {len(shares)}: allow larger subsets"
            raise DataError(msg)
        chosen = sorted(shares, key=lambda name: digest(["check", config.random_seed, name]))[: config.check]
        rows_of = self._steps * config.proxy.batch_rows
        tasks = []
        units: dict[str, list[str]] = {}
        files: dict[str, str] = {}
        for name in chosen:
            rows = _blend(groups, shares[name], rows_of)
            path = self._kept(rows)
            key = digest([Path(path).name, Path(seed).name, self._steps, self._how])[:24]
            out = str(self._work / "models" / f"unit-{key}.safetensors")
            units[name], files[name] = [name], out
            tasks.append((path, out, 0))
        self._train("trained candidates", TrainModel(config, self._steps, seed), tasks)
        alone = {name: {name: 1.0} for name in chosen}
        trained, _ = self._measured(alone, units, files, sets, seed)
        return check_table({name: losses[name] for name in chosen}, trained, update_ratios=ratios)


def _blend(groups: Sequence[GroupRows], shares: Mapping[str, float], rows: int) -> npt.NDArray[np.int32]:
    """Return so many rows in the mixture, groups repeated where they are too small."""
    counts = largest_remainder([shares.get(group.name, 0.0) for group in groups], rows)
    parts = [np.resize(np.arange(len(group.train)), n) for group, n in zip(groups, counts.tolist(), strict=True)]
    return np.concatenate([group.train[part] for group, part in zip(groups, parts, strict=True)])


def _trainer(
    config: MergeConfig, rows: Mapping[str, npt.NDArray[np.int32]], sets: Mapping[str, Any], steps: int
) -> Any:
    import torch

    from tamis.scorers.mixture.trainer import CausalTrainer

    torch.set_num_threads(config.proxy.threads)
    empty = np.zeros((0, config.proxy.context), np.int32)
    train = rows.get("rows", empty)
    group = GroupRows("rows", train if len(train) else np.zeros((1, config.proxy.context), np.int32), empty)
    return CausalTrainer(trainer_options(config.proxy, steps, config.random_seed), [group], extra=sets)


def _weights(trainer: Any) -> dict[str, Any]:
    return {name: tensor.detach().cpu().numpy() for name, tensor in trainer.model.state_dict().items()}


def _load(trainer: Any, weights: Mapping[str, Any]) -> None:
    import torch

    tensors = {name: torch.from_numpy(np.array(value)) for name, value in weights.items()}
    try:
        trainer.model.load_state_dict(tensors)
    except RuntimeError as error:
        msg = f"the weights are of another model: {str(error).splitlines()[0]}"
        raise ModelError(msg) from error


def _plain(config: MergeConfig, result: MergeResult) -> dict[str, Any]:
    found: dict[str, Any] = _values({name: getattr(result, name) for name in result.__dataclass_fields__})
    return {"config": config.model_dump(mode="json"), "model": proxy_model(config.proxy)} | found


def _values(value: Any) -> Any:
    if hasattr(value, "_asdict"):
        return _values(value._asdict())
    if isinstance(value, Mapping):
        return {str(key): _values(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_values(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
