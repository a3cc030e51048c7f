"""Head, middle and tail of a corpus by perplexity: cc_net's cut-offs, or percentiles of a model's own table.

cc_net (arXiv:1911.00359) calls documents below the 30th percentile of perplexity in their language `head`, those
below the 60th `middle`, the others `tail`, and `all` those without a perplexity or without cut-offs for their
language.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tamis.schemas.errors import ConfigError, ModelError
from tamis.scorers.models.folder import ModelFolder, write_model_folder

__all__ = [
    "ANY",
    "CCNET_CUTOFFS",
    "PercentileTable",
    "buckets",
    "cutoffs",
    "percentile_table",
    "store_percentiles",
    "stored_percentiles",
]

CCNET_CUTOFFS: Mapping[str, tuple[float, float]] = {
    "af": (540, 770),
    "ar": (490, 790),
    "az": (600, 950),
    "be": (670, 910),
    "bg": (450, 680),
    "bn": (190, 300),
    "ca": (210, 330),
    "cs": (820, 1140),
    "da": (380, 600),
    "de": (370, 590),
    "el": (450, 670),
    "en": (340, 520),
    "es": (180, 290),
    "et": (1270, 1620),
    "fa": (370, 700),
    "fi": (1110, 1500),
    "fr": (180, 330),
    "gu": (1110, 1570),
    "he": (1280, 1710),
    "hi": (480, 790),
    "hr": (720, 910),
    "hu": (80, 140),
    "hy": (750, 1080),
    "id": (600, 970),
    "is": (850, 1190),
    "it": (220, 360),
    "ja": (1110, 1450),
    "ka": (910, 1310),
    "kk": (610, 930),
    "km": (1040, 2180),
    "kn": (2210, 2800),
    "ko": (920, 2130),
    "lt": (190, 270),
    "lv": (1130, 1480),
    "mk": (530, 740),
    "ml": (2430, 3220),
    "mn": (680, 1010),
    "mr": (1380, 1870),
    "my": (2530, 3040),
    "ne": (860, 1130),
    "nl": (430, 650),
    "no": (430, 680),
    "pl": (160, 260),
    "pt": (170, 270),
    "ro": (180, 270),
    "ru": (210, 310),
    "uk": (140, 220),
    "zh": (1460, 1950),
}
"""Language to the 30th and 60th percentiles of perplexity in cc_net's `cutoff.csv`."""

ANY = "*"
"""Stands for all languages or all sources together in a table."""

PercentileTable: TypeAlias = "Mapping[str, Mapping[str, Sequence[float]]]"
"""Language to source to the percentiles 0 to 100; `ANY` for all of them together."""

Labels: TypeAlias = "pa.Array | pa.ChunkedArray | Sequence[str | None] | None"
_PERCENTS = np.arange(101)


def percentile_table(
    perplexity: Any, language: Labels = None, source: Labels = None
) -> dict[str, dict[str, list[float]]]:
    """Return the percentiles 0 to 100 of perplexity for each language and source, and for all of them together.

    Args:
        perplexity: one number a document; null and NaN are left out.
        language: its language; None if there is but one.
        source: its source; likewise.
    """
    values = _values(perplexity)
    rows = np.flatnonzero(~np.isnan(values))
    languages, sources = _labels(language, len(values)), _labels(source, len(values))
    table: dict[str, dict[str, list[float]]] = {}
    for name in [ANY, *sorted(set(languages[rows]) - {ANY})]:
        of_language = rows if name == ANY else rows[languages[rows] == name]
        for origin in [ANY, *sorted(set(sources[of_language]) - {ANY})]:
            chosen = of_language if origin == ANY else of_language[sources[of_language] == origin]
            if len(chosen):
                table.setdefault(name, {})[origin] = np.percentile(values[chosen], _PERCENTS).tolist()
    return table


def cutoffs(
    table: "PercentileTable | str", language: str, source: str, at: Sequence[float] = (30, 60)
) -> tuple[float, ...] | None:
    """Return the perplexities at percentiles `at` for a language and source, None for a language the table lacks.

    The table's nearest entry counts: the language's source, else the language, else (in a table without languages) all.

    Args:
        table: a table, or `"ccnet"` for cc_net's, which has the percentiles 30 and 60 only.
        language: the language's code.
        source: the source.
        at: percentiles, ascending; those between two whole numbers are interpolated.

    Raises:
        ConfigError: for percentiles out of order or range, or that cc_net's table hasn't.
    """
    if list(at) != sorted(at) or not all(0 <= percent <= 100 for percent in at):
        msg = f"bucket percentiles must ascend between 0 and 100, not {list(at)}"
        raise ConfigError(msg)
    if isinstance(table, str):
        if table != "ccnet" or tuple(at) != (30, 60):
            msg = (
                f"the bucket table is a model's own or 'ccnet', which has the percentiles 30 and 60, not {table!r} "
                f"at {list(at)}"
            )
            raise ConfigError(msg)
        return CCNET_CUTOFFS.get(language)
    of_language = table.get(language)
    if of_language is None:
        of_language = table.get(ANY) if set(table) <= {ANY} else None
    if of_language is None:
        return None
    percentiles = of_language.get(source) or of_language.get(ANY)
    return None if percentiles is None else tuple(np.interp(at, _PERCENTS, percentiles).tolist())


def buckets(
    perplexity: Any,
    language: Labels = None,
    source: Labels = None,
    *,
    table: "PercentileTable | str" = "ccnet",
    at: Sequence[float] = (30, 60),
    names: Sequence[str] = ("head", "middle", "tail"),
    decimals: int | None = None,
) -> pa.StringArray:
    """Return each document's bucket: the first whose cut-off lies above its perplexity, else the last.

    Args:
        perplexity: one number a document; null and NaN go to `all`.
        language: its language.
        source: its source.
        table: a percentile table, or `"ccnet"`.
        at: the percentiles that part the buckets.
        names: the buckets' names, one more than percentiles.
        decimals: round perplexities first; cc_net keeps one decimal, so that 339.96 is no longer below 340.

    Raises:
        ConfigError: as `cutoffs`, or for the wrong number of names.
    """
    if len(names) != len(at) + 1:
        msg = f"{len(at)} percentiles part {len(at) + 1} buckets, but there are {len(names)} names"
        raise ConfigError(msg)
    values = _values(perplexity)
    if decimals is not None:
        values = np.array([round(value, decimals) for value in values.tolist()], np.float64)
    languages, sources = _labels(language, len(values)), _labels(source, len(values))
    result = np.full(len(values), "all", object)
    for name in set(languages):
        of_language = languages == name
        for origin in set(sources[of_language]):
            limits = cutoffs(table, name, origin, at)
            if limits is None:
                continue
            rows = np.flatnonzero(of_language & (sources == origin) & ~np.isnan(values))
            result[rows] = np.array(names, object)[np.searchsorted(limits, values[rows], side="right")]
    return pa.array(result, pa.string())


def store_percentiles(folder: ModelFolder, table: PercentileTable) -> ModelFolder:
    """Write a percentile table into a model's `model.json`, for buckets later; return the folder as it is then."""
    return write_model_folder(
        folder.path,
        kind=folder.kind,
        files=list(folder.files),
        settings={**folder.settings, "percentiles": table},
        provenance=folder.provenance,
    )


def stored_percentiles(folder: ModelFolder) -> PercentileTable:
    """Return the percentile table of a model.

    Raises:
        ModelError: if it has none.
    """
    table: PercentileTable | None = folder.settings.get("percentiles")
    if table is None:
        msg = (
            f"{folder.path} has no percentile table: train it with `tamis train lm --percentiles FILES`, a sample of "
            "documents, or use another bucket table"
        )
        raise ModelError(msg)
    return table


def _values(perplexity: Any) -> npt.NDArray[np.float64]:
    if isinstance(perplexity, pa.Array | pa.ChunkedArray):
        return np.asarray(
            pc.fill_null(perplexity.cast(pa.float64()), np.nan).to_numpy(zero_copy_only=False), np.float64
        )
    return np.array([np.nan if value is None else value for value in perplexity], np.float64)


def _labels(labels: Labels, count: int) -> npt.NDArray[np.object_]:
    if labels is None:
        return np.full(count, ANY, object)
    listed = labels.to_pylist() if isinstance(labels, pa.Array | pa.ChunkedArray) else list(labels)
    return np.array([ANY if label is None else label for label in listed], object)
