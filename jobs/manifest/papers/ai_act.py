"""The public summary of training content that Article 53(1)(d) of Regulation (EU) 2024/1689 asks for.

Sections follow the template of the AI Office, C(2025) 8311. What a run can't know is left for the provider to fill in,
and marked so.
"""

import csv
import io
import math
from collections.abc import Iterable, Sequence

from tamis.jobs.manifest.papers.about import About, AboutSource, Kind
from tamis.jobs.manifest.papers.described import processing, title_of
from tamis.jobs.manifest.papers.facts import Domain, Facts, Size, SourceFacts
from tamis.schemas.manifest import Manifest

__all__ = ["ai_act_summary", "domain_list", "listed_domains"]

OPEN = "*(to be filled in by the provider)*"
BYTES_A_TOKEN = 4
"""Of English text under today's tokenizers, roughly; it only picks one of three ranges."""
RANGES = ((10**9, "less than 1 billion tokens"), (10**13, "1 billion to 10 trillion tokens"))
BEYOND = "more than 10 trillion tokens"
SHOWN = 50
"""Domains in the text; the list beside it has all."""
SECTIONS: tuple[tuple[str, str, tuple[Kind, ...]], ...] = (
    ("2.1", "Publicly available datasets", ("public",)),
    ("2.2", "Private datasets obtained from third parties", ("licensed", "private")),
    ("2.3", "Data crawled and scraped from online sources", ("crawled",)),
    ("2.4", "User data", ("user",)),
    ("2.5", "Synthetic data", ("synthetic",)),
    ("2.6", "Other sources of data", ("other",)),
)


def listed_domains(facts: Facts, about: About) -> list[Domain]:
    """Return the domains that the summary must name, largest first.

    The template asks for the top tenth of all registered domains by size of what was scraped; of a small or medium
    enterprise for the top twentieth, or 1,000 where that is fewer. Rounded up, so that a corpus of one domain names it.
    They are those of the sources that `about` calls crawled; of all sources with addresses where it calls none so.
    """
    crawled = [name for name in facts.sources if _told(about, name).kind == "crawled"]
    total: dict[str, Size] = {}
    for name in crawled or facts.sources:
        for domain in facts.sources[name].domains:
            old = total.get(domain.name, Size(0, 0))
            total[domain.name] = Size(old.documents + domain.size.documents, old.bytes + domain.size.bytes)
    ordered = sorted((Domain(name, size) for name, size in total.items()), key=lambda d: (-d.size.bytes, d.name))
    many = math.ceil(len(ordered) / 20) if about.small_provider else math.ceil(len(ordered) / 10)
    return ordered[: min(many, 1000) if about.small_provider else many]


def domain_list(domains: Iterable[Domain]) -> str:
    """Return domains as CSV: domain, documents, bytes of text."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["domain", "documents", "text_bytes"])
    writer.writerows([domain.name, domain.size.documents, domain.size.bytes] for domain in domains)
    return stream.getvalue()


def ai_act_summary(manifest: Manifest, facts: Facts, about: About, *, list_name: str) -> str:
    """Return the summary in Markdown, section by section of the template.

    Args:
        manifest: of the run.
        facts: of its selected documents.
        about: what the owner says.
        list_name: the file beside it that has all of `listed_domains`.
    """
    parts = [
        f"# Public summary of training content: {title_of(manifest, about)}",
        "Under Article 53(1)(d) of Regulation (EU) 2024/1689, after the template C(2025) 8311. It covers the text that "
        f"one run of Tamis selected; its config has the SHA-256 `{manifest.config_sha256}`.",
        _general(facts, about),
        "## 2. List of data sources",
    ]
    for number, title, kinds in SECTIONS:
        parts.append(f"### {number} {title}")
        own = {name: source for name, source in facts.sources.items() if _told(about, name).kind in kinds}
        parts.append("\n".join(_source(name, source, _told(about, name)) for name, source in own.items()) or "None.")
        if number == "2.3":
            parts.append(_domains(facts, about, list_name))
    parts += [_processing(manifest, facts, about)]
    return "\n\n".join(parts) + "\n"


def _told(about: About, source: str) -> AboutSource:
    return about.sources.get(source, AboutSource())


def _general(facts: Facts, about: About) -> str:
    tokens = facts.size.bytes / BYTES_A_TOKEN
    size = next((name for below, name in RANGES if tokens < below), BEYOND)
    last = [source.last for source in facts.sources.values() if source.last is not None]
    lines = [
        f"- Provider: {', '.join(c.name for c in about.creators) or OPEN}",
        f"- Contact: {about.contact or OPEN}",
        f"- Model: {OPEN}",
        f"- Version of the data set: {about.version}",
        "- Modality: text",
        f"- Size: {size} ({facts.size.documents:,} documents, {facts.size.bytes:,} bytes in UTF-8; the range is "
        f"estimated at {BYTES_A_TOKEN} bytes a token)",
        f"- Types of content: {', '.join(about.content) or OPEN}",
        f"- Latest date of data: {max(last).date() if last else OPEN}",
        f"- Languages: {_shares(facts) or OPEN}",
    ]
    return "## 1. General information\n\n" + "\n".join(lines)


def _shares(facts: Facts) -> str:
    total = max(1, facts.size.bytes)
    return ", ".join(f"{name} {size.bytes / total:.1%}" for name, size in facts.languages.items())


def _source(name: str, source: SourceFacts, told: AboutSource) -> str:
    lines = [f"- **{told.title or name}**: {source.size.documents:,} documents, {source.size.bytes:,} bytes of text"]
    begin = told.begin or (source.first and source.first.date())
    end = told.end or (source.last and source.last.date())
    crawled = told.kind == "crawled"
    known: Sequence[tuple[str, object, bool]] = (
        ("what it is", told.description, True),
        ("where it is published", told.url, told.kind == "public"),
        ("licence", told.license, told.kind in ("public", "licensed")),
        ("crawler", told.crawler, crawled),
        ("behaviour of the crawler", told.crawler_behaviour, crawled),
        ("period of collection", f"{begin or '?'} to {end or '?'}" if begin or end else None, crawled),
        ("made by the model", told.generator, told.kind == "synthetic"),
    )
    lines += [f"  - {what}: {value or OPEN}" for what, value, wanted in known if value or wanted]
    return "\n".join(lines)


def _domains(facts: Facts, about: About, list_name: str) -> str:
    domains = listed_domains(facts, about)
    if not domains:
        return "No document has an address."
    share = "twentieth" if about.small_provider else "tenth"
    first = ", ".join(domain.name for domain in domains[:SHOWN])
    rest = f" and {len(domains) - SHOWN:,} more" if len(domains) > SHOWN else ""
    return (
        f"The largest {share} of registered domains by bytes of selected text: {first}{rest}. `{list_name}` has their "
        "sizes."
    )


def _reserved(facts: Facts, about: About) -> str:
    """Return what is known of reserved rights: what the owner says, and what the lists that the run was given name."""
    lists = (
        f"The run held all addresses against the list of opt-outs `{one.name}` (SHA-256 `{one.sha256}`): "
        f"{one.rejected:,} documents under its addresses were left out, {one.selected.documents:,} of the selected "
        f"documents ({one.selected.bytes:,} bytes) lie under them."
        for one in facts.opt_outs
    )
    return "\n\n".join([about.reservation_of_rights or OPEN, *lists])


def _processing(manifest: Manifest, facts: Facts, about: About) -> str:
    steps = "\n".join(f"- {sentence}" for sentence in processing(manifest))
    return (
        "## 3. Relevant data processing aspects\n\n"
        f"### 3.1 Respect of reservation of rights\n\n{_reserved(facts, about)}\n\n"
        f"### 3.2 Removal of illegal content\n\n{about.illegal_content or OPEN}\n\n"
        f"### 3.3 Other: the steps of the run\n\n{steps}"
    )
