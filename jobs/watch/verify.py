"""Verifies a corpus: each increment against its own manifest, and their sum against that of the corpus."""

from collections.abc import Callable, Iterator
from pathlib import Path

from tamis.jobs.manifest.file import read_manifest
from tamis.jobs.manifest.verify import VerifyResult, verify
from tamis.jobs.watch.corpus import INCREMENTS, CorpusRecord, increment_folder, increment_name, read_corpus
from tamis.jobs.watch.increment import PLANNED
from tamis.jobs.watch.total import Joined, increments_of, total
from tamis.pipeline.storage import filesystem

__all__ = ["verify_corpus"]


def verify_corpus(
    folder: str, *, inputs: bool = False, progress: Callable[[int, int], None] | None = None
) -> VerifyResult:
    """Check that every increment is what its manifest says, and that the corpus's manifest is their sum.

    Args:
        folder: of the corpus.
        inputs: digest input files and models too.
        progress: told how many shards of how many are checked.

    Raises:
        RunError: if the folder holds no corpus, or an increment of it is gone.
    """
    record = read_corpus(folder)
    increments = increments_of(folder, record)
    shards = sum(len(one.manifest.shards) for one in increments.values())
    failures: list[str] = []
    notes: list[str] = []
    checked = rows = size = 0
    for name in increments:

        def tell(done: int, _: int, before: int = checked) -> None:
            if progress is not None:
                progress(before + done, shards)

        found = verify(increment_folder(folder, name), inputs=inputs, progress=tell)
        failures += [f"increment {name}: {told}" for told in found.failures]
        notes += [f"increment {name}: {told}" for told in found.notes]
        checked, rows, size = checked + found.shards, rows + found.rows, size + found.bytes
    failures += _sum_problems(folder, record, increments)
    notes += _strangers(folder, record)
    return VerifyResult(tuple(failures), tuple(notes), checked, rows, size)


def _sum_problems(folder: str, record: CorpusRecord, increments: dict[str, Joined]) -> Iterator[str]:
    if not increments:
        return
    told, real = read_manifest(folder), total(record, increments)
    for name in type(told).model_fields:
        if getattr(told, name) != getattr(real, name):
            yield f"the corpus's manifest isn't the sum of its increments: {name} differs"
    chain = {parent.path: parent.sha256 for parent in told.parents}
    for name, (manifest, _) in increments.items():
        for parent in manifest.parents:
            before = parent.path.removeprefix("../")
            known = chain.get(f"{INCREMENTS}/{before}")
            if known is not None and known != parent.sha256:
                yield f"increment {name} follows another {before} than the one that is there: its manifest was changed"


def _strangers(folder: str, record: CorpusRecord) -> Iterator[str]:
    """Yield what lies among the increments and is none; of local corpora, for listing a store costs requests."""
    if not filesystem.is_local(folder):
        return
    root = Path(filesystem.local_path(folder)) / INCREMENTS
    for path in sorted(root.iterdir()) if root.is_dir() else ():
        if path.name in record.increments:
            continue
        if path.name == increment_name(record.next) and (path / PLANNED).exists():
            yield f"increment {path.name} isn't finished: tamis watch goes on with it"
        else:
            yield f"{INCREMENTS}/{path.name} belongs to no increment of the corpus"
