"""Makes the report of a run, or of two that are compared: sections in order, within the size that a page may have."""

import importlib
from collections.abc import Sequence
from dataclasses import replace

from tamis.jobs.report.blocks import Section
from tamis.jobs.report.facts import Facts, Room
from tamis.jobs.report.page import page
from tamis.jobs.sql.two_runs import SCHEMAS
from tamis.jobs.sql.views import add_run, database
from tamis.jobs.text import counted, duration, file_size

__all__ = ["COMPARED", "LARGEST", "SECTIONS", "make_report"]

SECTIONS = (
    "funnel",
    "rejected",
    "thresholds",
    "scores",
    "correlations",
    "duplicates",
    "repeats",
    "dsir",
    "buckets",
    "clusters",
    "mixture",
    "contamination",
    "domains",
    "ngrams",
    "costs",
    "record",
)
"""Modules of `sections` with `build(facts)`, in their order on the page; one that has nothing to say returns None."""
COMPARED = ("changes", "funnel", "scores", "mixture", "costs", "record")
"""Modules of `sections` with `compare(a, b)`."""
LARGEST = 10_000_000
"""Bytes of a report at most."""
_TEXTS = (1500, 700, 300, 120)
"""Characters of a text; the first with which the page is small enough is taken."""


def make_report(runs: Sequence[str], *, price: float | None = None, room: Room | None = None) -> str:
    """Return the report as HTML.

    Args:
        runs: a run's folder, or those of two that are compared.
        price: of a CPU hour, for costs.
        room: how much it may hold, if not what fits 10 MB.

    Raises:
        RunError: if a folder holds no finished run, or its shards can't be read.
    """
    room = room or Room()
    html = ""
    for text in _TEXTS:
        if text > room.text:
            continue
        html = _make(runs, price, replace(room, text=text))
        if len(html.encode()) < LARGEST:
            break
    return html


def _make(runs: Sequence[str], price: float | None, room: Room) -> str:
    connection = database()
    try:
        if len(runs) == 1:
            manifest = add_run(connection, runs[0])
            return _one(Facts(runs[0], connection, manifest, room, price=price))
        both = []
        names = _names(runs)
        for run, schema, name in zip(runs, SCHEMAS, names, strict=True):
            manifest = add_run(connection, run, schema)
            both.append(Facts(run, connection, manifest, room, schema, name, price))
        return _two(*both)
    finally:
        connection.close()


def _names(runs: Sequence[str]) -> list[str]:
    """Return what tells the runs apart: the ends of their folders' names, or A and B where those are the same."""
    ends = [run.rstrip("/").rpartition("/")[2] or run for run in runs]
    return (
        ends if len(set(ends)) == len(ends) else [f"{end} ({letter})" for end, letter in zip(ends, "AB", strict=True)]
    )


def _one(facts: Facts) -> str:
    manifest = facts.manifest
    sections: list[Section] = []
    for name in SECTIONS:
        section = importlib.import_module(f"tamis.jobs.report.sections.{name}").build(facts)
        if section is not None:
            sections.append(section)
    tiles = {
        "records read": f"{manifest.read:,}",
        "selected": f"{manifest.selected:,}",
        "rejected": f"{manifest.rejected:,}",
        "errors": f"{manifest.errors:,}",
        "text read": file_size(manifest.text_bytes),
        "kept": f"{100 * manifest.selected / manifest.read:.1f} %" if manifest.read else "nothing",
        "time": duration(manifest.seconds),
        "sources": f"{len(manifest.sources):,}",
    }
    steps = counted(len(manifest.steps), "step")
    files = counted(len(manifest.inputs), "file")
    lead = f"A run of {steps} over {files}, started {manifest.started[:16].replace('T', ' ')} UTC."
    return page(f"Tamis: {manifest.name}", lead, sections, tiles=tiles, warnings=manifest.warnings)


def _two(a: Facts, b: Facts) -> str:
    sections: list[Section] = []
    for name in COMPARED:
        section = importlib.import_module(f"tamis.jobs.report.sections.{name}").compare(a, b)
        if section is not None:
            sections.append(section)
    tiles = {}
    for facts in (a, b):
        tiles[f"{facts.name}: read"] = f"{facts.manifest.read:,}"
        tiles[f"{facts.name}: selected"] = f"{facts.manifest.selected:,}"
    warnings = [f"{facts.name}: {warning}" for facts in (a, b) for warning in facts.manifest.warnings]
    title = f"Tamis: {a.name} and {b.name}"
    return page(title, "Two runs beside each other.", sections, tiles=tiles, warnings=warnings)
