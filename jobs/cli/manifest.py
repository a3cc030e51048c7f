"""The commands `tamis manifest ...`; what they need is imported when they run."""

from typing import Annotated

import typer

from tamis.jobs.cli.options import AsJson, Quiet, RunFolder, Runner, Workers, examples, group

__all__ = ["manifest_app"]

manifest_app = group(about="Show, verify, compare and repeat finished runs and mixtures.")


@manifest_app.command("show", short_help="Summarise a run.", epilog=examples("tamis manifest show runs/demo"))
def show_command(run_folder: RunFolder, as_json: AsJson = False) -> None:
    """Summarise a run: its funnel, sources, inputs, models, shards."""
    if _mixed(run_folder):
        from tamis.jobs.cli.mix_manifest import show_mixture

        show_mixture(run_folder, as_json=as_json)
        return
    from tamis.jobs.cli.manifest_output import show

    show(run_folder, as_json=as_json)


@manifest_app.command(
    "verify",
    short_help="Recompute digests, counts and the balance.",
    epilog=examples("tamis manifest verify runs/demo", "tamis manifest verify runs/demo --inputs --json"),
)
def verify_command(
    run_folder: RunFolder,
    inputs: Annotated[bool, typer.Option("--inputs", help="Digest inputs and models too.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Recompute digests, counts and the balance; exit status 1 if anything is off."""
    if _mixed(run_folder):
        from tamis.jobs.cli.mix_manifest import verify_mixture_folder

        if not verify_mixture_folder(run_folder, as_json=as_json, quiet=quiet):
            raise typer.Exit(1)
        return
    from tamis.jobs.cli.manifest_output import verify

    if not verify(run_folder, inputs=inputs, as_json=as_json, quiet=quiet).ok:
        raise typer.Exit(1)


@manifest_app.command(
    "diff",
    short_help="Say what differs between two runs, and why.",
    epilog=examples("tamis manifest diff runs/a runs/b"),
)
def diff_command(
    first: Annotated[str, typer.Argument(metavar="RUN", help="A finished run's folder.")],
    second: Annotated[str, typer.Argument(metavar="OTHER_RUN", help="Another one.")],
    as_json: AsJson = False,
) -> None:
    """Say what differs between two runs, and why; exit status 1 if their shards differ."""
    if _mixed(first) or _mixed(second):
        from tamis.jobs.cli.mix_manifest import diff_mixtures

        if not diff_mixtures(first, second, as_json=as_json):
            raise typer.Exit(1)
        return
    from tamis.jobs.cli.manifest_output import diff

    if not diff(first, second, as_json=as_json).same_bytes:
        raise typer.Exit(1)


@manifest_app.command(
    "rerun",
    short_help="Repeat a run, and compare the bytes.",
    epilog=examples("tamis manifest rerun runs/demo --output runs/again"),
)
def rerun_command(
    run_folder: RunFolder,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FOLDER", help="Where to; not the run's own folder.")
    ],
    workers: Workers = 1,
    runner: Runner = "FnApiRunner",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Run the recorded config again, and say whether the bytes agree; exit status 1 if not."""
    if _mixed(run_folder):
        from tamis.jobs.cli.mix_manifest import rerun_mixture

        if not rerun_mixture(run_folder, output, workers=workers, runner=runner, as_json=as_json, quiet=quiet):
            raise typer.Exit(1)
        return
    from tamis.jobs.cli.manifest_output import rerun

    if not rerun(run_folder, output, workers=workers, runner=runner, as_json=as_json, quiet=quiet).same:
        raise typer.Exit(1)


def _mixed(folder: str) -> bool:
    from tamis.jobs.mix.folder import holds_mixture

    return holds_mixture(folder)
