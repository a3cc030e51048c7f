"""Merges the increments of a corpus into one: a run over all their files, which takes finished stages from theirs."""

from dataclasses import dataclass, replace
from typing import Literal

from tamis.jobs.manifest.compare import Moved, moved_documents
from tamis.jobs.manifest.file import config_folders
from tamis.jobs.run.execute import execute
from tamis.jobs.run.folder import claim, owned
from tamis.jobs.run.paths import Places
from tamis.jobs.run.plan import Plan, plan_from, steps_of
from tamis.jobs.watch.corpus import (
    CorpusRecord,
    increment_folder,
    increment_name,
    read_corpus,
    write_corpus,
)
from tamis.jobs.watch.derive import frozen_from, frozen_steps, plain_steps
from tamis.jobs.watch.files import FoundFile, file_key, listed_files, standing
from tamis.jobs.watch.increment import PLANNED, MakeEngine, kept_models
from tamis.jobs.watch.total import increments_of, write_total
from tamis.pipeline.steps.registry import parse_config
from tamis.pipeline.steps.seen import IndexedStep
from tamis.pipeline.storage import filesystem
from tamis.pipeline.storage.filesystem import FileInfo
from tamis.schemas.config import Config
from tamis.schemas.errors import ConfigError, RunError
from tamis.schemas.manifest import InputRecord, Manifest

__all__ = ["Compacted", "Thresholds", "compact"]

Thresholds = Literal["frozen", "estimate"]
SHOWN = 3


@dataclass(frozen=True)
class Compacted:
    """A corpus whose increments were merged.

    Attributes:
        name: of the increment that all became; None where there was one already.
        merged: those that it was made of.
        manifest: of the corpus.
        moved: documents that only the increments or only the merged corpus selected, and why.
        problems: why the merged increment counts as failed, so that the corpus stays as it was.
    """

    name: str | None
    merged: tuple[str, ...]
    manifest: Manifest
    moved: tuple[Moved, ...] = ()
    problems: tuple[str, ...] = ()


def compact(
    folder: str,
    make_engine: MakeEngine,
    *,
    thresholds: Thresholds | None = None,
    present: bool = False,
    keep: bool = False,
) -> Compacted:
    """Merge the increments of a corpus into one: the bytes that one run over all their files gives.

    That run decides anew: it keeps of copies the one that the config prefers, not the one that came first, and it
    finds shares and percentiles in all documents together. What increments read and scored is taken from there.

    Args:
        folder: of the corpus.
        make_engine: makes the engine of the run.
        thresholds: where the config holds them fast: `frozen` decides by those, `estimate` finds them anew.
        present: read files that changed since, or are gone, as they are now.
        keep: leave the merged increments where they are, outside the corpus.

    Raises:
        ConfigError: if thresholds are held fast and nothing is said of them.
        RunError: if one run can't give what the increments are: files changed or are gone.
    """
    record = read_corpus(folder)
    claim(folder)
    with owned(folder):
        return _Compaction(folder, record, make_engine, thresholds, present=present, keep=keep).carry_out()


class _Compaction:
    def __init__(
        self,
        folder: str,
        record: CorpusRecord,
        make_engine: MakeEngine,
        thresholds: Thresholds | None,
        *,
        present: bool,
        keep: bool,
    ):
        self._folder = folder
        self._record = record
        self._make_engine = make_engine
        self._thresholds = thresholds
        self._present = present
        self._keep = keep
        self._increments = increments_of(folder, record)

    def carry_out(self) -> Compacted:
        record, folder = self._record, self._folder
        if not record.increments:
            msg = f"{folder} has no increment yet: there is nothing to merge"
            raise RunError(msg)
        if len(record.increments) == 1:
            return Compacted(None, (), write_total(folder, record, self._increments))
        config = parse_config(dict(record.source_config))
        before = write_total(folder, record, self._increments)
        places = Places(config_folders(folder, before))
        name = increment_name(record.next)
        unfinished = increment_folder(folder, name)
        if filesystem.exists(filesystem.join(unfinished, PLANNED)):
            msg = f"increment {name} was begun and isn't finished: tamis watch goes on with it; merge after that"
            raise RunError(msg)
        plan = self._plan(config, places)
        finished = execute(plan, unfinished, self._make_engine(unfinished), cache=folder)
        if finished.problems:
            return Compacted(name, record.increments, before, problems=finished.problems)
        moved = moved_documents(folder, unfinished)
        after = self._switch(config, name, finished.manifest)
        return Compacted(name, record.increments, after, moved)

    def _switch(self, config: Config, name: str, manifest: Manifest) -> Manifest:
        """Let the corpus be the one increment, and delete those that it was made of."""
        record, folder = self._record, self._folder
        frozen, models = record.frozen, record.frozen_models
        if config.watch is not None and config.watch.thresholds == "frozen" and self._thresholds == "estimate":
            frozen = frozen_from(steps_of(config), manifest, {})
            models = kept_models(folder, name, steps_of(config))
        changed = record.model_copy(
            update={
                "increments": (name,),
                "next": record.next + 1,
                "frozen": frozen,
                "frozen_models": models,
                "leftover": () if self._keep else (*record.leftover, *record.increments),
            }
        )
        write_corpus(folder, changed)
        after = write_total(folder, changed, increments_of(folder, changed))
        if not self._keep:
            for merged in changed.leftover:
                filesystem.remove_tree(increment_folder(folder, merged))
            write_corpus(folder, changed.model_copy(update={"leftover": ()}))
        return after

    # --- what is run ---

    def _plan(self, config: Config, places: Places) -> Plan:
        frozen = config.watch is not None and config.watch.thresholds == "frozen"
        steps = frozen_steps(config, self._record, self._folder, places)
        held = [step.label for step, given in zip(steps, steps_of(config), strict=True) if step != given]
        if frozen and held and self._thresholds is None:
            msg = (
                f"thresholds are frozen for {', '.join(held)}: one run over all files would find others; "
                "--thresholds frozen merges by those that hold, --thresholds estimate finds them anew for all documents"
            )
            raise ConfigError(msg)
        plain = dict(self._record.source_config)
        if frozen and held and self._thresholds == "frozen":
            plain["steps"] = plain_steps(steps)
            config = parse_config(plain)
        files = self._files(config, places)
        known: dict[int, list[FileInfo]] = {}
        for file in files:
            known.setdefault(file.input, []).append(file.info)
        whole = plan_from(config, plain, places, known)
        # The bytes are those of the config as it was given: what is left for later increments is no part of them.
        leaving = tuple(
            step.leaving() if isinstance(step, IndexedStep) or (frozen and step.leaves_model) else step
            for step in whole.steps
        )
        parents = tuple(one.parent(f"../{name}") for name, one in self._increments.items())
        return replace(whole, config=whole.config.model_copy(update={"steps": leaving}), parents=parents)

    def _files(self, config: Config, places: Places) -> list[FoundFile]:
        """Return all files that were read, as they are now.

        Raises:
            RunError: if one has another content than when it was read, or is gone, unless that is all right.
        """
        versions: dict[str, list[InputRecord]] = {}
        for joined in self._increments.values():
            for one in joined.manifest.inputs:
                versions.setdefault(file_key(one.source, one.path), []).append(one)
        listed, _ = listed_files(config, places)
        known = {key: read[-1] for key, read in versions.items()}
        found = standing(listed, known, self._record.same, places, settle=0)
        twice = [key for key, read in versions.items() if len({one.sha256 or one.fingerprint for one in read}) > 1]
        for keys, what in (
            ([file.key for file in found.changed], "changed after being read"),
            (list(found.gone), "gone after being read"),
            (twice, "read in several states, of which one run has the last alone"),
        ):
            if keys and not self._present:
                more = f" (and {len(keys) - SHOWN:,} more)" if len(keys) > SHOWN else ""
                msg = (
                    f"one run can't give what the increments are: {what}: {', '.join(keys[:SHOWN])}{more}; "
                    "--present takes files as they are now, and so loses what only earlier states had"
                )
                raise RunError(msg)
        read_once = {file.key for file in (*found.new, *found.waiting)}
        return [file for file in listed if file.key not in read_once]
