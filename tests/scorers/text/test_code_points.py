"""Tables made for all characters at once hold what one character at a time gives."""

import re
import unicodedata

import numpy as np
import pytest

from tamis.scorers.kernels import characters as bits
from tamis.scorers.perplexity import normalize
from tamis.scorers.perplexity.normalize_kernels import CASED, IGNORABLE, SIGMA, SLOW
from tamis.scorers.text.characters import character_classes
from tamis.scorers.text.code_points import points_as_text

SAMPLE = [*range(0x600), *range(0x600, 0x32400, 7), *range(0xE0000, 0xE0200, 3)]


def test_text_of_points_keeps_their_order() -> None:
    """Any code points, surrogates and the last one among them."""
    points = [0x41, 0xD800, 0x10FFFF, 0, 0x1F600]
    assert points_as_text(np.array(points, np.uint32)) == "".join(map(chr, points))


def test_properties_are_those_of_each_character() -> None:
    """What Python says of a character alone."""
    table = character_classes()
    for point in (point for point in SAMPLE if not 0xD800 <= point < 0xE000):
        character, category = chr(point), unicodedata.category(chr(point))
        assigned = category != "Cn"
        for bit, expected in (
            (bits.SPACE, character.isspace()),
            (bits.ALPHA, character.isalpha()),
            (bits.ALNUM, character.isalnum()),
            (bits.UPPER, character.isupper()),
            (bits.MARK, category[0] == "M"),
            (bits.DIGIT, category == "Nd"),
            (bits.PUNCTUATION, category[0] == "P"),
            (bits.CLOSER, category in {"Pe", "Pf"} or character in "\"'"),
            (bits.EN_WORD, re.match(r"\w", character) is not None),
        ):
            assert bool(table[point] & bit) == (expected and assigned), (hex(point), bit)


@pytest.mark.parametrize("options", [normalize._Options(), normalize._Options(accents=False, punct=2, breaks=True)])
def test_normalising_tables_are_those_of_each_character(options: normalize._Options) -> None:
    """Mapped text and class bits, by the rules as they are written down for one character."""
    tables = normalize._tables(options)
    for point in (point for point in SAMPLE if any(point in part for part in (range(0x80), *normalize._MAPPED))):
        character = chr(point)
        row = int(tables.pages[point >> 8]) << 8 | point & 255
        kind = SIGMA if character == "Σ" else 0
        if f"AΣ{character}".lower()[1] == "σ":
            kind |= CASED
        elif f"AΣ{character}A".lower()[1] == "σ":
            kind |= IGNORABLE
        decomposed = unicodedata.normalize("NFD", character)
        if options.accents and any(unicodedata.combining(c) and unicodedata.category(c) != "Mn" for c in decomposed):
            kind |= SLOW
        assert tables.classes[row] == kind, hex(point)
        place, length = int(tables.places[row]), int(tables.lengths[row])
        mapped = character if length < 0 else tables.pool[place : place + length].tobytes().decode()
        assert mapped == normalize._mapped(character, options), hex(point)
