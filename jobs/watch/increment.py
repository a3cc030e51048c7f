"""One pass of continuous mode: what is new becomes an increment, or several, and these join the corpus."""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from tamis.jobs.manifest.file import MANIFEST
from tamis.jobs.run.execute import execute
from tamis.jobs.run.folder import claim, owned
from tamis.jobs.run.paths import Places
from tamis.jobs.run.plan import Plan, find_models, plan_from, steps_of
from tamis.jobs.watch.corpus import (
    CorpusRecord,
    increment_folder,
    increment_name,
    is_corpus,
    path_from,
    read_corpus,
    write_corpus,
)
from tamis.jobs.watch.derive import deciding_digest, frozen_from, frozen_steps, increment_config, known_of
from tamis.jobs.watch.files import GONE, FoundFile, Standing, known_files, listed_files, standing
from tamis.jobs.watch.total import Joined, increments_of, total, write_total
from tamis.pipeline.corpus.earlier import take_over
from tamis.pipeline.corpus.resample import MODEL_FOLDER
from tamis.pipeline.graph.engine import Engine
from tamis.pipeline.steps.base import Step
from tamis.pipeline.storage import filesystem
from tamis.schemas.config import Config
from tamis.schemas.errors import ConfigError, RunError, TamisError
from tamis.schemas.manifest import Manifest, ModelRecord
from tamis.schemas.secrets import redacted, redacted_all
from tamis.schemas.watch import WatchConfig

__all__ = [
    "PLANNED",
    "Event",
    "Grown",
    "MakeEngine",
    "Refused",
    "Stood",
    "Told",
    "Watched",
    "kept_models",
    "watched",
]

PLANNED = "increment.json"
"""In an increment's folder: of which files it is; written before the work begins."""
SHOWN = 3
"""Files that a sentence names."""

MakeEngine: TypeAlias = Callable[[str], Engine]
"""From the folder of a run to where its graph runs."""


@dataclass(frozen=True)
class Told:
    """Something that a person should know.

    Attributes:
        text: a sentence.
        matters: whether to say it where nothing else is said.
    """

    text: str
    matters: bool = True


@dataclass(frozen=True)
class Grown:
    """An increment has joined the corpus.

    Attributes:
        name: of the increment.
        manifest: of the increment.
    """

    name: str
    manifest: Manifest


@dataclass(frozen=True)
class Refused:
    """An increment is whole, and nothing that a nightly job can trust: it hasn't joined.

    Attributes:
        name: of the increment.
        folder: where it lies.
        problems: sentences.
    """

    name: str
    folder: str
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Stood:
    """The pass is over.

    Attributes:
        standing: of the files as the pass found them.
        corpus: manifest of the corpus; None as long as it has no increment.
    """

    standing: Standing
    corpus: Manifest | None


Event: TypeAlias = Told | Grown | Refused | Stood


class Watched:
    """A corpus that this process alone works on.

    Args:
        folder: of the corpus.
        config: its config.
        plain: the same as it was given.
        places: where relative paths lead from.
        make_engine: makes the engine of an increment.
        new_config: go on where the config decides otherwise than it did.
    """

    def __init__(
        self,
        folder: str,
        config: Config,
        plain: Mapping[str, Any],
        places: Places,
        make_engine: MakeEngine,
        *,
        new_config: bool = False,
    ):
        self.folder = folder
        self.config = config
        self.plain = plain
        self.places = places
        self.options = config.watch or WatchConfig()
        self._make_engine = make_engine
        self._new_config = new_config
        self._record: CorpusRecord | None = None
        self._joined: dict[str, Joined] = {}

    # --- what is remembered ---

    @property
    def record(self) -> CorpusRecord:
        """What is remembered, from the first pass on."""
        if self._record is None:
            self._record = self._opened()
        return self._record

    def _increments(self) -> dict[str, Joined]:
        """Return the increments; each is read once."""
        self._joined = increments_of(self.folder, self.record, self._joined)
        return self._joined

    def _write_total(self) -> Manifest:
        return write_total(self.folder, self.record, self._increments())

    def _keep(self, **changes: Any) -> CorpusRecord:
        changed = self.record.model_copy(update=changes)
        if changed != self._record:
            write_corpus(self.folder, changed)
            self._record = changed
        return changed

    def _opened(self) -> CorpusRecord:
        """Return what is remembered, brought up to the config at hand.

        Raises:
            ConfigError: if the config decides otherwise than that of the increments.
        """
        found = find_models(self.config, self.places)
        models = {label: {option: one.sha256 for option, one in named.items()} for label, named in found.items()}
        deciding = deciding_digest(self.config, models)
        now = CorpusRecord(
            name=self.config.name,
            config=redacted_all(self.config.resolved(models)),
            source_config=redacted_all(dict(self.plain)),
            config_sha256=self.config.digest(models),
            deciding_sha256=deciding,
            models=tuple(
                ModelRecord(step=label, option=option, reference=redacted(one.reference), sha256=one.sha256)
                for label, named in found.items()
                for option, one in named.items()
            ),
            folder=path_from(self.folder, self.places.folders[0]) if filesystem.is_local(self.folder) else None,
        )
        if not is_corpus(self.folder):
            return now
        before = read_corpus(self.folder)
        own = {"increments", "next", "frozen", "frozen_models", "same", "told", "leftover"}
        kept = before.model_dump(include=own)
        if before.deciding_sha256 != deciding and before.increments:
            if not self._new_config:
                raise ConfigError(self._otherwise(before, now))
            kept |= {"frozen": {}, "frozen_models": {}}
        changed = now.model_copy(update=kept)
        if changed != before:
            write_corpus(self.folder, changed)
        return changed

    def _otherwise(self, before: CorpusRecord, now: CorpusRecord) -> str:
        from tamis.jobs.manifest.differences import config_changes

        last = increments_of(self.folder, before)[before.increments[-1]].manifest
        like = last.model_copy(update={"config": before.config, "source_config": before.source_config})
        told = config_changes(like, now.config, [step.label for step in steps_of(self.config)])
        changes = [one for one in told if not one.startswith(("inputs", "watch"))] or ["a model's content changed"]
        more = f"; and {len(changes) - SHOWN} more" if len(changes) > SHOWN else ""
        return (
            f"the config decides otherwise than for the {len(before.increments):,} increments in {self.folder} "
            f"({'; '.join(changes[:SHOWN])}{more}): give another folder with --output, or --new-config to go on from "
            "here with it"
        )

    # --- a pass ---

    def run_once(self) -> Iterator[Event]:
        """Take in what is new; yields what happens as it happens, and last how the files stand.

        Raises:
            TamisError: whatever stopped it, in a sentence. What had joined the corpus before stays.
        """
        self._record = None  # a model may have been trained anew since the last pass
        record = self.record
        if not is_corpus(self.folder):
            write_corpus(self.folder, record)
        yield from _drop_leftovers(self.folder, record)
        self._keep(leftover=())
        if record.increments:
            self._write_total()  # which a process that was killed may not have come to
        listed, empty = listed_files(self.config, self.places)
        known = known_files([one.manifest for one in self._increments().values()])
        for told in empty:
            yield Told(told, matters=not known)
        found = standing(listed, known, self.record.same, self.places, settle=self.options.settle)
        yield from self._tell(found)
        if not record.increments:
            for step in steps_of(self.config):
                if step.rewrites and step.over_corpus:
                    yield Told(f"step {step.label} compares what an increment holds, not earlier ones", matters=False)
            if self.config.mixture is not None:
                yield Told("the mixture is made when the corpus is compacted", matters=False)
        todo = sorted([*found.new, *(found.changed if self.options.changed == "read" else ())])
        planned, why = self._planned(todo)
        if why is not None:
            yield Told(why)
        if planned:
            rest = {file.key for file in planned}
            todo = [file for file in todo if file.key not in rest]
        size = self.options.max_files or max(1, len(todo))
        batches = ([planned] if planned else []) + [todo[i : i + size] for i in range(0, len(todo), size)]
        for batch in batches:
            event = self._increment(batch)
            yield event
            if isinstance(event, Refused):
                break
        yield Stood(found, total(self.record, self._increments()) if self.record.increments else None)

    def _tell(self, found: Standing) -> Iterator[Told]:
        """Say which files changed or are gone, once."""
        states = {file.key: file.info.fingerprint for file in found.changed} | dict.fromkeys(found.gone, GONE)
        fresh = [key for key, state in states.items() if self.record.told.get(key) != state]
        changed = [key for key in fresh if states[key] != GONE]
        gone = [key for key in fresh if states[key] == GONE]
        if found.changed and self.options.changed == "fail":
            names = _named([file.key for file in found.changed])
            msg = f"{names} changed after being read, and `watch.changed: fail` is set: put back what was there"
            raise RunError(msg)
        self._keep(told=states, same=dict(found.same))
        if changed and self.options.changed == "say":
            yield Told(
                f"{_named(changed)} changed after being read: what was read stays, and nothing is read again "
                "(`watch.changed: read` does)"
            )
        elif changed:
            yield Told(f"{_named(changed)} changed after being read: all of its records are read, as of a new file")
        if gone:
            were = "was read and is" if len(gone) == 1 else "were read and are"
            yield Told(f"{_named(gone)} {were} gone: what was read stays")
        if found.waiting:
            names = _named([file.key for file in found.waiting])
            yield Told(f"written to just now, so read later: {names}", matters=False)

    # --- an increment ---

    def _planned(self, todo: Sequence[FoundFile]) -> tuple[list[FoundFile], str | None]:
        """Return the files of an increment that was begun, if they are as they were, or why it is begun anew."""
        name = increment_name(self.record.next)
        path = filesystem.join(increment_folder(self.folder, name), PLANNED)
        if not filesystem.exists(path):
            return [], None
        try:
            with filesystem.open_binary(path) as stream:
                told = {str(key): str(fingerprint) for key, fingerprint in json.loads(stream.read())}
        except (ValueError, TypeError):
            filesystem.remove(path)
            return [], f"increment {name} is begun anew: {path} is damaged"
        there = {file.key: file for file in todo}
        other = [key for key, print_ in told.items() if key not in there or there[key].info.fingerprint != print_]
        if not other:
            return [there[key] for key in told], None
        filesystem.remove(path)
        return [], f"increment {name} is begun anew: {_named(other)} changed or went since it was begun"

    def _increment(self, files: Sequence[FoundFile]) -> Grown | Refused:
        record = self.record
        name = increment_name(record.next)
        folder = increment_folder(self.folder, name)
        plan = self._plan(files)
        planned = filesystem.join(folder, PLANNED)
        with filesystem.write_atomically(planned) as stream:
            stream.write(json.dumps([[file.key, file.info.fingerprint] for file in files], indent=0).encode() + b"\n")
        try:
            finished = execute(plan, folder, self._make_engine(folder), cache=self.folder)
        except TamisError:
            filesystem.remove(planned)  # the next pass plans anew, with what has come or was mended
            raise
        if finished.problems:
            filesystem.remove(planned)
            return Refused(name, folder, finished.problems)
        self._join(name, finished.manifest)
        return Grown(name, finished.manifest)

    def _plan(self, files: Sequence[FoundFile]) -> Plan:
        record = self.record
        before = record.increments[-1] if record.increments else None
        steps = frozen_steps(self.config, record, self.folder, self.places)
        config, plain = increment_config(self.config, self.plain, steps, files, before, self.folder, self.places)
        plan = plan_from(config, plain, self.places, known_of(config, files))
        if before is None:
            return plan
        return replace(plan, parents=(self._increments()[before].parent(f"../{before}"),))

    def _join(self, name: str, manifest: Manifest) -> None:
        """Let an increment be part of the corpus: from the moment at which `corpus.json` names it."""
        record = self.record
        steps = steps_of(self.config)
        changes: dict[str, Any] = {"increments": (*record.increments, name), "next": record.next + 1}
        if self.options.thresholds == "frozen":
            changes["frozen"] = frozen_from(steps, manifest, record.frozen)
            fitted = [step for step in steps if step.label not in record.frozen_models]
            changes["frozen_models"] = record.frozen_models | kept_models(self.folder, name, fitted)
        self._keep(**changes)
        self._write_total()
        if self.options.indexes == "last":
            # Asking a store for each would cost more from increment to increment.
            for earlier in record.increments if filesystem.is_local(self.folder) else record.increments[-1:]:
                take_over(increment_folder(self.folder, earlier))


def kept_models(folder: str, name: str, steps: Sequence[Step]) -> dict[str, str]:
    """Copy the models that an increment fitted to where they stay; return step to folder, relative to the corpus."""
    kept = {}
    for step in steps:
        if not step.leaves_model:
            continue
        kept[step.label] = f"models/{step.label}-{name}"
        for file in filesystem.expand(filesystem.join(increment_folder(folder, name), MODEL_FOLDER, step.label)):
            with filesystem.open_binary(file.path) as stream:
                content = stream.read()
            where = filesystem.join(folder, kept[step.label], file.path.rsplit("/", 1)[-1])
            with filesystem.write_atomically(where) as out:
                out.write(content)
    return kept


def _named(keys: Sequence[str]) -> str:
    """Return the first of some files in a sentence's part."""
    shown = ", ".join(keys[:SHOWN])
    return shown if len(keys) <= SHOWN else f"{shown} and {len(keys) - SHOWN:,} more files"


def _drop_leftovers(folder: str, record: CorpusRecord) -> Iterator[Told]:
    """Delete the increments that were merged into another one, which a process that was killed left."""
    for name in record.leftover:
        if name not in record.increments:
            filesystem.remove_tree(increment_folder(folder, name))
    if record.leftover:
        yield Told(f"{len(record.leftover):,} increments that were merged are deleted", matters=False)


def _sweep(folder: str) -> None:
    """Delete what a process that was killed left half-written, which never had a name that anyone reads."""
    if filesystem.is_local(folder):
        root = Path(filesystem.local_path(folder))
        for path in (*root.glob(".*.tmp"), *root.glob("increments/*/.*.tmp")):
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def watched(
    folder: str,
    config: Config,
    plain: Mapping[str, Any],
    places: Places,
    make_engine: MakeEngine,
    *,
    new_config: bool = False,
) -> Iterator[Watched]:
    """Hold a corpus for this process alone while the block runs.

    Raises:
        ConfigError: if the folder holds something else, or the config can't be watched.
        RunError: if another process works on it.
    """
    if config.limit is not None:
        msg = "limit: a trial has an end, and a corpus that is watched hasn't: leave `limit` out"
        raise ConfigError(msg)
    if not is_corpus(folder) and filesystem.exists(filesystem.join(folder, MANIFEST)):
        msg = f"{folder} holds a run, which is no corpus that grows: give another folder with --output"
        raise ConfigError(msg)
    frozen_steps(config, None, folder, places)
    claim(folder)
    with owned(folder):
        _sweep(folder)
        yield Watched(folder, config, plain, places, make_engine, new_config=new_config)
