"""What readers yield: batches of documents, with the records that gave none and why."""

import functools
import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from tamis.pipeline.formats.columns import columns_batch
from tamis.pipeline.formats.options import ReadOptions
from tamis.pipeline.formats.partitions import partition_values
from tamis.schemas.secrets import redacted
from tamis.schemas.tables import DOCUMENT_SCHEMA, ERROR_SCHEMA, REJECTED_SCHEMA
from tamis.scorers.extraction.html import Refusal
from tamis.scorers.text.identity import doc_ids

__all__ = ["REJECT_STEP", "BatchBuilder", "DocId", "ReadBatch"]

READ_STEP = "read"
"""The `step` of errors met while reading."""

REJECT_STEP = "extract"
"""The `step` of records that hold no text worth extracting."""

_DETAIL = 500
_WARNED = {
    "id_passed_over": "values of `id` that name nothing are passed over, and ids made of url and text (set `id:`)",
    "url_passed_over": "values of `url` that are no address are passed over (set `url:`)",
}


@functools.cache
def _warn_once(source: str, sentence: str) -> None:
    logging.getLogger("tamis").warning("input %s: %s", source, sentence)


class DocId(str):
    """The identity of a document that a run selected before: its `doc_id`, which it keeps."""

    __slots__ = ()


class ReadBatch(NamedTuple):
    """Consecutive records of a split, in file order within each table.

    Attributes:
        documents: of `DOCUMENT_SCHEMA`.
        rejected: of `REJECTED_SCHEMA`; their text is empty.
        errors: of `ERROR_SCHEMA`.
        read: documents + rejected + errors.
        skipped: what was passed over because it can't hold a document, by kind: blank lines, and WARC records
            of kinds such as warcinfo, request, metadata or revisit.
        notes: what was done to records that became documents all the same, by kind: `odd_value` (values beside
            the text that became text or null), `unreadable_value` (values beside it that can't be read),
            `id_passed_over`, `url_passed_over`, `timestamp_passed_over` and `column_passed_over` (values that are no
            identity, address, time, or none of their column's type: kept in `meta`).
        columns: row-aligned with `documents`, the columns that the options ask for (`column_schema`).
        rejected_meta: row-aligned with `rejected`, a JSON object of what is known of the record, or null.
    """

    documents: pa.RecordBatch
    rejected: pa.RecordBatch
    errors: pa.RecordBatch
    read: int
    skipped: dict[str, int]
    notes: dict[str, int]
    columns: pa.RecordBatch
    rejected_meta: pa.StringArray


class BatchBuilder:
    """Collects records until a batch is full."""

    def __init__(self, uri: str, source: str, options: ReadOptions):
        self._uri = redacted(uri)
        self._source = source
        self._max_rows = options.batch_rows
        self._max_bytes = options.batch_bytes
        self._columns = options.columns
        self.partitions = partition_values(uri)
        """The values that the names of the file's folders hold."""
        self._clear()

    def _clear(self) -> None:
        self._ids: list[str | None] = []
        self._urls: list[str | None] = []
        self._texts: list[str] = []
        self._times: list[int | None] = []
        self._metas: list[str] = []
        self._values: list[Sequence[Any]] = []
        self._rejected: list[tuple[str | None, str | None, Refusal, str | None]] = []
        self._errors: list[tuple[str, str, str, str]] = []
        self._skipped: Counter[str] = Counter()
        self._notes: Counter[str] = Counter()
        self._bytes = 0

    @property
    def full(self) -> bool:
        """Whether it is time to `flush`."""
        rows = len(self._texts) + len(self._rejected) + len(self._errors)
        return rows >= self._max_rows or self._bytes >= self._max_bytes

    def document(
        self,
        identity: str | None,
        url: str | None,
        text: str,
        *,
        time: int | None,
        meta: str,
        weight: int,
        columns: Sequence[Any] | None = None,
    ) -> None:
        """Add a document; one whose text is blank is rejected as `empty_text`.

        Args:
            identity: of the record within its source, if it has one.
            url: address, if it has one.
            text: without lone surrogates.
            time: microseconds since 1970.
            meta: a JSON object.
            weight: bytes that the record had in the input.
            columns: values of the options' columns, as `typed` gives them; None where there are none.
        """
        self._bytes += weight
        if not text or text.isspace():
            self._rejected.append((identity, url, Refusal("empty_text", 0.0, 1.0), meta))
            return
        self._ids.append(identity)
        self._urls.append(url)
        self._texts.append(text)
        self._times.append(time)
        self._metas.append(meta)
        self._values.append(columns or (None,) * len(self._columns))

    def reject(self, refusal: Refusal, identity: str | None, url: str | None, meta: str | None = None) -> None:
        """Add a record that holds no text worth extracting; `meta` is a JSON object of what is known of it."""
        self._rejected.append((identity, url, refusal, meta))

    def error(self, record: str, error: str, detail: str, step: str = READ_STEP) -> None:
        """Add a record that can't be read.

        Args:
            record: where it is in the file, such as "byte 120" or "row 7".
            error: the class of the error.
            detail: what is wrong, in words.
            step: the step that met it.
        """
        self._errors.append((record, step, error, redacted(detail)[:_DETAIL]))

    def skip(self, kind: str) -> None:
        """Count a part of the file that can't hold a document."""
        self._skipped[kind] += 1

    def note(self, kind: str, count: int = 1) -> None:
        """Count something that was done to records without costing them."""
        if count:
            self._notes[kind] += count
            if kind in _WARNED:
                _warn_once(self._source, _WARNED[kind])

    def empty(self) -> bool:
        """Return whether nothing was added since the last `flush`."""
        return not (self._texts or self._rejected or self._errors or self._skipped or self._notes)

    def flush(self) -> ReadBatch:
        """Return what was collected, and start again."""
        documents = pa.RecordBatch.from_arrays(
            [
                pa.array(self._doc_ids(self._ids, self._urls, self._texts), pa.string()),
                pa.array(self._urls, pa.string()),
                pa.array([self._source] * len(self._texts), pa.string()),
                pa.array(self._texts, pa.large_string()),
                pa.array(self._times, pa.timestamp("us", tz="UTC")),
                pa.array(self._metas, pa.string()),
            ],
            schema=DOCUMENT_SCHEMA,
        )
        rejected, errors = self._rejected_batch(), self._error_batch()
        read = documents.num_rows + rejected.num_rows + errors.num_rows
        metas = pa.array([row[3] for row in self._rejected], pa.string())
        columns = columns_batch(self._columns, self._values)
        notes = dict(self._notes)
        batch = ReadBatch(documents, rejected, errors, read, dict(self._skipped), notes, columns, metas)
        self._clear()
        return batch

    def _doc_ids(self, identities: list[str | None], urls: list[str | None], texts: list[str]) -> list[str]:
        ids = doc_ids(self._source, identities, urls, texts)
        return [name if type(name) is DocId else new for name, new in zip(identities, ids, strict=True)]

    def _rejected_batch(self) -> pa.RecordBatch:
        rows = self._rejected
        identities, urls = [row[0] for row in rows], [row[1] for row in rows]
        texts = [""] * len(rows)
        return pa.RecordBatch.from_arrays(
            [
                pa.array(self._doc_ids(identities, urls, texts), pa.string()),
                pa.array(urls, pa.string()),
                pa.array([self._source] * len(rows), pa.string()),
                pa.array([REJECT_STEP] * len(rows), pa.string()),
                pa.array([row[2].rule for row in rows], pa.string()),
                pa.array([row[2].value for row in rows], pa.float64()),
                pa.array([row[2].threshold for row in rows], pa.float64()),
                pa.array(texts, pa.large_string()),
            ],
            schema=REJECTED_SCHEMA,
        )

    def _error_batch(self) -> pa.RecordBatch:
        rows = self._errors
        columns = [[self._uri] * len(rows), *([row[i] for row in rows] for i in range(4))]
        return pa.RecordBatch.from_arrays([pa.array(c, pa.string()) for c in columns], schema=ERROR_SCHEMA)
