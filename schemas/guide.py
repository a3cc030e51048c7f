"""What the page of a step says that its options and columns don't."""

from dataclasses import dataclass

__all__ = ["ENCYCLOPEDIA", "FORUM", "PROSE", "WEB", "Guide"]

FORUM = "{path: examples/corpus/forum.csv, source: forum, timestamp: posted}"
PROSE = "{path: examples/corpus/books.jsonl.zst, source: books, text: body, id: key}"
WEB = "{path: examples/corpus/web.warc.gz, source: web}"
ENCYCLOPEDIA = "{path: examples/corpus/encyclopedia.parquet, source: encyclopedia}"


@dataclass(frozen=True)
class Guide:
    """What a step's page says beside its class's docstring, its options, columns and papers.

    Attributes:
        formula: how its values come about; lines that are shown as they stand.
        follows: Markdown: what implementation it agrees with, and where it differs.
        example: YAML of steps, a list whose last entry is the step; paths lead from a checkout.
        query: SQL over the example's run that shows what the step did.
        inputs: YAML of the example's inputs, an entry each.
        before: a command that makes what the example needs; empty if it needs nothing.
    """

    formula: str
    follows: str
    example: str
    query: str
    inputs: tuple[str, ...] = (FORUM,)
    before: str = ""
