"""KenLM's probing binary: read from a memory map, and written from the n-grams of an ARPA file.

The format is KenLM's own (version 5, search version 0; Heafield 2011, "KenLM: faster and smaller language model
queries"), so that models made here load in KenLM and published ones load here. A process that maps the file shares
its pages with all others that do.
"""

import os
import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tamis.schemas.errors import ModelError
from tamis.scorers.kernels.word_hash import word_hash
from tamis.scorers.ngram.arpa import Arpa
from tamis.scorers.ngram.build_kernels import FULL, insert_ngrams, insert_words
from tamis.scorers.ngram.query_kernels import (
    BOS,
    BUCKETS,
    EOS,
    TABLES,
    UNIGRAMS,
    VOCABULARY,
    find_word,
    score_ids,
    word_ids,
)
from tamis.scorers.text.spans import Spans

__all__ = ["BinaryHeader", "ProbingModel", "SentenceScores", "read_header", "write_probing"]

_MAGIC = b"mmap lm http://kheafield.com/code format version 5\n\0\0"
_SANITY = _MAGIC.ljust(-(-len(_MAGIC) // 8) * 8, b"\0") + struct.pack("<fffIIIQ", 0.0, 1.0, -0.5, 1, 0xFFFFFFFF, 0, 1)
_FIXED = struct.Struct("<B3xfiB3xI")  # order, multiplier, model type, has vocabulary, search version
_MULTIPLIER = 1.5
_TYPES = ("probing", "probing with rest costs", "trie", "quantized trie", "array trie", "quantized array trie")


class BinaryHeader(NamedTuple):
    """What the head of a KenLM binary says."""

    order: int
    multiplier: float
    kind: str
    """`probing`, `trie`, ...: how n-grams are stored."""
    has_words: bool
    counts: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """Bytes of the header itself."""
        return -(-(len(_SANITY) + _FIXED.size + 8 * self.order) // 8) * 8


class SentenceScores(NamedTuple):
    """Scores of sentences, one entry each."""

    log10_prob: npt.NDArray[np.float64]
    words: npt.NDArray[np.int64]
    """Words, counted as the caller asked, without the end of the sentence."""
    oov: npt.NDArray[np.int64]


def read_header(path: Path) -> BinaryHeader | None:
    """Return the header of a KenLM binary, or None if the file is something else, such as ARPA.

    Raises:
        ModelError: if the file is a KenLM binary that can't be used: unfinished, of another version or machine.
    """
    with path.open("rb") as file:
        head = file.read(len(_SANITY) + _FIXED.size + 8 * 255)
    if not head.startswith(b"mmap lm http://kheafield.com/code"):
        return None
    if not head.startswith(_SANITY) or len(head) < len(_SANITY) + _FIXED.size:
        msg = (
            f"{path} is a KenLM binary of another version or machine, or unfinished; build it again from its ARPA file"
        )
        raise ModelError(msg)
    order, multiplier, kind, has_words, _ = _FIXED.unpack_from(head, len(_SANITY))
    if kind >= len(_TYPES) or len(head) < len(_SANITY) + _FIXED.size + 8 * order:
        msg = f"{path} has a damaged header; build it again from its ARPA file"
        raise ModelError(msg)
    counts = struct.unpack_from(f"<{order}Q", head, len(_SANITY) + _FIXED.size)
    return BinaryHeader(order, multiplier, _TYPES[kind], bool(has_words), counts)


def _buckets(entries: int, multiplier: float) -> int:
    return max(entries + 1, int(np.float32(multiplier) * np.float32(entries)))


def _layout(header: BinaryHeader) -> tuple[npt.NDArray[np.int64], int]:
    """Return where the tables lie (see `tamis.scorers.ngram.query_kernels`), and the bytes up to the words."""
    layout = np.zeros(TABLES + 2 * max(header.order - 1, 0), np.int64)
    layout[0] = header.order
    at = header.bytes // 4 + 2
    layout[VOCABULARY], layout[BUCKETS] = at, _buckets(header.counts[0], header.multiplier)
    at += 3 * int(layout[BUCKETS])
    layout[UNIGRAMS] = at
    at += 2 * (header.counts[0] + 1)
    for n in range(2, header.order + 1):
        buckets = _buckets(header.counts[n - 1], header.multiplier)
        layout[TABLES + 2 * (n - 2) :][:2] = at, buckets
        at += (3 if n == header.order else 4) * buckets
    return layout, 4 * at


def _find(cells: npt.NDArray[np.uint32], layout: npt.NDArray[np.int64], word: bytes) -> int:
    return find_word(cells, layout, np.uint64(word_hash(np.frombuffer(word, np.uint8), 0, len(word))))


class ProbingModel:
    """A KenLM probing model on a memory-mapped file."""

    def __init__(self, path: Path) -> None:
        """Map the model.

        Args:
            path: the file.

        Raises:
            ModelError: if it isn't a probing binary, or is cut short.
        """
        header = read_header(path)
        if header is None or header.kind != "probing":
            msg = f"{path} isn't a KenLM probing binary; build one from its ARPA file"
            raise ModelError(msg)
        self.path, self.header = path, header
        self._layout, self._end = _layout(header)
        if path.stat().st_size < self._end:
            msg = (
                f"{path} is {path.stat().st_size:,} bytes long but its header speaks of {self._end:,}; it was cut short"
            )
            raise ModelError(msg)
        self._cells = np.memmap(path, np.uint32, "r", shape=(self._end // 4,))
        self._floats = self._cells.view(np.float32)
        self._layout[BOS], self._layout[EOS] = self.word_id("<s>"), self.word_id("</s>")

    @property
    def order(self) -> int:
        """The length of the longest n-grams."""
        return self.header.order

    @property
    def tables(self) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
        """The mapped cells, and where in them the tables lie, as `tamis.scorers.ngram.query_kernels` reads them."""
        return self._cells, self._layout

    def word_id(self, word: str) -> int:
        """Return the number of a word, 0 if the model doesn't know it."""
        return _find(self._cells, self._layout, word.encode())

    def words(self) -> list[bytes] | None:
        """Return all words in the order of their numbers, `<unk>` first; None if the file doesn't hold them."""
        if not self.header.has_words:
            return None
        with self.path.open("rb") as file:
            file.seek(self._end)
            return file.read().split(b"\0")[:-1]

    def word_ids(
        self, spans: Spans, *, unicode_split: bool = False, python_count: bool = False
    ) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return the word numbers of each span one after another, where each span's start, and its word count.

        Args:
            spans: the sentences.
            unicode_split: split at every character of Unicode's White_Space, not at ASCII white space (and NUL) only.
            python_count: count words as `str.split` would split them, which the model's own splitting doesn't change.
        """
        starts, ends = spans.starts, spans.ends
        ids = np.empty(int((ends - starts).sum()) // 2 + len(starts) + 1, np.uint32)
        offsets, counts = np.empty(len(starts) + 1, np.int64), np.empty(len(starts), np.int64)
        used = word_ids(
            spans.data, starts, ends, self._cells, self._layout, unicode_split, python_count, ids, offsets, counts
        )
        return ids[:used], offsets, counts

    def score(
        self, spans: Spans, *, unicode_split: bool = False, python_count: bool = False, exact: bool = False
    ) -> SentenceScores:
        """Score each span as one sentence; the options are those of `word_ids` and `score_ids`."""
        ids, offsets, words = self.word_ids(spans, unicode_split=unicode_split, python_count=python_count)
        log10_prob, oov = self.score_ids(ids, offsets, exact=exact)
        return SentenceScores(log10_prob, words, oov)

    def score_ids(
        self, ids: npt.NDArray[np.uint32], offsets: npt.NDArray[np.int64], *, exact: bool = False
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """Return log10 p(sentence </s> | <s>) and the unknown words of each sentence `ids[offsets[i]:offsets[i + 1]]`.

        Args:
            ids: word numbers.
            offsets: where the sentences begin and end.
            exact: add up a sentence's words in float64; else in float32 as KenLM's library does, bit for bit.
        """
        log10_probs, oov = np.zeros(len(offsets) - 1), np.zeros(len(offsets) - 1, np.int64)
        score_ids(ids, offsets, self._cells, self._floats, self._layout, exact, log10_probs, oov)
        return log10_probs, oov


def write_probing(arpa: Arpa, path: Path) -> None:
    """Write a model as KenLM's `build_binary probing` would, byte for byte.

    The file appears under its name once it is complete.

    Raises:
        ModelError: if the n-gram without its last word is missing for some n-gram, or too many endings are missing.
    """
    counts = [len(table.log10_prob) for table in arpa.orders]
    counts[0] -= not arpa.has_unknown
    header = BinaryHeader(len(counts), _MULTIPLIER, _TYPES[0], has_words=True, counts=tuple(counts))
    layout, size = _layout(header)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        cells = np.memmap(partial, np.uint32, "w+", shape=(size // 4,))
        _fill(arpa, cells, layout, path)
        head = (
            _SANITY
            + _FIXED.pack(header.order, header.multiplier, 0, header.has_words, 0)
            + struct.pack(f"<{len(counts)}Q", *counts)
        )
        cells[: header.bytes // 4] = np.frombuffer(head.ljust(header.bytes, b"\0"), np.uint32)
        cells[header.bytes // 4 + 1] = arpa.words.size
        cells.flush()
        del cells
        with partial.open("ab") as file:
            file.write(b"".join(word + b"\0" for word in arpa.words.words()))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _fill(arpa: Arpa, cells: npt.NDArray[np.uint32], layout: npt.NDArray[np.int64], path: Path) -> None:
    floats = cells.view(np.float32)
    insert_words(arpa.words.data, arpa.words.offsets, cells, layout)
    unigrams = arpa.orders[0]
    first = layout[UNIGRAMS]
    floats[first : first + 2 * arpa.words.size : 2] = unigrams.log10_prob
    floats[first + 1 : first + 2 * arpa.words.size : 2] = np.where(
        unigrams.backoff == 0, np.float32(-0.0), unigrams.backoff
    )
    if not arpa.has_unknown:
        floats[first + 1] = 0.0
    entries = np.zeros(len(arpa.orders) + 1, np.int64)
    for table in arpa.orders[1:]:
        status, row = insert_ngrams(*table, cells, floats, layout, entries)
        if status == 0:
            continue
        ngram = " ".join(arpa.words.word(word) for word in table.ids[row])
        if status == FULL:
            msg = (
                f"{path}: too many n-grams that end a longer one (such as {ngram!r}) are missing from the model; "
                "prune it less"
            )
        else:
            msg = (
                f"{path}: {ngram!r} is in the model but not the n-gram without its last word; the ARPA file is damaged"
            )
        raise ModelError(msg)
