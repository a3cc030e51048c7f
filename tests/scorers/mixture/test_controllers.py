import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.schemas.errors import ConfigError, DataError
from tamis.scorers.mixture.dga import Dga, alignments, dga_update
from tamis.scorers.mixture.fixed import mean_mixture, proportional, stratified, unimax
from tamis.scorers.mixture.methods import CONTROLLERS, controller_from_json
from tamis.scorers.mixture.reweighting import DoGE, DoReMi, doge_update, doremi_update
from tamis.scorers.mixture.simplex import cap_shares, exponentiate, raise_to_floor
from tamis.scorers.mixture.skill_it import SkillIt, skill_mixture
from tests.scorers.mixture.worlds import World

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
BASELINES = json.loads((GOLDEN / "aioli_baselines.json").read_text())["cases"]
DGA = json.loads((GOLDEN / "mixing.json").read_text())["dga"]
ABC = ["a", "b", "c"]
LAW = {"kind": "linear", "L0": [4.0, 5.0, 6.0], "A": [[2e-3, 1e-4, 0], [0, 1e-3, 0], [1e-4, 0, 3e-3]]}


def close(found: Any, wanted: Any, tolerance: float = 1e-12) -> None:
    np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance)


def test_skill_it_as_the_reference() -> None:
    case = BASELINES["skill_it"]
    graph = np.array(case["graph"])
    close(skill_mixture(graph, np.empty((0, 3)), case["eta"]), case["p_initial"])
    close(skill_mixture(graph, np.array(case["losses_last_window"]), case["eta"]), case["p_next"])
    run = SkillIt(groups=ABC, graph=case["graph"], eta=case["eta"], window=case["window"], steps=40, every=10)
    close(run.next().mixture, case["p_initial"])
    run.observe([9.0, 9.0, 9.0])  # leaves the window of three
    for losses in case["losses_last_window"]:
        run.observe(losses)
    assert run.next() is None
    run = SkillIt(groups=ABC, graph=case["graph"], eta=case["eta"], window=case["window"], steps=50, every=10)
    for losses in [[9.0, 9.0, 9.0], *case["losses_last_window"]]:
        run.observe(losses)
    close(run.next().mixture, case["p_next"])


def test_skill_it_measures_its_graph() -> None:
    run = SkillIt(groups=ABC, steps=100, every=50, graph_steps=30)
    requests = [request for request, _ in World(LAW).drive(run)]
    assert [request.kind for request in requests] == ["evaluate", "single", "single", "single", "main", "main"]
    assert [request.restart for request in requests] == [True] * 5 + [False]
    drop = 30 * np.array(LAW["A"])
    close(run.state["graph"], (drop / np.array(LAW["L0"])[:, None]).T, 1e-9)
    with pytest.raises(DataError, match="above 0"):
        SkillIt(groups=["a"]).observe([0.0])


def test_doremi_as_the_reference() -> None:
    case = BASELINES["doremi"]
    p, excess = np.array(case["p_prev"]), np.array(case["excess_loss"])
    close(doremi_update(p, excess, case["mu"], case["smoothing"]), case["p_next"])
    run = DoReMi(groups=ABC, initial=case["p_prev"], mu=case["mu"], smoothing=case["smoothing"], steps=3,
                 reference_steps=7)  # fmt: skip
    assert run.next()[:4] == ("reference", tuple(case["p_prev"]), 7, "nothing")
    run.observe()
    assert run.next().restart
    run.observe(case["excess_loss"])
    close(run.next().mixture, case["p_next"])
    run.observe([None, -1.0, None])  # absent groups keep their excess; what is below the reference counts as 0
    second = doremi_update(np.array(case["p_next"]), np.array([excess[0], 0, excess[2]]), case["mu"], case["smoothing"])
    close(run.next().mixture, second)
    close(run.proportions(), (np.array(case["p_next"]) + second) / 2)


def test_doge_as_the_reference() -> None:
    case = BASELINES["doge"]
    scores = np.array(case["score_inner_products"]) / case["mean_grad_norm"]
    close(doge_update(np.array(case["p_prev"]), scores, case["lr"], case["mu"]), case["p_next"], 1e-9)
    run = DoGE(groups=ABC, initial=case["p_prev"], mu=case["mu"], steps=2)
    run.observe(scores.tolist(), learning_rate=case["lr"])
    close(run.next().mixture, case["p_next"], 1e-9)
    clipped = doge_update(np.array([0.5, 0.5]), np.array([-3.0, 99.0]), 0.1, 0.5)
    close(clipped, exponentiate(np.array([0.5, 0.5]), np.array([0.0, 1.0])))
    with pytest.raises(DataError, match="learning rate"):
        run.observe(scores.tolist())


def test_dga_as_the_references() -> None:
    case = BASELINES["dga"]
    run = Dga(groups=ABC, eta=case["eta"], beta=case["ema_beta"], clip=None, floor=0, steps=20)
    run.state |= {"weights": case["p_prev"], "sampled": case["p_prev"]}
    run.observe(case["inner_products"])
    close(run.state["weights"], case["p_raw"])
    close(run.state["sampled"], case["p_sampled"])
    run = Dga(groups=list("abcd"), eta=DGA["eta"], beta=DGA["beta"], clip=None, floor=0, steps=20, every=1)
    for step in DGA["steps"]:
        a = alignments(np.array(step["domain_gradients"]), np.array(step["target_gradient"]))
        close(a, step["alignment"])
        run.observe(a.tolist())
        close(run.state["weights"], step["p"])
        close(run.state["sampled"], step["p_sampled"])


def test_dga_options_as_the_reference() -> None:
    options, first = DGA["options"], DGA["steps"][0]
    cosine = alignments(np.array(first["domain_gradients"]), np.array(first["target_gradient"]), cosine=True)
    close(cosine, options["cosine"])
    p = dga_update(np.full(4, 0.25), cosine, DGA["eta"], clip=1.0)
    close(p, options["p_after_clip"])
    close(raise_to_floor(p, options["floor"]), options["p_after_floor"])
    case = options["floor_case"]
    close(raise_to_floor(np.array(case["p"]), case["floor"]), case["result"])


def test_dga_over_distributions_as_the_reference() -> None:
    case = DGA["distributions"]
    Q = np.array(case["Q"])
    gradients = Q @ np.array(case["domain_gradients"])
    names = [f"task{i}" for i in range(len(Q))]
    run = Dga(groups=[f"c{i}" for i in range(Q.shape[1])], distributions=case["Q"], names=names, eta=DGA["eta"],
              clip=None, beta=1.0, steps=9)  # fmt: skip
    for step in case["steps"]:
        a = alignments(gradients, np.array(case["target_gradient"]))
        close(a, step["alignment"])
        run.observe(dict(zip(names, a.tolist(), strict=True)))
        close(run.state["weights"], step["weights"])
        close(run.state["sampled"], step["p"])


def test_dga_holds_what_is_noise() -> None:
    run = Dga(groups=ABC, repeats=2, floor=0, steps=20, beta=1)
    run.observe([[0.5, -1.0, 0.1], [0.5, 1.2, 0.1]])
    assert run.state["weights"][1] == pytest.approx(1 / 3)
    assert run.state["weights"][0] / run.state["weights"][2] == pytest.approx(np.exp(0.4))
    with pytest.raises(DataError, match="2 measurements"):
        run.observe([0.1, 0.2, 0.3])


@given(st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=3), st.floats(-50, 50))
def test_dga_properties(values: list[float], constant: float) -> None:
    p = np.array([0.2, 0.3, 0.5])
    close(dga_update(p, np.full(3, constant), 0.7), p, 1e-9)
    close(dga_update(p, np.array(values) + constant, 0.01), dga_update(p, np.array(values), 0.01), 1e-9)
    floored = raise_to_floor(dga_update(p, np.array(values), 5.0), 0.05)
    assert floored.sum() == pytest.approx(1)
    assert (floored >= 0.05 - 1e-12).all()


def test_dga_stays_in_the_simplex() -> None:
    generator = np.random.default_rng(1)
    run = Dga(groups=[str(i) for i in range(7)], steps=3000, every=1, cosine=False)
    for _ in range(3000):
        run.observe(generator.standard_cauchy(7).tolist())
        p = np.array(run.state["weights"])
        assert abs(p.sum() - 1) < 1e-9
        assert p.min() >= 0.1 / 7 - 1e-12


def run_of(method: str) -> Any:
    options: dict[str, Any] = {
        "aioli": {"rounds": 2, "round_steps": 60},
        "dga": {"steps": 6, "every": 2, "repeats": 1},
        "doge": {"steps": 5},
        "doremi": {"steps": 4, "reference_steps": 3},
        "fixed": {"schedule": [[1, 1, 2], [1, 0, 0]], "steps": [5, 3], "evaluate_every": 2},
        "skill_it": {"steps": 20, "every": 6, "graph_steps": 4},
        "swarm": {"runs": 4, "steps": 10, "solve": "best_run"},
    }
    return CONTROLLERS[method](groups=ABC, **options[method])


@pytest.mark.parametrize("method", sorted(CONTROLLERS))
def test_every_method_resumes_from_every_state(method: str) -> None:
    observations = []
    whole = run_of(method)
    while (request := whole.next()) is not None:
        assert sum(request.mixture) == pytest.approx(1)
        assert whole.next() == request
        assert json.loads(json.dumps(request.to_dict()))["kind"] == request.kind
        digits = [len(observations) + 1, 0.5, 2.0]
        values = [] if request.measure == "nothing" else [np.sin(len(observations) + x) + 2 for x in digits]
        observations.append((request, values))
        whole.observe(values, learning_rate=0.1)
    assert observations[0][0].restart
    assert sum(whole.proportions()) == pytest.approx(1)
    with pytest.raises(DataError, match="has ended"):
        whole.observe([1.0, 1.0, 1.0])
    for stop in range(len(observations) + 1):
        part = run_of(method)
        for _, values in observations[:stop]:
            part.observe(values, learning_rate=0.1)
        again = controller_from_json(part.to_json())
        for request, values in observations[stop:]:
            assert again.next() == request
            again.observe(values, learning_rate=0.1)
        assert again.next() is None
        assert again.to_json() == whole.to_json()
        assert again.proportions() == whole.proportions()


def test_fixed_schedule() -> None:
    run = run_of("fixed")
    steps = [(request.steps, request.mixture) for request, _ in World(LAW).drive(run)]
    assert steps == [(n, (0.25, 0.25, 0.5)) for n in (2, 2, 1)] + [(n, (1.0, 0.0, 0.0)) for n in (2, 1)]
    close(run.proportions(), [(5 * 0.25 + 3) / 8, 5 * 0.25 / 8, 5 * 0.5 / 8])
    with pytest.raises(ConfigError, match="as many steps"):
        mean_mixture([[1, 0]], [1, 2])
    with pytest.raises(ConfigError, match="not all 0"):
        proportional([0.0, 0.0])
    close(stratified(4), 0.25)
    close(proportional([1, 3]), [0.25, 0.75])


@given(st.lists(st.floats(1, 1e6), min_size=1, max_size=8), st.floats(1, 1e7), st.floats(0.5, 8))
def test_unimax_is_as_even_as_caps_allow(sizes: list[float], budget: float, epochs: float) -> None:
    result = unimax(sizes, budget, epochs)
    caps = np.array(sizes) * epochs / budget
    assert (result.shares <= caps * (1 + 1e-12)).all()
    assert result.shares.sum() + result.missing == pytest.approx(1)
    level = result.shares.max()
    # As even as can be: who has less than the most has its cap.
    assert all(share == pytest.approx(min(level, cap)) for share, cap in zip(result.shares, caps, strict=True))


def test_unimax_by_hand() -> None:
    result = unimax([10, 1000, 100], 300, 4)
    close(result.shares, [40 / 300, 130 / 300, 130 / 300])
    assert result.capped == (0,)
    assert unimax([10, 10], 100, 2).missing == pytest.approx(0.6)
    with pytest.raises(ConfigError, match="above 0"):
        unimax([1, 0], 10, 1)


@given(
    st.lists(st.floats(0, 1), min_size=2, max_size=6).filter(lambda x: sum(x) > 0.01),
    st.lists(st.floats(0, 1), min_size=6, max_size=6),
)
def test_capped_shares_keep_proportions(weights: list[float], caps: list[float]) -> None:
    p = np.array(weights) / sum(weights)
    limit = np.array(caps[: len(p)])
    result = cap_shares(p, limit)
    assert (result.shares <= limit + 1e-12).all()
    assert result.shares.sum() + result.missing == pytest.approx(1)
    free = [i for i in range(len(p)) if i not in result.capped and p[i] > 1e-12]
    if free:
        ratio = result.shares[free] / p[free]
        np.testing.assert_allclose(ratio, ratio[0], rtol=1e-9)
        assert result.missing == 0
