"""Files that are one document each: plain text, Markdown, HTML."""

from collections.abc import Iterator

from tamis.pipeline.formats.compression import Fault, decompress
from tamis.pipeline.formats.fields import as_json
from tamis.pipeline.formats.options import ReadOptions, Split, file_name
from tamis.pipeline.formats.records import REJECT_STEP, BatchBuilder, ReadBatch
from tamis.pipeline.storage import filesystem
from tamis.scorers.extraction.html import html_to_text
from tamis.scorers.extraction.sandbox import CallFailedError
from tamis.scorers.text.encoding import decode

__all__ = ["read_single"]


def read_single(split: Split, source: str, options: ReadOptions) -> Iterator[ReadBatch]:
    """Yield the document that a file is; its encoding is found out as a page's is.

    Text is kept as it is but for its encoding and line ends (LF), unless the options say that it is HTML. `meta` holds
    `file` (the file's name) and `charset`. The document has no identity but its text, so that it is the same wherever
    the file lies. Errors: `record_too_large`, `truncated_file`, `corrupt_member`, `garbage`, `expansion`,
    `extraction_failed`.

    Raises:
        InputError: if the file can't be read at all.
    """
    builder = BatchBuilder(split.path, source, options)
    limit = options.max_record_bytes
    parts: list[bytes] = []
    size = 0
    fault: Fault | None = None
    with filesystem.open_binary(split.path) as stream:
        pieces = decompress(stream, split.codec, max_expansion=options.max_expansion, free_expansion=16 * limit)
        for piece in pieces:
            if isinstance(piece, Fault):
                fault = piece
                break
            parts.append(piece.data)
            size += len(piece.data)
            if size > limit:
                fault = Fault("record_too_large", 0, f"a file of more than {limit} bytes, which is the limit")
                break
    if fault is not None:
        builder.error("file", fault.kind, fault.detail)
    else:
        _add(builder, split, b"".join(parts), options)
    yield builder.flush()


def _add(builder: BatchBuilder, split: Split, data: bytes, options: ReadOptions) -> None:
    page = decode(data)
    known = {"charset": page.encoding, "file": file_name(split.path)}
    meta = as_json(dict(builder.partitions) | known)
    text = page.text.replace("\r\n", "\n")
    if split.format == "html" or options.html:
        try:
            text, refusal = html_to_text(page.text, options.extract)
        except CallFailedError as error:
            builder.error("file", "extraction_failed", str(error), REJECT_STEP)
            return
        if refusal is not None:
            builder.reject(refusal, None, None, meta)
            return
    builder.document(None, None, text, time=None, meta=meta, weight=len(data))
