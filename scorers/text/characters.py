"""The table of character classes that the text-statistics kernels look up."""

import functools
import re
import unicodedata

import numpy as np
import numpy.typing as npt

from tamis.scorers.kernels import characters as bits
from tamis.scorers.text.code_points import points_as_text

__all__ = ["character_classes"]

_ASSIGNED = (range(0x32400), range(0xE0000, 0xE0200), range(0xF0000, 0xF0001))
"""Where Unicode has characters that any class could hold; private use and the unassigned planes are in
none."""

_BREAKS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"

_UNSPACED = """
E01-E5B E81-EDF 1000-109F 1780-17DD 3005-3007 3041-309F 30A0-30FF 31F0-31FF 3400-4DBF 4E00-9FFF A9E0-A9FE
AA60-AA7F F900-FAFF FF66-FF9F 1B000-1B16F 20000-323AF
"""
"""Thai, Lao, Burmese, Khmer, Han, Hiragana, Katakana."""

_BULLETS = "-*•‣▪▫■□▶◀◦●○∙⁃·⁌⁍◘⦾⦿"
"""Gopher's paper names none. Those of Common Crawl's usual lists and plain text, and from "⁌" on what NeMo Curator's
filter of bullets (`bullet_list`) has beside them."""

_SENTENCE_END = """
21 2E 3F 589 61F 6D4 700-702 7F9 964-965 104A-104B 1362 1367-1368 166E 1735-1736 1803 1809 1944-1945
1AA8-1AAB 1B5A-1B5B 1B5E-1B5F 1C3B-1C3C 1C7E-1C7F 203C-203D 2047-2049 2E2E 2E3C 3002 A4FF A60E-A60F A6F3
A6F7 A876-A877 A8CE-A8CF A92F A9C8-A9C9 AA5D-AA5F AAF0-AAF1 ABEB FE52 FE56-FE57 FF01 FF0E FF1F FF61
10A56-10A57 11047-11048 110BE-110C1 11141-11143 111C5-111C6 111CD 111DE-111DF 11238-11239 1123B-1123C 112A9
1144B-1144C 115C2-115C3 115C9-115D7 11641-11642 1173C-1173E 11A42-11A43 11A9B-11A9C 11C41-11C42 16A6E-16A6F
16AF5 16B37-16B38 16B44 1BC9F 1DA88
"""
"""Unicode's Sentence_Terminal property as of version 9, which spaCy's sentencizer uses."""

_TERMINAL_MORE = """
61D-61E 837 839 83D-83E 17D4-17D6 17D9-17DA 1B7D-1B7E 2E53-2E54 10F55-10F59 10F86-10F89 11944 11946
11EF7-11EF8 11F43-11F44 16E98
"""
"""What later versions and other scripts add: together the terminal punctuation of datatrove."""

_SYMBOLS = "0-8 B-1F 7F-9F"
_SYMBOL_MARKS = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~«´»–—’“”„…∶━►、。〈〉《》「」【】！％（），．１：；？～"
"""Control characters and marks that datatrove counts as punctuation; the full-width digit one is among them
there."""

_CASED_SPAN = """
41-5A 61-7A C0-D6 D8-F6 F8-1BF 1C4-2AF 386 388-38A 38C 38E-38F 391-3A9 3AC-3AF 3B1-3C9 3CC-3CE 400-401
403-40A 40C-40D 410-451 453-45A 45C-45D 490-491 496-497 4A2-4A3 4AE-4AF 4BA-4BB 4D8-4D9 4E8-4E9 1D00-1D25
1D6B-1D77 1D79-1D9A 1E00-1EFF 2C60-2C7B 2C7E-2C7F A722-A76F A771-A787 A78B-A78E A790-A7B9 A7FA AB30-AB5A
AB60-AB64 FF21-FF3A FF41-FF5A
"""
_UNCASED = """
591-5F4 620-64A 66E-6D5 6E5-6FF 750-77F 8A0-8BD 900-9FF B80-CFF D80-DFF 1100-137F 2E80-2FDF 2FF0-30FF
31C0-31EF 3200-4DBF 4E00-9FFF AC00-D7AF F900-FAFF FB1D-FBB1 FBD3-FD3D FD50-FDC7 FDF0-FDFB FE30-FE4F
FE70-FEFC 1EE00-1EEBB 1F200-1F2FF 20000-2A6DF 2A700-2EBEF 2F800-2FA1F
"""
"""The letters that spaCy's English rules know: Latin, Greek, Cyrillic, and blocks of scripts without case."""

_ICONS_SINCE_UNICODE_12 = """
166D 2B97 2BC9 2BFF 2E50-2E51 32FF FD40-FD4F FDCF FDFE-FDFF 1019C 11FD5-11FFF 1CC00-1CFFF 1D1E9-1D1FF 1E14F
1ED2E 1F10D-1F10F 1F16C-1F16F 1F1AD-1F1E5 1F6D5-1F6DF 1F6FA-1F6FF 1F774-1F77F 1F7D9-1F7FF 1F8B0-1F8FF
1F90C-1F90F 1F93F 1F971-1F972 1F977-1F979 1F97B 1F9A3-1F9AF 1F9BA-1F9BF 1F9C3-1F9CF 1FA00-1FA5F 1FA70-1FBFF
31E4-31EF 2FFC-2FFF
"""
"""Other symbols (So) that spaCy's rules don't know, as they are younger than those."""

_QUOTES = "\"'`´,«»‘’‚“”„\u2329\u232a⟦⟧〈〉《》「」『』【】〔〕（）"
_PUNCT = "…,:;!?¿؟¡()[]{}<>_#*&。？！，、；：～·।،۔؛٪"
_CURRENCIES = "$£€¥฿₽﷼" + "".join(map(chr, range(0x20A0, 0x20C0)))
_STOP_AFTER = "0123456789%²+-|?:()" + "".join(sorted({*_PUNCT} - {*"。、।۔"})) + "".join(sorted({*_QUOTES}))


_UNASSIGNED = np.uint32(1 << 31)
_OF_CATEGORY = {
    "Cc": 0,
    "Cf": 0,
    "Cn": _UNASSIGNED,
    "Co": 0,
    "Ll": bits.EN_LOWER,
    "Lm": 0,
    "Lo": 0,
    "Lt": 0,
    "Lu": bits.EN_UPPER,
    "Mc": bits.MARK,
    "Me": bits.MARK,
    "Mn": bits.MARK,
    "Nd": bits.DIGIT,
    "Nl": 0,
    "No": 0,
    "Pc": bits.PUNCTUATION,
    "Pd": bits.PUNCTUATION,
    "Pe": bits.PUNCTUATION | bits.CLOSER,
    "Pf": bits.PUNCTUATION | bits.CLOSER,
    "Pi": bits.PUNCTUATION,
    "Po": bits.PUNCTUATION,
    "Ps": bits.PUNCTUATION,
    "Sc": 0,
    "Sk": 0,
    "Sm": 0,
    "So": bits.EN_ICON,
    "Zl": 0,
    "Zp": 0,
    "Zs": 0,
}
"""The bits that follow from a character's general category."""


def _points(ranges: str) -> npt.NDArray[np.int64]:
    parts = [part.partition("-") for part in ranges.split()]
    return np.concatenate([np.arange(int(low, 16), int(high or low, 16) + 1) for low, _, high in parts])


def _ords(characters: str) -> npt.NDArray[np.int64]:
    return np.array([ord(character) for character in characters])


@functools.cache
def character_classes() -> npt.NDArray[np.uint32]:
    """Return the classes of every code point, as bits of `tamis.scorers.kernels.characters`; uint32 (0x110000,).

    Properties that Python knows come from its own Unicode tables, so that they agree with `str`'s methods.
    """
    table = np.zeros(0x110000, np.uint32)
    for block in _ASSIGNED:
        _add_properties(table, np.arange(block.start, block.stop, dtype=np.uint32))
    table[_ords(_BREAKS)] |= np.uint32(bits.BREAK)
    table[_ords(_BULLETS)] |= np.uint32(bits.BULLET)
    unspaced = _points(_UNSPACED)
    table[unspaced[table[unspaced] & bits.ALPHA != 0]] |= np.uint32(bits.UNSPACED)
    ends = _points(_SENTENCE_END)
    table[ends] |= np.uint32(bits.SENTENCE_END | bits.TERMINAL)
    table[_points(_TERMINAL_MORE)] |= np.uint32(bits.TERMINAL)
    table[_points(_SYMBOLS)] |= np.uint32(bits.SYMBOL)
    table[_ords(_SYMBOL_MARKS)] |= np.uint32(bits.SYMBOL)
    table[table & bits.TERMINAL != 0] |= np.uint32(bits.SYMBOL)
    _add_english(table)
    table.flags.writeable = False
    return table


def _add_properties(table: npt.NDArray[np.uint32], points: npt.NDArray[np.uint32]) -> None:
    """Set the bits that follow from properties, one property after the other: for all characters at C's speed."""
    points = points[(points < 0xD800) | (points >= 0xE000)]
    characters = points_as_text(points)
    found = np.fromiter(map(_OF_CATEGORY.__getitem__, map(unicodedata.category, characters)), np.uint32, len(points))
    for test, bit in (
        (str.isspace, bits.SPACE),
        (str.isalpha, bits.ALPHA | bits.ALNUM),
        (str.isalnum, bits.ALNUM),
        (str.isupper, bits.UPPER),
    ):
        found[np.fromiter(map(test, characters), bool, len(points))] |= np.uint32(bit)
    for match in re.finditer(r"\w+", characters):
        found[match.start() : match.end()] |= np.uint32(bits.EN_WORD)
    found[np.isin(points, _ords("\"'"))] |= np.uint32(bits.CLOSER)
    found[points == 0x294] |= np.uint32(bits.EN_LOWER)  # a letter without case now, which it had when spaCy's were made
    found[found & _UNASSIGNED != 0] = 0
    table[points] = found


def _add_english(table: npt.NDArray[np.uint32]) -> None:
    cased = np.zeros(len(table), bool)
    cased[_points(_CASED_SPAN)] = True
    table[~cased] &= np.uint32(~(bits.EN_LOWER | bits.EN_UPPER) & 0xFFFFFFFF)
    table[cased] |= np.uint32(bits.EN_ALPHA)
    table[_points(_UNCASED)] |= np.uint32(bits.EN_ALPHA | bits.EN_LOWER | bits.EN_UPPER)
    table[_points(_ICONS_SINCE_UNICODE_12)] &= np.uint32(~bits.EN_ICON & 0xFFFFFFFF)
    quotes, marks, currencies = _ords(_QUOTES), _ords(_PUNCT), _ords(_CURRENCIES)
    icons = np.flatnonzero(table & bits.EN_ICON)
    table[quotes] |= np.uint32(bits.EN_QUOTE)
    table[currencies] |= np.uint32(bits.EN_CURRENCY)
    for points in (quotes, marks, icons):
        table[points] |= np.uint32(bits.EN_PREFIX | bits.EN_SUFFIX)
    table[currencies] |= np.uint32(bits.EN_PREFIX)
    table[_ords("§%=—–")] |= np.uint32(bits.EN_PREFIX)
    table[_ords("—–")] |= np.uint32(bits.EN_SUFFIX)
    table[_ords(_STOP_AFTER)] |= np.uint32(bits.EN_STOP_AFTER)
    table[table & bits.EN_LOWER != 0] |= np.uint32(bits.EN_STOP_AFTER)
    special = bits.SPACE | bits.EN_PREFIX | bits.EN_SUFFIX
    plain = table & special == 0
    plain[_ords("0123456789.+-*^:<>=/~")] = False
    table[plain] |= np.uint32(bits.EN_PLAIN)
