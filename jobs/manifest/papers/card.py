"""The dataset card of the Hugging Face hub: README.md with the metadata that `load_dataset` and the hub's page read."""

from collections.abc import Sequence
from typing import Any

import yaml

from tamis.jobs.manifest.file import shards_of
from tamis.jobs.manifest.papers.about import About, AboutSource
from tamis.jobs.manifest.papers.described import cite_as, cited, described, is_address, meaning, title_of
from tamis.jobs.manifest.papers.facts import Facts
from tamis.schemas.manifest import Manifest

__all__ = ["card"]

SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
    (100_000_000, "10M<n<100M"),
    (1_000_000_000, "100M<n<1B"),
    (10_000_000_000, "1B<n<10B"),
    (100_000_000_000, "10B<n<100B"),
    (1_000_000_000_000, "100B<n<1T"),
)
"""The hub's size categories: rows below, and the name."""
RULES = 5
"""Rules of a step that the card names."""


def card(manifest: Manifest, facts: Facts, about: About) -> str:
    """Return the card: metadata in YAML, then what a reader wants to know.

    Its `configs` are `default`, all that was selected, and one a source; `rejected` has what was not selected.
    """
    parts = [
        f"# {title_of(manifest, about)}",
        described(manifest, about),
        _sources(facts, about),
        _languages(facts),
        _curation(manifest),
        _columns(facts),
        _use(manifest, facts),
        _papers(manifest, about),
    ]
    head = yaml.safe_dump(_metadata(manifest, facts, about), sort_keys=False, allow_unicode=True)
    return f"---\n{head}---\n\n" + "\n\n".join(part for part in parts if part) + "\n"


def _metadata(manifest: Manifest, facts: Facts, about: About) -> dict[str, Any]:
    found: dict[str, Any] = {"pretty_name": title_of(manifest, about)}
    if about.license is not None:
        if is_address(about.license):
            found |= {"license": "other", "license_name": "see-license", "license_link": about.license}
        else:
            found["license"] = about.license.lower()
    if facts.languages:
        found["language"] = [name for name in facts.languages if name != "und"]
    size = next((name for below, name in SIZES if facts.size.documents < below), "n>1T")
    found |= {"size_categories": [size], "task_categories": ["text-generation"]}
    found["tags"] = ["tamis", *about.keywords]
    found["configs"] = _configs(manifest)
    return found


def _configs(manifest: Manifest) -> list[dict[str, Any]]:
    by_source: dict[str, list[str]] = {}
    for record in shards_of(manifest, "selected"):
        for source in record.sources:
            by_source.setdefault(source, []).append(record.path)
    fates = {"default": "selected/**/*.parquet", "rejected": "rejected/**/*.parquet"}
    configs: list[dict[str, Any]] = []
    if by_source:
        configs.append({"config_name": "default", "data_files": fates["default"], "default": True})
    configs += [
        {"config_name": source, "data_files": paths} for source, paths in by_source.items() if source not in fates
    ]
    if shards_of(manifest, "rejected"):
        configs.append({"config_name": "rejected", "data_files": fates["rejected"]})
    return configs


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    cells = [[str(cell).replace("|", "\\|").replace("\n", " ") for cell in row] for row in (head, *rows)]
    lines = ["| " + " | ".join(row) + " |" for row in cells]
    lines.insert(1, "| " + " | ".join("---" for _ in head) + " |")
    return "\n".join(lines)


def _sources(facts: Facts, about: About) -> str:
    rows = []
    for name, source in facts.sources.items():
        told = about.sources.get(name, AboutSource())
        title = told.title or name
        shown = f"[{title}]({told.url})" if told.url else title
        rows.append([shown, f"{source.size.documents:,}", f"{source.size.bytes:,}", told.license or ""])
    return "## Sources\n\n" + _table(["source", "documents", "bytes of text", "licence"], rows)


def _languages(facts: Facts) -> str:
    if not facts.languages:
        return ""
    rows = [[name, f"{size.documents:,}", f"{size.bytes:,}"] for name, size in facts.languages.items()]
    return "## Languages\n\n" + _table(["language", "documents", "bytes of text"], rows)


def _curation(manifest: Manifest) -> str:
    rows = []
    for record in manifest.steps:
        came, kept = (sum(getattr(c, name) for c in record.counts) for name in ("documents", "kept"))
        rules: dict[str, int] = {}
        for counts in record.counts:
            for rule, many in counts.rejected.items():
                rules[rule] = rules.get(rule, 0) + many
        first = sorted(rules.items(), key=lambda item: (-item[1], item[0]))
        shown = ", ".join(f"{rule} {many:,}" for rule, many in first[:RULES])
        rows.append([record.label, f"{came:,}", f"{kept:,}", shown + (", ..." if len(first) > RULES else "")])
    total = (
        f"Of {manifest.read:,} records read, {manifest.selected:,} were selected, {manifest.rejected:,} rejected, and "
        f"{manifest.errors:,} ended as errors."
    )
    return f"## Curation\n\n{total}\n\n" + _table(["step", "documents", "kept", "rejected by"], rows)


def _columns(facts: Facts) -> str:
    rows = [[f"`{field.name}`", str(field.type), meaning(field) or ""] for field in facts.schema]
    return "## Columns\n\n" + _table(["column", "type", "meaning"], rows)


def _use(manifest: Manifest, facts: Facts) -> str:
    made = manifest.provenance
    commit = f", commit `{made.git_commit}`" if made.git_commit else ""
    return (
        "## Provenance\n\n"
        f"Made by Tamis {made.tamis}{commit}, from the config of SHA-256 `{manifest.config_sha256}`. `manifest.json` "
        f"has the digests of all {len(manifest.inputs):,} input files, models and shards: `tamis manifest verify` "
        "checks them, `tamis manifest rerun` repeats the run. The selected text has "
        f"{facts.size.bytes:,} bytes in UTF-8."
    )


def _papers(manifest: Manifest, about: About) -> str:
    lines = [f"- {', '.join(p.authors)} ({p.year}). {p.title}. {p.url}" for p in cited(manifest)]
    own = f"## Citation\n\n{cite_as(manifest, about)}"
    return own + ("\n\nThe steps follow:\n\n" + "\n".join(lines) if lines else "")
