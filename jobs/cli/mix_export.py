"""Carries out `tamis mix export`."""

import dataclasses

from tamis.jobs.cli.console import RunProgress, print_json, say
from tamis.jobs.cli.text import counted, harmless
from tamis.jobs.mix.export import export
from tamis.pipeline.graph.engine import Engine
from tamis.pipeline.storage import filesystem
from tamis.scorers.mixture.document_tokenizer import DocumentTokenizer

__all__ = ["show_export"]

_USE = {
    "megatron": "Use it: --data-path {folder}/tokens",
    "hf": 'Use it: datasets.load_dataset("{folder}", split="train")',
}


def show_export(
    source: str,
    output: str,
    form: str,
    *,
    tokenizer: str | None,
    end: str | None,
    special_tokens: bool,
    max_tokens: int,
    copies: str | None,
    workers: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """Export a mixture or a selection, and say what was written; the options are those of `export`.

    Raises:
        TamisError: whatever stopped it, in a sentence.
    """
    named = None
    if tokenizer is not None:
        named = DocumentTokenizer(tokenizer, end=end, special_tokens=special_tokens)
        named.end  # noqa: B018  (says now what is wrong with it)
    scratch = filesystem.join(output, "work", "passes")
    with Engine(scratch, workers=workers, progress=RunProgress(quiet=quiet)) as engine:
        result = export(source, output, form, engine, tokenizer=named, max_tokens=max_tokens, copies=copies)
    if as_json:
        print_json(dataclasses.asdict(result), indent=1)
        return
    if quiet:
        return
    tokens = f" and {counted(result.tokens, 'token')}" if result.tokens else ""
    say(harmless(f"{output}: {counted(result.documents, 'document')}{tokens} in {counted(len(result.files), 'file')}"))
    for note in result.notes:
        say(harmless(note))
    if form in _USE:
        say(harmless(_USE[form].format(folder=output)))
