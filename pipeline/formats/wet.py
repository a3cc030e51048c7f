"""Conversion records, of which WET files are made: text that a crawler extracted already."""

from tamis.pipeline.formats.fields import as_json
from tamis.pipeline.formats.media_types import media_type
from tamis.pipeline.formats.records import BatchBuilder
from tamis.pipeline.formats.timestamps import as_timestamp
from tamis.pipeline.formats.warc_records import WarcRecord
from tamis.scorers.extraction.html import Refusal
from tamis.scorers.text.encoding import decode

__all__ = ["add_conversion"]


def add_conversion(builder: BatchBuilder, record: WarcRecord, block: bytes) -> None:
    """Add a conversion record: a document with the text as it is, or rejected if it holds no plain text.

    `meta` holds `record`, `warc_record_id`, `refers_to` (the record that it was made from), `languages` and
    `defects`, as far as there are such.
    """
    headers = record.headers
    identity = headers.get("warc-record-id")
    url = headers.get("warc-target-uri", "").strip("<>") or None
    media, charset = media_type(headers.get("content-type", "text/plain"))
    if media != "text/plain":
        known = {"content_type": media, "record": record.place, "warc_record_id": identity}
        builder.reject(Refusal("content_type"), identity, url, as_json(known))
        return
    meta = {
        "defects": list(record.defects) or None,
        "languages": headers.get("warc-identified-content-language"),
        "record": record.place,
        "refers_to": headers.get("warc-refers-to"),
        "warc_record_id": identity,
    }
    builder.document(
        identity,
        url,
        decode(block, charset).text,
        time=as_timestamp(headers.get("warc-date", "")),
        meta=as_json(dict(builder.partitions) | {key: value for key, value in meta.items() if value is not None}),
        weight=len(block),
    )
