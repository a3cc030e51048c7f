"""A search whose passes follow from what earlier ones found, as passes known beforehand: those after its end are idle.

Which pass to make next follows from the values of those before it, so each pass replays the search that far.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, Self, TypeVar

from tamis.pipeline.corpus.context import Corpus
from tamis.pipeline.graph.passes import Pass, Values
from tamis.pipeline.passes.stage import READ, stored_shards
from tamis.pipeline.storage.place import Shard
from tamis.scorers.selection.order_statistics import Partial

__all__ = ["Found", "JoinFound", "Search", "SearchWork"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
T_contra = TypeVar("T_contra", contravariant=True)


class Found(Protocol):
    """What a pass of a search finds on a shard; joined in any order and any grouping, it is what the pass found."""

    @staticmethod
    def merge(parts: Sequence[Any]) -> "Found":
        """Join what shards found."""
        ...

    def to_bytes(self) -> bytes:
        """Return it as bytes."""
        ...

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` wrote."""
        ...


class _Searching(Protocol[T_co]):
    """What is replayed: `Selection`, `DsirSampling`, `ProbeSearch`."""

    def next_pass(self) -> T_co | None: ...

    def advance(self, partial: Any) -> None: ...


S = TypeVar("S", bound=_Searching)  # type: ignore[type-arg]


class SearchWork(Protocol[T_contra]):
    """The work of one pass of a search on a shard."""

    def __call__(self, task: T_contra, shard: Shard, /) -> Found:
        """Return what the shard has."""
        ...

    def nothing(self, task: T_contra, /) -> Found:
        """Return what no rows have."""
        ...


@dataclass(frozen=True)
class JoinFound:
    """Joins what a pass found on shards.

    Attributes:
        kind: what that is.
    """

    kind: type[Found] = Partial

    def __call__(self, parts: Sequence[bytes]) -> bytes:
        """Return it joined."""
        return self.kind.merge([self.kind.from_bytes(part) for part in parts]).to_bytes()


@dataclass(frozen=True)
class Search(Generic[S]):
    """A search over the corpus.

    Attributes:
        label: what its passes are called, after the step's label and before their number.
        begin: makes the search at its beginning, from the values of `reads`; picklable.
        work: the work of a pass on a shard.
        names: of its passes; after them it is over.
        reads: passes whose values `begin` needs.
        found: what a pass finds.
    """

    label: str
    begin: Callable[[Values], S]
    work: SearchWork  # type: ignore[type-arg]
    names: tuple[str, ...]
    reads: tuple[str, ...] = ()
    found: type[Found] = Partial

    @classmethod
    def over(
        cls,
        corpus: Corpus,
        what: str,
        begin: Callable[[Values], S],
        work: SearchWork,  # type: ignore[type-arg]
        bound: int,
        reads: tuple[str, ...] = (),
        found: type[Found] = Partial,
    ) -> "Search[S]":
        """Return a search over a corpus, of at most `bound` passes."""
        names = tuple(f"{corpus.label}: {what} {number + 1}" for number in range(bound))
        return cls(what, begin, work, names, reads, found)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The passes that `state` needs."""
        return (*self.reads, *self.names)

    def passes(self, corpus: Corpus, *, small: bool = True) -> tuple[Pass, ...]:
        """Return its passes; `small`: they look at small columns only."""
        return tuple(
            corpus.each_shard(
                f"{self.label} {number + 1}",
                _SearchPass(self, number),
                combine=JoinFound(self.found),
                inputs=(*self.reads, *self.names[:number]),
                tasks=_SearchTasks(self, number),
                small=small,
            )
            for number in range(len(self.names))
        )

    def state(self, values: Values, passes: int | None = None) -> S:
        """Return the search after so many of its passes; after all of them if None."""
        return _replay(self, values, len(self.names) if passes is None else passes)


HELD = 4
_replayed: dict[tuple[object, ...], object] = {}


def _replay(search: "Search[S]", values: Values, passes: int) -> S:
    """Replay a search; the last few are kept, since each task of a pass asks for the same."""
    partials = [values[name] for name in search.names[:passes]]
    key = (search.names, *(values[name] for name in search.reads), *partials)
    if key not in _replayed:
        while len(_replayed) >= HELD:
            _replayed.pop(next(iter(_replayed)))
        state = search.begin(values)
        for value in partials:
            task = state.next_pass()
            if task is None:
                break
            state.advance(search.found.from_bytes(value) if value else search.work.nothing(task))
        _replayed[key] = state
    return _replayed[key]  # type: ignore[return-value]


@dataclass(frozen=True)
class _SearchTasks:
    search: Search  # type: ignore[type-arg]
    number: int

    def __call__(self, values: Values) -> Iterable[Shard]:
        over = self.search.state(values, self.number).next_pass() is None
        return () if over else stored_shards(values[READ])


@dataclass(frozen=True)
class _SearchPass:
    search: Search  # type: ignore[type-arg]
    number: int

    def __call__(self, shard: Shard, values: Values) -> bytes:
        return self.search.work(self.search.state(values, self.number).next_pass(), shard).to_bytes()
