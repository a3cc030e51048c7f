"""The manifest: what a run read, did and left, so that anyone can verify and rerun it."""

from typing import Any

from pydantic import Field

from tamis.schemas.base import Model

__all__ = [
    "MANIFEST_VERSION",
    "Counts",
    "InputRecord",
    "Manifest",
    "ModelRecord",
    "ParentRecord",
    "PassRecord",
    "Provenance",
    "ShardRecord",
    "StepRecord",
    "TableRecord",
]

MANIFEST_VERSION = 1


class InputRecord(Model):
    """One input file as it was read."""

    path: str
    source: str
    bytes: int | None
    sha256: str | None = Field(default=None, description="of the file's bytes; absent where only an etag is known")
    fingerprint: str = Field(description="etag, or size and time")
    records: int
    skipped: dict[str, int] = Field(default_factory=dict, description="records that hold no document, by kind")
    notes: dict[str, int] = Field(
        default_factory=dict, description="what was done to records that became documents all the same, by kind"
    )


class ModelRecord(Model):
    """A model, word list or target corpus that a step read."""

    step: str
    option: str
    reference: str = Field(description="as the config names it")
    sha256: str


class Counts(Model):
    """Documents before and after a step, of one source."""

    source: str
    documents: int
    kept: int
    rejected: dict[str, int] = Field(default_factory=dict, description="by rule")
    errors: int = 0


class StepRecord(Model):
    """What a step did."""

    label: str
    verb: str
    counts: tuple[Counts, ...]
    seconds: float = Field(description="CPU seconds of the annotating passes, all workers together")
    thresholds: dict[str, Any] = Field(default_factory=dict, description="in numbers, those found in the corpus too")
    metrics: dict[str, Any] = Field(default_factory=dict, description="figures that the step reports")


class PassRecord(Model):
    """What a pass of the run cost."""

    name: str
    step: str = Field(description="label of the step, or of the steps, that it belongs to")
    tasks: int
    cpu_seconds: float = Field(description="of all workers together, child processes included")


class ShardRecord(Model):
    """One file that the run left."""

    path: str = Field(description="relative to the run's folder")
    fate: str
    sources: tuple[str, ...]
    rows: int
    text_bytes: int
    bytes: int
    sha256: str


class TableRecord(Model):
    """A table that a step's decision left beside the shards, such as its clusters."""

    path: str = Field(description="relative to the run's folder")
    step: str = Field(description="label of the step")
    name: str = Field(description="of the table, and of the view that shows it in SQL")
    rows: int
    bytes: int
    sha256: str


class ParentRecord(Model):
    """A run that another one builds on, or that a corpus is made of."""

    path: str = Field(description="of its folder, relative to this one's")
    sha256: str = Field(description="of its manifest")
    started: str
    files: int = Field(description="input files that it read")
    read: int
    selected: int
    rejected: int
    errors: int


class Provenance(Model):
    """What ran, where it matters for repeating it."""

    tamis: str
    code_sha256: str = Field(description="of the program's own source files")
    git_commit: str | None
    python: str
    unicode: str = Field(description="version of the character database; normalisation and word classes follow it")
    packages: dict[str, str]
    plugins: dict[str, str] = Field(
        default_factory=dict, description="verb to digest of the code of steps that other distributions bring"
    )


class Manifest(Model):
    """The whole record of a run."""

    version: int = MANIFEST_VERSION
    name: str
    config_sha256: str
    config: dict[str, Any] = Field(description="resolved: defaults filled in, models as digests")
    source_config: dict[str, Any] = Field(description="as it was given, for running it again")
    folder: str | None = Field(
        default=None, description="where relative paths of the config lead from, relative to the run's folder"
    )
    provenance: Provenance
    inputs: tuple[InputRecord, ...]
    models: tuple[ModelRecord, ...]
    read: int
    selected: int
    rejected: int
    errors: int
    text_bytes: int = Field(description="bytes of text read")
    sources: dict[str, dict[str, int]] = Field(description="by source: read, selected, rejected, errors")
    steps: tuple[StepRecord, ...]
    mixture: dict[str, Any] = Field(description="shares of the selected documents, text bytes by source")
    shards: tuple[ShardRecord, ...]
    tables: tuple[TableRecord, ...] = Field(default=(), description="what decisions left beside the shards")
    warnings: tuple[str, ...] = ()
    started: str
    seconds: float = Field(description="wall seconds of the run that finished it")
    passes: tuple[PassRecord, ...] = Field(default=(), description="in their order; the last one isn't among them")
    parents: tuple[ParentRecord, ...] = Field(
        default=(),
        description="of an increment the one before it, of a compacted one those that it merges, of a corpus all of "
        "its increments",
    )
    plan_sha256: str | None = Field(default=None, description="of config, models, input files and program")

    @property
    def files(self) -> "tuple[ShardRecord | TableRecord, ...]":
        """All that the run left beside the manifest: shards and tables."""
        return (*self.shards, *self.tables)

    @property
    def balanced(self) -> bool:
        """Whether every record read ended as exactly one of selected, rejected, error."""
        return self.read == self.selected + self.rejected + self.errors
