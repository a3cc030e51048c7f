"""Rows of tokens for training: documents in hash order, one after another, cut at the context's length.

A group's validation rows come from documents of their own, the first in hash order, so that no training row shares a
document with them, and they are the same rows at every evaluation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tamis.schemas.errors import ConfigError, DataError
from tamis.scorers.mixture.order import document_order
from tamis.scorers.text.identity import doc_id
from tamis.scorers.text.noise import DocumentIds, id_words

__all__ = ["GroupRows", "RowCursor", "Rows", "pack_rows"]

Rows = npt.NDArray[np.int32]


@dataclass(frozen=True)
class GroupRows:
    """A group's rows.

    Attributes:
        name: of the group.
        train: training rows, shape (rows, context).
        validation: validation rows, likewise.
        dropped_tokens: tokens at the ends that fill no row.
    """

    name: str
    train: Rows
    validation: Rows
    dropped_tokens: int = 0


def pack_rows(
    name: str,
    documents: Sequence[Sequence[int] | npt.NDArray[np.integer[Any]]],
    ids: DocumentIds,
    *,
    context: int,
    end: int,
    validation_rows: int,
    seed: int = 0,
) -> GroupRows:
    """Return a group's rows.

    Args:
        name: of the group.
        documents: tokens of each; the end-of-document token is added where it isn't there.
        ids: of the documents.
        context: tokens of a row, at least 2.
        end: the end-of-document token.
        validation_rows: how many; documents are taken until they are full.
        seed: of the order.

    Raises:
        ConfigError: if a number is out of range.
        DataError: if the group is too small for its validation rows and one training row.
    """
    if context < 2 or validation_rows < 0:
        msg = f"rows need a context of at least 2 and validation_rows not below 0, got {context} and {validation_rows}"
        raise ConfigError(msg)
    words = id_words(ids)
    if len(words) != len(documents):
        msg = f"{len(words)} ids were given for {len(documents)} documents"
        raise DataError(msg)
    parts: list[list[npt.NDArray[np.int64]]] = [[], []]
    lengths = [0, 0]
    for i in document_order(words, seed=seed):
        tokens = np.asarray(documents[i], np.int64)
        if not len(tokens):
            continue
        if tokens[-1] != end:
            tokens = np.append(tokens, end)
        side = 0 if lengths[0] < validation_rows * context else 1
        parts[side].append(tokens)
        lengths[side] += len(tokens)
    wanted = validation_rows * context
    if lengths[0] < wanted or lengths[1] < context:
        msg = (
            f"group {name!r} has {sum(lengths):,} tokens: too few for {validation_rows} validation rows and a training "
            f"row of {context} tokens; take fewer or shorter rows, or leave the group out"
        )
        raise DataError(msg)
    flat = [np.concatenate([np.empty(0, np.int64), *some]).astype(np.int32) for some in parts]
    rows = lengths[1] // context
    return GroupRows(
        name,
        flat[1][: rows * context].reshape(rows, context),
        flat[0][:wanted].reshape(validation_rows, context),
        lengths[0] - wanted + lengths[1] - rows * context,
    )


class RowCursor:
    """Where a group's training rows are taken from: pass after pass, each in a hash order of its own.

    Attributes:
        taken: rows taken so far; the only state.
    """

    def __init__(self, rows: GroupRows, seed: int, taken: int = 0) -> None:
        """Start at the first row, or where an earlier run stopped.

        Raises:
            ConfigError: if `taken` is below 0.
        """
        if taken < 0:
            msg = f"group {rows.name!r} can't have given {taken} rows"
            raise ConfigError(msg)
        self._rows, self._seed = rows.train, seed
        word = id_words([doc_id("row", rows.name)])[0, 0]
        self._ids = np.column_stack([np.full(len(self._rows), word), np.arange(len(self._rows), dtype=np.uint64)])
        self.taken = taken
        self._epoch, self._order = -1, np.empty(0, np.int64)

    @property
    def epochs(self) -> float:
        """Passes over the group so far."""
        return self.taken / len(self._rows)

    def peek(self, number: int, ahead: int = 0) -> Rows:
        """Return the next rows without taking them, those after `ahead` further ones."""
        places = [self._place(self.taken + ahead + i) for i in range(number)]
        return np.asarray(self._rows[places])

    def take(self, number: int) -> Rows:
        """Return the next rows and go on behind them."""
        rows = self.peek(number)
        self.taken += number
        return rows

    def _place(self, at: int) -> int:
        epoch, within = divmod(at, len(self._rows))
        if epoch != self._epoch:
            self._epoch, self._order = epoch, document_order(self._ids, seed=self._seed, epoch=epoch)
        return int(self._order[within])
