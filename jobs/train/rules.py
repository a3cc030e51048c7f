"""`tamis train rules`: thresholds and stop words of a language or domain, from a clean reference corpus."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tamis.jobs.documents import Observer, ignore, texts
from tamis.jobs.provenance import version
from tamis.jobs.train.training_files import training_files
from tamis.pipeline.formats.options import ReadOptions
from tamis.schemas.base import nearest
from tamis.schemas.errors import ConfigError, DataError
from tamis.schemas.rule import Rule
from tamis.scorers.language.identify import LanguageIdentifier
from tamis.scorers.language.labels import LanguageLabels, parse_label
from tamis.scorers.selection.rules import decide
from tamis.scorers.statistics.language_rules import FIGURE_COLUMNS, Figures
from tamis.scorers.statistics.language_words import LanguageWords, language_words
from tamis.scorers.statistics.rule_fitting import (
    FITTED,
    METHODS,
    Fitted,
    Method,
    Numbers,
    WordCounter,
    fit_language_score,
    fitted_figures,
)
from tamis.scorers.statistics.text_statistics import Splitter, TextStatistics

__all__ = ["RuleShare", "RulesTraining", "methods_from", "train_rules"]

_COLUMNS = tuple(dict.fromkeys(column for column, _ in FIGURE_COLUMNS.values()))


@dataclass(frozen=True)
class RuleShare:
    """What one rule rejects.

    Attributes:
        reason: of the rule.
        threshold: what it holds documents against.
        method: how the threshold was found; None if it is the same for all languages.
        reference: the share of the reference that breaks it, whatever else it breaks.
        pool: the same of the pool; None if there is none.
    """

    reason: str
    threshold: float
    method: Method | None
    reference: float
    pool: float | None


@dataclass(frozen=True)
class RulesTraining:
    """Fitted rules.

    Attributes:
        path: the rules file.
        sha256: of its bytes.
        figures: what is in it.
        documents: how many documents the reference has.
        pool_documents: how many the pool has; None if there is none.
        rules: what each rule rejects, in the order of decision.
        reference: the share of the reference that any rule rejects.
        pool: the same of the pool.
    """

    path: Path
    sha256: str
    figures: Figures
    documents: int
    pool_documents: int | None
    rules: tuple[RuleShare, ...]
    reference: float
    pool: float | None


def methods_from(options: Sequence[str]) -> dict[str, Method]:
    """Return key to method from command-line options "method" (of all) and "key=method".

    Raises:
        ConfigError: for an unknown key or method.
    """
    found: dict[str, Method] = {}
    for option in sorted(options, key=lambda one: "=" in one):  # that of all first
        key, single, method = option.rpartition("=")
        if method not in METHODS:
            msg = f"--method {option}: unknown method {method!r}{nearest(method, list(METHODS))}"
            raise ConfigError(msg)
        if single and key not in FITTED:
            msg = f"--method {option}: unknown key {key!r}{nearest(key, list(FITTED))}"
            raise ConfigError(msg)
        for one in (key,) if single else FITTED:
            found[one] = method
    return found


def train_rules(
    reference: Sequence[str],
    path: Path,
    *,
    language: str,
    english: Sequence[str] = (),
    pool: Sequence[str] = (),
    methods: Mapping[str, Method],
    tail: float = 0.1,
    stop_word_share: float = 0.008,
    least_stop_words: int = 8,
    splitter: Splitter = "fast",
    model: Path | None = None,
    text: str = "text",
    observe: Observer = ignore,
) -> RulesTraining:
    """Fit rules to a clean reference corpus and write them as a file of the form of FineWeb-2's.

    Args:
        reference: files of clean text in the language.
        path: the rules file, `.yml`, `.yaml` or `.json`; its name is the label under which a config finds the rules.
        language: its label, in any form: whose words they are.
        english: files of English text of the same kind, for methods that compare with it.
        pool: files of the text that the rules are for.
        methods: key to method, of those that aren't to be fitted by the default one.
        tail: the share of the reference that the method `tail` leaves beyond a threshold.
        stop_word_share: words that make up so much of the reference's words are stop words.
        least_stop_words: so many there are at least.
        splitter: as of `heuristics`.
        model: of language identification, for `language_score`; lid.176 if None.
        text: the text field of all files.
        observe: told of records that can't be read.

    Raises:
        ConfigError: for a label that is none, or another suffix.
        DataError: if a corpus is empty, or a method can't be used.
        InputError: if files can't be read.
    """
    if parse_label(language) is None:
        msg = f"--language {language}: no label of a language, such as de or deu_Latn"
        raise ConfigError(msg)
    if path.suffix not in (".yml", ".yaml", ".json"):
        msg = f"{path}: rules are a .yml, .yaml or .json file, such as {language}.yml"
        raise ConfigError(msg)
    options = ReadOptions(text=text)
    words = language_words(language, splitter)
    counter = WordCounter(words)
    identifier = LanguageIdentifier(model)
    scores: list[Numbers] = []
    labels = LanguageLabels([language])
    found: list[pa.RecordBatch] = []
    for batch in texts(reference, options, "reference", observe=observe):
        counter.add(batch)
        found.append(_statistics(words, ()).score(batch))
        known = identifier.score(batch)
        mine = [labels.find(label) is not None for label in known.column("language").to_pylist()]
        scores.append(known.column("language_score").to_numpy()[np.array(mine, bool)].astype(np.float64))
    stop_words = counter.stop_words(stop_word_share, least_stop_words)
    compared = None
    if english:
        every = (
            _statistics(language_words("eng"), ()).score(batch)
            for batch in texts(english, options, "English text", observe=observe)
        )
        compared = _columns(every)
    sure = np.concatenate(scores)
    figures, fitted = fitted_figures(
        _columns(found),
        compared,
        methods,
        tail=tail,
        stop_words=stop_words,
        language_score=fit_language_score(sure) if len(sure) else None,
    )
    # Stop words weren't known when the statistics were made, so that all is read once more.
    shares, fell, documents = rule_shares(figures, words, texts(reference, options, "reference", observe=ignore))
    pool_shares, pool_fell, pool_documents = (
        rule_shares(figures, words, texts(pool, options, "pool", observe=observe)) if pool else ({}, None, None)
    )
    method = {one.reason: one.method for one in fitted}
    rules = tuple(
        RuleShare(reason, threshold, method.get(reason), shares[reason], pool_shares.get(reason) if pool else None)
        for reason, threshold in figures.thresholds().items()
    )
    told = {
        "made by": f"tamis train rules ({version()})",
        "language": language,
        "documents": documents,
        "tail": tail,
        "stop words": f"{stop_word_share:g} of all words, at least {least_stop_words}",
        "reference": training_files(reference),
        "english": training_files(english) if english else [],
    }
    content = _content(path, figures, fitted, told)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    sha256 = hashlib.sha256(content.encode()).hexdigest()
    return RulesTraining(path, sha256, figures, documents, pool_documents, rules, fell, pool_fell)


def rule_shares(
    figures: Figures, words: LanguageWords, batches: Iterable[pa.Array]
) -> tuple[dict[str, float], float, int]:
    """Return what share of texts each rule rejects whatever others do, what share any does, and their number.

    Args:
        figures: of the language.
        words: of the language.
        batches: the texts, at least one.
    """
    rules = [
        Rule(column=FIGURE_COLUMNS[reason][0], op=FIGURE_COLUMNS[reason][1], threshold=threshold, reason=reason)
        for reason, threshold in figures.thresholds().items()
    ]
    scorer = _statistics(words, figures.stopwords)
    broken = dict.fromkeys(figures.thresholds(), 0)
    fell = documents = 0
    for batch in batches:
        columns = scorer.score(batch)
        documents += columns.num_rows
        fell += int((decide(columns, rules).rule >= 0).sum())
        for rule in rules:
            broken[rule.reason] += int((decide(columns, [rule]).rule >= 0).sum())
    if documents == 0:
        msg = "no document"
        raise DataError(msg)
    return {reason: number / documents for reason, number in broken.items()}, fell / documents, documents


def _statistics(words: LanguageWords, stop_words: Sequence[str]) -> TextStatistics:
    return TextStatistics(_COLUMNS, words=words, stop_words=stop_words)


def _columns(batches: Iterable[pa.RecordBatch]) -> dict[str, Numbers]:
    table = pa.Table.from_batches(list(batches))
    return {name: table.column(name).to_numpy().astype(np.float64) for name in table.schema.names}


def _content(path: Path, figures: Figures, fitted: Sequence[Fitted], told: Mapping[str, Any]) -> str:
    """Return the file: the keys that differ from what is the same for all languages, and how they were found."""
    plain = figures.model_dump(mode="json", exclude_defaults=True)
    if path.suffix == ".json":
        return json.dumps(plain, ensure_ascii=False, indent=1, sort_keys=True) + "\n"
    import yaml

    methods = {one.reason: one.method for one in fitted}
    lines = [f"# {key}: {json.dumps(value, ensure_ascii=False)}" for key, value in told.items() if value]
    lines.append(f"# methods: {json.dumps(methods)}")
    return "\n".join(lines) + "\n" + yaml.safe_dump(plain, allow_unicode=True, sort_keys=True)
