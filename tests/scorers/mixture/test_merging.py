import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.schemas.errors import ConfigError, DataError, ModelError
from tamis.scorers.mixture.merging import (
    average_weights,
    candidate_subsets,
    check_table,
    leave_one_out,
    read_weights,
    unit_sizes,
    unit_weights,
    update_ratio,
    write_weights,
)

CASE = json.loads((Path(__file__).resolve().parents[2] / "golden" / "merge.json").read_text())


def averaged(thetas: list[Any], weights: list[float] | None = None) -> Any:
    models = {f"u{i}": {"w": np.array(theta)} for i, theta in enumerate(thetas)}
    parts = None if weights is None else {f"u{i}": w / sum(weights) for i, w in enumerate(weights)}
    return average_weights(models, parts)["w"]


def solved(units: list[Any]) -> Any:
    X, y = np.vstack([u["X"] for u in units]), np.concatenate([u["y"] for u in units])
    return np.linalg.lstsq(X, y, rcond=None)[0]


def test_least_squares_worlds_as_the_reference() -> None:
    case = CASE["same_gram"]
    thetas = [solved([unit]) for unit in case["units"]]
    np.testing.assert_allclose(thetas, case["theta"], atol=1e-9)
    for candidate in case["candidates"]:
        found = averaged([thetas[i] for i in candidate["units"]])
        np.testing.assert_allclose(found, candidate["average"], atol=1e-9)
        np.testing.assert_allclose(found, candidate["trained_on_union"], atol=1e-9)
    general = CASE["general"]
    found = averaged([solved([unit]) for unit in general["units"]])
    np.testing.assert_allclose(found, general["average"], atol=1e-9)
    assert np.abs(found - general["trained_on_union"]).max() > 0.1  # the average is not the union when Grams differ


def test_uneven_units_as_the_reference() -> None:
    case = CASE["uneven"]
    thetas = [solved([unit]) for unit in CASE["same_gram"]["units"]][: len(case["sizes"])]
    np.testing.assert_allclose(averaged(thetas, case["sizes"]), case["weighted_average"], atol=1e-9)
    np.testing.assert_allclose(averaged(thetas), case["plain_average"], atol=1e-9)
    np.testing.assert_allclose(averaged(thetas, case["sizes"]), case["trained_on_union"], atol=1e-9)
    groups = {f"g{i}": [f"g{i}/{k}" for k in range(size)] for i, size in enumerate(case["sizes"])}
    micro = unit_weights(groups)
    assert sum(micro.values()) == pytest.approx(1)
    assert set(micro.values()) == {1 / sum(case["sizes"])}


def test_gradient_world_as_the_reference() -> None:
    start, eta = np.array(CASE["start"]), CASE["eta"]
    units = CASE["general"]["units"]

    def trained(members: list[Any], steps: int) -> Any:
        theta = start.copy()
        for _ in range(steps):
            gradients = [
                np.array(u["X"]).T @ (np.array(u["X"]) @ theta - np.array(u["y"])) / len(u["y"]) for u in members
            ]
            theta = theta - eta * np.mean(gradients, axis=0)
        return theta

    one = averaged([trained([u], 1) for u in units])
    np.testing.assert_allclose(one, trained(units, 1), atol=1e-12)  # one step: exact on the equal mixture
    for case in CASE["identity"]:
        found, mixed = averaged([trained([u], case["steps"]) for u in units]), trained(units, case["steps"])
        np.testing.assert_allclose(found, case["average_of_units"], atol=1e-9)
        np.testing.assert_allclose(mixed, case["trained_on_mixture"], atol=1e-9)
        assert np.linalg.norm(found - mixed) == pytest.approx(case["distance"], abs=1e-9)
    np.testing.assert_allclose(one, CASE["identity"][0]["average_of_units"], atol=1e-9)
    longer = CASE["longer"]
    np.testing.assert_allclose(averaged([trained([u], longer["steps"]) for u in units]), longer["average"], atol=1e-9)
    np.testing.assert_allclose(trained(units, longer["steps"]), longer["mixture_same_steps"], atol=1e-9)


def test_statistics_as_the_reference() -> None:
    ratio = CASE["update_ratio"]
    start, after = ({"w": np.array(ratio[key]), "n": np.array([3])} for key in ("base", "trained"))
    assert update_ratio(start, after) == pytest.approx(ratio["ratio"], rel=1e-12)
    case = CASE["correlation"]
    proxy = {f"c{i}": [x] for i, x in enumerate(case["proxy_loss"])}
    trained = {f"c{i}": [x] for i, x in enumerate(case["trained_loss"])}
    found = check_table(proxy, trained, update_ratios={"a": 0.1, "b": 0.31})
    assert found.pearson[0] == pytest.approx(case["pearson_ppl"], rel=1e-9)
    assert found.pearson_loss == pytest.approx(case["pearson_loss"], rel=1e-9)
    assert found.spearman == pytest.approx(case["spearman"])
    assert found.kendall == pytest.approx(case["kendall"])
    assert found.best_by_proxy == f"c{case['best_by_proxy']}"
    assert found.regret == pytest.approx(case["regret"], abs=1e-12)
    assert found.mean_offset == pytest.approx(case["mean_offset"], rel=1e-9)
    assert len(found.notes) == 1
    assert "unit b moved 0.31" in found.notes[0]
    with pytest.raises(DataError, match="at least three"):
        check_table({"a": [1.0]}, {"a": [1.0]})


@pytest.mark.parametrize("case", CASE["pieces"], ids=lambda case: str(case["tokens"]))
def test_units_as_the_reference(case: Any) -> None:
    assert unit_sizes(case["tokens"], case["unit"]) == case["pieces"]


def model(seed: int) -> dict[str, Any]:
    generator = np.random.default_rng(seed)
    return {
        "a": generator.normal(size=(3, 2)).astype(np.float32),
        "b": generator.normal(size=4),
        "steps": np.array([7], np.int64),
    }


@given(st.integers(1, 6), st.integers(0, 99))
def test_the_average_of_equal_units_is_the_unit(number: int, seed: int) -> None:
    found = average_weights({f"u{i}": model(seed) for i in range(number)})
    for name, values in model(seed).items():
        np.testing.assert_array_equal(found[name], values)
        assert found[name].dtype == values.dtype


@given(st.permutations(range(4)))
def test_any_order_of_units_gives_the_same_bytes(order: list[int]) -> None:
    found = average_weights({f"u{i}": model(i) for i in order})
    wanted = average_weights({f"u{i}": model(i) for i in range(4)})
    assert all(found[name].tobytes() == wanted[name].tobytes() for name in wanted)
    np.testing.assert_allclose(found["b"], np.mean([model(i)["b"] for i in range(4)], axis=0))


def test_files(tmp_path: Path) -> None:
    for i in range(3):
        write_weights(tmp_path / f"u{i}.safetensors", model(i))
    back = read_weights(tmp_path / "u1.safetensors")
    assert sorted(back) == ["a", "b", "steps"]
    np.testing.assert_array_equal(back["a"], model(1)["a"])
    files = {f"u{i}": tmp_path / f"u{i}.safetensors" for i in range(3)}
    digests = {
        write_weights(tmp_path / "m", average_weights({n: read_weights(files[n]) for n in sorted(files, reverse=flip)}))
        for flip in (False, True)
    }
    assert len(digests) == 1
    np.testing.assert_array_equal(
        read_weights(tmp_path / "m")["a"], average_weights({f"u{i}": model(i) for i in range(3)})["a"]
    )
    data = (tmp_path / "u1.safetensors").read_bytes()
    (tmp_path / "short").write_bytes(data[:-4])
    with pytest.raises(ModelError, match="cut short"):
        read_weights(tmp_path / "short")
    (tmp_path / "other").write_bytes(b"not a model at all")
    with pytest.raises(ModelError, match="isn't a safetensors file"):
        read_weights(tmp_path / "other")


def test_bfloat16_is_read(tmp_path: Path) -> None:
    header = json.dumps({"w": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}).encode()
    wanted = np.array([1.5, -2.0], np.float32)
    raw = (wanted.view(np.uint32) >> 16).astype("<u2").tobytes()
    (tmp_path / "m").write_bytes(len(header).to_bytes(8, "little") + header + raw)
    np.testing.assert_array_equal(read_weights(tmp_path / "m")["w"], wanted)


def test_what_can_not_be_averaged() -> None:
    with pytest.raises(ModelError, match="'b' is only in one"):
        average_weights({"x": model(0), "y": {"a": model(1)["a"], "steps": model(1)["steps"]}})
    with pytest.raises(ModelError, match="isn't floating point and differs"):
        average_weights({"x": model(0), "y": {**model(1), "steps": np.array([8])}})
    with pytest.raises(ModelError, match="not that of x"):
        average_weights({"x": model(0), "y": {**model(1), "b": np.zeros(5)}})
    with pytest.raises(ConfigError, match="adding to 1"):
        average_weights({"x": model(0), "y": model(1)}, {"x": 0.5, "y": 0.6})


def test_mixtures_of_units() -> None:
    units = {"web": ["w1", "w2", "w3"], "books": ["b1"]}
    assert unit_weights(units) == dict.fromkeys(["b1", "w1", "w2", "w3"], 0.25)
    assert unit_weights(units, {"web": 1, "books": 1}) == pytest.approx(
        {"b1": 0.5, "w1": 1 / 6, "w2": 1 / 6, "w3": 1 / 6}
    )
    assert unit_weights(units, {"books": 1}) == {"b1": 1.0}
    with pytest.raises(ConfigError, match="'forum'"):
        unit_weights(units, {"forum": 1})
    assert list(candidate_subsets(["b", "a", "c"], 2)) == [("a",), ("b",), ("c",), ("a", "b"), ("a", "c"), ("b", "c")]


def test_leaving_one_out() -> None:
    rows = leave_one_out([2.0, 3.0], {"forum": [2.0, 3.008], "code": [2.1, 2.9]})
    assert [row.group for row in rows] == ["code", "forum"] or rows[0].mean_change >= rows[1].mean_change
    forum = next(row for row in rows if row.group == "forum")
    assert forum.change == pytest.approx((0.0, np.expm1(0.008)))
    with pytest.raises(DataError, match="1 losses without 'x'"):
        leave_one_out([1.0, 2.0], {"x": [1.0]})
