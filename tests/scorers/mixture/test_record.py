import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tamis.schemas.errors import ConfigError, DataError, InputError
from tamis.scorers.mixture.aioli import Aioli
from tamis.scorers.mixture.blend import Blend, plan_blend
from tamis.scorers.mixture.critical_ratio import critical_ratio
from tamis.scorers.mixture.curve_files import read_curves
from tamis.scorers.mixture.merging import check_table
from tamis.scorers.mixture.plot import plot_check, plot_critical_ratio, plot_rounds
from tamis.scorers.mixture.record import explain_difference, mixture_record
from tests.scorers.mixture.worlds import World

CASE = json.loads((Path(__file__).resolve().parents[2] / "golden" / "mixing.json").read_text())["cmr"]


def finished() -> Aioli:
    aioli = Aioli(groups=["web", "books"], rounds=3, round_steps=40)
    World({"kind": "linear", "L0": [4.0, 5.0], "A": [[2e-3, 1e-4], [0, 1e-3]]}).drive(aioli)
    return aioli


def recorded(blend: Blend, seed: int, aioli: Aioli | None = None) -> dict[str, Any]:
    if aioli is None:
        return mixture_record(blend, seed=seed, method="given", parameters={}, proportions=None)
    return mixture_record(
        blend,
        seed=seed,
        method=aioli.method,
        parameters=aioli.parameters.model_dump(mode="json"),
        proportions=dict(zip(aioli.groups, aioli.proportions(), strict=True)),
        rounds=aioli.history(),
    )


def test_the_record_says_all_and_is_json() -> None:
    aioli = finished()
    sizes = {"web": [10] * 90, "books": [10] * 10}
    blend = plan_blend(
        {name: sum(some) for name, some in sizes.items()}, budget=400, exhausted="repeat",
        proportions=dict(zip(aioli.groups, aioli.proportions(), strict=True)), documents={"web": 90, "books": 10},
    )  # fmt: skip
    record = json.loads(json.dumps(recorded(blend, 4, aioli), allow_nan=False))
    assert record["method"] == "aioli"
    assert record["parameters"]["rounds"] == 3
    assert [set(r) >= {"beta", "A", "p", "beta_error"} for r in record["rounds"]] == [True] * 3
    assert {g["name"]: g["size"] for g in record["groups"]} == {"web": 900, "books": 100}
    assert sum(g["quota"] for g in record["groups"]) == record["total"] == 400
    assert explain_difference(record, record) == []


def test_two_mixtures_are_explained() -> None:
    first = recorded(
        plan_blend({"web": 1000, "books": 100}, budget=400, exhausted="repeat", proportions={"web": 3, "books": 1}), 1
    )
    second = recorded(
        plan_blend({"web": 1000, "books": 90, "code": 50}, budget=500, exhausted="once", without="union"), 2, finished()
    )
    assert explain_difference(first, second)[:6] == [
        "the proportions were given, now they are found by aioli",
        "budget was 400, now it is 500",
        "exhausted was repeat, now it is once",
        "max_epochs was 4.0, now it is 1.0",
        "seed was 1, now it is 2",
        "group code is new, with a share of 4.4%",
    ]
    assert "books had 100 tokens, now it has 90" in explain_difference(first, second)
    assert "web was asked for 75.0%, now for 87.7%" in explain_difference(first, second)
    assert "group code is gone" in explain_difference(second, first)
    other = Aioli(groups=["web", "books"], rounds=3, round_steps=40, eta=0.5)
    blend = plan_blend({"web": 1000, "books": 100}, budget=400, exhausted="once", without="union")
    a, b = (recorded(blend, 1, c) for c in (finished(), other))
    assert explain_difference(a, b) == ["aioli's eta was 0.2, now it is 0.5"]


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_pictures(tmp_path: Path, ending: str) -> None:
    curves = read_curves(written(tmp_path))
    table = check_table(
        {k: [1.0 + i, 2.0] for i, k in enumerate("abc")}, {k: [1.1 + i, 2.0 + i] for i, k in enumerate("abc")}
    )
    draws = {
        "rounds": lambda path: plot_rounds(["web", "books"], finished().history(), path, title="Aioli"),
        "cmr": lambda path: plot_critical_ratio(curves, critical_ratio(curves, tokens=100, draws=0), path, tokens=100),
        "check": lambda path: plot_check(table, ["x", "y"], path),
    }
    for name, draw in draws.items():
        paths = [tmp_path / f"{name}{i}.{ending}" for i in range(2)]
        for path in paths:
            draw(path)
        assert paths[0].read_bytes() == paths[1].read_bytes()
        assert paths[0].read_bytes()[:4] == (b"\x89PNG" if ending == "png" else b"<?xm")
        with pytest.raises(ConfigError, match=r"\.png or \.svg"):
            draw(tmp_path / "x.pdf")
    with pytest.raises(DataError, match="nothing to draw"):
        plot_rounds(["a"], [], tmp_path / "x.png")


def written(folder: Path, start: bool = True, seeds: int = 2) -> Path:
    lines = ["ratio,tokens,general_loss,domain_loss,seed,note"]
    for curve in CASE["curves"][::-1]:
        for seed in range(seeds):
            if start:
                lines.append(f"{curve['R']},0,{3 + seed},{4 + seed},{seed},x")
            for t, g, d in zip(CASE["T"], curve["general_change"], curve["domain_change"], strict=True):
                lines.append(f"{curve['R']},{t},{3 + seed + g!r},{4 + seed + d!r},{seed},x")
    path = folder / "curves.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_curves_are_read_as_changes(tmp_path: Path) -> None:
    curves = read_curves(written(tmp_path))
    assert [curve.ratio for curve in curves] == [curve["R"] for curve in CASE["curves"]]
    for curve, wanted in zip(curves, CASE["curves"], strict=True):
        assert curve.tokens.tolist() == CASE["T"]
        np.testing.assert_allclose(curve.general, [wanted["general_change"]] * 2, atol=1e-12)
        np.testing.assert_allclose(curve.domain, [wanted["domain_change"]] * 2, atol=1e-12)
    assert critical_ratio(curves, tokens=100, draws=0).ratio == pytest.approx(CASE["cmr_exact"], abs=1e-4)
    alone = read_curves(written(tmp_path, start=False, seeds=1), start=(3.0, 4.0))
    np.testing.assert_allclose(alone[0].general[0], CASE["curves"][0]["general_change"], atol=1e-12)
    with pytest.raises(InputError, match=r"ratio 0\.1 has no row at tokens 0"):
        read_curves(written(tmp_path, start=False))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ratio,tokens\n1,2\n", "general_loss is missing"),
        ("", "needs rows"),
        ("ratio,tokens,general_loss,domain_loss\n0.1,x,1,1\n", "line 2: 'x' in column tokens"),
        ("ratio,tokens,general_loss,domain_loss\n0.1,1,1,1\n0.1,1,1,1\n", "line 3: tokens 1 of ratio 0.1"),
        ("ratio,tokens,general_loss,domain_loss,seed\n0.1,1,1,1,a\n0.1,2,1,1,b\n", "different token counts"),
    ],
)
def test_damaged_curves_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "c.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_curves(tmp_path / "c.csv")
