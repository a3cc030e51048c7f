"""Columns that folders' names hold, as Hive, Spark and Arrow write data sets: `lang=en/year=2024/part-0.parquet`."""

from urllib.parse import unquote

__all__ = ["partition_values"]

_NULL = "__HIVE_DEFAULT_PARTITION__"


def partition_values(path: str) -> dict[str, str | None]:
    """Return the values that the folders above a file spell, by name; of one name twice the innermost.

    Args:
        path: of the file; percent-encoded values are decoded, Hive's name for null is None.
    """
    plain = path.partition("?")[0] if path.lower().startswith(("http://", "https://")) else path
    values: dict[str, str | None] = {}
    for part in plain.replace("\\", "/").split("/")[:-1]:
        name, equals, value = part.partition("=")
        if equals and name:
            values[unquote(name)] = None if value == _NULL else unquote(value)
    return values
