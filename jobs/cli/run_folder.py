"""Carries out `tamis status`, `tamis cancel`, `tamis clean` and `tamis warm`."""

from collections.abc import Sequence

from tamis.jobs.cli.console import out_console, say
from tamis.jobs.cli.layout import print_pairs
from tamis.jobs.cli.text import counted, duration, file_size, harmless

__all__ = ["cancel", "clean", "show_status", "show_warm"]


def show_status(run: str) -> None:
    """Print how a run stands.

    Raises:
        RunError: if the folder holds none.
    """
    from tamis.jobs.cli.watch import show_corpus_status
    from tamis.jobs.run.status import run_status

    if show_corpus_status(run):
        return
    status = run_status(run)
    pairs = [("run:", run), ("state:", status.state)]
    if status.owner is not None:
        pairs.append(("by:", status.owner))
    if status.state != "finished" and status.label:
        pairs.append(("pass:", f"{status.number} of {status.passes}, {status.label}"))
        pairs.append(("tasks:", f"{status.done:,} of {status.tasks:,} of that pass are done"))
    if status.rate is not None and status.left is not None:
        pairs.append(("rate:", _rate(status.rate)))
        pairs.append(("left:", f"about {duration(status.left)} of this pass"))
    pairs.append(("time:", duration(status.seconds)))
    if status.work_bytes is not None:
        pairs.append(("work folder:", file_size(status.work_bytes)))
    print_pairs(out_console(), pairs)
    if status.job is not None and status.state != "finished":
        told = [("job:", status.job.name), ("console:", status.job.console), ("state:", status.job.describe)]
        for name, line in [*told, ("cancel:", status.job.cancel)]:  # in one piece each, to be copied
            out_console().print(f"{name:<12} {harmless(line)}", soft_wrap=True)
        if status.error is not None:
            say(harmless(f"error of a worker: {status.error}"))
        return
    if status.state == "stopped":
        say("The command that started it goes on from there.")


def _rate(rate: float) -> str:
    return f"{rate:,.1f} tasks a second" if rate >= 1 else f"a task in {duration(1 / rate)}"


def cancel(run: str, options: Sequence[str]) -> None:
    """Cancel the job on a service that works in a run's folder.

    Raises:
        RunError: if there is none, or it is over already, or the service can't be asked.
    """
    from tamis.jobs.run.status import cancel_job

    job = cancel_job(run, options)
    say(harmless(f"{job.name} was told to end; what is finished is kept, and the same `tamis run` goes on from there"))
    out_console().print(f"{'state:':<12} {harmless(job.describe)}", soft_wrap=True)


def clean(run: str) -> None:
    """Delete a run's work folder or what a cache holds, and say what that freed.

    Raises:
        RunError: if there is none, or somebody works in it.
    """
    from tamis.jobs.run.cache import CACHE_MARKER
    from tamis.jobs.run.status import clean_run
    from tamis.pipeline.storage import filesystem

    cache = filesystem.exists(filesystem.join(run, CACHE_MARKER))
    freed = file_size(clean_run(run))
    told = "the cache is empty" if cache else "the work folder is gone"
    what = "what runs need is computed again" if cache else "shards and manifest are as they were"
    say(harmless(f"{run}: {told}, {freed} less; {what}"))


def show_warm(config: str | None) -> None:
    """Compile kernels beforehand, and say what there was to compile.

    Raises:
        TamisError: if the config or a model of it is wrong.
    """
    from tamis.jobs.config_file import load_config
    from tamis.jobs.warm import warm

    report = warm(load_config(config)[0] if config is not None else None)
    compiled = counted(len(report.compiled), "kernel")
    ready = sum(1 for state in report.kernels if state.signatures)
    say(f"{compiled} compiled in {duration(report.seconds)}, {ready:,} of {len(report.kernels):,} ready")
    if report.folder is None:
        say("no folder for machine code can be written to: each process will compile for itself (set TAMIS_CACHE)")
    else:
        say(harmless(f"machine code: {report.folder}"))
