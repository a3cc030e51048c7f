"""Whether a decision that moves rows between shards still has anything to make."""

from dataclasses import dataclass

from tamis.pipeline.corpus.earlier import EarlierPart
from tamis.pipeline.graph.passes import Values
from tamis.pipeline.storage.column_file import intact_note
from tamis.pipeline.storage.place import Place, Shard

__all__ = ["Unfinished"]


@dataclass(frozen=True)
class Unfinished:
    """The work of a pass whose value is empty where all that a decision leaves is there: then no row has to move.

    Attributes:
        places: of all that it leaves for each shard.
        everywhere: of what it leaves for each part of an index too.
    """

    places: tuple[Place, ...]
    everywhere: tuple[Place, ...] = ()

    def __call__(self, shard: Shard, values: Values) -> bytes:
        """Return nothing where all of a shard's is there."""
        del values
        places = self.everywhere if isinstance(shard, EarlierPart) else (*self.places, *self.everywhere)
        return b"" if all(intact_note(place.file(shard), []) is not None for place in places) else b"1"
