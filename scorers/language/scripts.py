"""What scripts languages are written in, and whether a label fits the letters of a text.

A classifier of n-grams that meets letters it hardly knows, as lid.176 does in Lao, answers with any language at all.
The letters themselves say which it can't be.
"""

import functools
import unicodedata
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tamis.scorers.language.script_kernels import count_letters
from tamis.scorers.text.texts import TextBuffer

__all__ = ["SCRIPTS", "ScriptCheck", "scripts_of"]

COMMON, OTHER = 1, 2
"""Numbers of letters that any script uses, such as mathematical ones, and of letters of scripts not named here."""

SCRIPTS = (
    "ARABIC", "ARMENIAN", "BENGALI", "BOPOMOFO", "CJK", "CYRILLIC", "DEVANAGARI", "ETHIOPIC", "GEORGIAN", "GREEK",
    "GUJARATI", "GURMUKHI", "HANGUL", "HEBREW", "HIRAGANA", "JAVANESE", "KANNADA", "KATAKANA", "KHMER", "LAO",
    "LATIN", "MALAYALAM", "MONGOLIAN", "MYANMAR", "ORIYA", "SINHALA", "SUNDANESE", "TAMIL", "TELUGU",
    "THAANA", "THAI", "TIBETAN",
)  # fmt: skip
"""The scripts told apart, as the names of their characters begin in Unicode; numbered from 3."""

_COMMON = frozenset((
    "MATHEMATICAL", "MODIFIER", "DOUBLE-STRUCK", "SCRIPT", "VERTICAL", "BLACK-LETTER", "SUPERSCRIPT", "PLANCK",
    "TURNED", "FEMININE", "MASCULINE", "MICRO", "CARON", "EULER", "OHM", "KELVIN", "ANGSTROM", "ALEF", "BET", "GIMEL",
    "DALET", "INFORMATION", "ROMAN", "MASU",
))  # fmt: skip
"""First words of the names of letters that belong to no script, or to all."""
_ALSO = {"HENTAIGANA": "HIRAGANA", "KATAKANA-HIRAGANA": "KATAKANA", "IDEOGRAPHIC": "CJK"}
_HAN = ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x323AF))
_HANGUL = (0xAC00, 0xD7A3)
_NAMED = (range(0x3400), range(0xA000, 0xAC00), range(0xD7B0, 0xD800), range(0xFB00, 0x10000), range(0x10000, 0x20000))
"""Where letters are looked up by name: all but the blocks of Han and Hangul."""

_WRITTEN = {
    "ARABIC": "ar arz azb ckb fa lrc mzn pnb ps sd ug ur az kk ku ky ms pa tg tk tt uz",
    "ARMENIAN": "hy",
    "BENGALI": "as bn bpy",
    "BOPOMOFO": "zh",
    "CJK": "ja ko wuu yue zh",
    "CYRILLIC": "av az ba be bg bs bxr ce cv kk krc kv ky lez mhr mk mn mrj myv os ru rue sah sh sr tg tk tt tyv uk uz "
    "xal",
    "DEVANAGARI": "bh dty gom hi hif mai mr ne new sa sd",
    "ETHIOPIC": "am",
    "GEORGIAN": "ka xmf",
    "GREEK": "el",
    "GUJARATI": "gu",
    "GURMUKHI": "pa",
    "HANGUL": "ko",
    "HEBREW": "he yi",
    "HIRAGANA": "ja",
    "JAVANESE": "jv",
    "KANNADA": "gom kn",
    "KATAKANA": "ja",
    "KHMER": "km",
    "LAO": "lo",
    "LATIN": "az bs gom hi jv kk ku ms sh sr su tk tt uz",
    "MALAYALAM": "ml",
    "MONGOLIAN": "mn",
    "MYANMAR": "my",
    "ORIYA": "or",
    "SINHALA": "si",
    "SUNDANESE": "su",
    "TAMIL": "ta",
    "TELUGU": "te",
    "THAANA": "dv",
    "THAI": "th",
    "TIBETAN": "bo",
}
"""Script to the languages written in it, after Unicode's CLDR (`languageData`); a language of two letters or three that
is named nowhere is written in Latin letters."""

_ISO_15924 = {
    "arab": "ARABIC", "armn": "ARMENIAN", "beng": "BENGALI", "bopo": "BOPOMOFO", "cyrl": "CYRILLIC",
    "deva": "DEVANAGARI", "ethi": "ETHIOPIC", "geor": "GEORGIAN", "grek": "GREEK", "gujr": "GUJARATI",
    "guru": "GURMUKHI", "hang": "HANGUL", "hani": "CJK", "hans": "CJK", "hant": "CJK", "hebr": "HEBREW",
    "java": "JAVANESE", "khmr": "KHMER", "knda": "KANNADA", "laoo": "LAO", "latn": "LATIN", "mlym": "MALAYALAM",
    "mong": "MONGOLIAN", "mymr": "MYANMAR", "orya": "ORIYA", "sinh": "SINHALA", "sund": "SUNDANESE", "taml": "TAMIL",
    "telu": "TELUGU", "thaa": "THAANA", "thai": "THAI", "tibt": "TIBETAN",
}  # fmt: skip
"""Codes of scripts at the end of labels such as `eng_Latn`."""
_JAPANESE, _KOREAN = ("CJK", "HIRAGANA", "KATAKANA"), ("CJK", "HANGUL")
_SEVERAL = {"jpan": _JAPANESE, "kore": _KOREAN}

_FOREIGN = 0.02
"""A label is doubted where less than this share of the letters is of a script that its language is written in: a page
may quote more of another language than it has of its own, but it has some of its own letters."""


def scripts_of(language: str) -> frozenset[str] | None:
    """Return the scripts that a language is written in; None where its label doesn't tell."""
    code, _, script = language.partition("_")
    if script.lower() in _SEVERAL:
        return frozenset(_SEVERAL[script.lower()])
    if script.lower() in _ISO_15924:
        return frozenset({_ISO_15924[script.lower()]})
    if script or not (2 <= len(code) <= 3 and code.isascii() and code.islower()):
        return None
    named = frozenset(name for name, codes in _WRITTEN.items() if code in codes.split())
    return named or frozenset({"LATIN"})


@functools.cache
def _script_numbers() -> npt.NDArray[np.uint8]:
    """Return the number of each code point's script, uint8 (0x110000,); 0 for what is no letter."""
    table = np.zeros(0x110000, np.uint8)
    numbers = {name: number for number, name in enumerate(SCRIPTS, OTHER + 1)}
    for block in _NAMED:
        for point in block:
            character = chr(point)
            if not character.isalpha():
                continue
            words = unicodedata.name(character, "?").split()
            word = words[1] if words[0] in ("FULLWIDTH", "HALFWIDTH") and len(words) > 1 else words[0]
            word = _ALSO.get(word, word)
            table[point] = COMMON if word in _COMMON else numbers.get(word, OTHER)
    for first, last in _HAN:
        table[first : last + 1] = numbers["CJK"]
    table[_HANGUL[0] : _HANGUL[1] + 1] = numbers["HANGUL"]
    table.flags.writeable = False
    return table


class ScriptCheck:
    """Tells labels that can't be from those that can, by the letters of the texts.

    Args:
        languages: the labels of a model, in its order.
    """

    def __init__(self, languages: Sequence[str]) -> None:
        size = OTHER + 1 + len(SCRIPTS)
        numbers = {name: number for number, name in enumerate(SCRIPTS, OTHER + 1)}
        self.written = np.zeros((len(languages), size), np.bool_)
        for row, language in enumerate(languages):
            scripts = scripts_of(language)
            if scripts is None:
                self.written[row] = True
            else:
                self.written[row, [numbers[name] for name in scripts]] = True

    def letters(
        self, buffer: TextBuffer, starts: npt.NDArray[np.int64], stops: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int32]:
        """Return how many letters of each script each text has between two places, int32 (texts, scripts).

        Column 0 is what is no letter, column 1 letters of no script.
        """
        counts = np.zeros((len(starts), self.written.shape[1]), np.int32)
        data = buffer.data.view()
        data.flags.writeable = False
        count_letters(data, starts, stops, _script_numbers(), counts)
        return counts

    def doubtful(self, letters: npt.NDArray[np.int32], ids: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Return which labels are of languages whose script has next to none of their texts' letters (n,).

        Args:
            letters: as `letters` returns them.
            ids: the texts' labels, by position (n,).
        """
        known = letters[:, OTHER:]
        fitting = (known * self.written[ids][:, OTHER:]).sum(axis=1)
        total = known.sum(axis=1)
        return np.asarray((total > 0) & (fitting < _FOREIGN * total))

    def allowed(self, letters: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
        """Return which labels are of languages of the script that most of a text's letters are of, (n, labels)."""
        most = letters[:, OTHER:].argmax(axis=1) + OTHER
        return np.asarray(self.written[:, most].T)
