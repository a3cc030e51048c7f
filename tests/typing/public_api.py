"""The public API as a typed program uses it: only ever type-checked, by `mypy tests/typing`."""

from collections.abc import Mapping
from typing import Any, assert_type

import pyarrow as pa

import tamis


def use(texts: list[str], column: pa.ChunkedArray) -> None:
    run = tamis.run({"inputs": [{"path": "a.jsonl", "source": "web"}]}, output="runs/a", workers=2)
    assert_type(run, tamis.Run)
    assert_type(tamis.run("corpus.yaml", fresh=True).nothing_to_do, bool)
    opened = tamis.open("runs/a")
    assert_type(opened, tamis.Run)
    assert_type(opened.path, str)
    assert_type(opened.manifest.selected, int)
    assert_type(opened.manifest.balanced, bool)
    assert_type(opened.verify(inputs=True).ok, bool)
    table: pa.Table = opened.sql("SELECT 1")
    scored: pa.Table = tamis.score(texts, {"language": {}})
    again: pa.Table = tamis.score(column, ["exact_dedup", {"heuristics": {"presets": ["c4"]}}])
    assert_type(tamis.steps(), dict[str, tamis.StepInfo])
    assert_type(tamis.steps()["language"].options, Mapping[str, Any])
    del table, scored, again


def mistakes() -> None:
    tamis.run(3)  # type: ignore[arg-type]
    tamis.open("runs/a").selected(1)  # type: ignore[call-arg]
    tamis.score(["a"], 5)  # type: ignore[arg-type]


def errors(error: tamis.TamisError) -> str:
    if isinstance(error, tamis.ConfigError | tamis.InputError | tamis.ModelError | tamis.DataError):
        return "yours"
    if isinstance(error, tamis.BalanceError | tamis.DamagedError | tamis.RunError):
        return "ours"
    return str(error)
