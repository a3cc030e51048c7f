"""The evaluation items of a step `decontaminate`: read from files, in their forms, and what finds them."""

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tamis.pipeline.storage import filesystem
from tamis.schemas.base import canonical_json, digest
from tamis.schemas.errors import DataError, ModelError

if TYPE_CHECKING:
    from tamis.pipeline.corpus.common_ngrams import GramCounts
    from tamis.pipeline.steps.decontaminate import DecontaminateStep
    from tamis.scorers.contamination.find import Hits
    from tamis.scorers.contamination.index import ContaminationIndex
    from tamis.scorers.text.texts import TextBuffer

__all__ = ["LARGE", "EvaluationItem", "Finder", "finder", "gram_counter", "read_items", "too_short"]

LARGE = 4 << 20
"""Characters of items from which on an index is kept in the user's cache, for all processes to map."""


class EvaluationItem(NamedTuple):
    """An evaluation item: its forms are its first field, that with the second, and so on."""

    name: str
    forms: tuple[str, ...]
    answer: str
    passage: str


def _plain(value: str | None) -> str:
    """Return a field as text: a list, which readers give as JSON, a line each."""
    if value is None or not value.startswith("["):
        return value or ""
    try:
        listed = json.loads(value)
    except ValueError:
        return value
    return "\n".join(one if isinstance(one, str) else json.dumps(one) for one in listed)


def _forms(parts: Sequence[str]) -> tuple[str, ...]:
    """Return the texts that an item is looked for by: an empty field makes none."""
    found: list[str] = []
    for part in parts:
        if part.strip() or not found:
            found.append(f"{found[-1]}\n{part}" if found else part)
    return tuple(found)


def read_items(step: "DecontaminateStep", name: str, reference: str) -> list[EvaluationItem]:
    """Return the items of a set, in the order of its files' paths.

    Raises:
        ModelError: if a record is no item.
    """
    from tamis.pipeline.formats.options import data_suffixes
    from tamis.pipeline.formats.reader import plan_splits, read_split

    options = step.read_options(name)
    others = sum(column.name.startswith("item_text") for column in options.columns)
    found: list[EvaluationItem] = []
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
                    for key in ("id", "answer", "passage", *(f"text{number}" for number in range(others)))
                }
                for row, text in enumerate(batch.documents.column("text").to_pylist()):
                    identity = columns["id"][row]
                    told = str(len(found)) if identity is None else identity
                    forms = _forms([text, *(_plain(columns[f"text{number}"][row]) for number in range(others))])
                    answer, passage = (columns[key][row] or "" for key in ("answer", "passage"))
                    found.append(EvaluationItem(f"{name}/{told}", forms, answer, passage))
    return found


def too_short(step: "DecontaminateStep", items: list[EvaluationItem]) -> list[EvaluationItem]:
    """Return the items that can't be found by themselves: of too few words, or of too little weight."""
    if step.method == "decon":
        return [item for item in items if not item.forms[0].split()]
    found = finder(step, items)
    left_out = {-1, *found.left_out}
    rows = iter(found.index.rows.tolist())
    return [item for item in items if {next(rows) for _ in item.forms} <= left_out]


def _index(texts: list[str], groups: list[int]) -> "ContaminationIndex":
    """Build the index of items; one of many is built once, and mapped from the user's cache."""
    from tamis.pipeline.code import module_code
    from tamis.scorers.contamination.index import ContaminationIndex
    from tamis.scorers.models.hub import cache_folder

    if sum(map(len, texts)) < LARGE:
        return ContaminationIndex.build(texts, groups=groups)
    key = digest([module_code(ContaminationIndex.__module__), texts, groups])
    folder = cache_folder() / "contamination" / key
    if folder.is_dir():
        try:
            return ContaminationIndex.read(folder)
        except (DataError, ModelError, OSError):  # damaged
            shutil.rmtree(folder, ignore_errors=True)
    index = ContaminationIndex.build(texts, groups=groups)
    made = folder.with_name(f"{key}.{os.getpid()}")
    try:
        index.write(made, provenance={"items": len(texts)})
        made.rename(folder)
    except OSError:  # no room, or another process was first
        shutil.rmtree(made, ignore_errors=True)
        return index
    return ContaminationIndex.read(folder)


@dataclass(frozen=True)
class Finder:
    """What finds items.

    Attributes:
        index: of all forms of items.
        names: of the item that each of the index is a form of.
        find: finds them in texts.
        left_out: those of the index that can't be found.
    """

    index: "ContaminationIndex"
    names: list[str]
    find: "Callable[[TextBuffer], Hits]"
    left_out: set[int]


def finder(step: "DecontaminateStep", items: list[EvaluationItem], counts: "GramCounts | None" = None) -> Finder:
    """Return what finds items.

    Args:
        step: the step.
        items: the items.
        counts: of their n-grams in the corpus, if it has a say.

    Raises:
        ModelError: if no item can be found.
    """
    from tamis.scorers.contamination.decon import DeconScore, Item
    from tamis.scorers.contamination.find import one_of_each_item

    if step.method == "decon":
        try:
            score = DeconScore([Item(item.forms[0], item.answer, item.passage) for item in items])
        except DataError as error:
            msg = f"step {step.label}: items: {error}"
            raise ModelError(msg) from None
        return Finder(score.index, [items[given[0]].name for given in score.names], score.find, set())
    way = _NGrams(step, items) if step.method == "ngrams" else _Aligned(step, items)
    if counts is not None:
        way.weigh(counts)
    left_out = way.left_out()
    index = way.index
    if len(left_out) == len(index):
        of = "weigh too little (see `short_weight`)"
        if step.method == "ngrams":
            of = "hold no word, or none but n-grams of more than `most_items` items"
        msg = f"step {step.label}: none of the {len(items)} items can be looked for: they {of}"
        raise ModelError(msg)
    names = [items[group].name for group in index.groups.tolist()]
    return Finder(index, names, lambda texts: one_of_each_item(way.find(texts), index), left_out)


def _texts_and_groups(items: list[EvaluationItem]) -> tuple[list[str], list[int]]:
    """Return the forms of all items, and the number of the item of each."""
    return [form for item in items for form in item.forms], [i for i, item in enumerate(items) for _ in item.forms]


class _Aligned:
    """Items by their alignment."""

    def __init__(self, step: "DecontaminateStep", items: list[EvaluationItem]):
        from tamis.scorers.contamination.find import Aligned

        self.index = _index(*_texts_and_groups(items))
        self._way = Aligned(step.threshold, step.partial, step.short_weight, step.long_weight)

    def find(self, texts: "TextBuffer") -> "Hits":
        return self._way.find(texts, self.index)

    def left_out(self) -> set[int]:
        return set(self._way.left_out(self.index).tolist())

    def weigh(self, counts: "GramCounts") -> None:
        self.index = self.index.weighted(counts.dense(len(self.index.grams)), counts.documents)

    def count(self, texts: "TextBuffer") -> "npt.NDArray[np.int64]":
        return self.index.documents_with(texts)

    def common(self, counts: "npt.NDArray[np.int64]", documents: int) -> "npt.NDArray[np.bool_]":
        return self.index.common(counts, documents)

    def phrase(self, gram: int) -> str:
        return self.index.phrase(gram)


class _NGrams:
    """Items by the n-grams that they share with a document."""

    def __init__(self, step: "DecontaminateStep", items: list[EvaluationItem]):
        from tamis.scorers.contamination.find import NGrams

        texts, groups = _texts_and_groups(items)
        self._most = step.most_documents
        self._way = NGrams(
            texts,
            size=step.size,
            short=step.short_size,
            least=step.share,
            most_items=step.most_items,
            most_documents=step.most_documents,
            groups=groups,
        )
        self.index = self._way.index
        self.find = self._way.find

    def left_out(self) -> set[int]:
        return set(self._way.left_out().tolist())

    def weigh(self, counts: "GramCounts") -> None:
        bounds = np.cumsum(self._way.sizes)
        self._way.counted(np.split(counts.dense(int(bounds[-1])), bounds[:-1]))

    def count(self, texts: "TextBuffer") -> "npt.NDArray[np.int64]":
        return np.concatenate(self._way.count(texts))

    def common(self, counts: "npt.NDArray[np.int64]", documents: int) -> "npt.NDArray[np.bool_]":
        del documents
        return counts > self._most

    def phrase(self, gram: int) -> str:
        return self._way.phrase(gram)


def gram_counter(step: "DecontaminateStep", models: Mapping[str, str]) -> "_Aligned | _NGrams":
    """Return what counts the items' n-grams: one of a process for all of its shards."""
    key = canonical_json([step.model_dump(mode="json", by_alias=True), dict(models)])
    if _COUNTERS.get("key") != key:
        items = [item for name in sorted(step.items) for item in read_items(step, name, models[f"items.{name}"])]
        _COUNTERS.update(key=key, made=_NGrams(step, items) if step.method == "ngrams" else _Aligned(step, items))
    made: _Aligned | _NGrams = _COUNTERS["made"]
    return made


_COUNTERS: dict[str, Any] = {}
