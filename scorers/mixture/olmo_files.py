"""OLMo's token files: `NAME.npy`, a bare array of tokens, and `NAME.csv.gz`, a row for each document.

In spite of its name the `.npy` has no header: it is what `numpy.memmap` writes, uint16 or uint32. A row of the table is
`start,end,id,source,number`: the document's first token, the one after its last, its id, where it came from, and its
place there.
"""

import csv
import gzip
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tamis.schemas.errors import ConfigError, DataError, InputError
from tamis.scorers.mixture.token_files import Documents, Tokens, TokenSummary, appearing

__all__ = ["OlmoDocument", "OlmoTokens", "write_olmo"]

_WIDE = np.dtype("<u4")


class OlmoDocument(NamedTuple):
    """A document to write.

    Attributes:
        doc_id: its id.
        source: where it came from.
        tokens: its ids.
    """

    doc_id: str
    source: str
    tokens: Sequence[int] | Tokens


def write_olmo(
    folder: Path,
    documents: Iterable[OlmoDocument],
    *,
    vocabulary: int,
    end: int,
    max_tokens: int = 1 << 30,
    name: str = "part",
) -> TokenSummary:
    """Write documents as `NAME-00000.npy`, `NAME-00000.csv.gz`, `NAME-00001.npy`, ...

    Args:
        folder: where.
        documents: in their order.
        vocabulary: one more than the largest id.
        end: the end-of-document token.
        max_tokens: a file that has as many is closed; a document is never cut.
        name: of the files.

    Returns:
        What was written.

    Raises:
        DataError: if a token isn't in the vocabulary, or there is no document.
        ConfigError: if vocabulary, end or max_tokens don't fit.
    """
    if max_tokens < 1:
        msg = f"max_tokens is {max_tokens}: a file must be allowed a token"
        raise ConfigError(msg)
    prepared = Documents(vocabulary, end, _WIDE)
    waiting = iter(documents)
    for part in range(10**9):
        first = _next(waiting, prepared)
        if first is None:
            if not part:
                msg = f"{folder} would be empty: there is no document with a token"
                raise DataError(msg)
            return prepared.summary
        _write_part(folder / f"{name}-{part:05d}", first, waiting, prepared, max_tokens)
    return prepared.summary


def _next(waiting: Iterator[OlmoDocument], prepared: Documents) -> tuple[OlmoDocument, Tokens] | None:
    for document in waiting:
        ids = prepared.prepared(document.tokens, document.doc_id)
        if ids is not None:
            return document, ids
    return None


def _write_part(
    stem: Path,
    first: tuple[OlmoDocument, Tokens],
    waiting: Iterator[OlmoDocument],
    prepared: Documents,
    max_tokens: int,
) -> None:
    rows = io.StringIO(newline="")
    table = csv.writer(rows, lineterminator="\n")
    at = number = 0
    current: tuple[OlmoDocument, Tokens] | None = first
    with appearing(stem.with_name(stem.name + ".npy"), prepared.summary) as file:
        while current is not None:
            document, ids = current
            file.write(ids.tobytes())
            table.writerow([at, at + len(ids), document.doc_id, document.source, number])
            at, number = at + len(ids), number + 1
            current = _next(waiting, prepared) if at < max_tokens else None
    with appearing(stem.with_name(stem.name + ".csv.gz"), prepared.summary) as file:
        file.write(gzip.compress(rows.getvalue().encode(), mtime=0))


class OlmoTokens:
    """The documents of one file, memory-mapped."""

    def __init__(self, path: Path, dtype: Any = np.uint16) -> None:
        """Map a file.

        Args:
            path: the `.npy`.
            dtype: type of its tokens, which the file doesn't say.

        Raises:
            InputError: if the file or its table can't be read, or they don't fit.
        """
        table = path.with_name(path.name.removesuffix(".npy") + ".csv.gz")
        try:
            text = gzip.decompress(table.read_bytes()).decode()
            size = path.stat().st_size
        except (OSError, EOFError, ValueError) as error:
            msg = f"{path} and its .csv.gz can't be read: {error}"
            raise InputError(msg) from error
        rows = [row for row in csv.reader(io.StringIO(text)) if row]
        self.bounds = [(int(row[0]), int(row[1])) for row in rows]
        self.doc_ids = [row[2] for row in rows]
        self.sources = [row[3] for row in rows]
        ends = [0, *(end for _, end in self.bounds)]
        if [start for start, _ in self.bounds] != ends[:-1] or ends[-1] * np.dtype(dtype).itemsize != size:
            msg = f"{path} has {size:,} bytes, which its table's documents of {np.dtype(dtype).name} don't fill"
            raise InputError(msg)
        self._tokens = np.memmap(path, dtype, "r")

    def __len__(self) -> int:
        """Return the number of documents."""
        return len(self.bounds)

    def __getitem__(self, document: int) -> Tokens:
        """Return a document's tokens, its end among them."""
        start, end = self.bounds[document]
        return np.asarray(self._tokens[start:end])
