"""The protocols of what computes columns: from texts alone, or from any columns of a batch of documents."""

from typing import Protocol, runtime_checkable

import pyarrow as pa

from tamis.scorers.text.texts import Texts

__all__ = ["Annotator", "Scorer"]


@runtime_checkable
class Scorer(Protocol):
    """Computes columns from texts and drops nothing: rules decide.

    A scorer is built once a process (models are loaded in its constructor) and called with batches of any size; its
    result must not depend on how texts are batched. Zero texts give zero rows of the same schema.
    `tamis.scorers.testing.check_scorer` holds a scorer to all that this asks of it.
    """

    @property
    def schema(self) -> pa.Schema:
        """The columns that `score` returns, declared, never inferred."""
        ...

    def score(self, texts: Texts) -> pa.RecordBatch:
        """Return one row a text, with exactly the columns of `schema`."""
        ...


@runtime_checkable
class Annotator(Protocol):
    """Computes a step's columns for a batch of documents; `tamis.scorers.annotators` makes one of a scorer."""

    @property
    def schema(self) -> pa.Schema:
        """The columns it adds; nullable all, as rows that were rejected before have no value."""
        ...

    @property
    def requires(self) -> tuple[str, ...]:
        """The columns it reads."""
        ...

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return one row a row, with exactly the columns of `schema`."""
        ...
