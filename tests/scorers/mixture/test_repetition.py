import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.schemas.errors import ConfigError
from tamis.scorers.mixture.repetition import (
    BINS,
    HALF_VALUE_REPEATS,
    SeenClass,
    capped_proportions,
    decayed_loss,
    effective_tokens,
    marginal_value,
    repetition,
    repetition_warning,
)

CASE = json.loads((Path(__file__).resolve().parents[2] / "golden" / "mixing.json").read_text())["repetition"]


def test_effective_tokens_as_the_reference() -> None:
    unique = CASE["effective"]["unique_tokens"]
    for row in CASE["effective"]["rows"]:
        assert row["tokens"] == pytest.approx(unique * row["times"])
        assert effective_tokens(unique, row["tokens"]) == pytest.approx(row["effective"], rel=1e-12)
        assert marginal_value(row["times"]) == pytest.approx(row["marginal"], rel=1e-9)
    assert pytest.approx(CASE["half_value_repeats"], rel=1e-14) == HALF_VALUE_REPEATS
    for row in CASE["loss"]:
        found = decayed_loss(row["parameters"], row["tokens"], row["unique_tokens"])
        assert found.loss == pytest.approx(row["loss"], rel=1e-13)


@given(st.floats(1, 1e12), st.floats(0, 1e4), st.floats(0, 1e4))
def test_effective_tokens_are_monotone_and_bounded(unique: float, a: float, b: float) -> None:
    low, high = (effective_tokens(unique, unique * x) for x in sorted((a, b)))
    assert low <= high <= unique * 16.387757
    assert high <= unique * max(a, b) * (1 + 1e-12)
    if max(a, b) <= 1:
        assert high == unique * max(a, b)


def test_mixture_as_the_reference() -> None:
    case = CASE["mixture"]
    total = 0.0
    for group in case["groups"]:
        seen = group["share"] * case["total_tokens"]
        assert seen / group["unique_tokens"] == pytest.approx(group["epochs"])
        assert effective_tokens(group["unique_tokens"], seen) == pytest.approx(group["effective"], rel=1e-12)
        total += effective_tokens(group["unique_tokens"], seen)
    assert total == pytest.approx(case["effective_total"], rel=1e-12)
    capped = capped_proportions(
        [g["share"] for g in case["groups"]],
        [g["unique_tokens"] for g in case["groups"]],
        case["total_tokens"],
        case["cap_epochs"],
    )
    np.testing.assert_allclose(capped.shares, list(case["capped_shares"].values()), rtol=1e-12)
    assert capped_proportions([0.5, 0.5], [1, 2], 100, 4).missing == pytest.approx(0.88)


def test_histogram_of_clusters_as_the_reference() -> None:
    case = CASE["clusters"]
    classes = [SeenClass(tokens / size, size * case["epochs"], "g") for size, tokens in case["size_and_tokens"]]
    found = repetition(classes)
    for row, wanted in zip(found.histogram, case["histogram"], strict=True):
        assert row["seen"] == wanted["seen"]
        for key in ("tokens", "unique_tokens", "share"):
            assert row[key] == pytest.approx(wanted[key], rel=1e-12)
    assert found.tokens_seen == pytest.approx(case["tokens_seen"])
    assert found.unique_tokens == pytest.approx(case["unique_tokens"])
    assert found.effective_tokens == pytest.approx(case["effective_tokens"], rel=1e-12)
    assert found.groups["g"]["epochs"] == pytest.approx(case["tokens_seen"] / case["unique_tokens"])


@pytest.mark.parametrize("case", CASE["warning"], ids=lambda case: case["level"])
def test_warnings_as_the_reference(case: dict[str, object]) -> None:
    classes = [SeenClass(unique, times) for unique, times in case["classes"]]  # type: ignore[attr-defined]
    found = repetition_warning(classes, case["parameters"])  # type: ignore[arg-type]
    for key in ("heavy_token_share", "heavy_unique_tokens", "heavy_unique_per_parameter"):
        assert getattr(found, key) == pytest.approx(case[key])
    assert found.level == case["level"]
    assert bool(found.sentence) == (found.level != "none")
    if found.level == "severe":
        assert found.sentence.startswith("10.0 % of tokens come from 1e+08 tokens seen 100 times; 0.1 % of the data")


@given(st.lists(st.tuples(st.integers(1, 10**6), st.floats(0, 300)), min_size=1, max_size=8))
def test_the_histogram_adds_up(classes: list[tuple[int, float]]) -> None:
    found = repetition([SeenClass(tokens, times, str(i % 2)) for i, (tokens, times) in enumerate(classes)])
    assert sum(row["tokens"] for row in found.histogram) == pytest.approx(found.tokens_seen, rel=1e-6, abs=1e-2)
    assert sum(row["unique_tokens"] for row in found.histogram) == pytest.approx(
        found.unique_tokens, rel=1e-6, abs=1e-2
    )
    assert found.effective_tokens <= found.tokens_seen * (1 + 1e-12)
    shuffled = repetition(
        [SeenClass(tokens, times, str(i % 2)) for i, (tokens, times) in reversed(list(enumerate(classes)))]
    )
    assert shuffled.tokens_seen == pytest.approx(found.tokens_seen)


def test_fractions_of_passes() -> None:
    found = repetition([SeenClass(1000, 2.3, "a"), SeenClass(500, 0.4, "b")])
    by_bin = {tuple(row["seen"]): row["unique_tokens"] for row in found.histogram}  # type: ignore[arg-type]
    assert by_bin[2, 2] == pytest.approx(700)
    assert by_bin[3, 4] == pytest.approx(300)
    assert by_bin[1, 1] == pytest.approx(200)
    assert found.groups["b"]["epochs"] == pytest.approx(1)
    assert BINS[-1] == (100, None)
    with pytest.raises(ConfigError, match="can't be"):
        repetition([SeenClass(-1, 2)])
    with pytest.raises(ConfigError, match="above 0"):
        repetition_warning([], 0)
    with pytest.raises(ConfigError, match="not below 0"):
        effective_tokens(-1, 2)
