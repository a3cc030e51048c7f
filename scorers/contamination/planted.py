"""What is found of items that are planted on purpose: word for word, with words changed, in part."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tamis.scorers.contamination.find import Hits
from tamis.scorers.text.texts import TextBuffer, as_buffer

__all__ = ["PLANTED", "planted_recall"]

PLANTED: Mapping[str, str] = {
    "verbatim": "word for word",
    "edit1": "with a word changed",
    "edit3": "with three words changed",
    "half": "the first half alone",
    "line": "in the midst of a long line",
}
"""Kind of a planted item to what it is."""

_BEFORE = "On the way down to the harbour nobody spoke, and the lamps along the quay went out one after another."
_AFTER = "Somebody had left a ladder against the wall; the gulls sat on its rungs until the evening boat came in."
_LONG = " ".join([_BEFORE, _AFTER] * 100)


def planted_recall(texts: Sequence[str], find: Callable[[TextBuffer], Hits]) -> dict[str, float]:
    """Return for each kind the share of items that are found, whole or in part, where they are planted.

    Each item stands between two sentences of prose, in a long line between two hundred each. Changed words are spread
    evenly; the first half is that of words.

    Args:
        texts: the items, at least one.
        find: finds items in texts.
    """
    found = {}
    for kind in PLANTED:
        before, after = (_LONG, _LONG) if kind == "line" else (_BEFORE, _AFTER)
        documents = as_buffer([f"{before} {_planted(text.split(), kind)} {after}" for text in texts])
        found[kind] = len(np.unique(find(documents).documents)) / len(texts)
    return found


def _planted(words: list[str], kind: str) -> str:
    changes = {"edit1": 1, "edit3": 3}.get(kind, 0)
    changed = list(words)
    for i in range(changes):
        if words:
            changed[(2 * i + 1) * len(words) // (2 * changes)] = f"otherwise{i}"
    return " ".join(changed[: (len(words) + 1) // 2] if kind == "half" else changed)
