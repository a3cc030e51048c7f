"""The rule presets: published filters as tables of rules over the `text_*` columns.

`gopher_quality`, `gopher_repetition`, `c4` and `fineweb` follow the wording of the papers:

* Gopher: Rae et al. 2021, "Scaling Language Models", section A1.1 and table A1;
* C4: Raffel et al. 2020, "Exploring the Limits of Transfer Learning", section 2.2 (its list of bad words
  isn't shipped: see the `bad_words` option of the text statistics);
* FineWeb: Penedo et al. 2024, "The FineWeb Datasets", section 3.6 (the three filters that were kept).

Gopher's paper can be read in two ways. It asks for "the fraction of characters contained within all duplicate n-grams,
taking care not to count characters that occur in overlapping n-grams more than once", and of lines and paragraphs for
the fraction "that are duplicates". `gopher_repetition` takes it at its word: a duplicate n-gram is one that occurs more
than once, and all its occurrences count, the first one too. `gopher_repetition_later` counts occurrences after the
first alone, as datatrove's code does, and so rejects much less of texts with formulas or refrains, such as laws; words,
lines and characters are those of the paper's statistics, where `datatrove_gopher_repetition` is datatrove's decision to
the letter. The most frequent n-grams are the same in both: all their occurrences count.

The `datatrove_*` presets reproduce the decisions of datatrove's filters with their default options, in the
order in which they are checked and under the same reasons. `datatrove_c4_fineweb` is its C4 filter as
FineWeb was made with: lines needn't end in punctuation.
"""

from tamis.schemas.rule import Op, Rule

__all__ = ["ABOUT", "ENGLISH", "PRESETS"]


def _rules(prefix: str, *rows: tuple[str, Op, float, str]) -> tuple[Rule, ...]:
    return tuple(
        Rule(column=f"{prefix}{column}", op=op, threshold=threshold, reason=reason)
        for column, op, threshold, reason in rows
    )


_TOP_NGRAMS = ((2, 0.20), (3, 0.18), (4, 0.16))
_DUPLICATE_NGRAMS = ((5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.10))
"""Order and largest share of the characters, table A1 of Rae et al. 2021."""


PRESETS: dict[str, tuple[Rule, ...]] = {
    "gopher_quality": _rules(
        "text_",
        ("words", "min", 50, "min_word_count"),
        ("words", "max", 100_000, "max_word_count"),
        ("mean_word_length", "min", 3, "min_mean_word_length"),
        ("mean_word_length", "max", 10, "max_mean_word_length"),
        ("hash_word_ratio", "max", 0.1, "max_hash_word_ratio"),
        ("ellipsis_word_ratio", "max", 0.1, "max_ellipsis_word_ratio"),
        ("bullet_line_fraction", "max", 0.9, "max_bullet_line_fraction"),
        ("ellipsis_line_fraction", "max", 0.3, "max_ellipsis_line_fraction"),
        ("alphabetic_word_fraction", "min", 0.8, "min_alphabetic_word_fraction"),
        ("stop_words", "min", 2, "min_stop_words"),
    ),
    "gopher_repetition": _rules(
        "text_",
        ("duplicate_line_fraction", "max", 0.30, "max_duplicate_line_fraction"),
        ("duplicate_paragraph_fraction", "max", 0.30, "max_duplicate_paragraph_fraction"),
        ("duplicate_line_char_fraction", "max", 0.20, "max_duplicate_line_char_fraction"),
        ("duplicate_paragraph_char_fraction", "max", 0.20, "max_duplicate_paragraph_char_fraction"),
        *((f"top_{n}_gram_char_fraction", "max", most, f"max_top_{n}_gram_char_fraction") for n, most in _TOP_NGRAMS),
        *(
            (f"duplicate_{n}_gram_char_fraction", "max", most, f"max_duplicate_{n}_gram_char_fraction")
            for n, most in _DUPLICATE_NGRAMS
        ),
    ),
    "gopher_repetition_later": _rules(
        "text_",
        ("repeat_line_fraction", "max", 0.30, "max_repeat_line_fraction"),
        ("repeat_paragraph_fraction", "max", 0.30, "max_repeat_paragraph_fraction"),
        ("repeat_line_char_fraction", "max", 0.20, "max_repeat_line_char_fraction"),
        ("repeat_paragraph_char_fraction", "max", 0.20, "max_repeat_paragraph_char_fraction"),
        *((f"top_{n}_gram_char_fraction", "max", most, f"max_top_{n}_gram_char_fraction") for n, most in _TOP_NGRAMS),
        *(
            (f"repeat_{n}_gram_char_fraction", "max", most, f"max_repeat_{n}_gram_char_fraction")
            for n, most in _DUPLICATE_NGRAMS
        ),
    ),
    "c4": _rules(
        "text_c4_",
        ("lorem_ipsum", "max", 0, "lorem_ipsum"),
        ("curly_brackets", "max", 0, "curly_bracket"),
        ("sentences", "min", 3, "min_sentences"),
    ),
    "fineweb": _rules(
        "text_",
        ("terminal_line_fraction", "above", 0.12, "min_terminal_line_fraction"),
        ("duplicate_line_char_fraction", "below", 0.10, "max_duplicate_line_char_fraction"),
        ("short_line_fraction", "below", 0.67, "max_short_line_fraction"),
    ),
    "datatrove_gopher_quality": _rules(
        "text_datatrove_",
        ("words", "min", 50, "gopher_short_doc"),
        ("words", "max", 100_000, "gopher_long_doc"),
        ("mean_word_length", "min", 3, "gopher_below_avg_threshold"),
        ("mean_word_length", "max", 10, "gopher_above_avg_threshold"),
        ("hash_token_ratio", "max", 0.1, "gopher_too_many_hashes"),
        ("ellipsis_token_ratio", "max", 0.1, "gopher_too_many_ellipsis"),
        ("bullet_line_fraction", "max", 0.9, "gopher_too_many_bullets"),
        ("ellipsis_line_fraction", "max", 0.3, "gopher_too_many_end_ellipsis"),
        ("alphabetic_token_fraction", "min", 0.8, "gopher_below_alpha_threshold"),
        ("stop_words", "min", 2, "gopher_enough_stop_words"),
    ),
    "datatrove_gopher_repetition": _rules(
        "text_datatrove_",
        ("characters", "min", 1, "empty"),
        ("duplicate_paragraph_fraction", "max", 0.30, "dup_para_frac"),
        ("duplicate_paragraph_char_fraction", "max", 0.20, "dup_para_char_frac"),
        ("duplicate_line_fraction", "max", 0.30, "dup_line_frac"),
        ("duplicate_line_char_fraction", "max", 0.20, "dup_line_char_frac"),
        *((f"top_{n}_gram_char_fraction", "max", most, f"top_{n}_gram") for n, most in _TOP_NGRAMS),
        *(
            (f"duplicate_{n}_gram_char_fraction", "max", most, f"duplicated_{n}_n_grams")
            for n, most in _DUPLICATE_NGRAMS
        ),
    ),
    "datatrove_c4": _rules(
        "text_datatrove_c4_",
        ("lorem_ipsum", "max", 0, "lorem_ipsum"),
        ("curly_bracket", "max", 0, "curly_bracket"),
        ("sentences", "min", 5, "too_few_sentences"),
    ),
    "datatrove_c4_fineweb": _rules(
        "text_datatrove_c4_fineweb_",
        ("lorem_ipsum", "max", 0, "lorem_ipsum"),
        ("curly_bracket", "max", 0, "curly_bracket"),
        ("sentences", "min", 5, "too_few_sentences"),
    ),
    "datatrove_fineweb": _rules(
        "text_datatrove_fineweb_",
        ("lines", "min", 1, "empty"),
        ("terminal_line_fraction", "min", 0.12, "line_punct_ratio"),
        ("short_line_fraction", "max", 0.67, "short_line_ratio"),
        ("duplicate_line_char_fraction", "max", 0.01, "char_dup_ratio"),
        ("newline_token_ratio", "max", 0.3, "list_ratio"),
    ),
}
"""Preset name to its rules, in the order in which they are checked."""

ABOUT: dict[str, str] = {
    "gopher_quality": "Rae et al. 2021 (arXiv:2112.11446), section A1.1",
    "gopher_repetition": "Rae et al. 2021, table A1, by its wording: of what is there twice all occurrences count",
    "gopher_repetition_later": "Rae et al. 2021, table A1, as datatrove reads it: occurrences after the first count; "
    "it rejects less of texts with formulas or refrains",
    "c4": "Raffel et al. 2020 (arXiv:1910.10683), section 2.2",
    "fineweb": "Penedo et al. 2024 (arXiv:2406.17557), section 3.6",
    "datatrove_gopher_quality": "the decisions of datatrove's GopherQualityFilter, version 0.10",
    "datatrove_gopher_repetition": "the decisions of datatrove's GopherRepetitionFilter, version 0.10",
    "datatrove_c4": "the decisions of datatrove's C4QualityFilter, version 0.10",
    "datatrove_c4_fineweb": "the same, lines needn't end in punctuation: as FineWeb was made",
    "datatrove_fineweb": "the decisions of datatrove's FineWebQualityFilter, version 0.10",
}
"""Where the presets come from, and how they read it."""

ENGLISH: dict[str, str] = {
    "gopher_quality": "its stop words are English ones, and its bounds of word length too",
    "c4": "its sentences end as English ones do",
    "fineweb": "its thresholds were found on English pages",
    "datatrove_gopher_quality": "its stop words and its words are English ones",
    "datatrove_gopher_repetition": "its words are English ones",
    "datatrove_c4": "its sentences are English ones",
    "datatrove_c4_fineweb": "its sentences are English ones",
    "datatrove_fineweb": "its thresholds were found on English pages",
}
"""The presets that are meant for English, and why: of other languages they may reject nearly all."""
