"""The score of allenai/decon 0.3.0 (Apache-2.0), for runs that must agree with its notion of contamination.

An item has a question, perhaps an answer and a passage. Overlap O of a question: the inverse document frequencies of
its distinct 5-grams that stand in a cluster of the document's, divided by those of all of them; a cluster ends after
11 5-grams of the document that aren't the question's. Answers of up to three words count 1 if they follow within 50
words, longer ones the overlap of their 3-grams within max(100, twice the answer); passages the overlap of their
4-grams within 100 words on either side. The score weighs them 1 (question alone), 0.75 and 0.25 (with an answer), 0.85
and 0.15 (with a passage), 0.7, 0.2 and 0.1 (all); a question of N < 20 distinct 5-grams counts with 0.5 + 0.5 N / 20
of its weight, the rest goes to the others. Called are scores from 1 on for items up to 20 words in all, from 0.8 on
from 50 words, linear between.

Differences: words, not cl100k's tokens, are counted; the document is looked at everywhere, not at every tenth word.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tamis.schemas.errors import DataError
from tamis.scorers.contamination.find import Hits, gram_hits
from tamis.scorers.contamination.index import ContaminationIndex
from tamis.scorers.dedup.words import folding_table
from tamis.scorers.dedup.words_kernels import fill_words_with_places
from tamis.scorers.text.texts import TextBuffer, Texts, as_buffer, as_list

__all__ = ["DeconScore", "Item"]

_MISSES = 11
_LEAST_WORDS, _LEAST_DISTINCT = 20, 4


class Item(NamedTuple):
    """An evaluation item.

    Attributes:
        question: its question.
        answer: its answer, "" if there is none.
        passage: the passage it asks about, "" if there is none.
    """

    question: str
    answer: str = ""
    passage: str = ""


def _words(text: str) -> npt.NDArray[np.uint64]:
    data, offsets = as_buffer([text])
    room = len(data) + 1
    values, starts, ends = np.empty(room, np.uint64), np.empty(room, np.int64), np.empty(room, np.int64)
    _, count = fill_words_with_places(data, 0, int(offsets[1]), folding_table("folded"), values, starts, ends, 0)
    return values[:count]


def _grams(words: npt.NDArray[np.uint64], size: int) -> list[bytes]:
    size = min(size, len(words)) or 1
    return [words[i : i + size].tobytes() for i in range(len(words) - size + 1)]


class DeconScore:
    """Finds items by decon's score; see the module. Items under 20 words or 4 distinct ones are left out.

    Args:
        items: the items.

    Raises:
        DataError: if no item is long enough.
    """

    def __init__(self, items: Sequence[Item]) -> None:
        words = [tuple(map(_words, item)) for item in items]
        long = [i for i, (question, answer, passage) in enumerate(words)
                if len(question) + len(answer) + len(passage) >= _LEAST_WORDS
                and len(set(question.tolist())) >= _LEAST_DISTINCT and len(question) >= 5]  # fmt: skip
        if not long:
            msg = f"no evaluation item has {_LEAST_WORDS} words: decon's score finds none of them"
            raise DataError(msg)
        self.index = ContaminationIndex.build([items[i].question for i in long], size=5)
        self._parts = [words[long[int(np.argmax(self.index.rows == row))]] for row in range(len(self.index))]
        names = np.array(long)
        self.names = [names[self.index.rows == row].tolist() for row in range(len(self.index))]
        owners = np.repeat(np.arange(len(self.index.grams)), np.diff(self.index.posting_bounds))
        pairs = np.unique(np.stack([owners, self.index.posting_items], axis=1), axis=0)
        counts = np.bincount(pairs[:, 0], minlength=len(self.index.grams))
        self._idf = np.log((len(self.index) + 1) / counts)
        self._all = np.bincount(pairs[:, 1], self._idf[pairs[:, 0]], len(self.index))
        self._distinct = np.bincount(pairs[:, 1], minlength=len(self.index))

    def find(self, texts: "Texts | TextBuffer") -> Hits:
        """Find the items in each text; hits name rows of `index`, whose given items `names` lists."""
        rows, postings = gram_hits(texts, self.index)
        documents, places = rows[postings[:, 0], 0], rows[postings[:, 0], 2]
        items = self.index.posting_items[postings[:, 1]]
        order = np.lexsort((places, items, documents))
        postings, documents, items, places = postings[order], documents[order], items[order], places[order]
        new = np.ones(len(order), np.bool_)
        new[1:] = (documents[1:] != documents[:-1]) | (items[1:] != items[:-1]) | (np.diff(places) > _MISSES + 1)
        bounds = np.append(np.flatnonzero(new), len(order))
        found = []
        listed = None
        for begin, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            item = int(items[begin])
            grams = np.unique(rows[postings[begin:end, 0], 1])
            overlap = float(self._idf[grams].sum() / self._all[item])
            question, answer, passage = self._parts[item]
            required = float(np.interp(len(question) + len(answer) + len(passage), [20, 50], [1.0, 0.8]))
            if overlap < required / 2:
                continue  # a question weighs half of the score at least
            around = np.zeros(0, np.uint64)
            first, last = int(places[begin]), int(places[end - 1]) + 5
            if len(answer) or len(passage):
                listed = as_list(texts) if listed is None and not isinstance(texts, TextBuffer) else listed
                around = _words(_text(texts, listed, int(documents[begin])))
            score = self._score(item, overlap, around, first, last)
            if score >= required - 1e-9:
                words = self.index.posting_words[postings[begin:end, 1]]
                lines = rows[postings[begin:end, 0]]
                span = (
                    lines[:, 3].min(),
                    lines[:, 4].max(),
                    self.index.starts[words.min()],
                    self.index.ends[words.max() + 4],
                )
                found.append((int(documents[begin]), item, score, *map(int, span)))
        columns = np.array(found, np.float64).reshape(-1, 7)
        whole = np.ones(len(columns), np.bool_)
        numbers = columns.astype(np.int64)
        return Hits(numbers[:, 0], numbers[:, 1], columns[:, 2], whole, *(numbers[:, i] for i in (3, 4, 5, 6)))

    def _score(self, item: int, overlap: float, words: npt.NDArray[np.uint64], first: int, last: int) -> float:
        _, answer, passage = self._parts[item]
        parts = []
        if len(answer):
            if len(answer) <= 3:
                behind = words[last : last + 50]
                there = any(np.array_equal(behind[i : i + len(answer)], answer) for i in range(len(behind)))
                parts.append((0.2 if len(passage) else 0.25, float(there)))
            else:
                behind = words[last : last + max(100, 2 * len(answer))]
                parts.append((0.2 if len(passage) else 0.25, _overlap(answer, behind, 3)))
        if len(passage):
            near = np.concatenate([words[max(0, first - 100) : first], words[last : last + 100]])
            parts.append((0.1 if len(answer) else 0.15, _overlap(passage, near, 4)))
        if not parts:
            return overlap
        weight = 1.0 - sum(share for share, _ in parts)
        counted = weight * min(1.0, 0.5 + 0.5 * float(self._distinct[item]) / 20)
        lost = (weight - counted) / sum(share for share, _ in parts)
        return counted * overlap + sum(share * (1 + lost) * value for share, value in parts)


def _overlap(part: npt.NDArray[np.uint64], words: npt.NDArray[np.uint64], size: int) -> float:
    wanted = set(_grams(part, size))
    return len(wanted & set(_grams(words, min(size, len(part))))) / len(wanted)


def _text(texts: "Texts | TextBuffer", listed: list[str] | None, row: int) -> str:
    if isinstance(texts, TextBuffer):
        return bytes(texts.data[texts.offsets[row] : texts.offsets[row + 1]]).decode()
    return listed[row] if listed is not None else ""
