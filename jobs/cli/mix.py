"""The commands `tamis mix ...`; what they need is imported when they run."""

from pathlib import Path
from typing import Annotated

import typer

from tamis.jobs.cli.options import (
    AsJson,
    BeamOptions,
    Fresh,
    Quiet,
    RunFolder,
    Runner,
    Set,
    Workers,
    checked_beam_options,
    examples,
    group,
)

__all__ = ["mix_app"]

mix_app = group(
    about="Mix groups of what a run selected.\n\n"
    "Proportions are given or estimated, and the corpus is written in them. tamis mix RUN is short for "
    "tamis mix make RUN.",
    epilog=examples("tamis mix runs/demo mixture.yaml", "tamis mix compare runs/demo a.yaml b.yaml"),
    with_default=True,
)


@mix_app.command(
    "make",
    short_help="Estimate or set a mixture, and write it.",
    epilog=examples(
        "tamis mix make runs/demo mixture.yaml -o runs/mixed",
        "tamis mix make runs/demo --set without=equal --set exhausted=once --plan",
    ),
)
def make_command(
    run_folder: RunFolder,
    config: Annotated[
        str | None,
        typer.Argument(metavar="CONFIG", help="A YAML file with the mixture's keys; the run's own if absent."),
    ] = None,
    beam_options: BeamOptions = None,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FOLDER", help="The mixture's folder; RUN/mixture if absent."),
    ] = None,
    set_: Set = None,
    plan: Annotated[bool, typer.Option("--plan", help="Say what it would hold; write nothing.")] = False,
    fresh: Fresh = False,
    workers: Workers = 1,
    runner: Runner = "FnApiRunner",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Estimate or set a mixture of groups of a run's selection, and write it: shards and mixture.json."""
    from tamis.jobs.cli.mix_output import make, show_planned

    beam = beam_options or []
    if config is not None and config.startswith("-"):  # of a command without CONFIG: -- is no part of what arrives
        beam = [config, *beam]
        config = None
    options = checked_beam_options(beam)
    if plan:
        show_planned(run_folder, config, set_ or (), workers=workers, as_json=as_json, quiet=quiet)
        return
    make(
        run_folder,
        config,
        set_ or (),
        output,
        workers=workers,
        runner=runner,
        options=options,
        fresh=fresh,
        as_json=as_json,
        quiet=quiet,
    )


@mix_app.command(
    "export",
    short_help="Write what a trainer reads at once.",
    epilog=examples(
        "tamis mix export runs/mixed --to megatron --tokenizer t.json -o out",
        "tamis mix export runs/mixed --to hf -o dataset",
    ),
)
def export_command(
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="Of a mixture, or of a finished run.")],
    to: Annotated[str, typer.Option("--to", metavar="FORM", help="megatron, olmo, hf, parquet or jsonl.")],
    output: Annotated[str, typer.Option("--output", "-o", metavar="FOLDER", help="The folder to write.")],
    tokenizer: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="tokenizer.json, a SentencePiece model, or bytes; for token files."),
    ] = None,
    end: Annotated[str | None, typer.Option(metavar="TOKEN", help="The end-of-document token.")] = None,
    special_tokens: Annotated[
        bool, typer.Option("--special-tokens", help="Let the tokenizer put its own special tokens around.")
    ] = False,
    max_tokens: Annotated[int, typer.Option(min=1, metavar="N", help="Tokens of an OLMo file, about.")] = 1 << 30,
    copies: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Write documents so often; that of the step repeat if absent; none: once."),
    ] = None,
    workers: Workers = 1,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Write a mixture, or what a run selected, as token files (Megatron, OLMo), a datasets folder, Parquet or JSONL."""
    from tamis.jobs.cli.mix_export import show_export

    show_export(
        folder,
        output,
        to,
        tokenizer=tokenizer,
        end=end,
        special_tokens=special_tokens,
        max_tokens=max_tokens,
        copies=copies,
        workers=workers,
        as_json=as_json,
        quiet=quiet,
    )


@mix_app.command(
    "compare",
    short_help="Put mixtures side by side.",
    epilog=examples(
        "tamis mix compare runs/demo olmix.yaml mixmin.yaml",
        "tamis mix compare runs/demo --set budget=1000000",
    ),
)
def compare_command(
    run_folder: RunFolder,
    mixtures: Annotated[
        list[str] | None,
        typer.Argument(metavar="MIXTURE", help="Config files, or folders of materialised mixtures."),
    ] = None,
    set_: Set = None,
    ratios: Annotated[str | None, typer.Option(metavar="CSV", help="Ratios of runs that were made.")] = None,
    metrics: Annotated[str | None, typer.Option(metavar="CSV", help="Their metrics, to predict by.")] = None,
    work: Annotated[str | None, typer.Option(metavar="FOLDER", help="Keep what was found here.")] = None,
    workers: Workers = 1,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Put mixtures of one selection side by side: shares, epochs, worth, prediction; by size, equal and UniMax too."""
    from tamis.jobs.cli.mix_tools import compare

    compare(
        run_folder,
        mixtures or (),
        set_ or (),
        (ratios, metrics),
        work=work,
        workers=workers,
        as_json=as_json,
        quiet=quiet,
    )


@mix_app.command(
    "plot",
    short_help="Draw shares and losses by round.",
    epilog=examples("tamis mix plot runs/mixed -o rounds.png", "tamis mix plot controller.json -o rounds.svg"),
)
def plot_command(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="Folder of a mixture or run, or a controller's state.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="A .png or .svg file.")],
) -> None:
    """Draw the shares of each round, and the losses of each group where they were measured."""
    from tamis.jobs.cli.mix_tools import plot

    plot(source, output)


@mix_app.command(
    "drive",
    short_help="Let a trainer drive a controller by lines.",
    epilog=examples(
        "tamis mix drive aioli --group web --group books --state c.json",
        "tamis mix drive swarm --group web --group books --set runs=8",
    ),
)
def drive_command(
    method: Annotated[
        str, typer.Argument(metavar="METHOD", help="aioli, dga, doge, doremi, fixed, skill_it or swarm.")
    ],
    groups: Annotated[list[str], typer.Option("--group", metavar="NAME", help="A group; repeatable.")],
    set_: Set = None,
    state: Annotated[Path | None, typer.Option(metavar="FILE", help="Where the state is kept, to go on from.")] = None,
) -> None:
    """Answer JSON lines on the standard input: {"do": "next"}, "observe", "proportions", "state", "end"."""
    from tamis.jobs.cli.mix_tools import drive

    drive(method, groups, set_ or (), state)


@mix_app.command(
    "cmr",
    short_help="How much domain data costs no skill.",
    epilog=examples("tamis mix cmr curves.csv --epsilon 0.05 --tokens 20e9"),
)
def cmr_command(
    curves: Annotated[Path, typer.Argument(metavar="CSV", help="ratio, tokens, general_loss, domain_loss, seed.")],
    tokens: Annotated[float, typer.Option(metavar="N", help="The horizon, in the curves' unit.")],
    epsilon: Annotated[float, typer.Option(metavar="X", help="Allowed rise of the general loss, nats.")] = 0.05,
    start: Annotated[
        tuple[float, float] | None,
        typer.Option(metavar="GENERAL DOMAIN", help="Losses before, for curves without tokens 0."),
    ] = None,
    picture: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw the curves: a .png or .svg file.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say how much domain data continued training may have: the critical mixture ratio, with an interval."""
    from tamis.jobs.cli.mix_tools import critical

    critical(curves, epsilon=epsilon, tokens=tokens, start=start, picture=picture, as_json=as_json)


@mix_app.command(
    "merge",
    short_help="Ablate by averages of models (extra lm).",
    epilog=examples("tamis mix merge merge.yaml -o runs/merge", "tamis mix merge merge.yaml --set check=6"),
)
def merge_command(
    config: Annotated[str, typer.Argument(metavar="CONFIG", help="Run, groups, unit, proxy: a YAML file.")],
    output: Annotated[str | None, typer.Option("--output", "-o", metavar="FOLDER", help="Overrides output.")] = None,
    set_: Set = None,
    fresh: Fresh = False,
    workers: Workers = 1,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Train a model on each part of a corpus, judge mixtures by averages of the models, say what each group is for."""
    from tamis.jobs.cli.mix_merge import show_merge

    show_merge(config, set_ or (), output, workers=workers, fresh=fresh, as_json=as_json, quiet=quiet)
