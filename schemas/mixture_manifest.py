"""The record of a materialised mixture, `mixture.json`: what it was made of, how, and what was written."""

from typing import Any

from pydantic import Field

from tamis.schemas.base import Model
from tamis.schemas.manifest import Provenance, ShardRecord

__all__ = ["MIXTURE_VERSION", "MixedFrom", "MixtureManifest"]

MIXTURE_VERSION = 1


class MixedFrom(Model):
    """The finished run whose selection was mixed."""

    path: str = Field(description="as it was named")
    name: str
    config_sha256: str
    selection_sha256: str = Field(description="of the digests of its selected shards")
    documents: int


class MixtureManifest(Model):
    """The whole record of a materialised mixture."""

    version: int = MIXTURE_VERSION
    name: str
    mixture_sha256: str = Field(description="of the selection, and of all in the config that can change a result")
    config: dict[str, Any] = Field(description="resolved: defaults filled in, files as digests")
    source_config: dict[str, Any] = Field(description="as it was given, for making it again")
    run: MixedFrom
    identity: str = Field(description="of config, selection and program: an equal one has nothing to do")
    mixture: dict[str, Any] = Field(description="method, parameters, rounds, proportions, quotas, realised shares")
    repetition: dict[str, Any] = Field(description="histogram of times seen, effective tokens, warning")
    tokenizer: dict[str, Any] | None = None
    documents: int = Field(description="written, repeats included")
    shards: tuple[ShardRecord, ...]
    warnings: tuple[str, ...] = ()
    provenance: Provenance
    started: str
    seconds: float
