"""WARC files to documents."""

from collections.abc import Iterator

from tamis.pipeline.formats.fields import as_json
from tamis.pipeline.formats.http_message import HttpMessage, media_type, parse_http, unpack_body
from tamis.pipeline.formats.options import ReadOptions, Split
from tamis.pipeline.formats.records import REJECT_STEP, BatchBuilder, ReadBatch
from tamis.pipeline.formats.timestamps import as_timestamp
from tamis.pipeline.formats.warc_records import WarcFault, WarcRecord, warc_records
from tamis.pipeline.formats.wet import add_conversion
from tamis.pipeline.storage import filesystem
from tamis.scorers.extraction.html import Refusal, html_to_text, looks_binary, plain_to_text
from tamis.scorers.extraction.sandbox import CallFailedError
from tamis.scorers.text.encoding import decode

__all__ = ["read_warc"]

_SKIPPED = frozenset({"warcinfo", "request", "metadata", "revisit", "continuation"})


def read_warc(split: Split, source: str, options: ReadOptions) -> Iterator[ReadBatch]:
    """Yield the documents of a WARC or WET file: of its response, resource and conversion records.

    Records of the kinds warcinfo, request, metadata, revisit and continuation, and of kinds that no standard
    knows, are counted as skipped. A record of another status than the options keep, of another media type, or
    without content is rejected (`http_status`, `content_type`, `empty_payload`), as is a page that extraction
    refuses.

    Errors name their record as `WarcRecord.place` does: `malformed_header` (no kind, no length, or bytes that
    are no record), `record_too_large`, `truncated_file`, `corrupt_member`, `garbage`, `expansion`,
    `extraction_failed`.

    The document's identity is its WARC-Record-ID and its time the WARC-Date. `meta` holds `record` (its
    place), `warc_record_id`, `content_type`, `charset` (as decoded) and `status`, and where it applies
    `languages` (WARC-Identified-Content-Language), `truncated` (WARC-Truncated) and `defects` (headers that
    the bytes contradict, among them a damaged body of which the readable part was kept).
    """
    builder = BatchBuilder(split.path, source, options)
    with filesystem.open_binary(split.path) as stream:
        records = warc_records(
            stream, split.codec, max_record_bytes=options.max_record_bytes, max_expansion=options.max_expansion
        )
        for record in records:
            if builder.full:
                yield builder.flush()
            if isinstance(record, WarcFault):
                builder.error(record.place, record.error, record.detail)
            else:
                _add(builder, record, options)
    if not builder.empty():
        yield builder.flush()


def _add(builder: BatchBuilder, record: WarcRecord, options: ReadOptions) -> None:
    kind = record.headers.get("warc-type", "").lower()
    if kind in _SKIPPED:
        builder.skip(kind)
    elif not kind:
        builder.error(record.place, "malformed_header", "the record has no WARC-Type")
    elif kind not in ("response", "resource", "conversion"):
        builder.skip("other")
    elif record.block is None:
        length = record.headers["content-length"]
        detail = f"a record of {length} bytes; the limit is {options.max_record_bytes}"
        builder.error(record.place, "record_too_large", detail)
    elif kind == "conversion":
        add_conversion(builder, record, record.block)
    else:
        _add_page(builder, record, record.block, options)


def _message(record: WarcRecord, block: bytes) -> HttpMessage:
    """Return the HTTP message of a response; a resource, and anything but HTTP, is a body with a media type."""
    content_type = record.headers.get("content-type", "")
    if block.startswith(b"HTTP/") or "http" in content_type.lower() or not content_type:
        return parse_http(block)
    return HttpMessage(None, {"content-type": content_type}, block)


def _add_page(builder: BatchBuilder, record: WarcRecord, block: bytes, options: ReadOptions) -> None:
    headers = record.headers
    identity = headers.get("warc-record-id")
    url = headers.get("warc-target-uri", "").strip("<>") or None
    message = _message(record, block)
    if message.status is not None and message.status not in options.statuses:
        builder.reject(Refusal("http_status", float(message.status)), identity, url)
        return
    if not message.body.strip():
        builder.reject(Refusal("empty_payload", float(len(message.body)), 1.0), identity, url)
        return
    declared = message.headers.get("content-type") or headers.get("warc-identified-payload-type")
    media, charset = media_type(declared)
    if media is None and message.body.lstrip().startswith(b"<"):
        media = "text/html"
    if media not in options.content_types:
        builder.reject(Refusal("content_type"), identity, url)
        return
    body = unpack_body(message, options.extract.max_page_bytes)
    if len(body.data) > options.extract.max_page_bytes:
        limit = float(options.extract.max_page_bytes)
        builder.reject(Refusal("page_too_large", float(len(body.data)), limit), identity, url)
        return
    if looks_binary(body.data):
        builder.reject(Refusal("content_type"), identity, url)
        return
    page = decode(body.data, charset)
    try:
        convert = plain_to_text if media == "text/plain" else html_to_text
        text, refusal = convert(page.text, options.extract)
    except CallFailedError as error:
        builder.error(record.place, "extraction_failed", str(error), REJECT_STEP)
        return
    if refusal is not None:
        builder.reject(refusal, identity, url)
        return
    meta = {
        "charset": page.encoding,
        "content_type": media,
        "defects": [*record.defects, *body.defects] or None,
        "languages": headers.get("warc-identified-content-language"),
        "record": record.place,
        "status": message.status,
        "truncated": headers.get("warc-truncated"),
        "warc_record_id": identity,
    }
    builder.document(
        identity,
        url,
        text,
        time=as_timestamp(headers.get("warc-date", "")),
        meta=as_json({key: value for key, value in meta.items() if value is not None}),
        weight=len(block),
    )
