"""The folder of a materialised mixture, and its record."""

from tamis.jobs.manifest.file import MANIFEST, read_record
from tamis.pipeline.storage import filesystem
from tamis.schemas.errors import ConfigError
from tamis.schemas.mixture_manifest import MIXTURE_VERSION, MixtureManifest

__all__ = ["MIXED", "RECORD", "holds_mixture", "read_mixture", "refuse_strange_folder"]

RECORD = "mixture.json"
MIXED = "mixed"
"""Folder of the shards."""


def holds_mixture(folder: str) -> bool:
    """Return whether a folder holds a materialised mixture."""
    return filesystem.exists(filesystem.join(folder, RECORD))


def read_mixture(folder: str) -> MixtureManifest:
    """Read the record of a materialised mixture.

    Raises:
        RunError: if the folder holds none, or one that can't be understood.
    """
    absent = "it is no mixture, or one that hasn't finished (tamis mix goes on with it)"
    return read_record(folder, RECORD, MixtureManifest, newest=MIXTURE_VERSION, absent=absent, what="record")[0]


def refuse_strange_folder(folder: str) -> None:
    """Refuse a folder that holds a run, or files that no mixture left.

    Raises:
        ConfigError: naming what is in the way.
    """
    if filesystem.exists(filesystem.join(folder, MANIFEST)):
        msg = f"{folder} holds a run: give the mixture a folder of its own with --output"
        raise ConfigError(msg)
    mixed = filesystem.join(folder, MIXED)
    ours = holds_mixture(folder) or filesystem.exists(filesystem.join(folder, "work"))
    if filesystem.exists(mixed) and not ours:
        msg = f"{folder} holds {MIXED}, not made by tamis: give another folder with --output"
        raise ConfigError(msg)
