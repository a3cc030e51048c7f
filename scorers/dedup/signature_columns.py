"""What matching needs of each text, as columns: the hashes of its bands, a digest of its shingles, its length."""

import numpy as np
import pyarrow as pa

from tamis.schemas.tables import internal
from tamis.scorers.dedup.bands import Bands, band_rows
from tamis.scorers.dedup.minhash import MinHash
from tamis.scorers.text.texts import TextBuffer, Texts, as_buffer

__all__ = ["SignatureColumns"]


class SignatureColumns:
    """Signs texts for near-deduplication.

    The columns are `<name>_bands` (the hashes of the bands, 8 bytes each, null for a text that is shorter than a
    shingle and so takes no part), `<name>_digest` (of the shingles in their order), `<name>_length` (bytes of UTF-8),
    and on request `<name>_minima`, the signature itself. They are marked as internal: no table of a run shows them.

    Args:
        minhash: the signer.
        bands: the signature's division.
        name: what the columns' names begin with.
        minima: whether the signature is kept whole, as estimates of the similarity need.
    """

    def __init__(self, minhash: MinHash, bands: Bands, *, name: str = "dup", minima: bool = False):
        self._minhash = minhash
        self._bands = bands
        self._minima = minima
        width = minhash.permutations.dtype.itemsize * minhash.permutations.count
        fields = [
            ("bands", pa.binary(8 * bands.bands), "hashes of the bands of the text's MinHash signature"),
            ("digest", pa.uint64(), "hash of the text's shingles in their order"),
            ("length", pa.int64(), "bytes of the text, UTF-8"),
            *([("minima", pa.binary(width), "the text's MinHash signature")] if minima else []),
        ]
        self.schema = pa.schema([internal(f"{name}_{key}", kind, told) for key, kind, told in fields])

    def score(self, texts: Texts) -> pa.RecordBatch:
        """Return the columns of texts."""
        data, offsets = as_buffer(texts)
        signed = self._minhash.sign(TextBuffer(data, offsets))
        rows = len(signed)
        short = signed.counts == 0
        keys = np.zeros((rows, self._bands.bands), np.uint64)
        keys[~short] = band_rows(signed, self._bands, np.arange(rows, dtype=np.uint64)).keys.reshape(
            -1, self._bands.bands
        )
        columns = [
            _fixed(keys, self.schema.field(0).type, short),
            pa.array(signed.digests, mask=short),
            pa.array(np.diff(offsets)),
        ]
        if self._minima:
            columns.append(_fixed(signed.minima, self.schema.field(3).type, short))
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)


def _fixed(
    values: "np.ndarray[tuple[int, int], np.dtype[np.unsignedinteger]]",
    kind: pa.DataType,
    null: "np.ndarray[tuple[int], np.dtype[np.bool_]]",
) -> pa.Array:
    """Return rows of little-endian numbers as fixed-size binary."""
    raw = pa.py_buffer(np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"), copy=False).tobytes())
    valid = pa.array(~null).buffers()[1] if null.any() else None
    return pa.FixedSizeBinaryArray.from_buffers(kind, len(values), [valid, raw])
