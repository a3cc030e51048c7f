"""Carries out `tamis manifest` where the folder holds a mixture: shows, verifies, compares and repeats it."""

from tamis.jobs.cli.console import RunProgress, print_json, say
from tamis.jobs.cli.mix_output import print_mixture
from tamis.jobs.cli.text import counted, file_size, harmless
from tamis.jobs.mix.folder import holds_mixture, read_mixture
from tamis.jobs.mix.verify import explain_mixtures, mix_again, verify_mixture
from tamis.pipeline.graph.engine import Engine
from tamis.pipeline.storage import filesystem
from tamis.schemas.errors import ConfigError

__all__ = ["diff_mixtures", "rerun_mixture", "show_mixture", "verify_mixture_folder"]


def show_mixture(folder: str, *, as_json: bool) -> None:
    """Print what a mixture's record says."""
    manifest = read_mixture(folder)
    if as_json:
        print_json(manifest.model_dump(mode="json"), indent=1)
    else:
        print_mixture(manifest, folder)


def verify_mixture_folder(folder: str, *, as_json: bool, quiet: bool) -> bool:
    """Check a mixture against its record, print what was found, and return whether all is right."""
    result = verify_mixture(folder)
    if as_json:
        print_json(
            {"ok": result.ok, "failures": result.failures, "shards": result.shards, "rows": result.rows}, indent=1
        )
        return result.ok
    for sentence in result.failures:
        say(harmless(f"wrong: {sentence}"))
    if result.ok and quiet:
        return True
    seen = f"{counted(result.shards, 'shard')} with {counted(result.rows, 'row')} and {file_size(result.bytes)}"
    told = "is what its record says" if result.ok else "isn't what its record says"
    say(f"{harmless(folder)} {told}: {seen}")
    return result.ok


def diff_mixtures(first: str, second: str, *, as_json: bool) -> bool:
    """Print how two mixtures differ, and return whether their shards are the same.

    Raises:
        ConfigError: if one folder holds a mixture and the other a run.
    """
    for folder in (first, second):
        if not holds_mixture(folder):
            msg = f"{folder} is no mixture, and a mixture is only compared with another"
            raise ConfigError(msg)
    same, why = explain_mixtures(first, second)
    if as_json:
        print_json({"same_bytes": same, "why": why}, indent=1)
        return same
    say("The shards are the same, byte for byte." if same else "The mixtures differ.")
    for sentence in why:
        say(harmless(f"- {sentence}"))
    return same


def rerun_mixture(folder: str, output: str, *, workers: int, runner: str, as_json: bool, quiet: bool) -> bool:
    """Make a mixture again, say whether the bytes agree, and return it."""
    scratch = filesystem.join(output, "work", "passes")
    with Engine(scratch, workers=workers, runner=runner, progress=RunProgress(quiet=quiet)) as engine:
        repeated = mix_again(folder, output, engine)
    if as_json:
        print_json({"same": repeated.same, "why": repeated.why}, indent=1)
    elif repeated.same and not quiet:
        shards = counted(len(repeated.mixed.manifest.shards), "shard")
        say(harmless(f"{output} is {folder} again: all {shards} have the same bytes"))
    elif not repeated.same:
        say(harmless(f"{output} isn't {folder} again"))
        for sentence in repeated.why:
            say(harmless(f"- {sentence}"))
    return repeated.same
