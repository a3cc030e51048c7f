"""The command line. Commands are thin, and import what they need when they run: `tamis --help` answers at once."""

import json
import shutil
import sys
import textwrap
from pathlib import Path
from typing import Annotated, Any

import typer

from tamis.jobs.cli.manifest import manifest_app
from tamis.jobs.cli.mix import mix_app
from tamis.jobs.cli.options import (
    AsJson,
    BeamOptions,
    Fresh,
    Output,
    Quiet,
    RunFolder,
    Runner,
    Set,
    Workers,
    checked_beam_options,
    examples,
    group,
)
from tamis.jobs.cli.quad import quad_app
from tamis.jobs.cli.signals import end_by_signals
from tamis.jobs.cli.text import harmless
from tamis.jobs.cli.train import train_app
from tamis.jobs.cli.warnings_told import told_warnings
from tamis.pipeline.graph.quiet import debugging, silence_beam
from tamis.pipeline.graph.start_up import starting
from tamis.schemas.errors import ConfigError, TamisError
from tamis.schemas.secrets import redacted

__all__ = ["app", "main"]

app = group(
    "tamis",
    about="Curate pretraining corpora: extract, identify languages, deduplicate, score and select, with every document "
    "accounted for.",
    epilog=examples("tamis demo", "tamis run corpus.yaml --workers 4", "tamis sql runs/demo", "tamis run --help"),
    completion=True,
)
app.add_typer(manifest_app, name="manifest")
app.add_typer(mix_app, name="mix")
app.add_typer(train_app, name="train")
app.add_typer(quad_app, name="quad")


def main() -> None:
    """Run the command line; a user's mistake is one sentence and an exit status, never a traceback."""
    starting()
    debug = debugging()
    silence_beam()
    end_by_signals(sys.argv[1:])
    try:
        with told_warnings():
            app(prog_name="tamis")
    except ConfigError as error:
        if debug:
            raise
        _fail(str(error), 2)
    except TamisError as error:
        if debug:
            raise
        _fail(str(error), 1)
    except UnicodeEncodeError as error:  # CSV, say, on a terminal that isn't UTF-8
        if debug:
            raise
        told = f"the output's encoding, {error.encoding}, lacks a character that was to be written"
        _fail(f"{told}: set PYTHONIOENCODING=utf-8", 1)
    except OSError as error:  # a full disk, a folder that can't be written
        if debug:
            raise
        _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error), 1)
    except Exception:  # whatever it is, its text may hold credentials
        if debug:
            raise
        _unforeseen()


def _unforeseen() -> None:
    """Tell of a fault of Tamis with all that helps to find it, but no credentials of addresses."""
    import traceback

    print(harmless(redacted(traceback.format_exc().rstrip()), lines=True), file=sys.stderr)  # noqa: T201
    _fail("this is a fault of tamis: please report it, with what is above", 1)


def _fail(message: str, status: int) -> None:
    told = f"tamis: {harmless(redacted(message), lines=True)}"
    if sys.stderr.isatty():  # folded between words, without Rich: a mistake is told at once
        room = shutil.get_terminal_size().columns
        folded = textwrap.TextWrapper(room, break_long_words=False, break_on_hyphens=False, replace_whitespace=False)
        told = "\n".join(folded.fill(line) for line in told.split("\n"))
    print(told, file=sys.stderr)  # noqa: T201
    sys.exit(status)


def _print_version(wanted: bool) -> None:
    if wanted:
        from tamis.jobs.provenance import version as installed

        typer.echo(f"tamis {installed()}")
        raise typer.Exit


@app.callback()
def start(
    _version: Annotated[
        bool, typer.Option("--version", "-V", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Take the options that stand before the command."""


@app.command(short_help="Print the version.")
def version() -> None:
    """Print the version alone, for scripts."""
    from tamis.jobs.provenance import version as installed

    typer.echo(installed())


@app.command(
    short_help="Run the whole pipeline on the bundled sample.",
    epilog=examples("tamis demo", "tamis demo --output runs/first --workers 2"),
)
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="The run's folder.")] = Path(
        "runs/demo"
    ),
    workers: Workers = 1,
    quiet: Quiet = False,
) -> None:
    """Run the whole pipeline on the bundled sample, in about a minute."""
    from tamis.jobs.cli.demo import run_demo

    run_demo(str(output), workers, quiet=quiet)


@app.command(
    short_help="Run a config from inputs to shards and manifest.",
    epilog=examples(
        "tamis run corpus.yaml --workers 4",
        "tamis run corpus.yaml --set steps.language.min_score=0.8 -o b --cache runs/a",
        "tamis run gs://b/c.yaml --runner DataflowRunner -- --region=europe-west1",
    ),
)
def run(
    config: Annotated[str, typer.Argument(metavar="CONFIG", help="The config, a YAML file.")],
    beam_options: BeamOptions = None,
    output: Output = None,
    set_: Set = None,
    fresh: Fresh = False,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a finished run of another config.")] = False,
    cache: Annotated[
        str | None,
        typer.Option("--cache", metavar="DIR", help="Finished stages for several runs; or a run's folder."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="A trial over N documents, drawn at random.")
    ] = None,
    workers: Workers = 1,
    runner: Runner = "FnApiRunner",
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow a job on Dataflow, or let it go.")] = True,
    cancel_on_stop: Annotated[
        bool, typer.Option("--cancel-on-stop", help="Ctrl-C cancels the Dataflow job that is followed.")
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Run a config from inputs to shards and manifest."""
    from tamis.jobs.cli.run_and_plan import run_config
    from tamis.jobs.config_file import load_config

    loaded, plain = load_config(config, [*(set_ or ()), *([f"limit={limit}"] if limit is not None else [])])
    options = checked_beam_options(beam_options or [])
    run_config(
        loaded,
        plain,
        output,
        config_file=config,
        workers=workers,
        runner=runner,
        options=options,
        fresh=fresh,
        replace=replace,
        cache=cache,
        limit=limit,
        wait=wait,
        cancel_on_stop=cancel_on_stop,
        as_json=as_json,
        quiet=quiet,
    )


@app.command(
    short_help="Take new files into a corpus as they come.",
    epilog=examples(
        "tamis watch corpus.yaml",
        "tamis watch corpus.yaml --every 10m --workers 4",
        "tamis watch corpus.yaml --quiet --output gs://b/corpus",
    ),
)
def watch(
    config: Annotated[str, typer.Argument(metavar="CONFIG", help="The config, a YAML file.")],
    beam_options: BeamOptions = None,
    output: Output = None,
    set_: Set = None,
    every: Annotated[
        str | None, typer.Option(metavar="TIME", help="Look again after 30s, 10m, 1h, 1d; else once.")
    ] = None,
    new_config: Annotated[
        bool, typer.Option("--new-config", help="Go on where the config decides otherwise now.")
    ] = False,
    workers: Workers = 1,
    runner: Runner = "FnApiRunner",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Take new files under the config's inputs into a corpus: each pass's are an increment, a run of its own.

    What is new is read once, scored, and held against all that was seen. Nothing new is said so, with status 0.
    """
    from tamis.jobs.cli.watch import watch_config
    from tamis.jobs.config_file import load_config

    loaded, plain = load_config(config, set_ or ())
    watch_config(
        loaded,
        plain,
        output,
        config_file=config,
        every=every,
        new_config=new_config,
        workers=workers,
        runner=runner,
        options=checked_beam_options(beam_options or []),
        as_json=as_json,
        quiet=quiet,
    )


@app.command(
    short_help="Merge a corpus's increments into one.",
    epilog=examples("tamis compact runs/corpus", "tamis compact runs/corpus --thresholds frozen"),
)
def compact(
    corpus: Annotated[str, typer.Argument(metavar="CORPUS", help="The folder of tamis watch.")],
    beam_options: BeamOptions = None,
    thresholds: Annotated[
        str | None, typer.Option(metavar="HOW", help="Of frozen ones: frozen, or estimate anew.")
    ] = None,
    present: Annotated[
        bool, typer.Option("--present", help="Files that changed or are gone: as they are now.")
    ] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the merged increments on disk.")] = False,
    workers: Workers = 1,
    runner: Runner = "FnApiRunner",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Merge the increments of a corpus into one: the bytes that one run over all their files gives, or why not."""
    from tamis.jobs.cli.watch import compact_corpus

    compact_corpus(
        corpus,
        thresholds=thresholds,
        present=present,
        keep=keep,
        workers=workers,
        runner=runner,
        options=checked_beam_options(beam_options or []),
        as_json=as_json,
        quiet=quiet,
    )


@app.command(
    short_help="Write a first config, commented.",
    epilog=examples(
        "tamis init",
        "tamis init data/ --language en --select quality -o corpus.yaml",
        "tamis init data/*.jsonl --language all --target wanted.jsonl",
    ),
)
def init(
    inputs: Annotated[
        list[str] | None, typer.Argument(metavar="INPUT", help="Files, folders or globs; asked for if absent.")
    ] = None,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="The config, which must not be there yet.")
    ] = "corpus.yaml",
    language: Annotated[str | None, typer.Option(metavar="CODES", help="To keep, such as en,de; or all.")] = None,
    select: Annotated[
        str | None, typer.Option(metavar="AIM", help="copies, quality or target: what is selected for.")
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="FILE", help="Of the aim target: files that show what is wanted.")
    ] = None,
) -> None:
    """Write a first config: finds inputs with their formats and fields, and asks what flags don't say."""
    from tamis.jobs.cli.init import init_config

    init_config(inputs or (), output, language, select, target)


@app.command(
    short_help="Say what a run would do; run nothing.",
    epilog=examples(
        "tamis plan corpus.yaml",
        "tamis plan corpus.yaml --sample",
        "tamis plan corpus.yaml --graph",
        "tamis plan --schema > tamis.schema.json",
    ),
)
def plan(
    config: Annotated[str | None, typer.Argument(metavar="CONFIG", help="The config, a YAML file.")] = None,
    output: Output = None,
    set_: Set = None,
    sample: Annotated[bool, typer.Option("--sample", help="Run a sample of the inputs, and estimate from it.")] = False,
    sample_mb: Annotated[
        float | None, typer.Option(min=0.1, metavar="MB", help="How large a sample; 4 if absent.")
    ] = None,
    cache: Annotated[
        str | None, typer.Option("--cache", metavar="DIR", help="Where finished stages would be taken from.")
    ] = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the config's JSON Schema.")] = False,
    graph: Annotated[bool, typer.Option("--graph", help="Print the run's passes and what each waits for.")] = False,
    format_: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="Of the graph: tree, mermaid or dot.")
    ] = "tree",
    as_json: AsJson = False,
) -> None:
    """Say what a run would do: files, steps, models with digests and licences, memory, what is kept of earlier runs.

    With --sample it runs a few MB in a temporary folder, and estimates what each step keeps, time, disk and output.
    """
    if schema:
        from tamis.jobs.config_schema import config_schema

        typer.echo(json.dumps(config_schema(), indent=1))
        return
    if config is None:
        msg = "tamis plan needs a config file, or --schema"
        raise ConfigError(msg)
    from tamis.jobs.cli.plan_sample import SAMPLE_MB
    from tamis.jobs.cli.run_and_plan import show_graph, show_plan
    from tamis.jobs.config_file import load_config

    loaded, plain = load_config(config, set_ or ())
    if graph:
        show_graph(loaded, plain, format_, config)
        return
    show_plan(
        loaded,
        plain,
        config_file=config,
        output=output,
        cache=cache,
        sample_mb=sample_mb or (SAMPLE_MB if sample else None),
        as_json=as_json,
    )


@app.command(short_help="Say how a run stands.", epilog=examples("tamis status runs/demo"))
def status(run_folder: Annotated[str, typer.Argument(metavar="RUN", help="A run's folder, finished or not.")]) -> None:
    """Say how a run stands, from another terminal too: the pass at hand, tasks done, who works in the folder."""
    from tamis.jobs.cli.run_folder import show_status

    show_status(run_folder)


@app.command(short_help="Cancel a run's job on Dataflow.", epilog=examples("tamis cancel gs://b/runs/first"))
def cancel(
    run_folder: Annotated[str, typer.Argument(metavar="RUN", help="A run's folder.")],
    beam_options: BeamOptions = None,
) -> None:
    """Cancel the job on Dataflow that works in a run's folder; what is finished is kept."""
    from tamis.jobs.cli.run_folder import cancel as carry_out

    carry_out(run_folder, checked_beam_options(beam_options or []))


@app.command(short_help="Delete what a run keeps for resuming.", epilog=examples("tamis clean runs/demo"))
def clean(run_folder: RunFolder) -> None:
    """Delete a run's work folder, where shards and manifest stay, or what a cache of several runs holds."""
    from tamis.jobs.cli.run_folder import clean as carry_out

    carry_out(run_folder)


@app.command(short_help="Compile all kernels beforehand.", epilog=examples("tamis warm", "tamis warm corpus.yaml"))
def warm(
    config: Annotated[
        str | None, typer.Argument(metavar="CONFIG", help="Only what a run of this config needs.")
    ] = None,
) -> None:
    """Compile the kernels now, as when an image is built, so that no run waits for them."""
    from tamis.jobs.cli.run_folder import show_warm

    show_warm(config)


@app.command(
    short_help="Does a selection teach? Proxies say.",
    epilog=examples("tamis experiment experiment.yaml", "tamis experiment experiment.yaml --set seeds=5 --workers 4"),
)
def experiment(
    config: Annotated[str, typer.Argument(metavar="CONFIG", help="Arms, evaluation sets and proxy: a YAML file.")],
    output: Output = None,
    set_: Set = None,
    fresh: Fresh = False,
    workers: Workers = 1,
    runner: Runner = "FnApiRunner",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Train proxy models on arms of equal tokens, and say whether they differ: paired over seeds, with intervals."""
    from tamis.jobs.cli.experiment import show_experiment

    show_experiment(
        config,
        set_ or (),
        output,
        workers=workers,
        runner=runner,
        fresh=fresh,
        as_json=as_json,
        quiet=quiet,
    )


@app.command(
    short_help="Score local files and print or write the columns.",
    epilog=examples(
        "tamis score forum.csv --step language --limit 5",
        "tamis score web.jsonl --step '{heuristics: {presets: [c4]}}' -o x.parquet",
        "head -n 100 web.jsonl | tamis score - --step language --json",
    ),
)
def score(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE", help="Input files, folders or globs; - is the standard input.")
    ],
    step: Annotated[
        list[str],
        typer.Option("--step", metavar="STEP", help="A step as in the config: '{language: {}}'; repeatable."),
    ],
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", help="A .parquet, .csv or .jsonl file.")
    ] = None,
    text: Annotated[str, typer.Option(metavar="FIELD", help="The text field.")] = "text",
    id_: Annotated[str | None, typer.Option("--id", metavar="FIELD", help="The record's identity.")] = None,
    format_: Annotated[
        str | None, typer.Option("--format", metavar="FORMAT", help="Input format, if the suffix doesn't say.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="Read and score so many documents.")] = None,
    as_json: AsJson = False,
) -> None:
    """Score local files and print or write the columns; rules and keep decide nothing here."""
    from tamis.jobs.cli.score import score_files

    options: dict[str, Any] = {"text": text, "id": id_, "format": format_}
    score_files(files, step, options, output=output, limit=limit, as_json=as_json)


@app.command(
    short_help="Ask DuckDB about a run, or about two.",
    epilog=examples(
        "tamis sql runs/demo",
        'tamis sql runs/demo "FROM funnel()"',
        "tamis sql runs/demo \"FROM sample('duplicate', 5)\" -o copies.parquet",
        'tamis sql runs/demo runs/strict "FROM joined LIMIT 9"',
    ),
)
def sql(
    run_folder: RunFolder,
    rest: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUN2 QUERY", help="Another run to join, and SQL; without SQL a prompt opens."),
    ] = None,
    format_: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="table, tsv, csv or json (lines).")
    ] = "table",
    as_json: AsJson = False,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="Print so many rows at most.")] = None,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write the rows: .parquet, .csv, .tsv or .jsonl."),
    ] = None,
) -> None:
    """Ask DuckDB about a run: views selected, rejected, documents, steps, rules and others, macros such as funnel().

    Of two runs, a and b are schemas with the views of each, and joined has their documents side by side.
    """
    from tamis.jobs.cli.sql_query import run_query, runs_and_query

    chosen = "json" if as_json else format_
    runs, query = runs_and_query(run_folder, rest or ())
    if query is None:
        if output is not None:
            msg = "--output takes the rows of a query: give one"
            raise ConfigError(msg)
        from tamis.jobs.cli.sql_prompt import prompt

        prompt(runs, format=chosen, limit=limit)
        return
    run_query(runs, query, format=chosen, limit=limit, output=output)


@app.command(
    short_help="Write a run's report, or that of two, as one HTML file.",
    epilog=examples(
        "tamis report runs/demo",
        "tamis report runs/demo runs/strict -o compared.html",
        "tamis report runs/demo --price 0.05",
    ),
)
def report(
    run_folder: RunFolder,
    other: Annotated[str | None, typer.Argument(metavar="[RUN]", help="Another run to compare with.")] = None,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", help="The file; RUN/report.html if absent.")
    ] = None,
    price: Annotated[
        float | None, typer.Option(min=0, metavar="PRICE", help="Of a CPU hour, to tell what steps cost.")
    ] = None,
) -> None:
    """Write what a run kept, what fell and why, with plots and sampled documents: one HTML file, without network."""
    from tamis.jobs.cli.report import write_report

    write_report([run_folder] if other is None else [run_folder, other], output, price=price)


@app.command(
    short_help="Browse a run in a local page.",
    epilog=examples("tamis ui runs/demo", "tamis ui runs/demo --port 8080 --no-browser"),
)
def ui(
    run_folder: RunFolder,
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="PORT", help="0: any free one.")] = 0,
    view: Annotated[
        str, typer.Option(metavar="STATE", help="Open what a colleague's address shows: all behind its ?.")
    ] = "",
    browser: Annotated[bool, typer.Option(help="Open it in the browser.")] = True,
) -> None:
    """Browse a run in a local page: search documents, move thresholds, ask SQL, read the manifest."""
    from tamis.jobs.cli.ui import show_ui

    show_ui(run_folder, port=port, view=view, browser=browser)


@app.command(
    short_help="Serve runs to an assistant (MCP), read only.",
    epilog=examples("tamis mcp runs/demo", "tamis mcp runs/demo runs/strict"),
)
def mcp(
    runs: Annotated[list[str], typer.Argument(metavar="RUN", help="Folders of finished runs.")],
) -> None:
    """Answer an assistant over the Model Context Protocol on the standard input and output; needs the extra mcp.

    Its tools funnel, sql, sample, what_if and plan only read, and nothing but the runs' folders.
    """
    from tamis.jobs.cli.mcp import serve_mcp

    serve_mcp(runs)
