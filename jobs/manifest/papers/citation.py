"""CITATION.cff 1.2.0: how to cite the data set, and the papers of the steps that made it."""

from typing import Any

import yaml

from tamis.jobs.manifest.papers.about import About, Creator
from tamis.jobs.manifest.papers.described import cited, described, is_address, published, title_of
from tamis.schemas.errors import ConfigError
from tamis.schemas.manifest import Manifest
from tamis.schemas.paper import Paper

__all__ = ["citation"]


def citation(manifest: Manifest, about: About) -> str:
    """Return the citation file of a run (Citation File Format 1.2.0, citation-file-format.github.io).

    Raises:
        ConfigError: if no creator is known, since the format wants one.
    """
    if not about.creators:
        msg = "CITATION.cff wants an author: name one under `creators:` in a file, and give it with --about"
        raise ConfigError(msg)
    found: dict[str, Any] = {
        "cff-version": "1.2.0",
        "message": "If you use this data set, please cite it, and the works that its references name.",
        "type": "dataset",
        "title": title_of(manifest, about),
        "abstract": described(manifest, about),
        "version": about.version,
        "date-released": published(manifest, about),
        "authors": [_creator(creator) for creator in about.creators],
    }
    if about.license is not None:
        found["license-url" if is_address(about.license) else "license"] = about.license
    if about.url is not None:
        found["url"] = about.url
    if about.doi is not None:
        found["doi"] = about.doi
    if about.keywords:
        found["keywords"] = list(about.keywords)
    digest = {"type": "other", "value": f"sha256:{manifest.config_sha256}", "description": "digest of the run's config"}
    found["identifiers"] = [digest]
    references = [_reference(paper) for paper in cited(manifest)]
    if references:
        found["references"] = references
    return yaml.safe_dump(found, sort_keys=False, allow_unicode=True, width=100)


def _creator(creator: Creator) -> dict[str, str]:
    known = {"email": creator.email, "website": creator.url}
    if creator.organization:
        known["name"] = creator.name
    else:
        known |= _person(creator.name)
        known["orcid"] = None if creator.orcid is None else f"https://orcid.org/{creator.orcid}"
    return {key: value for key, value in known.items() if value is not None}


def _person(name: str) -> dict[str, str]:
    given, _, family = name.rpartition(" ")
    return {"given-names": given, "family-names": family} if given else {"name": family}


def _reference(paper: Paper) -> dict[str, Any]:
    return {
        "type": "article",
        "title": paper.title,
        "authors": [_person(name) for name in paper.authors],
        "year": paper.year,
        "url": paper.url,
    }
