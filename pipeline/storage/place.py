"""The shards that a run stores, and where the files of each lie."""

from dataclasses import dataclass, field

from tamis.pipeline.storage import filesystem
from tamis.schemas.base import digest

__all__ = ["Place", "Shard"]


@dataclass(frozen=True)
class Shard:
    """Documents that are scored and stored as one; cut by the inputs alone, never by the workers.

    Attributes:
        index: position in the canonical order of sources, paths and places in files.
        source: the input's label.
        key: digest of files, content and reading options, with the shard's number: names its files.
        corpus: digest of all shards' keys.
        rows: documents, those that fell while reading among them.
        text_bytes: of their text, UTF-8.
        batches: record batches.
        path: the file, or the first of the files.
        first: how many documents of the same source shard come before.
    """

    index: int
    source: str
    key: str
    corpus: str
    rows: int
    text_bytes: int
    batches: int
    path: str
    first: int

    def __str__(self) -> str:
        return f"{self.source}: {self.path}, documents {self.first + 1:,} to {self.first + self.rows:,}"

    @property
    def size(self) -> int:
        """How much work it is, for taking the largest first."""
        return self.text_bytes


@dataclass(frozen=True)
class Place:
    """A folder with a file for each shard.

    Attributes:
        folder: named by the digest of all that determines the files but the shard.
        corpus: whether the files depend on the whole corpus too, as all do that follow a decision over it.
        carries: columns that its files have beside their own, as they are elsewhere: who opens them anyway need not
            open another file for these. That is a request less where each file is one.
    """

    folder: str
    corpus: bool = False
    carries: tuple[str, ...] = field(default=(), compare=False)

    def file(self, shard: Shard) -> str:
        """Return the path of a shard's file."""
        name = digest([shard.key, shard.corpus])[:24] if self.corpus else shard.key
        return filesystem.join(self.folder, f"{name}.arrow")

    def of_corpus(self, corpus: str) -> str:
        """Return the path of what there is one of for the whole corpus."""
        return filesystem.join(self.folder, corpus)
