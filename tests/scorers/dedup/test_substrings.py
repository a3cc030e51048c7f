"""Repeated substrings: the same bytes as by brute force; periodic input; characters, borders, sharding."""

import random
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.schemas.errors import ConfigError, DataError
from tamis.scorers.dedup.copies import CopyRows, first_copies
from tamis.scorers.dedup.cuts import Cuts, cut_spans
from tamis.scorers.dedup.near_duplicates import Shard
from tamis.scorers.dedup.substrings import RepeatedSubstrings
from tamis.scorers.text.identity import doc_id


def twin(texts, ids, length, gap):
    """The bytes that go, by the definition: all windows of all documents, one by one."""
    windows = defaultdict(list)
    order = sorted(range(len(texts)), key=lambda i: ids[i])
    raw = [text.encode() for text in texts]
    for i in order:
        for at in range(len(raw[i]) - length + 1):
            windows[raw[i][at : at + length]].append((i, at))
    state = [[0] * len(data) for data in raw]
    for kept in (False, True):
        for places in windows.values():
            if len(places) > 1:
                for i, at in places[:1] if kept else places[1:]:
                    state[i][at : at + length] = [2 if kept else 1] * length
    out = []
    for data, states in zip(raw, state, strict=True):
        spans, at = [], 0
        while at < len(states):
            if states[at] != 1:
                at += 1
                continue
            first = last = at
            while at < len(states) and states[at] != 2 and at - last <= gap:
                at += 1
                last = at if states[at - 1] == 1 else last
            at = last
            while first < last and data[first] & 0xC0 == 0x80:
                first += 1
            while first < last < len(data) and data[last] & 0xC0 == 0x80:
                last -= 1
            if first < last:
                spans.append((first, last))
        out.append(spans)
    return out


def found(options, shards, partitions=1):
    """The spans that go, by document id."""
    out = {name: [] for shard in shards for name in shard.ids}
    for shard, cuts in zip(shards, options.find(shards, partitions=partitions), strict=True):
        for text, start, end in zip(*(column.tolist() for column in cuts), strict=True):
            out[shard.ids[text]].append((start, end))
    return out


def corpus(seed, documents=8, alphabet="abcdé漢"):
    draw = random.Random(seed)
    blocks = ["".join(draw.choices(alphabet, k=draw.randrange(10, 60))) for _ in range(5)]
    periods = ["a" * 70, "ab" * 40, "xyz" * 30, "漢" * 30]
    texts = []
    for _ in range(documents):
        parts = [
            draw.choice([draw.choice(blocks), draw.choice(periods), "".join(draw.choices(alphabet, k=9))])
            for _ in range(draw.randrange(6))
        ]
        texts.append("".join(parts))
    return texts


@settings(max_examples=80)
@given(st.integers(0, 10**6), st.sampled_from([16, 20, 33, 64]), st.sampled_from([0, 3, 12]), st.data())
def test_what_goes_is_what_brute_force_finds(seed, length, gap, data):
    texts = corpus(seed)
    ids = [doc_id("t", str(i)) for i in range(len(texts))]
    order = data.draw(st.permutations(range(len(texts))))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(texts)), max_size=3)))
    parts = [list(part) for part in np.split(np.array(order), cuts)]
    shards = [Shard([texts[i] for i in part], [ids[i] for i in part]) for part in parts]
    options = RepeatedSubstrings(length, gap, data.draw(st.sampled_from([None, 1, 8, length])))
    wanted = dict(zip(ids, twin(texts, ids, length, gap), strict=True))
    assert found(options, shards, data.draw(st.integers(1, 4))) == wanted


def test_one_copy_stays_whole():
    block = "".join(random.Random(1).choices("abcdefgh ", k=900))
    texts = [f"first {block} end", f"second {block} end", f"third {block} end"]
    ids = ["2" * 32, "0" * 32, "1" * 32]
    shard = Shard(texts, ids)
    (cuts,) = RepeatedSubstrings(500).find([shard])
    left = cut_spans(texts, cuts).to_pylist()
    assert left[1] == texts[1]
    assert left[0] == "first"
    assert left[2] == "thir"  # the d before the block is the second's too
    assert cuts.removed(texts).tolist() == [905, 0, 906]


@pytest.mark.parametrize("piece", ["a", "ab", "abc ", "漢", "0123456789" * 7])
def test_a_megabyte_of_one_period_is_linear(piece):
    text = piece * (1_000_000 // len(piece.encode()))
    (cuts,) = RepeatedSubstrings(500).find([Shard([text, "x" + text[:600]], ["0" * 32, "1" * 32])])
    left = cut_spans([text], Cuts(*(column[cuts.texts == 0] for column in cuts)))[0].as_py()
    assert 490 <= len(left.encode()) <= 600


def test_matches_end_at_documents():
    half = "".join(random.Random(2).choices("abcdefgh", k=300))
    whole = half + "".join(random.Random(3).choices("abcdefgh", k=300))
    texts = [whole, whole[:300], whole[300:]]
    assert found(RepeatedSubstrings(500), [Shard(texts, ["0" * 32, "1" * 32, "2" * 32])]) == {
        "0" * 32: [], "1" * 32: [], "2" * 32: []}  # fmt: skip


def test_colliding_strings_are_told_apart():
    """The Thue-Morse word and its complement collide in every polynomial modulo 2^64."""
    word = "a"
    for _ in range(11):
        word += word.translate(str.maketrans("ab", "ba"))
    texts = [word[:1024], word[1024:]]
    assert found(RepeatedSubstrings(1024), [Shard(texts, ["0" * 32, "1" * 32])]) == {"0" * 32: [], "1" * 32: []}


def test_cuts():
    texts = ["aébc", "xyz"]
    cuts = Cuts(np.array([0, 1, 1]), np.array([1, 0, 2]), np.array([3, 1, 3]))
    assert cut_spans(texts, cuts).to_pylist() == ["abc", "y"]
    assert cuts.removed(texts).tolist() == [1, 2]
    with pytest.raises(DataError, match="overlap"):
        cut_spans(texts, Cuts(np.array([0, 0]), np.array([0, 1]), np.array([2, 3])))
    with pytest.raises(DataError, match="in their texts"):
        cut_spans(texts, Cuts(np.array([1]), np.array([0]), np.array([9])))


def test_wrong_options_are_named():
    with pytest.raises(ConfigError, match="not 5"):
        RepeatedSubstrings(5)
    with pytest.raises(ConfigError, match="-1"):
        RepeatedSubstrings(gap=-1)
    with pytest.raises(ConfigError, match="not 0"):
        RepeatedSubstrings(gram=0)
    rows = CopyRows(np.array([5, 5], np.uint64), np.array([1, 2], np.uint64), np.zeros(2, np.int64))
    with pytest.raises(DataError, match="without its id"):
        first_copies(rows, np.array([1], np.uint64), np.zeros((1, 2), np.uint64))


def test_nothing_at_all():
    assert RepeatedSubstrings().find([]) == []
    (cuts,) = RepeatedSubstrings().find([Shard([], [])])
    assert len(cuts.texts) == 0
