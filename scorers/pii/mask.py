r"""Replaces personal data by masks that a keyed hash of the data chooses, so that output depends on the text alone.

The same address becomes the same mask everywhere in a corpus, whatever the order, batch or worker; without the seed
nothing tells which data a mask stands for, beyond the kind. The definition is frozen: the key is the first 8 bytes,
big-endian, of `SHA-256("tamis-pii-1\0" + str(seed) + "\0" + kind)`; the mask is number h mod n of the kind's n masks,
with h the XXH3-64, seeded by the key, of the data's UTF-8 (of e-mail and IP addresses in lower case; of numbers without
what stands between letters and digits).
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256

import numpy as np
import pyarrow as pa
import xxhash

from tamis.schemas.errors import ConfigError
from tamis.scorers.pii.detect import PiiSpans
from tamis.scorers.pii.kinds import KINDS, PiiKind
from tamis.scorers.text.texts import TextBuffer, Texts, as_buffer

__all__ = ["DEFAULT_MASKS", "Masker"]

DEFAULT_MASKS: dict[PiiKind, tuple[str, ...]] = {
    "email": tuple(
        f"{name}@example.{top}" for name in ("email", "firstname.lastname") for top in ("com", "org", "net")
    ),
    "ip": ("192.0.2.1", "192.0.2.77", "198.51.100.14", "198.51.100.201", "203.0.113.5", "203.0.113.190"),
    "phone": tuple(f"+1-202-555-01{n:02d}" for n in (0, 17, 34, 51, 68, 85)),
    "iban": ("<IBAN>",),
    "card": ("<CARD>",),
    "key": ("<KEY>",),
}
"""Hosts of RFC 2606, documentation addresses of RFC 5737, numbers reserved for fiction, and names of the kind."""


class Masker:
    """Replaces findings.

    Args:
        seed: the run's seed.
        masks: for some kinds other masks than the default ones.

    Raises:
        ConfigError: for a kind that there isn't, or one without masks.
    """

    def __init__(self, seed: int = 0, masks: Mapping[PiiKind, Sequence[str]] | None = None) -> None:
        chosen = {**DEFAULT_MASKS, **(masks or {})}
        wrong = sorted(str(kind) for kind, words in chosen.items() if kind not in KINDS or not words)
        if wrong:
            msg = f"masks of personal data need at least one for each of {', '.join(KINDS)}; {wrong[0]!r} is wrong"
            raise ConfigError(msg)
        self._masks = [tuple(mask.encode() for mask in chosen[kind]) for kind in KINDS]
        self._keys = [
            int.from_bytes(sha256(f"tamis-pii-1\0{seed}\0{kind}".encode()).digest()[:8], "big") for kind in KINDS
        ]

    def mask(self, kind: int, data: bytes) -> bytes:
        """Return what stands for data of the kind of this index in `KINDS`."""
        masks = self._masks[kind]
        if len(masks) == 1:
            return masks[0]
        name = KINDS[kind]
        plain = data.lower() if name in ("email", "ip") else bytes(byte for byte in data if chr(byte).isalnum())
        return masks[xxhash.xxh3_64_intdigest(plain, self._keys[kind]) % len(masks)]

    def apply(self, texts: "Texts | TextBuffer", spans: PiiSpans) -> pa.LargeStringArray:
        """Return the texts with each finding replaced by its mask.

        Args:
            texts: the texts.
            spans: what `tamis.scorers.pii.detect.find_pii` found in them.
        """
        data, offsets = as_buffer(texts)
        raw = memoryview(data.data)
        pieces: list[bytes | memoryview] = []
        grown = np.zeros(len(offsets) - 1, np.int64)
        at = int(offsets[0])
        for text, start, end, kind in zip(*(column.tolist() for column in spans), strict=True):
            base = int(offsets[text])
            mask = self.mask(kind, bytes(raw[base + start : base + end]))
            pieces += [raw[at : base + start], mask]
            grown[text] += len(mask) - (end - start)
            at = base + end
        pieces.append(raw[at : int(offsets[-1])])
        bounds = offsets - offsets[0]
        bounds[1:] += np.cumsum(grown)
        return pa.LargeStringArray.from_buffers(
            len(bounds) - 1, pa.py_buffer(bounds.astype(np.int64).tobytes()), pa.py_buffer(b"".join(pieces))
        )
