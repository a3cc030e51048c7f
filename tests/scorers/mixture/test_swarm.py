import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.schemas.errors import ConfigError, DataError, InputError
from tamis.scorers.mixture.convex import minimise_on_simplex
from tamis.scorers.mixture.laws import Law, fit_laws
from tamis.scorers.mixture.runs import Runs, collapse_groups, draw_mixtures, expand_groups, read_runs, write_runs
from tamis.scorers.mixture.swarm import Swarm, propose

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
DML = json.loads((GOLDEN / "aioli_baselines.json").read_text())["cases"]["dml"]


def world(m: int, metrics: int, seed: int = 0) -> Law:
    generator = np.random.default_rng(seed)
    constant = generator.uniform(0.5, 1.5, metrics)
    return Law("log_linear", constant, generator.uniform(-2, 0.5, (metrics, m)), np.zeros(metrics))


def runs_of(law: Law, n: int, noise: float = 0.0, seed: int = 0) -> Runs:
    m = law.slopes.shape[1]
    ratios = draw_mixtures([1.0] * m, n, seed=seed)
    values = law.predict(ratios) + noise * np.random.default_rng(seed).normal(size=(n, len(law.constant)))
    names = tuple(f"r{i}" for i in range(n))
    return Runs(
        names, tuple(f"g{i}" for i in range(m)), ratios, tuple(f"t{i}" for i in range(len(law.constant))), values
    )


def grid(m: int, n: int) -> Any:
    if m == 1:
        return np.full((1, 1), n)
    return np.array([[i, *row] for i in range(n + 1) for row in grid(m - 1, n - i)])


def test_dml_optimum_as_the_reference() -> None:
    slopes = np.array(DML["M"]).T + np.log(DML["a"])[:, None]
    law = Law("log_linear", np.array(DML["b"]), slopes, np.zeros(3))
    found = minimise_on_simplex(lambda p: law.weighted(p, np.full(3, 1 / 3)), 3)
    np.testing.assert_allclose(found.shares, DML["optimum"], atol=1e-6)
    assert found.value == pytest.approx(DML["value"], abs=1e-9)


@given(st.integers(0, 30), st.sampled_from([0.0, 0.1]), st.booleans())
def test_the_minimum_beats_a_grid(seed: int, kl: float, capped: bool) -> None:
    law = world(3, 4, seed)
    prior = np.array([0.2, 0.3, 0.5])
    caps = np.array([0.3, 0.6, 0.45]) if capped else None

    def objective(p: Any) -> Any:
        value, gradient, hessian = law.weighted(p, np.full(4, 0.25))
        ratio = np.log(np.maximum(p, 1e-300) / prior)
        return value + kl * p @ ratio, gradient + kl * (ratio + 1), hessian + kl * np.diag(1 / np.maximum(p, 1e-300))

    found = minimise_on_simplex(objective, 3, caps=caps)
    points = grid(3, 40) / 40
    if caps is not None:
        points = points[(points <= caps).all(axis=1)]
        assert (found.shares <= caps).all()
    assert found.shares.sum() == pytest.approx(1, abs=1e-12)
    assert found.gap <= 1e-10
    best = min(objective(p)[0] for p in points)
    assert found.value <= best + 1e-9
    assert found.value >= best - 0.01


def test_minimum_under_tight_caps() -> None:
    law = world(3, 2)
    objective = lambda p: law.weighted(p, np.full(2, 0.5))  # noqa: E731
    np.testing.assert_allclose(
        minimise_on_simplex(objective, 3, caps=np.array([0.2, 0.3, 0.5])).shares, [0.2, 0.3, 0.5]
    )
    with pytest.raises(ConfigError, match="no mixture fits"):
        minimise_on_simplex(objective, 3, caps=np.array([0.2, 0.3, 0.4]))


@pytest.mark.parametrize(("positive", "huber"), [(True, 0.02), (False, None)])
def test_laws_recover_a_log_linear_world(positive: bool, huber: float | None) -> None:
    law = world(4, 3, 2)
    runs = runs_of(law, 24)
    fitted = fit_laws(runs.ratios, runs.values, huber=huber, positive=positive)
    np.testing.assert_allclose(fitted.predict(grid(4, 6) / 6), law.predict(grid(4, 6) / 6), atol=2e-4)
    assert fitted.residual.max() < 1e-4


def test_law_is_no_worse_than_many_random_starts() -> None:
    from scipy.optimize import minimize

    law = world(3, 1, 5)
    runs = runs_of(law, 12, noise=0.05, seed=5)
    y = runs.values[:, 0]

    def cost(theta: Any) -> float:
        error = np.abs(np.exp(theta[0]) + np.exp(runs.ratios @ theta[1:]) - y)
        return float(np.where(error <= 0.02, error**2 / 2, 0.02 * (error - 0.01)).sum())

    fitted = fit_laws(runs.ratios, runs.values)
    found = cost(np.concatenate([np.log(fitted.constant), fitted.slopes[0]]))
    generator = np.random.default_rng(0)
    starts = [[c, *generator.uniform(-1, 0.1, 3)] for c in np.linspace(-2, 1.5, 5) for _ in range(3)]
    twin = min(
        minimize(cost, start, method="Nelder-Mead", options={"maxiter": 3000, "fatol": 1e-12}).fun for start in starts
    )
    assert found <= twin * 1.02 + 1e-9


def test_linear_law_recovers_a_linear_world() -> None:
    slopes = np.array([[1.0, 2.0, 4.0]])
    ratios = draw_mixtures([1, 1, 1], 20, seed=1)
    fitted = fit_laws(ratios, ratios @ slopes.T, kind="linear", ridge=1e-9)
    np.testing.assert_allclose(fitted.slopes, slopes, atol=1e-5)


def test_proposal_of_an_exact_world() -> None:
    law = world(4, 3, 7)
    runs = runs_of(law, 40)
    wanted = minimise_on_simplex(lambda p: law.weighted(p, np.full(3, 1 / 3)), 4)
    found = propose(runs, kl=0.0)
    assert law.predict(found.shares[None])[0].mean() == pytest.approx(wanted.value, abs=1e-4)
    pulled = propose(runs, kl=1e4, prior=np.array([0.1, 0.2, 0.3, 0.4]))
    np.testing.assert_allclose(pulled.shares, [0.1, 0.2, 0.3, 0.4], atol=1e-3)
    assert not pulled.extrapolated
    capped = propose(runs, kl=0.0, caps=np.array([0.3, 0.3, 0.3, 0.3]))
    assert capped.shares.max() <= 0.3
    simulated = propose(runs, law="log_linear", proposer="simulation", best=50)
    assert found.predicted - 1e-6 <= simulated.predicted <= found.at_prior
    searched = propose(runs, proposer="search")
    assert searched.predicted == pytest.approx(runs.values.mean(axis=1).min())
    one = propose(runs, weights={"t1": 1.0}, kl=0.0)
    best = minimise_on_simplex(lambda p: law.weighted(p, np.array([0, 1.0, 0])), 4).value
    assert one.predicted == pytest.approx(best, abs=1e-3)


def test_a_proposal_beyond_what_was_tried_is_marked() -> None:
    ratios = np.array([[0.5, 0.3, 0.2], [0.4, 0.4, 0.2], [0.4, 0.3, 0.3], [0.45, 0.3, 0.25], [0.42, 0.36, 0.22]])
    values = 1 + np.exp(ratios @ np.array([[-3.0], [0.0], [0.0]]))
    runs = Runs(tuple("abcde"), ("web", "code", "books"), ratios, ("loss",), values)
    found = propose(runs, kl=0.0)
    assert found.extrapolated
    assert 0 in found.outside
    assert any("extrapolation: web gets" in note and "0.4000 to 0.5000" in note for note in found.notes)
    inside = propose(runs, kl=1e4, prior=np.array([0.43, 0.33, 0.24]))
    assert not inside.extrapolated
    assert inside.hull_distance < 1e-6


def test_metrics_below_zero_are_shifted_and_said() -> None:
    runs = runs_of(world(3, 2, 1), 12)
    shifted = Runs(runs.names, runs.groups, runs.ratios, runs.metrics, runs.values - 5)
    found = propose(shifted, kl=0.05)
    assert any("were shifted" in note for note in found.notes)


def test_files_of_the_form_that_olmix_writes(tmp_path: Path) -> None:
    runs = runs_of(world(3, 2, 3), 8)
    ratios, metrics = tmp_path / "ratios.csv", tmp_path / "metrics.csv"
    write_runs(runs, ratios, metrics)
    again = read_runs(ratios, metrics)
    assert again.names == runs.names
    np.testing.assert_array_equal(again.values, runs.values)
    np.testing.assert_allclose(again.ratios, runs.ratios, rtol=0, atol=1e-15)
    ratios.write_text(
        ",run,name,index,dclm:a,wiki\n0,x1,swarm-0000,0,0.4,0.599\n1,x2,swarm-0001,1,1.0,0.0\n2,x3,,2,0,1\n"
    )
    metrics.write_text("\ufeffrun_id,mmlu,arc\nx2,1.5,2\nx1,1.25,3\nx3,,1\nx9,1,1\n", encoding="utf-8")
    read = read_runs(ratios, metrics)
    assert read.names == ("x1", "x2")
    assert read.groups == ("dclm:a", "wiki")
    np.testing.assert_allclose(read.ratios, [[0.4 / 0.999, 0.599 / 0.999], [1, 0]])
    np.testing.assert_array_equal(read.values, [[1.25, 3], [1.5, 2]])
    assert len(read.notes) == 2
    assert read_runs(ratios, metrics, keep=["arc"]).names == ("x1", "x2", "x3")
    with pytest.raises(ConfigError, match="no column 'mmlu_stem'"):
        read_runs(ratios, metrics, keep=["mmlu_stem"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("id,a\nx,1\n", "exactly one column 'run'"),
        ("run,a,b\nx,0.5,0.4\n", "add to 0.9"),
        ("run,a,b\nx,0.5,0.5\nx,0.5,0.5\n", "line 3: run 'x' is there twice"),
        ("run,a,b\nx,0.5,half\n", "'half' in column 'b'"),
        ("run,a,b\nx,0.5\n", "line 2: 2 cells"),
        ("run,a,a\nx,0.5,0.5\n", "different names"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "ratios.csv").write_text(text)
    (tmp_path / "metrics.csv").write_text("run,loss\nx,1\n")
    with pytest.raises((InputError, DataError), match=message):
        read_runs(tmp_path / "ratios.csv", tmp_path / "metrics.csv")


def test_reuse_of_a_mixture_when_one_group_changes() -> None:
    kept = {"existing": {"web": 0.75, "books": 0.25}}
    shares = np.linspace(0.1, 0.9, 9)
    ratios = np.column_stack([0.75 * shares, 0.25 * shares, (1 - shares) * 0.4, (1 - shares) * 0.6])
    values = 1 + np.exp(ratios @ np.array([[-1.0], [-1.0], [-2.0], [0.5]]))
    runs = Runs(tuple("abcdefghi"), ("web", "books", "code", "maths"), ratios, ("loss",), values)
    small = collapse_groups(runs, kept)
    assert small.groups == ("existing", "code", "maths")
    np.testing.assert_allclose(small.ratios[:, 0], shares)
    found = propose(small, kl=0.01)
    full = expand_groups(dict(zip(small.groups, found.shares.tolist(), strict=True)), kept)
    assert sum(full.values()) == pytest.approx(1)
    assert full["web"] == pytest.approx(3 * full["books"])
    with pytest.raises(DataError, match="run 'i' hasn't"):
        collapse_groups(runs, {"existing": {"web": 0.5, "books": 0.5}})
    with pytest.raises(ConfigError, match="'forum'"):
        collapse_groups(runs, {"existing": {"web": 0.5, "forum": 0.5}})


def test_drawn_mixtures() -> None:
    prior = [0.7, 0.2, 0.1]
    drawn = draw_mixtures(prior, 4000, seed=3)
    np.testing.assert_allclose(drawn.sum(axis=1), 1)
    np.testing.assert_allclose(drawn.mean(axis=0), prior, atol=0.02)
    late, early = drawn[3000:].std(axis=0), drawn[:1000].std(axis=0)
    assert (late < early).all()
    # A Dirichlet's variance is p (1 - p) / (1 + concentration).
    same = draw_mixtures(prior, 20000, seed=4, strength=(2.0, 2.0))
    np.testing.assert_allclose(same.var(axis=0), np.array(prior) * (1 - np.array(prior)) / (1 + 6), rtol=0.05)
    assert np.isfinite(draw_mixtures([1.0] * 200, 5, seed=1, strength=(1e-4, 1e-4))).all()
    with pytest.raises(ConfigError, match="above 0"):
        draw_mixtures([1.0, 0.0], 2, seed=1)


@pytest.mark.parametrize("method", ["olmix", "dml", "regmix", "best_run"])
def test_a_swarm_finds_a_better_mixture(method: str) -> None:
    law = world(3, 3, 4)
    swarm = Swarm(groups=["a", "b", "c"], runs=24, solve=method, seed=2)
    while (request := swarm.next()) is not None:
        assert request.restart
        swarm.observe(law.predict(np.array(request.mixture)[None])[0].tolist())
    best = minimise_on_simplex(lambda p: law.weighted(p, np.full(3, 1 / 3)), 3).value
    reached = law.predict(np.array(swarm.proportions())[None])[0].mean()
    uniform = law.predict(np.full((1, 3), 1 / 3))[0].mean()
    assert best - 1e-9 <= reached < uniform
    if method == "dml":
        assert reached == pytest.approx(best, abs=1e-4)
    with pytest.raises(ConfigError, match="fewer than 3 groups"):
        Swarm(groups=["a", "b", "c"], runs=2)


def test_too_few_runs_are_refused() -> None:
    with pytest.raises(DataError, match="2 runs are fewer than 3 groups"):
        fit_laws(np.full((2, 3), 1 / 3), np.ones((2, 1)))
    runs = runs_of(world(3, 2), 5)
    with pytest.raises(ConfigError, match="no metric 'x'"):
        propose(runs, weights={"x": 1.0})
    with pytest.raises(DataError, match="no run's mixture is below the caps"):
        propose(runs, proposer="search", caps=np.full(3, 0.334))
