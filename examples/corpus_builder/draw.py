"""Choices that look random and are the same on every machine and Python: all of them are keyed hashes."""

import hashlib
import random
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

__all__ = ["Draw", "rank", "ranked"]

T = TypeVar("T")


def rank(seed: str, key: str) -> int:
    """A 64-bit hash of `key` under `seed`: items sorted by it are shuffled, whatever order they came in."""
    return int.from_bytes(hashlib.blake2b(f"{seed}\0{key}".encode(), digest_size=8).digest(), "big")


def ranked(seed: str, items: Iterable[T], key: Callable[[T], str]) -> list[T]:
    """`items` in the order of `rank(seed, key(item))`."""
    return sorted(items, key=lambda item: (rank(seed, key(item)), key(item)))


class Draw:
    """A stream of choices. Only `random.Random.random` is used: its values never change between Pythons."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(rank("draw", seed))

    def uniform(self, low: float, high: float) -> float:
        """A number in [low, high)."""
        return low + (high - low) * self._random.random()

    def integer(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        return low + int(self._random.random() * (high - low + 1))

    def one(self, items: Sequence[T]) -> T:
        """One of `items`."""
        return items[self.integer(0, len(items) - 1)]

    def some(self, items: Sequence[T], count: int) -> list[T]:
        """`count` different positions of `items`, in a drawn order (all of them where there are fewer)."""
        left = list(items)
        return [left.pop(self.integer(0, len(left) - 1)) for _ in range(min(count, len(left)))]
