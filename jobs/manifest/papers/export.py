"""Writes the papers of a data set beside its shards."""

from collections.abc import Callable, Mapping, Sequence

from tamis.jobs.manifest.file import read_manifest
from tamis.jobs.manifest.papers.about import read_about
from tamis.jobs.manifest.papers.ai_act import ai_act_summary, domain_list, listed_domains
from tamis.jobs.manifest.papers.card import card
from tamis.jobs.manifest.papers.citation import citation
from tamis.jobs.manifest.papers.croissant import croissant
from tamis.jobs.manifest.papers.facts import collect_facts
from tamis.jobs.manifest.papers.openlineage import lineage
from tamis.pipeline.storage import filesystem
from tamis.schemas.errors import ConfigError

__all__ = ["export_papers"]

DOMAINS = "ai-act-domains.csv"
PAPERS: Mapping[str, tuple[str, ...]] = {
    "card": ("README.md",),
    "croissant": ("croissant.json",),
    "citation": ("CITATION.cff",),
    "ai_act": ("ai-act.md", DOMAINS),
    "openlineage": ("openlineage.jsonl",),
}
"""The papers, and the files that each is."""


def export_papers(
    run: str, papers: Sequence[str], *, about: str | None = None, output: str | None = None, replace: bool = False
) -> list[str]:
    """Write papers of a finished run; all of them are made before the first is written.

    Args:
        run: the run's folder.
        papers: names out of `PAPERS`.
        about: a YAML file of `About`.
        output: the folder to write to; the run's own by default.
        replace: write over files that are there.

    Returns:
        The paths written.

    Raises:
        ConfigError: if nothing is wanted, `about` is wrong, a package is missing, or a file is there already.
        RunError: if the folder holds no finished run, or a shard is missing or damaged.
    """
    if not papers:
        msg = "nothing to write: name papers, such as --card or --croissant"
        raise ConfigError(msg)
    known = read_about(about, tuple(read_manifest(run).sources))
    folder = output or run
    paths = [filesystem.join(folder, name) for paper in papers for name in PAPERS[paper]]
    taken = [path for path in paths if not replace and filesystem.exists(path)]
    if taken:
        msg = f"{taken[0]} is there already: give --replace, or another folder with --output"
        raise ConfigError(msg)
    manifest, facts = collect_facts(run)

    makers: Mapping[str, Callable[[], tuple[str, ...]]] = {
        "ai_act": lambda: (
            ai_act_summary(manifest, facts, known, list_name=DOMAINS),
            domain_list(listed_domains(facts, known)),
        ),
        "card": lambda: (card(manifest, facts, known),),
        "citation": lambda: (citation(manifest, known),),
        "croissant": lambda: (croissant(manifest, facts, known),),
        "openlineage": lambda: (lineage(run, manifest, facts, known),),
    }
    texts = [text for paper in papers for text in makers[paper]()]
    for path, text in zip(paths, texts, strict=True):
        with filesystem.write_atomically(path) as stream:
            stream.write(text.encode())
    return paths
