"""The exceptions to the affix rules of English words: contractions, abbreviations, emoticons.

The fast splitter follows the rules of spaCy's blank English tokenizer, which datatrove's filters count words
with. What the rules can't say by classes of characters stands here as data.
"""

import functools
from collections.abc import Iterator, Mapping

import numpy as np

from tamis.scorers.statistics.english_words_kernels import (
    CLASSES,
    CUTS,
    FILTER_SIZE,
    LENGTH,
    MAX_EXCEPTION,
    POINTS,
    ROW_SIZE,
    RULE_WORD_ENDS,
    RULE_WORDS,
    TEXT,
    UNIT,
    WORD_ENDS,
    WORDS,
    EnglishRules,
    exception_filter,
    exception_slot,
    new_chunk,
    split_chunk,
)
from tamis.scorers.text.characters import character_classes

__all__ = ["common_rules", "english_rules", "exceptions"]


def _listed(words: str) -> list[str]:
    return words.split()


_PRONOUNS = ("i", "you", "he", "she", "it", "we", "they")
_QUESTION_WORDS = ("who", "what", "when", "where", "why", "how", "there", "that", "this")
_PLURALS = ("these", "those")
_NEGATED = _listed("ca could do does did had may might must need ought sha should wo would")
_NEGATED_ONLY = _listed("ai are is was were have has dare")
_HAVE_AFTER = _listed("could might must should would")
_NO_EXCEPTIONS = _listed("ill its hell shell shed were well whore")
"""Words of their own that look like contractions without the apostrophe."""

_WHOLE_WORDS = _listed(
    """
doin doin' goin goin' nothin nothin' nuthin nuthin' ol ol' somethin somethin' lovin lovin' havin havin'
"""
)
_WHOLE = _listed(
    """
em 'em ll 'll nuff 'nuff 'S 's ‘S ‘s and/or w/o 're 'Cause 'cause 'cos 'Cos 'coz 'Coz 'cuz 'Cuz 'bout ma'am
Ma'am o'clock O'clock 'd a.m. Adm. Bros. co. Co. Corp. D.C. Dr. e.g. E.g. E.G. Gen. Gov. i.e. I.e. I.E. Inc.
Jr. Ltd. Md. Messrs. Mo. Mont. Mr. Mrs. Ms. p.m. Ph.D. Prof. Rep. Rev. Sen. St. vs. v.s. Mt. Ak. Ala. Apr.
Ariz. Ark. Aug. Calif. Colo. Conn. Dec. Del. Feb. Fla. Ga. Ia. Id. Ill. Ind. Jan. Jul. Jun. Kan. Kans. Ky. La.
Mar. Mass. Mich. Minn. Miss. N.C. N.D. N.H. N.J. N.M. N.Y. Neb. Nebr. Nev. Nov. Oct. Okla. Ore. Pa. S.C. Sep.
Sept. Tenn. Va. Wash. Wis. ' '' \\") \\t \\n <space> C++ ä. ö. ü. —
"""
)
_EMOTICONS = _listed(
    r"""
:) :-) :)) :-)) :))) :-))) (: (-: =) (= :] :-] [: [-: [= =] :o) (o: :} :-} 8) 8-) (-8 ;) ;-) (; (-; :( :-( :((
:-(( :((( :-((( ): )-: =( >:( :') :'-) :'( :'-( :/ :-/ =/ =| :| :-| ]= =[ :1 :P :-P :p :-p :O :-O :o :-o :0
:-0 :() >:o :* :-* :3 :-3 =3 :> :-> :X :-X :x :-x :D :-D ;D ;-D =D xD XD xDD XDD 8D 8-D ^_^ ^__^ ^___^ >.< >.>
<.< ._. ;_; -_- -__- v.v V.V v_v V_V o_o o_O O_o O_O 0_o o_0 0_0 o.O O.o O.O o.o 0.0 o.0 0.o @_@ <3 <33 <333
</3 (^_^) (-_-) (._.) (>_<) (*_*) (¬_¬) ಠ_ಠ ಠ︵ಠ (ಠ_ಠ) ¯\(ツ)/¯ (╯°□°）╯︵┻━┻ ><(((*>
"""
)
_SPLIT = _listed(
    """
y'|all y|all how|'d|'y How|'d|'y not|'ve not|ve Not|'ve Not|ve can|not Can|not gon|na Gon|na got|ta Got|ta
let|'s Let|'s c'm|on C'm|on
"""
)


def _contractions(word: str) -> Iterator[tuple[str, ...]]:
    """Yield the contractions that begin with `word`, in pieces, with their apostrophes."""
    if word in _PRONOUNS or word in _QUESTION_WORDS or word in _PLURALS:
        yield from ((word, "'ll"), (word, "'ll", "'ve"), (word, "'d"), (word, "'d", "'ve"))
    if word == "i":
        yield from ((word, "'m"), (word, "'m", "a"))
    if word in ("i", "you", "we", "they", "who", "what", "when", "where", "why", "how", "there", *_PLURALS):
        yield (word, "'ve")
    if word in ("you", "we", "they", "who", "what", "when", "where", "why", "how", "there", *_PLURALS):
        yield (word, "'re")
    if word in ("he", "she", "it") or word in _QUESTION_WORDS:
        yield (word, "'s")
    if word in _NEGATED:
        yield from ((word, "n't"), (word, "n't", "'ve"))
    if word in _NEGATED_ONLY:
        yield (word, "n't")
    if word in _HAVE_AFTER:
        yield (word, "'ve")


def exceptions() -> dict[str, tuple[str, ...]]:
    """Return the exceptions: a chunk of text to the words it is, which are it when joined."""
    found: dict[str, tuple[str, ...]] = {}
    for word in dict.fromkeys((*_PRONOUNS, *_QUESTION_WORDS, *_PLURALS, *_NEGATED, *_NEGATED_ONLY, *_HAVE_AFTER)):
        for pieces in _contractions(word):
            for cased in (pieces, (pieces[0].title(), *pieces[1:])):
                for spelled in (cased, tuple(piece.replace("'", "") for piece in cased)):
                    found["".join(spelled)] = spelled
    for word in _NO_EXCEPTIONS:
        found.pop(word, None)
        found.pop(word.title(), None)
    for hour in range(1, 13):
        for half in ("a.m.", "am", "p.m.", "pm"):
            found[f"{hour}{half}"] = (str(hour), half)
    for unit in "cfkCFK":
        found[f"°{unit}."] = ("°", unit, ".")
    for text in _SPLIT:
        found[text.replace("|", "")] = tuple(text.split("|"))
    for word in _WHOLE_WORDS:
        found[word] = (word,)
        found[word.title()] = (word.title(),)
    for text in (*_WHOLE, *_EMOTICONS, *(f"{letter}." for letter in "abcdefghijklmnopqrstuvwxyz")):
        found[text] = (text,)
    for text, pieces in list(found.items()):
        if "'" in text:
            found[text.replace("'", "’")] = tuple(piece.replace("'", "’") for piece in pieces)
    return found


_UNITS = _listed(
    """
km km² km³ m m² m³ dm dm² dm³ cm cm² cm³ mm mm² mm³ ha µm nm yd in ft kg g mg µg t lb oz m/s km/h kmh mph hPa
Pa mbar mb MB kb KB gb GB tb TB T G M K % км км² км³ м м² м³ дм дм² дм³ см см² см³ мм мм² мм³ нм кг г мг м/с
км/ч кПа Па мбар Кб КБ кб Мб МБ мб Гб ГБ гб Тб ТБ тбكم كم² كم³ م م² م³ سم سم² سم³ مم مم² مم³ كم غرام جرام جم
كغ ملغ كوب اكواب
"""
)
"""Units that are split off a number; the Cyrillic terabyte is one with the Arabic kilometre in the rules
followed."""


_COMMON = _listed(
    """
' '' \\") \\t \\n <space> C++ ä. ö. ü. —
"""
)
"""The exceptions of all languages beside emoticons, single letters with a dot and degrees."""


def common_exceptions() -> dict[str, tuple[str, ...]]:
    """Return the exceptions that the rules of all languages have."""
    letters = (f"{letter}." for letter in "abcdefghijklmnopqrstuvwxyz")
    found = {text: (text,) for text in (*_COMMON, *_EMOTICONS, *letters)}
    return found | {f"°{unit}.": ("°", unit, ".") for unit in "cfkCFK"}


@functools.cache
def english_rules() -> EnglishRules:
    """Return the exceptions and units of English as arrays for the kernels, built once a process."""
    return _as_arrays(exceptions())


@functools.cache
def common_rules(habits: int = 0) -> EnglishRules:
    """Return those of no language in particular, as spaCy's multi-language tokenizer has them.

    Args:
        habits: what the language does otherwise, `HYPHENATED` and `ELIDING` together.
    """
    return _as_arrays(common_exceptions(), habits)


def _as_arrays(found: Mapping[str, tuple[str, ...]], habits: int = 0) -> EnglishRules:
    known = dict.fromkeys(_UNITS, ()) | dict(found)
    rows = np.zeros((len(known), ROW_SIZE), np.int32)
    seen = np.zeros(FILTER_SIZE + 1, np.uint8)
    seen[FILTER_SIZE] = habits
    slots = np.full(4096, -1, np.int32)
    table = character_classes()
    chunk = new_chunk(MAX_EXCEPTION)
    for row, (text, words) in enumerate(known.items()):
        points = [ord(character) for character in text]
        rows[row, LENGTH] = len(text)
        rows[row, WORDS] = len(words)
        rows[row, UNIT] = text in _UNITS
        rows[row, TEXT : TEXT + len(text)] = points
        rows[row, WORD_ENDS : WORD_ENDS + len(words)] = np.cumsum([len(word) for word in words])
        seen[exception_filter(points[0], points[-1], len(text))] = 1
        chunk[POINTS, : len(text)] = points
        slot = exception_slot(chunk, 0, len(text), len(slots))
        while slots[slot] >= 0:
            slot = (slot + 1) % len(slots)
        slots[slot] = row
    # What the rules make of an exception without knowing that it is one.
    for row, text in enumerate(known):
        chunk[POINTS, : len(text)] = rows[row, TEXT : TEXT + len(text)]
        chunk[CLASSES, : len(text)] = table[chunk[POINTS, : len(text)]]
        count = split_chunk(chunk, len(text), seen, slots, rows, False)  # noqa: FBT003
        rows[row, RULE_WORD_ENDS : RULE_WORD_ENDS + count] = chunk[CUTS, :count]
        rows[row, RULE_WORDS] = count
    return EnglishRules(seen, slots, rows)
