"""The commands `tamis manifest ...`; what they need is imported when they run."""

from typing import Annotated

import typer

from tamis.jobs.cli.options import AsJson, Quiet, RunFolder, Runner, Workers, examples, group

__all__ = ["manifest_app"]

manifest_app = group(about="Show, verify, compare, repeat, publish and sign finished runs.")


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
    epilog=examples(
        "tamis manifest verify runs/demo",
        "tamis manifest verify runs/demo --inputs --json",
        "tamis manifest verify runs/demo --public-key public.pem",
    ),
)
def verify_command(
    run_folder: RunFolder,
    inputs: Annotated[bool, typer.Option("--inputs", help="Digest inputs and models too.")] = False,
    public_key: Annotated[
        str | None, typer.Option(metavar="FILE", help="Check the signature by this key, PEM.")
    ] = None,
    signature: Annotated[
        str | None, typer.Option(metavar="FILE", help="The signature; RUN/manifest.sig by default.")
    ] = None,
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

    if public_key is not None:
        from tamis.jobs.manifest.papers.sign import check_signature

        check_signature(run_folder, public_key, signature)
        if not (as_json or quiet):
            from tamis.jobs.cli.console import say

            say("the signature is right")
    elif signature is not None:
        from tamis.schemas.errors import ConfigError

        msg = "--signature needs the key to check it by: --public-key FILE"
        raise ConfigError(msg)
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


@manifest_app.command(
    "export",
    short_help="Write a data set's papers: card, Croissant, citation.",
    epilog=examples(
        "tamis manifest export runs/demo --card --croissant",
        "tamis manifest export runs/demo --citation --ai-act --about about.yaml",
        "tamis manifest export --schema",
    ),
)
def export_command(
    run_folder: Annotated[str | None, typer.Argument(metavar="[RUN]", help="A finished run's folder.")] = None,
    card: Annotated[bool, typer.Option("--card", help="README.md, a dataset card of the Hugging Face hub.")] = False,
    croissant: Annotated[bool, typer.Option("--croissant", help="croissant.json, Croissant 1.1.")] = False,
    citation: Annotated[bool, typer.Option("--citation", help="CITATION.cff.")] = False,
    ai_act: Annotated[
        bool, typer.Option("--ai-act", help="ai-act.md and its list of domains: the EU's public summary.")
    ] = False,
    openlineage: Annotated[bool, typer.Option("--openlineage", help="openlineage.jsonl, the run's events.")] = False,
    about: Annotated[
        str | None, typer.Option(metavar="FILE", help="YAML that says what no run knows: licence, creators.")
    ] = None,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FOLDER", help="Where to; the run's folder by default.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace papers that are there.")] = False,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of the file of --about.")] = False,
) -> None:
    """Write the papers of a data set from its manifest, its shards and what its owner says about it."""
    from tamis.jobs.cli.manifest_papers import export, print_schema

    if schema:
        print_schema()
        return
    wanted = {"card": card, "croissant": croissant, "citation": citation, "ai_act": ai_act, "openlineage": openlineage}
    export(run_folder, [name for name, asked in wanted.items() if asked], about=about, output=output, replace=replace)


@manifest_app.command(
    "sign",
    short_help="Sign a run: its manifest and all its shards.",
    epilog=examples(
        "tamis manifest sign runs/demo --key key.pem",
    ),
)
def sign_command(
    run_folder: RunFolder,
    key: Annotated[str, typer.Option(metavar="FILE", help="Private key of an elliptic curve, PEM.")],
    signature: Annotated[
        str | None, typer.Option(metavar="FILE", help="Where to; RUN/manifest.sig by default.")
    ] = None,
    password: Annotated[
        str | None, typer.Option(envvar="TAMIS_KEY_PASSWORD", show_envvar=True, help="Of the key.")
    ] = None,
) -> None:
    """Write a detached signature by OpenSSF Model Signing, offline."""
    from tamis.jobs.cli.console import say
    from tamis.jobs.cli.text import harmless
    from tamis.jobs.manifest.papers.sign import sign

    say(harmless(f"signed: {sign(run_folder, key, signature, password=password)}"))


def _mixed(folder: str) -> bool:
    from tamis.jobs.mix.folder import holds_mixture

    return holds_mixture(folder)
