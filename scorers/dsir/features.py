"""Hashed n-grams, the feature space of DSIR (Xie et al. 2023, arXiv 2302.03169, section 3).

Every n-gram of order 1 to n, its tokens joined by one blank, falls into one of B buckets. With `hash="sha256"` the
bucket is the SHA-256 digest of the n-gram's UTF-8 as a big-endian integer modulo B, as in the authors' package
`data-selection` (with NLTK before 3.10.3, whose `wordpunct` tokenizer has the semantics of the standard library's
`re`). With `hash="fast"` it is a 64-bit hash, frozen in `tamis.scorers.dsir.ngram_kernels`. The fast hash
works on whole tokens, so it is the same n-grams that share a bucket, not the same bytes.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from tamis.schemas.errors import ConfigError
from tamis.scorers.dsir.lowercase_tokens import Alphabet, code_point_table, without_special_case
from tamis.scorers.dsir.ngram_kernels import MEMO_BYTES, add_counts, ngram_buckets
from tamis.scorers.dsir.piece_tokens import PieceTokenizer
from tamis.scorers.dsir.sha256_kernels import sha256_workspace
from tamis.scorers.dsir.token_kernels import piece_digests, scan_tokens, take_pieces
from tamis.scorers.text.texts import Texts, as_buffer

__all__ = ["Block", "HashName", "NgramCounter", "NgramFeatures"]

HashName: TypeAlias = Literal["fast", "sha256"]

_BLOCK_TOKENS = 1 << 13
_BLOCK_BYTES = 1 << 17
_MEMO_ROWS = 1 << 17


class Block(NamedTuple):
    """Bucket numbers of consecutive n-grams, from document `first` on; valid until the next block is asked for.

    Documents `first` to `after - 1` are complete, document i up to `buckets[ends[i]]`; the rest of `buckets[:filled]`
    belongs to document `after`.
    """

    buckets: npt.NDArray[np.int32]
    filled: int
    first: int
    after: int
    ends: npt.NDArray[np.int64]


@dataclass(frozen=True)
class NgramFeatures:
    """What is counted: the tokens, the orders of n-grams, the number of buckets and the hash.

    Attributes:
        ngrams: the highest order; all orders from 1 on are counted.
        buckets: the number of buckets.
        hash: `fast` or `sha256`.
        tokens: `wordpunct`, `words` (see `tamis.scorers.dsir.lowercase_tokens`), or a `PieceTokenizer`.

    Raises:
        ConfigError: if a number is out of range or a name unknown.
    """

    ngrams: int = 2
    buckets: int = 10_000
    hash: HashName = "fast"
    tokens: Alphabet | PieceTokenizer = "wordpunct"

    def __post_init__(self) -> None:
        if not 1 <= self.ngrams <= 16:
            msg = f"ngrams must be from 1 to 16, got {self.ngrams}"
            raise ConfigError(msg)
        if not 1 <= self.buckets < 2**31:
            msg = f"buckets must be from 1 to 2147483647, got {self.buckets}"
            raise ConfigError(msg)
        if self.hash not in ("fast", "sha256"):
            msg = f"unknown hash {self.hash!r}: choose 'fast' or 'sha256'"
            raise ConfigError(msg)
        if not isinstance(self.tokens, PieceTokenizer) and self.tokens not in ("wordpunct", "words"):
            msg = f"unknown tokens {self.tokens!r}: choose 'wordpunct', 'words' or a tokenizer file"
            raise ConfigError(msg)

    def lengths(self, totals: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return documents' lengths in tokens from their numbers of n-grams, as the reference estimates them.

        The value is `(total + n(n-1)/2) // n`: the number of tokens of any text of at least n - 1 tokens.
        """
        lengths: npt.NDArray[np.int64] = (totals + self.ngrams * (self.ngrams - 1) // 2) // self.ngrams
        return lengths

    def blocks(self, texts: Texts) -> Iterator[Block]:
        """Yield the bucket numbers of all n-grams of `texts`, in order, in blocks of bounded size."""
        sha = self.hash == "sha256"
        read, offsets, room, carried = self._reader(texts)
        documents = len(offsets) - 1
        size = int(offsets[-1] - offsets[0])
        hashes = np.empty(min(_BLOCK_TOKENS, size) + self.ngrams, np.uint64)
        bounds = np.zeros(len(hashes) + 1, np.int64)
        scratch = np.empty(carried + _BLOCK_BYTES + room if sha else room, np.uint8)
        chain = np.zeros(self.ngrams + 1, np.uint64)
        work = sha256_workspace(self.buckets)
        memo = np.zeros((min(_MEMO_ROWS, 1 << (size // 4 + 1).bit_length()) if sha else 1, MEMO_BYTES), np.uint8)
        out = np.empty(len(hashes) * self.ngrams, np.int32)
        ends = np.zeros(documents, np.int64)
        place = np.array([0, offsets[0]], np.int64)
        carry = 0
        while (first := int(place[0])) < documents:
            count = read(place, carry, sha, hashes, bounds, scratch, int(bounds[carry]) + _BLOCK_BYTES, ends)
            after = int(place[0])
            held = count - (int(ends[after - 1]) if after > first else 0)
            filled = ngram_buckets(
                hashes, bounds, scratch, carry, count, first, after, ends, self.buckets, chain, sha, memo, work, out
            )
            yield Block(out, filled, first, after, ends)
            carry = min(self.ngrams - 1, held)  # n-grams go on from the last tokens of the unfinished text
            hashes[:carry] = hashes[count - carry : count]
            if sha:
                begin, end = int(bounds[count - carry]), int(bounds[count])
                scratch[: end - begin] = scratch[begin:end].copy()
                bounds[: carry + 1] = bounds[count - carry : count + 1] - begin

    def _reader(self, texts: Texts) -> tuple[Callable[..., int], npt.NDArray[np.int64], int, int]:
        """Return what fills blocks with tokens, the texts' offsets, and bytes for the last token and to carry."""
        if isinstance(self.tokens, PieceTokenizer):
            pieces, offsets = self.tokens.encode(texts)
            names, limits = self.tokens.names
            longest = int(np.diff(limits).max(initial=0)) + 1
            read = partial(take_pieces, pieces, offsets, names, limits, piece_digests(names, limits))
            return read, offsets, longest, (self.ngrams - 1) * longest
        table = code_point_table(self.tokens)
        data, offsets = without_special_case(as_buffer(texts), table)
        longest = 2 * int(np.diff(offsets).max(initial=0)) + 1
        return partial(scan_tokens, data, offsets, table), offsets, longest, longest


class NgramCounter:
    """A running total of bucket counts, for fitting: texts are added in batches, counters of shards are merged.

    Attributes:
        counts: int64[buckets].
        total: their sum.
        limit: stop after the first document that takes the total above it, as the reference's `num_tokens_to_fit`
            (which, like this, counts n-grams of all orders); None for no limit.
        full: whether the limit has been passed: texts added now are ignored.
    """

    def __init__(self, features: NgramFeatures, limit: int | None = None) -> None:
        self.features = features
        self.limit = limit
        self.counts = np.zeros(features.buckets, np.int64)
        self.total = 0
        self.full = False

    def add(self, texts: Texts) -> bool:
        """Count `texts`, and return whether more are wanted."""
        limit = np.iinfo(np.int64).max if self.limit is None else self.limit
        if self.full:
            return False
        for block in self.features.blocks(texts):
            self.total, self.full = add_counts(
                block.buckets, block.filled, block.first, block.after, block.ends, self.counts, self.total, limit
            )
            if self.full:
                return False
        return True

    def merge(self, other: "NgramCounter") -> None:
        """Add another counter's total. Each shard's limit is its own: merging doesn't look at it."""
        if other.features != self.features:
            msg = f"counts of {other.features} can't be added to counts of {self.features}"
            raise ConfigError(msg)
        self.counts += other.counts
        self.total += other.total
