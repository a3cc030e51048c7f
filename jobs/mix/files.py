"""The files that a mixture's config names, by their content."""

from collections.abc import Iterable, Iterator

from tamis.jobs.mix.selection import tokenizer_of
from tamis.pipeline.formats.options import data_suffixes
from tamis.pipeline.storage import filesystem
from tamis.schemas.base import digest
from tamis.schemas.errors import ConfigError, InputError
from tamis.schemas.mixture import (
    ControllerEstimate,
    CorrelationEstimate,
    MixMinEstimate,
    MixtureConfig,
    RunsEstimate,
    StateEstimate,
    TextFiles,
)
from tamis.scorers.mixture.document_tokenizer import DocumentTokenizer

__all__ = ["mixture_files"]


def mixture_files(config: MixtureConfig) -> dict[str, str]:
    """Return path, as the config names it, to SHA-256 of every file that can change a mixture.

    Raises:
        ConfigError: naming a file that can't be read.
        ModelError: if a tokenizer is missing.
    """
    found = digests_of(_files(config))
    tokenizer = tokenizer_of(config)
    if config.tokenizer is not None and tokenizer is not None:
        found[config.tokenizer.path] = tokenizer.digest
    estimate = config.estimate
    if isinstance(estimate, MixMinEstimate):
        found |= text_digests(estimate.target)
    if isinstance(estimate, ControllerEstimate):
        named = estimate.proxy.tokenizer
        found[named.path] = DocumentTokenizer(named.path, end=named.end, special_tokens=named.special_tokens).digest
        if estimate.target is not None:
            found |= text_digests(estimate.target)
    return found


def _files(config: MixtureConfig) -> Iterator[str]:
    match config.estimate:
        case RunsEstimate() as runs:
            yield from (runs.ratios, runs.metrics)
        case CorrelationEstimate() as correlation:
            yield correlation.losses
        case StateEstimate() as state:
            yield state.file


def digests_of(paths: Iterable[str]) -> dict[str, str]:
    """Return path to SHA-256.

    Raises:
        ConfigError: naming a file that can't be read.
    """
    found = {}
    for path in paths:
        try:
            found[path] = filesystem.sha256(path)
        except (InputError, OSError) as error:
            raise ConfigError(str(error)) from error
    return found


def text_digests(files: TextFiles) -> dict[str, str]:
    """Return pattern to a digest of the names and contents of the files that it names.

    Raises:
        InputError: if it names none.
    """
    return {
        pattern: digest([filesystem.sha256(f.path) for f in filesystem.expand([pattern], suffixes=data_suffixes())])
        for pattern in files.path
    }
