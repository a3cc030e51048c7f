"""The preset fineweb2 beside datatrove's filters with the same figures: what share each rejects, and how they agree.

    python benchmarks/language_rules.py [--documents 150] [--texts corpus.jsonl.zst]

Needs datatrove, spaCy and the tokenizers that datatrove assigns to the languages, as far as they are to be compared
(jieba, sudachipy, sudachidict_core, pythainlp, kiwipiepy, pyvi, indic-nlp-library). Prints a Markdown table.
"""

import argparse
import io
import json
import os
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import zstandard

from tamis.schemas.rule import Rule
from tamis.scorers.selection.rules import decide
from tamis.scorers.statistics.language_rules import (
    FIGURE_COLUMNS,
    Figures,
    LanguageTable,
    packaged_table,
    read_language_table,
)
from tamis.scorers.statistics.language_words import language_words
from tamis.scorers.statistics.text_statistics import Splitter, TextStatistics

LEAST_BYTES = 500
"""Shorter documents fall for their length whatever the language."""


def by_language(path: Path, table: LanguageTable, most: int) -> dict[str, list[str]]:
    """Return key of the table to texts, the first so many of each."""
    found: dict[str, list[str]] = defaultdict(list)
    with path.open("rb") as file:
        for line in io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), "utf-8"):
            record = json.loads(line)
            key = table.find(record["lang"])
            if key is not None and len(found[key]) < most and len(record["text"].encode()) >= LEAST_BYTES:
                found[key].append(record["text"])
    return found


def theirs(key: str, figures: Figures) -> Callable[[str], str | None]:
    """Return datatrove's decision, as FineWeb-2's pipeline asks for it: the reason, None if it keeps a text."""
    from datatrove.data import Document
    from datatrove.pipeline import filters
    from loguru import logger

    logger.remove()
    chain: list[Any] = [
        filters.GopherRepetitionFilter(
            language=key,
            dup_para_frac=0,
            dup_line_char_frac=0,
            dup_para_char_frac=0,
            dup_line_frac=figures.dup_line_frac,
            top_n_grams=figures.top_n_grams,
            dup_n_grams=figures.dup_n_grams,
        ),
        filters.FineWebQualityFilter(
            language=key,
            short_line_thr=999,
            char_duplicates_ratio=0.1,
            line_punct_thr=figures.line_punct_thr,
            new_line_ratio=figures.new_line_ratio,
        ),
        filters.GopherQualityFilter(
            language=key,
            max_avg_word_length=figures.max_avg_word_length,
            min_avg_word_length=figures.min_avg_word_length,
            stop_words=list(figures.stopwords),
            max_non_alpha_words_ratio=figures.max_non_alpha_words_ratio,
            min_stop_words=2,
        ),
    ]

    def reason(text: str) -> str | None:
        for step in chain:
            decision = step.filter(Document(text=text, id="0"))
            if decision is not True:
                return str(decision[1])
        return None

    return reason


def ours(key: str, figures: Figures, texts: list[str], splitter: Splitter) -> list[str | None]:
    """Return our decisions: the reason, None if a text is kept."""
    thresholds = figures.thresholds()
    rules = [
        Rule(column=column, op=op, threshold=thresholds[reason], reason=reason)
        for reason, (column, op) in FIGURE_COLUMNS.items()
        if reason in thresholds
    ]
    columns = list(dict.fromkeys(rule.column for rule in rules))
    words = language_words(key, splitter)
    found = TextStatistics(columns, words=words, stop_words=figures.stopwords).score(pa.array(texts))
    return [None if rule < 0 else rules[rule].reason for rule in decide(found, rules).rule]


def main() -> None:
    """Print a row a language."""
    folder = Path(os.environ.get("TAMIS_DEV_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
    parser = argparse.ArgumentParser()
    parser.add_argument("--texts", type=Path, default=folder / "dev.jsonl.zst")
    parser.add_argument("--documents", type=int, default=150)
    parser.add_argument("--least", type=int, default=20, help="documents that a language must have")
    parser.add_argument("--show", action="store_true", help="print decisions that differ")
    parser.add_argument("--language", action="append", help="of the table; all if absent")
    options = parser.parse_args()
    table = read_language_table(packaged_table(), "fineweb2")
    print("| language | documents | datatrove rejects | fast | decided alike | spacy | decided alike |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for key, texts in sorted(by_language(options.texts, table, options.documents).items()):
        if len(texts) < options.least or (options.language and key not in options.language):
            continue
        try:
            decide_one = theirs(key, table.figures[key])
            wanted = [decide_one(text) for text in texts]
        except Exception as error:  # noqa: BLE001  (a tokenizer that isn't installed)
            print(f"{key}: {' '.join(str(error).split())[:100]}", file=sys.stderr)
            continue
        cells = [key, str(len(texts)), f"{np.mean([w is not None for w in wanted]):.1%}"]
        splitters: tuple[Splitter, ...] = ("fast", "spacy")
        for splitter in splitters:
            found = ours(key, table.figures[key], texts, splitter)
            alike = np.mean([(w is None) == (f is None) for w, f in zip(wanted, found, strict=True)])
            cells += [f"{np.mean([f is not None for f in found]):.1%}", f"{alike:.1%}"]
            if options.show:
                differ = [(w, f) for w, f in zip(wanted, found, strict=True) if (w is None) != (f is None)]
                print(key, splitter, differ[:8], file=sys.stderr)
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
