"""What was found damaged while a task was done: told by whoever reads a file, taken by whoever began the task."""

import threading

__all__ = ["found_damage", "take_damage"]

_found = threading.local()


def found_damage(sentence: str) -> None:
    """Note a sentence about a damaged file that is made again."""
    _found.sentences = [*getattr(_found, "sentences", []), sentence]


def take_damage() -> tuple[str, ...]:
    """Return what this thread has noted since the last call."""
    sentences = tuple(dict.fromkeys(getattr(_found, "sentences", [])))
    _found.sentences = []
    return sentences
