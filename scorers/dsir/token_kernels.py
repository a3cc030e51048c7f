"""Tokens in blocks: scanning UTF-8 into lower-cased tokens, and taking them from a tokenizer's piece numbers.

Both stop when a block is full and go on from their place when called again, so that memory is bounded by the block and
the longest text.
"""

import numpy as np
import numpy.typing as npt

from tamis.scorers.kernels.jit import helper, kernel, lean_kernel

__all__ = [
    "CLASS_BITS",
    "OTHER",
    "SPACE",
    "SPECIAL",
    "WORD",
    "find_special",
    "piece_digests",
    "scan_tokens",
    "take_pieces",
]

CLASS_BITS = 2
SPACE, WORD, OTHER, SPECIAL = 0, 1, 2, 3
"""Classes of a code point: an entry of the table is `lower-cased code point << CLASS_BITS | class`."""

FNV_BASIS = np.uint64(0xCBF29CE484222325)
FNV_PRIME = np.uint64(0x100000001B3)


@helper
def _decode(data: npt.NDArray[np.uint8], position: int, end: int) -> tuple[np.int64, int]:
    """Return the code point at `position`, whose first byte isn't ASCII, and its width in bytes.

    Text buffers are valid UTF-8; the bounds only keep a broken one from reading outside the arrays.
    """
    first = np.int64(data[position])
    if first < 0xE0:
        if position + 1 >= end:
            return np.int64(0xFFFD), 1
        return (first & 0x1F) << 6 | (np.int64(data[position + 1]) & 0x3F), 2
    if first < 0xF0:
        if position + 2 >= end:
            return np.int64(0xFFFD), 1
        second, third = np.int64(data[position + 1]), np.int64(data[position + 2])
        return (first & 0x0F) << 12 | (second & 0x3F) << 6 | (third & 0x3F), 3
    if position + 3 >= end:
        return np.int64(0xFFFD), 1
    second, third, fourth = np.int64(data[position + 1]), np.int64(data[position + 2]), np.int64(data[position + 3])
    point = (first & 0x07) << 18 | (second & 0x3F) << 12 | (third & 0x3F) << 6 | (fourth & 0x3F)
    return min(point, np.int64(0x10FFFF)), 4


@lean_kernel
def find_special(
    data: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int64],
    table: npt.NDArray[np.uint32],
    found: npt.NDArray[np.bool_],
) -> bool:
    """Mark the texts that hold a character whose lower case isn't one code point independent of its neighbours."""
    any_found = False
    for text in range(len(offsets) - 1):
        position, end = offsets[text], offsets[text + 1]
        while position < end:
            if data[position] < 0x80:
                position += 1
                continue
            point, width = _decode(data, position, end)
            if table[point] & 3 == SPECIAL:
                found[text] = True
                any_found = True
                break
            position += width
    return any_found


@lean_kernel
def scan_tokens(
    data: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int64],
    table: npt.NDArray[np.uint32],
    place: npt.NDArray[np.int64],
    carry: int,
    spell: bool,
    hashes: npt.NDArray[np.uint64],
    bounds: npt.NDArray[np.int64],
    scratch: npt.NDArray[np.uint8],
    soft_end: int,
    ends: npt.NDArray[np.int64],
) -> int:
    """Find the tokens of texts until a block is full, going on from `place` (text, position).

    A token is a longest run of characters of one class that isn't white space. Token t of the block gets the FNV-1a
    hash of its lower-cased UTF-8 in `hashes[t]`. With `spell` its bytes go to `scratch[bounds[t]:bounds[t + 1] - 1]`,
    followed by a blank, so that neighbouring tokens joined by blanks are a slice. `ends[i]` becomes the end of text i
    in the block if that text ends in it.

    Args:
        data: UTF-8 of all texts.
        offsets: bounds of the texts in `data`.
        table: see `tamis.scorers.dsir.lowercase_tokens.code_point_table`.
        place: text and position to go on from; updated.
        carry: tokens of the unfinished text that already stand at the front of the block.
        spell: whether the tokens' bytes are wanted.
        hashes: room for the block's tokens.
        bounds: room for one bound more; `bounds[carry]` is where writing starts.
        scratch: room for `soft_end` bytes, twice the longest text and one more.
        soft_end: the block is full once more than that is written; at least `bounds[carry]`.
        ends: one entry a text.

    Returns:
        the number of tokens in the block.
    """
    text, position = place[0], place[1]
    count = carry
    at = bounds[carry] if spell else 0
    while text < len(offsets) - 1:
        end = offsets[text + 1]
        while True:
            kind = np.uint32(SPACE)
            while position < end:  # white space, up to the first character of a token
                first = data[position]
                if first < 0x80:
                    kind = table[first] & np.uint32(3)
                    width = 1
                else:
                    point, width = _decode(data, position, end)
                    kind = table[point] & np.uint32(3)
                if kind != SPACE:
                    break
                position += width
            if position >= end:
                break
            if count == len(hashes) or at > soft_end:
                place[0], place[1] = text, position
                return count
            if not spell:
                at = 0
            digest = FNV_BASIS
            while position < end:
                first = data[position]
                if first < 0x80:
                    entry = table[first]
                    if entry & np.uint32(3) != kind:
                        break
                    position += 1
                else:
                    point, width = _decode(data, position, end)
                    entry = table[point]
                    if entry & np.uint32(3) != kind:
                        break
                    position += width
                low = entry >> np.uint32(CLASS_BITS)
                if low < 0x80:
                    scratch[at] = low
                    at += 1
                    digest = (digest ^ np.uint64(low)) * FNV_PRIME
                    continue
                start = at
                if low < 0x800:
                    scratch[at] = 0xC0 | low >> 6
                    at += 1
                else:
                    if low < 0x10000:
                        scratch[at] = 0xE0 | low >> 12
                        at += 1
                    else:
                        scratch[at] = 0xF0 | low >> 18
                        scratch[at + 1] = 0x80 | (low >> 12 & 0x3F)
                        at += 2
                    scratch[at] = 0x80 | (low >> 6 & 0x3F)
                    at += 1
                scratch[at] = 0x80 | (low & 0x3F)
                at += 1
                for i in range(start, at):
                    digest = (digest ^ np.uint64(scratch[i])) * FNV_PRIME
            hashes[count] = digest
            count += 1
            if spell:
                scratch[at] = 0x20
                at += 1
                bounds[count] = at
        ends[text] = count
        text += 1
        position = end
    place[0], place[1] = text, position
    return count


@lean_kernel
def take_pieces(
    pieces: npt.NDArray[np.int32],
    offsets: npt.NDArray[np.int64],
    names: npt.NDArray[np.uint8],
    limits: npt.NDArray[np.int64],
    digests: npt.NDArray[np.uint64],
    place: npt.NDArray[np.int64],
    carry: int,
    spell: bool,
    hashes: npt.NDArray[np.uint64],
    bounds: npt.NDArray[np.int64],
    scratch: npt.NDArray[np.uint8],
    soft_end: int,
    ends: npt.NDArray[np.int64],
) -> int:
    """Do as `scan_tokens` for texts that are rows of piece numbers.

    Text i is `pieces[offsets[i]:offsets[i + 1]]`; piece p is spelled `names[limits[p]:limits[p + 1]]` and hashed
    `digests[p]`. `scratch` needs room for `soft_end` bytes and the longest piece.
    """
    text, position = place[0], place[1]
    count = carry
    at = bounds[carry] if spell else 0
    while text < len(offsets) - 1:
        end = offsets[text + 1]
        while position < end:
            if count == len(hashes) or at > soft_end:
                place[0], place[1] = text, position
                return count
            piece = pieces[position]
            position += 1
            hashes[count] = digests[piece]
            count += 1
            if spell:
                for i in range(limits[piece], limits[piece + 1]):
                    scratch[at] = names[i]
                    at += 1
                scratch[at] = 0x20
                at += 1
                bounds[count] = at
        ends[text] = count
        text += 1
    place[0], place[1] = text, position
    return count


@kernel
def piece_digests(names: npt.NDArray[np.uint8], limits: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
    """Return the FNV-1a hash of each piece `names[limits[p]:limits[p + 1]]`."""
    digests = np.empty(len(limits) - 1, np.uint64)
    for piece in range(len(limits) - 1):
        digest = FNV_BASIS
        for i in range(limits[piece], limits[piece + 1]):
            digest = (digest ^ np.uint64(names[i])) * FNV_PRIME
        digests[piece] = digest
    return digests
