"""Words about a run that several papers use: its title, its licence, what its steps did, whom they cite."""

from datetime import date, datetime

import pyarrow as pa

from tamis.jobs.manifest.papers.about import About
from tamis.pipeline.steps.registry import parse_step
from tamis.schemas.errors import ConfigError
from tamis.schemas.manifest import Manifest, StepRecord
from tamis.schemas.paper import Paper
from tamis.schemas.wording import counted

__all__ = ["cite_as", "cited", "described", "is_address", "meaning", "processing", "published", "title_of"]


def title_of(manifest: Manifest, about: About) -> str:
    """Return the data set's title: its owner's, or the run's name."""
    return about.title or manifest.name


def described(manifest: Manifest, about: About) -> str:
    """Return the data set's description: its owner's, or how many documents were selected of how many."""
    documents = counted(manifest.selected, "document")
    told = f"{documents} for language-model pretraining, selected by Tamis from {manifest.read:,}."
    return about.description or told


def published(manifest: Manifest, about: About) -> date:
    """Return the day of publication: the owner's, or the day of the run."""
    return about.published or datetime.fromisoformat(manifest.started).date()


def cite_as(manifest: Manifest, about: About) -> str:
    """Return one line that cites the data set: who, when, what, where."""
    who = ", ".join(creator.name for creator in about.creators)
    where = f"https://doi.org/{about.doi}" if about.doi else about.url
    what, year = f"{title_of(manifest, about)}, version {about.version}", published(manifest, about).year
    made = f"{who} ({year}). {what}" if who else f"{what} ({year})"
    return f"{made}. {where}" if where else f"{made}."


def meaning(field: pa.Field) -> str | None:
    """Return what a column's own description says it means; None if it has none."""
    return (field.metadata or {}).get(b"description", b"").decode() or None


def is_address(text: str) -> bool:
    """Return whether a licence is given by its address."""
    return text.startswith(("http://", "https://"))


def processing(manifest: Manifest) -> list[str]:
    """Return a sentence for each step, in their order: what it is, what came and what it kept."""
    return [_sentence(record) for record in manifest.steps]


def _sentence(record: StepRecord) -> str:
    came, kept = (sum(getattr(c, name) for c in record.counts) for name in ("documents", "kept"))
    verb = "" if record.label == record.verb else f" ({record.verb})"
    return f"{record.label}{verb}: kept {kept:,} of {counted(came, 'document')}"


def cited(manifest: Manifest) -> tuple[Paper, ...]:
    """Return the papers of the steps that the run took, each once, in the order of the steps.

    A step of a distribution that isn't installed here, or whose options this version doesn't know, has none.
    """
    found: dict[str, Paper] = {}
    given = manifest.source_config.get("steps") or []
    named = any(record.label == "extract" for record in manifest.steps) and not any("extract" in one for one in given)
    for plain in [*(["extract"] if named else []), *given]:
        try:
            step = parse_step(plain, "steps")
        except ConfigError:
            continue
        found |= {paper.url: paper for paper in step.cites}
    return tuple(found.values())
