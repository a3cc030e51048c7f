"""Prints what `tamis plan` tells of a config's mixture."""

from collections.abc import Mapping
from typing import Any

from tamis.jobs.cli.console import out_console, say, say_more
from tamis.jobs.cli.layout import Column, print_rows
from tamis.jobs.cli.mix_output import SHOWN, print_groups, print_seen
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
    groups = told["groups"]
    if groups and "unit" in told:
        print_groups(groups)
    elif groups:
        rows = [[group["name"], f"{group['documents']:,}", file_size(group["size"])] for group in groups[:SHOWN]]
        columns = [Column("group"), Column("documents", right=True), Column("text", right=True)]
        print_rows(out_console(), columns, rows)
        say_more(len(groups), SHOWN, "group")
    if told.get("repetition"):
        print_seen(told["repetition"])
    if told["documents"]:
        documents = counted(told["documents"], "document")
        say(f"memory: about {file_size(told['memory'])} in the process that plans, for {documents}")
    for note in told["notes"]:
        say(harmless(f"note: {note}"))
