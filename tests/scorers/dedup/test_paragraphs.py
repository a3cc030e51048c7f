"""Repeated lines and paragraphs: against brute force, whatever the sharding."""

import re
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.schemas.errors import ConfigError
from tamis.scorers.dedup.cuts import cut_spans
from tamis.scorers.dedup.near_duplicates import Shard
from tamis.scorers.dedup.paragraphs import RepeatedParagraphs
from tamis.scorers.text.identity import doc_id
from tests.scorers.dedup.shingle_twin import words

LINES = st.sampled_from(
    ["Read more", "read MORE!", "a", "b c", "", " ", "1 2", "3 4", "été", "ete", "\u3042", "same line here"]
)
TEXTS = st.lists(
    st.lists(st.tuples(LINES, st.sampled_from(["\n", "\n\n", "\n\n\n"])), max_size=6).map(
        lambda parts: "".join(line + end for line, end in parts)[:-1]
    ),
    max_size=8,
)


def units(text, unit):
    """(unit, separator behind it) of each; nothing follows a text's last separator."""
    parts = re.split("(\n)" if unit == "lines" else "(\n{2,})", text)
    pairs = list(zip(parts[::2], [*parts[1::2], ""], strict=True))
    return pairs[:-1] if pairs and pairs[-1] == ("", "") else pairs


def twin(texts, ids, options):
    seen, documents = Counter(), defaultdict(set)
    keys = {}
    for i in sorted(range(len(texts)), key=lambda i: ids[i]):
        for j, (part, _) in enumerate(units(texts[i], options.unit)):
            key = tuple(words(part, options.folding))
            if len(key) >= options.least_words:
                keys[i, j] = key, seen[key] == 0
                seen[key] += 1
                documents[key].add(i)
    out = []
    for i, text in enumerate(texts):
        left, tail = [], 0
        for j, (part, end) in enumerate(units(text, options.unit)):
            key, first = keys.get((i, j), ((), True))
            many = key in seen and seen[key] > 1 and len(documents[key]) >= options.least_documents
            if many and not (first and options.keep == "first"):
                tail += 1
            else:
                left.append((part, end))
                tail = 0
        whole = "".join(part + end for part, end in left)
        if tail and left:
            whole = whole.removesuffix(left[-1][1])
        out.append(whole)
    return out


@given(
    TEXTS, st.sampled_from(["lines", "paragraphs"]), st.sampled_from(["first", "none"]),
    st.sampled_from(["simplified", "folded", "none"]), st.integers(1, 2), st.integers(1, 3), st.data(),
)  # fmt: skip
def test_what_goes_is_what_brute_force_finds(texts, unit, keep, folding, least_words, least_documents, data):
    options = RepeatedParagraphs(unit, keep, folding, least_words, least_documents)
    ids = [doc_id("t", str(i)) for i in range(len(texts))]
    order = data.draw(st.permutations(range(len(texts))))
    parts = np.split(np.array(order, np.int64), sorted(data.draw(st.lists(st.integers(0, len(texts)), max_size=3))))
    shards = [Shard([texts[i] for i in part], [ids[i] for i in part]) for part in parts]
    got = {}
    for shard, cuts in zip(shards, options.find(shards, partitions=data.draw(st.integers(1, 3))), strict=True):
        got |= dict(zip(shard.ids, cut_spans(shard.texts, cuts).to_pylist(), strict=True))
    assert [got[name] for name in ids] == twin(texts, ids, options)


def test_earlier_runs():
    options = RepeatedParagraphs()
    known = np.sort(options.units(["Cookie notice\nshare this"]).keys)
    shard = Shard(["news\nCOOKIE notice!\nmore"], ["0" * 32])
    (cuts,) = options.find([shard], known=known)
    assert cut_spans(shard.texts, cuts).to_pylist() == ["news\nmore"]
    assert cuts.removed(shard.texts).tolist() == [15]


def test_long_lines_and_many_lines():
    texts = ["w " * 300_000 + "\n" + "w " * 300_000, "\n" * 300_000, "x\n" * 100_000]
    (cuts,) = RepeatedParagraphs().find([Shard(texts, [f"{i:032x}" for i in range(3)])])
    left = cut_spans(texts, cuts).to_pylist()
    assert left == ["w " * 300_000, "\n" * 300_000, "x"]


def test_wrong_options_are_named():
    with pytest.raises(ConfigError, match="words"):
        RepeatedParagraphs("words")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="least_words"):
        RepeatedParagraphs(least_words=0)
