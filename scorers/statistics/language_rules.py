"""Rules by language: tables of thresholds and stop words, read from files, and the rules that they make.

The keys of a language are those of FineWeb-2's files (`configs/deu_Latn.yml` of huggingface/fineweb-2), which are read
as they are; the rules are those of its pipeline, in its order: Gopher's repetition, FineWeb's quality, Gopher's
quality, by the statistics of datatrove's filters (Penedo et al. 2025, FineWeb2, arXiv:2506.20920).
"""

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from tamis.schemas.base import Model, nearest, validate
from tamis.schemas.errors import ConfigError, InputError
from tamis.schemas.rule import Op, Rule
from tamis.scorers.language.labels import LanguageLabels

__all__ = [
    "ENGLISH_FIGURES",
    "FIGURE_COLUMNS",
    "FINEWEB2",
    "Figures",
    "LanguageTable",
    "packaged_table",
    "read_language_table",
]

FINEWEB2 = "fineweb2"
"""The name of the packaged table, and of the preset."""

_TOP, _REPEATED = (2, 3, 4), (5, 6, 7, 8, 9, 10)
_PAIRS = {"top_n_grams": _TOP, "dup_n_grams": _REPEATED}


class Figures(Model):
    """The figures of one language; a rule whose figure is absent, null, or 0 where that forbids everything, is off."""

    language_score: float | None = Field(default=None, ge=0, le=1)
    dup_line_frac: float | None = Field(default=None, allow_inf_nan=False)
    dup_para_frac: float | None = Field(default=None, allow_inf_nan=False)
    dup_line_char_frac: float | None = Field(default=None, allow_inf_nan=False)
    dup_para_char_frac: float | None = Field(default=None, allow_inf_nan=False)
    top_n_grams: tuple[tuple[int, float], ...] = ()
    dup_n_grams: tuple[tuple[int, float], ...] = ()
    line_punct_thr: float | None = Field(default=None, allow_inf_nan=False)
    short_line_thr: float | None = Field(default=None, allow_inf_nan=False)
    char_duplicates_ratio: float | None = Field(default=0.1, allow_inf_nan=False)
    new_line_ratio: float | None = Field(default=None, allow_inf_nan=False)
    min_doc_words: float | None = Field(default=50, allow_inf_nan=False)
    max_doc_words: float | None = Field(default=100_000, allow_inf_nan=False)
    min_avg_word_length: float | None = Field(default=None, allow_inf_nan=False)
    max_avg_word_length: float | None = Field(default=None, allow_inf_nan=False)
    max_symbol_word_ratio: float | None = Field(default=0.1, allow_inf_nan=False)
    max_bullet_lines_ratio: float | None = Field(default=0.9, allow_inf_nan=False)
    max_ellipsis_lines_ratio: float | None = Field(default=0.3, allow_inf_nan=False)
    max_non_alpha_words_ratio: float | None = Field(default=None, allow_inf_nan=False)
    stopwords: tuple[str, ...] = ()
    min_stop_words: float | None = Field(default=2, allow_inf_nan=False)

    @field_validator("top_n_grams", "dup_n_grams", "stopwords", mode="before")
    @classmethod
    def _none_is_none(cls, value: Any) -> Any:
        return () if value is None else value

    @field_validator("top_n_grams", "dup_n_grams")
    @classmethod
    def _orders(cls, value: tuple[tuple[int, float], ...], info: Any) -> tuple[tuple[int, float], ...]:
        known = _PAIRS[info.field_name]
        orders = [order for order, _ in value]
        wrong = [order for order in orders if order not in known]
        if wrong or len(set(orders)) < len(orders):
            msg = f"each of the orders {known[0]} to {known[-1]} once at most, got {orders}"
            raise ValueError(msg)
        return value

    @field_validator("stopwords", mode="before")
    @classmethod
    def _words(cls, value: Any) -> Any:
        # YAML reads bare words such as no, on and 12 as no text.
        if isinstance(value, list | tuple) and any(isinstance(word, bool) for word in value):
            msg = "YAML reads the bare words yes, no, on and off as true and false: quote them"
            raise ValueError(msg)
        return tuple(str(word) for word in value) if isinstance(value, list | tuple) else value

    def thresholds(self) -> dict[str, float]:
        """Return reason to threshold of the rules that are on, in the order of decision."""
        top, repeated = dict(self.top_n_grams), dict(self.dup_n_grams)
        found: dict[str, float | None] = {
            "empty": 1,
            # Of these datatrove takes 0 for off.
            "dup_para_frac": self.dup_para_frac or None,
            "dup_para_char_frac": self.dup_para_char_frac or None,
            "dup_line_frac": self.dup_line_frac or None,
            "dup_line_char_frac": self.dup_line_char_frac or None,
            **{f"top_{n}_gram": top.get(n) for n in _TOP},
            **{f"duplicated_{n}_n_grams": repeated.get(n) for n in _REPEATED},
            "no_line": 1,
            "line_punct_ratio": self.line_punct_thr,
            "short_line_ratio": self.short_line_thr,
            "char_dup_ratio": self.char_duplicates_ratio,
            "list_ratio": self.new_line_ratio,
            "gopher_short_doc": self.min_doc_words or None,
            "gopher_long_doc": self.max_doc_words or None,
            "gopher_below_avg_threshold": self.min_avg_word_length or None,
            "gopher_above_avg_threshold": self.max_avg_word_length or None,
            "gopher_too_many_hashes": self.max_symbol_word_ratio or None,
            "gopher_too_many_ellipsis": self.max_symbol_word_ratio or None,
            "gopher_too_many_bullets": self.max_bullet_lines_ratio or None,
            "gopher_too_many_end_ellipsis": self.max_ellipsis_lines_ratio or None,
            "gopher_below_alpha_threshold": self.max_non_alpha_words_ratio or None,
            "gopher_enough_stop_words": (self.min_stop_words or None) if self.stopwords else None,
        }
        return {reason: threshold for reason, threshold in found.items() if threshold is not None}


FIGURE_COLUMNS: dict[str, tuple[str, Op]] = {
    "empty": ("text_datatrove_characters", "min"),
    "dup_para_frac": ("text_datatrove_duplicate_paragraph_fraction", "max"),
    "dup_para_char_frac": ("text_datatrove_duplicate_paragraph_char_fraction", "max"),
    "dup_line_frac": ("text_datatrove_duplicate_line_fraction", "max"),
    "dup_line_char_frac": ("text_datatrove_duplicate_line_char_fraction", "max"),
    **{f"top_{n}_gram": (f"text_datatrove_top_{n}_gram_char_fraction", "max") for n in _TOP},
    **{f"duplicated_{n}_n_grams": (f"text_datatrove_duplicate_{n}_gram_char_fraction", "max") for n in _REPEATED},
    "no_line": ("text_datatrove_fineweb_lines", "min"),
    "line_punct_ratio": ("text_datatrove_fineweb_terminal_line_fraction", "min"),
    "short_line_ratio": ("text_datatrove_fineweb_short_line_fraction", "max"),
    "char_dup_ratio": ("text_datatrove_fineweb_duplicate_line_char_fraction", "max"),
    "list_ratio": ("text_datatrove_fineweb_newline_token_ratio", "max"),
    "gopher_short_doc": ("text_datatrove_words", "min"),
    "gopher_long_doc": ("text_datatrove_words", "max"),
    "gopher_below_avg_threshold": ("text_datatrove_mean_word_length", "min"),
    "gopher_above_avg_threshold": ("text_datatrove_mean_word_length", "max"),
    "gopher_too_many_hashes": ("text_datatrove_hash_token_ratio", "max"),
    "gopher_too_many_ellipsis": ("text_datatrove_ellipsis_token_ratio", "max"),
    "gopher_too_many_bullets": ("text_datatrove_bullet_line_fraction", "max"),
    "gopher_too_many_end_ellipsis": ("text_datatrove_ellipsis_line_fraction", "max"),
    "gopher_below_alpha_threshold": ("text_datatrove_alphabetic_token_fraction", "min"),
    "gopher_enough_stop_words": ("text_datatrove_stop_words", "min"),
}
"""Reason to column and comparison, in the order of decision."""

_ENGLISH = Figures(
    dup_line_frac=0.3,
    dup_para_frac=0.3,
    dup_line_char_frac=0.2,
    dup_para_char_frac=0.2,
    top_n_grams=((2, 0.2), (3, 0.18), (4, 0.16)),
    dup_n_grams=((5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.1)),
    line_punct_thr=0.12,
    short_line_thr=0.67,
    new_line_ratio=0.3,
    min_avg_word_length=3,
    max_avg_word_length=10,
    max_non_alpha_words_ratio=0.8,
    stopwords=("the", "be", "to", "of", "and", "that", "have", "with"),
)

ENGLISH_FIGURES: tuple[Rule, ...] = tuple(
    Rule(column=column, op=op, threshold=_ENGLISH.thresholds()[reason], reason=reason)
    for reason, (column, op) in FIGURE_COLUMNS.items()
)
"""The rules with the thresholds for English: Gopher's and FineWeb's, as datatrove's filters have them."""


class LanguageTable:
    """Figures by language.

    Args:
        figures: by label, in any form (`de`, `deu_Latn`), the more important ones first; or by any other value of a
            column.
        where: what the table is, for messages.
    """

    def __init__(self, figures: Mapping[str, Figures], where: str):
        self.figures = dict(figures)
        self.where = where
        self._labels = LanguageLabels(self.figures)

    def find(self, label: str | None) -> str | None:
        """Return the key of the table that a document's label means, None if the table has none."""
        return self._labels.find(label)

    def only(self, labels: "tuple[str, ...]") -> "LanguageTable":
        """Return the table with the languages of some labels alone.

        Raises:
            ConfigError: naming a label that the table hasn't.
        """
        found = {label: self.find(label) for label in labels}
        for label, key in found.items():
            if key is None:
                msg = f"languages: {self.where} has no rules for {label!r}{nearest(label, list(self.figures))}"
                raise ConfigError(msg)
        wanted = set(found.values())
        return LanguageTable({key: self.figures[key] for key in self.figures if key in wanted}, self.where)


def packaged_table() -> Path:
    """Return the path of the table of FineWeb-2's figures that ships with the package."""
    return Path(__file__).parent / "fineweb2.tsv"


def read_language_table(path: str | Path, where: str | None = None) -> LanguageTable:
    """Read a table by language.

    Args:
        path: a folder of YAML or JSON files, one language each under its label (`deu_Latn.yml`); one such file; a YAML
            or JSON file of label to figures; or a table of tab-separated values like the packaged one.
        where: what to call it in messages; its path if absent.

    Raises:
        InputError: if it can't be read.
        ConfigError: for figures that aren't understood; one sentence that names file and key.
    """
    given = Path(path)
    name = where or str(path)
    if given.is_dir():
        files = sorted(file for file in given.iterdir() if file.suffix in (".yml", ".yaml", ".json"))
        figures = {file.stem: _figures(_plain(file), f"{name}/{file.name}") for file in files}
    elif given.suffix in (".tsv", ".txt"):
        figures = dict(_from_table(given, name))
    else:
        figures = _from_file(given, name)
    if not figures:
        msg = f"{name}: no rules of any language: expected files such as deu_Latn.yml, or a table"
        raise ConfigError(msg)
    return LanguageTable(figures, name)


def _from_file(path: Path, name: str) -> dict[str, Figures]:
    plain = _plain(path)
    if not isinstance(plain, dict) or not all(isinstance(key, str) for key in plain):
        msg = f"{name}: expected keys and values: of one language, as in deu_Latn.yml, or label to those of each"
        raise ConfigError(msg)
    # The labels of several languages lead to mappings, the figures of one never do.
    if plain and all(isinstance(value, dict) for value in plain.values()):
        return {label: _figures(value, f"{name}: {label}") for label, value in plain.items()}
    return {path.stem: _figures(plain, name)}


def _figures(plain: Any, where: str) -> Figures:
    return validate(Figures, plain, where)


def _plain(path: Path) -> Any:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return yaml.load(path.read_text(encoding="utf-8"), loader)  # noqa: S506  (a safe loader)
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path}: can't read the rules: {error}"
        raise InputError(msg) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}: " if mark else ""
        msg = f"{path}: {place}{getattr(error, 'problem', None) or 'no valid YAML'}"
        raise ConfigError(msg) from None


def _from_table(path: Path, name: str) -> Iterator[tuple[str, Figures]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path}: can't read the rules: {error}"
        raise InputError(msg) from error
    rows = csv.reader((line for line in lines if not line.startswith("#")), delimiter="\t", quoting=csv.QUOTE_NONE)
    head = next(rows, None)
    known = {*Figures.model_fields, "name", "gigabytes"}
    if not head or head[0] not in ("language_script", "language") or len(head) < 2:
        msg = f"{name}: the first line must name the columns: language_script, then figures, parted by tabs"
        raise ConfigError(msg)
    for column in head[1:]:
        if column not in known:
            msg = f"{name}: unknown column {column!r}{nearest(column, sorted(known))}"
            raise ConfigError(msg)
    for row in rows:
        if not row:
            continue
        where = f"{name}: {row[0]}"
        if len(row) > len(head):
            msg = f"{where}: {len(row)} cells in a line, and {len(head)} columns"
            raise ConfigError(msg)
        cells = [(name, cell) for name, cell in zip(head, row, strict=False) if name in Figures.model_fields and cell]
        yield row[0], _figures({column: _cell(column, cell, where) for column, cell in cells}, where)


def _cell(column: str, text: str, where: str) -> Any:
    """Return what a cell holds: a number, words parted by blanks, or pairs such as 2:0.184."""
    if column == "stopwords":
        return text.split()
    try:
        if column in _PAIRS:
            pairs = [pair.split(":") for pair in text.split()]
            return [(int(order), float(share)) for order, share in pairs]
        return float(text)
    except ValueError:
        msg = f"{where}: {column} is no number or list of pairs such as 2:0.184: {text!r}"
        raise ConfigError(msg) from None
