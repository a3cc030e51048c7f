"""Two runs in one database: each with its views in a schema of its own, and their documents side by side."""

import duckdb

from tamis.jobs.sql.names import identifier
from tamis.jobs.sql.views import add_run, database

__all__ = ["SCHEMAS", "connect_two"]

SCHEMAS = ("a", "b")
"""The first run's views are `a.selected` and so on, the second's `b.selected`."""


def connect_two(first: str, second: str) -> duckdb.DuckDBPyConnection:
    """Open two runs for SQL.

    Each has its views and macros in a schema: `a.selected`, `b.funnel()`. The view `joined` has a row a document of
    either run, joined by `doc_id`, with what became of it in each: null where a run hasn't the document. Where several
    documents of a run share a `doc_id`, they are joined in pairs.

    Args:
        first: a run's folder or URL.
        second: another's.

    Raises:
        RunError: if one holds no finished run, or one of its shards is missing or damaged.
    """
    connection = database()
    for run, schema in zip((first, second), SCHEMAS, strict=True):
        add_run(connection, run, schema)
    shared = ("url", "source")
    fates = ("fate", "step", "rule", "value", "threshold")
    one = ", ".join(f"coalesce(a.{name}, b.{name}) AS {name}" for name in shared)
    each = ", ".join(f"{schema}.{name} AS {name}_{schema}" for name in fates for schema in SCHEMAS)
    left, right = (f"{identifier(schema)}.documents" for schema in SCHEMAS)
    connection.execute(
        f"CREATE VIEW joined AS SELECT doc_id, {one}, {each}, coalesce(a.text, b.text) AS text "  # noqa: S608
        f"FROM {left} a FULL JOIN {right} b USING (doc_id)"
    )
    return connection
