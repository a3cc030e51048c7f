"""Arrow schemas of the tables that a run leaves; declared here, never inferred from data."""

import pyarrow as pa

__all__ = ["DOCUMENT_SCHEMA", "ERROR_SCHEMA", "REJECTED_SCHEMA", "STATE_SCHEMA", "described", "internal", "is_internal"]


def described(name: str, type_: pa.DataType, description: str, *, nullable: bool = True) -> pa.Field:
    """Return an Arrow field whose metadata says what the column means."""
    return pa.field(name, type_, nullable=nullable, metadata={"description": description})


def internal(name: str, type_: pa.DataType, description: str) -> pa.Field:
    """Return a field of what a step keeps for its decision over the corpus: no table shows it."""
    return pa.field(name, type_, metadata={"description": description, "internal": "1"})


def is_internal(field: pa.Field) -> bool:
    """Return whether no table shows the column."""
    return bool(field.metadata and field.metadata.get(b"internal"))


DOCUMENT_SCHEMA = pa.schema(
    [
        described(
            "doc_id",
            pa.string(),
            "128-bit hash of source and record identity, 32 hex digits: stable across runs, file order and sharding",
            nullable=False,
        ),
        described("url", pa.string(), "address of the document, where the input has one"),
        described("source", pa.string(), "the label of the input in the config", nullable=False),
        described("text", pa.large_string(), "the document's text, UTF-8", nullable=False),
        described("timestamp", pa.timestamp("us", tz="UTC"), "when the document was fetched or written"),
        described("meta", pa.string(), "all other fields of the record, a JSON object"),
    ]
)
"""Columns that every document has."""

ERROR_SCHEMA = pa.schema(
    [
        described("uri", pa.string(), "the input file", nullable=False),
        described("record", pa.string(), "byte offset, line or row number, or doc_id of the record"),
        described("step", pa.string(), "the step that failed", nullable=False),
        described("error", pa.string(), "class of the error, such as invalid_json", nullable=False),
        described("detail", pa.string(), "what was wrong, in words"),
    ]
)
"""One row a record that could not be read or scored."""

REJECTED_SCHEMA = pa.schema(
    [
        DOCUMENT_SCHEMA.field("doc_id"),
        DOCUMENT_SCHEMA.field("url"),
        DOCUMENT_SCHEMA.field("source"),
        described("step", pa.string(), "the step whose rule the document fell to", nullable=False),
        described("rule", pa.string(), "the rule's reason", nullable=False),
        described(
            "value",
            pa.float64(),
            "the document's value of the rule's column; of a dsir draw, the log weight with the draw's noise",
        ),
        described("threshold", pa.float64(), "the threshold it was held against"),
        DOCUMENT_SCHEMA.field("text"),
    ]
)
"""Leading columns of rejected documents; the columns that steps add follow."""

STATE_SCHEMA = pa.schema(
    [
        described("step", pa.int16(), "index of the step at which the row fell; -1: alive", nullable=False),
        described("rule", pa.int16(), "index of the rule in that step; -1: alive; -2: an error", nullable=False),
        described("value", pa.float64(), "the value that fell"),
        described("threshold", pa.float64(), "the threshold it was held against"),
    ]
)
"""Row-aligned with a shard's documents: the fate of each row after a step."""
