r"""Lower-cased tokens as Python sees them: the class table of code points, and texts made safe for the kernels.

The tokens are those of `re.findall(r"\w+|[^\w\s]+", text.lower())` with the standard library's `re`: longest runs of
word characters, and longest runs of characters that are neither word nor white space. Lower case is `str.lower`, with
its two oddities: `İ` becomes two code points, and `Σ` at the end of a word becomes `ς`. Both the classes and the case
map are read off the running Python when they are first needed, so they follow its Unicode version
(`unicodedata.unidata_version`), as `re` and `str` do.
"""

import re
import sys
from functools import cache
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from tamis.scorers.dsir.token_kernels import CLASS_BITS, OTHER, SPACE, SPECIAL, WORD, find_special
from tamis.scorers.text.code_points import points_as_text
from tamis.scorers.text.texts import TextBuffer

__all__ = ["Alphabet", "code_point_table", "without_special_case"]

Alphabet: TypeAlias = Literal["wordpunct", "words"]
"""`wordpunct` splits words from punctuation; `words` splits at white space alone (`text.lower().split()`)."""


@cache
def code_point_table(alphabet: Alphabet = "wordpunct") -> npt.NDArray[np.uint32]:
    """Return for each code point `lower-cased code point << 2 | class` (uint32[0x110000]).

    The class is that of the lower-cased character. Class `SPECIAL` marks characters that a table can't lower: those
    that become several code points, and capital sigma, whose lower case depends on its neighbours.
    """
    size = sys.maxunicode + 1
    characters = points_as_text(np.arange(size, dtype=np.uint32))
    classes = np.full(size, OTHER, np.uint32)
    for match in re.finditer(r"\w+", characters):
        classes[match.start() : match.end()] = WORD
    for match in re.finditer(r"\s+", characters):
        classes[match.start() : match.end()] = SPACE
    if alphabet == "words":
        classes[classes == OTHER] = WORD
    lower = np.arange(size, dtype=np.uint32)
    special = [ord("Σ")]
    for start in range(0, size, 256):
        block = characters[start : start + 256]
        if block.lower() == block:
            continue
        for point, character in enumerate(block, start):
            low = character.lower()
            if len(low) > 1:
                special.append(point)
            else:
                lower[point] = ord(low)
    table = lower << np.uint32(CLASS_BITS) | classes[lower]
    table[special] |= np.uint32(SPECIAL)
    table.setflags(write=False)
    return table


def without_special_case(texts: TextBuffer, table: npt.NDArray[np.uint32]) -> TextBuffer:
    """Return `texts` with those lowered by Python itself that the table can't lower; the others as they are."""
    data, offsets = texts
    begin, end = int(offsets[0]), int(offsets[-1])
    if begin == end or int(data[begin:end].max()) < 0x80:
        return texts
    found = np.zeros(len(offsets) - 1, np.bool_)
    if not find_special(data, offsets, table, found):
        return texts
    lengths = np.diff(offsets)
    parts: list[bytes | memoryview] = []
    kept = memoryview(data)  # type: ignore[arg-type]
    copied = begin
    for i in np.flatnonzero(found):
        start, stop = int(offsets[i]), int(offsets[i + 1])
        lowered = data[start:stop].tobytes().decode(errors="replace").lower().encode()
        parts += [kept[copied:start], lowered]
        lengths[i] = len(lowered)
        copied = stop
    parts.append(kept[copied:end])
    return TextBuffer(np.frombuffer(b"".join(parts), np.uint8), np.concatenate([[0], np.cumsum(lengths)]))
