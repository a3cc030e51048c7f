"""Kernels that score word sequences with a KenLM probing model, straight from the mapped file.

`cells` is the file as 32-bit words and `floats` the same memory as float32. `layout` says where its tables are:
`[order, vocabulary, buckets, unigrams, <s>, </s>, table of order 2, its buckets, table of order 3, ...]`, in 4-byte
cells. Entries are a 64-bit key followed by the word's number (vocabulary), by probability and back-off (orders below
the highest) or by the probability. The sign bit of a probability is set when no longer n-gram ends in this one; a
back-off of -0.0 says that no longer n-gram begins with it.

Look-ups go order by order over a block of words, and each first has the home cells of all words still in the race
loaded ahead: the processor then waits for many cache misses at once, where word by word it would wait for each in turn.
"""

import numpy as np
import numpy.typing as npt

from tamis.scorers.kernels.jit import helper, kernel, lean_kernel
from tamis.scorers.kernels.processor import inverse, prefetch, remainder
from tamis.scorers.kernels.whitespace import whitespace_length
from tamis.scorers.kernels.word_hash import extend_hash, signed, word_hash

__all__ = ["BOS", "BUCKETS", "EOS", "TABLES", "UNIGRAMS", "VOCABULARY", "find_word", "score_ids", "word_ids"]

VOCABULARY, BUCKETS, UNIGRAMS, BOS, EOS, TABLES = 1, 2, 3, 4, 5, 6
"""Places in `layout`; place 0 is the order."""

_BLOCK = 2048
_NO_EXTENSION = np.uint32(0x80000000)


@helper
def _key(cells: npt.NDArray[np.uint32], at: int) -> np.uint64:
    return np.uint64(cells[at]) | np.uint64(cells[at + 1]) << np.uint64(32)


@lean_kernel
def find_word(cells: npt.NDArray[np.uint32], layout: npt.NDArray[np.int64], key: np.uint64) -> int:
    """Return the number of the word with this hash, 0 when it is unknown."""
    buckets = layout[BUCKETS]
    bucket = signed(key % np.uint64(buckets))
    while True:
        at = layout[VOCABULARY] + 3 * bucket
        found = _key(cells, at)
        if found == key:
            return signed(cells[at + 2])
        if found == 0:
            return 0
        bucket += 1
        if bucket == buckets:
            bucket = 0


@helper
def _python_words(data: npt.NDArray[np.uint8], start: int, end: int) -> int:
    """Return how many words `str.split` makes of a run without ASCII white space."""
    words = 0
    inside = False
    at = start
    while at < end:
        byte = data[at]
        step = whitespace_length(data, at, end) if byte >= 0x80 or byte < 32 else 0
        if step:
            inside = False
            at += step
            continue
        if not inside:
            words += 1
            inside = True
        at += 1
    return words


@kernel
def word_ids(
    data: npt.NDArray[np.uint8],
    starts: npt.NDArray[np.int64],
    ends: npt.NDArray[np.int64],
    cells: npt.NDArray[np.uint32],
    layout: npt.NDArray[np.int64],
    unicode_split: bool,
    python_count: bool,
    ids: npt.NDArray[np.uint32],
    offsets: npt.NDArray[np.int64],
    tokens: npt.NDArray[np.int64],
) -> int:
    """Write the numbers of the words of each span to `ids`; return how many there are.

    Words are split at ASCII white space and NUL, with `unicode_split` at every character of Unicode's White_Space.
    `tokens` gets the words of a span, with `python_count` as many as `str.split` would make.
    """
    hashes = np.empty(_BLOCK, np.uint64)
    homes = np.empty(_BLOCK, np.int64)
    count = 0
    filled = 0
    offsets[0] = 0
    last = len(starts) - 1
    for span in range(len(starts)):
        at = starts[span]
        end = ends[span]
        words = 0
        while at < end:
            byte = data[at]
            if byte == 32 or 9 <= byte <= 13 or byte == 0:
                at += 1
                continue
            start = at
            step = 0
            while at < end:
                byte = data[at]
                if byte == 32 or 9 <= byte <= 13 or byte == 0:
                    break
                if unicode_split and byte >= 0x80:
                    step = whitespace_length(data, at, end)
                    if step:
                        break
                at += 1
            if at > start:
                words += _python_words(data, start, at) if python_count else 1
                hashes[filled] = word_hash(data, start, at)
                filled += 1
                if filled == _BLOCK:
                    _look_up(cells, layout, hashes, homes, filled, ids, count)
                    count += filled
                    filled = 0
            at += step
        tokens[span] = words
        offsets[span + 1] = count + filled
        if span == last:
            _look_up(cells, layout, hashes, homes, filled, ids, count)
            count += filled
    return count


@helper
def _look_up(
    cells: npt.NDArray[np.uint32],
    layout: npt.NDArray[np.int64],
    hashes: npt.NDArray[np.uint64],
    homes: npt.NDArray[np.int64],
    filled: int,
    ids: npt.NDArray[np.uint32],
    count: int,
) -> None:
    buckets = np.uint64(layout[BUCKETS])
    inverted = inverse(buckets)
    vocabulary = layout[VOCABULARY]
    for i in range(filled):
        home = vocabulary + 3 * signed(remainder(hashes[i], buckets, inverted))
        homes[i] = home
        prefetch(cells, home)
    for i in range(filled):
        found = _key(cells, homes[i])
        if found == hashes[i]:
            ids[count + i] = cells[homes[i] + 2]
        elif found == 0:
            ids[count + i] = 0
        else:
            ids[count + i] = find_word(cells, layout, hashes[i])


@helper
def _probe(cells: npt.NDArray[np.uint32], base: int, buckets: int, width: int, home: int, key: np.uint64) -> int:
    """Return the cell after the key of the entry that holds `key`, or -1; the search begins at `home`."""
    at = home
    found = _key(cells, at)
    end = base + buckets * width
    while found != key:
        if found == 0:
            return -1
        at += width
        if at == end:
            at = base
        found = _key(cells, at)
    return at + 2


@kernel
def score_ids(
    ids: npt.NDArray[np.uint32],
    offsets: npt.NDArray[np.int64],
    cells: npt.NDArray[np.uint32],
    floats: npt.NDArray[np.float32],
    layout: npt.NDArray[np.int64],
    exact: bool,
    log10_probs: npt.NDArray[np.float64],
    oov: npt.NDArray[np.int64],
) -> None:
    """Write log10 p(words </s> | <s>) of each sentence and the number of its unknown words.

    Sentence `i` is `ids[offsets[i]:offsets[i + 1]]`. A word's log-probability is that of the longest stored n-gram,
    plus the back-offs of the longer histories, in float32 as KenLM has it. They are added up in float32, as KenLM's
    library does, or with `exact` in float64.
    """
    order = layout[0]
    unigrams = layout[UNIGRAMS]
    head = order - 1
    size = head + _BLOCK
    words = np.zeros(size, np.uint32)
    kinds = np.zeros(size, np.uint8)  # 0 a word, 1 <s>, 2 </s>
    nodes = np.zeros(size, np.uint64)
    probs = np.zeros(size, np.float32)
    lengths = np.zeros(size, np.int64)
    states = np.zeros(size, np.int64)
    backoffs = np.zeros((size, max(order - 1, 1)), np.float32)
    active = np.zeros(size, np.int64)
    homes = np.zeros(size, np.int64)

    sentence = 0
    position = -1  # -1 is <s>, the length of the sentence </s>
    done = 0
    total32 = np.float32(0.0)
    total64 = 0.0
    while sentence < len(offsets) - 1:
        filled = head
        while filled < size and sentence < len(offsets) - 1:
            start = offsets[sentence]
            length = offsets[sentence + 1] - start
            if position < 0:
                words[filled] = np.uint32(layout[BOS])
                kinds[filled] = 1
            elif position < length:
                words[filled] = ids[start + position]
                kinds[filled] = 0
            else:
                words[filled] = np.uint32(layout[EOS])
                kinds[filled] = 2
            filled += 1
            position += 1
            if position > length:
                sentence += 1
                position = -1

        alive = 0
        for i in range(head, filled):
            at = unigrams + 2 * signed(words[i])
            nodes[i] = np.uint64(words[i])
            probs[i] = -abs(floats[at])
            lengths[i] = 1
            if order > 1:
                backoffs[i, 0] = floats[at + 1]
                states[i] = 1 if kinds[i] == 1 or cells[at + 1] != _NO_EXTENSION else 0
                if kinds[i] != 1 and cells[at] & _NO_EXTENSION == 0:
                    active[alive] = i
                    alive += 1
        for n in range(2, order + 1):
            base = layout[TABLES + 2 * (n - 2)]
            buckets = layout[TABLES + 2 * (n - 2) + 1]
            width = 3 if n == order else 4
            kept = 0
            for a in range(alive):
                i = active[a]
                if states[i - 1] >= n - 1:
                    active[kept] = i
                    kept += 1
            modulus = np.uint64(buckets)
            inverted = inverse(modulus)
            for a in range(kept):
                i = active[a]
                node = extend_hash(nodes[i], words[i - n + 1])
                nodes[i] = node
                home = base + width * signed(remainder(node, modulus, inverted))
                homes[a] = home
                prefetch(cells, home)
            alive = 0
            for a in range(kept):
                i = active[a]
                at = _probe(cells, base, buckets, width, homes[a], nodes[i])
                if at < 0:
                    continue
                probs[i] = -abs(floats[at])
                lengths[i] = n
                if n < order:
                    backoffs[i, n - 1] = floats[at + 1]
                    if cells[at + 1] != _NO_EXTENSION:
                        states[i] = n
                    if cells[at] & _NO_EXTENSION == 0:
                        active[alive] = i
                        alive += 1
        for i in range(head, filled):
            kind = kinds[i]
            if kind == 1:
                total32 = np.float32(0.0)
                total64 = 0.0
                oov[done] = 0
                continue
            prob = probs[i]
            if order > 1:
                for k in range(lengths[i], states[i - 1] + 1):
                    prob += backoffs[i - 1, k - 1]
            total32 += prob
            total64 += np.float64(prob)
            if kind == 0 and words[i] == 0:
                oov[done] += 1
            if kind == 2:
                log10_probs[done] = total64 if exact else np.float64(total32)
                done += 1
        for k in range(head):
            words[k] = words[filled - head + k]
            states[k] = states[filled - head + k]
            for j in range(order - 1):
                backoffs[k, j] = backoffs[filled - head + k, j]
