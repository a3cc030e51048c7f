"""Text statistics as Arrow columns, and C4's text-changing line rules."""

import functools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tamis.schemas.errors import ConfigError, InputError
from tamis.scorers.statistics.columns import BAD_WORDS_COLUMN, DEFAULT_TEXT_COLUMNS, TEXT_COLUMNS, text_schema
from tamis.scorers.statistics.language_words import LanguageWords
from tamis.scorers.text.characters import character_classes
from tamis.scorers.text.texts import TextBuffer, Texts, as_arrow, as_buffer

__all__ = ["Ellipses", "Splitter", "TextStatistics", "c4_clean", "fnv1a"]

Splitter: TypeAlias = Literal["fast", "spacy"]
"""How the datatrove statistics split words: by our kernels, or by spaCy itself (the `spacy` extra)."""

Ellipses: TypeAlias = Literal["joined", "spaced"]
"""What is an ellipsis beside "…": three dots and more, or also with a blank between them, as in the Chicago Manual of
Style (". . .")."""

C4Variant: TypeAlias = Literal["paper", "datatrove", "datatrove_fineweb"]

_Numbers: TypeAlias = npt.NDArray[np.float64]

_NO_WORDS = (np.zeros(0, np.uint8), np.zeros(1, np.int64), np.zeros(1, np.int64))


@functools.cache
def _names(*families: str) -> tuple[str, ...]:
    return tuple(name for name, column in TEXT_COLUMNS.items() if column.family in families)


def fnv1a(word: str) -> int:
    """Return the hash that the kernels know a word by: FNV-1a, 64 bits, of its UTF-8."""
    key = 0xCBF29CE484222325
    for byte in word.encode():
        key = (key ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return key


def _frozen(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a read-only view, so that kernels are compiled for one kind of array only."""
    view = array.view()
    view.flags.writeable = False
    return view


class TextStatistics:
    """Computes the `text_*` columns of `tamis.scorers.statistics.columns`, each family in one pass of a Numba kernel.

    Args:
        columns: which; all that follow the papers if None. Families that none of them is in aren't computed.
        splitter: how the datatrove columns split words and sentences. "fast" follows spaCy's rules with our
            kernels and differs on a few words in a million; "spacy" asks spaCy itself, at a hundredth of the
            speed.
        bad_words: a text file with a word or phrase a line, for the column `text_bad_words`.
        ellipsis: what the columns that follow the papers take for one.
        words: another language's words, for the datatrove columns that depend on words; English ones if None.
        stop_words: what `text_datatrove_stop_words` counts; Gopher's English ones if None.

    Raises:
        ConfigError: for an unknown column, splitter or ellipsis, `text_bad_words` without a file, or spaCy not
        installed. InputError: if the file of bad words can't be read or is empty.
    """

    def __init__(
        self,
        columns: Sequence[str] | None = None,
        *,
        splitter: Splitter = "fast",
        bad_words: str | Path | None = None,
        ellipsis: Ellipses = "joined",
        words: LanguageWords | None = None,
        stop_words: Sequence[str] | None = None,
    ):
        if columns is None:
            columns = (*DEFAULT_TEXT_COLUMNS, *((BAD_WORDS_COLUMN,) if bad_words is not None else ()))
        if splitter not in ("fast", "spacy"):
            msg = f"heuristics.splitter: {splitter!r} is neither fast nor spacy"
            raise ConfigError(msg)
        if ellipsis not in ("joined", "spaced"):
            msg = f"heuristics.ellipsis: {ellipsis!r} is neither joined nor spaced"
            raise ConfigError(msg)
        self._spaced = ellipsis == "spaced"
        self._schema = text_schema(columns)
        families = {TEXT_COLUMNS[name].family for name in columns}
        self._bad_words: str | None = None
        if "bad_words" in families:
            if bad_words is None:
                msg = f"{BAD_WORDS_COLUMN} needs a file of words: name it with bad_words"
                raise ConfigError(msg)
            self._bad_words = bad_words_pattern(Path(bad_words))
        self._spacy: Any = None
        if splitter == "spacy" and families & {
            "datatrove_words",
            "datatrove_ngrams",
            "datatrove_c4",
            "datatrove_c4_fineweb",
        }:
            from tamis.scorers.statistics.spacy_words import SpacyWords

            self._spacy = SpacyWords()
        self._families = families
        self._words = words
        self._english_stop_words = stop_words is None
        self._stop_words = _frozen(np.array(sorted({fnv1a(word) for word in stop_words or ()}), np.uint64))

    @property
    def schema(self) -> pa.Schema:
        """The columns asked for, in that order."""
        return self._schema

    def score(self, texts: Texts) -> pa.RecordBatch:
        """Return the statistics of each text; a null counts as an empty text."""
        array = as_arrow(texts)
        if len(array) == 0:
            return pa.RecordBatch.from_pylist([], self._schema)
        buffer = as_buffer(array)
        buffer = TextBuffer(_frozen(buffer.data), _frozen(buffer.offsets))
        found: dict[str, _Numbers] = {}
        families = self._families
        if families & {"words", "ngrams", "repeats"}:
            found |= _paper(buffer, 2 if "repeats" in families else int("ngrams" in families), spaced=self._spaced)
        if "c4" in families:
            found |= _c4(buffer)
        if families & {"datatrove_lines", "datatrove_words", "datatrove_ngrams"}:
            found |= self._datatrove(array, buffer)
        for variant in ("datatrove_c4", "datatrove_c4_fineweb"):
            if variant in families:
                found |= self._datatrove_c4(buffer, variant)
        columns = []
        for field in self._schema:
            if field.name == BAD_WORDS_COLUMN:
                bad = pc.match_substring_regex(pc.utf8_lower(array), self._bad_words)
                columns.append(bad.cast(pa.int64()))
            elif pa.types.is_integer(field.type):
                columns.append(pa.array(found[field.name].astype(np.int64)))
            else:
                columns.append(pa.array(found[field.name]))
        return pa.RecordBatch.from_arrays(columns, schema=self._schema)

    def _datatrove(self, array: pa.LargeStringArray, buffer: TextBuffer) -> dict[str, _Numbers]:
        from tamis.scorers.statistics.datatrove_kernels import (
            DATATROVE_LINE_ROWS,
            DATATROVE_WORD_ROWS,
            GivenWords,
            datatrove_lines,
            datatrove_words,
        )
        from tamis.scorers.statistics.english_words import english_rules

        table = character_classes()
        lines = np.empty((DATATROVE_LINE_ROWS, len(buffer)))
        datatrove_lines(buffer.data, buffer.offsets, table, lines)
        found: dict[str, _Numbers] = dict(zip(_names("datatrove_lines"), lines, strict=False))
        if not self._families & {"datatrove_words", "datatrove_ngrams"}:
            return found
        given, rules = GivenWords(*_NO_WORDS), english_rules()
        splitter = self._spacy
        if self._words is not None:
            splitter = self._words.splitter
            rules = self._words.rules
        if splitter is not None:
            given = splitter.words(array.to_pylist())
        words = np.empty((DATATROVE_WORD_ROWS, len(buffer)))
        ngrams = "datatrove_ngrams" in self._families
        datatrove_words(
            buffer.data,
            buffer.offsets,
            table,
            rules,
            given,
            splitter is not None,
            self._stop_words,
            self._english_stop_words,
            ngrams,
            words,
        )
        ratios = lines[11:] / np.maximum(words[0], 1)  # of "#", ellipses, line feeds
        found |= zip(_names("datatrove_words"), (*words[:5], *ratios), strict=True)
        if ngrams:
            found |= zip(_names("datatrove_ngrams"), words[5:] / np.maximum(lines[0], 1), strict=True)
        return found

    def _datatrove_c4(self, buffer: TextBuffer, family: str) -> dict[str, _Numbers]:
        from tamis.scorers.statistics.c4_kernels import C4_CURLY, C4_LOREM, c4_lines, english_sentences
        from tamis.scorers.statistics.english_words import english_rules

        table = character_classes()
        variant: C4Variant = "datatrove" if family == "datatrove_c4" else "datatrove_fineweb"
        lines = c4_lines(buffer.data, buffer.offsets, table, _c4_options(variant))
        lines = lines._replace(data=_frozen(lines.data))
        if self._spacy is None:
            sentences = np.empty(len(buffer))
            english_sentences(lines, table, english_rules(), sentences)
        else:
            data = lines.data.tobytes()
            kept = [data[start:end].decode() for start, end in zip(lines.starts, lines.ends, strict=True)]
            texts = [kept[first:last] for first, last in zip(lines.lines[:-1], lines.lines[1:], strict=True)]
            sentences = self._spacy.sentences(texts)
        columns = (lines.first == C4_LOREM, lines.first == C4_CURLY, sentences)
        return {name: np.asarray(column, np.float64) for name, column in zip(_names(family), columns, strict=True)}


def _paper(buffer: TextBuffer, detail: int, *, spaced: bool) -> dict[str, _Numbers]:
    from tamis.scorers.statistics.text_kernels import NGRAM_ROWS, REPEAT_ROWS, WORD_ROWS, text_statistics

    rows = WORD_ROWS + (NGRAM_ROWS if detail else 0) + (REPEAT_ROWS if detail > 1 else 0)
    out = np.empty((rows, len(buffer)))
    text_statistics(buffer.data, buffer.offsets, character_classes(), detail, spaced, out)
    return dict(zip(_names("words", "ngrams", "repeats"), out, strict=False))


def _c4(buffer: TextBuffer) -> dict[str, _Numbers]:
    from tamis.scorers.statistics.c4_kernels import c4_lines, page_phrases, sentences

    table = character_classes()
    lines = c4_lines(buffer.data, buffer.offsets, table, _c4_options("paper"))
    counts = np.empty(len(buffer))
    sentences(lines, table, counts)
    phrases = np.empty((2, len(buffer)))
    page_phrases(buffer.data, buffer.offsets, phrases)
    kept, every = lines.chars
    columns = (np.diff(lines.lines).astype(np.float64), kept / np.maximum(every, 1), counts, *phrases)
    return dict(zip(_names("c4"), columns, strict=True))


def _c4_options(variant: C4Variant) -> Any:
    from tamis.scorers.statistics.c4_kernels import C4Options

    if variant == "paper":
        return C4Options(min_words=5, max_word=0, terminal=True, single_quote=False, trim=True)
    return C4Options(min_words=3, max_word=1000, terminal=variant == "datatrove", single_quote=True, trim=False)


def c4_clean(texts: Texts, variant: C4Variant = "paper") -> pa.LargeStringArray:
    """Return each text after C4's line rules: the lines kept, without citation marks, joined by line feeds.

    Whether the page as a whole is kept is for the rules over the `text_c4_*` or `text_datatrove_c4_*`
    columns.

    Args:
        texts: the pages.
        variant: "paper" keeps lines of at least five words that end in one of `. ? ! " ”`; "datatrove" keeps
            lines of at least three, without words of more than 1,000 characters, that end in one of `. ? ! "
            '`; "datatrove_fineweb" is the same whatever they end in, as FineWeb was made. None keeps lines
            that end in three dots (but for the last variant), mention javascript, or hold a policy notice.
    """
    from tamis.scorers.statistics.c4_kernels import c4_lines, stripped

    array = as_arrow(texts)
    if len(array) == 0:
        return pa.array([], pa.large_string())
    buffer = as_buffer(array)
    table = character_classes()
    lines = c4_lines(_frozen(buffer.data), _frozen(buffer.offsets), table, _c4_options(variant))
    data, offsets = stripped(lines.data, lines.offsets, table)
    return pa.LargeStringArray.from_buffers(len(array), pa.py_buffer(offsets), pa.py_buffer(data))


def bad_words_pattern(path: Path) -> str:
    """Return the regular expression (RE2) that finds any word of a list in lower-cased text.

    As in C4, a word must not touch letters or digits, but for words of scripts that are written without
    blanks.

    Args:
        path: UTF-8, a word or phrase a line.

    Raises:
        InputError: if the file can't be read or has no words.
    """
    from tamis.scorers.kernels.characters import UNSPACED

    try:
        words = sorted({line.strip().lower() for line in path.read_text(encoding="utf-8").splitlines()} - {""})
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path}: can't read the list of bad words: {error}"
        raise InputError(msg) from error
    if not words:
        msg = f"{path}: the list of bad words is empty"
        raise InputError(msg)
    table = character_classes()
    anywhere = [word for word in words if any(table[ord(character)] & UNSPACED for character in word)]
    bordered = [word for word in words if word not in set(anywhere)]
    patterns = []
    if bordered:
        patterns.append(rf"(?:^|[^\pL\pN_])(?:{'|'.join(map(re.escape, bordered))})(?:$|[^\pL\pN_])")
    if anywhere:
        patterns.append("|".join(map(re.escape, anywhere)))
    return "|".join(patterns)
