"""Hashed n-grams of a block of tokens, and sums over them, in document and token order: no sum depends on the blocks.

The fast hash, frozen (64-bit unsigned arithmetic throughout):

* `t(token)` is FNV-1a of the token's UTF-8 bytes (basis 0xcbf29ce484222325, prime 0x100000001b3);
* `g(t1) = t(t1)`, and `g(t1 ... tk) = (rotl(g(t1 ... t(k-1)), 27) ^ t(tk)) * 0x9e3779b97f4a7c15`;
* `m(x)` is the finaliser of splitmix64: `x ^= x >> 30; x *= 0xbf58476d1ce4e5b9; x ^= x >> 27; x *= 0x94d049bb133111eb;
  x ^= x >> 31`;
* the bucket is `((m(g) >> 32) * buckets) >> 32`.
"""

import numpy as np
import numpy.typing as npt

from tamis.scorers.dsir.sha256_kernels import sha256_bucket
from tamis.scorers.kernels.jit import helper, lean_kernel
from tamis.scorers.kernels.splitmix import mix64

__all__ = ["MEMO_BYTES", "add_counts", "add_log_weights", "ngram_buckets"]

MEMO_BYTES = 32
"""Width of a memo row: the length of an n-gram, its bytes (at most 27) and its bucket in the last four."""

_MEMO_TEXT = MEMO_BYTES - 5


@helper
def _sha256_bucket(
    scratch: npt.NDArray[np.uint8],
    start: int,
    end: int,
    digest: np.uint64,
    buckets: int,
    memo: npt.NDArray[np.uint8],
    work: npt.NDArray[np.uint32],
) -> np.int64:
    """Return the SHA-256 bucket of an n-gram, from the memo when the very same bytes are there."""
    length = end - start
    if length > _MEMO_TEXT:
        return sha256_bucket(scratch, start, end, buckets, work)
    row = memo[np.int64(digest & np.uint64(len(memo) - 1))]
    if row[0] == length:
        same = True
        for i in range(length):
            if row[1 + i] != scratch[start + i]:
                same = False
                break
        if same:
            stored = np.int64(row[28]) | np.int64(row[29]) << 8
            return stored | np.int64(row[30]) << 16 | np.int64(row[31]) << 24
    bucket = sha256_bucket(scratch, start, end, buckets, work)
    row[0] = length
    for i in range(length):
        row[1 + i] = scratch[start + i]
    row[28], row[29] = bucket & 255, bucket >> 8 & 255
    row[30], row[31] = bucket >> 16 & 255, bucket >> 24
    return bucket


@lean_kernel
def ngram_buckets(
    hashes: npt.NDArray[np.uint64],
    bounds: npt.NDArray[np.int64],
    scratch: npt.NDArray[np.uint8],
    carry: int,
    count: int,
    first: int,
    after: int,
    ends: npt.NDArray[np.int64],
    buckets: int,
    chain: npt.NDArray[np.uint64],
    sha: bool,
    memo: npt.NDArray[np.uint8],
    work: npt.NDArray[np.uint32],
    out: npt.NDArray[np.int32],
) -> int:
    """Write the buckets of all n-grams that end in tokens `carry` to `count` of a block.

    Texts `first` to `after - 1` end in the block, each at `ends[text]`, which becomes the end of its buckets in
    `out`; text `after` is unfinished. `chain` is working room for the hashes of the last 1 to n tokens: n is its
    length less one.

    Returns:
        the number of buckets written. At a token the longest n-gram comes first.
    """
    filled = 0
    token = 0
    written_from = carry
    ngrams = len(chain) - 1
    for text in range(first, after + 1):
        begin = token
        end = ends[text] if text < after else count
        while token < end:
            digest = hashes[token]
            for order in range(min(ngrams, token - begin + 1), 1, -1):
                previous = chain[order - 1]
                rotated = previous << np.uint64(27) | previous >> np.uint64(37)
                longer = (rotated ^ digest) * np.uint64(0x9E3779B97F4A7C15)
                chain[order] = longer
                if token >= written_from:
                    mixed = mix64(longer)
                    if sha:
                        start, stop = bounds[token - order + 1], bounds[token + 1] - 1
                        out[filled] = _sha256_bucket(scratch, start, stop, mixed, buckets, memo, work)
                    else:
                        out[filled] = np.int64(((mixed >> np.uint64(32)) * np.uint64(buckets)) >> np.uint64(32))
                    filled += 1
            chain[1] = digest
            if token >= written_from:
                mixed = mix64(digest)
                if sha:
                    out[filled] = _sha256_bucket(
                        scratch, bounds[token], bounds[token + 1] - 1, mixed, buckets, memo, work
                    )
                else:
                    out[filled] = np.int64(((mixed >> np.uint64(32)) * np.uint64(buckets)) >> np.uint64(32))
                filled += 1
            token += 1
        if text < after:
            ends[text] = filled
    return filled


@lean_kernel
def add_log_weights(
    block: npt.NDArray[np.int32],
    filled: int,
    first: int,
    after: int,
    ends: npt.NDArray[np.int64],
    ratios: npt.NDArray[np.float64],
    weights: npt.NDArray[np.float64],
    totals: npt.NDArray[np.int64],
) -> None:
    """Add a block's log ratios to the weights of documents `first` to `after`; `after` is the unfinished one.

    `ratios` is (buckets, targets), `weights` (documents, targets), `totals` the n-grams of each document.
    """
    begin = 0
    for document in range(first, min(after + 1, len(totals))):
        end = ends[document] if document < after else filled
        for target in range(ratios.shape[1]):
            weight = weights[document, target]
            for i in range(begin, end):
                weight += ratios[block[i], target]
            weights[document, target] = weight
        totals[document] += end - begin
        begin = end


@lean_kernel
def add_counts(
    block: npt.NDArray[np.int32],
    filled: int,
    first: int,
    after: int,
    ends: npt.NDArray[np.int64],
    counts: npt.NDArray[np.int64],
    total: int,
    limit: int,
) -> tuple[int, bool]:
    """Add a block's n-grams to `counts`; stop after the first document that takes the total above `limit`.

    Returns:
        the new total, and whether the limit stopped it.
    """
    begin = 0
    for document in range(first, after + 1):
        end = ends[document] if document < after else filled
        for i in range(begin, end):
            counts[block[i]] += 1
        total += end - begin
        begin = end
        if document < after and total > limit:
            return total, True
    return total, False
