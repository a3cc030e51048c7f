"""From scorers to annotators: over the text of documents, or with one scorer for each language."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa

from tamis.scorers.base import Annotator, Scorer

__all__ = ["ByLanguage", "OverText", "Renamed", "nullable"]


def nullable(schema: pa.Schema) -> pa.Schema:
    """Return the schema with all fields nullable: in a run, rows that were rejected before have no value."""
    return pa.schema([pa.field(f.name, f.type, metadata=f.metadata) for f in schema])


class OverText:
    """A scorer over the text alone.

    Attributes:
        scorer: the scorer.
    """

    requires = ("text",)

    def __init__(self, scorer: Scorer):
        self.scorer = scorer
        self.schema = nullable(scorer.schema)

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return the scorer's columns."""
        return pa.RecordBatch.from_arrays(self.scorer.score(batch.column("text")).columns, schema=self.schema)


class Renamed:
    """An annotator whose columns are called otherwise.

    Args:
        inner: the annotator.
        rename: from its names to those that the columns have here.
    """

    def __init__(self, inner: Annotator, rename: Callable[[str], str]):
        self._inner = inner
        self.requires = inner.requires
        self.schema = pa.schema([field.with_name(rename(field.name)) for field in inner.schema])

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return the annotator's columns under their names here."""
        return pa.RecordBatch.from_arrays(self._inner.annotate(batch).columns, schema=self.schema)


class ByLanguage:
    """One scorer a language, loaded when its first document comes; documents of other languages get nulls.

    Args:
        load: from a language code to its scorer; all have the same schema.
        languages: the codes that there are scorers for; at least one.
    """

    requires = ("text", "language")

    def __init__(self, load: Callable[[str], Scorer], languages: tuple[str, ...]):
        self._load = load
        self._languages = languages
        self._loaded: dict[str, Scorer] = {}
        self.schema = nullable(self._scorer(languages[0]).schema)

    def _scorer(self, language: str) -> Scorer:
        if language not in self._loaded:
            self._loaded[language] = self._load(language)
        return self._loaded[language]

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return the columns of each row's own scorer."""
        codes = np.array(batch.column("language").to_pylist(), dtype=object)
        pieces = [pa.RecordBatch.from_arrays([pa.nulls(1, f.type) for f in self.schema], schema=self.schema)]
        place = np.zeros(batch.num_rows, np.int64)
        after = 1
        for language in self._languages:
            chosen = np.flatnonzero(codes == language)
            if len(chosen):
                scored = self._scorer(language).score(batch.column("text").take(pa.array(chosen)))
                pieces.append(pa.RecordBatch.from_arrays(scored.columns, schema=self.schema))
                place[chosen] = np.arange(after, after + len(chosen))
                after += len(chosen)
        joined = pa.Table.from_batches(pieces, self.schema).combine_chunks().to_batches()[0]
        return joined.take(pa.array(place))
