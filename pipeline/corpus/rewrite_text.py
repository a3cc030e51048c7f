"""Takes spans out of a shard's texts that a decision over the whole corpus named, and says what it took.

Later steps read the text that is left. How much went stands in a column, on request what went too; a document of which
too little is left falls.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tamis.pipeline.corpus.context import Outcome
from tamis.pipeline.graph.passes import Done, Values
from tamis.pipeline.passes.shard_reader import ColumnReader
from tamis.pipeline.passes.stage import Stage
from tamis.pipeline.storage.column_file import intact_note, writer
from tamis.pipeline.storage.place import Place, Shard
from tamis.pipeline.storage.row_state import RowState
from tamis.schemas.tables import STATE_SCHEMA, described
from tamis.scorers.dedup.cuts import Cuts, cut_spans
from tamis.scorers.text.texts import as_buffer

__all__ = ["CutText", "FindCuts", "Rewritten", "cut_schema", "kept_batches"]

_TEXT = described("text", pa.large_string(), "the text without what the corpus has again")
_SPAN = pa.struct([("start", pa.int64()), ("end", pa.int64())])

FindCuts: TypeAlias = Callable[[pa.RecordBatch, npt.NDArray[np.int64]], Cuts]
"""From the rows of a batch that are alive, and their numbers in the shard, to what goes of their texts."""


def cut_schema(prefix: str, *, spans: bool) -> pa.Schema:
    """Return the columns beside the text.

    Args:
        prefix: what their names begin with.
        spans: whether what went is kept.
    """
    fields = [
        described(f"{prefix}_removed_chars", pa.int64(), "code points taken out of the text"),
        described(f"{prefix}_left_chars", pa.int64(), "code points left, without white space at the ends"),
    ]
    if spans:
        told = "what was taken out, in code points of the text as the step read it: from start up to end"
        fields.append(described(f"{prefix}_removed_spans", pa.list_(_SPAN), told))
    return pa.schema(fields)


@dataclass(frozen=True)
class CutText:
    """Writes a shard's columns, texts and row states, unless that was done.

    Attributes:
        stage: the step, whose only rule rows fall to.
        reader: of the texts, of what finding cuts needs, and of the row states before.
        text: place of the texts that are left.
        columns: place of the columns.
        prefix: see `cut_schema`.
        least: code points that must be left.
        spans: see `cut_schema`.
        whole: whether the texts of rows that aren't alive are kept as they are; they are null otherwise.
    """

    stage: Stage
    reader: ColumnReader
    text: Place
    columns: Place
    prefix: str
    least: int
    spans: bool
    whole: bool

    @property
    def places(self) -> tuple[Place, ...]:
        """All that it writes for each shard."""
        return (self.stage.state, self.columns, self.text)

    def __call__(self, shard: Shard, find: FindCuts) -> Done:
        """Do it.

        Returns:
            A line of JSON: the shard's source; documents alive, how many of them changed, and how many fell;
            characters and bytes before, and those taken out; spans.
        """
        notes = [intact_note(place.file(shard), []) for place in self.places]
        reused = all(note is not None for note in notes)
        note = notes[0] if reused and notes[0] is not None else self._write(shard, find)
        counters = self.stage.rejections({0: int(note["fell"])})
        return Done(json.dumps({"source": shard.source, **note}).encode() + b"\n", counters, reused)

    def _write(self, shard: Shard, find: FindCuts) -> dict[str, Any]:
        schema = cut_schema(self.prefix, spans=self.spans)
        told = Counter[str]()
        # The states are entered first, so left last: where they are, the rest is too.
        with (
            writer(self.stage.state.file(shard), STATE_SCHEMA) as states,
            writer(self.columns.file(shard), schema) as columns,
            writer(self.text.file(shard), pa.schema([_TEXT])) as texts,
        ):
            first = 0
            for batch, state, _ in self.reader.read(shard):
                living = state.mask
                rows = np.flatnonzero(living)
                made, left = self._cut(batch.take(pa.array(rows)), rows + first, find, told)
                short = np.zeros(batch.num_rows, np.bool_)
                sizes = np.full(batch.num_rows, np.nan)
                sizes[rows] = made[1].to_numpy()
                short[rows] = sizes[rows] < self.least
                state.fall(self.stage.index, short, 0, sizes, float(self.least))
                told["documents"] += len(rows)
                told["fell"] += int(short.sum())
                places = np.full(batch.num_rows, -1)
                places[rows] = np.arange(len(rows))
                taken = pa.array(places, mask=places < 0)
                columns.write_batch(pa.RecordBatch.from_arrays([c.take(taken) for c in made], schema=schema))
                spread = left if living.all() else left.take(taken)
                if self.whole and not living.all():
                    spread = pc.if_else(pa.array(living), spread, batch.column("text"))
                texts.write_batch(pa.RecordBatch.from_arrays([spread], schema=pa.schema([_TEXT])))
                states.write_batch(state.to_batch())
                first += batch.num_rows
            note = {key: told[key] for key in ("documents", "changed", "fell", "bytes", "gone_bytes", "gone", "spans")}
            states.note = columns.note = texts.note = note
        return note

    def _cut(
        self, batch: pa.RecordBatch, rows: npt.NDArray[np.int64], find: FindCuts, told: "Counter[str]"
    ) -> tuple[list[pa.Array], pa.LargeStringArray]:
        """Return the columns and the texts of rows that are alive."""
        text = batch.column("text")
        cuts = find(batch, rows)
        left = cut_spans(text, cuts) if len(cuts.texts) else pa.array(text, pa.large_string())
        removed = cuts.removed(text)
        size = pc.utf8_length(pc.utf8_trim_whitespace(left)).cast(pa.int64())
        told["changed"] += int((removed > 0).sum())
        told["gone"] += int(removed.sum())
        told["gone_bytes"] += int((cuts.ends - cuts.starts).sum())
        told["spans"] += len(cuts.texts)
        _, offsets = as_buffer(text)
        told["bytes"] += int(offsets[-1] - offsets[0])
        columns = [pa.array(removed), size]
        if self.spans:
            starts, ends = cuts.characters(text)
            bounds = np.searchsorted(cuts.texts, np.arange(batch.num_rows + 1)).astype(np.int32)
            values = pa.StructArray.from_arrays([pa.array(starts), pa.array(ends)], fields=list(_SPAN))
            columns.append(pa.ListArray.from_arrays(pa.array(bounds), values))
        return columns, left


def kept_batches(reader: ColumnReader, shard: Shard) -> Iterator[tuple[pa.RecordBatch, npt.NDArray[np.int64]]]:
    """Yield the rows of a shard that are alive, with their numbers in the shard."""
    first = 0
    for batch, state, _ in reader.read(shard):
        rows = _alive(state)
        yield batch.take(pa.array(rows)), rows + first
        first += batch.num_rows


def _alive(state: RowState) -> npt.NDArray[np.int64]:
    return np.flatnonzero(state.mask)


@dataclass(frozen=True)
class Rewritten:
    """What became of the texts, from the lines of `CutText`.

    Attributes:
        label: of the step.
        name: of the pass that returned the lines.
        what: what was repeated, in a sentence.
        listing: pass that wrote an index, if one did.
    """

    label: str
    name: str
    what: str
    listing: str | None = None

    def __call__(self, values: Values) -> Outcome:
        """Return figures, and a warning for each source that lost more than half of its text."""
        notes = [json.loads(line) for line in values[self.name].splitlines()]
        sources: dict[str, Counter[str]] = {}
        for note in notes:
            source = note.pop("source")
            sources.setdefault(source, Counter()).update(note)
        total = Counter[str]()
        for counts in sources.values():
            total.update(counts)
        metrics: dict[str, Any] = {
            "documents": total["documents"],
            "changed": total["changed"],
            "removed_chars": total["gone"],
            "removed_bytes": total["gone_bytes"],
            "spans": total["spans"],
            "removed": {
                source: {"bytes": counts["bytes"], "removed": counts["gone_bytes"]}
                for source, counts in sorted(sources.items())
            },
        }
        if self.listing is not None:
            metrics["index"] = json.loads(values[self.listing])
        return Outcome(metrics=metrics, warnings=self._warnings(sources))

    def _warnings(self, sources: "dict[str, Counter[str]]") -> Sequence[str]:
        return [
            f"step {self.label}: {counts['gone_bytes']:,} of {counts['bytes']:,} bytes of {source} "
            f"({counts['gone_bytes'] / counts['bytes']:.0%}) are {self.what}: look at the texts before relying on it"
            for source, counts in sorted(sources.items())
            if 2 * counts["gone_bytes"] > counts["bytes"]
        ]
