"""`decontaminate`: evaluation items that stand in the documents."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from tamis.pipeline.steps.base import FoundFile, Memory, Step
from tamis.pipeline.steps.evaluation_items import LARGE, finder, gram_counter, read_items, too_short
from tamis.pipeline.steps.files import digest_set
from tamis.pipeline.steps.papers import NGRAM_OVERLAP
from tamis.pipeline.storage import filesystem
from tamis.schemas.base import nearest
from tamis.schemas.errors import InputError, ModelError
from tamis.schemas.guide import ENCYCLOPEDIA, Guide
from tamis.schemas.paper import Paper
from tamis.schemas.rule import Rule
from tamis.schemas.step import NAME, Decides, FilePath
from tamis.schemas.tables import described
from tamis.scorers.base import Annotator

if TYPE_CHECKING:
    from tamis.pipeline.corpus.context import Corpus, Fit
    from tamis.pipeline.formats.options import ReadOptions
    from tamis.scorers.contamination.find import Hits
    from tamis.scorers.contamination.index import ContaminationIndex
    from tamis.scorers.text.texts import TextBuffer

__all__ = ["DecontaminateStep"]

_Fields = str | dict[str, str]
"""A field of the items, or the name of each set of items to its field."""

_TextFields = str | tuple[str, ...] | dict[str, str | tuple[str, ...]]
"""The same of the text, which may be several fields."""

_OF_METHOD = {
    "aligned": ("threshold", "partial", "short_weight", "long_weight"),
    "ngrams": ("size", "short_size", "share", "most_items", "most_documents"),
    "decon": ("answer", "passage"),
}
HITS = pa.list_(
    pa.struct(
        [
            pa.field("item", pa.string()),
            pa.field("coverage", pa.float64()),
            pa.field("whole", pa.bool_()),
            pa.field("start", pa.int64()),
            pa.field("end", pa.int64()),
            pa.field("match", pa.large_string()),
            pa.field("item_match", pa.large_string()),
        ]
    )
)
"""The type of the column with all hits."""

_BUILT, _MAPPED = 55, 12
"""Memory for a byte of the items while an index is built, by the method that takes most, and of the index: measured on
20,000 and 50,000 items of 60 words."""
_PLANTED = 500
"""Items that `tamis plan` plants, at most."""
_SHORT_ITEM = 20
"""Words below which items are told of apart."""

_GUIDE = Guide(
    formula="""\
weight(word)   =  ln((items + 1) / (items that have it + 1/2)), less in phrases that several items share
coverage       =  weight of the item's words that a local alignment shares with the document / weight of the item
whole          =  coverage >= 1 for short items, falling to `threshold` from `long_weight` on
part           =  coverage >= `partial` from the item's beginning on
ngrams         =  a shared 13-gram (8-gram of shorter items) is a hit""",
    follows="""\
`method: ngrams` is GPT-3's rule, `method: decon` allenai/decon's own score; `aligned` (Smith and Waterman 1981)
also finds items of which words were changed, dropped or added. `tamis plan` says what share of planted items is
found.""",
    example="""\
- decontaminate: {items: {sample: examples/recipes/evaluation.jsonl}, text: question, action: drop}""",
    query="SELECT contamination_item, round(contamination_coverage, 2) AS coverage, fate FROM documents WHERE "
    "contamination_item IS NOT NULL ORDER BY ALL",
    inputs=(ENCYCLOPEDIA,),
)


class DecontaminateStep(Step):
    """Finds evaluation items in documents, whole, in part or changed, and drops such documents or takes the items out.

    Columns say which item stands there, how much of it, and both texts of the match. Files of items
    are read as inputs are (JSONL, Parquet and others).
    """

    verb: ClassVar[str] = "decontaminate"
    guide: ClassVar[Guide] = _GUIDE
    papers: ClassVar[tuple[Paper, ...]] = (NGRAM_OVERLAP,)
    rewrites: ClassVar[bool] = True
    items: Annotated[dict[str, str], FilePath] = Field(
        min_length=1, description="name of a set of evaluation items: its files"
    )
    text: _TextFields = Field(
        default="text", description="the items' field to look for, or several, such as [question, choices, answer]: "
        "the first is looked for by itself, with the second, and so on; name: field where sets differ",
    )  # fmt: skip
    id: _Fields | None = Field(
        default=None, description="the items' field that the column tells them by; their number in the set if absent"
    )
    method: Literal["aligned", "ngrams", "decon"] = Field(
        default="aligned", description="aligned: words are aligned, changed ones cost only themselves; ngrams: a "
        "shared 13-gram is a hit; decon: the score of allenai/decon",
    )  # fmt: skip
    threshold: float = Field(
        default=0.65, gt=0, le=1, description="of aligned: share of a long item's weight from which on it is whole"
    )
    partial: float = Field(
        default=0.4, gt=0, le=1, description="of aligned: share, from its beginning on, that makes it a partial hit"
    )
    short_weight: float = Field(
        default=20, gt=0, description="of aligned: items of less weight (nats, about 3 to 7 a word) aren't looked for"
    )
    long_weight: float = Field(
        default=45, gt=0, description="of aligned: weight from which on `threshold` holds; below it more is asked for"
    )
    size: int = Field(default=13, ge=1, description="of ngrams: words in an n-gram")
    short_size: int = Field(default=8, ge=1, description="of ngrams: words in an n-gram of items shorter than `size`")
    share: float = Field(
        default=0, ge=0, le=1, description="of ngrams: share of an item's n-grams from which on it is whole; any makes "
        "it a part",
    )  # fmt: skip
    most_items: int = Field(
        default=20, ge=1, description="of ngrams: an n-gram of more items is boilerplate, and a sign of none"
    )
    boilerplate: Literal["items", "corpus"] = Field(
        default="items", description="what makes an n-gram boilerplate, which counts less or not at all: items that "
        "share it; corpus: documents too, by a pass over the corpus beforehand",
    )  # fmt: skip
    most_documents: int = Field(
        default=10, ge=1, description="of ngrams and `boilerplate: corpus`: an n-gram of more documents is boilerplate"
    )
    answer: _Fields | None = Field(default=None, description="of decon: the field of the items' answers")
    passage: _Fields | None = Field(default=None, description="of decon: the field of the passages asked about")
    hits: Annotated[Literal["any", "whole"], Decides] = Field(
        default="any", description="what `action` is about: partial hits too, or whole items alone"
    )
    action: Annotated[Literal["drop", "remove", "annotate"], Decides] = Field(
        default="drop", description="drop: the document falls; remove: the matches are taken out of its text; "
        "annotate: neither",
    )  # fmt: skip
    table: bool = Field(
        default=False, description="a column `<name>_hits` with every hit of a document, which SQL shows as a table"
    )
    name: str = Field(default="contamination", pattern=NAME, description="begins the columns' names")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for method, options in _OF_METHOD.items():
            foreign = [option for option in options if option in self.model_fields_set and method != self.method]
            if foreign:
                msg = f"{foreign[0]} is of `method: {method}`; this is `method: {self.method}`"
                raise ValueError(msg)
        if self.partial > self.threshold:
            msg = f"partial ({self.partial:g}) can't be above threshold ({self.threshold:g})"
            raise ValueError(msg)
        if self.short_weight >= self.long_weight:
            msg = f"short_weight ({self.short_weight:g}) must be below long_weight ({self.long_weight:g})"
            raise ValueError(msg)
        if self.short_size > self.size:
            msg = f"short_size ({self.short_size}) can't be above size ({self.size})"
            raise ValueError(msg)
        if self.method == "decon" and self.boilerplate == "corpus":
            msg = "boilerplate: decon's score knows items alone: use `method: aligned` or `ngrams`"
            raise ValueError(msg)
        if "most_documents" in self.model_fields_set and self.boilerplate != "corpus":
            msg = "most_documents is of `boilerplate: corpus`; this is `boilerplate: items`"
            raise ValueError(msg)
        for fields in self.text.values() if isinstance(self.text, dict) else [self.text]:
            if not fields or (self.method == "decon" and not isinstance(fields, str)):
                told = "an item's text is one field with `method: decon`, its answer is `answer`" if fields else "empty"
                msg = f"text: {told}"
                raise ValueError(msg)
        for option in ("text", "id", "answer", "passage"):
            fields = getattr(self, option)
            for name in fields if isinstance(fields, dict) else ():
                if name not in self.items:
                    msg = f"{option}: `items` has no {name!r}{nearest(name, list(self.items))}"
                    raise ValueError(msg)
        return self

    @property
    def references(self) -> dict[str, str]:
        """Every set of items by its name."""
        return {f"items.{name}": path for name, path in self.items.items()}

    def scoring_options(self) -> dict[str, Any]:
        """Return what the columns follow from: of the action whether, and by what, the text changes."""
        return {**super().scoring_options(), "remove": self.hits if self.action == "remove" else None}

    @property
    def rules(self) -> tuple[Rule, ...]:
        """An item that stands there, or nothing that is left."""
        if self.action == "drop":
            column = f"{self.name}_items" if self.hits == "any" else f"{self.name}_whole_items"
            return (Rule(column=column, op="max", threshold=0, reason=f"{self.name}_found"),)
        if self.action == "remove":
            return (Rule(column=f"{self.name}_left", op="min", threshold=1, reason="nothing_left"),)
        return ()

    def read_options(self, name: str) -> "ReadOptions":
        """Return how the files of a set of items are read."""
        from tamis.pipeline.formats.options import InputColumn, ReadOptions

        columns = []
        for option in ("id", "answer", "passage"):
            field = _field(getattr(self, option), name)
            if field is not None:
                columns.append(InputColumn(f"item_{option}", field, "string"))
        first, *others = self._texts(name)
        columns += [InputColumn(f"item_text{number}", field, "string") for number, field in enumerate(others)]
        return ReadOptions(text=first, columns=tuple(columns))

    def _texts(self, name: str) -> tuple[str, ...]:
        """Return the fields of a set's texts."""
        fields = self.text.get(name, "text") if isinstance(self.text, dict) else self.text
        return (fields,) if isinstance(fields, str) else fields

    def find(self, option: str, reference: str) -> dict[str, FoundFile]:
        """Find the files of a set of items, with the fields named.

        Raises:
            ModelError: if there are none, or no record in them.
        """
        from tamis.pipeline.formats.options import data_suffixes
        from tamis.pipeline.formats.reader import plan_splits

        where = f"step {self.label}: {option}"
        options = self.read_options(option.removeprefix("items."))
        try:
            files = filesystem.expand(reference, suffixes=data_suffixes())
            parts = [part for file in files for part in plan_splits(file, options)]
        except InputError as error:
            msg = f"{where}: {error}"
            raise ModelError(msg) from None
        if not parts:
            msg = f"{where}: {reference} holds no item"
            raise ModelError(msg)
        sha256, size = digest_set([(Path(file.path).name, file.path) for file in files])
        return {option: FoundFile(reference, reference, sha256, size)}

    def annotator(self, models: Mapping[str, str]) -> Annotator:
        """Read the items, and return what finds them.

        Raises:
            ModelError: if items can't be read, or none is long enough to be found.
        """
        return _Contamination(self, models)

    def columns(self, models: Mapping[str, str]) -> pa.Schema:
        """Return the columns, known before n-grams are counted."""
        del models
        return _schema(self)

    @property
    def fits(self) -> bool:
        """Whether n-grams are counted in the corpus."""
        return self.boilerplate == "corpus"

    def fit(self, corpus: "Corpus") -> "Fit":
        """Count the items' n-grams in the rows alive."""
        from tamis.pipeline.corpus.common_ngrams import common_ngrams

        return common_ngrams(corpus, partial(gram_counter, self, corpus.stage.model_paths("")), "counts")

    def costs(self, documents: int, models: Mapping[str, FoundFile], before: Sequence[Step]) -> tuple[str, ...]:
        """Say how many items are too short to be looked for, and what is found of the others where they are planted."""
        del documents, before
        items = [item for name in sorted(self.items) for item in read_items(self, name, models[f"items.{name}"].path)]
        short = too_short(self, items)
        names = {item.name for item in short}
        long = [item.forms[-1] for item in items if item.name not in names]
        told = []
        if short:
            few = ", ".join(item.name for item in short[:3]) + (" and others" if len(short) > 3 else "")
            what = "lower `short_weight` to look for more of them"
            if self.method != "aligned":
                what = "they hold no word, or none but n-grams of more than `most_items` items"
            told.append(f"{len(short)} of {len(items)} items are too short to be looked for ({few}): {what}")
        if long:
            find = finder(self, items).find
            brief = [text for text in long if len(text.split()) < _SHORT_ITEM]
            told += [_recall(long, find, "")]
            if 0 < len(brief) < len(long):
                told += [_recall(brief, find, f" of fewer than {_SHORT_ITEM} words")]
        return tuple(told)

    def memory(self, documents: int, models: Mapping[str, FoundFile]) -> Memory:
        """Estimate the index: a large one is mapped by all workers, others each builds for itself."""
        del documents
        size = sum(model.bytes for name, model in models.items() if name.startswith("items."))
        size *= max(len(self._texts(name)) for name in self.items)  # each form of an item has all before it in it
        mapped = size >= LARGE and self.method == "aligned"
        return Memory(worker=size, shared=_MAPPED * size) if mapped else Memory(worker=_BUILT * size)


def _recall(texts: list[str], find: "Callable[[TextBuffer], Hits]", what: str) -> str:
    """Say what is found of some items where they are planted."""
    from tamis.scorers.contamination.planted import PLANTED, planted_recall

    step = -(-len(texts) // _PLANTED)
    shares = ", ".join(f"{share:.0%} {PLANTED[kind]}" for kind, share in planted_recall(texts[::step], find).items())
    count = len(texts[::step])
    return f"of {count} item{'s' * (count > 1)}{what} planted in other text are found: {shares}"


def _field(fields: _Fields | None, name: str) -> str | None:
    return fields.get(name) if isinstance(fields, dict) else fields


def _schema(step: DecontaminateStep) -> pa.Schema:
    name = step.name
    fields = [
        described(f"{name}_item", pa.string(), "the evaluation item of which most is there, as set/item"),
        described(f"{name}_coverage", pa.float64(), "share of it that is there (decon: its score); 0 without a hit"),
        described(f"{name}_items", pa.int64(), "items found, whole or in part"),
        described(f"{name}_whole_items", pa.int64(), "items found whole"),
        described(f"{name}_match", pa.large_string(), "the match as it stands in the document"),
        described(f"{name}_item_match", pa.large_string(), "the match as it stands in the item"),
    ]
    if step.table:
        told = "every item found: which, how much, where in the document (bytes), and both texts of the match"
        fields.append(described(f"{name}_hits", HITS, told))
    if step.action == "remove":
        fields.append(described(f"{name}_removed_chars", pa.int64(), "code points taken out of the text"))
        fields.append(described(f"{name}_left", pa.int64(), "code points left, without white space at the ends"))
        fields.append(described("text", pa.large_string(), "the text without the matches"))
    return pa.schema(fields)


class _Contamination:
    """Which item stands in a document, how much of it, and where; and the text without it."""

    requires = ("text",)

    def __init__(self, step: DecontaminateStep, models: Mapping[str, str]):
        self._removes = step.hits if step.action == "remove" else None
        # In the order of their names, so that an item of two sets is told by the same one however they are listed.
        items = [item for name in sorted(step.items) for item in read_items(step, name, models[f"items.{name}"])]
        counts = None
        if step.fits:
            from tamis.pipeline.corpus.common_ngrams import counted_grams

            if "counts" not in models:
                msg = f"step {step.label}: boilerplate: no corpus is counted yet; a run does it"
                raise ModelError(msg)
            counts = counted_grams(models["counts"])
        found = finder(step, items, counts)
        self._index, self._names, self._find = found.index, found.names, found.find
        self._table = step.table
        self.schema = _schema(step)

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        from tamis.scorers.contamination.find import hit_spans, side_by_side
        from tamis.scorers.dedup.cuts import cut_spans
        from tamis.scorers.text.texts import as_arrow, as_buffer

        texts = as_buffer(batch.column("text"))
        hits = self._find(texts)
        rows = batch.num_rows
        order = np.lexsort((hits.starts, hits.items, -hits.coverage, ~hits.whole, hits.documents))
        documents, first = np.unique(hits.documents[order], return_index=True)
        best = hits.take(order[first])
        shown = side_by_side(texts, self._index, best)
        place = np.full(rows, -1)
        place[documents] = np.arange(len(documents))
        places = pa.array(place, mask=place < 0)
        names = pa.array([self._names[item] for item in best.items.tolist()], pa.string())
        columns = [
            names.take(places),
            pc.fill_null(pa.array(best.coverage).take(places), 0.0),
            pa.array(_distinct(hits, self._index, rows)),
            pa.array(_distinct(hits.take(np.flatnonzero(hits.whole)), self._index, rows)),
            shown.column("document_match").combine_chunks().take(places),
            shown.column("item_match").combine_chunks().take(places),
        ]
        if self._table:
            columns.append(_all_hits(side_by_side(texts, self._index, hits), hits, self._names, rows))
        if self._removes is not None:
            chosen = hits.take(np.flatnonzero(hits.whole)) if self._removes == "whole" else hits
            cuts = hit_spans(chosen)
            left = cut_spans(texts, cuts) if len(cuts.texts) else as_arrow(batch.column("text"))
            size = pc.cast(pc.utf8_length(pc.utf8_trim_whitespace(left)), pa.int64())
            columns += [pa.array(cuts.removed(texts)), size, left]
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)


def _all_hits(shown: pa.Table, hits: "Hits", names: list[str], rows: int) -> pa.Array:
    """Return every hit of each document, by place and item: a list of HITS's values a row, null without a hit.

    Args:
        shown: the hits with both texts, see `side_by_side`.
        hits: by document, place and item.
        names: of items.
        rows: documents.
    """
    counts = np.bincount(hits.documents, minlength=rows)
    values = pa.StructArray.from_arrays(
        [
            pa.array([names[item] for item in hits.items.tolist()], pa.string()),
            pa.array(hits.coverage),
            pa.array(hits.whole),
            pa.array(hits.starts),
            pa.array(hits.ends),
            shown.column("document_match").combine_chunks(),
            shown.column("item_match").combine_chunks(),
        ],
        fields=list(HITS.value_type),
    )
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values, type=HITS, mask=pa.array(counts == 0))


def _distinct(hits: "Hits", index: "ContaminationIndex", rows: int) -> Any:
    """Return how many different items each document has, int64 (rows,)."""
    pairs = np.unique(np.stack([hits.documents, index.groups[hits.items]], axis=1), axis=0)
    return np.bincount(pairs[:, 0], minlength=rows).astype(np.int64)
