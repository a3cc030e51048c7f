"""Which words a language has: by the rules of our kernels, by ICU where there are no blanks, by Kiwi in Korean.

FineWeb-2's thresholds were found with the tokenizers that datatrove assigns to languages. For most those are spaCy's
rules, which differ between languages in their exceptions and in what they do with hyphens and apostrophes; "fast"
follows the rules that all of them share, and those habits. "spacy" asks spaCy's own tokenizer of the language, where it
has one. Languages of India, Urdu and its neighbours are split at punctuation, as the Indic NLP library does it.
"""

import functools
import re
import string
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Protocol

from tamis.schemas.errors import ConfigError
from tamis.schemas.wording import install_extra
from tamis.scorers.language.labels import parse_label
from tamis.scorers.statistics.datatrove_kernels import GivenWords, words_found
from tamis.scorers.statistics.english_words import common_rules, english_rules
from tamis.scorers.statistics.english_words_kernels import ELIDING, HYPHENATED, EnglishRules
from tamis.scorers.statistics.spacy_words import SpacyWords, given_words
from tamis.scorers.text.characters import character_classes
from tamis.scorers.text.texts import Texts, as_arrow, as_buffer

__all__ = ["LanguageWords", "WordSplitter", "language_words", "segmenter"]

EXTRA = "words"
"""The extra of the package that has the libraries for languages without blanks."""

_BY_SCRIPT = {"Hani": "zh", "Jpan": "ja", "Thai": "th", "Laoo": "lo", "Khmr": "km", "Mymr": "my"}
"""Scripts written without blanks to the language whose words ICU finds in them."""

_BY_LANGUAGE = {
    "cmn": "zh", "yue": "zh", "wuu": "zh", "hak": "zh", "gan": "zh", "hsn": "zh", "lzh": "zh", "nan": "zh",
    "jpn": "ja", "tha": "th", "lao": "lo", "khm": "km", "mya": "my",
}  # fmt: skip

_SPACY = """
afr:af als:sq amh:am arb:ar ars:ar ary:ar arz:ar azj:az bak:tt bew:ms bos:sr bul:bg cat:ca ceb:tl ces:cs dan:da deu:de
ekk:et ell:el eng:en eus:eu fao:fo fil:tl fin:fi fra:fr gle:ga heb:he hrv:hr hun:hu hye:hy ind:id isl:is ita:it jav:ms
kin:lg kir:ky lat:la lit:lt ltz:lb lvs:lv mkd:mk mri:ms nld:nl nno:nb nob:nb nrm:fr pes:fa plt:ms pol:pl por:pt ron:ro
rus:ru slk:sk slv:sl spa:es srp:sr swe:sv swh:tn tat:tt tgl:tl tuk:tr tur:tr ukr:uk vie:vi xho:tn zsm:ms zul:tn
"""
"""ISO 639-3 to the spaCy language that datatrove assigns; the others are split by the rules of none."""


_HYPHENATED = frozenset(
    "bak bos cat dan deu ell fin hun kir ltz nld nno nob por ron spa srp swe tat".split()  # noqa: SIM905
)
_ELIDING = frozenset("cat fra ita nrm".split())  # noqa: SIM905
_INDIC = frozenset("asm ben guj hin kan mal mar npi ory pan sin tam tel".split())  # noqa: SIM905
_LIKE_URDU = frozenset("ckb pbt sdh snd urd".split())  # noqa: SIM905

_BLANKS = re.compile(" +")
_INDIC_MARKS = re.compile(f"([{re.escape(string.punctuation)}\u0964\u0965\uaaf0\uaaf1\uabeb-\uabef\u1c7e\u1c7f])")
_URDU_MARKS = re.compile(f"([{re.escape(string.punctuation)}\u0609\u060a\u060c\u061e\u066a-\u066d\u06d4])")
_NUMBERS = re.compile("(?:[0-9]+ [,.:/] )+[0-9]+")
"""A date or number that was split at its marks."""


class WordSplitter(Protocol):
    """What finds the words of texts."""

    def words(self, texts: Sequence[str]) -> GivenWords:
        """Return the words of each text."""
        ...


class LanguageWords(NamedTuple):
    """How the words of a language are found.

    Attributes:
        rules: of our kernels.
        splitter: what finds them instead; None: our kernels do.
    """

    rules: EnglishRules
    splitter: WordSplitter | None

    def find(self, texts: Texts) -> GivenWords:
        """Return the words of each text."""
        array = as_arrow(texts)
        if self.splitter is not None:
            return self.splitter.words([text or "" for text in array.to_pylist()])
        buffer = as_buffer(array)
        return GivenWords(*words_found(buffer.data, buffer.offsets, character_classes(), self.rules))


def segmenter(label: str) -> str | None:
    """Return what must find the words of a language: ICU's code of a language without blanks, `ko`; None for the rest.

    Args:
        label: of the language, in any form.
    """
    parsed = parse_label(label)
    if parsed is None:
        return None
    if parsed.language == "kor":
        return "ko"
    if parsed.script is not None:
        return _BY_SCRIPT.get(parsed.script)
    return _BY_LANGUAGE.get(parsed.language)


@functools.cache
def language_words(label: str | None, splitter: Literal["fast", "spacy"] = "fast") -> LanguageWords:
    """Return how the words of a language are found.

    Args:
        label: of the language, in any form; None or a word that is no language: of none in particular.
        splitter: "fast": our kernels where there are blanks; "spacy": spaCy's own tokenizer.

    Raises:
        ConfigError: if the library for a language isn't installed.
    """
    code = None if label is None else segmenter(label)
    if code == "ko":
        return LanguageWords(common_rules(), _Kiwi())
    if code is not None:
        return LanguageWords(common_rules(), _Icu(code))
    parsed = None if label is None else parse_label(label)
    if parsed is not None and parsed.script != "Latn" and parsed.language in _INDIC | _LIKE_URDU:
        return LanguageWords(common_rules(), _AtMarks(indic=parsed.language in _INDIC))
    if splitter == "spacy":
        known = dict(pair.split(":") for pair in _SPACY.split())
        return LanguageWords(common_rules(), SpacyWords(known.get(parsed.language, "xx") if parsed else "xx"))
    if parsed is None:
        return LanguageWords(common_rules(), None)
    if parsed.language == "eng":
        return LanguageWords(english_rules(), None)
    habits = HYPHENATED * (parsed.language in _HYPHENATED) + ELIDING * (parsed.language in _ELIDING)
    return LanguageWords(common_rules(habits), None)


class _AtMarks:
    """Words between blanks and punctuation marks, as the Indic NLP library's trivial tokenizer finds them.

    Like that, it takes a line feed for no blank, so that the words on both sides of one count as one.

    Args:
        indic: by the marks of scripts of India, with numbers and dates in one piece; else by those of Urdu.
    """

    def __init__(self, *, indic: bool):
        self._indic = indic

    def words(self, texts: Sequence[str]) -> GivenWords:
        return given_words(self._split(text) for text in texts)

    def _split(self, text: str) -> list[str]:
        marks = _INDIC_MARKS if self._indic else _URDU_MARKS
        parted = _BLANKS.sub(" ", marks.sub(r" \1 ", text.replace("\t", " "))).strip(" ")
        if self._indic:
            parted = _NUMBERS.sub(lambda found: found[0].replace(" ", "") if found.start() else found[0], parted)
        return parted.split(" ")


class _Icu:
    """ICU's word boundaries, which it finds by dictionaries where there are no blanks.

    Args:
        language: ISO 639-1.

    Raises:
        ConfigError: if ICU isn't installed.
    """

    def __init__(self, language: str):
        try:
            from icu4py.breakers import WordBreaker
        except ImportError as error:
            raise _missing("icu4py") from error
        self._breaker: Any = WordBreaker
        self._language = language

    def words(self, texts: Sequence[str]) -> GivenWords:
        return given_words([str(word) for word in self._breaker(text, self._language)] for text in texts)


class _Kiwi:
    """The morphemes of Korean, which FineWeb-2's figures for it count.

    Raises:
        ConfigError: if Kiwi isn't installed.
    """

    def __init__(self) -> None:
        try:
            from kiwipiepy import Kiwi
        except ImportError as error:
            raise _missing("kiwipiepy") from error
        self._kiwi: Any = Kiwi(num_workers=1)

    def words(self, texts: Sequence[str]) -> GivenWords:
        return given_words(self._morphemes(text) for text in texts)

    def _morphemes(self, text: str) -> list[str]:
        return [text[token.start : token.end] for token in self._kiwi.tokenize(text)]


def _missing(package: str) -> ConfigError:
    return ConfigError(f"{package}, which finds words where blanks don't, isn't installed: {install_extra(EXTRA)}")
