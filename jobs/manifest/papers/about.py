"""What no run can know about its data set: who publishes it, under which licence, where each source comes from."""

from datetime import date
from typing import Literal

from pydantic import Field, field_validator

from tamis.jobs.config_file import load_plain
from tamis.schemas.base import Model, validate
from tamis.schemas.errors import ConfigError

__all__ = ["About", "AboutSource", "Creator", "Kind", "read_about"]

Kind = Literal["crawled", "public", "licensed", "private", "user", "synthetic", "other"]
"""Where data comes from, in the categories of the AI Act's template."""


class Creator(Model):
    """A person or body that made the data set."""

    name: str = Field(min_length=1)
    email: str | None = None
    url: str | None = None
    orcid: str | None = Field(default=None, pattern=r"^\d{4}-\d{4}-\d{4}-\d{3}[\dX]$", description="of a person")
    organization: bool = Field(default=False, description="a body, not a person")


class AboutSource(Model):
    """What is known of one source of the config beyond its files."""

    kind: Kind = Field(default="other", description="where it comes from")
    title: str | None = Field(default=None, description="name of the collection or crawl")
    url: str | None = Field(default=None, description="where it is published")
    license: str | None = None
    description: str | None = None
    crawler: str | None = Field(default=None, description="name of the crawler, where it was crawled")
    crawler_behaviour: str | None = Field(
        default=None, description="how it treats robots.txt, captchas, paywalls and the like"
    )
    begin: date | None = Field(default=None, description="of the period of collection")
    end: date | None = Field(default=None, description="of the period of collection")
    generator: str | None = Field(default=None, description="the model that made synthetic data")


class About(Model):
    """What the papers of a data set say that the manifest can't."""

    title: str | None = Field(default=None, description="the data set's name; the config's where absent")
    description: str | None = None
    version: str = Field(default="1.0.0", pattern=r"^\d+\.\d+\.\d+$", description="of the data set, as in 1.0.0")
    published: date | None = Field(default=None, description="date of publication; the day of the run where absent")
    license: str | None = Field(default=None, description="SPDX identifier, such as ODC-By-1.0, or an address")
    url: str | None = Field(default=None, description="the data set's own page")
    doi: str | None = Field(default=None, pattern=r"^10\.\d{4,9}/\S+$")
    contact: str | None = Field(default=None, description="whom to write to")
    creators: tuple[Creator, ...] = ()
    keywords: tuple[str, ...] = ()
    content: tuple[str, ...] = Field(default=(), description="types of text: fiction, scientific text, source code...")
    small_provider: bool = Field(default=False, description="a small or medium enterprise: a shorter list of domains")
    reservation_of_rights: str | None = Field(
        default=None, description="measures that respect a reservation of text and data mining rights"
    )
    illegal_content: str | None = Field(default=None, description="measures against illegal content, beyond the steps")
    sources: dict[str, AboutSource] = Field(default_factory=dict, description="by the label in the config")

    @field_validator("published", mode="before")
    @classmethod
    def _no_time(cls, value: object) -> object:
        """YAML makes a time of what is written with one; the papers want the day."""
        return value.date() if hasattr(value, "date") else value


def read_about(path: str | None, sources: tuple[str, ...]) -> About:
    """Read the YAML file that says what a run can't know.

    Args:
        path: the file; None for nothing known.
        sources: labels of the run's sources.

    Raises:
        ConfigError: if the file can't be read, has an unknown key, or names a source that the run hasn't.
    """
    if path is None:
        return About()
    about = validate(About, load_plain(path), path)
    unknown = [name for name in about.sources if name not in sources]
    if unknown:
        msg = f"{path}: sources: the run has no source {unknown[0]!r}; it has {', '.join(sources)}"
        raise ConfigError(msg)
    return about
