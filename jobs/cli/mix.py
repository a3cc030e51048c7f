"""The commands `tamis mix ...`; what they need is imported when they run."""

from typing import Annotated

import typer

from tamis.jobs.cli.options import AsJson, Quiet, RunFolder, Runner, Set, Workers, examples, group

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
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FOLDER", help="The mixture's folder; RUN/mixture if absent."),
    ] = None,
    set_: Set = None,
    plan: Annotated[bool, typer.Option("--plan", help="Say what it would hold; write nothing.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh/--resume", help="Forget what was left, or go on.")] = False,
    workers: Workers = 1,
    runner: Runner = "FnApiRunner",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Estimate or set a mixture of groups of a run's selection, and write it: shards and mixture.json."""
    from tamis.jobs.cli.mix_output import make, show_planned

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
        workers=workers,
        as_json=as_json,
        quiet=quiet,
    )
