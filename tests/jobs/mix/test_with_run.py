"""`mixture:` in a run's config: made with the run, told in its manifest, changed without touching the run's shards."""

from pathlib import Path
from typing import Any

import pytest

from tamis.jobs.manifest.compare import compare
from tamis.jobs.manifest.verify import verify
from tamis.jobs.mix.folder import read_mixture
from tamis.jobs.sql.views import connect
from tamis.pipeline.steps.registry import parse_config
from tamis.schemas.errors import ConfigError


def test_a_run_with_a_mixture(config_of: Any, run: Any, tmp_path: Path) -> None:
    plain = config_of({"exact_dedup": {}}, mixture={"without": "equal", "exhausted": "repeat", "budget": 20_000})
    made = run(plain)
    told = made.mixture["materialised"]
    assert told["folder"] == "mixture/mixed"
    assert [(g["name"], g["quota"]) for g in told["groups"]] == [("books", 10_000), ("web", 10_000)]
    assert set(made.mixture["bytes"]) == {"books", "web"}  # what was selected is told as ever
    folder = str(tmp_path / "run")
    assert verify(folder).ok
    with connect(folder) as connection:
        amounts = connection.execute("SELECT name, amount FROM mixture ORDER BY name").fetchall()
        seen = connection.execute("SELECT sum(seen) FROM repetition").fetchone()
    assert amounts == [(g["name"], g["amount"]) for g in told["groups"]]
    assert seen == (told["repetition"]["seen"],)
    shards = {p: p.stat().st_mtime_ns for p in (tmp_path / "run" / "selected").rglob("*.parquet")}
    plain["mixture"]["budget"] = 10_000
    changed = run(plain)
    assert changed.mixture["materialised"]["total"] == 10_000
    assert changed.config_sha256 == made.config_sha256
    assert {p: p.stat().st_mtime_ns for p in shards} == shards  # the run's own shards are left alone
    assert run(plain) == changed
    del plain["mixture"]
    assert "materialised" not in run(plain).mixture


def test_two_runs_mixtures_are_explained(config_of: Any, run: Any, tmp_path: Path) -> None:
    run(config_of(mixture={"without": "equal", "exhausted": "repeat", "budget": 20_000}), "a")
    run(config_of(mixture={"proportions": {"web": 1}, "exhausted": "once", "budget": 20_000}), "b")
    run(config_of(), "c")
    why = compare(str(tmp_path / "a"), str(tmp_path / "b")).why
    assert why[0] == "The shards are the same, byte for byte."
    assert "The mixtures differ:" in why
    assert "- exhausted was repeat, now it is once" in why
    assert "Only the first was materialised in a mixture." in compare(str(tmp_path / "a"), str(tmp_path / "c")).why
    assert not any("mixture" in sentence for sentence in compare(str(tmp_path / "c"), str(tmp_path / "c")).why)
    assert read_mixture(str(tmp_path / "a" / "mixture")).run.path == str(tmp_path / "a")


def test_the_digest_of_a_config_without_a_mixture_is_what_it_was(config_of: Any) -> None:
    config = parse_config(config_of())
    assert "mixture" not in config.resolved()
    mixed = parse_config(config_of(mixture={"without": "union", "exhausted": "once"}))
    assert mixed.digest({}) == config.digest({})
    assert mixed.resolved()["mixture"]["without"] == "union"
    with pytest.raises(ConfigError, match=r"config\.mixture\.exausted: unknown key .* did you mean 'exhausted'"):
        parse_config(config_of(mixture={"without": "union", "exausted": "once"}))


def test_a_run_that_selects_nothing_has_no_mixture(config_of: Any, run: Any) -> None:
    rule = {"column": "text_words", "op": "min", "threshold": 10**6, "reason": "short"}
    plain = config_of(
        {"heuristics": {"rules": [rule]}}, mixture={"without": "union", "exhausted": "once"}, allow_empty=True
    )
    assert "materialised" not in run(plain).mixture
