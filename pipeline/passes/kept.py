"""A pass over shards whose values are kept: where a shard's is there, it isn't found again."""

from collections.abc import Callable
from dataclasses import dataclass

from tamis.pipeline.graph.passes import Values
from tamis.pipeline.storage.place import Place, Shard
from tamis.pipeline.storage.value_file import read_value, write_value

__all__ = ["Kept"]


@dataclass(frozen=True)
class Kept:
    """The work of a pass, with a file for each shard's value.

    Attributes:
        process: the work; its value follows from what names the place, and from the shard.
        place: where values are kept.
    """

    process: Callable[[Shard, Values], bytes]
    place: Place

    def __call__(self, shard: Shard, values: Values) -> bytes:
        """Return the shard's value."""
        path = self.place.file(shard)
        value = read_value(path, [], look=True)
        if value is None:
            value = self.process(shard, values)
            write_value(path, value)
        return value
