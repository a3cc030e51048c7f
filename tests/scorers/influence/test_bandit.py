import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.schemas.errors import ConfigError, DataError
from tamis.scorers.embeddings.kmeans import row_ids
from tamis.scorers.influence.bandit import (
    BanditOptions,
    BanditState,
    Probe,
    Scale,
    ScoreTable,
    cluster_scores,
    clusters_view,
    first_probes,
    next_probes,
    order_keys,
    play,
    play_round,
    rounds_view,
    selected,
)
from tests.scorers.influence.released_bandit import play_released


@pytest.fixture(scope="module")
def cases(golden):
    return json.loads((golden / "quad_mab.json").read_text())


def full_table(influence, sizes=None, **more):
    return ScoreTable(
        sizes or [len(own) for own in influence], {i: dict(enumerate(s)) for i, s in enumerate(influence)}, **more
    )


def documents(draws):
    found = {}
    for draw in draws:
        found.setdefault(draw.cluster, []).extend(range(draw.first, draw.after))
    return found


@pytest.mark.parametrize("number", range(10))
def test_golden(cases, number):
    case = cases["cases"][number]
    table, params, result = cases["tables"][case["table"]], case["params"], case["result"]
    if case["mode"] == "released":
        rounds = play_released(
            table["influence"],
            np.array(table["distance"]),
            alpha=params["alpha"],
            tau=params["tau"],
            probe=params["B"],
            block=params["block"],
            per_round=params["k"],
            budget=params["budget"],
            rounds=params["max_rounds"],
            threshold=params["thr"],
        )
        assert [played.picked for played in rounds] == [entry["picked"] for entry in result["rounds"]]
        for played, entry in zip(rounds, result["rounds"], strict=True):
            np.testing.assert_allclose(played.rewards, entry["reward_minus_tau"], atol=1e-9)
            np.testing.assert_allclose(played.scores, entry["cs"], atol=1e-9)
            assert played.accepted == entry["accepted_blocks"]
        assert rounds[-1].counts == result["counts"]
        assert rounds[-1].sampled == result["sampled"]
        assert sum(rounds[-1].accepted) * params["block"] == result["n_selected"]
        return
    options = BanditOptions(
        budget=params["budget"],
        alpha=params["alpha"],
        tau=params["tau"],
        probe=params["B"],
        per_round=params["k"],
        rounds=params["max_rounds"],
    )
    scores = full_table(table["influence"], table["sizes"])
    state = BanditState.start(len(table["sizes"]))
    for entry in result["rounds"]:
        before = cluster_scores(state, options.alpha)
        assert [score is None for score in before] == [score is None for score in entry["cs_before"]]
        for found, wanted in zip(before, entry["cs_before"], strict=True):
            assert wanted is None or found == pytest.approx(wanted, abs=1e-9)
        state = play_round(scores, options, state)
        turn = [draw for draw in state.draws if draw.round == entry["round"]]
        assert [draw.cluster for draw in turn] == entry["picked"]
        assert [draw.mean for draw in turn] == pytest.approx(entry["mean_influence"], abs=1e-12)
        assert [draw.accepted for draw in turn] == entry["accepted"]
        assert state.spent == entry["n_selected"]
    end = play(scores, options)
    assert end == play_round(scores, options, state)
    assert end.stop == result["stop"]
    assert documents(selected(scores, options, end)) == {int(i): d for i, d in result["selected_docs"].items()}
    assert list(end.counts) == result["counts"]
    assert end.spent == result["n_selected"]


def twin(influence, options, costs=None, distances=None):
    """The rules again, with lists of documents instead of ranks and of a round at a time."""
    left = [list(range(len(own))) for own in influence]
    sums, counts = [0.0] * len(influence), [0.0] * len(influence)
    spent, played, taken = 0.0, [], []
    for _ in range(options.rounds):
        if spent >= options.budget:
            break
        total = math.fsum(counts)

        def value(i, total=total):
            if counts[i] == 0:
                return math.inf
            return sums[i] / counts[i] + options.alpha * math.sqrt(2 * max(0.0, math.log(total)) / counts[i])

        values = [value(i) for i in range(len(influence))]
        able = sorted((i for i in range(len(influence)) if left[i]), key=lambda i: (-values[i], i))
        if not able:
            break
        played.append(able[: options.per_round])
        for i in able[: options.per_round]:
            untouched = len(left[i]) == len(influence[i])
            taking = options.probe if untouched and options.first_turn == "probe" else options.block or options.probe
            block = left[i][:taking]
            left[i] = left[i][taking:]
            probe = [influence[i][d] for d in block[: options.probe]]
            mean = math.fsum(probe) / len(probe)
            if mean > options.tau:
                taken += [(i, d) for d in block]
                spent += len(block) if costs is None else sum(costs[i][d] for d in block)
            for j in range(len(influence)):
                weight = 1.0 if i == j else 0.0
                if i != j and options.neighbours is not None and distances[i][j] < options.neighbours:
                    weight = 1 - distances[i][j] / options.neighbours
                sums[j] += weight * mean
                counts[j] += weight
    return played, taken


@st.composite
def games(draw):
    """Scores from a coarse grid, so that there are ties."""
    grid = st.integers(-8, 8).map(lambda i: i / 4)
    influence = draw(st.lists(st.lists(grid, min_size=0, max_size=12), min_size=1, max_size=7))
    probe = draw(st.integers(1, 4))
    options = BanditOptions(
        budget=draw(st.integers(0, 40)),
        unit=draw(st.sampled_from(["documents", "tokens"])),
        alpha=draw(st.sampled_from([0.0, 0.3, 2.0])),
        tau=draw(grid),
        probe=probe,
        block=draw(st.sampled_from([None, probe, probe + 3])),
        per_round=draw(st.integers(1, 4)),
        rounds=draw(st.sampled_from([3, 1000])),
        neighbours=draw(st.sampled_from([None, 0.5])),
        first_turn=draw(st.sampled_from(["probe", "block"])),
    )
    costs = [[draw(st.integers(1, 9)) for _ in own] for own in influence]
    corners = np.array([[draw(st.integers(0, 3)) / 4] for _ in influence])
    return influence, options, costs, np.abs(corners - corners.T)


@given(games())
def test_equals_twin(game):
    influence, options, costs, distances = game
    table = full_table(influence, costs=costs, distances=distances)
    state = play(table, options)
    played, taken = twin(influence, options, None if options.unit == "documents" else costs, distances)
    assert [[d.cluster for d in state.draws if d.round == number] for number in range(state.round)] == played
    draws = selected(table, options, state)
    assert [(draw.cluster, rank) for draw in draws for rank in range(draw.first, draw.after)] == taken
    price = (lambda c, r: 1) if options.unit == "documents" else (lambda c, r: costs[c][r])
    assert state.spent == sum(price(*document) for document in taken)
    cut = [(d.cluster, r) for d in selected(table, options, state, cut=True) for r in range(d.first, d.after)]
    assert cut == taken[: len(cut)]
    total = sum(price(*document) for document in cut)
    assert total >= min(options.budget, state.spent)
    assert not cut or total - price(*cut[-1]) < options.budget


@given(games())
def test_stopping_and_going_on_changes_nothing(game):
    influence, options, costs, distances = game
    table = full_table(influence, costs=costs, distances=distances)
    whole = play(table, options)
    state = BanditState.start(len(influence))
    while state.stop is None:
        state = BanditState.from_json(json.loads(json.dumps(play_round(table, options, state).to_json())))
    assert state == whole
    assert json.dumps(state.to_json()) == json.dumps(whole.to_json())


@given(games(), st.integers(0, 9))
def test_passes_of_scoring_lead_to_the_same_selection(game, ahead):
    """Only what is asked for is scored, a pass at a time."""
    influence, options, costs, distances = game
    sizes = [len(own) for own in influence]
    known = {}
    table = ScoreTable(sizes, known, costs, distances)
    state, passes = None, 0
    probes = first_probes(table, options) if ahead else []
    while True:
        for probe in probes:
            own = known.setdefault(probe.cluster, {})
            own.update({rank: influence[probe.cluster][rank] for rank in range(probe.first, probe.after)})
        table = ScoreTable(sizes, known, costs, distances)
        state = play(table, options, state)
        if state.stop != "missing":
            break
        probes = next_probes(table, options, state, ahead or None)
        assert set(state.missing) <= set(probes)
        assert len(set(probes)) == len(probes)
        passes += 1
        assert passes < 200
    assert state == play(full_table(influence, costs=costs, distances=distances), options)
    if not ahead:  # nothing was scored in vain
        turns = {(draw.cluster, draw.first) for draw in state.draws}
        asked = sum(min(first + options.probe, sizes[cluster]) - first for cluster, first in turns)
        assert table.scored == asked


def test_next_probes_serve_many_rounds():
    sizes = [100] * 20
    table = ScoreTable(sizes, {i: {r: float(i) for r in range(4)} for i in range(20)})
    options = BanditOptions(budget=1000, probe=4, per_round=2)
    state = play(table, options)
    assert state.stop == "missing"
    probes = next_probes(table, options, state, 60)
    assert [probe.cluster for probe in probes] == list(range(19, 4, -1))
    assert sum(probe.after - probe.first for probe in probes) == 60
    assert next_probes(table, options, state) == list(state.missing)
    assert len(next_probes(table, options, state, 10**9)) == 20 * 24


def test_greedy_and_round_robin():
    influence = [[float(i)] * 50 for i in range(5)]
    options = {"budget": 30, "probe": 2, "per_round": 1}
    greedy = play(full_table(influence), BanditOptions(**options, alpha=0.0))
    assert [draw.cluster for draw in greedy.draws][5:] == [4] * (len(greedy.draws) - 5)
    curious = play(full_table(influence), BanditOptions(**options, alpha=1e6, tau=-1.0))
    turns = np.bincount([draw.cluster for draw in curious.draws])
    assert turns.max() - turns.min() <= 1


def test_neighbours_are_taught_by_weight_in_sum_and_count():
    distances = np.array([[0.0, 0.05, 0.5], [0.05, 0.0, 0.5], [0.5, 0.5, 0.0]])
    table = full_table([[4.0], [1.0], [1.0]], distances=distances)
    state = play_round(table, BanditOptions(budget=9, probe=1, per_round=1, neighbours=0.2), BanditState.start(3))
    assert state.sums == pytest.approx((4.0, 3.0, 0.0))
    assert state.counts == pytest.approx((1.0, 0.75, 0.0))
    assert cluster_scores(state, 0.0) == [4.0, pytest.approx(4.0), None]  # not 4 * 0.75


def test_a_block_ends_with_its_cluster():
    table = full_table([[1.0] * 7, [-1.0] * 3])
    options = BanditOptions(budget=100, probe=2, block=5, per_round=2)
    state = play(table, options)
    assert state.stop == "exhausted"
    assert documents(selected(table, options, state)) == {0: list(range(7))}
    assert state.drawn == (7, 3)


def test_a_first_turn_that_selects_its_probe_alone_leaves_the_budget_to_the_best():
    """Of twenty clusters above tau the best is the last; blocks at first turns spend the budget before its turn."""
    influence = [[1.0 + 0.1 * number] * 100 for number in range(20)]
    options = BanditOptions(budget=160, alpha=0.1, probe=2, block=20, per_round=2)
    early = play(full_table(influence), options)
    assert {draw.cluster for draw in early.draws} == set(range(8))
    fair = replace(options, first_turn="probe")
    late = play(full_table(influence), fair)
    assert [draw.cluster for draw in late.draws[:20]] == list(range(20))
    assert all(draw.after - draw.first == 2 for draw in late.draws[:20])
    assert all(draw.after - draw.first == 20 and draw.cluster > 15 for draw in late.draws[20:])
    asked = first_probes(full_table(influence), fair, turns=3)
    assert [probe.first for probe in asked if probe.cluster == 5] == [0, 2, 22]
    paper = replace(options, block=None)
    assert play(full_table(influence), paper) == play(full_table(influence), replace(paper, first_turn="probe"))


def test_empty_clusters_and_no_clusters():
    options = BanditOptions(budget=10)
    assert play(ScoreTable([]), options).stop == "exhausted"
    assert play(ScoreTable([0, 0]), options).stop == "exhausted"
    assert play(ScoreTable([5]), BanditOptions(budget=0)).stop == "budget"
    assert play(ScoreTable([5]), BanditOptions(budget=1, rounds=0)).stop == "rounds"
    assert play(ScoreTable([5]), options).missing == (Probe(0, 0, 5),)


def test_scale():
    rng = np.random.default_rng(0)
    scores = rng.normal(3.0, 2.0, 1000)
    scale = Scale.of(scores)
    assert scale.mean == pytest.approx(scores.mean())
    assert scale.deviation == pytest.approx(scores.std(ddof=1))
    assert Scale.of(scores[::-1]) == scale
    table = full_table([scores.tolist()]).scaled(scale)
    assert np.mean(list(table.scores[0].values())) == pytest.approx(0, abs=1e-12)
    for wrong in ([], [1.0], [1.0, 1.0], [1.0, float("nan")]):
        with pytest.raises(DataError):
            Scale.of(wrong)


def test_scale_of_first_probes():
    rng = np.random.default_rng(1)
    influence = [(rng.normal(size=size) + 3 * (size == 100)).tolist() for size in (700, 200, 100)]
    options = BanditOptions(budget=1, probe=60)
    scale = Scale.of_first_probes(full_table(influence), options)
    pool = np.concatenate(influence)
    assert scale.mean == pytest.approx(pool.mean(), abs=0.2)
    assert scale.deviation == pytest.approx(pool.std(), abs=0.2)
    first = {i: dict(enumerate(own[:60])) for i, own in enumerate(influence)}
    assert Scale.of_first_probes(ScoreTable([700, 200, 100], first), options) == scale
    del first[1][7]
    with pytest.raises(DataError, match="document 7 of cluster 1 isn't scored"):
        Scale.of_first_probes(ScoreTable([700, 200, 100], first), options)
    for table in (ScoreTable([]), ScoreTable([0]), full_table([[1.0, 1.0], [1.0]])):
        with pytest.raises(DataError):
            Scale.of_first_probes(table, options)


def test_order_of_drawing_is_by_id():
    ids = row_ids(100)
    keys = order_keys(0, ids)
    assert len(set(keys.tolist())) == 100
    np.testing.assert_array_equal(order_keys(0, ids[::-1])[::-1], keys)
    assert (order_keys(1, ids) != keys).any()


def test_views():
    table = full_table([[1.0, 2.0], [-1.0], []])
    options = BanditOptions(budget=10, probe=1)
    state = play(table, options)
    rounds, clusters = rounds_view(state), clusters_view(table, options, state, ["good", "bad", "none"])
    assert rounds.num_rows == len(state.draws) == 3
    assert rounds.column("cluster").to_pylist() == [0, 1, 0]
    assert rounds.column("cluster_score").to_pylist()[0] is None
    assert clusters.column("selected").to_pylist() == [2, 0, 0]
    assert clusters.column("mean_influence").to_pylist() == [1.5, -1.0, None]
    assert clusters.column("title").to_pylist() == ["good", "bad", "none"]
    assert rounds_view(BanditState.start(1)).num_rows == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"budget": -1},
        {"budget": math.nan},
        {"unit": "words"},
        {"alpha": -0.1},
        {"tau": math.inf},
        {"probe": 0},
        {"block": 2},
        {"per_round": 0},
        {"neighbours": 0.0},
        {"first_turn": "all"},
    ],
)
def test_bad_options(wrong):
    with pytest.raises(ConfigError):
        BanditOptions(**{"budget": 5, "probe": 3, **wrong})


def test_bad_tables():
    for wrong in (
        lambda: ScoreTable([2], {1: {0: 1.0}}),
        lambda: ScoreTable([2], {0: {2: 1.0}}),
        lambda: ScoreTable([2], {0: {0: math.nan}}),
        lambda: ScoreTable([2], costs=[[1.0]]),
        lambda: ScoreTable([2], distances=np.zeros((2, 2))),
        lambda: play(ScoreTable([2]), BanditOptions(budget=1), BanditState.start(3)),
        lambda: BanditState.from_json({"round": 1}),
    ):
        with pytest.raises(DataError):
            wrong()
    for options in (BanditOptions(budget=1, unit="bytes"), BanditOptions(budget=1, neighbours=0.2)):
        with pytest.raises(ConfigError, match="in the score table"):
            play(ScoreTable([2]), options)


def test_columns_make_the_table():
    table = ScoreTable.of([3, 2], [0, 1, 0], [0, 1, 2], [0.5, 1.5, 2.5])
    assert table.scores == {0: {0: 0.5, 2: 2.5}, 1: {1: 1.5}}
    assert table.scored == 3
