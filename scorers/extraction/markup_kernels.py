"""One look over a page's bytes: how much work its markup makes for a parser, and whether it is text at all."""

import numpy as np
import numpy.typing as npt

from tamis.scorers.kernels.jit import helper, kernel, lean_kernel

__all__ = [
    "CELL",
    "CLONE_STEPS",
    "FOREIGN",
    "FORMATTING",
    "PARAGRAPH",
    "RAW",
    "SCOPE",
    "SIBLING",
    "SPECIAL",
    "VOID",
    "name_hash",
    "parser_steps",
    "unprintable_share",
]

TEXT_BYTES = 48
"""Bytes of text that cost a step for each element they are in."""

CLONE_STEPS = 32
"""Steps that opening a formatting element again costs, with what it makes the search for main content look at."""

VOID, RAW, FOREIGN, FORMATTING, SPECIAL, SCOPE, CELL, SIBLING, PARAGRAPH = (1 << bit for bit in range(9))
"""Kinds of elements: holding nothing (or ended by the next of their kind); with content that isn't markup; with content
that is markup whatever is in it; ending within others; the standard's "special" ones, beyond which end tags of others
don't reach; those beyond which end tags of special ones don't; cells and rows; those that the next of their kind ends
if it follows directly; paragraphs."""

Bytes = npt.NDArray[np.uint8]
SELECT, OPTION, TABLE, TERM, DESCRIPTION = (
    np.frombuffer(name, np.uint8) for name in (b"select", b"option", b"table", b"dt", b"dd")
)


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


@helper
def _kind(names: npt.NDArray[np.uint64], kinds: npt.NDArray[np.int64], name: np.uint64) -> int:
    """Return the bits of an element's name, 0 for one that isn't in the (sorted) table."""
    place = np.searchsorted(names, name)
    return kinds[place] if place < len(names) and names[place] == name else 0


@kernel
def parser_steps(
    data: Bytes,
    names: npt.NDArray[np.uint64],
    kinds: npt.NDArray[np.int64],
    limit: int,
) -> int:
    """Return an estimate of the steps that parsing a page takes beyond a constant a byte.

    An HTML parser walks its stack of open elements at most once a tag, and holds each attribute of a tag against
    those before it; the search for main content looks from each element at all that are in it. That is quadratic in
    depth and in attributes: a page of a few hundred kilobytes can take minutes. The estimate is the sum

    - over tags of the depth there, and of half the square of the attributes;
    - over texts of depth times length / `TEXT_BYTES`;
    - over options of those before them in their select, all of which a parser looks at for the one that is selected;
    - over paragraphs, items of lists and cells of `CLONE_STEPS` times the formatting elements that are open there,
      since a parser may open all of them again;
    - over end tags of formatting elements that don't end the innermost element, of 8 times what is open within.

    The stack is a parser's as far as that matters: formatting elements outlive the blocks that they begin in, but for
    tables' cells; no more than three equal ones count; end tags don't reach beyond the elements that bound them.

    Args:
        data: the page, UTF-8.
        names: hashes of names of elements, ascending.
        kinds: of each, the bits that are set: `VOID`, `RAW`, `FOREIGN`, `FORMATTING`, `SPECIAL`, `SCOPE`, `CELL`,
            `SIBLING`, `PARAGRAPH`.
        limit: the count stops when it passes this.
    """
    stack = np.empty(int(np.sqrt(2.0 * limit)) + 2, np.uint64)
    tags = np.empty(len(stack), np.uint64)  # of formatting elements: a hash of the whole tag, to know equal ones by
    bits = np.empty(len(stack), np.int64)
    depth = 0
    outside = len(stack)  # the depth of the outermost foreign element
    steps = 0
    formatting = 0  # elements on the stack
    text = 0  # where the text before the next tag begins
    select, option = name_hash(SELECT, 0, len(SELECT)), name_hash(OPTION, 0, len(OPTION))
    term, description = name_hash(TERM, 0, len(TERM)), name_hash(DESCRIPTION, 0, len(DESCRIPTION))
    table = name_hash(TABLE, 0, len(TABLE))
    options = 0  # in the select so far
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
        if name == description:
            name = term  # either ends the other
        kind = _kind(names, kinds, name)
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
        if name == select:
            options = 0
        elif name == option and not closing:
            options += 1
            steps += options
        if kind & (PARAGRAPH | CELL | SIBLING) and not closing:
            steps += CLONE_STEPS * formatting
        if kind & CELL or (closing and name == table):  # what a cell left open ends with it
            least = depth
            while least > 0 and stack[least - 1] != table:
                least -= 1
            if least > 0:
                for k in range(least, depth):
                    formatting -= (bits[k] & FORMATTING) != 0
                depth = least
        if closing:
            at = depth - 1
            bound = 0 if kind & FOREIGN else SCOPE if kind & SPECIAL else SPECIAL
            while at >= 0 and stack[at] != name:
                if bits[at] & bound and not kind & FORMATTING:
                    at = -1
                    break
                at -= 1
            if at >= 0:
                top = at
                if kind & FORMATTING:
                    formatting -= 1
                    steps += 8 * (depth - at - 1)
                for k in range(at + 1, depth):
                    # Formatting is opened again after a block; what isn't formatting outlives the end of formatting.
                    stays = bits[k] & SPECIAL if kind & FORMATTING else bits[k] & FORMATTING and name != table
                    if stays:
                        stack[top], tags[top], bits[top] = stack[k], tags[k], bits[k]
                        top += 1
                    else:
                        formatting -= (bits[k] & FORMATTING) != 0
                depth = top
            if depth <= outside:
                outside = len(stack)
        elif depth <= outside and kind & RAW:
            i = _raw_end(data, i, data[start:end])
        elif not (kind & VOID or (kind & SIBLING and depth > 0 and stack[depth - 1] == name)):
            whole = np.uint64(0)
            if kind & FORMATTING:
                whole = name_hash(data, tag, i)
                equal = 0
                for k in range(depth):
                    equal += tags[k] == whole
                if equal >= 3:
                    continue
                formatting += 1
            if depth == len(stack):
                return limit + 1
            if depth < outside and kind & FOREIGN:
                outside = depth
            stack[depth], tags[depth], bits[depth] = name, whole, kind
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
