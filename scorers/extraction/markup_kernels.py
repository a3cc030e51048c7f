"""One look over a page's bytes: how much work its markup makes for a parser, and whether it is text at all."""

import numpy as np
import numpy.typing as npt

from tamis.scorers.kernels.jit import helper, kernel, lean_kernel

__all__ = ["name_hash", "parser_steps", "unprintable_share"]

TEXT_BYTES = 48
"""Bytes of text that cost a step for each element they are in."""

Bytes = npt.NDArray[np.uint8]


@lean_kernel
def name_hash(data: Bytes, start: int, end: int) -> np.uint64:
    """Return FNV-1a of the name at `data[start:end]` in lower case, by which elements are told apart."""
    value = np.uint64(0xCBF29CE484222325)
    for i in range(start, end):
        byte = data[i]
        if 65 <= byte <= 90:
            byte |= 32
        value = (value ^ np.uint64(byte)) * np.uint64(0x100000001B3)
    return value


@helper
def _name_end(data: Bytes, start: int) -> int:
    i = start
    while i < len(data):
        byte = data[i]
        if byte in (9, 10, 12, 13, 32, 47, 62):
            break
        i += 1
    return i


@helper
def _contains(names: npt.NDArray[np.uint64], name: np.uint64) -> bool:
    for other in names:  # noqa: SIM110  (Numba has no any() over a generator)
        if other == name:
            return True
    return False


@helper
def _raw_end(data: Bytes, start: int, name: Bytes) -> int:
    """Return where the end tag of an element begins whose content isn't markup, such as a script."""
    last = len(data) - len(name) - 2
    i = start
    while i <= last:
        if data[i] == 60 and data[i + 1] == 47:
            same = True
            for k in range(len(name)):
                if data[i + 2 + k] | 32 != name[k] | 32:
                    same = False
                    break
            if same:
                return i
        i += 1
    return len(data)


@kernel
def parser_steps(
    data: Bytes,
    void: npt.NDArray[np.uint64],
    siblings: npt.NDArray[np.uint64],
    kinds: npt.NDArray[np.uint64],
    raw: npt.NDArray[np.uint64],
    foreign: npt.NDArray[np.uint64],
    limit: int,
) -> int:
    """Return an upper estimate of the steps that parsing a page takes beyond a constant a byte.

    An HTML parser walks its stack of open elements at most once a tag, and holds each attribute of a tag against
    those before it; the search for main content looks from each element at all that are in it. That is quadratic in
    depth and in attributes: a page of a few hundred kilobytes can take minutes. The estimate is the sum over tags of
    the depth there and of half the square of the attributes, and over texts of depth times length / `TEXT_BYTES`.

    Args:
        data: the page, UTF-8.
        void: hashes of the names of elements that hold nothing or that a parser closes by itself.
        siblings: hashes of the names of elements that a parser closes if the next of their kind follows directly.
        kinds: of each sibling, the hash that stands for its kind.
        raw: hashes of the names of elements whose content isn't markup...
        foreign: ...unless they are within one of these.
        limit: the count stops when it passes this.
    """
    stack = np.empty(int(np.sqrt(2.0 * limit)) + 2, np.uint64)
    depth = 0
    outside = len(stack)  # the depth of the outermost foreign element
    steps = 0
    text = 0  # where the text before the next tag begins
    n = len(data)
    i = 0
    while i < n - 1 and steps <= limit:
        if data[i] != 60:
            i += 1
            continue
        tag = i
        following = data[i + 1]
        if following in (33, 63):  # <! and <?
            if i + 3 < n and following == 33 and data[i + 2] == 45 and data[i + 3] == 45:
                i += 2
                while i < n and not (data[i] == 62 and data[i - 1] == 45 and data[i - 2] == 45):
                    i += 1
            else:
                while i < n and data[i] != 62:
                    i += 1
            continue
        closing = following == 47
        start = i + 2 if closing else i + 1
        if start >= n or not (97 <= data[start] | 32 <= 122):
            i += 1
            continue
        end = _name_end(data, start)
        name = name_hash(data, start, end)
        sibling = False
        for k in range(len(siblings)):
            if name == siblings[k]:
                name = kinds[k]
                sibling = True
        i = end
        attributes = 0
        quote = 0
        blank = False
        while i < n:
            byte = data[i]
            if quote:
                if byte == quote:
                    quote = 0
            elif byte == 62:
                break
            elif byte in (34, 39) and data[i - 1] == 61:
                quote = int(byte)
            elif byte in (9, 10, 12, 13, 32, 47):
                blank = True
            elif blank:
                attributes += 1
                blank = False
            i += 1
        steps += depth + attributes * attributes // 2 + depth * (tag - text) // TEXT_BYTES
        text = i
        if closing:
            for k in range(depth - 1, -1, -1):
                if stack[k] == name:
                    depth = k
                    break
            if depth <= outside:
                outside = len(stack)
        elif depth <= outside and _contains(raw, name):
            i = _raw_end(data, i, data[start:end])
        elif not (_contains(void, name) or (sibling and depth > 0 and stack[depth - 1] == name)):
            if depth == len(stack):
                return limit + 1
            if depth < outside and _contains(foreign, name):
                outside = depth
            stack[depth] = name
            depth += 1
    return steps + depth * (n - text) // TEXT_BYTES


@lean_kernel
def unprintable_share(data: Bytes) -> float:
    """Return the share of characters that no text has: controls but white space, and U+FFFD.

    Args:
        data: valid UTF-8.
    """
    characters = 0
    odd = 0
    n = len(data)
    for i in range(n):
        byte = data[i]
        if byte & 0xC0 != 0x80:
            characters += 1
        control = byte == 127 or (byte < 32 and byte not in (9, 10, 12, 13))
        control_c1 = byte == 0xC2 and i + 1 < n and data[i + 1] < 0xA0
        replacement = byte == 0xEF and i + 2 < n and data[i + 1] == 0xBF and data[i + 2] == 0xBD
        odd += control or control_c1 or replacement
    return odd / characters if characters else 0.0
