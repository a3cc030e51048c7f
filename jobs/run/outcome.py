"""Whether a finished run is one that a nightly job can trust: what makes it fail though it is whole."""

from collections import Counter
from collections.abc import Iterator

from tamis.schemas.config import Config
from tamis.schemas.manifest import Manifest
from tamis.schemas.wording import counted

__all__ = ["problems"]


def problems(manifest: Manifest, config: Config) -> tuple[str, ...]:
    """Return a sentence for each reason to fail; shards and manifest are complete and valid all the same.

    Args:
        manifest: of the finished run.
        config: whose `max_errors` and `allow_empty` say what is a failure.
    """
    return tuple(_problems(manifest, config))


def _problems(manifest: Manifest, config: Config) -> Iterator[str]:
    allowed = "`allow_empty: true` allows it"
    if not config.allow_empty and not manifest.read:
        skipped = Counter[str]()
        for file in manifest.inputs:
            skipped.update(file.skipped)
        what = ", ".join(f"{number:,} {kind.replace('_', ' ')}" for kind, number in sorted(skipped.items()))
        told = f"the inputs hold only what is skipped: {what}" if what else "the inputs are empty"
        yield f"no record was read: {told} ({allowed})"
    elif not config.allow_empty and not manifest.selected:
        yield f"no document was selected of {counted(manifest.read, 'record')} read ({allowed})"
    rows = sum(counts.documents for counts in manifest.steps[0].counts) if manifest.steps else 0
    unread = manifest.read - rows
    yield from _too_many("reading", unread, manifest.read, config.max_errors)
    for step in manifest.steps:
        errors = sum(counts.errors for counts in step.counts)
        documents = sum(counts.documents for counts in step.counts)
        yield from _too_many(f"step {step.label}", errors, documents, config.max_errors)


def _too_many(where: str, errors: int, documents: int, limit: float) -> Iterator[str]:
    if errors > limit * documents:
        told = f"{errors:,} of {counted(documents, 'record')} became errors, {errors / documents:.1%}"
        yield f"{where}: {told}, and `max_errors` allows {limit:.1%}; errors/ has them, with their place in the input"
