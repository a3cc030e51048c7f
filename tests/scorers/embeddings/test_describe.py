import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.schemas.errors import DataError
from tamis.scorers.embeddings.describe import ClusterWords, NearestDocuments
from tamis.scorers.embeddings.kmeans import Assignment, row_ids


def test_titles_are_distinctive_words():
    texts = ["the red fox and the hound"] * 5 + ["the prime number theorem and a proof"] * 5 + ["the and"] * 3
    words = ClusterWords()
    words.add([0] * 5 + [1] * 5 + [-1] * 3, texts)
    assert words.title(0) == "fox, hound, red"
    assert words.distinctive(1, 3) == ["number", "prime", "proof"]
    assert words.documents == {0: 5, 1: 5}


def test_a_word_that_repeats_itself_counts_once():
    words = ClusterWords()
    words.add([0] * 21 + [1] * 20, ["spam " * 100] + ["tea"] * 20 + ["coal"] * 20)
    assert words.distinctive(0) == ["tea"]


def test_titles_of_odd_clusters():
    words = ClusterWords()
    words.add([0, 0, 2], ["only one cluster here", "only this", "123 !"])
    assert words.title(2) == "cluster 2"
    assert words.title(9) == "cluster 9"
    assert words.distinctive(0, 1) == ["only"]
    with pytest.raises(DataError):
        words.add([0], ["a", "b"])


@given(st.lists(st.tuples(st.integers(-1, 3), st.sampled_from(["ab cd", "cd ef", "ab", "gh gh ab", ""])), max_size=12))
def test_counts_of_shards_add_up(rows):
    whole = ClusterWords()
    whole.add([cluster for cluster, _ in rows], [text for _, text in rows])
    parts = []
    for cluster, text in reversed(rows):
        parts.append(ClusterWords())
        parts[-1].add([cluster], [text])
    merged = ClusterWords.merge(ClusterWords.from_json(json.loads(json.dumps(part.to_json()))) for part in parts)
    assert json.dumps(merged.to_json()) == json.dumps(whole.to_json())
    assert [merged.distinctive(i) for i in range(4)] == [whole.distinctive(i) for i in range(4)]


@given(st.lists(st.tuples(st.integers(-1, 2), st.integers(0, 3)), max_size=20), st.integers(1, 4), st.integers(0, 20))
def test_nearest_equals_brute_force(rows, count, cut):
    clusters = np.array([cluster for cluster, _ in rows], np.int32)
    distances = np.array([distance for _, distance in rows], float)
    ids = row_ids(len(rows))
    parts = []
    for part in (slice(cut, None), slice(0, cut)):
        parts.append(NearestDocuments(count))
        parts[-1].add(Assignment(clusters[part], distances[part]), ids[part])
    merged = NearestDocuments.merge(parts)
    for cluster in range(3):
        expected = sorted((d, f"{i:032x}") for i, (c, d) in enumerate(rows) if c == cluster)[:count]
        assert [tuple(near) for near in merged.nearest.get(cluster, [])] == expected
    assert -1 not in merged.nearest
    assert NearestDocuments.from_json(json.loads(json.dumps(merged.to_json()))) == merged


def test_lists_that_do_not_fit():
    with pytest.raises(DataError):
        NearestDocuments.merge([])
    with pytest.raises(DataError):
        NearestDocuments.merge([NearestDocuments(1), NearestDocuments(2)])
