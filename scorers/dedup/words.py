"""How texts are cut into words and folded before near-duplicates or contamination are looked for.

Three ways, by name:

* `simplified`, FineWeb's: lower case, no accents (canonical decomposition without marks of category Mn and Me), every
  decimal digit is `0`, and all that is neither letter, digit nor spacing mark parts words;
* `folded`: the same with digits as they are;
* `none`: what white space (`str.isspace`) parts, unchanged: `str.split`.

In the first two, each letter of a script that is written without blanks (Han, Kana, Thai, Lao, Burmese, Khmer) is
a word of its own. A character whose folded form isn't one character (a Hangul syllable, a two-part vowel sign) stays
as it is in lower case.
"""

import functools
import unicodedata
from typing import Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from tamis.schemas.errors import ConfigError
from tamis.scorers.kernels import characters as bits
from tamis.scorers.text.characters import character_classes

__all__ = ["Folding", "folding_table"]

Folding: TypeAlias = Literal["simplified", "folded", "none"]
"""How words are made comparable; see the module."""

DROPPED = np.uint32(1 << 31)
"""Table entry of a character that counts as absent."""

SINGLE = np.uint32(1 << 30)
"""Bit of a table entry: the character is a word of its own."""


@functools.cache
def folding_table(folding: Folding) -> npt.NDArray[np.uint32]:
    """Return what each code point counts as; uint32 (0x110000,).

    An entry is 0 for what parts words, `DROPPED` for what is left out, else the folded code point, with the bit
    `SINGLE` where the character is a word of its own.

    Raises:
        ConfigError: if there is no such folding.
    """
    if folding not in get_args(Folding):
        msg = f"words are folded by one of {', '.join(get_args(Folding))}, not {folding!r}"
        raise ConfigError(msg)
    classes = character_classes()
    table = np.arange(len(classes), dtype=np.uint32)
    if folding == "none":
        table[classes & bits.SPACE != 0] = 0
        table[0] = 0xFFFD  # 0 means a border; the character NUL counts as the one for "no character"
    else:
        table[:] = 0
        assigned = np.flatnonzero(classes & (bits.ALNUM | bits.MARK | bits.UPPER))
        for point in assigned.tolist():
            table[point] = _folded(chr(point))
        unspaced = classes & bits.UNSPACED != 0
        table[unspaced & (table != 0) & (table != DROPPED)] |= SINGLE
        if folding == "simplified":
            table[classes & bits.DIGIT != 0] = ord("0")
    table.flags.writeable = False
    return table


def _folded(character: str) -> int:
    kept = [c for c in unicodedata.normalize("NFD", character.lower()) if unicodedata.category(c) not in ("Mn", "Me")]
    if len(kept) > 1:
        kept = list(character.lower())
        if len(kept) > 1:
            return ord(character)
    if not kept:
        return int(DROPPED)
    known = kept[0].isalnum() or unicodedata.category(kept[0]) == "Mc"
    return ord(kept[0]) if known else 0
