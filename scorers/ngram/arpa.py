"""N-gram models as ARPA files: the portable text form that every language-model tool reads and writes."""

import bz2
import gzip
import lzma
import os
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tamis.schemas.errors import ModelError
from tamis.scorers.ngram.arpa_kernels import (
    BAD_BACKOFF,
    BAD_LINE,
    BAD_PROBABILITY,
    UNKNOWN_WORD,
    read_ngrams,
    read_unigrams,
    write_ngrams,
)
from tamis.scorers.ngram.word_table_kernels import enter_words

__all__ = ["Arpa", "NgramTable", "Vocabulary", "read_arpa", "write_arpa"]

_WRONG = {
    BAD_PROBABILITY: "doesn't begin with a log10 probability of at most 0",
    BAD_LINE: "hasn't the right number of words",
    UNKNOWN_WORD: "holds a word that isn't among the 1-grams",
    BAD_BACKOFF: "ends in something that is no back-off weight",
}
_MISSING_UNKNOWN = np.float32(-100.0)
"""KenLM's log10 probability of unknown words in models that have none."""

_UNPACK: Mapping[bytes, Callable[[bytes], bytes]] = {
    b"\x1f\x8b": gzip.decompress,
    b"BZ": bz2.decompress,
    b"\xfd7": lzma.decompress,
}
"""By a compressed file's first two bytes."""


class Vocabulary(NamedTuple):
    """Words by number: word `i` is `data[offsets[i]:offsets[i + 1]]` in UTF-8, and word 0 is `<unk>`."""

    data: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]

    @property
    def size(self) -> int:
        """How many words there are, `<unk>` among them."""
        return len(self.offsets) - 1

    def word(self, number: int) -> str:
        """Return a word; bytes that aren't UTF-8 are shown as replacement characters."""
        return self.data[self.offsets[number] : self.offsets[number + 1]].tobytes().decode(errors="replace")

    def words(self) -> list[bytes]:
        """Return all words."""
        whole, ends = self.data.tobytes(), self.offsets.tolist()
        return [whole[a:b] for a, b in pairwise(ends)]


class NgramTable(NamedTuple):
    """The n-grams of one order, one row each."""

    ids: npt.NDArray[np.uint32]
    """Word numbers, (rows, order)."""
    log10_prob: npt.NDArray[np.float32]
    """log10 p(last word | the words before it)."""
    backoff: npt.NDArray[np.float32]
    """log10 of the weight of shorter histories after these words; 0 for the highest order."""


class Arpa(NamedTuple):
    """A back-off n-gram model: its words, and a table an order, of which the first has one row a word."""

    words: Vocabulary
    orders: tuple[NgramTable, ...]
    has_unknown: bool
    """Whether `<unk>` is in the model; if not its log10 probability is -100, as in KenLM."""


def read_arpa(path: Path) -> Arpa:
    """Read an ARPA file, plain or compressed with gzip, bzip2 or xz.

    Raises:
        ModelError: if the file isn't of that form; the message names the line.
    """
    with path.open("rb") as file:
        unpack = _UNPACK.get(file.read(2))
    data: npt.NDArray[np.uint8]
    if unpack is not None:
        try:
            data = np.frombuffer(unpack(path.read_bytes()), np.uint8)
        except (OSError, EOFError, lzma.LZMAError) as error:
            msg = f"{path} can't be unpacked ({error}); it was cut short or damaged"
            raise ModelError(msg) from error
    elif path.stat().st_size:
        data = np.memmap(path, np.uint8, "r")
    else:
        data = np.zeros(0, np.uint8)
    return _Reader(path, data).read()


class _Reader:
    """Reads the sections of one file in turn."""

    def __init__(self, path: Path, data: npt.NDArray[np.uint8]) -> None:
        self.path, self.data, self.at = path, data, 0

    def read(self) -> Arpa:
        counts = self._counts()
        self._section(1)
        starts, ends = np.empty(counts[0], np.int64), np.empty(counts[0], np.int64)
        probs, backoffs = np.empty(counts[0], np.float32), np.empty(counts[0], np.float32)
        self._advance(read_unigrams(self.data, self.at, len(self.data), starts, ends, probs, backoffs), 1)
        words, order, has_unknown = self._vocabulary(starts, ends)
        if not has_unknown:
            probs, backoffs = np.append(_MISSING_UNKNOWN, probs), np.append(np.float32(0), backoffs)
        tables = [NgramTable(np.arange(words.size, dtype=np.uint32)[:, None], probs[order], backoffs[order])]
        keys, values = np.zeros(1 << (2 * words.size).bit_length(), np.uint64), None
        values = np.full(len(keys), -1, np.int64)
        double = enter_words(words.data, words.offsets[:-1], words.offsets[1:], np.arange(words.size), keys, values)
        if double >= 0:
            msg = f"{self.path}: the 1-gram {words.word(double)!r} stands there twice; keep one of them"
            raise ModelError(msg)
        for n, count in enumerate(counts[1:], 2):
            self._section(n)
            ids = np.empty((count, n), np.uint32)
            probs, backoffs = np.empty(count, np.float32), np.empty(count, np.float32)
            self._advance(read_ngrams(self.data, self.at, len(self.data), keys, values, ids, probs, backoffs), n)
            tables.append(NgramTable(ids, probs, backoffs))
        if self._line() != b"\\end\\":
            msg = f"{self.path} doesn't end with \\end\\ after the {len(counts)}-grams it announces; it was cut short"
            raise ModelError(msg)
        return Arpa(words, tuple(tables), has_unknown)

    def _vocabulary(
        self, starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]
    ) -> tuple[Vocabulary, npt.NDArray[np.int64], bool]:
        """Return the words numbered as KenLM does (`<unk>` 0, then in order), their rows, and if `<unk>` is there."""
        words = [self.data[a:b].tobytes() for a, b in zip(starts.tolist(), ends.tolist(), strict=True)]
        unknown = [row for row, word in enumerate(words) if word in (b"<unk>", b"<UNK>")]
        if len(unknown) > 1:
            msg = f"{self.path}: the 1-gram <unk> stands there twice; keep one of them"
            raise ModelError(msg)
        if unknown:
            rows = np.array([unknown[0], *(row for row in range(len(words)) if row != unknown[0])])
            words = [b"<unk>", *words[: unknown[0]], *words[unknown[0] + 1 :]]
        else:
            rows = np.arange(len(words) + 1)
            words = [b"<unk>", *words]
        offsets = np.zeros(len(words) + 1, np.int64)
        np.cumsum([len(word) for word in words], out=offsets[1:])
        return Vocabulary(np.frombuffer(b"".join(words), np.uint8), offsets), rows, bool(unknown)

    def _counts(self) -> list[int]:
        line = self._line()
        while line.startswith(b"#"):
            line = self._line()
        if line != b"\\data\\":
            msg = f"{self.path} is neither an ARPA file, which begins with \\data\\, nor a KenLM binary"
            raise ModelError(msg)
        counts: list[int] = []
        while True:
            place = self.at
            line = self._line()
            if not line.startswith(b"ngram "):
                self.at = place
                break
            length, _, count = line[6:].partition(b"=")
            if not (length.strip().isdigit() and count.strip().isdigit()) or int(length) != len(counts) + 1:
                msg = f"{self.path}: {line.decode(errors='replace')!r} isn't such as 'ngram {len(counts) + 1}=1000'"
                raise ModelError(msg)
            counts.append(int(count))
        if not counts or counts[0] == 0:
            msg = f"{self.path} announces no 1-grams; it was cut short"
            raise ModelError(msg)
        if sum(counts) * 4 > len(self.data):
            msg = f"{self.path} announces {sum(counts):,} n-grams, more than its {len(self.data):,} bytes can hold"
            raise ModelError(msg)
        return counts

    def _section(self, n: int) -> None:
        line = self._line()
        if line != f"\\{n}-grams:".encode():
            msg = f"{self.path}: expected \\{n}-grams: and found {line[:80].decode(errors='replace')!r}"
            raise ModelError(msg)

    def _line(self) -> bytes:
        """Return the next line that isn't empty, b"" at the end."""
        while self.at < len(self.data):
            stop = self.at
            while stop < len(self.data) and self.data[stop] != 10:
                stop += 1
            line = self.data[self.at : stop].tobytes().strip()
            self.at = stop + 1
            if line:
                return line
        return b""

    def _advance(self, result: tuple[int, int, int], n: int) -> None:
        self.at, wrong, row = result
        if wrong:
            line = self._line()[:120].decode(errors="replace")
            msg = f"{self.path}: line {row + 1:,} of the {n}-grams, {line!r}, {_WRONG[wrong]}"
            raise ModelError(msg)


def write_arpa(arpa: Arpa, path: Path) -> None:
    """Write a model as an ARPA file; it appears under its name once it is complete.

    Numbers are written so that they read back as the same float32.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    room = np.empty(
        (1 << 22) + 64 * len(arpa.orders) + int(np.diff(arpa.words.offsets).max()) * len(arpa.orders), np.uint8
    )
    skipped = 0 if arpa.has_unknown else 1
    try:
        with partial.open("wb") as file:
            file.write(b"\\data\\\n")
            for n, table in enumerate(arpa.orders, 1):
                file.write(f"ngram {n}={len(table.ids) - (skipped if n == 1 else 0)}\n".encode())
            for n, table in enumerate(arpa.orders, 1):
                file.write(f"\n\\{n}-grams:\n".encode())
                row = skipped if n == 1 else 0
                while row < len(table.ids):
                    row, size = write_ngrams(*table, n < len(arpa.orders), *arpa.words, row, room)
                    file.write(room[:size].tobytes())
            file.write(b"\n\\end\\\n")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
