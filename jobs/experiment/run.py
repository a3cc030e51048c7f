"""Runs an experiment: arms drawn, proxies trained, differences judged; finished stages are found again by digest."""

import datetime as dt
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any

import pyarrow as pa

from tamis.jobs.config_file import load_plain
from tamis.jobs.experiment.proxies import TrainProxy, TrainTask, proxy_unit
from tamis.jobs.experiment.sources import TEXT_SCHEMA, ArmTask, DrawArm, evaluation_texts, read_texts
from tamis.jobs.manifest.file import read_manifest
from tamis.jobs.mix.folder import read_mixture
from tamis.jobs.mix.materialise import materialise
from tamis.jobs.mix.train import proxy_tokenizer
from tamis.jobs.provenance import provenance
from tamis.jobs.run.folder import claim, owned
from tamis.jobs.run.paths import led
from tamis.pipeline.code import module_code
from tamis.pipeline.graph.engine import Engine
from tamis.pipeline.storage import filesystem
from tamis.pipeline.storage.column_file import write_batches
from tamis.schemas.base import digest, validate
from tamis.schemas.errors import ConfigError, DataError
from tamis.schemas.experiment import ArmConfig, ExperimentConfig, NgramProxy, TransformerProxy
from tamis.scorers.mixture.paired import ArmComparison, compare_arms, proxy_note
from tamis.scorers.ngram.closed_vocabulary import ClosedVocabulary

__all__ = ["RECORD", "Experiment", "load_experiment", "run_experiment"]

RECORD = "experiment.json"
MEAN = "mean"
"""What the mean of all evaluation sets is called."""
CODE = "tamis.jobs.experiment.proxies"


@dataclass(frozen=True)
class Experiment:
    """A finished experiment.

    Attributes:
        folder: where it is.
        unit: of losses.
        baseline: the arm that the others are compared with.
        tokens: that each proxy was trained on.
        losses: by arm, evaluation set and seed.
        comparisons: each arm against the baseline on each set, and on their mean.
        verdict: sentences.
        notes: what a person should know.
        parameters: of the proxies, the most.
        trained: proxies that were trained now; all others were found.
    """

    folder: str
    unit: str
    baseline: str
    tokens: int
    losses: Mapping[str, Mapping[str, Mapping[int, float]]]
    comparisons: tuple[ArmComparison, ...]
    verdict: tuple[str, ...]
    notes: tuple[str, ...]
    parameters: int
    trained: int


PATHS = ("arms.*.run", "arms.*.mixture", "evaluation.*.path", "evaluation.*.run", "proxy.tokenizer.path")
"""Keys of the config that hold paths."""


def load_experiment(path: str, overrides: Sequence[str] = ()) -> tuple[ExperimentConfig, dict[str, Any]]:
    """Read a config file, whose relative paths lead from its own folder.

    Raises:
        ConfigError: one sentence naming file and key.
    """
    plain, _ = led(load_plain(path, overrides), path, PATHS, "runs/experiment")
    try:
        return validate(ExperimentConfig, plain, "experiment"), plain
    except ConfigError as error:
        msg = f"{path}: {error}"
        raise ConfigError(msg) from None


def run_experiment(
    config: ExperimentConfig, plain: Mapping[str, Any], output: str, engine: Engine, *, fresh: bool = False
) -> Experiment:
    """Run an experiment into a folder, going on from what an earlier call left.

    Args:
        config: what is compared.
        plain: the config as it was given.
        output: the experiment's folder.
        engine: where passes run.
        fresh: forget what earlier calls left.

    Raises:
        ConfigError: for a mistake in the config, or if torch is missing where it is needed.
        DataError: if an arm has no document, or too few tokens.
        RunError: if a folder holds no finished run.
    """
    began, started = time.time(), dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    if filesystem.exists(filesystem.join(output, "manifest.json")):
        msg = f"{output} holds a run: give the experiment a folder of its own with --output"
        raise ConfigError(msg)
    claim(output)
    work = filesystem.join(output, "work")
    with owned(output):
        if fresh:
            filesystem.remove_below(work, keep=("lock.json", "tamis-run"))
        found = _Stages(config, plain, work, engine).carried_out(output)
        record = {
            "name": config.name,
            "config": config.model_dump(mode="json"),
            "source_config": dict(plain),
            "started": started,
            "seconds": round(time.time() - began, 3),
            "provenance": provenance().model_dump(mode="json"),
            **_json(found),
        }
        with filesystem.write_atomically(filesystem.join(output, RECORD)) as stream:
            stream.write(json.dumps(record, indent=1).encode() + b"\n")
    return found


def _json(found: Experiment) -> dict[str, Any]:
    plain = asdict(found)
    plain["comparisons"] = [{**one._asdict(), "difference": one.difference._asdict()} for one in found.comparisons]
    for one in plain["comparisons"]:  # JSON knows no infinity
        for key, value in one["difference"].items():
            if isinstance(value, float) and not abs(value) < float("inf"):
                one["difference"][key] = None
    return plain


class _Stages:
    def __init__(self, config: ExperimentConfig, plain: Mapping[str, Any], work: str, engine: Engine):
        self._config, self._plain, self._work, self._engine = config, plain, work, engine
        self._seeds = tuple(range(config.first_seed, config.first_seed + config.seeds))
        proxy = config.proxy
        self._tokenizer = proxy_tokenizer(proxy) if isinstance(proxy, TransformerProxy) else None
        self._notes: list[str] = []

    def carried_out(self, output: str) -> Experiment:
        config = self._config
        evaluation, held, texts = self._evaluation()
        draws, tokens = self._drawn(held, texts)
        vocabulary = self._vocabulary(draws)
        results, trained = self._trained(draws, evaluation, vocabulary, tokens)
        losses: dict[str, dict[str, dict[int, float]]] = {arm: {} for arm in config.arms}
        for result in results:
            mine = losses[result["arm"]]
            every = dict(result["losses"])
            if len(every) > 1:
                every[MEAN] = sum(every.values()) / len(every)
            for name, value in every.items():
                mine.setdefault(name, {})[result["seed"]] = value
        parameters = max(result["parameters"] for result in results)
        unit = proxy_unit(config.proxy)
        comparisons = self._compared(losses, unit)
        if isinstance(config.proxy, NgramProxy):
            self._notes.append(
                "n-gram proxies say how alike the arms' and the evaluation sets' texts are in runs of words, "
                "not what a large model learns"
            )
        elif proxy_note(parameters):
            self._notes.append(proxy_note(parameters))
        return Experiment(
            output,
            unit,
            config.baseline,
            tokens,
            losses,
            tuple(comparisons),
            tuple(_verdict(comparisons, config.baseline)),
            tuple(self._notes),
            parameters,
            trained,
        )

    def _compared(self, losses: Mapping[str, Mapping[str, Mapping[int, float]]], unit: str) -> list[ArmComparison]:
        """Compare on each set, and on their mean: that is a question of its own, which the sets don't make stricter."""
        found: list[ArmComparison] = []
        for wanted in (False, True):
            part = {
                arm: {name: values for name, values in sets.items() if (name == MEAN) == wanted}
                for arm, sets in losses.items()
            }
            if all(part.values()):
                found += compare_arms(part, self._config.baseline, confidence=self._config.confidence, unit=unit)
        return found

    # Stages.

    def _evaluation(self) -> tuple[dict[str, str], frozenset[str], frozenset[bytes]]:
        """Return name to file of each set, and what no arm may take."""
        files, held, texts = {}, set(), set()
        for name, one in self._config.evaluation.items():
            found = evaluation_texts(name, one)
            path = filesystem.join(self._work, f"evaluation-{digest(sorted(found.items()))[:16]}.arrow")
            if not filesystem.exists(path):
                columns = [
                    pa.array(list(found), pa.string()),
                    pa.array([0] * len(found), pa.int64()),
                    pa.array([0] * len(found), pa.int64()),
                    pa.array(list(found.values()), pa.large_string()),
                ]
                write_batches(path, TEXT_SCHEMA, [pa.RecordBatch.from_arrays(columns, schema=TEXT_SCHEMA)])
            files[name] = path
            held |= set(found)
            texts |= {sha256(text.encode()).digest() for text in found.values()}
        return files, frozenset(held), frozenset(texts)

    def _source(self, name: str, arm: ArmConfig) -> tuple[str, str]:
        """Return the folder of an arm's documents, and a digest of what is in it."""
        if arm.mixture is not None:
            return arm.mixture, read_mixture(arm.mixture).mixture_sha256
        run = str(arm.run)
        manifest = read_manifest(run)
        if arm.mix is None:
            fates = ("selected",) if arm.of == "selected" else ("selected", "rejected")
            return run, digest([shard.sha256 for shard in manifest.shards if shard.fate in fates])
        plain = self._plain["arms"][name]["mix"]
        folder = filesystem.join(self._work, f"mixture-{digest([run, plain])[:16]}")
        made = materialise(run, arm.mix, plain, folder, self._engine)
        return folder, made.manifest.mixture_sha256

    def _drawn(self, held: frozenset[str], texts: frozenset[bytes]) -> tuple[dict[tuple[str, int], str], int]:
        """Return the file of each arm and seed, and the tokens that each proxy is trained on."""
        config = self._config
        told = None if self._tokenizer is None else self._tokenizer.digest
        common = [
            sorted(held),
            sorted(text.hex() for text in texts),
            told,
            module_code("tamis.jobs.experiment.sources"),
        ]
        tasks = []
        for name, arm in config.arms.items():
            source, content = self._source(name, arm)
            kept = arm.model_dump(mode="json", exclude={"run", "mixture", "mix"})
            paths = tuple(
                filesystem.join(
                    self._work, "draws", f"{digest([content, kept, seed, config.tokens, common])[:24]}.arrow"
                )
                for seed in self._seeds
            )
            tasks.append(ArmTask(name, source, arm, self._seeds, paths))
        draw = DrawArm(config.tokens, self._tokenizer, held, texts)
        notes = {note["arm"]: note["draws"] for note in self._engine.map("draw the arms", tasks, draw)}
        smallest = {name: min(draw["tokens"] for draw in draws) for name, draws in notes.items()}
        least = min(smallest, key=lambda name: smallest[name])
        tokens = config.tokens or int(smallest[least] * config.max_epochs)
        if config.tokens is None:
            self._notes.append(f"arms are trained on {tokens:,} tokens, what {least} has")
        for name, number in smallest.items():
            if number * config.max_epochs < tokens:
                msg = (
                    f"arm {name} has {number:,} tokens, which {config.max_epochs:g} epochs don't make {tokens:,}: "
                    "lower `tokens`, or allow more `max_epochs`"
                )
                raise DataError(msg)
            if number < tokens:
                self._notes.append(f"{name} is repeated: {tokens / number:.2f} epochs of {number:,} tokens")
        dropped = sum(draw["held_out"] for draws in notes.values() for draw in draws)
        if dropped:
            self._notes.append(f"{dropped:,} drawn documents were left out: evaluation sets have the same text")
        files = {(task.name, seed): path for task in tasks for seed, path in zip(task.seeds, task.paths, strict=True)}
        return files, tokens

    def _vocabulary(self, draws: Mapping[tuple[str, int], str]) -> str:
        """Return the file of the words that n-gram models share; empty for transformers."""
        if not isinstance(self._config.proxy, NgramProxy):
            return ""
        most = self._config.proxy.vocabulary
        name = digest([sorted(path.rsplit("/", 1)[-1] for path in draws.values()), most])[:16]
        path = filesystem.join(self._work, f"vocabulary-{name}.txt")
        if not filesystem.exists(path):
            # A document that several arms have, or several seeds, counts once.
            every = {doc_id: text for drawn in draws.values() for doc_id, text in read_texts(drawn)}
            words = ClosedVocabulary.of(every.values(), most=most).words
            with filesystem.write_atomically(path) as stream:
                stream.write("\n".join(sorted(words)).encode())
        return path

    def _trained(
        self, draws: Mapping[tuple[str, int], str], evaluation: Mapping[str, str], vocabulary: str, tokens: int
    ) -> tuple[list[dict[str, Any]], int]:
        names = sorted((name, path.rsplit("/", 1)[-1]) for name, path in evaluation.items())
        # Neither where nor on how many threads it runs is part of what is asked for.
        proxy = self._config.proxy.model_dump(mode="json", exclude={"device", "threads"})
        common = [names, vocabulary.rsplit("/", 1)[-1], tokens, proxy, module_code(CODE)]
        tasks = []
        for (arm, seed), drawn in draws.items():
            key = digest([drawn.rsplit("/", 1)[-1], seed, arm, common])[:24]
            path = filesystem.join(self._work, "results", f"{key}.json")
            tasks.append(TrainTask(arm, seed, drawn, path))
        missing = [task for task in tasks if not filesystem.exists(task.path)]
        self._engine.map("train proxies", missing, TrainProxy(self._config.proxy, tokens, dict(evaluation), vocabulary))
        results = []
        for task in tasks:
            with filesystem.open_binary(task.path) as stream:
                results.append(json.loads(stream.read()))
        return results, len(missing)


def _verdict(comparisons: Sequence[ArmComparison], baseline: str) -> list[str]:
    """Return the answer: of each arm on the mean of all sets, or on the one set."""
    by_arm: dict[str, list[ArmComparison]] = {}
    for one in comparisons:
        by_arm.setdefault(one.arm, []).append(one)
    told = []
    for arm, found in by_arm.items():
        whole = next((one for one in found if one.evaluation == MEAN), found[0])
        low, high = whole.difference.low, whole.difference.high
        match whole.verdict:
            case "better" | "worse":
                word = "teaches better than" if whole.verdict == "better" else "teaches worse than"
                told.append(f"{arm} {word} {baseline}: {whole.difference.mean:+.4g} ({low:+.4g} to {high:+.4g})")
            case "same":
                told.append(f"{arm} is the same as {baseline} on every seed")
            case "one seed":
                told.append(f"{arm} against {baseline}: one seed can't tell a difference from noise")
            case _:
                why = "" if low <= 0 <= high else ", after adjusting for all arms"
                mean = whole.difference.mean
                told.append(f"{arm} can't be told from {baseline}{why}: {mean:+.4g} ({low:+.4g} to {high:+.4g})")
    return told
