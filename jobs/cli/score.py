"""Carries out `tamis score`: reads its options, prints a table or JSON lines, or has a file written."""

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from tamis.jobs.cli.console import error_console, out_console, say, write_json
from tamis.jobs.cli.layout import Column, print_rows
from tamis.jobs.cli.problems import Problems
from tamis.jobs.cli.text import counted, figure, harmless, one_line
from tamis.jobs.config_file import read_yaml
from tamis.jobs.json_text import json_object
from tamis.jobs.score import Scores, check_output, score_documents, write_scores
from tamis.pipeline.steps.registry import parse_config

__all__ = ["score_files"]

SHOWN_ROWS = 20
PREVIEW = 40
"""Characters of a text's beginning."""
STDIN = "-"
_TEXT = frozenset({"text"})
_UNSHOWN = frozenset({"text", "meta", "timestamp"})
"""Columns of a document that JSON lines leave out: the input has them."""


def score_files(
    files: Sequence[str],
    steps: Sequence[str],
    options: Mapping[str, Any],
    *,
    output: str | None,
    limit: int | None,
    as_json: bool,
) -> None:
    """Score files and print a table (the first rows), JSON lines, or write a Parquet, CSV or JSONL file.

    Args:
        files: paths, folders, globs; `-` is the standard input.
        steps: each a step in YAML, such as "{language: {}}".
        options: of the input: text, id, format.
        output: a file to write; by its suffix.
        limit: documents to score; all if None. A table on the terminal stops at its last row.
        as_json: print JSON lines with all columns but the text, unless a step rewrote that.

    Raises:
        TamisError: if inputs, models or options are wrong.
    """
    if output is not None:
        check_output(output)
    parsed = [read_yaml(step, "--step") for step in steps]
    given = {key: value for key, value in options.items() if value is not None}
    with _with_stdin(files, given.get("format")) as paths, Problems() as problems:
        config = parse_config({"inputs": [{"path": paths, "source": "files", **given}], "steps": parsed})
        whole = output is not None or as_json
        shown = limit if limit is not None or whole else SHOWN_ROWS
        scores = score_documents(config, limit=shown, observe=problems)
        if output is not None:
            rows = write_scores(output, scores)
            say(f"{counted(rows, 'document')} scored to {harmless(output)}", error_console())
        elif as_json:
            _print_json(scores)
        else:
            _print_table(scores, more=limit is None)


@contextlib.contextmanager
def _with_stdin(files: Sequence[str], format_: str | None) -> Iterator[list[str]]:
    """Yield the paths, with what the standard input holds as a file for `-`."""
    if STDIN not in files:
        yield list(files)
        return
    with tempfile.TemporaryDirectory(prefix="tamis-") as folder:
        path = Path(folder) / f"stdin.{format_ or 'jsonl'}"
        with path.open("wb") as stream:
            shutil.copyfileobj(sys.stdin.buffer, stream)
        yield [str(path) if file == STDIN else file for file in files]


def _print_json(scores: Scores) -> None:
    names = [name for name in scores.schema.names if name not in _UNSHOWN or name in scores.added]
    for batch in scores.batches:
        columns = [batch.column(name).to_pylist() for name in names]
        for row in zip(*columns, strict=True):
            write_json(json_object(names, row))


def _print_table(scores: Scores, *, more: bool) -> None:
    names = [name for name in scores.added if name not in _TEXT]
    columns = [Column("text"), *(Column(name, right=_is_number(scores.schema.field(name).type)) for name in names)]
    rows = []
    for batch in scores.batches:
        texts = [one_line(text or "", PREVIEW) for text in batch.column("text").to_pylist()]
        values = [[figure(value) for value in batch.column(name).to_pylist()] for name in names]
        rows += [list(row) for row in zip(texts, *values, strict=True)]
    if not rows:
        say("no document in the input")
        return
    print_rows(out_console(), columns, rows)
    if more and len(rows) >= SHOWN_ROWS:
        say(f"the first {counted(len(rows), 'document')}; --limit shows more, --output writes all")


def _is_number(type_: pa.DataType) -> bool:
    return bool(pa.types.is_integer(type_) or pa.types.is_floating(type_))
