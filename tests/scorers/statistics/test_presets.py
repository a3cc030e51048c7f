"""Presets, overrides and the user's own rules become one ordered list; mistakes are named."""

import json
import math

import pydantic
import pytest

from tamis.schemas.errors import ConfigError
from tamis.scorers.statistics.columns import TEXT_COLUMNS, text_schema
from tamis.scorers.statistics.presets import ABOUT, ENGLISH, PRESETS
from tamis.scorers.statistics.rule_presets import Rule, resolve_rules

MINE = Rule(column="text_words", op="min", threshold=10, reason="mine")


def test_presets_are_the_published_numbers(golden):
    wanted = json.loads((golden / "presets.json").read_text(encoding="utf-8"))
    got = {
        name: [[rule.column, rule.op, rule.threshold, rule.reason] for rule in rules] for name, rules in PRESETS.items()
    }
    assert got == wanted


def test_presets_say_where_they_come_from_and_for_which_language():
    assert list(ABOUT) == list(PRESETS)
    assert {name for name in PRESETS if name not in ENGLISH} == {"gopher_repetition", "gopher_repetition_later"}


def test_presets_are_about_columns_that_exist_and_reasons_differ():
    for rules in PRESETS.values():
        text_schema(rule.column for rule in rules)
        assert len({rule.reason for rule in rules}) == len(rules)
    assert all(name.startswith("text_") for name in TEXT_COLUMNS)


def test_order_is_presets_as_given_then_own_rules():
    rules = resolve_rules(["c4", "fineweb", "c4"], None, [MINE])
    assert [rule.reason for rule in rules] == [
        *(f"c4.{rule.reason}" for rule in PRESETS["c4"]),
        *(f"fineweb.{rule.reason}" for rule in PRESETS["fineweb"]),
        "mine",
    ]
    assert resolve_rules() == ()


def test_thresholds_override_or_switch_off():
    rules = resolve_rules(
        ["gopher_quality", "c4"], {"gopher_quality.max_word_count": 200_000, "min_stop_words": None, "min_sentences": 5}
    )
    by_reason = {rule.reason: rule.threshold for rule in rules}
    assert by_reason["gopher_quality.max_word_count"] == 200_000
    assert by_reason["c4.min_sentences"] == 5
    assert "gopher_quality.min_stop_words" not in by_reason
    assert len(rules) == len(PRESETS["gopher_quality"]) + len(PRESETS["c4"]) - 1
    assert PRESETS["gopher_quality"][1].threshold == 100_000


@pytest.mark.parametrize(
    ("presets", "thresholds", "rules", "message"),
    [
        (["gopher"], {}, [], "unknown preset 'gopher'; did you mean 'gopher_"),
        (["c4"], {"c4.min_sentence": 1}, [], "unknown reason 'c4.min_sentence'; did you mean 'c4.min_sentences'"),
        (["c4"], {"min_sentence": 1}, [], "did you mean 'min_sentences'"),
        ([], {"min_sentences": 1}, [], "overrides nothing"),
        (["datatrove_c4", "datatrove_c4_fineweb"], {"lorem_ipsum": 1}, [], "write datatrove_c4.lorem_ipsum or"),
        (["c4"], {"min_sentences": 1, "c4.min_sentences": 2}, [], "given twice"),
        (["c4"], {"min_sentences": math.nan}, [], "needs a finite number"),
        (["c4"], {"min_sentences": True}, [], "needs a finite number"),
        ([], {}, [MINE, MINE], "two rules have the reason 'mine'"),
    ],
)
def test_mistakes_are_named(presets, thresholds, rules, message):
    with pytest.raises(ConfigError) as error:
        resolve_rules(presets, thresholds, rules)
    assert message in str(error.value)


@pytest.mark.parametrize(
    "change",
    [{"op": "least"}, {"threshold": math.inf}, {"threshold": None}, {"reason": ""}, {"column": ""}, {"more": 1}],
)
def test_rules_are_validated(change):
    with pytest.raises(pydantic.ValidationError):
        Rule(**({"column": "a", "op": "min", "threshold": 1, "reason": "r"} | change))
    with pytest.raises(pydantic.ValidationError):
        MINE.threshold = 2
