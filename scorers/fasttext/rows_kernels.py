"""The rows of a fastText model that a text touches, summed: words, character n-grams, word n-grams.

The features and their order are fastText's (`Dictionary::getLine`): first each token's word and character
n-grams, then the word n-grams, so that sums in single precision round as the library's do. Rows are
gathered in blocks, which lets the processor overlap the cache misses of many look-ups.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tamis.scorers.fasttext.vocabulary_kernels import (
    BYTE,
    FNV_OFFSET,
    FNV_PRIME,
    MIX,
    TAIL,
    Tokens,
    Vocabulary,
    find_words,
)
from tamis.scorers.kernels.characters import integer
from tamis.scorers.kernels.jit import helper
from tamis.scorers.kernels.processor import inverse, remainder32

__all__ = ["BLOCK", "SHORT_ROWS", "SHORT_SLOTS", "Features", "Scratch", "sum_rows"]

BLOCK = 512
"""Tokens, and rows, handled at a time."""
SHORT_SLOTS = 1 << 13
"""Short tokens whose rows are kept: more don't fit the processor's second cache beside the bitmap."""
SHORT_ROWS = 8
"""Room for a short token: the number of its rows and at most as many less one."""
SHORT_SHIFT = np.uint64(64 - 13)

NGRAM_FACTOR = np.uint64(116049371)
LABEL = np.frombuffer(b"__label__", np.uint8)
EOS_HASH = np.uint32(3617362777)
BEGIN_WORD = np.uint8(ord("<"))
END_WORD = np.uint8(ord(">"))
M1 = np.uint64(0x5555555555555555)
M2 = np.uint64(0x3333333333333333)
M4 = np.uint64(0x0F0F0F0F0F0F0F0F)
H01 = np.uint64(0x0101010101010101)


class Features(NamedTuple):
    """How a model turns tokens into rows.

    Attributes:
        n_words: rows `0..n_words-1` belong to words; entries from there on are labels.
        bucket: hash buckets of n-grams.
        minn: shortest character n-gram.
        maxn: longest character n-gram; 0: none.
        word_ngrams: longest word n-gram.
        eos: the row of `</s>`, or -1.
        pruned: -1: bucket `b` is row `n_words + b`; 0: no bucket has a row; 1: only those in the bitmap.
        prune_bits: bit `b % 64` of word `b // 64` is set if bucket `b` has a row; none is after the last bucket.
        prune_ranks: number of set bits before each word of the bitmap.
        prune_targets: for the set bits in order, the row after `n_words`.
    """

    n_words: int
    bucket: int
    minn: int
    maxn: int
    word_ngrams: int
    eos: int
    pruned: int
    prune_bits: npt.NDArray[np.uint64]
    prune_ranks: npt.NDArray[np.int64]
    prune_targets: npt.NDArray[np.int64]


class Scratch(NamedTuple):
    """Working memory.

    Attributes:
        tokens: a block of tokens.
        words: their indices in the vocabulary, or -1.
        found: a block of finds: the bucket of an n-gram, or the complement (`~`) of a word's row.
        rows: the rows of a block.
        grams: hashes of character n-grams; room for a block, and for all that begin at one character.
        wrapped: the bytes of a token between `<` and `>`.
        short_tails: open to any token of at most `TAIL` bytes: all of it, by its hash; 0 where free.
        short_rows: for such a token the number of its rows and their complements, int32 (slots, SHORT_ROWS).
        history: the hash of every token of the longest text.
    """

    tokens: Tokens
    words: npt.NDArray[np.int64]
    found: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    grams: npt.NDArray[np.uint32]
    wrapped: npt.NDArray[np.uint32]
    short_tails: npt.NDArray[np.uint64]
    short_rows: npt.NDArray[np.int32]
    history: npt.NDArray[np.int32]


@helper
def _is_separator(byte: int) -> bool:
    return byte <= 32 and (byte == 32 or 9 <= byte <= 13 or byte == 0)


@helper
def _is_eos(text: npt.NDArray[np.uint8], start: int, stop: int) -> bool:
    return (
        stop - start == 4
        and text[start] == ord("<")
        and text[start + 1] == ord("/")
        and text[start + 2] == ord("s")
        and text[start + 3] == ord(">")
    )


@helper
def _is_label(text: npt.NDArray[np.uint8], start: int, stop: int) -> bool:
    if stop - start < len(LABEL) or text[start] != LABEL[0]:
        return False
    same = True
    for i in range(len(LABEL)):
        same &= text[start + i] == LABEL[i]
    return same


@helper
def _pruned_row(bucket: int, features: Features) -> int:
    """Return the row, after the words, of a bucket that pruning has left: how many such buckets precede it."""
    below = features.prune_bits[bucket >> 6] & ((np.uint64(1) << np.uint64(bucket & 63)) - np.uint64(1))
    below = below - ((below >> np.uint64(1)) & M1)
    below = (below & M2) + ((below >> np.uint64(2)) & M2)
    below = (below + (below >> np.uint64(4))) & M4
    rank = features.prune_ranks[bucket >> 6] + np.int64((below * H01) >> np.uint64(56))
    return int(features.prune_targets[rank])


@helper
def _resolve(found: npt.NDArray[np.int64], n: int, features: Features, rows: npt.NDArray[np.int64]) -> int:
    """Set `rows` to those of the first `n` finds, without buckets that pruning removed; return their number."""
    n_words = features.n_words
    if features.pruned < 0:
        for i in range(n):
            rows[i] = n_words + found[i] if found[i] >= 0 else ~found[i]
        return n
    bits = features.prune_bits
    kept = 0
    for i in range(n):
        bucket = found[i]
        if bucket < 0:
            rows[kept] = ~bucket
            kept += 1
        elif features.pruned > 0 and bits[bucket >> 6] >> np.uint64(bucket & 63) & np.uint64(1):
            rows[kept] = n_words + _pruned_row(bucket, features)
            kept += 1
    return kept


@helper
def _flush(found: npt.NDArray[np.int64], n: int, features: Features, scratch: Scratch, table: Any, total: Any) -> int:
    """Add the rows of the first `n` finds to `total`, in order, in its precision; return their number."""
    rows = scratch.rows
    n = _resolve(found, n, features, rows)
    width = len(total)
    if width == 1:
        first = total[0]
        for i in range(n):
            first += table[rows[i], 0]
        total[0] = first
        return n
    for i in range(n):
        row = rows[i]
        for j in range(width):
            total[j] += table[row, j]
    return n


@helper
def _scan(text: npt.NDArray[np.uint8], position: int, stop: int, tokens: Tokens) -> tuple[int, int]:
    """Cut up to a block of tokens from `position` on and hash them.

    A literal `</s>` ends the text, as in fastText.

    Returns:
        The number of tokens and the position to go on from, which is `stop` at the end.
    """
    n = 0
    while n < BLOCK:
        while position < stop and _is_separator(text[position]):
            position += 1
        if position >= stop:
            return n, stop
        start = position
        h = FNV_OFFSET
        tail = np.uint64(0)
        while position < stop:
            byte = text[position]
            if _is_separator(byte):
                break
            h = np.uint32((h ^ np.uint32(np.int8(byte))) * FNV_PRIME)
            tail = (tail << BYTE) | np.uint64(byte)
            position += 1
        if h == EOS_HASH and _is_eos(text, start, position):
            return n, stop
        tokens.starts[n] = start
        tokens.stops[n] = position
        tokens.hashes[n] = h
        tokens.tails[n] = tail
        n += 1
    return n, position


@helper
def _subwords(
    text: npt.NDArray[np.uint8],
    first: int,
    start: int,
    stop: int,
    features: Features,
    grams: npt.NDArray[np.uint32],
) -> tuple[int, int]:
    """Hash the character n-grams of a token, wrapped in `<` and `>`, that begin at `first` or later.

    The hash of an n-gram is that of the one shorter by a character, taken further.

    Returns:
        How many there are in `grams`, and the place to go on from, which is beyond `stop` at the end.
    """
    minn, maxn = features.minn, features.maxn
    room = len(grams) - min(maxn, stop - start + 2)
    n = 0
    while first <= stop and n <= room:
        # The wrapping counts as a character, which is no n-gram by itself.
        h = FNV_OFFSET
        position = first
        length = 1
        if first < start:
            h = np.uint32((h ^ np.uint32(BEGIN_WORD)) * FNV_PRIME)
            position = start
            length = 2
        following = stop + 1
        while position < stop and length <= maxn:
            h = np.uint32((h ^ np.uint32(np.int8(text[position]))) * FNV_PRIME)
            position += 1
            while position < stop and (text[position] & 0xC0) == 0x80:
                h = np.uint32((h ^ np.uint32(np.int8(text[position]))) * FNV_PRIME)
                position += 1
            if length == 1:
                following = position
            if length >= minn:
                grams[n] = h
                n += 1
            length += 1
        if first < stop and minn <= length <= maxn:
            grams[n] = np.uint32((h ^ np.uint32(END_WORD)) * FNV_PRIME)
            n += 1
        first = start if first < start else following
    return n, first


@helper
def _resolve_subwords(
    grams: npt.NDArray[np.uint32], size: int, features: Features, found: npt.NDArray[np.int64], n: int
) -> int:
    """Append the rows of hashed n-grams to the finds; return how many those are then."""
    bucket = np.uint64(features.bucket)
    inverted = inverse(bucket)
    n_words = features.n_words
    if features.pruned < 0:
        for i in range(size):
            found[n + i] = ~(n_words + np.int64(remainder32(grams[i], bucket, inverted)))
        return n + size
    if features.pruned == 0:
        return n
    bits = features.prune_bits
    kept = n
    for i in range(size):  # without a branch: which bucket has a row isn't to be foretold
        place = np.int64(remainder32(grams[i], bucket, inverted))
        found[kept] = place
        kept += integer(bits[place >> 6] >> np.uint64(place & 63) & np.uint64(1))
    for i in range(n, kept):
        found[i] = ~(n_words + _pruned_row(found[i], features))
    return kept


@helper
def _add_ascii_subwords(
    text: npt.NDArray[np.uint8],
    start: int,
    stop: int,
    features: Features,
    wrapped: npt.NDArray[np.uint32],
    found: npt.NDArray[np.int64],
    n: int,
) -> int:
    """Append the rows of the character n-grams of a token to the finds; return how many those are then, -1 if it can't.

    It can where a bitmap says which buckets have rows and the token is ASCII and so short that there is room for all.
    All n-grams are computed as if the token went on, and the rows found without a branch: which n-gram has one isn't to
    be foretold, and a branch that is foretold wrongly costs as much as three n-grams.
    """
    minn, maxn = features.minn, features.maxn
    size = stop - start + 2
    if features.pruned != 1 or size + maxn > len(wrapped) or n + size * maxn > len(found) or minn < 1:
        return -1
    high = np.uint32(0)
    for i in range(size - 2):
        byte = np.uint32(text[start + i])
        high |= byte
        wrapped[1 + i] = byte
    if high >= 0x80:
        return -1
    wrapped[0] = np.uint32(BEGIN_WORD)
    wrapped[size - 1] = np.uint32(END_WORD)
    bucket = np.uint64(features.bucket)
    inverted = inverse(bucket)
    for i in range(size, size + maxn):
        wrapped[i] = np.uint32(0)
    nowhere = np.int64(bucket)  # the bucket after the last, which has no row
    place = n
    for first in range(size - 1):
        h = FNV_OFFSET
        most = size - first
        least = max(minn, 2) if first == 0 else minn
        for length in range(1, maxn + 1):
            h = np.uint32((h ^ wrapped[first + length - 1]) * FNV_PRIME)
            found[place] = np.int64(remainder32(h, bucket, inverted)) if least <= length <= most else nowhere
            place += 1
    bits = features.prune_bits
    kept = n
    for i in range(n, place):
        chosen = found[i]
        found[kept] = chosen
        kept += integer(bits[chosen >> 6] >> np.uint64(chosen & 63) & np.uint64(1))
    n_words = features.n_words
    for i in range(n, kept):
        found[i] = ~(n_words + _pruned_row(found[i], features))
    return kept


@helper
def _add_subwords(
    text: npt.NDArray[np.uint8],
    start: int,
    stop: int,
    features: Features,
    scratch: Scratch,
    n: int,
    table: Any,
    total: Any,
) -> tuple[int, int]:
    """Add the rows of any token's character n-grams to the finds; return how many those are, and the rows flushed."""
    found, grams = scratch.found, scratch.grams
    flushed = 0
    first = start - 1
    while first <= stop:
        size, first = _subwords(text, first, start, stop, features, grams)
        if n + size > len(found):
            flushed += _flush(found, n, features, scratch, table, total)
            n = 0
        n = _resolve_subwords(grams, size, features, found, n)
    return n, flushed


@helper
def _keep_short(
    rows: npt.NDArray[np.int64],
    size: int,
    tail: np.uint64,
    short_tails: npt.NDArray[np.uint64],
    short_rows: npt.NDArray[np.int32],
) -> None:
    """Keep the rows of a short token's character n-grams for the next time it comes."""
    if size < SHORT_ROWS:
        slot = np.int64((tail * MIX) >> SHORT_SHIFT)
        short_tails[slot] = tail
        short_rows[slot, 0] = size
        for i in range(size):
            short_rows[slot, 1 + i] = rows[i]


@helper
def sum_rows(
    text: npt.NDArray[np.uint8],
    start: int,
    stop: int,
    vocabulary: Vocabulary,
    features: Features,
    scratch: Scratch,
    table: Any,
    total: Any,
) -> tuple[int, int]:
    """Add to `total` the rows of `table` that `text[start:stop]` and the final `</s>` touch.

    Args:
        text: UTF-8 bytes; space, tab, newline, VT, FF, CR and NUL separate tokens.
        start: first byte.
        stop: the byte after the last.
        vocabulary: the model's words and labels.
        features: the model's rules.
        scratch: working memory; `history` holds at least one entry a token and one more if words form
            n-grams.
        table: float32, one row a word or bucket.
        total: as wide as the table; float32 sums as the library does, float64 more exactly.

    Returns:
        The number of rows added, and the number of tokens in the text (without the final one).
    """
    tokens = scratch.tokens
    found = scratch.found
    words = scratch.words
    history = scratch.history
    short_tails, short_rows = scratch.short_tails, scratch.short_rows
    n_words, maxn, word_ngrams = features.n_words, features.maxn, features.word_ngrams
    count = 0
    n = 0
    n_tokens = 0
    n_history = 0
    position = start
    while position < stop:
        n_block, position = _scan(text, position, stop, tokens)
        n_tokens += n_block
        find_words(vocabulary, text, tokens, n_block, words)
        for t in range(n_block):
            word = words[t]
            if word >= n_words:
                continue  # a label of the model is no word
            if word < 0 and _is_label(text, tokens.starts[t], tokens.stops[t]):
                continue
            if word_ngrams > 1:
                history[n_history] = np.int32(tokens.hashes[t])
                n_history += 1
            if word >= 0:
                found[n] = ~word
                n += 1
                if n == BLOCK:
                    count += _flush(found, n, features, scratch, table, total)
                    n = 0
            if maxn > 0:
                # A few short words are most of any text.
                begin, end = tokens.starts[t], tokens.stops[t]
                tail = tokens.tails[t]
                slot = np.int64((tail * MIX) >> SHORT_SHIFT)
                if end - begin <= TAIL and short_tails[slot] == tail:
                    size = integer(short_rows[slot, 0])
                    for i in range(size):
                        found[n + i] = short_rows[slot, 1 + i]
                    n += size
                else:
                    before = n
                    n = _add_ascii_subwords(text, begin, end, features, scratch.wrapped, found, before)
                    if n < 0:
                        n, flushed = _add_subwords(text, begin, end, features, scratch, before, table, total)
                        count += flushed
                        before = 0 if flushed else before
                    if end - begin <= TAIL:  # so short a token's are all found at once
                        _keep_short(found[before:n], n - before, tail, short_tails, short_rows)
                if n >= BLOCK:
                    count += _flush(found, n, features, scratch, table, total)
                    n = 0
    if features.eos >= 0:
        found[n] = ~features.eos
        n += 1
        if n == BLOCK:
            count += _flush(found, n, features, scratch, table, total)
            n = 0
    if word_ngrams > 1:
        history[n_history] = np.int32(EOS_HASH)
        n_history += 1
        bucket = np.uint64(features.bucket)
        for i in range(n_history):
            h = np.uint64(np.int64(history[i]))
            for j in range(i + 1, min(i + word_ngrams, n_history)):
                h = h * NGRAM_FACTOR + np.uint64(np.int64(history[j]))
                found[n] = np.int64(h % bucket)
                n += 1
                if n == BLOCK:
                    count += _flush(found, n, features, scratch, table, total)
                    n = 0
    return count + _flush(found, n, features, scratch, table, total), n_tokens
