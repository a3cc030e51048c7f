"""Prints what `tamis plan` tells of a config's mixture."""

from collections.abc import Mapping
from typing import Any

from tamis.jobs.cli.console import out_console, say
from tamis.jobs.cli.layout import Column, print_rows
from tamis.jobs.cli.mix_output import SHOWN, print_seen
from tamis.jobs.cli.text import counted, file_size, harmless

__all__ = ["print_planned_mixture"]

_KNOWN = {
    "made": "as it was made",
    "run": "of the finished run",
    "sample": "estimated from a sample",
    "files": "by the sizes of files",
}


def print_planned_mixture(told: Mapping[str, Any]) -> None:
    """Print groups, quotas, epochs, repetition and notes."""
    say()
    whole = f"; {told['total']:,} {told['unit']}" if "total" in told else ""
    asked = f" of {told['budget']:,} asked for" if whole and told["budget"] != told["total"] else ""
    found = f", shares: {told['method']}" if told["method"] else ""
    say(harmless(f"mixture, {_KNOWN[told['known']]}{found}{whole}{asked}"))
    groups = told["groups"][:SHOWN]
    if "unit" not in told:
        rows = [[group["name"], f"{group['documents']:,}", file_size(group["size"])] for group in groups]
        columns = [Column("group"), Column("documents", right=True), Column("text", right=True)]
    else:
        rows = [
            [
                group["name"],
                f"{group['size']:,}",
                f"{100 * group['asked']:.2f}",
                f"{group['quota']:,}",
                f"{100 * group['share']:.2f}",
                f"{group['epochs']:.2f}",
            ]
            for group in groups
        ]
        names = ("has", "asked %", "quota", "share %", "epochs")
        columns = [Column("group"), *(Column(name, right=True) for name in names)]
    if rows:
        print_rows(out_console(), columns, rows)
    if len(told["groups"]) > SHOWN:
        say(f"and {len(told['groups']) - SHOWN:,} groups more; --json has all")
    if told.get("repetition"):
        print_seen(told["repetition"])
    if told["documents"]:
        documents = counted(told["documents"], "document")
        say(f"memory: about {file_size(told['memory'])} in the process that plans, for {documents}")
    for note in told["notes"]:
        say(harmless(f"note: {note}"))
