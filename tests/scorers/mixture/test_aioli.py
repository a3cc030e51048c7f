import json
import lzma
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tamis.schemas.errors import ConfigError, DataError
from tamis.scorers.mixture.aioli import Aioli, mixing_law, normalised_law, probe_mixtures
from tamis.scorers.mixture.methods import controller_from_json
from tamis.scorers.mixture.simplex import exponentiate
from tests.scorers.mixture.worlds import World

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
SIMULATED = json.loads(lzma.decompress((GOLDEN / "aioli_sim.json.xz").read_bytes()))["cases"]
UPDATES = json.loads((GOLDEN / "aioli_pure.json").read_text())["cases"]


def controller(case: dict[str, Any], **more: Any) -> Aioli:
    given_ = case["params"]
    return Aioli(
        groups=[f"g{i}" for i in range(given_["m"])],
        rounds=given_["T"],
        round_steps=given_["round_steps"],
        sweeps=given_["sweeps_k"],
        interval_steps=given_["interval_steps"],
        one_hot_factor=given_["one_hot_factor"],
        eta=given_["eta"],
        ema=given_.get("ema"),
        update="cumulative" if given_["update"] == "paper" else "memoryless",
        diagonal=given_.get("diagonal", False),
        **more,
    )


@pytest.mark.parametrize("case", UPDATES, ids=range(len(UPDATES)))
def test_update_as_the_reference(case: dict[str, Any]) -> None:
    law = mixing_law(np.array([case["beta"]]), case["one_hot_factor"], diagonal=case["diagonal"])
    normal = normalised_law(law.A, "sum")
    p = exponentiate(np.full(case["m"], 1 / case["m"]), case["eta"] * normal.sum(axis=0))
    np.testing.assert_allclose(law.A, case["A"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(normal, case["A_normalised"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(p, case["p_from_uniform"], rtol=0, atol=1e-12)


@pytest.mark.parametrize("case", SIMULATED, ids=[case["name"] for case in SIMULATED])
def test_whole_run_as_the_reference(case: dict[str, Any]) -> None:
    aioli = controller(case, probe_orders=case["probe_order"])
    world = World(case["world"])
    world.drive(aioli)
    np.testing.assert_allclose(world.losses, case["final_loss"], rtol=0, atol=1e-9)
    for found, wanted in zip(aioli.history(), case["rounds"], strict=True):
        np.testing.assert_allclose(found["beta"], wanted["beta"], rtol=0, atol=1e-9)
        np.testing.assert_allclose(found["A"], wanted["A"], rtol=0, atol=1e-9)
        np.testing.assert_allclose(found["A_normalised"], wanted["A_used"], rtol=0, atol=1e-9)
        np.testing.assert_allclose(found["p"], wanted["p"], rtol=0, atol=1e-9)
        np.testing.assert_allclose(found["loss_start"], wanted["loss_start"], rtol=0, atol=1e-9)
        np.testing.assert_allclose(found["loss_end"], wanted["loss_end"], rtol=0, atol=1e-9)


def test_memoryless_average_stays_within_e_to_the_eta() -> None:
    case = SIMULATED[3]
    aioli = controller({**case, "params": {**case["params"], "update": "code", "ema": 0.5}})
    world = World(case["world"])
    world.drive(aioli)
    twin = np.full(3, 1 / 3)
    for number, record in enumerate(aioli.history()):
        twin = np.exp(case["params"]["eta"] * np.sum(record["A_normalised"], axis=0))
        np.testing.assert_allclose(record["p"], twin / twin.sum(), rtol=1e-12, err_msg=str(number))
        assert max(record["p"]) / min(record["p"]) <= np.exp(case["params"]["eta"])


@given(
    arrays(np.float64, (2, 3, 3), elements=st.floats(-1, 1, width=32)), st.integers(0, 2), st.floats(-3, 3, width=32)
)
@pytest.mark.parametrize("method", ["std", "none"])
def test_a_constant_added_to_a_row_moves_nothing(method: Any, drops: Any, row: int, constant: float) -> None:
    changed = drops.copy()
    changed[:, row, :] += constant
    mixtures = []
    for some in (drops, changed):
        A = mixing_law(some, 0.5).A
        if method == "std" and (A - A.mean(axis=1, keepdims=True)).std() < 1e-6:
            return
        mixtures.append(exponentiate(np.full(3, 1 / 3), 0.7 * normalised_law(A, method).sum(axis=0)))
    np.testing.assert_allclose(*mixtures, rtol=0, atol=1e-6)


@given(arrays(np.float64, (3, 3), elements=st.floats(-0.01, 0.01)), st.sampled_from([0.4, 0.5, 0.8, 1.0]))
def test_the_linear_world_is_recovered(law: Any, factor: float) -> None:
    options = {"rounds": 1, "round_steps": 90, "sweeps": 3, "interval_steps": 7, "one_hot_factor": factor}
    aioli = Aioli(groups=["a", "b", "c"], **options)
    World({"kind": "linear", "L0": [5, 6, 7], "A": law.tolist()}).drive(aioli)
    np.testing.assert_allclose(aioli.history()[0]["A"], 7 * law, rtol=0, atol=1e-12)
    np.testing.assert_allclose(aioli.history()[0]["beta_error"], 0, rtol=0, atol=1e-12)


@pytest.mark.parametrize("more", [{}, {"trust": 0.1, "floor": 0.05, "objective": "perplexity", "shrink": "ratio"}])
def test_resumes_from_every_state(more: dict[str, Any]) -> None:
    case = SIMULATED[2]
    options = {**case["params"], "T": 3}
    whole = controller({**case, "params": options}, **more)
    requests = World(case["world"]).drive(whole)
    assert len(requests) == 1 + 3 * (8 + 1)
    for stop in range(len(requests) + 1):
        part = controller({**case, "params": options}, **more)
        for _, losses in requests[:stop]:
            part.observe(losses)
        again = controller_from_json(part.to_json())
        for request, losses in requests[stop:]:
            assert again.next() == request
            again.observe(losses)
        assert again.next() is None
        assert again.to_json() == whole.to_json()


def test_renamed_positions_give_the_same_shares() -> None:
    law = np.array(SIMULATED[0]["world"]["A"])
    start = np.array(SIMULATED[0]["world"]["L0"])
    shares = []
    for order in ([0, 1, 2], [2, 0, 1]):
        aioli = Aioli(groups=[f"g{i}" for i in order], rounds=3, round_steps=60, seed=5)
        World({"kind": "linear", "L0": start[order], "A": law[np.ix_(order, order)]}).drive(aioli)
        shares.append(dict(zip(aioli.groups, aioli.proportions(), strict=True)))
    assert shares[0] == pytest.approx(shares[1], abs=1e-9)


def test_steps_of_a_round_and_its_orders() -> None:
    aioli = Aioli(groups=["a", "b", "c"], rounds=2, round_steps=100, sweeps=4, interval_steps=6, prior=[1, 1, 2],
                  prior_steps=10)  # fmt: skip
    world = World(SIMULATED[0]["world"])
    requests = [request for request, _ in world.drive(aioli)]
    assert sum(request.steps for request in requests) == 210
    assert [r.kind for r in requests] == ["prior"] + (["probe"] * 12 + ["main"]) * 2
    assert [r.restart for r in requests] == [True] + [False] * 26
    orders = [aioli.probe_order(number) for number in range(2)]
    assert all(sorted(order[i : i + 3]) == [0, 1, 2] for order in orders for i in range(0, 12, 3))
    assert orders[0] != orders[1]
    assert sum(aioli.proportions()) == pytest.approx(1)


def test_perplexity_leans_to_the_hard_group() -> None:
    world = {"kind": "linear", "L0": [2.0, 5.0], "A": [[0.01, 0.0], [0.0, 0.01]]}
    shares = {}
    for objective in ("loss", "perplexity"):
        aioli = Aioli(groups=["easy", "hard"], rounds=1, round_steps=50, sweeps=1, objective=objective)
        World(world).drive(aioli)
        shares[objective] = aioli.history()[0]["p"]
    assert shares["loss"][1] == pytest.approx(0.5)
    weights = 2 * np.exp([2.0, 5.0]) / np.exp([2.0, 5.0]).sum()
    assert shares["perplexity"][1] / shares["perplexity"][0] == pytest.approx(
        np.exp(0.2 * 0.5 * (weights[1] - weights[0])), rel=0.01
    )


def test_trust_floor_and_noise() -> None:
    case = SIMULATED[3]
    options = {**case, "params": {**case["params"], "eta": 50}}
    aioli = controller(options, trust=0.3, floor=0.1)
    World(case["world"]).drive(aioli)
    p = np.array([[1 / 3] * 3] + [record["p"] for record in aioli.history()])
    assert (p >= 0.1 - 1e-12).all()
    assert np.abs(np.diff(np.log(p), axis=0)).max() > 0.29
    inside = (p[1:] > 0.1 + 1e-9).all(axis=1)
    assert np.abs(np.diff(np.log(p), axis=0))[inside].max(initial=0) <= 0.3 + 1e-9


def test_what_is_only_noise_moves_nothing_when_shrunk() -> None:
    noise = np.random.default_rng(3).normal(size=(4, 2, 2))
    noise -= noise.mean(axis=0)  # no signal at all
    moved = {}
    for shrink in ("none", "threshold", "ratio"):
        aioli = Aioli(groups=["a", "b"], rounds=1, round_steps=32, sweeps=4, interval_steps=4, shrink=shrink,
                      normalise="none", eta=1)  # fmt: skip
        losses = np.zeros(2)
        aioli.observe(losses.tolist())
        seen = [0, 0]
        for j in aioli.probe_order(0):
            losses = losses - (noise[seen[j], :, j] + (0.1 if j == 0 else 0.0))
            seen[j] += 1
            aioli.observe(losses.tolist())
        moved[shrink] = abs(aioli.history()[0]["p"][0] - 0.5)
    assert moved["threshold"] == pytest.approx(0, abs=1e-12)
    assert 0 < moved["ratio"] < moved["none"]


def test_allowance_lasts_to_the_end() -> None:
    case = SIMULATED[3]
    allowance = [2600.0, 1300.0, 1400.0]
    aioli = controller({**case, "params": {**case["params"], "eta": 5}}, allowance=allowance)
    requests = World(case["world"]).drive(aioli)
    used = sum(np.array(request.mixture) * request.steps for request, _ in requests)
    assert used.sum() == pytest.approx(5000)
    assert (used <= np.array(allowance) + 1e-6).all()
    free = controller({**case, "params": {**case["params"], "eta": 5}})
    used = sum(np.array(request.mixture) * request.steps for request, _ in World(case["world"]).drive(free))
    assert (used > np.array(allowance) + 1).any()


def test_target_sets_outside_the_groups() -> None:
    aioli = Aioli(groups=["a", "b"], validation=["target"], rounds=2, round_steps=40, sweeps=2, eta=1)
    losses = 4.0
    while (request := aioli.next()) is not None:
        losses -= request.steps * (0.01 * request.mixture[0] + 0.001 * request.mixture[1])
        assert request.of == ("target",)
        aioli.observe({"target": losses})
    assert aioli.history()[0]["A"] == [pytest.approx([0.04, 0.004])]
    assert aioli.proportions()[0] > 0.5


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="round_steps larger"):
        Aioli(groups=["a", "b"], round_steps=10)
    with pytest.raises(ConfigError, match=r"above 0\.5"):
        Aioli(groups=["a", "b"], one_hot_factor=0.5)
    with pytest.raises(ConfigError, match="named twice"):
        Aioli(groups=["a", "a"])
    with pytest.raises(ConfigError, match=r"unknown key 'sweep'; did you mean 'sweeps'"):
        Aioli(groups=["a", "b"], sweep=2)
    with pytest.raises(ConfigError, match="the probes and the prior phase alone"):
        Aioli(groups=["a", "b"], allowance=[10.0, 1e9])
    with pytest.raises(ConfigError, match="all groups together"):
        Aioli(groups=["a", "b"], allowance=[1000.0, 1000.0])
    aioli = Aioli(groups=["a", "b"], rounds=1, round_steps=40)
    with pytest.raises(DataError, match="'b' is nan"):
        aioli.observe([1.0, float("nan")])
    with pytest.raises(DataError, match="'b' doesn't fit"):
        aioli.observe({"a": 1.0, "c": 2.0})
    with pytest.raises(DataError, match="3 values were observed for 2 names"):
        aioli.observe([1.0, 2.0, 3.0])
    with pytest.raises(DataError, match="isn't the state"):
        controller_from_json("{}")
    assert np.allclose(probe_mixtures(1, 0.9), 1)
