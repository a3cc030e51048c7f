"""The catalogue of text statistics: every `text_*` column, its type, and what exactly it is.

Words, lines and paragraphs of the columns that follow the papers:

* a *word* is a run of characters without white space, except that a letter of a script written without blanks
(Han,
  Hiragana, Katakana, Thai, Lao, Khmer, Burmese) is a word of its own, with the combining marks after it;
* a *line* ends where `str.splitlines` ends one; lines of white space alone don't count, and white space at
its ends
  isn't part of a line; two lines are the same if their words are;
* a *paragraph* is a run of lines without a line of white space alone between them;
* the *characters* that shares are of are those that aren't white space.

Columns called `text_repeat_*` count what occurred before in the text, where `text_duplicate_*` count all occurrences of
what occurs more than once: two readings of Gopher's table A1 (see `tamis.scorers.statistics.presets`).

All shares of a text without words, lines or letters are 0. Columns named `text_datatrove_*` are defined by
datatrove's code instead; there a *token* is a word of its word splitter, of which punctuation marks are some: of the
English one, or with rules by language of the document's language.
"""

from collections.abc import Iterable
from typing import Literal, NamedTuple

import pyarrow as pa

from tamis.schemas.base import nearest
from tamis.schemas.errors import ConfigError

__all__ = ["BAD_WORDS_COLUMN", "DEFAULT_TEXT_COLUMNS", "TEXT_COLUMNS", "Family", "TextColumn", "text_schema"]

Family = Literal[
    "words", "ngrams", "repeats", "c4", "bad_words", "datatrove_lines", "datatrove_words", "datatrove_ngrams",
    "datatrove_c4", "datatrove_c4_fineweb",
]  # fmt: skip
"""Columns that are computed together."""

BAD_WORDS_COLUMN = "text_bad_words"


class TextColumn(NamedTuple):
    """One column.

    Attributes:
        family: what is computed together with it.
        type: int64 for numbers of things, float64 for ratios.
        description: the definition, which goes into the Arrow field's metadata.
    """

    family: Family
    type: pa.DataType
    description: str


_INT, _FLOAT = pa.int64(), pa.float64()


_KEPT = "lines kept by C4's rules (five words, a terminal mark at the end, no javascript, no policy notice)"
_REPEATS = "occurrences after the first"

_ROWS: tuple[tuple[Family, str, pa.DataType, str], ...] = (
    ("words", "characters", _INT, "code points, white space included"),
    ("words", "words", _INT, "words"),
    ("words", "mean_word_length", _FLOAT, "mean code points of a word"),
    ("words", "longest_word", _INT, "code points of the longest word"),
    ("words", "alphabetic_word_fraction", _FLOAT, "share of words with at least one letter"),
    (
        "words",
        "stop_words",
        _INT,
        "how many of the, be, to, of, and, that, have, with occur, in any case, less the marks around a word",
    ),
    ("words", "hash_word_ratio", _FLOAT, 'number of "#" to number of words'),
    ("words", "ellipsis_word_ratio", _FLOAT, 'number of "…" and of runs of three or more dots to number of words'),
    ("words", "uppercase_fraction", _FLOAT, "number of upper-case characters to number of letters"),
    ("words", "digit_fraction", _FLOAT, "share of characters that are decimal digits"),
    ("words", "punctuation_fraction", _FLOAT, "share of characters that are punctuation (general category P)"),
    ("words", "lines", _INT, "lines"),
    ("words", "paragraphs", _INT, "paragraphs"),
    ("words", "bullet_line_fraction", _FLOAT, 'share of lines that begin with a bullet, such as "•", "-" or "*"'),
    ("words", "ellipsis_line_fraction", _FLOAT, 'share of lines that end with "…" or three dots'),
    (
        "words",
        "terminal_line_fraction",
        _FLOAT,
        "share of lines that end with a terminal mark of any script or an ellipsis, closing quotation "
        "marks and brackets after it passed over",
    ),
    ("words", "short_line_fraction", _FLOAT, "share of lines of fewer than 30 code points, inner blanks included"),
    ("words", "duplicate_line_fraction", _FLOAT, "share of lines that occur more than once, all of them counted"),
    ("words", "duplicate_line_char_fraction", _FLOAT, "share of characters in lines that occur more than once"),
    ("words", "duplicate_paragraph_fraction", _FLOAT, "share of paragraphs that occur more than once, all counted"),
    ("words", "duplicate_paragraph_char_fraction", _FLOAT, "share of characters in such paragraphs"),
    *(
        (
            "ngrams",
            f"top_{order}_gram_char_fraction",
            _FLOAT,
            f"share of characters in the most frequent run of {order} words (of equally frequent ones "
            "the longest, then the first), each word counted once; 0 if none occurs twice",
        )
        for order in (2, 3, 4)
    ),
    *(
        (
            "ngrams",
            f"duplicate_{order}_gram_char_fraction",
            _FLOAT,
            f"share of characters in runs of {order} words that occur more than once, all of them, each word once",
        )
        for order in (5, 6, 7, 8, 9, 10)
    ),
    *(
        ("repeats", f"repeat_{name}", _FLOAT, meaning)
        for name, meaning in (
            ("line_fraction", "share of lines that occurred before in the text"),
            ("line_char_fraction", "share of characters in lines that occurred before"),
            ("paragraph_fraction", "share of paragraphs that occurred before in the text"),
            ("paragraph_char_fraction", "share of characters in such paragraphs"),
        )
    ),
    *(
        (
            "repeats",
            f"repeat_{order}_gram_char_fraction",
            _FLOAT,
            f"share of characters in runs of {order} words that occurred before in the text, each word once",
        )
        for order in (5, 6, 7, 8, 9, 10)
    ),
    ("c4", "c4_lines", _INT, _KEPT),
    ("c4", "c4_character_fraction", _FLOAT, f"share of code points in {_KEPT}, less citation marks"),
    ("c4", "c4_sentences", _INT, f"sentences in {_KEPT}"),
    ("c4", "c4_lorem_ipsum", _INT, 'occurrences of "lorem ipsum" in the page, in any case'),
    ("c4", "c4_curly_brackets", _INT, 'occurrences of "{" in the page'),
    ("bad_words", "bad_words", _INT, "1 if a word or phrase of the given list occurs, in any case, else 0"),
    ("datatrove_lines", "datatrove_characters", _INT, "code points"),
    ("datatrove_lines", "datatrove_bullet_line_fraction", _FLOAT, 'share of lines that begin with "•" or "-"'),
    ("datatrove_lines", "datatrove_ellipsis_line_fraction", _FLOAT, 'share of lines that end with "…" or "..."'),
    (
        "datatrove_lines",
        "datatrove_duplicate_paragraph_fraction",
        _FLOAT,
        f"share of paragraphs (between two or more line feeds) that are {_REPEATS}",
    ),
    (
        "datatrove_lines",
        "datatrove_duplicate_paragraph_char_fraction",
        _FLOAT,
        f"code points of paragraphs that are {_REPEATS}, to all",
    ),
    (
        "datatrove_lines",
        "datatrove_duplicate_line_fraction",
        _FLOAT,
        f"share of lines (between runs of line feeds) that are {_REPEATS}",
    ),
    (
        "datatrove_lines",
        "datatrove_duplicate_line_char_fraction",
        _FLOAT,
        f"code points of lines that are {_REPEATS}, to all",
    ),
    ("datatrove_lines", "datatrove_fineweb_lines", _INT, "lines that aren't white space alone"),
    (
        "datatrove_lines",
        "datatrove_fineweb_terminal_line_fraction",
        _FLOAT,
        "share of those whose last code point is a terminal mark",
    ),
    ("datatrove_lines", "datatrove_fineweb_short_line_fraction", _FLOAT, "share of those of up to 30 code points"),
    (
        "datatrove_lines",
        "datatrove_fineweb_duplicate_line_char_fraction",
        _FLOAT,
        f"code points of those that are {_REPEATS}, to all but line feeds",
    ),
    ("datatrove_words", "datatrove_tokens", _INT, "tokens"),
    ("datatrove_words", "datatrove_words", _INT, "tokens with a character that isn't punctuation"),
    ("datatrove_words", "datatrove_mean_word_length", _FLOAT, "mean code points of those tokens"),
    ("datatrove_words", "datatrove_alphabetic_token_fraction", _FLOAT, "share of tokens with a letter"),
    (
        "datatrove_words",
        "datatrove_stop_words",
        _INT,
        "how many of the, be, to, of, and, that, have, with are tokens, in small letters; with rules by language, how "
        "many of its language's stop words are",
    ),
    ("datatrove_words", "datatrove_hash_token_ratio", _FLOAT, 'number of "#" to number of tokens'),
    ("datatrove_words", "datatrove_ellipsis_token_ratio", _FLOAT, 'number of "..." and "…" to number of tokens'),
    ("datatrove_words", "datatrove_fineweb_newline_token_ratio", _FLOAT, "number of line feeds to number of tokens"),
    *(
        (
            "datatrove_ngrams",
            f"datatrove_top_{order}_gram_char_fraction",
            _FLOAT,
            f"code points of the first most frequent {order} tokens with blanks between, times occurrences, to all",
        )
        for order in (2, 3, 4)
    ),
    *(
        (
            "datatrove_ngrams",
            f"datatrove_duplicate_{order}_gram_char_fraction",
            _FLOAT,
            f"code points of {order} tokens met before, going on behind each such run, to all",
        )
        for order in (5, 6, 7, 8, 9, 10)
    ),
    *(
        (family, f"{family}_{name}", _INT, description)
        for family in ("datatrove_c4", "datatrove_c4_fineweb")
        for name, description in (
            ("lorem_ipsum", 'whether "lorem ipsum" comes first of what drops a page'),
            ("curly_bracket", 'whether "{" comes first of what drops a page'),
            ("sentences", "sentences in the lines kept"),
        )
    ),
)

TEXT_COLUMNS: dict[str, TextColumn] = {
    f"text_{name}": TextColumn(family, kind, description) for family, name, kind, description in _ROWS
}
"""Column name to column, in the order in which they are computed."""

DEFAULT_TEXT_COLUMNS = tuple(
    name for name, column in TEXT_COLUMNS.items() if column.family in ("words", "ngrams", "c4")
)
"""What is computed if nothing else is asked for: the statistics that follow the papers."""


def text_schema(columns: Iterable[str]) -> pa.Schema:
    """Return the Arrow schema of text statistics, with definitions in the fields' metadata ("description").

    Raises:
        ConfigError: for a column that isn't in the catalogue, with the nearest one that is.
    """
    fields = []
    for name in columns:
        if name not in TEXT_COLUMNS:
            msg = f"unknown text statistic {name!r}{nearest(name, list(TEXT_COLUMNS))}"
            raise ConfigError(msg)
        column = TEXT_COLUMNS[name]
        fields.append(pa.field(name, column.type, nullable=False, metadata={"description": column.description}))
    return pa.schema(fields)
