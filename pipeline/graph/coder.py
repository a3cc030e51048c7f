"""Beam coder for Arrow record batches: IPC bytes, and a size estimate that costs nothing.

Without it Beam pickles batches, and a pickled slice drags its whole parent along; without `estimate_size` Beam encodes
one element in a few just to learn its size.
"""

from typing import Any

import apache_beam as beam
import pyarrow as pa

__all__ = ["RecordBatchCoder"]


class RecordBatchCoder(beam.coders.Coder):
    """Encodes a `pyarrow.RecordBatch` as one Arrow IPC stream."""

    def encode(self, value: pa.RecordBatch) -> bytes:
        """Return the batch as an IPC stream of schema and one batch."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, value.schema) as writer:
            writer.write_batch(value)
        return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]

    def decode(self, encoded: bytes) -> pa.RecordBatch:
        """Return the batch from its IPC stream, without copying its buffers."""
        with pa.ipc.open_stream(encoded) as reader:
            return reader.read_next_batch()

    def estimate_size(self, value: pa.RecordBatch) -> int:
        """Return the bytes of the rows (of a slice: only its own)."""
        return int(value.nbytes)

    def is_deterministic(self) -> bool:
        """Batches are values, never keys."""
        return False

    def to_type_hint(self) -> Any:
        """Return the type that this coder is for."""
        return pa.RecordBatch


def register() -> None:
    """Register the coder; called when `pipeline` transforms are imported, so that workers have it too."""
    beam.coders.registry.register_coder(pa.RecordBatch, RecordBatchCoder)


register()
