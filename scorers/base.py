"""The protocol of scorers: a name, the columns it adds, and a pure function from texts to those columns."""

from typing import Protocol, runtime_checkable

import pyarrow as pa

from tamis.scorers.text.texts import Texts

__all__ = ["Scorer"]


@runtime_checkable
class Scorer(Protocol):
    """Computes columns from texts and drops nothing: rules decide.

    A scorer is built once a process (models are loaded in its constructor) and called with batches of any size; its
    result must not depend on how texts are batched. Zero texts give zero rows of the same schema.
    """

    @property
    def schema(self) -> pa.Schema:
        """The columns that `score` returns, declared, never inferred."""
        ...

    def score(self, texts: Texts) -> pa.RecordBatch:
        """Return one row a text, with exactly the columns of `schema`."""
        ...
