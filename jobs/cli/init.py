"""Carries out `tamis init`: asks what flags don't say, and writes the config."""

import shlex
from collections.abc import Sequence
from typing import get_args

import typer

from tamis.jobs.cli.console import error_console, out_console, say
from tamis.jobs.cli.layout import Column, print_rows
from tamis.jobs.cli.text import file_size, harmless
from tamis.jobs.new_config.write import AIMS, Aim, new_config, refuse_overwriting, write_config
from tamis.schemas.base import nearest
from tamis.schemas.errors import ConfigError

__all__ = ["init_config"]

ALL = "all"


def init_config(
    paths: Sequence[str], output: str, language: str | None, select: str | None, target: str | None
) -> None:
    """Write a config, after three questions at most: those that no flag answers.

    Args:
        paths: files, folders, globs; asked for if empty.
        output: the config's file, which must not be there.
        language: codes parted by commas, or `all`.
        select: one of the aims.
        target: of the aim `target`.

    Raises:
        ConfigError: if the file is there, an answer can't be, or nobody answers.
        InputError: if no file with text is found.
    """
    refuse_overwriting(output)
    if target is not None and select is None:
        select = "target"
    where = list(paths) or shlex.split(_asked("Where are the documents? A folder, files, or a glob", "INPUT"))
    if language is None:
        language = _asked("Which languages? Codes such as en,de", "--language", default=ALL)
    if select is None:
        choices = "\n".join(f"  {name:<9} {meaning}" for name, meaning in AIMS.items())
        select = _asked(f"What is to be selected?\n{choices}\n", "--select", default="quality")
    if select == "target" and target is None:
        target = _asked("Files that show what is wanted", "--target")
    config = new_config(where, _codes(language), _aim(select), output, target=target)
    for sentence in config.left_out:
        say(harmless(f"note: left out: {sentence}"), error_console())
    write_config(output, config)
    columns = [Column("source"), Column("files", right=True), Column("size", right=True), Column("format")]
    columns += [Column("path", wrap=True)]
    rows = []
    for one in config.inputs:
        where_ = one.path[0] + (f" and {len(one.path) - 1:,} more" if len(one.path) > 1 else "")
        rows.append([one.source, f"{one.files:,}", file_size(one.bytes), one.format, where_])
    print_rows(out_console(), columns, rows)
    say()
    say(harmless(f"{output} is written. What it would do, and its run:"))
    name = harmless(shlex.quote(output))
    for command in (f"tamis plan {name} --sample", f"tamis run {name}"):
        out_console().print(f"  {command}", soft_wrap=True)


def _asked(question: str, flag: str, default: str | None = None) -> str:
    try:
        answer = typer.prompt(question, default=default, err=True)
    except typer.Abort:
        msg = f"nobody answers: {question.partition(chr(10))[0].partition('?')[0].lower()}? Give {flag}"
        raise ConfigError(msg) from None
    return str(answer).strip()


def _codes(language: str) -> list[str]:
    codes = [code.strip() for code in language.split(",") if code.strip()]
    if ALL in codes:
        if len(codes) > 1:
            msg = f"--language {language}: give {ALL}, or codes"
            raise ConfigError(msg)
        return []
    if not codes:
        msg = f"--language: give codes such as en,de, or {ALL}"
        raise ConfigError(msg)
    return list(dict.fromkeys(codes))


def _aim(select: str) -> Aim:
    for aim in get_args(Aim):
        if aim == select:
            found: Aim = aim
            return found
    msg = f"--select {select}: it is one of {', '.join(AIMS)}{nearest(select, list(AIMS))}"
    raise ConfigError(msg)
