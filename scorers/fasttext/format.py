"""The file of a supervised fastText model (`.bin`, or quantised `.ftz`), read without the fastText library.

Little-endian: magic, version, the training arguments, the dictionary (words, then labels), the pruned
buckets, the input matrix (one row a word or hash bucket) and the output matrix (one row a label). Matrices
stay in the file, mapped into memory.
"""

import itertools
import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from tamis.schemas.errors import ModelError
from tamis.scorers.fasttext.vocabulary_kernels import scan_entries

__all__ = ["LOSSES", "DenseMatrix", "FastTextFile", "Matrix", "QuantisedMatrix", "corrupt", "read_fasttext"]

MAGIC = 793712314
NEWEST_VERSION = 12
CENTROIDS = 256
MOST = 10**15
LOSSES = {1: "hs", 2: "ns", 3: "softmax", 4: "ova"}
"""The losses by their number in the file: hierarchical softmax, negative sampling, softmax, one-vs-all."""

Floats: TypeAlias = npt.NDArray[np.float32]
Bytes: TypeAlias = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class DenseMatrix:
    """A matrix as it lies in the file: `values` is float32 of shape (rows, dim), possibly unaligned."""

    values: Floats

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.values.shape[0], self.values.shape[1]

    @property
    def scale(self) -> Floats:
        """A factor for each row of `unscaled`: ones."""
        return np.ones(len(self.values), np.float32)

    def unscaled(self, start: int, stop: int) -> Floats:
        """Return rows `start` to `stop - 1`, to be multiplied by `scale`."""
        return self.values[start:stop]

    def dense(self, start: int, stop: int) -> Floats:
        """Return rows `start` to `stop - 1` as numbers."""
        return self.values[start:stop]


@dataclass(frozen=True, eq=False)
class QuantisedMatrix:
    """A product-quantised matrix: each run of columns of a row is one of 256 centroids, times the row's norm.

    Attributes:
        codes: uint8 of shape (rows, runs).
        centroids: for each run float32 of shape (256, columns of the run).
        norms: float32, one a row; ones where norms weren't quantised.
    """

    codes: Bytes
    centroids: tuple[Floats, ...]
    norms: Floats

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.codes), sum(block.shape[1] for block in self.centroids)

    @property
    def scale(self) -> Floats:
        """A factor for each row of `unscaled`: the norms."""
        return self.norms

    def unscaled(self, start: int, stop: int) -> Floats:
        """Return rows `start` to `stop - 1`, to be multiplied by `scale`."""
        codes = self.codes[start:stop]
        return np.concatenate([block[codes[:, run]] for run, block in enumerate(self.centroids)], axis=1)

    def dense(self, start: int, stop: int) -> Floats:
        """Return rows `start` to `stop - 1` as numbers."""
        return self.unscaled(start, stop) * self.norms[start:stop, None]


Matrix: TypeAlias = DenseMatrix | QuantisedMatrix


@dataclass(frozen=True, eq=False)
class FastTextFile:
    """A supervised model's parts.

    Attributes:
        path: the file.
        mapping: the file in memory.
        data: its bytes, uint8.
        loss: `hs`, `ns`, `softmax` or `ova`.
        word_ngrams: longest word n-gram (0 or 1: words alone).
        bucket: number of hash buckets of n-grams.
        minn: shortest character n-gram.
        maxn: longest character n-gram; 0: none.
        n_words: number of words.
        labels: the labels, with their prefix, in order of the output rows.
        label_counts: int64, how often each label occurred in training.
        entries_at: position of the dictionary's entries in `data`.
        pruned: int32 of shape (n, 2), bucket and row after the words, of a pruned model; None if all
            buckets have rows.
        input: matrix of words, then buckets.
        output: matrix of labels (of inner nodes for `hs`).
    """

    path: Path
    mapping: mmap.mmap
    data: Bytes
    loss: str
    word_ngrams: int
    bucket: int
    minn: int
    maxn: int
    n_words: int
    labels: tuple[str, ...]
    label_counts: npt.NDArray[np.int64]
    entries_at: int
    pruned: npt.NDArray[np.int32] | None
    input: Matrix
    output: Matrix

    @property
    def dim(self) -> int:
        """Length of a row."""
        return self.input.shape[1]

    def release(self) -> None:
        """Let the system take back the memory of pages read so far; they are mapped again when needed."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self.mapping.madvise(mmap.MADV_DONTNEED)


def read_fasttext(path: str | Path) -> FastTextFile:
    """Read the structure of a supervised fastText model; its matrices are mapped, not loaded.

    Raises:
        ModelError: if the file is missing, no fastText model, truncated, corrupt, or not supervised.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError as error:
        msg = f"there is no fastText model at {path}"
        raise ModelError(msg) from error
    except (OSError, ValueError) as error:  # ValueError: an empty file can't be mapped
        msg = f"the fastText model {path} can't be read: {error}"
        raise ModelError(msg) from error
    return _Reader(path, mapping).read()


def corrupt(path: Path, what: str) -> ModelError:
    """Return the error to raise for a damaged file; `what` is a clause."""
    return ModelError(f"the fastText model {path} is corrupt or truncated: {what}; fetch it again")


class _Reader:
    """Walks through the file; every step checks that the bytes are there."""

    def __init__(self, path: Path, mapping: mmap.mmap) -> None:
        self.path = path
        self.mapping = mapping
        self.data = np.frombuffer(mapping, np.uint8)
        self.position = 0

    def broken(self, what: str) -> ModelError:
        return corrupt(self.path, what)

    def numbers(self, layout: str) -> tuple[int, ...]:
        raw = self.take(struct.calcsize("<" + layout), "a header")
        return struct.unpack("<" + layout, raw.tobytes())

    def take(self, size: int, what: str) -> Bytes:
        """Return the next `size` bytes without copying them."""
        if size < 0 or size > len(self.data) - self.position:
            left = len(self.data) - self.position
            raise self.broken(f"{what} of {size} bytes doesn't fit into the {left} that are left")
        self.position += size
        return self.data[self.position - size : self.position]

    def floats(self, count: int, what: str) -> Floats:
        return self.take(4 * count, what).view(np.dtype("<f4"))

    def read(self) -> FastTextFile:
        if len(self.data) < 8 or struct.unpack("<i", self.data[:4].tobytes()) != (MAGIC,):
            msg = f"{self.path} is no fastText model (a .bin or .ftz file begins with another number)"
            raise ModelError(msg)
        _, version = self.numbers("ii")
        if not 11 <= version <= NEWEST_VERSION:
            msg = f"the fastText model {self.path} has version {version}; versions 11 and 12 are known"
            raise ModelError(msg)
        dim, _, _, _, _, word_ngrams, loss, kind, bucket, minn, maxn, _ = self.numbers("12i")
        self.numbers("d")
        if kind != 3:
            msg = f"the fastText model {self.path} holds word vectors; a classifier is needed"
            raise ModelError(msg)
        if version == 11:
            maxn = 0  # old supervised models were trained without character n-grams, whatever the header says
        if dim <= 0 or loss not in LOSSES or min(word_ngrams, bucket, minn, maxn) < 0:
            raise self.broken("its training arguments make no sense")
        if bucket == 0 and (maxn > 0 or word_ngrams > 1):
            raise self.broken("it has n-grams, but no buckets for them")
        size, n_words, n_labels, _, n_pruned = self.numbers("iiiqq")
        if n_words < 0 or n_labels <= 0 or size != n_words + n_labels or n_pruned < -1:
            raise self.broken("the sizes of its dictionary make no sense")
        entries_at = self.position
        labels, counts = self.dictionary(n_words, n_labels)
        pruned = self.pruned(n_pruned, bucket) if n_pruned >= 0 else None
        quantised = self.flag()
        if pruned is not None and not quantised:
            raise self.broken("its buckets are pruned, but its matrix isn't quantised")
        rows = self.matrix(quantised, "the input matrix")
        output = self.matrix(self.flag() and quantised, "the output matrix")
        needed = n_words + (bucket if pruned is None else 0)
        if pruned is not None and len(pruned):
            needed += int(pruned[:, 1].max()) + 1
        if rows.shape[0] < needed or rows.shape[1] != dim:
            raise self.broken(f"its input matrix has shape {rows.shape}, and {(needed, dim)} is needed")
        if output.shape != (n_labels, dim):
            raise self.broken(f"its output matrix has shape {output.shape} instead of {(n_labels, dim)}")
        if self.position != len(self.data):
            raise self.broken(f"{len(self.data) - self.position} bytes follow its end")
        if not np.isfinite(output.dense(0, n_labels)).all():
            raise self.broken("its output matrix holds numbers that aren't finite")
        return FastTextFile(
            path=self.path,
            mapping=self.mapping,
            data=self.data,
            loss=LOSSES[loss],
            word_ngrams=word_ngrams,
            bucket=bucket,
            minn=minn,
            maxn=maxn,
            n_words=n_words,
            labels=labels,
            label_counts=counts,
            entries_at=entries_at,
            pruned=pruned,
            input=rows,
            output=output,
        )

    def flag(self) -> bool:
        (value,) = self.take(1, "a flag")
        if value > 1:
            raise self.broken(f"a flag is {value}")
        return bool(value)

    def dictionary(self, n_words: int, n_labels: int) -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
        if 10 * (n_words + n_labels) > len(self.data):
            raise self.broken(f"its dictionary of {n_words} words and {n_labels} labels doesn't fit into the file")
        starts, counts = np.zeros(n_labels, np.int64), np.zeros(n_labels, np.int64)
        end = scan_entries(self.data, self.position, n_words, starts, counts)
        if end < 0:
            reason = "an entry is of the wrong kind" if end == -2 else "the file ends inside it"
            raise self.broken(f"its dictionary can't be read, {reason}")
        self.position = end
        if counts.min() < 0 or counts.max() > MOST:
            raise self.broken("the count of a label makes no sense")
        stops = [*(starts[1:] - 10).tolist(), end - 10]
        try:
            labels = tuple(self.data[a:b].tobytes().decode() for a, b in zip(starts.tolist(), stops, strict=True))
        except UnicodeDecodeError as error:
            raise self.broken("a label isn't UTF-8") from error
        return labels, counts

    def pruned(self, size: int, bucket: int) -> npt.NDArray[np.int32]:
        pairs = self.take(8 * size, "the list of pruned buckets").view(np.dtype("<i4")).reshape(size, 2)
        if size and (pairs.min() < 0 or pairs[:, 0].max() >= bucket or len(np.unique(pairs[:, 0])) != size):
            raise self.broken("its list of pruned buckets makes no sense")
        return pairs

    def matrix(self, quantised: bool, what: str) -> Matrix:
        if not quantised:
            rows, columns = self.numbers("qq")
            if rows < 0 or columns <= 0:
                raise self.broken(f"{what} has shape {(rows, columns)}")
            return DenseMatrix(self.floats(rows * columns, what).reshape(rows, columns))
        with_norms = self.flag()
        rows, columns, n_codes = self.numbers("qqi")
        if rows < 0 or columns <= 0 or n_codes < 0:
            raise self.broken(f"{what} has shape {(rows, columns)}")
        codes = self.take(n_codes, f"the codes of {what}")
        centroids = self.quantiser(columns, what)
        if n_codes != rows * len(centroids):
            raise self.broken(f"{what} has {n_codes} codes for {rows} rows of {len(centroids)}")
        norms = np.ones(rows, np.float32)
        if with_norms:
            norm_codes = self.take(rows, f"the norms of {what}")
            (values,) = self.quantiser(1, f"the norms of {what}")
            norms = values[norm_codes, 0]
        return QuantisedMatrix(codes.reshape(rows, len(centroids)), centroids, norms)

    def quantiser(self, columns: int, what: str) -> tuple[Floats, ...]:
        """Read a product quantiser; the last run of columns may be shorter than the others."""
        dim, runs, width, last = self.numbers("4i")
        if dim != columns or width <= 0 or not 0 < last <= width or (runs - 1) * width + last != dim:
            raise self.broken(f"the quantiser of {what} makes no sense")
        values = self.floats(dim * CENTROIDS, f"the centroids of {what}")
        cuts = [run * CENTROIDS * width for run in range(runs)] + [dim * CENTROIDS]
        return tuple(values[a:b].reshape(CENTROIDS, -1) for a, b in itertools.pairwise(cuts))
