"""What an assistant can ask of a run: the funnel, SQL, samples, other bounds, and what another config would redo."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from tamis.jobs.config_file import override, parse_override
from tamis.jobs.json_text import json_text
from tamis.jobs.manifest.file import read_manifest
from tamis.jobs.sql.closed import first_rows, shut
from tamis.jobs.sql.names import identifier, literal
from tamis.jobs.sql.views import add_run, database
from tamis.pipeline.steps.registry import parse_config
from tamis.pipeline.storage import filesystem
from tamis.schemas.base import nearest
from tamis.schemas.config import Config
from tamis.schemas.errors import ConfigError
from tamis.schemas.step import FilePath, StepConfig

__all__ = ["MOST_ROWS", "TEXT", "Answers"]

MOST_ROWS = 1000
"""Rows of an answer at most."""
TEXT = 2000
"""Characters of a text in an answer at most."""
SECONDS = 60.0
Answer = dict[str, Any]


class Answers:
    """A finished local run that is only read; nothing outside of its folder is.

    Args:
        run: the run's folder.

    Raises:
        ConfigError: if it isn't local: queries could then not be kept to the run.
        RunError: if it holds no finished run, or its shards can't be read.
    """

    def __init__(self, run: str):
        if not filesystem.is_local(run):
            msg = f"{run}: only runs on this machine are served: copy it here"
            raise ConfigError(msg)
        self.run = run
        self.manifest = read_manifest(run)
        self._connection = database()
        self._spill = tempfile.TemporaryDirectory(prefix="tamis-mcp-")
        add_run(self._connection, run)
        described = self._connection.execute("DESCRIBE documents").fetchall()
        self.columns: Mapping[str, str] = {name: kind for name, kind, *_ in described}
        shut(self._connection, [filesystem.local_path(run)], self._spill.name)

    def close(self) -> None:
        """Close the database."""
        self._connection.close()
        self._spill.cleanup()

    def _table(self, query: str, limit: int) -> Answer:
        found = first_rows(self._connection, query, max(1, min(limit, MOST_ROWS)), SECONDS)
        rows = [[_plain(value) for value in row] for row in found.rows]
        return {"columns": found.heads, "rows": rows, "more": found.more}

    def funnel(self) -> Answer:
        """Return what was read and how it ended, and by step what came, was kept, and fell to which rule."""
        manifest = self.manifest
        counts = {name: getattr(manifest, name) for name in ("read", "selected", "rejected", "errors", "text_bytes")}
        found = []
        for step in manifest.steps:
            rejected: dict[str, int] = {}
            for one in step.counts:
                for rule, number in one.rejected.items():
                    rejected[rule] = rejected.get(rule, 0) + number
            totals = {name: sum(getattr(one, name) for one in step.counts) for name in ("documents", "kept", "errors")}
            found.append({"step": step.label, **totals, "rejected": rejected, "cpu_seconds": step.seconds})
        return {
            "run": self.run,
            "name": manifest.name,
            **counts,
            "sources": manifest.sources,
            "steps": found,
            "warnings": [_plain(told) for told in manifest.warnings],
        }

    def sql(self, query: str, limit: int = 100) -> Answer:
        """Run one query that only reads.

        Raises:
            ConfigError: for a mistake, another statement, a file outside of the run, or more than a minute.
        """
        return self._table(query, limit)

    def sample(self, rule: str, n: int = 5) -> Answer:
        """Return documents drawn by a keyed hash that fell to a rule or at a step, or `selected`.

        Raises:
            ConfigError: if nothing of that name rejected a document.
        """
        known = sorted({name for step in self.manifest.steps for one in step.counts for name in one.rejected})
        labels = [step.label for step in self.manifest.steps]
        if rule not in (*known, *labels, "selected"):
            msg = f"no rule or step {rule!r}{nearest(rule, [*known, *labels, 'selected'])}"
            raise ConfigError(msg)
        return self._table(f"FROM sample({literal(rule)}, {max(1, min(int(n), MOST_ROWS))})", n)

    def what_if(self, column: str, least: float | None = None, most: float | None = None) -> Answer:
        """Return by source and language what bounds on a column would keep and lose.

        Raises:
            ConfigError: if there is no such column.
        """
        if column not in self.columns:
            msg = f"there is no column {column!r}{nearest(column, list(self.columns))}"
            raise ConfigError(msg)
        bounds = ", ".join("NULL" if bound is None else repr(float(bound)) for bound in (least, most))
        return self._table(f"FROM what_if({identifier(column)}, {bounds})", MOST_ROWS)

    def plan(self, changes: Sequence[str]) -> Answer:
        """Return what the run's config would do with changed options, by step; reads no file but the manifest.

        Args:
            changes: "steps.language.min_score=0.8" and the like: options of the run's steps that name no file.

        Returns:
            The config as YAML, and of each step whether it `stays`, `decides` again over the scores that are kept, or
            `scores` again; what follows a step that changed sees other documents, and decides again at least.

        Raises:
            ConfigError: for an option that isn't there, isn't one of a step, or names a file.
        """
        plain = json.loads(json.dumps(self.manifest.source_config))
        before = parse_config(self.manifest.source_config)
        for pair in changes:
            key, value = parse_override(pair)
            if not key.startswith("steps."):
                msg = f"{key}: only options of steps can be tried here, such as steps.language.min_score=0.8"
                raise ConfigError(msg)
            override(plain, key, value)
        after = parse_config(plain)
        _refuse_files(before, after)
        steps = [{"step": step.label, "work": work} for step, work in _work(before, after)]
        return {"config": yaml.safe_dump(plain, sort_keys=False, allow_unicode=True), "steps": steps}


def _plain(value: Any) -> Any:
    """Return a value as JSON has it, long texts cut."""
    if isinstance(value, str) and len(value) > TEXT:
        value = f"{value[:TEXT]} [{len(value) - TEXT:,} more characters]"
    return json.loads(json_text(value))


def _refuse_files(before: Config, after: Config) -> None:
    """Refuse changes that name a file or code to be read: whoever asks sees the run and nothing else.

    Raises:
        ConfigError: naming the option.
    """
    known = {step.label: step for step in before.steps}
    for step in after.steps:
        old = known.get(step.label)
        if old is None or old.verb != step.verb:
            msg = f"step {step.label}: steps can't be added or renamed here: write a config and `tamis plan` it"
            raise ConfigError(msg)
        hidden = set(step.marked(FilePath)) | ({"scorer"} & set(type(step).model_fields))
        for option in sorted(hidden):
            new = getattr(step, option)
            if new != getattr(old, option) and not isinstance(new, int | float):
                msg = f"step {step.label}: {option} names a file, which can't be changed here"
                raise ConfigError(msg)


def _work(before: Config, after: Config) -> list[tuple[StepConfig, str]]:
    found: list[tuple[StepConfig, str]] = []
    changed = scored = False
    for old, new in zip(before.steps, after.steps, strict=True):
        scores = old.scoring_options() != new.scoring_options()
        same = old.model_dump(mode="json") == new.model_dump(mode="json")
        scored = scored or (scores and getattr(new, "rewrites", False))
        changed = changed or not same
        found.append((new, "scores" if scores or scored else "decides" if changed else "stays"))
    return found
