"""The command line. Commands are thin, and import what they need when they run: `tamis --help` answers at once."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from tamis.jobs.cli.signals import end_by_signals
from tamis.pipeline.graph.quiet import debugging, silence_beam
from tamis.schemas.errors import ConfigError, TamisError

__all__ = ["app", "main"]

app = typer.Typer(
    name="tamis",
    help="Curate pretraining corpora: extract, identify languages, deduplicate, score and select, with every document "
    "accounted for.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
manifest_app = typer.Typer(help="Show, verify, compare and repeat finished runs.", no_args_is_help=True)
train_app = typer.Typer(help="Fit the models that steps use.", no_args_is_help=True)
app.add_typer(manifest_app, name="manifest")
app.add_typer(train_app, name="train")

Workers = Annotated[int, typer.Option("--workers", "-w", min=1, help="Local worker processes.")]
Runner = Annotated[str, typer.Option(help="Beam runner; FnApiRunner is local.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


def main() -> None:
    """Run the command line; a user's mistake is one sentence and an exit status, never a traceback."""
    debug = debugging()
    silence_beam()
    end_by_signals(sys.argv[1:])
    try:
        app()
    except ConfigError as error:
        if debug:
            raise
        _fail(str(error), 2)
    except TamisError as error:
        if debug:
            raise
        _fail(str(error), 1)
    except OSError as error:  # a full disk, a folder that can't be written
        if debug:
            raise
        _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error), 1)


def _fail(message: str, status: int) -> None:
    print(f"tamis: {message}", file=sys.stderr)  # noqa: T201
    sys.exit(status)


@app.command()
def version() -> None:
    """Print the version."""
    from tamis.jobs.provenance import version as installed

    typer.echo(installed())


@app.command()
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="The run's folder.")] = Path("runs/demo"),
    workers: Workers = 1,
) -> None:
    """Run the whole pipeline on the bundled sample, in about a minute."""
    from tamis.jobs.cli.demo import run_demo

    run_demo(str(output), workers)


@app.command()
def run(
    config: Annotated[str, typer.Argument(help="The config, a YAML file.")],
    beam_options: Annotated[list[str] | None, typer.Argument(help="Beam options, after --.")] = None,
    output: Annotated[str | None, typer.Option("--output", "-o", help="Overrides output.path.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="key=value, dotted; may be repeated.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh/--resume", help="Forget what earlier runs left, or go on.")] = False,
    workers: Workers = 1,
    runner: Runner = "FnApiRunner",
    as_json: AsJson = False,
) -> None:
    """Run a config from inputs to shards and manifest."""
    from tamis.jobs.cli.run_and_plan import run_config
    from tamis.jobs.config_file import load_config

    loaded, plain = load_config(config, set_ or ())
    options = _beam_options(beam_options or [])
    run_config(loaded, plain, output, workers=workers, runner=runner, options=options, fresh=fresh, as_json=as_json)


def _beam_options(options: list[str]) -> list[str]:
    named = [option for option in options if option.startswith("--runner")]
    if named:
        msg = f"{named[0]}: give --runner before the --, not among the Beam options"
        raise ConfigError(msg)
    strange = [option for option in options if not option.startswith("-")]
    if strange and strange[0] == options[0]:
        msg = f"unexpected argument {strange[0]!r}: Beam options go after --, such as -- --region=europe-west1"
        raise ConfigError(msg)
    return options


@app.command()
def plan(
    config: Annotated[str | None, typer.Argument(help="The config, a YAML file.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="key=value, dotted; may be repeated.")] = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the config's JSON Schema.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say what a run would do: files, steps, models with digests, memory. Runs nothing."""
    from tamis.jobs.cli.run_and_plan import config_schema, show_plan

    if schema:
        typer.echo(json.dumps(config_schema(), indent=1))
        return
    if config is None:
        msg = "tamis plan needs a config file, or --schema"
        raise ConfigError(msg)
    from tamis.jobs.config_file import load_config

    loaded, plain = load_config(config, set_ or ())
    show_plan(loaded, plain, as_json=as_json)


@app.command()
def score(
    files: Annotated[list[str], typer.Argument(help="Input files, folders or globs.")],
    step: Annotated[list[str], typer.Option("--step", help="A step as in the config: '{language: {}}'; repeatable.")],
    output: Annotated[str | None, typer.Option("--output", "-o", help="A .parquet, .csv or .jsonl file.")] = None,
    text: Annotated[str, typer.Option(help="The text field.")] = "text",
    id_: Annotated[str | None, typer.Option("--id", help="The field of the record's identity.")] = None,
    format_: Annotated[str | None, typer.Option("--format", help="Input format, if the suffix doesn't say.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Score so many documents only.")] = None,
    as_json: AsJson = False,
) -> None:
    """Score local files and print or write the columns."""
    from tamis.jobs.cli.score import score_files

    options: dict[str, Any] = {"text": text, "id": id_, "format": format_}
    score_files(files, step, options, output=output, limit=limit, as_json=as_json)


@app.command()
def sql(
    run_folder: Annotated[str, typer.Argument(metavar="RUN", help="A finished run's folder.")],
    query: Annotated[str | None, typer.Argument(help="SQL; without it a prompt opens.")] = None,
    format_: Annotated[str, typer.Option("--format", help="table, tsv, csv or json (lines).")] = "table",
    as_json: AsJson = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Print so many rows at most.")] = None,
) -> None:
    """Ask DuckDB about a run: views selected, rejected, errors, documents, shards, steps."""
    chosen = "json" if as_json else format_
    if query is None:
        from tamis.jobs.sql.prompt import prompt

        prompt(run_folder, format=chosen, limit=limit)
        return
    from tamis.jobs.sql.query import run_query

    run_query(run_folder, query, format=chosen, limit=limit)


RunFolder = Annotated[str, typer.Argument(metavar="RUN", help="A finished run's folder.")]


@manifest_app.command("show")
def manifest_show(run_folder: RunFolder, as_json: AsJson = False) -> None:
    """Summarise a run: its funnel, sources, inputs, models, shards."""
    from tamis.jobs.cli.manifest import show

    show(run_folder, as_json=as_json)


@manifest_app.command("verify")
def manifest_verify(
    run_folder: RunFolder,
    inputs: Annotated[bool, typer.Option("--inputs", help="Digest inputs and models too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Recompute digests, counts and the balance; exit status 1 if anything is off."""
    from tamis.jobs.cli.manifest import verify

    if not verify(run_folder, inputs=inputs, as_json=as_json).ok:
        raise typer.Exit(1)


@manifest_app.command("diff")
def manifest_diff(
    first: Annotated[str, typer.Argument(metavar="RUN", help="A finished run's folder.")],
    second: Annotated[str, typer.Argument(metavar="RUN", help="Another one.")],
    as_json: AsJson = False,
) -> None:
    """Say what differs between two runs, and why; exit status 1 if their shards differ."""
    from tamis.jobs.cli.manifest import diff

    if not diff(first, second, as_json=as_json).same_bytes:
        raise typer.Exit(1)


@manifest_app.command("rerun")
def manifest_rerun(
    run_folder: RunFolder,
    output: Annotated[str, typer.Option("--output", "-o", help="Where to; not the run's own folder.")],
    workers: Workers = 1,
    runner: Runner = "FnApiRunner",
    as_json: AsJson = False,
) -> None:
    """Run the recorded config again, and say whether the bytes agree; exit status 1 if not."""
    from tamis.jobs.cli.manifest import rerun

    if not rerun(run_folder, output, workers=workers, runner=runner, as_json=as_json).same:
        raise typer.Exit(1)


@train_app.command("dsir")
def train_dsir_command(
    raw: Annotated[list[str], typer.Option("--raw", help="Files of the raw pool; repeatable.")],
    target: Annotated[list[str], typer.Option("--target", help="Files of the target, or name=files; repeatable.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The model's folder.")],
    text: Annotated[str, typer.Option(help="The pool's text field.")] = "text",
    target_text: Annotated[str, typer.Option(help="The targets' text field.")] = "text",
    ngrams: Annotated[int, typer.Option(min=1, max=16)] = 2,
    buckets: Annotated[int, typer.Option(min=1)] = 10_000,
    hash_: Annotated[str, typer.Option("--hash", help="fast or sha256.")] = "fast",
    tokens: Annotated[str, typer.Option(help="wordpunct, words, or a tokenizer's file.")] = "wordpunct",
    smoothing: Annotated[float, typer.Option(min=0)] = 0.0,
    max_ngrams: Annotated[int | None, typer.Option(min=1, help="N-grams to fit each side on.")] = None,
) -> None:
    """Fit DSIR's ratio of target to raw pool, for `dsir: {model: FOLDER}`."""
    from tamis.jobs.train.dsir import features_from, targets_from, train_dsir

    train_dsir(
        raw,
        targets_from(target),
        str(output),
        features_from(ngrams, buckets, hash_, tokens),
        text=text,
        target_text=target_text,
        smoothing=smoothing,
        max_ngrams=max_ngrams,
    )


@train_app.command("lm")
def train_lm_command(
    files: Annotated[list[str], typer.Argument(help="Training documents: files, folders or globs.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The model's folder.")],
    text: Annotated[str, typer.Option(help="The text field.")] = "text",
    order: Annotated[int, typer.Option(min=1, max=6, help="The longest n-grams.")] = 5,
    normalizer: Annotated[str | None, typer.Option(help="ccnet, ccnet-blanks, none, ...; ccnet if absent.")] = None,
    mode: Annotated[str | None, typer.Option(help="ccnet, oscar or kenlm: how scoring counts.")] = None,
    policy: Annotated[str | None, typer.Option(help="document, lines or nonblank_lines: what a sentence is.")] = None,
    tokenizer: Annotated[Path | None, typer.Option(help="A SentencePiece model whose pieces are the words.")] = None,
    pieces: Annotated[int | None, typer.Option(min=8, help="Train such a model with so many pieces.")] = None,
    lmplz: Annotated[bool | None, typer.Option("--lmplz/--no-lmplz", help="Estimate with KenLM's lmplz.")] = None,
    keep_arpa: Annotated[bool, typer.Option("--arpa/--no-arpa", help="Keep the ARPA file too.")] = True,
    percentiles: Annotated[
        list[str] | None, typer.Option(help="Documents whose percentiles the model keeps, for buckets; repeatable.")
    ] = None,
    language_field: Annotated[str | None, typer.Option(help="Of those documents, for percentiles a language.")] = None,
    source_field: Annotated[str | None, typer.Option(help="Of those documents, for percentiles a source.")] = None,
    harmful: Annotated[bool, typer.Option("--harmful", help="A model of harmful text, with a threshold.")] = False,
    label: Annotated[str | None, typer.Option(help="With --harmful: the field that says so.")] = None,
    url_list: Annotated[str | None, typer.Option(help="With --harmful: a UT1 category (domains, urls).")] = None,
    group: Annotated[str | None, typer.Option(help="With --harmful: the field that isn't split; else hosts.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="With --harmful: of the split by host.")] = 0,
) -> None:
    """Train an n-gram model (KenLM's) of good or of harmful text, for `perplexity: {model: FOLDER}`."""
    from tamis.jobs.train.lm import add_percentiles, train_harmful_lm, train_quality_lm
    from tamis.pipeline.formats.options import ReadOptions

    options = ReadOptions(text=text)
    if harmful:
        given = {"normalizer": normalizer, "mode": mode, "policy": policy, "tokenizer": tokenizer, "pieces": pieces}
        named = [name for name, value in given.items() if value is not None]
        if named:
            msg = f"--{named[0]} doesn't go with --harmful, whose model reads raw text as OSCAR's does"
            raise ConfigError(msg)
        train_harmful_lm(
            files, output, options, label=label, url_list=url_list, group=group, order=order, seed=seed, use_lmplz=lmplz
        )
    else:
        train_quality_lm(
            files,
            output,
            options,
            order=order,
            normalizer=normalizer,
            mode=mode,
            policy=policy,
            tokenizer=tokenizer,
            pieces=pieces,
            use_lmplz=lmplz,
            keep_arpa=keep_arpa,
        )
    if percentiles:
        add_percentiles(output, percentiles, options, language=language_field, source=source_field)


@train_app.command("preselect")
def train_preselect_command(
    config: Annotated[str, typer.Argument(help="What to measure and train, a YAML file.")],
    output: Annotated[str | None, typer.Option("--output", "-o", help="The model's folder; overrides output.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="key=value, dotted; may be repeated.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh/--resume", help="Forget what earlier calls measured.")] = False,
    workers: Workers = 1,
    as_json: AsJson = False,
) -> None:
    """Measure language models on documents, and train the classifier of those that tell good models from bad."""
    from tamis.jobs.train.preselect import run_training

    run_training(config, set_ or (), output, workers=workers, fresh=fresh, as_json=as_json)
