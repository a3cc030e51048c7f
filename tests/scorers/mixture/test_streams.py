import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.schemas.errors import ConfigError, DataError
from tamis.scorers.mixture.order import fill_quota
from tamis.scorers.mixture.streams import Curve, Stream, cut_stream, fill_stream, stage_quotas, training_order
from tamis.scorers.text.identity import doc_id

SIZES = st.lists(st.integers(0, 50), min_size=1, max_size=40).filter(any)


def ids(n: int, source: str = "s") -> list[str]:
    return [doc_id(source, str(i)) for i in range(n)]


@given(SIZES, st.lists(st.integers(0, 300), min_size=1, max_size=4))
def test_a_stream_is_the_quota_of_all_stages_and_each_stage_ends_where_its_own_quota_would(
    sizes: list[int], quotas: list[int]
) -> None:
    documents = ids(len(sizes))
    stream = fill_stream(documents, sizes, quotas, seed=3)
    whole = fill_quota(documents, sizes, sum(quotas), seed=3)
    assert stream.documents.tolist() == whole.documents.tolist()
    assert stream.passes.tolist() == whole.epochs.tolist()
    assert stream.times_seen(len(sizes)).tolist() == whole.times_seen.tolist()
    lengths = np.array(sizes)
    if min(sizes) > 0:  # a document of no size stands at a bound, where both readings are right
        middles = 2 * np.cumsum(stream.sizes) - stream.sizes
        assert stream.stages.tolist() == np.searchsorted(2 * np.cumsum(quotas), middles).tolist()
    largest = lengths.max()
    for stage in range(len(quotas)):
        given_ = stream.sizes[stream.stages <= stage].sum()
        assert abs(int(given_) - sum(quotas[: stage + 1])) <= largest / 2


@given(st.integers(0, 10**6), st.integers(2, 12), st.floats(0.05, 1.4))
def test_a_curve_gives_its_quota_to_half_a_document_and_better_ranges_more_often(
    seed: int, ranges: int, wanted: float
) -> None:
    draw = np.random.default_rng(seed)
    n = int(draw.integers(ranges, 90))
    sizes = draw.integers(1, 40, n)
    quality = draw.permutation(n).astype(float)
    total = int(sizes.sum() * wanted) or 1
    stream = fill_stream(
        ids(n), sizes, [total], seed=seed, quality=quality, curve=Curve(ranges=ranges, cap=50, throwaway=0.3)
    )
    assert abs(stream.amount - total) <= sizes.max() / 2
    assert stream.factors is not None
    assert sorted(stream.factors) == list(stream.factors)
    seen = stream.times_seen(n)
    order = np.argsort(quality)
    parts = np.array_split(order, ranges)
    assert [seen[part].sum() for part, factor in zip(parts, stream.factors, strict=True) if factor == 0] == [0] * sum(
        f == 0 for f in stream.factors
    )
    for document in range(n):  # each pass is taken once
        passes = sorted(stream.passes[stream.documents == document].tolist())
        assert len(set(passes)) == len(passes)


def test_ranges_of_a_curve_are_interleaved() -> None:
    quality = np.arange(200.0)
    stream = fill_stream(ids(200), [10] * 200, [2000], seed=0, quality=quality, curve=Curve(4, 7, 0.0))
    half = stream.sizes.cumsum() <= stream.amount // 2
    for low in (100, 150):
        part = (stream.documents >= low) & (stream.documents < low + 50)
        assert abs(int((part & half).sum()) - int((part & ~half).sum())) <= 2


def test_the_order_of_documents_changes_no_stream() -> None:
    draw = np.random.default_rng(1)
    sizes, quality, names = draw.integers(1, 30, 60), draw.random(60), np.array(ids(60))
    shuffled = draw.permutation(60)
    for curve in (None, Curve(5, 7, 0.2)):
        first = fill_stream(list(names), sizes, [300, 200], seed=2, quality=quality, curve=curve)
        again = fill_stream(
            list(names[shuffled]), sizes[shuffled], [300, 200], seed=2, quality=quality[shuffled], curve=curve
        )
        assert names[first.documents].tolist() == names[shuffled][again.documents].tolist()
        assert first.stages.tolist() == again.stages.tolist()


def test_more_than_a_curve_gives_is_refused_with_the_most_that_it_does() -> None:
    with pytest.raises(DataError, match=r"at most \d+ can"):
        fill_stream(ids(10), [1] * 10, [500], seed=0, quality=np.arange(10.0), curve=Curve(5, 3, 0.4))
    with pytest.raises(ConfigError, match="quality"):
        fill_stream(ids(10), [1] * 10, [5], seed=0, curve=Curve())
    with pytest.raises(DataError, match="without content"):
        fill_stream(ids(2), [0, 0], [5], seed=0, quality=np.zeros(2), curve=Curve())


@given(st.integers(0, 10**6))
def test_stage_quotas_add_up_by_group_and_by_stage(seed: int) -> None:
    draw = np.random.default_rng(seed)
    stages, groups = int(draw.integers(1, 6)), int(draw.integers(1, 5))
    table = draw.dirichlet(np.ones(groups), stages)
    lengths = draw.uniform(0.5, 3, stages)
    budget = int(draw.integers(1000, 10**7))
    due = budget * (table * (lengths / lengths.sum())[:, None])
    totals = np.rint(due.sum(axis=0)).astype(int)
    found = stage_quotas(table, lengths.tolist(), totals.tolist())
    assert (found >= 0).all()
    assert found.sum(axis=0).tolist() == totals.tolist()
    assert np.abs(found - due).max() <= groups + 1  # nothing was capped: only whole numbers differ
    less = totals.copy()
    less[0] //= 2
    capped = stage_quotas(table, lengths.tolist(), less.tolist())
    assert capped.sum(axis=0).tolist() == less.tolist()
    if groups > 1:
        share = lengths / lengths.sum() * less.sum()
        assert np.abs(capped.sum(axis=1) - share).max() <= 0.02 * less.sum() + groups


def test_stage_quotas_of_what_no_stage_wants() -> None:
    with pytest.raises(ConfigError, match="no stage"):
        stage_quotas(np.array([[1.0, 0.0]]), [1], [5, 5])
    with pytest.raises(ConfigError, match="doesn't fit"):
        stage_quotas(np.array([[1.0, 0.0]]), [1, 2], [5, 5])
    assert stage_quotas(np.array([[1.0, 0.0], [0.0, 1.0]]), [1, 1], [7, 7]).tolist() == [[7, 0], [0, 7]]


def test_training_order_goes_through_stages_and_keeps_groups_in_step() -> None:
    streams = [
        fill_stream(ids(40, "a"), [5] * 40, [100, 20], seed=1),
        fill_stream(ids(40, "b"), [2] * 40, [20, 60], seed=1),
        Stream(*(np.empty(0, np.int64) for _ in range(4))),
    ]
    groups, places = training_order(streams)
    stages = np.array([streams[g].stages[p] for g, p in zip(groups, places, strict=True)])
    assert sorted(stages) == stages.tolist()
    for group in (0, 1):
        assert places[groups == group].tolist() == list(range(len(streams[group].documents)))
    given_ = [0, 0]
    for group, place in zip(groups[stages == 0], places[stages == 0], strict=True):
        given_[group] += int(streams[group].sizes[place])
        assert abs(given_[0] / 100 - given_[1] / 20) <= 5 / 100 + 2 / 20 + 1e-9


def test_cutting_without_documents() -> None:
    assert cut_stream([], [5, 5]).tolist() == []
    assert training_order([])[0].tolist() == []
