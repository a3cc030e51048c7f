"""Opens n-gram models of any form: KenLM binaries and ARPA files."""

import os
from pathlib import Path
from typing import TypeAlias

from tamis.schemas.errors import ModelError
from tamis.scorers.models.hub import cache_folder, sha256_file
from tamis.scorers.ngram.arpa import read_arpa
from tamis.scorers.ngram.kenlm_binary import ProbingModel, read_header, write_probing
from tamis.scorers.ngram.kenlm_library import LibraryModel

__all__ = ["SentenceModel", "open_ngram_model"]

SentenceModel: TypeAlias = ProbingModel | LibraryModel
"""What scores sentences."""


def open_ngram_model(path: Path) -> SentenceModel:
    """Open a KenLM binary, or an ARPA file (plain or compressed) by way of a binary built once.

    Probing binaries are read in place, so that processes share their pages. An ARPA file is converted to one in the
    cache folder, under the file's digest: further processes map what the first one built. Tries go through KenLM's
    library.

    Raises:
        ModelError: if the file is neither, or damaged.
    """
    header = read_header(path)
    if header is None:
        return ProbingModel(_converted(path))
    return ProbingModel(path) if header.kind == "probing" else LibraryModel(path)


def _converted(path: Path) -> Path:
    digest = sha256_file(path)
    # The path's own folder may be read-only; the cache is per user, and a binary's content follows from the digest.
    target = cache_folder() / "ngram" / f"{digest}.probing"
    try:
        if not target.exists():
            arpa = read_arpa(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            write_probing(arpa, target)
        os.utime(target)  # so that a cache can be cleaned by age of use
    except OSError as error:
        msg = (
            f"{path} can't be converted in the cache folder {target.parent}: {error}; name a writable one with "
            "TAMIS_CACHE"
        )
        raise ModelError(msg) from error
    return target
