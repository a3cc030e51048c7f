"""How a corpus that grows stands, as another terminal can see it."""

from dataclasses import dataclass

from tamis.jobs.run.folder import owner_of
from tamis.jobs.run.status import RunStatus, run_status
from tamis.jobs.watch.corpus import increment_folder, increment_name, read_corpus
from tamis.jobs.watch.increment import PLANNED
from tamis.jobs.watch.total import increments_of, total
from tamis.pipeline.storage import filesystem
from tamis.schemas.manifest import Manifest

__all__ = ["CorpusStatus", "corpus_status"]


@dataclass(frozen=True)
class CorpusStatus:
    """How a corpus stands.

    Attributes:
        increments: names of those that it is made of.
        owner: who works on it, if somebody does.
        corpus: their sum; None as long as there is none.
        unfinished: name of the increment that was begun; None if none was.
        run: how that one stands; None before its work began.
    """

    increments: tuple[str, ...]
    owner: str | None
    corpus: Manifest | None
    unfinished: str | None = None
    run: RunStatus | None = None


def corpus_status(folder: str) -> CorpusStatus:
    """Return how a corpus stands.

    Raises:
        RunError: if the folder holds none.
    """
    record = read_corpus(folder)
    increments = increments_of(folder, record)
    owner = owner_of(folder)
    corpus = total(record, increments) if increments else None
    name = increment_name(record.next)
    begun = increment_folder(folder, name)
    work = filesystem.exists(filesystem.join(begun, "work"))
    if not work and not filesystem.exists(filesystem.join(begun, PLANNED)):
        return CorpusStatus(record.increments, owner, corpus)
    return CorpusStatus(record.increments, owner, corpus, name, run_status(begun) if work else None)
