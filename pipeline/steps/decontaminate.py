"""`decontaminate`: evaluation items that stand in the documents."""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from tamis.pipeline.steps.base import FoundFile, Memory, Step
from tamis.pipeline.steps.files import digest_set
from tamis.pipeline.steps.papers import NGRAM_OVERLAP
from tamis.pipeline.storage import filesystem
from tamis.schemas.base import digest, nearest
from tamis.schemas.errors import DataError, InputError, ModelError
from tamis.schemas.guide import ENCYCLOPEDIA, Guide
from tamis.schemas.paper import Paper
from tamis.schemas.rule import Rule
from tamis.schemas.step import NAME, Decides, FilePath
from tamis.schemas.tables import described
from tamis.scorers.base import Annotator

if TYPE_CHECKING:
    from tamis.pipeline.formats.options import ReadOptions
    from tamis.scorers.contamination.find import Hits
    from tamis.scorers.contamination.index import ContaminationIndex
    from tamis.scorers.text.texts import TextBuffer

__all__ = ["DecontaminateStep"]

_Fields = str | dict[str, str]
"""A field of the items, or the name of each set of items to its field."""

_OF_METHOD = {
    "aligned": ("threshold", "partial", "short_weight", "long_weight"),
    "ngrams": ("size", "short_size", "share"),
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

_BUILT, _MAPPED = 40, 12
"""Memory for a byte of the items while an index is built, and of the index: measured on 50,000 items of 60 words."""
_PLANTED = 500
"""Items that `tamis plan` plants, at most."""
_LARGE = 4 << 20
"""Characters of items from which on an index is kept in the user's cache, for all processes to map."""

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
    text: _Fields = Field(default="text", description="the items' field to look for; name: field where sets differ")
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
        for option in ("text", "id", "answer", "passage"):
            fields = getattr(self, option)
            for name in fields if isinstance(fields, dict) else ():
                if name not in self.items:
                    msg = f"{option}: `items` has no {name!r}{nearest(name, list(self.items))}"
                    raise ValueError(msg)
        return self

    @property
    def label(self) -> str:
        """The verb, or verb and name."""
        return self.verb if self.name == "contamination" else f"{self.verb}.{self.name}"

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
        return ReadOptions(text=_field(self.text, name) or "text", columns=tuple(columns))

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

    def costs(self, documents: int, models: Mapping[str, FoundFile], before: Sequence[Step]) -> tuple[str, ...]:
        """Say how many items are too short to be looked for, and what is found of the others where they are planted."""
        from tamis.scorers.contamination.planted import PLANTED, planted_recall

        del documents, before
        items = [item for name in sorted(self.items) for item in _read(self, name, models[f"items.{name}"].path)]
        short = _too_short(self, items)
        names = {item.name for item in short}
        long = [item.text for item in items if item.name not in names]
        told = []
        if short:
            few = ", ".join(item.name for item in short[:3]) + (" and others" if len(short) > 3 else "")
            what = "lower `short_weight` to look for more of them" if self.method == "aligned" else "they hold no word"
            told.append(f"{len(short)} of {len(items)} items are too short to be looked for ({few}): {what}")
        if long:
            _, _, find = _finder(self, items)
            step = -(-len(long) // _PLANTED)
            recall = planted_recall(long[::step], find)
            shares = ", ".join(f"{share:.0%} {PLANTED[kind]}" for kind, share in recall.items())
            told.append(f"of {len(long[::step])} items planted in other text are found: {shares}")
        return tuple(told)

    def memory(self, documents: int, models: Mapping[str, FoundFile]) -> Memory:
        """Estimate the index: a large one is mapped by all workers, others each builds for itself."""
        del documents
        size = sum(model.bytes for model in models.values())
        mapped = size >= _LARGE and self.method == "aligned"
        return Memory(worker=size, shared=_MAPPED * size) if mapped else Memory(worker=_BUILT * size)


def _field(fields: _Fields | None, name: str) -> str | None:
    return fields.get(name) if isinstance(fields, dict) else fields


class _Item(NamedTuple):
    name: str
    text: str
    answer: str
    passage: str


def _read(step: DecontaminateStep, name: str, reference: str) -> list[_Item]:
    """Return the items of a set, in the order of its files' paths.

    Raises:
        ModelError: if a record is no item.
    """
    from tamis.pipeline.formats.options import data_suffixes
    from tamis.pipeline.formats.reader import plan_splits, read_split

    options = step.read_options(name)
    found: list[_Item] = []
    for file in filesystem.expand(reference, suffixes=data_suffixes()):
        for split in plan_splits(file, options):
            for batch in read_split(split, name, options):
                if batch.errors.num_rows:
                    error = batch.errors.slice(0, 1).to_pylist()[0]
                    told = f"record {error['record']}: {error['error']}: {error['detail']}"
                    msg = f"step {step.label}: items.{name}: {error['uri']}, {told}"
                    raise ModelError(msg)
                rows = batch.documents.num_rows
                columns = {
                    key: batch.columns.column(f"item_{key}").to_pylist()
                    if f"item_{key}" in batch.columns.schema.names
                    else [None] * rows
                    for key in ("id", "answer", "passage")
                }
                for row, text in enumerate(batch.documents.column("text").to_pylist()):
                    identity = columns["id"][row]
                    told = str(len(found)) if identity is None else identity
                    found.append(
                        _Item(f"{name}/{told}", text, columns["answer"][row] or "", columns["passage"][row] or "")
                    )
    return found


def _too_short(step: DecontaminateStep, items: list[_Item]) -> list[_Item]:
    """Return the items that can't be found by themselves: of too few words, or of too little weight."""
    from tamis.scorers.contamination.find import Aligned

    if step.method != "aligned":
        return [item for item in items if not item.text.split()]
    index = _index([item.text for item in items])
    way = Aligned(step.threshold, step.partial, step.short_weight, step.long_weight)
    left_out = {-1, *way.left_out(index).tolist()}
    return [item for item, row in zip(items, index.rows.tolist(), strict=True) if row in left_out]


class _Contamination:
    """Which item stands in a document, how much of it, and where; and the text without it."""

    requires = ("text",)

    def __init__(self, step: DecontaminateStep, models: Mapping[str, str]):
        self._removes = step.hits if step.action == "remove" else None
        # In the order of their names, so that an item of two sets is told by the same one however they are listed.
        items = [item for name in sorted(step.items) for item in _read(step, name, models[f"items.{name}"])]
        self._index, self._names, self._find = _finder(step, items)
        name = step.name
        fields = [
            described(f"{name}_item", pa.string(), "the evaluation item of which most is there, as set/item"),
            described(
                f"{name}_coverage", pa.float64(), "share of it that is there (decon: its score); 0 without a hit"
            ),
            described(f"{name}_items", pa.int64(), "items found, whole or in part"),
            described(f"{name}_whole_items", pa.int64(), "items found whole"),
            described(f"{name}_match", pa.large_string(), "the match as it stands in the document"),
            described(f"{name}_item_match", pa.large_string(), "the match as it stands in the item"),
        ]
        self._table = step.table
        if step.table:
            told = "every item found: which, how much, where in the document (bytes), and both texts of the match"
            fields.append(described(f"{name}_hits", HITS, told))
        if self._removes is not None:
            fields.append(described(f"{name}_removed_chars", pa.int64(), "code points taken out of the text"))
            fields.append(described(f"{name}_left", pa.int64(), "code points left, without white space at the ends"))
            fields.append(described("text", pa.large_string(), "the text without the matches"))
        self.schema = pa.schema(fields)

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
            pa.array(_distinct(hits, rows)),
            pa.array(_distinct(hits.take(np.flatnonzero(hits.whole)), rows)),
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


def _distinct(hits: "Hits", rows: int) -> Any:
    """Return how many different items each document has, int64 (rows,)."""
    pairs = np.unique(np.stack([hits.documents, hits.items], axis=1), axis=0)
    return np.bincount(pairs[:, 0], minlength=rows).astype(np.int64)


def _index(texts: list[str]) -> "ContaminationIndex":
    """Build the index of items; one of many is built once, and mapped from the user's cache."""
    from tamis.pipeline.code import module_code
    from tamis.scorers.contamination.index import ContaminationIndex
    from tamis.scorers.models.hub import cache_folder

    if sum(map(len, texts)) < _LARGE:
        return ContaminationIndex.build(texts)
    key = digest([module_code(ContaminationIndex.__module__), texts])
    folder = cache_folder() / "contamination" / key
    if folder.is_dir():
        try:
            return ContaminationIndex.read(folder)
        except (DataError, ModelError, OSError):  # damaged
            shutil.rmtree(folder, ignore_errors=True)
    index = ContaminationIndex.build(texts)
    made = folder.with_name(f"{key}.{os.getpid()}")
    try:
        index.write(made, provenance={"items": len(texts)})
        made.rename(folder)
    except OSError:  # no room, or another process was first
        shutil.rmtree(made, ignore_errors=True)
        return index
    return ContaminationIndex.read(folder)


def _finder(
    step: DecontaminateStep, items: list[_Item]
) -> "tuple[ContaminationIndex, list[str], Callable[[TextBuffer], Hits]]":
    """Return the index, the name of each of its items, and what finds them.

    Raises:
        ModelError: if no item can be found.
    """
    from tamis.scorers.contamination.decon import DeconScore, Item
    from tamis.scorers.contamination.find import Aligned, NGrams

    if step.method == "decon":
        try:
            score = DeconScore([Item(item.text, item.answer, item.passage) for item in items])
        except DataError as error:
            msg = f"step {step.label}: items: {error}"
            raise ModelError(msg) from None
        return score.index, [items[given[0]].name for given in score.names], score.find
    texts = [item.text for item in items]
    if step.method == "ngrams":
        grams = NGrams(texts, size=step.size, short=step.short_size, least=step.share)
        index, find, searched = grams.index, grams.find, len(grams.index)
    else:
        index = _index(texts)
        way = Aligned(step.threshold, step.partial, step.short_weight, step.long_weight)
        find, searched = (lambda texts: way.find(texts, index)), len(index) - len(way.left_out(index))
    if not searched:
        of = "weigh too little (see `short_weight`)" if step.method == "aligned" else "hold no word"
        msg = f"step {step.label}: none of the {len(items)} items can be looked for: they {of}"
        raise ModelError(msg)
    known = np.flatnonzero(index.rows >= 0)
    first = np.full(len(index), len(items))
    np.minimum.at(first, index.rows[known], known)
    return index, [items[row].name for row in first.tolist()], find
