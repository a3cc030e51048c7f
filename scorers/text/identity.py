"""The identity of a document: a 128-bit hash that runs, file order, sharding and batching don't change.

The encoding that is hashed is frozen, since ids are compared across runs:

```
record that has an identity     b"i" field(source) field(identity)
record that has none            b"c" field(source) field(url) field(text)
field(s)                        length of s in UTF-8 bytes (8 bytes, little-endian), then the bytes
```
"""

from collections.abc import Sequence

import xxhash

__all__ = ["doc_id", "doc_id_from_content", "doc_ids"]


def _field(value: str) -> bytes:
    data = value.encode()
    return len(data).to_bytes(8, "little") + data


def doc_id(source: str, identity: str) -> str:
    """Return the id (32 hex digits) of the record that `source` calls `identity`, such as a WARC-Record-ID.

    The hash is XXH3-128, in its canonical (big-endian) form.
    """
    return xxhash.xxh3_128_hexdigest(b"i" + _field(source) + _field(identity))


def doc_id_from_content(source: str, url: str | None, text: str) -> str:
    """Return the id of a record without an identity of its own; no url counts as an empty one."""
    return xxhash.xxh3_128_hexdigest(b"c" + _field(source) + _field(url or "") + _field(text))


def doc_ids(
    source: str, identities: Sequence[str | None], urls: Sequence[str | None], texts: Sequence[str]
) -> list[str]:
    """Return the ids of a batch: by identity where there is one that isn't empty, else by url and text."""
    label = _field(source)
    named, content = b"i" + label, b"c" + label
    digest = xxhash.xxh3_128_hexdigest
    return [
        digest(named + _field(identity)) if identity else digest(content + _field(url or "") + _field(text))
        for identity, url, text in zip(identities, urls, texts, strict=True)
    ]
