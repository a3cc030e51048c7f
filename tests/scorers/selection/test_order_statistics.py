import json
import math
import pickle
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.schemas.errors import ConfigError, DataError, RunError
from tamis.schemas.keep import Keep
from tamis.scorers.selection.groups import Groups, group_rows
from tamis.scorers.selection.order_statistics import (
    ByRank,
    ByWeight,
    Partial,
    RankSearch,
    float_to_ordered,
    ordered_to_float,
)
from tamis.scorers.selection.selection import (
    Decision,
    PercentileRange,
    Selection,
    TopDocuments,
    TopFraction,
    TopWeight,
    rule_of,
    share_of,
)

GOLDEN = Path(__file__).parents[2] / "golden"

VALUES = st.one_of(
    st.floats(allow_nan=False),
    st.sampled_from([0.0, -0.0, 1.0, 1.0, -1.0, 5e-324, math.inf, -math.inf, 0.1, 0.30000000000000004]),
    st.integers(-3, 3).map(float),
)


def make_ids(n, rng):
    return [f"{rng.getrandbits(128):032x}" for _ in range(n)]


def drive(search, values, ids=None, weights=None, groups=None, positions=None, *, parts=1, seed=0):
    """Run a search over rows dealt out to shards in a random order; return how many passes it took."""
    values = np.asarray(values, np.float64)
    rng = random.Random(seed)
    passes = 0
    while (task := search.next_pass()) is not None:
        passes += 1
        assert passes < 20
        task = pickle.loads(pickle.dumps(task))
        rows = list(range(len(values)))
        rng.shuffle(rows)
        shards = [np.array(rows[i::parts], np.int64) for i in range(parts)]
        partials = []
        for shard in shards:
            partials.append(
                task.accumulate(
                    values[shard],
                    None if ids is None else [ids[i] for i in shard],
                    None if weights is None else np.asarray(weights, np.int64)[shard],
                    None if groups is None else Groups(groups.codes[shard], groups.labels),
                    None if positions is None else np.asarray(positions)[shard],
                )
            )
        rng.shuffle(partials)
        half = len(partials) // 2
        merged = Partial.merge([Partial.merge(partials[: half + 1]), *partials[half + 1 :]])
        search.advance(Partial.from_bytes(merged.to_bytes()))
    return passes


def ranked(values, ids, *, descending):
    """Brute force: rows in the total order."""
    return sorted(range(len(values)), key=lambda i: ((-values[i] if descending else values[i]) + 0.0, ids[i]))


@given(st.lists(VALUES, max_size=50))
def test_words_sort_as_values(values):
    words = float_to_ordered(values)
    assert [values[i] + 0.0 for i in np.argsort(words, kind="stable")] == sorted(v + 0.0 for v in values)
    assert [ordered_to_float(int(word)) for word in words] == values
    reverse = float_to_ordered(values, descending=True)
    assert [ordered_to_float(int(word), descending=True) for word in reverse] == values
    assert all((a < b) == (c > d) for a, c in zip(words, reverse, strict=True) for b, d in [(words[0], reverse[0])])


def test_zeros_are_one_value_and_nan_is_refused():
    assert len(set(float_to_ordered([0.0, -0.0]).tolist())) == 1
    with pytest.raises(DataError, match="row 1 has the value NaN"):
        float_to_ordered([1.0, math.nan])


@settings(max_examples=150, deadline=None)
@given(
    st.lists(VALUES, min_size=1, max_size=60),
    st.integers(0, 70),
    st.booleans(),
    st.integers(1, 5),
    st.integers(0, 10**6),
    st.sampled_from([0, 3, 10**6]),
)
def test_rank_search_against_sorting(values, rank, descending, parts, seed, collect):
    ids = make_ids(len(values), random.Random(seed))
    weights = [random.Random(seed + i).choice([0, 1, 7, 1000]) for i in range(len(values))]
    goals = [ByRank(rank), ByRank(0), ByWeight(rank * 20), ByRank(rank), ByRank(-1)]
    search = RankSearch(lambda count, weight: goals, descending=descending, collect=collect)
    drive(search, values, ids, weights, parts=parts, seed=seed)
    order = ranked(values, ids, descending=descending)
    assert search.totals[()] == (len(values), sum(weights))

    def expected(goal):
        running = 0
        for place, i in enumerate(order):
            running += weights[i]
            if (place == goal[0]) if isinstance(goal, ByRank) else running > goal[0]:
                return (values[i] + 0.0, ids[i])
        return None

    for goal, answer in zip(goals, search.answers()[()], strict=True):
        if answer is None:
            assert expected(goal) is None
        else:
            value, high, low, _ = answer.words
            assert (ordered_to_float(value, descending=descending), f"{high:016x}{low:016x}") == expected(goal)


def test_two_passes_for_a_million_values():
    rng = np.random.default_rng(1)
    values = rng.normal(-300, 80, 300_000)
    ids = rng.integers(0, 2**63, (len(values), 2)).astype(np.uint64)
    selection = Selection(TopDocuments(1234))
    passes = 0
    while (task := selection.next_pass()) is not None:
        passes += 1
        selection.advance(
            Partial.merge([task.accumulate(v, i) for v, i in zip(np.split(values, 10), np.split(ids, 10), strict=True)])
        )
    assert passes == 2
    mask = selection.decision().keep(values, ids)
    assert mask.sum() == 1234
    assert values[mask].min() > values[~mask].max()


def test_mass_ties_are_settled_by_id_without_collecting_them_all():
    rng = random.Random(3)
    values = [1.0] * 5000 + [2.0] * 10
    ids = make_ids(len(values), rng)
    search = RankSearch(lambda count, weight: [ByRank(2509)], descending=True, collect=40)
    drive(search, values, ids, parts=3)
    _, high, low, _ = search.answers()[()][0].words
    assert f"{high:016x}{low:016x}" == sorted(ids[:5000])[2499]


def test_rows_of_equal_id_are_told_apart_by_position():
    values, ids = [1.0] * 10, ["0" * 32] * 10
    selection = Selection(TopDocuments(4))
    drive(selection, values, ids, positions=np.arange(10), parts=2)
    mask = selection.decision().keep(values, ids, positions=np.arange(10))
    assert np.flatnonzero(mask).tolist() == [0, 1, 2, 3]
    together = Selection(TopDocuments(4))  # identical rows stand or fall together
    drive(together, values, ids)
    assert together.decision().keep(values, ids).all()


@settings(max_examples=80, deadline=None)
@given(st.lists(VALUES, min_size=1, max_size=40), st.integers(0, 50), st.booleans(), st.integers(1, 4), st.integers())
def test_top_documents_exact_and_independent_of_shards(values, k, largest, parts, seed):
    ids = make_ids(len(values), random.Random(seed))
    selection = Selection(TopDocuments(k), largest=largest)
    drive(selection, values, ids, parts=parts, seed=seed)
    mask = selection.decision().keep(values, ids)
    assert np.flatnonzero(mask).tolist() == sorted(ranked(values, ids, descending=largest)[:k])
    assert bool(selection.notes()) == (k > len(values))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(VALUES, st.integers(0, 100)), min_size=1, max_size=40),
    st.floats(0.01, 1),
    st.booleans(),
    st.sampled_from(["id", "all"]),
)
def test_top_weight_is_the_first_row_beyond_the_share(rows, fraction, largest, ties):
    values, weights = [r[0] for r in rows], [r[1] for r in rows]
    ids = make_ids(len(rows), random.Random(5))
    selection = Selection(TopWeight(fraction), largest=largest, ties=ties)
    drive(selection, values, ids, weights, parts=2)
    order = ranked(values, ids, descending=largest)
    running, kept = 0, []
    for i in order:
        running += weights[i]
        kept.append(i)
        if running > fraction * sum(weights):
            break
    if ties == "all" and len(kept) < len(rows):
        kept = [i for i in order if i in kept or values[i] == values[kept[-1]]]
    assert np.flatnonzero(selection.decision().keep(values, ids)).tolist() == sorted(kept)


def test_preselect_threshold_golden():
    golden = json.loads((GOLDEN / "preselect_threshold.json").read_text())
    scores = [doc["score"] for doc in golden["docs"]]
    characters = [doc["length"] for doc in golden["docs"]]
    for share, result in golden["results"].items():
        selection = Selection(TopWeight(float(share)), ties="all")
        drive(selection, scores, weights=characters, parts=3)
        threshold = selection.decision().thresholds[()]
        assert threshold.value == (result["threshold"] if result["threshold"] > -100 else -math.inf)
        mask = threshold.keep(scores)
        assert mask.sum() == result["kept_docs"]
        assert np.array(characters)[mask].sum() == result["kept_chars"]


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50),
    st.floats(0, 99),
    st.floats(0.5, 100),
    st.sampled_from(["linear", "lower"]),
)
def test_percentiles_are_numpys(values, low, width, method):
    high = min(low + width, 100.0)
    selection = Selection(PercentileRange(low, high, method))
    drive(selection, values, parts=2)
    threshold = selection.decision().thresholds[()]
    assert [threshold.low, threshold.high] == np.percentile(values, [low, high], method=method).tolist()
    expected = [threshold.low <= v <= threshold.high for v in values]
    assert threshold.keep(values).tolist() == expected


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(VALUES, st.sampled_from(["en", "de", None]), st.sampled_from(["web", ""])), min_size=1),
    st.integers(1, 3),
)
def test_groups_each_have_their_own_threshold(rows, parts):
    values = [row[0] for row in rows]
    groups = group_rows([pa.array([row[1] for row in rows]), pa.chunked_array([pa.array([row[2] for row in rows])])])
    assert [groups.labels[code] for code in groups.codes] == [row[1:] for row in rows]
    ids = make_ids(len(rows), random.Random(9))
    selection = Selection(TopFraction(0.5), grouped=True)
    drive(selection, values, ids, groups=groups, parts=parts)
    decision: Decision = pickle.loads(pickle.dumps(selection.decision()))
    mask = decision.keep(values, ids, groups)
    for label in {row[1:] for row in rows}:
        members = [i for i, row in enumerate(rows) if row[1:] == label]
        order = ranked([values[i] for i in members], [ids[i] for i in members], descending=True)
        assert [i for i in members if mask[i]] == sorted(members[j] for j in order[: len(members) // 2])


def test_thousands_of_groups():
    rng = np.random.default_rng(2)
    codes = rng.integers(0, 3000, 60_000)
    values = rng.lognormal(5, 1, len(codes))
    groups = Groups(codes, [(str(i), "x") for i in range(3000)])
    selection = Selection(PercentileRange(10, 60), grouped=True)
    passes = 0
    while (task := selection.next_pass()) is not None:
        passes += 1
        selection.advance(task.accumulate(values, groups=groups))
    assert passes == 2
    decision = selection.decision()
    for group in range(0, 3000, 97):
        threshold = decision.thresholds[str(group), "x"]
        assert [threshold.low, threshold.high] == np.percentile(values[codes == group], [10, 60]).tolist()
    assert abs(decision.keep(values, groups=groups).mean() - 0.5) < 0.05


def test_no_rows_and_unknown_groups():
    selection = Selection(TopDocuments(3))
    drive(selection, [])
    assert selection.notes() == ["3 documents were asked for, but there are only 0: all of them are kept"]
    decision = selection.decision()
    assert decision.keep([]).tolist() == []
    with pytest.raises(DataError, match="had no rows"):
        decision.keep([1.0], ["0" * 32])


def test_misuse_is_refused():
    selection = Selection(TopDocuments(3))
    task = selection.next_pass()
    assert not task.needs_ids
    with pytest.raises(RunError, match="still to be made"):
        selection.decision()
    with pytest.raises(DataError, match="whole numbers"):
        task.accumulate([1.0], weights=[0.5])
    with pytest.raises(DataError, match="whole numbers"):
        task.accumulate([1.0], weights=[-1])
    with pytest.raises(DataError, match="NaN"):
        task.accumulate([math.nan])
    with pytest.raises(RunError, match="at least one"):
        Partial.merge([])
    first = task.accumulate([1.0, 1.0, 2.0, 3.0, 4.0])
    selection.advance(first)
    with pytest.raises(RunError, match="wants pass 2"):
        selection.advance(first)
    task = selection.next_pass()
    with pytest.raises(DataError, match="give the ids"):
        task.accumulate([1.0])
    with pytest.raises(RunError, match="the rows changed"):
        selection.advance(task.accumulate([9.0], ["0" * 32]))
    with pytest.raises(DataError, match="2 values came with 1"):
        task.accumulate([1.0, 2.0], ["0" * 32])


def test_rules_of_a_config():
    assert rule_of(Keep(documents=5)) == TopDocuments(5)
    assert rule_of(Keep(fraction=0.5)) == TopFraction(0.5)
    assert rule_of(Keep(fraction=0.5, of="characters")) == TopWeight(0.5)
    assert rule_of(Keep(percentile=(0, 60))) == PercentileRange(0, 60)
    with pytest.raises(ConfigError, match="none of percentile"):
        rule_of(Keep(min=1.0))
    assert [share_of(0.29, 100), share_of(1.0, 7), share_of(0.5, 7), share_of(0.1, 30)] == [29, 7, 3, 3]
