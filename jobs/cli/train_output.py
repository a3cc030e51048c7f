"""Carries out `tamis train`: calls the training with progress and observers, and says what came of it."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from tamis.jobs.cli.console import RunProgress, out_console, print_json, say
from tamis.jobs.cli.layout import Column, print_rows
from tamis.jobs.cli.problems import Problems
from tamis.jobs.cli.text import counted, harmless
from tamis.jobs.train.dsir import DsirTraining, features_from, targets_from, train_dsir
from tamis.jobs.train.lm import add_percentiles, train_harmful_lm, train_quality_lm
from tamis.jobs.train.preselect import LOSSES, WORK, PreselectResult, load_training, train_preselect
from tamis.jobs.train.proxy import TrainedProxy, train_proxy
from tamis.jobs.train.rules import RulesTraining, methods_from, train_rules
from tamis.pipeline.formats.options import ReadOptions
from tamis.pipeline.graph.engine import Engine
from tamis.pipeline.storage import filesystem
from tamis.schemas.errors import ConfigError
from tamis.scorers.causal.training import TrainingOptions
from tamis.scorers.models.folder import read_model_folder
from tamis.scorers.perplexity.calibration import Metrics
from tamis.scorers.perplexity.harmful import TrainedHarmful
from tamis.scorers.perplexity.training import TrainedModel
from tamis.scorers.preselect.train import NEGATIVE, POSITIVE
from tamis.scorers.statistics.text_statistics import Splitter

__all__ = ["dsir", "lm", "preselect", "proxy", "rules"]

FEWEST_PIECES = 8


def dsir(
    raw: Sequence[str],
    target: Sequence[str],
    folder: Path,
    *,
    text: str,
    target_text: str,
    ngrams: int,
    buckets: int,
    hash_: str,
    tokens: str,
    smoothing: float,
    max_ngrams: int | None,
    as_json: bool = False,
    quiet: bool = False,
) -> None:
    """Carry out `tamis train dsir`; the options are those of `train_dsir` and `features_from`.

    Raises:
        TamisError: whatever stopped it, in a sentence.
    """
    targets = targets_from(target)
    features = features_from(ngrams, buckets, hash_, tokens)
    with Problems(progress=not quiet) as problems:
        trained = train_dsir(
            raw,
            targets,
            str(folder),
            features,
            text=text,
            target_text=target_text,
            smoothing=smoothing,
            max_ngrams=max_ngrams,
            observe=problems,
        )
    if as_json:
        print_json(_dsir_told(trained, folder, problems.count))
    if as_json or quiet:
        return
    total = sum(trained.target_ngrams.values())
    say(f"{harmless(folder)}: {counted(trained.pool_ngrams, 'n-gram')} of the pool, {total:,} of targets")
    say(f"Use it: dsir: {{model: {harmless(folder)}, keep: {{fraction: 0.5}}}}")


def _dsir_told(trained: DsirTraining, folder: Path, unreadable: int) -> dict[str, Any]:
    return {
        "folder": str(folder),
        "sha256": trained.folder.digest,
        "pool_ngrams": trained.pool_ngrams,
        "target_ngrams": dict(trained.target_ngrams),
        "unreadable": unreadable,
    }


def lm(
    files: Sequence[str],
    folder: Path,
    *,
    text: str,
    order: int | None,
    quality: dict[str, Any],
    harmful: dict[str, Any] | None,
    use_lmplz: bool | None,
    keep_arpa: bool,
    percentiles: Sequence[str] = (),
    language_field: str | None = None,
    source_field: str | None = None,
    as_json: bool = False,
    quiet: bool = False,
) -> None:
    """Carry out `tamis train lm`.

    Args:
        files: training documents.
        folder: the model's folder.
        text: the text field.
        order: the longest n-grams; the model's default if None.
        quality: options of `train_quality_lm`; None where not given.
        harmful: options of `train_harmful_lm`, for such a model; None for one of good text.
        use_lmplz: estimate with KenLM's lmplz; None decides by size.
        keep_arpa: keep the ARPA file too.
        percentiles: documents whose percentiles the model keeps.
        language_field: their field of the language.
        source_field: their field of the source.
        as_json: print JSON.
        quiet: print nothing but problems.

    Raises:
        TamisError: whatever stopped it, in a sentence.
    """
    options = ReadOptions(text=text)
    contrast = harmful is not None and harmful["contrast"]
    order = order or (3 if contrast else 5)
    if (pieces := quality.get("pieces")) is not None and pieces < FEWEST_PIECES and (pieces or not contrast):
        msg = f"--pieces {pieces}: a tokenizer has {FEWEST_PIECES} at least" + (
            " (0 stands for words)" if contrast else ""
        )
        raise ConfigError(msg)
    told: dict[str, Any] = {"folder": str(folder), "order": order}
    lines: list[str] = []
    with Problems(progress=not quiet) as problems:
        if harmful is not None:
            named = {name: value for name, value in quality.items() if value is not None}
            shared = {name: named.pop(name) for name in ("normalizer", "tokenizer", "pieces") if name in named}
            if named or (shared and not contrast):
                told_option = next(iter(named or shared))
                msg = f"--{told_option} doesn't go with --harmful, whose model reads raw text as OSCAR's does"
                if not named:
                    msg += "; it goes with --contrast"
                raise ConfigError(msg)
            found = train_harmful_lm(
                files, folder, options, order=order, use_lmplz=use_lmplz, observe=problems, **shared, **harmful
            )
            told |= _harmful_told(found)
            lines += _harmful_lines(found, folder)
        else:
            model = train_quality_lm(
                files,
                folder,
                options,
                order=order,
                use_lmplz=use_lmplz,
                keep_arpa=keep_arpa,
                observe=problems,
                **quality,
            )
            told |= {
                "documents": model.documents,
                "tokens": model.details.tokens,
                "estimator": model.details.estimator,
            }
            lines.append(_quality_line(model, folder, order))
        if percentiles:
            sample = add_percentiles(
                folder, percentiles, options, language=language_field, source=source_field, observe=problems
            )
            told["percentile_documents"] = sample
            lines.append(f"{folder}: percentiles of {counted(sample, 'document')}")
    if as_json:  # percentiles are part of the folder, so that its digest is taken last
        print_json(told | {"sha256": read_model_folder(folder, verify=False).digest, "unreadable": problems.count})
    for line in lines if not (as_json or quiet) else ():
        say(harmless(line))


def _quality_line(model: TrainedModel, folder: Path, order: int) -> str:
    details = model.details
    tokens = "" if details.tokens is None else f", {counted(details.tokens, 'token')}"
    documents = counted(model.documents, "document")
    return f"{folder}: order {order}, {documents}{tokens}, estimated by {details.estimator}"


def _harmful_told(found: TrainedHarmful) -> dict[str, Any]:
    measured = {"validation": found.validation, "test": found.test}
    return {
        "threshold": found.threshold,
        **({} if found.clean is None else {"against": str(found.clean.folder.path)}),
        "documents": {split: list(numbers) for split, numbers in found.documents.items()},
        **{name: None if metrics is None else dataclasses.asdict(metrics) for name, metrics in measured.items()},
    }


def _harmful_lines(found: TrainedHarmful, folder: Path) -> list[str]:
    said = f"{folder}: harmful is a perplexity below {found.threshold:.6g}"
    if found.clean is not None:
        said = f"{folder}: harmful is a log ratio to {found.clean.folder.path} above {found.threshold:.6g}"
    return [
        said,
        *(f"{name}: {_measured(m)}" for name, m in (("validation", found.validation), ("test", found.test))),
        f"the distributions of both classes: {folder / 'perplexity.svg'}",
    ]


def _measured(metrics: Metrics | None) -> str:
    if metrics is None:
        return "no documents of both kinds, so nothing was measured: give more hosts, or another split"
    return (
        f"AUC {metrics.auc:.3f}; macro-F1 {metrics.macro_f1:.3f}; harmful: precision {metrics.harmful_precision:.3f}, "
        f"recall {metrics.harmful_recall:.3f} of {metrics.harmful:,}; clean: precision {metrics.clean_precision:.3f}, "
        f"recall {metrics.clean_recall:.3f} of {metrics.clean:,}"
    )


def preselect(
    path: str,
    overrides: Sequence[str],
    output: str | None,
    *,
    workers: int = 1,
    fresh: bool = False,
    as_json: bool = False,
    quiet: bool = False,
) -> PreselectResult:
    """Carry out `tamis train preselect`, with progress on stderr and a summary on stdout.

    Raises:
        TamisError: whatever stopped it, in a sentence.
    """
    config = load_training(path, overrides)
    folder = output or config.output
    progress = RunProgress(quiet=quiet)
    engine = Engine(filesystem.join(folder, WORK, "passes"), workers=workers, progress=progress)
    result = train_preselect(config, engine, folder, fresh=fresh, config_file=path)
    if as_json:
        print_json(_preselect_told(result, folder))
    elif not quiet:
        _print_preselect(result, folder)
    return result


def _measured_models(result: PreselectResult) -> list[dict[str, Any]]:
    return [
        {
            "model": one.name,
            "documents": one.losses.num_rows,
            "tokens": pc.sum(one.losses.column("tokens")).as_py(),
            "bits_per_character": pc.mean(one.losses.column("bits_per_character")).as_py(),
            "new_tokens": one.new_tokens,
            "device": one.device,
            "tokens_per_second": one.tokens_per_second,
        }
        for one in result.measured
    ]


def _preselect_told(result: PreselectResult, folder: str) -> dict[str, Any]:
    report = result.report
    return {
        "folder": folder,
        "sha256": report.sha256,
        "documents": result.documents,
        "unreadable": result.unreadable,
        "strength_1": result.positives,
        "examples": dict(report.labels),
        "held_out": report.held_out,
        "accuracy": report.accuracy,
        "models": _measured_models(result),
    }


def _print_preselect(result: PreselectResult, folder: str) -> None:
    report = result.report
    names = ("model", "tokens", "bits per character", "measured now", "tokens/s per core or GPU")
    rows = []
    for row in _measured_models(result):
        speed = "" if row["device"] is None else f"{row['tokens_per_second']:,.0f} ({row['device']})"
        numbers = (f"{row['tokens']:,}", f"{row['bits_per_character']:.3f}", f"{row['new_tokens']:,}")
        rows.append([row["model"], *numbers, speed])
    print_rows(out_console(), [Column(name, right=name != "model") for name in names], rows)
    if result.unreadable:
        say(f"{counted(result.unreadable, 'record')} of the inputs couldn't be read")
    say(
        f"{counted(result.documents, 'document')} measured, {result.positives:,} of strength 1; "
        f"{report.labels[POSITIVE]:,} positive and {report.labels[NEGATIVE]:,} negative examples"
    )
    accuracy = "none held out" if report.accuracy is None else f"{report.accuracy:.1%} of {report.held_out:,} held out"
    say(f"accuracy: {accuracy}")
    shown = harmless(folder)
    say(f"Use it: preselect: {{model: {shown}}}; look inside: {shown}/{LOSSES}")


def proxy(
    files: Sequence[str],
    folder: Path,
    model: dict[str, Any],
    *,
    text: str,
    most: int,
    threads: int,
    as_json: bool = False,
    quiet: bool = False,
) -> TrainedProxy:
    """Carry out `tamis train proxy`; the options are those of `TrainingOptions` and `train_proxy`.

    Raises:
        TamisError: whatever stopped it, in a sentence.
    """
    options = TrainingOptions(**model)
    with Problems(progress=not quiet) as problems:
        trained = train_proxy(files, folder, options, text=text, most=most, threads=threads, observe=problems)
    told = {
        "folder": str(folder),
        "sha256": trained.folder.digest,
        "documents": trained.documents,
        "parameters": trained.parameters,
        "nats_a_token": trained.loss,
        "bits_a_byte": trained.bits_per_byte,
        "unreadable": problems.count,
    }
    if as_json:
        print_json(told)
    elif not quiet:
        loss = "none held out" if trained.loss is None else f"{trained.loss:.3f} nats a token held out"
        bits = "" if trained.bits_per_byte is None else f", {trained.bits_per_byte:.3f} bits a byte"
        say(
            f"{harmless(folder)}: {trained.parameters / 1e6:,.2f} M parameters, trained on "
            f"{counted(trained.documents, 'document')}; {loss}{bits}"
        )
        say(f"Use it: quad: {{proxy: {harmless(folder)}, reference: FILES, fraction: 0.1}}")
    return trained


def rules(
    files: Sequence[str],
    path: Path,
    *,
    method: Sequence[str],
    english: Sequence[str],
    splitter: str,
    as_json: bool = False,
    quiet: bool = False,
    **options: Any,
) -> None:
    """Carry out `tamis train rules`; further options are those of `train_rules`.

    Raises:
        TamisError: whatever stopped it, in a sentence.
    """
    splitters: dict[str, Splitter] = {"fast": "fast", "spacy": "spacy"}
    if splitter not in splitters:
        msg = f"--splitter {splitter}: fast or spacy"
        raise ConfigError(msg)
    methods = methods_from(method)
    with Problems(progress=not quiet) as problems:
        trained = train_rules(
            files, path, english=english, methods=methods, splitter=splitters[splitter], observe=problems, **options
        )
    if as_json:
        print_json(_rules_told(trained) | {"unreadable": problems.count})
    elif not quiet:
        _print_rules(trained)


def _rules_told(trained: RulesTraining) -> dict[str, Any]:
    return {
        "path": str(trained.path),
        "sha256": trained.sha256,
        "documents": trained.documents,
        "pool_documents": trained.pool_documents,
        "rejects": {"reference": trained.reference, "pool": trained.pool},
        "rules": [dataclasses.asdict(rule) for rule in trained.rules],
        "stop_words": list(trained.figures.stopwords),
        "language_score": trained.figures.language_score,
    }


def _print_rules(trained: RulesTraining) -> None:
    columns = [Column("rule"), Column("threshold", right=True), Column("method"), Column("reference", right=True)]
    columns += [Column("pool", right=True)] if trained.pool is not None else []
    rows = []
    for rule in trained.rules:
        row = [rule.reason, f"{rule.threshold:g}", rule.method or "", f"{rule.reference:.1%}"]
        rows.append([*row, f"{rule.pool:.1%}"] if rule.pool is not None else row)
    last = ["any of them", "", "", f"{trained.reference:.1%}"]
    rows.append([*last, f"{trained.pool:.1%}"] if trained.pool is not None else last)
    print_rows(out_console(), columns, rows, title="What each rule rejects")
    say()
    pool = "" if trained.pool_documents is None else f", {counted(trained.pool_documents, 'document')} of the pool"
    say(f"{counted(trained.documents, 'document')} of reference{pool}")
    say(harmless(f"stop words: {' '.join(trained.figures.stopwords)}"))
    if trained.figures.language_score is not None:
        say(f"language_score: {trained.figures.language_score:g}")
    say(harmless(f"Use it: heuristics: {{rules: {trained.path}}}"))
