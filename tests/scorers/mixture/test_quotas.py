import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.schemas.errors import ConfigError, DataError
from tamis.scorers.mixture.aioli import probe_mixtures
from tamis.scorers.mixture.blend import plan_blend
from tamis.scorers.mixture.order import document_order, fill_quota, interleave
from tamis.scorers.mixture.quotas import QuotaBatches, largest_remainder
from tamis.scorers.text.identity import doc_id

BATCHES = json.loads((Path(__file__).resolve().parents[2] / "golden" / "aioli_batches.json").read_text())["cases"]
SHARES = st.lists(st.floats(0, 1), min_size=1, max_size=6).filter(lambda x: sum(x) > 0.01)


def ids(n: int, source: str = "s") -> list[str]:
    return [doc_id(source, str(i)) for i in range(n)]


@pytest.mark.parametrize("case", BATCHES, ids=lambda case: f"m{case['m']}")
def test_probe_batches_as_the_reference(case: Any) -> None:
    mixtures = probe_mixtures(case["m"], case["one_hot_factor"])
    for probe in case["recommended"]:
        found = QuotaBatches(case["m"]).batches(mixtures[probe["probe"]], case["batch_size"], case["interval_steps"])
        assert found.tolist() == probe["per_step"]


@given(SHARES, st.integers(0, 10**6))
def test_largest_remainders(shares: list[float], total: int) -> None:
    counts = largest_remainder(shares, total)
    due = np.array(shares) / sum(shares) * total
    assert counts.sum() == total
    assert (np.abs(counts - due) < 1 + 1e-6).all()
    twin = np.floor(due + 1e-9).astype(int)
    for _ in range(total - twin.sum()):
        twin[np.argmax(np.round((due - twin) / 1e-9))] += 1
    if np.abs(due - np.round(due)).min() > 1e-6:
        assert counts.tolist() == twin.tolist()


def test_largest_remainders_beyond_what_floats_count() -> None:
    total = 2**62 + 12345
    counts = largest_remainder([0.5, 0.25, 0.25], total)
    assert int(counts.sum()) == total
    assert abs(int(counts[0]) - total // 2) <= 1
    assert largest_remainder([1, 1, 1], 10).tolist() == [4, 3, 3]
    with pytest.raises(ConfigError, match="can't be given"):
        largest_remainder([1.0], -1)


@given(st.lists(SHARES.filter(lambda x: len(x) >= 3).map(lambda x: x[:3]).filter(lambda x: sum(x) > 0.01), min_size=1,
                max_size=4), st.integers(1, 9))  # fmt: skip
def test_batches_stay_within_a_row_of_what_is_due(mixtures: list[list[float]], rows: int) -> None:
    quotas = QuotaBatches(3)
    due, given_ = np.zeros(3), np.zeros(3)
    for mixture in mixtures:
        p = np.array(mixture) / sum(mixture)
        for _ in range(7):
            counts = quotas.next(mixture, rows)
            assert sum(counts) == rows
            assert all(n == 0 for n, share in zip(counts, p, strict=True) if share == 0)
            due += rows * p
            given_ += counts
            if len(mixtures) == 1:
                assert (np.abs(due - given_) <= 1 + 1e-6).all()
            again = QuotaBatches(3, json.loads(json.dumps(quotas.owed)))
            assert again.next(mixture, rows) == QuotaBatches(3, quotas.owed).next(mixture, rows)
    np.testing.assert_allclose(quotas.owed, due - given_, atol=1e-9)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=30).filter(any), st.integers(0, 400), st.integers(0, 5))
def test_a_quota_is_filled_within_half_a_document(sizes: list[int], quota: int, seed: int) -> None:
    found = fill_quota(ids(len(sizes)), sizes, quota, seed=seed)
    assert abs(found.amount - quota) <= max(sizes) / 2
    assert found.times_seen.sum() == len(found.documents)
    full = quota // sum(sizes)
    assert all(n in (full - 1, full, full + 1) for n, size in zip(found.times_seen, sizes, strict=True) if size)
    # The order doesn't depend on how the documents were listed.
    shuffle = np.random.default_rng(0).permutation(len(sizes))
    names = ids(len(sizes))
    other = fill_quota([names[i] for i in shuffle], np.array(sizes)[shuffle], quota, seed=seed)
    assert [names[i] for i in found.documents] == [names[shuffle[i]] for i in other.documents]
    for epoch in range(full):
        members = found.documents[found.epochs == epoch]
        assert len(set(members.tolist())) == len(members)


def test_passes_have_orders_of_their_own_and_quality_goes_first() -> None:
    names = ids(200)
    assert document_order(names, seed=1).tolist() != document_order(names, seed=1, epoch=1).tolist()
    assert sorted(document_order(names, seed=1).tolist()) == list(range(200))
    quality = np.array([0.5, np.nan] * 50 + [0.9, 0.1] * 50)
    order = document_order(names, seed=1, quality=quality)
    assert set(order[:50]) == set(range(100, 200, 2))
    assert set(order[-50:]) == set(range(1, 100, 2))
    assert order.tolist() == document_order(names, seed=1, epoch=3, quality=quality).tolist()
    with pytest.raises(ConfigError, match="3 values of quality"):
        document_order(names, seed=1, quality=[1, 2, 3])


@given(st.lists(st.lists(st.integers(1, 9), max_size=12), min_size=1, max_size=4))
def test_interleaved_groups_advance_together(sizes: list[list[int]]) -> None:
    groups, places = interleave(sizes)
    assert sorted(zip(groups.tolist(), places.tolist(), strict=True)) == [
        (g, i) for g, some in enumerate(sizes) for i in range(len(some))
    ]
    given_ = np.zeros(len(sizes))
    totals = np.array([max(1, sum(some)) for some in sizes])
    largest = np.array([max(some, default=0) for some in sizes])
    for g, i in zip(groups, places, strict=True):
        given_[g] += sizes[g][i]
        progress = given_ / totals
        # All groups are equally far, to within a document of each.
        for a in range(len(sizes)):
            for b in range(len(sizes)):
                if sizes[a] and sizes[b]:
                    assert progress[a] - progress[b] <= largest[a] / totals[a] + largest[b] / totals[b] + 1e-12


@given(
    st.lists(st.integers(0, 1000), min_size=2, max_size=5).filter(any),
    st.lists(st.floats(0, 1), min_size=5, max_size=5),
    st.integers(1, 5000),
    st.sampled_from(["repeat", "once", "shrink", "error"]),
    st.sampled_from([1.0, 2.5, 4.0]),
)
def test_blends_keep_their_word(sizes: list[int], shares: list[float], budget: int, policy: Any, epochs: float) -> None:
    names = [f"g{i}" for i in range(len(sizes))]
    have = dict(zip(names, sizes, strict=True))
    asked = dict(zip(names, shares, strict=False))
    if sum(asked.values()) <= 0.01:
        return
    most = 1.0 if policy == "once" else epochs
    total = sum(asked.values())
    giving = [name for name in names if asked[name] > 0]
    short = any(asked[name] / total * budget > have[name] * most * (1 + 1e-9) for name in giving)
    if not any(have[name] for name in giving) or (policy == "error" and short):
        with pytest.raises(DataError, match=r"is empty|and should give"):
            plan_blend(have, budget=budget, exhausted=policy, proportions=asked, max_epochs=epochs)
        return
    blend = plan_blend(have, budget=budget, exhausted=policy, proportions=asked, max_epochs=epochs)
    assert blend.total == sum(g.quota for g in blend.groups) <= budget
    for g in blend.groups:
        assert g.quota <= g.size * most + 1e-6
        assert g.asked == pytest.approx(asked[g.name] / total)
        if asked[g.name] == 0:
            assert g.quota == 0
    fits = all(asked[name] / total * budget <= have[name] * most for name in names)
    if fits:
        assert not [note for note in blend.notes if "repeated" not in note]
        # Rounding up may hit a group's end, by a unit each.
        assert budget - len(names) <= blend.total <= budget
    if policy == "shrink" and blend.total > 100 and not any("is empty" in note for note in blend.notes):
        for g in blend.groups:
            assert abs(g.quota - g.asked * blend.total) <= len(names) + 1
    if policy in ("repeat", "once") and blend.total < budget - len(names):
        assert any("shrinks" in note for note in blend.notes)


def test_nothing_is_a_silent_default() -> None:
    sizes = {"web": 900, "books": 100}
    with pytest.raises(ConfigError, match="say either the groups' proportions, or what they are without"):
        plan_blend(sizes, budget=100, exhausted="once")
    with pytest.raises(ConfigError, match="say either"):
        plan_blend(sizes, budget=100, exhausted="once", proportions={"web": 1}, without="equal")
    union = plan_blend(sizes, budget=None, exhausted="once", without="union")
    assert [g.quota for g in union.groups] == [900, 100]
    equal = plan_blend(sizes, budget=100, exhausted="once", without="equal")
    assert [g.quota for g in equal.groups] == [50, 50]
    spread = plan_blend(sizes, budget=1000, exhausted="repeat", without="unimax", max_epochs=2)
    assert [g.quota for g in spread.groups] == [800, 200]
    assert plan_blend(sizes, budget=None, exhausted="once", proportions={"web": 0.5, "books": 0.5}).total == 200
    with pytest.raises(ConfigError, match="'wiki', which the data hasn't"):
        plan_blend(sizes, budget=10, exhausted="once", proportions={"wiki": 1})
    with pytest.raises(ConfigError, match=r"max_epochs is 0\.5"):
        plan_blend(sizes, budget=10, exhausted="once", proportions={"web": 1}, max_epochs=0.5)


def test_groups_that_run_out() -> None:
    sizes = {"web": 60_000, "books": 2_000, "code": 8_000}
    shares = {"web": 0.62, "books": 0.2, "code": 0.18}
    repeat = plan_blend(sizes, budget=80_000, exhausted="repeat", proportions=shares, max_epochs=4)
    assert [g.quota for g in repeat.groups] == [55_800, 8_000, 16_200]
    assert repeat.groups[1].capped
    assert any("books is capped at 4 epochs: 0.1000 of the budget instead of 0.2000" in note for note in repeat.notes)
    assert any("books is repeated: 4.00 epochs" in note for note in repeat.notes)
    once = plan_blend(sizes, budget=80_000, exhausted="once", proportions=shares)
    assert [g.quota for g in once.groups] == [60_000, 2_000, 8_000]
    assert any("the budget shrinks from 80,000 to 70,000 tokens: all groups" in note for note in once.notes)
    shrink = plan_blend(sizes, budget=80_000, exhausted="shrink", proportions=shares, max_epochs=1)
    assert shrink.total == 10_000
    assert any("books runs out" in note for note in shrink.notes)
    with pytest.raises(DataError, match="'books' has 2,000 tokens, with 4 epochs 8,000, and should give 16,000"):
        plan_blend(sizes, budget=80_000, exhausted="error", proportions=shares)


def test_a_group_that_is_empty_after_filtering() -> None:
    sizes = {"web": 100, "books": 0}
    blend = plan_blend(sizes, budget=50, exhausted="once", proportions={"web": 0.5, "books": 0.5})
    assert [g.quota for g in blend.groups] == [50, 0]
    assert "books is empty: its share goes to the others" in blend.notes
    with pytest.raises(DataError, match="'books' is empty"):
        plan_blend(sizes, budget=50, exhausted="error", proportions={"web": 0.5, "books": 0.5})
    with pytest.raises(DataError, match="every group that should give is empty"):
        plan_blend(sizes, budget=50, exhausted="once", proportions={"books": 1})
    with pytest.raises(DataError, match="without content"):
        fill_quota(ids(2), [0, 0], 5, seed=1)


@pytest.mark.parametrize("share", [1e-12, 1e-6, 1 - 1e-12, 1.0])
def test_shares_near_the_ends_read_no_further_than_a_group_goes(share: float) -> None:
    sizes = {"a": 7, "b": 1_000_003}
    blend = plan_blend(sizes, budget=1_000_000, exhausted="repeat", proportions={"a": share, "b": 1 - share})
    for g in blend.groups:
        lengths = [1] * min(g.size, 7) if g.name == "a" else [1_000_003]
        found = fill_quota(ids(len(lengths)), lengths, g.quota, seed=0)
        assert found.times_seen.max(initial=0) <= 4
        assert abs(found.amount - g.quota) <= max(lengths) / 2


def test_a_group_of_one_document() -> None:
    found = fill_quota(ids(1), [10], 35, seed=0)
    assert found.documents.tolist() == [0, 0, 0, 0]  # 40 and 30 are equally near: the middle of the fourth is at 35
    assert fill_quota(ids(1), [10], 34, seed=0).times_seen.tolist() == [3]
    assert fill_quota(ids(1), [10], 4, seed=0).documents.tolist() == []
