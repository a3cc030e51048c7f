"""WARC files to documents."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from tamis.pipeline.formats.fields import as_json
from tamis.pipeline.formats.http_message import HttpMessage, begins_as_http, parse_http, unpack_body
from tamis.pipeline.formats.media_types import is_definite, media_type, page_media
from tamis.pipeline.formats.options import ReadOptions, Split
from tamis.pipeline.formats.records import REJECT_STEP, BatchBuilder, ReadBatch
from tamis.pipeline.formats.timestamps import as_timestamp
from tamis.pipeline.formats.warc_records import WarcFault, WarcRecord, warc_records
from tamis.pipeline.formats.wet import add_conversion
from tamis.pipeline.storage import filesystem
from tamis.scorers.extraction.html import Refusal, html_to_text, looks_binary, odd_share, plain_to_text
from tamis.scorers.extraction.sandbox import CallFailedError
from tamis.scorers.text.encoding import decode

__all__ = ["batches_of", "read_warc"]

_SKIPPED = frozenset({"warcinfo", "request", "metadata", "revisit", "continuation"})
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(?!\d)")
_PAGE_SCHEMES = frozenset({"http", "https", "ftp", "ftps", "file", "gopher", "gemini"})
_ROBOTS = re.compile(r"^https?://[^/?#]*/robots\.txt(?:[?#]|$)", re.IGNORECASE)
_CORRUPT = 0.002  # share of characters of a damaged body that no text has


def read_warc(split: Split, source: str, options: ReadOptions) -> Iterator[ReadBatch]:
    """Yield the documents of a WARC or WET file: of its response, resource and conversion records.

    Records of the kinds warcinfo, request, metadata, revisit and continuation, of kinds that no standard knows,
    and those that are no pages are counted as skipped: segments of cut payloads (`segment`), `robots.txt`, and
    addresses such as `metadata:`, `urn:` and `dns:` (`no_page`). A record of another status than the options keep,
    of another media type, or without content is rejected (`http_status`, `content_type`, `empty_payload`), as is a
    page that extraction refuses.

    Errors name their record as `WarcRecord.place` does: `malformed_header` (no kind, no length, or bytes that
    are no record), `record_too_large`, `truncated_file`, `corrupt_member`, `garbage`, `expansion`, `corrupt_body`
    (what can be unpacked of it is no text), `extraction_failed`.

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
        yield from batches_of(records, builder, options)


def batches_of(
    records: Iterable[WarcRecord | WarcFault], builder: BatchBuilder, options: ReadOptions
) -> Iterator[ReadBatch]:
    """Yield the documents of records, of WARC files or of what reads as one."""
    for record in records:
        if builder.full:
            yield builder.flush()
        if isinstance(record, WarcFault):
            builder.error(record.place, record.error, record.detail)
        else:
            _add_record(builder, record, options)
    if not builder.empty():
        yield builder.flush()


def _add_record(builder: BatchBuilder, record: WarcRecord, options: ReadOptions) -> None:
    """Add a record: a document, rejected, an error, or counted as skipped if it holds no page."""
    kind = record.headers.get("warc-type", "").lower()
    if kind in _SKIPPED:
        builder.skip(kind)
    elif not kind:
        builder.error(record.place, "malformed_header", "the record has no WARC-Type")
    elif kind not in ("response", "resource", "conversion"):
        builder.skip("other")
    elif (no_page := _no_page(record.headers)) is not None:
        builder.skip(no_page)
    elif record.block is None:
        length = record.headers.get("content-length", "")
        size = f"a record of {length} bytes" if length.isdigit() else "a record whose length isn't said"
        detail = f"{size}; the limit is {options.max_record_bytes}"
        builder.error(record.place, "record_too_large", detail)
    elif kind == "conversion":
        add_conversion(builder, record, record.block)
    else:
        _add_page(builder, record, record.block, options)


def _no_page(headers: dict[str, str]) -> str | None:
    """Return the kind of a record that holds no page by its address or its number; None for one that may."""
    if headers.get("warc-segment-number", "").strip():
        return "segment"
    uri = headers.get("warc-target-uri", "").strip("<> ")
    scheme = _SCHEME.match(uri)
    if scheme is not None and scheme[1].lower() not in _PAGE_SCHEMES:
        return "no_page"
    return "robots_txt" if _ROBOTS.search(uri) else None


def _message(record: WarcRecord, block: bytes) -> HttpMessage:
    """Return the HTTP message of a response; a resource, and anything but HTTP, is a body with a media type."""
    content_type = record.headers.get("content-type", "")
    if begins_as_http(block) or "http" in content_type.lower() or not content_type:
        return parse_http(block)
    return HttpMessage(None, {"content-type": content_type}, block)


def _add_page(builder: BatchBuilder, record: WarcRecord, block: bytes, options: ReadOptions) -> None:
    """Add a response or resource: a document, or rejected, or an error if it can't be extracted.

    Args:
        builder: collects the batch.
        record: its headers say where the page is from.
        block: the HTTP response, or the page itself.
        options: which pages become documents, and how.
    """
    headers = record.headers
    identity = headers.get("warc-record-id")
    url = headers.get("warc-target-uri", "").strip("<>") or None
    message = _message(record, block)
    declared, charset = media_type(message.headers.get("content-type"))
    identified, identified_charset = media_type(headers.get("warc-identified-payload-type"))
    known: dict[str, Any] = {
        "content_type": declared or identified or message.headers.get("content-type") or None,
        "languages": headers.get("warc-identified-content-language"),
        "record": record.place,
        "status": message.status,
        "truncated": headers.get("warc-truncated"),
        "warc_record_id": identity,
    }

    def reject(refusal: Refusal, **more: Any) -> None:
        builder.reject(refusal, identity, url, _meta(builder, known | more))

    if message.status is not None and message.status not in options.statuses:
        reject(Refusal("http_status", float(message.status)))
        return
    if not message.body.strip():
        reject(Refusal("empty_payload", float(len(message.body)), 1.0))
        return
    if is_definite(declared) and declared not in options.content_types:
        reject(Refusal("content_type"))
        return
    body = unpack_body(message, options.extract.max_page_bytes)
    if len(body.data) > options.extract.max_page_bytes:
        reject(Refusal("page_too_large", float(len(body.data)), float(options.extract.max_page_bytes)))
        return
    media = page_media(declared, identified, body.data)
    if media not in options.content_types or looks_binary(body.data):
        reject(Refusal("content_type"), content_type=media)
        return
    page = decode(body.data, charset or identified_charset)
    known |= {"charset": page.encoding, "content_type": media, "defects": [*record.defects, *body.defects] or None}
    if body.defects and (share := odd_share(page.text)) > _CORRUPT:
        detail = f"its body is damaged ({', '.join(body.defects)}): {share:.1%} of what could be unpacked is no text"
        builder.error(record.place, "corrupt_body", detail)
        return
    try:
        convert = plain_to_text if media == "text/plain" else html_to_text
        text, refusal = convert(page.text, options.extract)
    except CallFailedError as error:
        builder.error(record.place, "extraction_failed", str(error), REJECT_STEP)
        return
    if refusal is not None:
        reject(refusal)
        return
    time = as_timestamp(headers.get("warc-date", ""))
    builder.document(identity, url, text, time=time, meta=_meta(builder, known), weight=len(block))


def _meta(builder: BatchBuilder, known: dict[str, Any]) -> str:
    """Return what is known of a record as JSON, with the values that the folders' names hold."""
    return as_json(dict(builder.partitions) | {key: value for key, value in known.items() if value is not None})
