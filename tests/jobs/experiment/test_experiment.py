"""Does a selection teach? Arms of equal tokens, n-gram proxies, paired differences; what is finished is found again."""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tamis.jobs.cli.app import main
from tamis.jobs.experiment.run import Experiment, load_experiment, run_experiment
from tamis.jobs.experiment.sources import read_texts, shuffled
from tamis.pipeline.graph.engine import Engine
from tamis.schemas.base import validate
from tamis.schemas.errors import ConfigError, DataError
from tamis.schemas.experiment import ExperimentConfig
from tests.jobs.handmade import make_run
from tests.jobs.mix.runs import documents, mix, run_of

SIZES = {"books": 180, "code": 90, "web": 60}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_of(tmp_path_factory.mktemp("made") / "run", SIZES)


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents of books' kind that no run has."""
    path = tmp_path_factory.mktemp("held") / "books.jsonl"
    rows = [{"id": i, "text": t} for i, _, t, _ in documents({"books": 20}, seed=5)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def plain(made: Path, held: Path, **keys: Any) -> dict[str, Any]:
    return {
        "arms": {"books": {"run": str(made), "where": "source = 'books'"}, "all": {"run": str(made)}},
        "baseline": "all",
        "tokens": 4000,
        "evaluation": {"books": {"path": str(held), "mb": 0.01}},
        **keys,
    }


def go(folder: Path, config: dict[str, Any], *, workers: int = 1) -> Experiment:
    with Engine(str(folder / "work" / "passes"), workers=workers) as engine:
        return run_experiment(validate(ExperimentConfig, config, "experiment"), config, str(folder), engine)


def test_what_is_alike_teaches_and_shuffled_text_teaches_less(made: Path, held: Path, tmp_path: Path) -> None:
    # Words in order: what follows what is all that the arms differ in.
    chains = [" ".join(f"w{(s + i) % 40}" for i in range(60)) for s in range(150)]
    listed = [(f"{n:032x}", "web", text, None) for n, text in enumerate(chains)]
    make_run(tmp_path / "run", listed)
    config = {
        "arms": {
            "clean": {"run": str(tmp_path / "run")},
            "shuffled": {"run": str(tmp_path / "run"), "shuffle": "words"},
        },
        "baseline": "clean",
        "tokens": 3000,
        "evaluation": {"held": {"run": str(tmp_path / "run"), "mb": 0.003}},
    }
    found = go(tmp_path / "e", config)
    (one,) = found.comparisons
    assert one.verdict == "worse"
    assert one.difference.low > 0
    assert found.verdict[0].startswith("shuffled teaches worse than clean")
    assert any("n-gram proxies say" in note for note in found.notes)
    # Documents that are measured are in no arm, nor others of the same text.
    measured = {text for p in (tmp_path / "e" / "work").glob("evaluation-*.arrow") for _, text in read_texts(str(p))}
    drawn = [text for p in (tmp_path / "e" / "work" / "draws").glob("*.arrow") for _, text in read_texts(str(p))]
    assert measured
    assert not measured & set(drawn)


def test_arms_of_every_kind(made: Path, held: Path, tmp_path: Path) -> None:
    mix(made, tmp_path / "mixed", proportions={"books": 3, "code": 1}, budget=30_000, order="training")
    arms = {
        "books": {"run": str(made), "where": "source = 'books'"},
        "code": {"run": str(made), "where": "source = 'code'"},
        "random": {"run": str(made), "of": "documents"},
        "mixed": {"mixture": str(tmp_path / "mixed")},
        "even": {"run": str(made), "mix": {"without": "equal", "exhausted": "repeat", "budget": 30_000}},
        "lines": {"run": str(made), "where": "source = 'books'", "shuffle": "lines"},
    }
    found = go(tmp_path / "e", plain(made, held, arms=arms, baseline="random", seeds=5))
    loss = {arm: sum(sets["books"].values()) for arm, sets in found.losses.items()}
    assert min(loss, key=lambda arm: loss[arm]) in ("books", "lines")
    assert max(loss, key=lambda arm: loss[arm]) == "code"
    assert loss["mixed"] < loss["even"] < loss["code"]
    assert found.trained == 30
    verdicts = {one.arm: one.verdict for one in found.comparisons}
    assert verdicts["books"] == "better"
    assert verdicts["code"] == "worse"


def test_what_is_finished_is_found_again(made: Path, held: Path, tmp_path: Path) -> None:
    config = plain(made, held)
    first = go(tmp_path / "e", config)
    assert first.trained == 6
    again = go(tmp_path / "e", config)
    assert again.trained == 0
    assert again.losses == first.losses
    parallel = go(tmp_path / "parallel", config, workers=2)
    assert parallel.losses == first.losses
    lost = sorted((tmp_path / "e" / "work" / "results").iterdir())[0]
    lost.unlink()
    assert go(tmp_path / "e", config).trained == 1
    assert go(tmp_path / "e", {**config, "confidence": 0.8}).trained == 0
    for change in ({"tokens": 1000}, {"seeds": 2, "first_seed": 7}, {"proxy": {"kind": "ngram", "order": 2}}):
        other = go(tmp_path / "e", {**config, **change})
        assert other.trained > 0
        assert other.losses != first.losses
    few = go(tmp_path / "e", {**config, "proxy": {"kind": "ngram", "vocabulary": 3}})
    assert few.losses != first.losses
    (web,) = go(tmp_path / "e", {**config, "evaluation": {"w": {"run": str(made), "where": "source = 'web'"}}}).losses[
        "all"
    ]
    assert web == "w"


def test_one_seed_and_the_same_arm_say_so(made: Path, held: Path, tmp_path: Path) -> None:
    one = go(tmp_path / "one", plain(made, held, seeds=1))
    assert "one seed can't tell" in one.verdict[0]
    arms = {"a": {"run": str(made)}, "b": {"run": str(made)}}
    same = go(tmp_path / "same", plain(made, held, arms=arms, baseline="a"))
    assert same.verdict == ("b is the same as a on every seed",)


def test_equal_tokens_or_a_sentence(made: Path, held: Path, tmp_path: Path) -> None:
    found = go(tmp_path / "e", plain(made, held, tokens=None))
    assert any("what books has" in note for note in found.notes)
    results = [json.loads(p.read_text()) for p in (tmp_path / "e" / "work" / "results").iterdir()]
    assert {result["tokens"] for result in results} == {found.tokens}
    with pytest.raises(DataError, match=r"arm books has .* tokens, which 1 epochs don't make 20,000"):
        go(tmp_path / "e", plain(made, held, tokens=20_000))
    repeated = go(tmp_path / "e", plain(made, held, tokens=20_000, max_epochs=9))
    assert any("books is repeated" in note for note in repeated.notes)


def test_several_sets_have_a_mean(made: Path, held: Path, tmp_path: Path) -> None:
    sets = {"books": {"path": str(held), "mb": 0.01}, "web": {"run": str(made), "where": "source = 'web'", "mb": 0.005}}
    found = go(tmp_path / "e", plain(made, held, evaluation=sets))
    for losses in found.losses.values():
        for seed, mean in losses["mean"].items():
            assert mean == pytest.approx((losses["books"][seed] + losses["web"][seed]) / 2)
    assert len(found.verdict) == 1  # by the mean of the sets
    record = json.loads((tmp_path / "e" / "experiment.json").read_text())
    assert record["tokens"] == 4000
    assert len(record["comparisons"]) == 3


def test_shuffling_keeps_words_and_the_lines_lengths() -> None:
    text = "a b c d\n\ne f g\nh"
    words, lines = shuffled(text, "words", "k"), shuffled(text, "lines", "k")
    assert Counter(words.split()) == Counter(text.split())
    assert [len(line.split()) for line in words.split("\n")] == [4, 0, 3, 1]
    assert sorted(lines.split("\n")) == sorted(text.split("\n"))
    assert words != text
    assert shuffled(text, "words", "k") == words
    assert shuffled(text, "words", "l") != words
    assert shuffled(text, None, "k") == text


def test_mistakes(made: Path, held: Path, tmp_path: Path) -> None:
    for change, words in (
        ({"baseline": "al"}, "did you mean 'all'"),
        ({"arms": {"a": {"run": "x"}}}, "at least 2"),
        ({"arms": {"a": {}, "b": {}}}, "give one of `run` and `mixture`"),
        (
            {"arms": {"a": {"run": "x", "mix": {"without": "union", "exhausted": "once"}, "where": "1"}, "b": {}}},
            "leave",
        ),
        ({"proxy": {"kind": "ngrm"}}, "did you mean 'ngram'"),
        ({"proxy": {"kind": "ngram", "ordr": 3}}, "did you mean 'order'"),
        ({"evaluation": {"mean": {"path": "x"}}}, "choose another name"),
        ({"evaluation": {"a/b": {"path": "x"}}}, "letters, digits"),
        ({"evaluation": {"x": {"path": "x", "where": "y"}}}, "give `run`"),
    ):
        with pytest.raises(ConfigError, match=words):
            validate(ExperimentConfig, plain(made, held, **change), "experiment")
    wrong = {"a": {"run": str(made), "where": "sorce = 1"}, "b": {"run": str(made)}}
    with pytest.raises(ConfigError, match=r"arm a: .*sorce"):
        go(tmp_path / "e", plain(made, held, arms=wrong, baseline="b"))
    none = {"a": {"run": str(made), "where": "source = 'x'"}, "b": {"run": str(made)}}
    with pytest.raises(DataError, match="arm a has no document"):
        go(tmp_path / "e", plain(made, held, arms=none, baseline="b"))
    with pytest.raises(ConfigError, match="holds a run"):
        go(made, plain(made, held))
    (tmp_path / "e.yaml").write_text("arms: {}\n")
    with pytest.raises(ConfigError, match=r"e\.yaml: experiment"):
        load_experiment(str(tmp_path / "e.yaml"))


def test_the_command(made: Path, held: Path, tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    (tmp_path / "e.yaml").write_text(json.dumps(plain(made, held)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    for more in ((), ("--set", "seeds=2"), ("--quiet",), ("--json",)):
        monkeypatch.setattr(sys, "argv", ["tamis", "experiment", "e.yaml", "-o", "out", *more])
        with pytest.raises(SystemExit) as stopped:
            main()
        assert not stopped.value.code
        out = capsys.readouterr().out
        if more == ("--json",):
            assert json.loads(out)["baseline"] == "all"
        else:
            assert "books" in out
            assert "all" in out
    assert b"<svg" in (tmp_path / "out" / "differences.svg").read_bytes()
