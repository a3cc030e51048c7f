r"""Megatron's indexed token files: `NAME.bin` with all tokens one after another, `NAME.idx` with where documents lie.

The index, little-endian: `MMIDIDX\0\0`, version 1 (8 bytes), the code of the token's type (1 byte), the number of
sequences and of document bounds (8 bytes each), then each sequence's length in tokens (4 bytes), each sequence's first
byte (8 bytes), and the document bounds: positions of sequences, beginning with 0 (8 bytes each). Here a document is one
sequence.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tamis.schemas.errors import DataError, InputError
from tamis.scorers.mixture.token_files import Documents, Tokens, TokenSummary, appearing

__all__ = ["MegatronIndex", "MegatronTokens", "merge_megatron", "read_megatron_index", "write_megatron"]

_MAGIC = b"MMIDIDX\0\0"
_HEAD = struct.Struct("<QBQQ")
_CODES = {1: "u1", 2: "i1", 3: "<i2", 4: "<i4", 5: "<i8", 6: "<f8", 7: "<f4", 8: "<u2"}
_WIDE = np.dtype("<i4")
_BLOCK = 1 << 24


class MegatronIndex(NamedTuple):
    """What an index says.

    Attributes:
        dtype: type of a token.
        lengths: tokens of each sequence, int32.
        pointers: first byte of each, int64.
        bounds: sequences at which documents begin, and their number at the end, int64.
    """

    dtype: np.dtype[Any]
    lengths: npt.NDArray[np.int32]
    pointers: npt.NDArray[np.int64]
    bounds: npt.NDArray[np.int64]


def write_megatron(
    prefix: Path, documents: Iterable[tuple[str, Sequence[int] | Tokens]], *, vocabulary: int, end: int
) -> TokenSummary:
    """Write documents as `prefix.bin` and `prefix.idx`.

    The index is written last, so that where it is, all is.

    Args:
        prefix: path without the ending.
        documents: name (for messages) and tokens.
        vocabulary: one more than the largest id.
        end: the end-of-document token.

    Returns:
        What was written.

    Raises:
        DataError: if a token isn't in the vocabulary, or there is no document.
        ConfigError: if vocabulary and end don't fit.
    """
    prepared = Documents(vocabulary, end, _WIDE)
    lengths: list[int] = []
    data, index = _paths(prefix)
    index.unlink(missing_ok=True)
    with appearing(data, prepared.summary) as file:
        for name, tokens in documents:
            ids = prepared.prepared(tokens, name)
            if ids is not None:
                file.write(ids.tobytes())
                lengths.append(len(ids))
        if not lengths:
            msg = f"{data} would be empty: there is no document with a token"
            raise DataError(msg)
    bounds = np.arange(len(lengths) + 1, dtype=np.int64)
    _write_index(index, prepared.dtype, np.array(lengths, np.int32), bounds, prepared.summary)
    return prepared.summary


def read_megatron_index(prefix: Path) -> MegatronIndex:
    """Read and check an index and the size of its tokens.

    Raises:
        InputError: if a file is missing, cut short, of another format or version, or the two don't fit.
    """
    data, index = _paths(prefix)
    try:
        raw, size = index.read_bytes(), data.stat().st_size
    except OSError as error:
        msg = f"{prefix}.bin and .idx can't be read: {error}"
        raise InputError(msg) from error
    start = len(_MAGIC)
    if not raw.startswith(_MAGIC) or len(raw) < start + _HEAD.size:
        msg = f"{index} isn't a Megatron index"
        raise InputError(msg)
    version, code, sequences, bounds = _HEAD.unpack_from(raw, start)
    at = start + _HEAD.size
    if version != 1 or code not in _CODES or len(raw) < at + 12 * sequences + 8 * bounds:
        msg = f"{index} is of another version (version {version}, token type {code}), or was cut short"
        raise InputError(msg)
    dtype = np.dtype(_CODES[code])
    result = MegatronIndex(
        dtype,
        np.frombuffer(raw, "<i4", sequences, at),
        np.frombuffer(raw, "<i8", sequences, at + 4 * sequences),
        np.frombuffer(raw, "<i8", bounds, at + 12 * sequences),
    )
    wanted = int(result.lengths.sum(dtype=np.int64)) * dtype.itemsize
    if wanted != size or not np.array_equal(result.pointers, _pointers(result.lengths, dtype)):
        msg = f"{data} has {size:,} bytes where {index} speaks of {wanted:,}, or sequences aren't one after another"
        raise InputError(msg)
    return result


class MegatronTokens:
    """The documents of a pair of files, memory-mapped."""

    def __init__(self, prefix: Path) -> None:
        """Map the files.

        Raises:
            InputError: see `read_megatron_index`.
        """
        self.index = read_megatron_index(prefix)
        self._tokens = np.memmap(_paths(prefix)[0], self.index.dtype, "r")

    def __len__(self) -> int:
        """Return the number of documents."""
        return len(self.index.bounds) - 1

    def __getitem__(self, document: int) -> Tokens:
        """Return a document's tokens, its end among them."""
        first, last = self.index.bounds[document : document + 2]
        begin = self.index.pointers[first] // self.index.dtype.itemsize
        length = int(self.index.lengths[first:last].sum(dtype=np.int64))
        return np.asarray(self._tokens[begin : begin + length])

    def __iter__(self) -> Iterator[Tokens]:
        """Yield the documents in their order."""
        return (self[i] for i in range(len(self)))


def merge_megatron(prefixes: Sequence[Path], prefix: Path) -> TokenSummary:
    """Write pairs of files as one, documents in the given order.

    Document bounds are moved by the sequences before them; a pair that were merged from several documents a sequence,
    or several sequences a document, keeps them so.

    Raises:
        InputError: if there is none, or token types differ.
    """
    indices = [read_megatron_index(one) for one in prefixes]
    if len({one.dtype for one in indices}) != 1:
        msg = f"token files of types {', '.join(sorted({i.dtype.name for i in indices})) or 'none'} can't be merged"
        raise InputError(msg)
    summary = TokenSummary(dtype=indices[0].dtype.name)
    data, index = _paths(prefix)
    index.unlink(missing_ok=True)
    with appearing(data, summary) as file:
        for one in prefixes:
            with _paths(one)[0].open("rb") as source:
                while block := source.read(_BLOCK):
                    file.write(block)
    before = np.cumsum([0, *(len(one.lengths) for one in indices)])
    bounds = [np.zeros(1, np.int64)]
    bounds += [one.bounds[1:] + shift for one, shift in zip(indices, before[:-1], strict=True)]
    lengths = np.concatenate([one.lengths for one in indices])
    _write_index(index, indices[0].dtype, lengths, np.concatenate(bounds), summary)
    summary.documents = sum(len(one.bounds) - 1 for one in indices)
    summary.tokens = int(lengths.sum(dtype=np.int64))
    return summary


def _paths(prefix: Path) -> tuple[Path, Path]:
    return prefix.with_name(prefix.name + ".bin"), prefix.with_name(prefix.name + ".idx")


def _pointers(lengths: npt.NDArray[np.int32], dtype: np.dtype[Any]) -> npt.NDArray[np.int64]:
    """Return the first byte of each sequence, in 64 bits: 32 overflow beyond 2 GiB."""
    ends = np.cumsum(lengths, dtype=np.int64) * np.int64(dtype.itemsize)
    return np.concatenate([np.zeros(1, np.int64), ends])[:-1]


def _write_index(
    path: Path,
    dtype: np.dtype[Any],
    lengths: npt.NDArray[np.int32],
    bounds: npt.NDArray[np.int64],
    summary: TokenSummary,
) -> None:
    code = next(code for code, name in _CODES.items() if np.dtype(name) == dtype)
    with appearing(path, summary) as file:
        file.write(_MAGIC + _HEAD.pack(1, code, len(lengths), len(bounds)))
        file.write(lengths.astype("<i4").tobytes())
        file.write(_pointers(lengths, dtype).astype("<i8").tobytes())
        file.write(bounds.astype("<i8").tobytes())
