"""The index of evaluation items: their words, how telling each word is, and where each n-gram of theirs stands.

A word's weight is its inverse document frequency among the items, ln((items + 1) / (items with it + 1/2)); fewer than a
thousand items count as a sample of a thousand, so that the weights of a small set are of the same size. An item may
have several forms (its question; that and the answers to choose from): where items are counted, they are one.

Where an n-gram stands in several items, or is common in the corpus, it is boilerplate (an instruction, a famous
phrase): each of its words weighs at most half the n-gram's own inverse frequency. So a phrase that many items share
counts little, though its words may be rare.

All sets are exact, as sorted arrays of 64-bit hashes; files are memory-mapped.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tamis.schemas.errors import ConfigError, DataError
from tamis.scorers.contamination.scan_kernels import FILTER_BITS, count_grams, fill_filter, gram_hashes
from tamis.scorers.dedup.words import Folding, folding_table
from tamis.scorers.dedup.words_kernels import fill_words_with_places
from tamis.scorers.models.folder import read_model_folder, write_model_folder
from tamis.scorers.text.texts import TextBuffer, Texts, as_buffer

__all__ = ["ContaminationIndex", "GramLookup"]

SEED = 4
"""Words of the n-grams that looks start at."""

_COMMON = 3
"""Items that share an n-gram from which on it counts as boilerplate."""

_SAMPLE = 1000
"""Items that fewer are taken for a sample of."""

_LEAST_SHARE = 1e-3
"""Share of the corpus's documents with an n-gram from which on it counts as boilerplate."""

_KIND = "contamination_index"
_ARRAYS = ("bounds", "words", "starts", "ends", "plain_weights", "weights", "grams", "posting_bounds", "posting_items",
           "posting_words", "rows", "groups")  # fmt: skip


@dataclass(frozen=True)
class GramLookup:
    """What the kernels take to find an n-gram.

    Attributes:
        directory: where the n-grams begin whose upper bits are k.
        shift: how many bits are not upper ones.
        bits: the filter that passes over most n-grams that aren't there.
    """

    directory: npt.NDArray[np.int64]
    shift: np.uint64
    bits: npt.NDArray[np.uint64]


@dataclass(frozen=True)
class ContaminationIndex:
    """Evaluation items, equal ones once.

    Attributes:
        items: the items' texts.
        rows: for each item given, which of `items` it is; -1 for one with fewer words than an n-gram. int64.
        groups: which item each of `items` is a form of, by the numbers given to `build`; its own number if none were.
        bounds: item i has the words `bounds[i]` to `bounds[i + 1]`.
        words: the words' values.
        starts: where each word starts in its item's UTF-8.
        ends: byte after its last.
        plain_weights: the words' inverse document frequencies, float32.
        weights: the weights in use, see the module.
        grams: the n-grams' hashes, ascending.
        posting_bounds: n-gram g stands at the postings `posting_bounds[g]` to `posting_bounds[g + 1]`.
        posting_items: the item of each posting.
        posting_words: the place of its first word in `words`.
        size: words in an n-gram.
        folding: see `tamis.scorers.dedup.words`.
    """

    items: pa.LargeStringArray
    rows: npt.NDArray[np.int64]
    groups: npt.NDArray[np.int64]
    bounds: npt.NDArray[np.int64]
    words: npt.NDArray[np.uint64]
    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    plain_weights: npt.NDArray[np.float32]
    weights: npt.NDArray[np.float32]
    grams: npt.NDArray[np.uint64]
    posting_bounds: npt.NDArray[np.int64]
    posting_items: npt.NDArray[np.int64]
    posting_words: npt.NDArray[np.int64]
    size: int
    folding: Folding

    def __len__(self) -> int:
        return len(self.items)

    @classmethod
    def build(
        cls,
        items: "Texts | TextBuffer",
        *,
        size: int = SEED,
        folding: Folding = "folded",
        groups: Sequence[int] | None = None,
    ) -> "ContaminationIndex":
        """Build the index of items; items shorter than an n-gram can't be found and are left out.

        Args:
            items: their texts; of equal ones the first counts.
            size: words in an n-gram.
            folding: see `tamis.scorers.dedup.words`.
            groups: a number for each text, the same one for the forms of one item; None: each is an item.

        Raises:
            ConfigError: if the size is below 1.
        """
        if size < 1:
            msg = f"the n-grams of a contamination index have at least one word, not {size}"
            raise ConfigError(msg)
        data, offsets = as_buffer(items)
        table = folding_table(folding)
        room = int(np.diff(offsets).max(initial=0)) + 1
        values, starts, ends = np.empty(room, np.uint64), np.empty(room, np.int64), np.empty(room, np.int64)
        known: dict[bytes, int] = {}
        forms: list[int] = []
        rows = np.full(len(offsets) - 1, -1, np.int64)
        texts: list[str] = []
        parts: list[tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64], npt.NDArray[np.int64]]] = []
        for row, (begin, end) in enumerate(zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)):
            _, count = fill_words_with_places(data, begin, end, table, values, starts, ends, 0)
            if count < size:
                continue
            key = values[:count].tobytes()
            if key not in known:
                known[key] = len(parts)
                forms.append(len(parts) if groups is None else groups[row])
                texts.append(data[begin:end].tobytes().decode())
                parts.append((values[:count].copy(), starts[:count] - begin, ends[:count] - begin))
            rows[row] = known[key]
        bounds = np.concatenate([np.zeros(1, np.int64), np.cumsum([len(part[0]) for part in parts], dtype=np.int64)])
        words = np.concatenate([np.zeros(0, np.uint64), *(part[0] for part in parts)])
        places = [np.concatenate([np.zeros(0, np.int64), *(part[i] for part in parts)]) for i in (1, 2)]
        owners = np.repeat(np.arange(len(parts)), np.diff(bounds))
        of_forms = np.array(forms, np.int64)
        plain = _inverse_frequencies(words, of_forms[owners], len(np.unique(of_forms)))
        hashes = np.empty(len(words), np.uint64)
        firsts = np.empty(len(words), np.int64)
        count = gram_hashes(words, bounds, size, hashes, firsts)
        hashes, firsts = hashes[:count], firsts[:count]
        order = np.lexsort((firsts, hashes))
        grams, begins = np.unique(hashes[order], return_index=True)
        index = cls(
            items=pa.array(texts, pa.large_string()),
            rows=rows,
            groups=of_forms,
            bounds=bounds,
            words=words,
            starts=places[0],
            ends=places[1],
            plain_weights=plain,
            weights=plain,
            grams=grams,
            posting_bounds=np.append(begins, count).astype(np.int64),
            posting_items=owners[firsts[order]],
            posting_words=firsts[order],
            size=size,
            folding=folding,
        )
        return index.weighted()

    @property
    def item_weights(self) -> npt.NDArray[np.float32]:
        """The sum of each item's word weights, float32 (items,)."""
        if not len(self):
            return np.zeros(0, np.float32)
        return np.add.reduceat(self.weights, self.bounds[:-1]).astype(np.float32)

    @cached_property
    def distinct(self) -> int:
        """How many items there are, the forms of one counted once."""
        return len(np.unique(self.groups))

    @cached_property
    def items_with(self) -> npt.NDArray[np.int64]:
        """How many different items each n-gram stands in, int64 (n-grams,)."""
        owners = np.repeat(np.arange(len(self.grams)), np.diff(self.posting_bounds))
        pairs = np.unique(np.stack([owners, self.groups[self.posting_items]], axis=1), axis=0)
        return np.bincount(pairs[:, 0], minlength=len(self.grams)).astype(np.int64)

    def weighted(self, counts: npt.NDArray[np.int64] | None = None, documents: int = 0) -> "ContaminationIndex":
        """Return the index with the weights of boilerplate lowered, see the module.

        Args:
            counts: for each n-gram the number of the corpus's documents with it, as `documents_with` counts them,
                summed over shards; None: items alone decide.
            documents: the number of documents counted.
        """
        owners = np.repeat(np.arange(len(self.grams)), np.diff(self.posting_bounds))
        shared = self.items_with
        most = np.full(len(self.grams), np.inf)
        boilerplate = shared >= _COMMON
        most[boilerplate] = _inverse_frequency(shared[boilerplate], self.distinct) / 2
        if counts is not None and documents:
            common = self.common(counts, documents)
            most[common] = np.minimum(most[common], np.log((documents + 1) / (counts[common] + 0.5)) / 2)
        weights = self.plain_weights.copy()
        for i in range(self.size):
            np.minimum.at(weights, self.posting_words + i, most[owners].astype(np.float32))
        return replace(self, weights=np.maximum(weights, np.float32(0.01)))

    def common(self, counts: npt.NDArray[np.int64], documents: int) -> npt.NDArray[np.bool_]:
        """Return which n-grams are boilerplate by the number of the corpus's documents with them.

        Args:
            counts: of any n-grams.
            documents: how many there are.
        """
        return counts > max(_COMMON, _LEAST_SHARE * documents)

    def phrase(self, gram: int) -> str:
        """Return an n-gram as it stands in the first item that has it."""
        at = self.posting_bounds[gram]
        first = self.posting_words[at]
        text: str = self.items[int(self.posting_items[at])].as_py()
        return text.encode()[self.starts[first] : self.ends[first + self.size - 1]].decode()

    def documents_with(self, texts: "Texts | TextBuffer") -> npt.NDArray[np.int64]:
        """Return for each n-gram the number of texts that it stands in: the counts of a shard, to be summed."""
        data, offsets = as_buffer(texts)
        counts = np.zeros(len(self.grams), np.int64)
        found = self.lookup
        table = folding_table(self.folding)
        count_grams(data, offsets, table, self.size, self.grams, found.directory, found.shift, found.bits, counts)
        return counts

    @cached_property
    def lookup(self) -> GramLookup:
        """The tables by which an n-gram is found."""
        count = max(len(self.grams), 1)
        bits = np.zeros((1 << max(6, math.ceil(math.log2(count * FILTER_BITS)))) // 64, np.uint64)
        fill_filter(self.grams, bits)
        width = max(1, math.ceil(math.log2(count)) - 1)
        shift = np.uint64(64 - width)
        begins = np.searchsorted(self.grams, np.arange(1 << width, dtype=np.uint64) << shift)
        return GramLookup(np.append(begins, len(self.grams)).astype(np.int64), shift, bits)

    def write(self, folder: Path, *, provenance: dict[str, Any]) -> str:
        """Write the index as a model folder of memory-mappable arrays; return its digest."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in _ARRAYS:
            np.save(folder / f"{name}.npy", getattr(self, name))
        data, offsets = as_buffer(self.items)
        np.save(folder / "item_text.npy", data)
        np.save(folder / "item_offsets.npy", offsets)
        files = [f"{name}.npy" for name in (*_ARRAYS, "item_text", "item_offsets")]
        settings = {"size": self.size, "folding": self.folding}
        return write_model_folder(folder, kind=_KIND, files=files, settings=settings, provenance=provenance).digest

    @classmethod
    def read(cls, folder: Path) -> "ContaminationIndex":
        """Read an index, memory-mapped.

        Raises:
            ModelError: if it isn't one, or a file has changed.
            DataError: if its parts don't belong together.
        """
        found = read_model_folder(folder, kind=_KIND)
        load = {name: np.load(found.file(f"{name}.npy"), mmap_mode="r") for name in _ARRAYS}
        text, offsets = (np.load(found.file(f"{name}.npy"), mmap_mode="r") for name in ("item_text", "item_offsets"))
        if len(offsets) != len(load["bounds"]):
            msg = f"{folder} holds {len(offsets) - 1} texts and {len(load['bounds']) - 1} items; build it again"
            raise DataError(msg)
        items = pa.LargeStringArray.from_buffers(
            len(offsets) - 1, pa.py_buffer(np.ascontiguousarray(offsets)), pa.py_buffer(np.ascontiguousarray(text))
        )
        return cls(items=items, **load, size=found.settings["size"], folding=found.settings["folding"])


def _inverse_frequencies(
    words: npt.NDArray[np.uint64], owners: npt.NDArray[np.int64], items: int
) -> npt.NDArray[np.float32]:
    distinct, codes = np.unique(words, return_inverse=True)
    pairs = np.unique(np.stack([codes, owners], axis=1), axis=0)
    counts = np.bincount(pairs[:, 0], minlength=len(distinct))
    return _inverse_frequency(counts, items)[codes].astype(np.float32)


def _inverse_frequency(counts: npt.NDArray[np.int64], items: int) -> npt.NDArray[np.float64]:
    """Return the inverse frequency of what so many items have; what one item alone has is rare in any set."""
    of = max(items, _SAMPLE)
    scaled = np.where(counts > 1, counts * (of / max(items, 1)), counts)
    return np.asarray(np.log((of + 1) / (scaled + 0.5)), np.float64)
