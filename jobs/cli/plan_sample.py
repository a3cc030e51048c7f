"""Prints what `tamis plan --sample` found: what steps keep, and what the run takes and leaves."""

import os

from tamis.jobs.cli.console import error_console, out_console, say
from tamis.jobs.cli.layout import Column, print_pairs, print_rows
from tamis.jobs.cli.text import counted, duration, file_size, harmless
from tamis.jobs.run.plan import Plan
from tamis.jobs.run.sampled import SampledPlan, run_sample

__all__ = ["SAMPLE_MB", "print_sampled", "taken_sample"]

SAMPLE_MB = 4.0
"""Of input files that a sample has, in 10^6 bytes."""


def taken_sample(plan: Plan, megabytes: float) -> SampledPlan:
    """Run the sample, and say so while it lasts."""
    say(f"a sample of about {file_size(megabytes * 1e6)} is run", error_console())
    return run_sample(plan, int(megabytes * 1e6))


def print_sampled(sample: SampledPlan, memory: int) -> None:
    """Print the estimates.

    Args:
        sample: of the sample.
        memory: bytes of a worker.
    """
    console = out_console()
    share = 100 * sample.bytes / max(1, sample.whole_bytes)
    took = f"{file_size(sample.bytes)} of {counted(sample.files, 'file')}, {share:.3g} % of the input"
    say(f"estimates from a sample: {counted(sample.documents, 'document')}, {took}")
    say()
    columns = [Column("step"), *(Column(n, right=True) for n in ("documents", "kept", "kept %", "CPU time"))]
    rows = []
    for step in sample.steps:
        kept = f"{100 * step.kept / step.documents:.1f}" if step.documents else "-"
        rows.append([step.label, _about(step.documents), _about(step.kept), kept, duration(step.seconds)])
    print_rows(console, columns, rows)
    for step in sample.steps:
        top = list(step.rejected.items())[:3]
        if top:
            told = ", ".join(f"{rule} {_about(number)}" for rule, number in top)
            print_pairs(console, [(f"{step.label}:", told)])
    say()
    cores = os.cpu_count() or 1
    wall = f"{duration(sample.cpu_seconds)} of CPU time; with --workers {cores} about "
    wall += duration(sample.cpu_seconds / cores)
    read, errors, selected = (
        f"{_about(number)} {noun if number == 1 else noun + 's'}"
        for number, noun in ((sample.read, "record"), (sample.errors, "error"), (sample.selected, "document"))
    )
    other = file_size(sample.other_bytes)
    print_pairs(
        console,
        [
            ("read:", f"about {read}, {errors}, {file_size(sample.text_bytes)} of text"),
            ("selected:", f"about {selected}, {file_size(sample.selected_text_bytes)} of text"),
            ("time:", wall),
            ("memory:", f"about {file_size(memory)} a worker"),
            ("disk:", f"about {file_size(sample.work_bytes)} in the work folder while it runs"),
            ("output:", f"about {file_size(sample.selected_bytes)} selected, {other} rejected and errors"),
        ],
    )
    for note in sample.notes:
        say(harmless(f"note: {note}"))


def _about(number: int) -> str:
    """Return an estimate with three figures at most."""
    if number < 1000:
        return f"{number:,}"
    scale = 10 ** (len(str(number)) - 3)
    return f"{round(number / scale) * scale:,}"
