"""A step placed in a run: its position, the models it reads, and the folders that its files go to."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tamis.pipeline.formats.options import ReadOptions, Split
from tamis.pipeline.storage import filesystem
from tamis.schemas.steps import StepConfig

__all__ = ["SourceShard", "Stage", "shard_file"]


@dataclass(frozen=True)
class SourceShard:
    """A part of the input that is read, scored and stored as one; cut by the inputs alone, never by the workers.

    Attributes:
        index: position in the canonical order of sources, paths and places in files.
        source: the input's label.
        split: the part of a file.
        options: how records are read.
        key: digest of file, part and options: names the shard's files.
    """

    index: int
    source: str
    split: Split
    options: ReadOptions
    key: str

    def __str__(self) -> str:
        return f"{self.source}: {self.split.path}"


@dataclass(frozen=True)
class Stage:
    """One step of a run.

    Attributes:
        index: position among the run's steps; `step` in row states.
        config: the step's options.
        models: option to local path.
        columns: folder of its column files; None if it computes none.
        state: folder of the row states after it.
        errors: folder of the records that it couldn't score.
    """

    index: int
    config: StepConfig
    models: Mapping[str, str] = field(default_factory=dict)
    columns: str | None = None
    state: str = ""
    errors: str = ""

    @property
    def label(self) -> str:
        """The step's name in tables and the manifest."""
        return self.config.label


def shard_file(folder: str, key: str) -> str:
    """Return the path of a shard's file in a stage's folder."""
    return filesystem.join(folder, f"{key}.arrow")
