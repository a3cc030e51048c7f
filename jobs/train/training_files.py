"""What files a model was trained on, as its folder records it."""

from collections.abc import Sequence
from typing import Any

from tamis.pipeline.formats.options import data_suffixes
from tamis.pipeline.storage import filesystem

__all__ = ["training_files"]


def training_files(paths: Sequence[str]) -> list[dict[str, Any]]:
    """Return name, size and SHA-256 of the files that the patterns name; no folders of this machine.

    Raises:
        InputError: if a pattern names no file.
    """
    return [
        {"name": file.path.rsplit("/", 1)[-1], "bytes": file.size, "sha256": filesystem.sha256(file.path)}
        for file in filesystem.expand(paths, suffixes=data_suffixes())
    ]
