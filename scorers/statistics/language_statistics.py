"""Text statistics of documents in many languages: each one's words, and its stop words, are those of its language."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from tamis.schemas.errors import ConfigError
from tamis.scorers.annotators import nullable
from tamis.scorers.language.labels import is_english
from tamis.scorers.statistics.columns import text_schema
from tamis.scorers.statistics.language_rules import LanguageTable
from tamis.scorers.statistics.language_words import language_words
from tamis.scorers.statistics.text_statistics import Ellipses, Splitter, TextStatistics

__all__ = ["StatisticsByLanguage", "check_words"]

ENGLISH = "eng"


class StatisticsByLanguage:
    """Computes `text_*` columns, those of datatrove's filters with the words of each document's language.

    Documents of languages that the table doesn't have are split by the rules of no language in particular, English
    ones by those of English; both are looked through for Gopher's English stop words.

    Args:
        columns: which.
        table: the languages, with their stop words.
        by: the column of the language.
        splitter: as of `TextStatistics`.
        bad_words: as of `TextStatistics`.
        ellipsis: as of `TextStatistics`.

    Raises:
        ConfigError: if the words of a language need a library that isn't installed, when its first document comes.
    """

    def __init__(
        self,
        columns: Sequence[str],
        table: LanguageTable,
        *,
        by: str = "language",
        splitter: Splitter = "fast",
        bad_words: str | Path | None = None,
        ellipsis: Ellipses = "joined",
    ):
        self.requires = ("text", by)
        self.schema = nullable(text_schema(columns))
        self._columns = tuple(columns)
        self._table = table
        self._by = by
        self._splitter: Splitter = splitter
        self._bad_words = bad_words
        self._ellipsis: Ellipses = ellipsis
        self._scorers: dict[str | None, TextStatistics] = {}

    def _key(self, label: str | None) -> str | None:
        """Return what documents of a label have in common: the table's key, English, or no language."""
        key = self._table.find(label)
        return key or (ENGLISH if is_english(label) else None)

    def _scorer(self, key: str | None) -> TextStatistics:
        if key not in self._scorers:
            figures = self._table.figures.get(key) if key is not None else None
            self._scorers[key] = TextStatistics(
                self._columns,
                bad_words=self._bad_words,
                ellipsis=self._ellipsis,
                words=language_words(key, self._splitter),
                stop_words=figures.stopwords if figures is not None else None,
            )
        return self._scorers[key]

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return the columns of each row."""
        if batch.num_rows == 0:
            return pa.RecordBatch.from_pylist([], self.schema)
        labels = batch.column(self._by).to_pylist()
        groups: dict[str | None, list[int]] = {}
        for row, label in enumerate(labels):
            groups.setdefault(self._key(label), []).append(row)
        pieces, rows = [], []
        for key, chosen in groups.items():
            texts = batch.column("text").take(pa.array(chosen, pa.int64()))
            pieces.append(pa.RecordBatch.from_arrays(self._scorer(key).score(texts).columns, schema=self.schema))
            rows.append(chosen)
        joined = pa.Table.from_batches(pieces).combine_chunks().to_batches()[0]
        return joined.take(pa.array(np.argsort(np.concatenate(rows), kind="stable")))


def check_words(table: LanguageTable, splitter: Splitter = "fast") -> None:
    """Find out whether the words of all languages of a table can be found.

    Raises:
        ConfigError: naming the languages whose words need a library that isn't installed.
    """
    missing: dict[str, list[str]] = {}
    for key in table.figures:
        try:
            language_words(key, splitter)
        except ConfigError as error:
            missing.setdefault(str(error), []).append(key)
    for told, keys in missing.items():
        msg = f"the rules of {', '.join(keys)}: {told}, or leave them out by `languages`"
        raise ConfigError(msg)
