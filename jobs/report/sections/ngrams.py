"""What the selected text repeats: the most frequent n-grams, as WIMBD's tables have them."""

import re
from collections.abc import Sequence

import numpy as np

from tamis.jobs.report.blocks import Block, Section, Table, Words
from tamis.jobs.report.facts import Facts
from tamis.jobs.sql.macros import document_key
from tamis.jobs.text import one_line

__all__ = ["build", "common_ngrams"]

SIZES = (1, 3, 10)
TOP = 15
DOCUMENTS = 5000
CHARACTERS = 3_000_000
_WORD = re.compile(r"\w+")


def build(facts: Facts) -> Section | None:
    """Return the section."""
    key = document_key(facts.seed)
    cursor = facts.connection.execute(
        f"SELECT text FROM {facts.schema}.selected JOIN (SELECT doc_id, {key} AS draw FROM {facts.schema}.selected "
        f"ORDER BY draw, doc_id LIMIT {DOCUMENTS}) USING (doc_id) ORDER BY draw, doc_id"
    )
    texts: list[str] = []
    room = CHARACTERS
    while room > 0 and (row := cursor.fetchone()) is not None:
        texts.append(row[0])
        room -= len(row[0])
    if not texts:
        return None
    told = (
        f"Counted over {len(texts):,} of {facts.manifest.selected:,} selected documents, drawn by a keyed hash of the "
        f"doc_id and the run's seed ({facts.seed}). Words are folded to lower case; of an n-gram, all its places count."
    )
    blocks: list[Block] = [Words(told)]
    for size in SIZES:
        rows = [[one_line(words, 160, "…"), times, documents] for words, times, documents in common_ngrams(texts, size)]
        if rows:
            name = "words" if size == 1 else f"{size}-grams"
            blocks.append(Table((name, "times", "documents"), rows, f"the most frequent {name}", folded=size == 1))
    return Section("ngrams", "Common n-grams", blocks)


def common_ngrams(texts: Sequence[str], size: int, top: int = TOP) -> list[tuple[str, int, int]]:
    """Return the n-grams that stand in the texts more than once, the most frequent first.

    Args:
        texts: of documents; no n-gram spans two.
        size: words of an n-gram.
        top: how many.

    Returns:
        The words, folded; how often they stand there; in how many of the texts.
    """
    words: list[str] = []
    owner: list[np.ndarray[tuple[int], np.dtype[np.int64]]] = []
    for number, text in enumerate(texts):
        mine = _WORD.findall(text.casefold())
        words += mine
        owner.append(np.full(len(mine), number))
    if len(words) < size:
        return []
    numbers: dict[str, int] = {}
    codes = np.fromiter((numbers.setdefault(word, len(numbers)) for word in words), np.int64, len(words))
    documents = np.concatenate(owner)
    starts = np.arange(len(words) - size + 1)
    starts = starts[documents[starts] == documents[starts + size - 1]]
    # Words become numbers, and so do pairs of what came before and a word: equal numbers are equal n-grams.
    grams = codes[starts]
    for place in range(1, size):
        grams = np.unique(grams * len(numbers) + codes[starts + place], return_inverse=True)[1]
    kinds, first, times = np.unique(grams, return_index=True, return_counts=True)
    likely = np.flatnonzero(times > 1)
    likely = likely[np.argsort(-times[likely], kind="stable")]
    edge = times[likely[top - 1]] if len(likely) > top else 0
    found = []
    for kind in likely[times[likely] >= edge].tolist():
        start = int(starts[first[kind]])
        told = " ".join(words[start : start + size])
        found.append((told, int(times[kind]), kinds[kind]))
    chosen = sorted(found, key=lambda row: (-row[1], row[0]))[:top]
    return [(told, many, len(np.unique(documents[starts[grams == kind]]))) for told, many, kind in chosen]
