"""The loops that look for evaluation items in documents: seeds by n-grams, then an alignment of words around each."""

import numpy as np
import numpy.typing as npt

from tamis.scorers.dedup.words_kernels import fill_words, fill_words_with_places
from tamis.scorers.kernels.characters import integer
from tamis.scorers.kernels.jit import helper, kernel
from tamis.scorers.kernels.splitmix import mix64

__all__ = [
    "BEGINNING",
    "FILTER_BITS",
    "count_grams",
    "fill_beginnings",
    "fill_filter",
    "find_gram",
    "find_grams",
    "find_grams_of_sizes",
    "gram_hashes",
    "scan_documents",
]

_FACTOR = np.uint64(0x9E3779B97F4A7C15)
BEGINNING = 3
"""Words of an n-gram that are looked at before it, after the first two of them, or all of a shorter one."""
FILTER_BITS = 16
"""Bits of the filter for each n-gram of the index: one in 16 words that aren't in the index needs a look."""


@kernel
def _gram(values: npt.NDArray[np.uint64], at: int, size: int) -> np.uint64:
    """Return the hash of the n-gram of `size` words at `at`."""
    h = np.uint64(0)
    for j in range(size):
        h = h * _FACTOR + values[at + j]
    return mix64(h)


@kernel
def gram_hashes(
    words: npt.NDArray[np.uint64],
    bounds: npt.NDArray[np.int64],
    size: int,
    out: npt.NDArray[np.uint64],
    places: npt.NDArray[np.int64],
) -> int:
    """Write the hash of each item's n-grams, and the place of each one's first word; return how many there are."""
    count = 0
    for item in range(len(bounds) - 1):
        for at in range(bounds[item], bounds[item + 1] - size + 1):
            out[count] = _gram(words, at, size)
            places[count] = at
            count += 1
    return count


@kernel
def fill_filter(grams: npt.NDArray[np.uint64], bits: npt.NDArray[np.uint64]) -> None:
    """Set each n-gram's bit; the number of bits is a power of two."""
    mask = np.uint64(64 * len(bits) - 1)
    for gram in grams:
        place = gram & mask
        bits[place >> np.uint64(6)] |= np.uint64(1) << (place & np.uint64(63))


@helper
def _is_set(bits: npt.NDArray[np.uint64], place: np.uint64) -> bool:
    one = bits[place >> np.uint64(6)] >> (place & np.uint64(63)) & np.uint64(1)
    return bool(one)


@kernel
def find_gram(
    gram: np.uint64, grams: npt.NDArray[np.uint64], directory: npt.NDArray[np.int64], shift: np.uint64
) -> int:
    """Return the place of an n-gram in the sorted array, or -1.

    `directory[k]` is where the n-grams begin whose upper bits (all but `shift`) are k.
    """
    bucket = integer(gram >> shift)
    low, high = integer(directory[bucket]), integer(directory[bucket + 1])
    while low < high:
        middle = (low + high) // 2
        if grams[middle] < gram:
            low = middle + 1
        else:
            high = middle
    if low < integer(directory[bucket + 1]) and grams[low] == gram:
        return low
    return -1


@helper
def _known_gram(
    words: npt.NDArray[np.uint64],
    at: int,
    size: int,
    grams: npt.NDArray[np.uint64],
    directory: npt.NDArray[np.int64],
    shift: np.uint64,
    bits: npt.NDArray[np.uint64],
) -> int:
    """Return the place of the n-gram of `size` words at `at`, or -1; the filter spares most the search."""
    h = _gram(words, at, size)
    if not _is_set(bits, h & np.uint64(64 * len(bits) - 1)):
        return -1
    return find_gram(h, grams, directory, shift)


@kernel
def _longest(bounds: npt.NDArray[np.int64]) -> int:
    """Return the length of the longest text or item."""
    longest = 0
    for i in range(len(bounds) - 1):
        longest = max(longest, integer(bounds[i + 1] - bounds[i]))
    return longest


@kernel
def count_grams(
    data: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int64],
    table: npt.NDArray[np.uint32],
    size: int,
    grams: npt.NDArray[np.uint64],
    directory: npt.NDArray[np.int64],
    shift: np.uint64,
    bits: npt.NDArray[np.uint64],
    counts: npt.NDArray[np.int64],
) -> None:
    """Add 1 to the count of each n-gram of the index for each document that it stands in."""
    longest = _longest(offsets)
    words = np.empty(longest + 1, np.uint64)
    last = np.full(len(grams), -1, np.int64)
    for text in range(len(offsets) - 1):
        _, count = fill_words(data, integer(offsets[text]), integer(offsets[text + 1]), table, words, 0)
        for p in range(count - size + 1):
            gram = _known_gram(words, p, size, grams, directory, shift, bits)
            if gram >= 0 and last[gram] != text:
                last[gram] = text
                counts[gram] += 1


@kernel
def find_grams(
    data: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int64],
    table: npt.NDArray[np.uint32],
    size: int,
    grams: npt.NDArray[np.uint64],
    directory: npt.NDArray[np.int64],
    shift: np.uint64,
    bits: npt.NDArray[np.uint64],
    out: npt.NDArray[np.int64],
) -> int:
    """Write (document, n-gram, number of its first word, first byte, byte after the last) of all n-grams found.

    Returns how many there are, which may be more than fit.
    """
    longest = _longest(offsets)
    words = np.empty(longest + 1, np.uint64)
    starts = np.empty(longest + 1, np.int64)
    ends = np.empty(longest + 1, np.int64)
    found = 0
    for text in range(len(offsets) - 1):
        begin, end = integer(offsets[text]), integer(offsets[text + 1])
        _, count = fill_words(data, begin, end, table, words, 0)
        placed = False
        for p in range(count - size + 1):
            gram = _known_gram(words, p, size, grams, directory, shift, bits)
            if gram >= 0:
                if not placed:  # few texts have any
                    fill_words_with_places(data, begin, end, table, words, starts, ends, 0)
                    placed = True
                if found < len(out):
                    out[found, 0], out[found, 1], out[found, 2] = text, gram, p
                    out[found, 3], out[found, 4] = starts[p] - begin, ends[p + size - 1] - begin
                found += 1
    return found


@helper
def _beginning_shift(words: int) -> np.uint64:
    """Return by how much to shift a hash for a place in a filter of so many words, which are a power of two."""
    shift = np.uint64(58)
    while words > 1:
        words >>= 1
        shift -= np.uint64(1)
    return shift


@helper
def _beginning(words: npt.NDArray[np.uint64], at: int, length: int, shift: np.uint64) -> np.uint64:
    """Return the place of so many words at `at` in a filter: words are hashes, so the upper bits of a sum are even."""
    h = np.uint64(length)
    for j in range(length):
        h = h * _FACTOR + words[at + j]
    return h >> shift


@kernel
def fill_beginnings(
    words: npt.NDArray[np.uint64], places: npt.NDArray[np.int64], size: int, bits: npt.NDArray[np.uint64]
) -> None:
    """Set the bits of the beginnings of each n-gram of `size` words at `places`; the number of bits is a power of two.

    An n-gram's beginnings are its first two words, and its first `BEGINNING`, or all of a shorter one.
    """
    shift = _beginning_shift(len(bits))
    for at in places:
        for length in range(min(size, BEGINNING - 1), min(size, BEGINNING) + 1):
            place = _beginning(words, at, length, shift)
            bits[place >> np.uint64(6)] |= np.uint64(1) << (place & np.uint64(63))


@kernel
def find_grams_of_sizes(
    data: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int64],
    table: npt.NDArray[np.uint32],
    sizes: npt.NDArray[np.int64],
    beginnings: npt.NDArray[np.uint64],
    grams: npt.NDArray[np.uint64],
    gram_bounds: npt.NDArray[np.int64],
    directories: npt.NDArray[np.int64],
    directory_bounds: npt.NDArray[np.int64],
    shifts: npt.NDArray[np.uint64],
    out: npt.NDArray[np.int64],
) -> int:
    """Find n-grams of several sizes in one look at the texts.

    Size k has the n-grams `grams[gram_bounds[k]:gram_bounds[k + 1]]` and their directory, see `find_gram`. They are
    looked for only where words stand that begin some, which `beginnings` says, see `fill_beginnings`.

    Writes (document, n-gram of its size, number of its first word, first byte, byte after the last, which size) of all
    that are found; returns how many there are, which may be more than fit.
    """
    longest = _longest(offsets)
    words = np.empty(longest + 1, np.uint64)
    starts = np.empty(longest + 1, np.int64)
    ends = np.empty(longest + 1, np.int64)
    shift = _beginning_shift(len(beginnings))
    shortest = BEGINNING
    for size in sizes:
        shortest = min(shortest, integer(size))
    found = 0
    for text in range(len(offsets) - 1):
        begin, end = integer(offsets[text]), integer(offsets[text + 1])
        _, count = fill_words(data, begin, end, table, words, 0)
        placed = False
        for p in range(count):
            # Most words, and most pairs of words, begin nothing.
            one = shortest == 1 and _is_set(beginnings, _beginning(words, p, 1, shift))
            two = p + 2 <= count and _is_set(beginnings, _beginning(words, p, 2, shift))
            if not (one or two):
                continue
            more = two and p + BEGINNING <= count and _is_set(beginnings, _beginning(words, p, BEGINNING, shift))
            for k in range(len(sizes)):
                size = integer(sizes[k])
                if not (one if size == 1 else two if size < BEGINNING else more):
                    continue
                if p + size > count:
                    continue
                mine = grams[gram_bounds[k] : gram_bounds[k + 1]]
                directory = directories[directory_bounds[k] : directory_bounds[k + 1]]
                gram = find_gram(_gram(words, p, size), mine, directory, shifts[k])
                if gram >= 0:
                    if not placed:  # few texts have any
                        fill_words_with_places(data, begin, end, table, words, starts, ends, 0)
                        placed = True
                    if found < len(out):
                        out[found, 0], out[found, 1], out[found, 2] = text, gram, p
                        out[found, 3], out[found, 4] = starts[p] - begin, ends[p + size - 1] - begin
                        out[found, 5] = k
                    found += 1
    return found


@kernel
def _align(
    words: npt.NDArray[np.uint64],
    low: int,
    high: int,
    item: npt.NDArray[np.uint64],
    begin: int,
    end: int,
    weights: npt.NDArray[np.float32],
    gap: float,
    scores: npt.NDArray[np.float32],
    matched: npt.NDArray[np.float32],
    firsts: npt.NDArray[np.int64],
) -> tuple[float, int, int, int, int]:
    """Align an item's words with a window of the document's (Smith and Waterman 1981).

    Equal words score the item's weight of the word; a word skipped in either costs `gap`. Returns the weight of the
    equal words of the alignment of greatest score, and its first and last word in the document and in the item. The
    arrays are scratch: (n), (n) and (2, n) for windows below n words.
    """
    width = high - low
    for j in range(width + 1):
        scores[j] = 0
    cost = np.float32(gap)
    top = np.float32(0)
    weight_of_top = np.float32(0)
    doc_first = doc_last = item_first = item_last = -1
    for i in range(begin, end):
        weight = weights[i]
        word = item[i]
        diagonal, diagonal_matched = np.float32(0), np.float32(0)
        diagonal_doc, diagonal_item = np.int64(-1), np.int64(-1)
        for j in range(1, width + 1):
            above, above_matched, above_doc, above_item = scores[j], matched[j], firsts[0, j], firsts[1, j]
            skip = max(above, scores[j - 1]) - cost
            if words[low + j - 1] == word and diagonal + weight >= skip:
                scores[j] = diagonal + weight
                if diagonal > 0:
                    matched[j] = diagonal_matched + weight
                    firsts[0, j], firsts[1, j] = diagonal_doc, diagonal_item
                else:
                    matched[j] = weight
                    firsts[0, j], firsts[1, j] = low + j - 1, i
                if scores[j] > top:
                    top, weight_of_top = scores[j], matched[j]
                    doc_first, doc_last, item_first, item_last = firsts[0, j], low + j - 1, firsts[1, j], i
            elif skip <= 0:
                scores[j] = 0
            elif above >= scores[j - 1]:
                scores[j] = skip
            else:
                scores[j], matched[j] = skip, matched[j - 1]
                firsts[0, j], firsts[1, j] = firsts[0, j - 1], firsts[1, j - 1]
            diagonal, diagonal_matched = above, above_matched
            diagonal_doc, diagonal_item = above_doc, above_item
    return float(weight_of_top), doc_first, doc_last, item_first, item_last


@kernel
def scan_documents(
    data: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int64],
    table: npt.NDArray[np.uint32],
    size: int,
    grams: npt.NDArray[np.uint64],
    directory: npt.NDArray[np.int64],
    shift: np.uint64,
    bits: npt.NDArray[np.uint64],
    posting_bounds: npt.NDArray[np.int64],
    posting_items: npt.NDArray[np.int64],
    posting_words: npt.NDArray[np.int64],
    item_bounds: npt.NDArray[np.int64],
    item_words: npt.NDArray[np.uint64],
    word_weights: npt.NDArray[np.float32],
    item_weights: npt.NDArray[np.float32],
    least_run: float,
    least: float,
    gap: float,
    spread: int,
    few_postings: int,
    common_run: float,
    out: npt.NDArray[np.float64],
) -> int:
    """Write (document, item, coverage, first byte, byte after the last, first and last word of the item) to `out`.

    Each time a document's n-gram is one of the index, and no look at the item around that place was taken before, the
    run of equal words around it is weighed; from `least_run` of the item's weight on, the item is aligned with the
    words from half its length and `spread` before to as much behind. What covers at least `least` of the item's weight
    is written. Where an n-gram has more than `few_postings` places in the index, the run must reach `common_run` of
    the weight. Returns the number of findings, which may be more than fit.
    """
    longest = _longest(offsets)
    longest_item = _longest(item_bounds)
    words = np.empty(longest + 1, np.uint64)
    starts = np.empty(longest + 1, np.int64)
    ends = np.empty(longest + 1, np.int64)
    seen = np.full(len(item_bounds) - 1, -1, np.int64)
    seen_until = np.empty(len(item_bounds) - 1, np.int64)
    room = 2 * longest_item + 2 * spread + 2
    scores = np.empty(room + 1, np.float32)
    matched = np.empty(room + 1, np.float32)
    firsts = np.empty((2, room + 1), np.int64)
    found = 0
    for text in range(len(offsets) - 1):
        begin, end = integer(offsets[text]), integer(offsets[text + 1])
        _, count = fill_words(data, begin, end, table, words, 0)
        placed = False
        for p in range(count - size + 1):
            gram = _known_gram(words, p, size, grams, directory, shift, bits)
            if gram < 0:
                continue
            postings = posting_bounds[gram + 1] - posting_bounds[gram]
            for at in range(posting_bounds[gram], posting_bounds[gram + 1]):
                item, q = integer(posting_items[at]), integer(posting_words[at])
                if seen[item] == text and p < seen_until[item]:
                    continue
                item_begin, item_end = integer(item_bounds[item]), integer(item_bounds[item + 1])
                first, last = q, q + size
                run = np.float32(0)
                shifted = p - q
                while (
                    first > item_begin and shifted + first > 0 and words[shifted + first - 1] == item_words[first - 1]
                ):
                    first -= 1
                while last < item_end and shifted + last < count and words[shifted + last] == item_words[last]:
                    last += 1
                for i in range(first, last):
                    run += word_weights[i]
                total = item_weights[item]
                if run < (common_run if postings > few_postings else least_run) * total:
                    continue
                length = item_end - item_begin
                slack = length // 2 + spread
                low = max(0, p - (q - item_begin) - slack)
                high = min(count, p - (q - item_begin) + length + slack)
                weight, doc_first, doc_last, item_first, item_last = _align(
                    words, low, high, item_words, item_begin, item_end, word_weights, gap, scores, matched, firsts
                )
                seen[item], seen_until[item] = text, high
                coverage = weight / total
                if coverage < least:
                    continue
                if not placed:  # few texts have any
                    fill_words_with_places(data, begin, end, table, words, starts, ends, 0)
                    placed = True
                if found < len(out):
                    out[found, 0], out[found, 1], out[found, 2] = text, item, coverage
                    out[found, 3], out[found, 4] = starts[doc_first] - begin, ends[doc_last] - begin
                    out[found, 5], out[found, 6] = item_first - item_begin, item_last - item_begin
                found += 1
    return found
