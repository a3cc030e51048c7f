"""What stands beside making a mixture: comparing, drawing, driving, the critical ratio; and the command line."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tamis.jobs.cli.app import main
from tamis.jobs.mix.compare import compare_configs
from tamis.jobs.mix.drive import drive_by_lines, opened_controller
from tamis.jobs.mix.folder import read_mixture
from tamis.jobs.mix.picture import plot_mixture
from tamis.pipeline.graph.engine import Engine
from tamis.schemas.errors import ConfigError, DataError
from tamis.scorers.mixture.aioli import Aioli
from tests.jobs.mix.runs import mix, run_of
from tests.jobs.mix.test_estimate import driven, swarm

SIZES = {"books": 40, "code": 12, "web": 80}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_of(tmp_path_factory.mktemp("made") / "run", SIZES)


def tamis(capsys: Any, *arguments: object, columns: int = 80) -> tuple[int, str, str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["tamis", *map(str, arguments)])
        patch.setenv("COLUMNS", str(columns))
        try:
            main()
            status: Any = 0
        except SystemExit as stopped:
            status = stopped.code or 0
    told = capsys.readouterr()
    return int(status), told.out, told.err


def test_methods_side_by_side(made: Path, tmp_path: Path) -> None:
    files = swarm(tmp_path)
    (tmp_path / "olmix.yaml").write_text(
        json.dumps({"exhausted": "repeat", "budget": 50_000, "estimate": {"method": "olmix", **files}})
    )
    mix(made, tmp_path / "mixed", proportions={"books": 1, "web": 1}, budget=8000)
    names = [str(tmp_path / "olmix.yaml"), str(tmp_path / "mixed")]
    with Engine(str(tmp_path / "passes")) as engine:
        found = compare_configs(
            str(made), names, engine, str(tmp_path / "work"), runs=(files["ratios"], files["metrics"])
        )
    rows = {row["method"]: row for row in found.table.to_pylist()}
    assert list(rows) == ["by size", "equal", "UniMax", "olmix", names[1]]
    assert found.budget == 50_000
    assert rows["by size"]["distance"] == pytest.approx(0)
    assert rows["equal"]["shares"] == pytest.approx([1 / 3] * 3)
    assert rows[names[1]]["shares"] == pytest.approx([0.5, 0, 0.5], abs=1e-3)
    predicted = {name: row["predicted"] for name, row in rows.items()}
    assert predicted["olmix"] < predicted["by size"]  # its penalty holds it near that: others may predict less
    assert rows["equal"]["most_repeated"] == "code"
    (tmp_path / "other.yaml").write_text("{by: language, without: union, exhausted: once}")
    with Engine(str(tmp_path / "passes")) as engine, pytest.raises(ConfigError, match="another by"):
        compare_configs(str(made), [names[0], str(tmp_path / "other.yaml")], engine, str(tmp_path / "work"))


def test_pictures(made: Path, tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text(driven(9).to_json())
    estimate = {"method": "state", "file": str(tmp_path / "state.json")}
    mix(made, tmp_path / "mixed", estimate=estimate, budget=2000)
    mix(made, tmp_path / "given", without="equal", budget=2000)
    assert plot_mixture(str(tmp_path / "mixed"), tmp_path / "a.svg") == 2
    assert plot_mixture(str(tmp_path / "state.json"), tmp_path / "b.png") == 2
    assert plot_mixture(str(tmp_path / "given"), tmp_path / "c.svg") == 1
    assert b"<svg" in (tmp_path / "a.svg").read_bytes()
    assert (tmp_path / "b.png").read_bytes().startswith(b"\x89PNG")
    plot_mixture(str(tmp_path / "mixed"), tmp_path / "again.svg")
    assert (tmp_path / "again.svg").read_bytes() == (tmp_path / "a.svg").read_bytes()
    with pytest.raises(DataError, match="not materialised"):
        plot_mixture(str(made), tmp_path / "d.svg")
    with pytest.raises(ConfigError, match=r"\.png or \.svg"):
        plot_mixture(str(tmp_path / "mixed"), tmp_path / "d.pdf")


def test_a_driven_controller_goes_on_from_its_file(tmp_path: Path) -> None:
    options = {"groups": ["a", "b"], "rounds": 1, "round_steps": 8, "sweeps": 1, "interval_steps": 2}
    state = tmp_path / "state.json"
    answers: list[dict[str, Any]] = []

    def spoken(*messages: dict[str, Any]) -> list[dict[str, Any]]:
        answers.clear()
        lines = [json.dumps(message) for message in messages]
        drive_by_lines(
            opened_controller("aioli", options, state), lines, lambda line: answers.append(json.loads(line)), state
        )
        return list(answers)

    spoken({"do": "next"}, {"do": "observe", "values": {"a": 3.0, "b": 3.0}})
    last = spoken({"do": "next"})[0]["request"]
    assert last["kind"] == "probe"  # not the evaluation that was answered before
    for values in ([2.9, 2.8], [2.8, 2.5]):
        spoken({"do": "observe", "values": values})
    assert spoken({"do": "next"})[0]["request"]["kind"] == "main"
    straight = Aioli(options)
    for values in ([3.0, 3.0], [2.9, 2.8], [2.8, 2.5]):
        straight.observe(values)
    assert spoken({"do": "proportions"})[0]["proportions"] == dict(zip("ab", straight.proportions(), strict=True))
    with pytest.raises(ConfigError, match="of other options"):
        opened_controller("aioli", {**options, "eta": 0.9}, state)
    with pytest.raises(ConfigError, match="did you mean 'aioli'"):
        opened_controller("aioly", options, None)


def test_what_is_printed_fits_80_columns(made: Path, tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "made").symlink_to(made)
    (tmp_path / "m.yaml").write_text("{without: unimax, exhausted: repeat, budget: 60000, parameters: 1000}")
    for arguments in (
        ("mix", "made", "m.yaml", "--plan"),
        ("mix", "made", "m.yaml", "-o", "mixed"),
        ("mix", "made", "m.yaml", "-o", "mixed"),
        ("manifest", "show", "mixed"),
        ("manifest", "verify", "mixed"),
        ("mix", "compare", "made", "m.yaml"),
        ("mix", "export", "mixed", "--to", "megatron", "--tokenizer", "bytes", "-o", "out"),
        ("mix", "plot", "mixed", "-o", "p.svg"),
        ("sql", "mixed", "SELECT name, quota, epochs FROM mixture"),
        ("manifest", "rerun", "mixed", "-o", "again"),
        ("manifest", "diff", "mixed", "again"),
    ):
        status, out, err = tamis(capsys, *arguments)
        assert status == 0, (arguments, err)
        lines = [
            line
            for line in out.splitlines()
            if not line.startswith(("warning:", "nothing to do", "  tamis sql", "an end-of"))
        ]
        assert lines
        assert max(map(len, lines)) <= 80, (arguments, max(lines, key=len))
        assert "Traceback" not in err
    assert tamis(capsys, "mix", "made", "m.yaml", "-o", "mixed")[1].startswith("nothing to do")
    plan = json.loads(tamis(capsys, "mix", "made", "m.yaml", "--plan", "--json")[1])
    made_record = json.loads(tamis(capsys, "manifest", "show", "mixed", "--json")[1])
    assert plan["mixture"]["groups"] == made_record["mixture"]["groups"]  # epochs agree in plan and manifest
    assert plan["repetition"] == made_record["repetition"]
    tamis(capsys, "mix", "made", "--set", "without=equal", "--set", "exhausted=once", "-o", "other")
    status, out, _ = tamis(capsys, "manifest", "diff", "mixed", "other")
    assert status == 1
    assert "found by unimax" in out


def test_mistakes_are_one_sentence(made: Path, tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.yaml").write_text("inputs: [{path: x, source: x}]\n")
    (tmp_path / "list.yaml").write_text("[1]\n")
    for arguments, status, words in (
        (("mix", made), 2, "say what the mixture is"),
        (("mix", "nowhere", "--set", "without=union"), 1, "holds no manifest.json"),
        (("mix", made, "none.yaml"), 2, "there is no such file"),
        (("mix", made, "run.yaml"), 2, "without `mixture:`"),
        (("mix", made, "list.yaml"), 2, "expected keys and values"),
        (("mix", made, "--set", "without=union"), 2, "exhausted: this key is required"),
        (("mix", "export", made, "--to", "olmo", "-o", "x"), 2, "need --tokenizer"),
        (("mix", "export", made, "--to", "olmo", "--tokenizer", "none.json", "-o", "x"), 1, "there is no file"),
        (("mix", "compare", made, "--ratios", "x.csv"), 2, "go together"),
        (("mix", "plot", made, "-o", "x.svg"), 1, "not materialised"),
        (("mix", "drive", "aioly", "--group", "a"), 2, "did you mean"),
        (("mix", "cmr", "none.csv", "--tokens", "3"), 1, "can't be read"),
        (("manifest", "diff", made, tmp_path), 1, "holds no manifest.json"),
        (("experiment", "list.yaml"), 2, "expected keys and values"),
        (("mix", "merge", "list.yaml"), 2, "expected keys and values"),
    ):
        found, _, err = tamis(capsys, *arguments)
        assert (found, words in err) == (status, True), (arguments, found, err)
        assert len([line for line in err.splitlines() if line.startswith("tamis: ")]) == 1


def test_a_controller_over_standard_input(capsys: Any, monkeypatch: Any, tmp_path: Path) -> None:
    lines = '{"do": "next"}\n{"do": "observe", "values": [3, 4]}\n{"do": "nonsense"}\n{"do": "end"}\n'
    monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
    status, out, _ = tamis(
        capsys, "mix", "drive", "aioli", "--group", "a", "--group", "b", "--set", "eta=0.5", "--state",
        tmp_path / "s.json",
    )  # fmt: skip
    answers = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert [next(iter(answer)) for answer in answers] == ["request", "request", "error"]
    assert json.loads((tmp_path / "s.json").read_text())["parameters"]["eta"] == 0.5


def test_the_critical_ratio_of_a_file_of_curves(tmp_path: Path, capsys: Any) -> None:
    lines = ["ratio,tokens,general_loss,domain_loss"]
    for ratio in (0.1, 0.3, 0.5, 0.7):
        for tokens in (0, 1, 2, 4, 6, 8, 10, 15, 20, 30):
            general = (0.05 * ratio - 0.01) * tokens**0.5
            lines.append(f"{ratio},{tokens},{3 + general},{2.5 - 0.1 * ratio * tokens**0.4}")
    (tmp_path / "curves.csv").write_text("\n".join(lines))
    path = tmp_path / "curves.csv"
    found = json.loads(tamis(capsys, "mix", "cmr", path, "--tokens", "40", "--json")[1])
    assert found["ratio"] == pytest.approx(0.2 + 1 / 40**0.5, abs=2e-3)  # where 0.05 R - 0.01 times sqrt(40) is 0.05
    less = json.loads(tamis(capsys, "mix", "cmr", path, "--tokens", "40", "--epsilon", "0.02", "--json")[1])
    assert less["ratio"] < found["ratio"]
    status, out, _ = tamis(capsys, "mix", "cmr", path, "--tokens", "40", "--plot", tmp_path / "c.svg")
    assert status == 0
    assert "80 % interval" in out
    assert (tmp_path / "c.svg").exists()
    _, out, _ = tamis(capsys, "mix", "cmr", path, "--tokens", "40", "--epsilon", "9")
    assert "80 % interval" not in out  # every ratio is feasible: said in words, without a number


@pytest.mark.parametrize("runner", ["BundleBasedDirectRunner", "PortableRunner"])
def test_another_engine_makes_the_same_bytes(made: Path, tmp_path: Path, capsys: Any, runner: str) -> None:
    keys = {"without": "unimax", "budget": 40_000, "shard_mb": 0.01, "order": "training"}
    (tmp_path / "m.yaml").write_text(json.dumps({"exhausted": "repeat", **keys}))
    mix(made, tmp_path / "here", **keys)
    embedded = ["--", "--job_endpoint=embed", "--environment_type=LOOPBACK"] if runner == "PortableRunner" else []
    there = tmp_path / "there"
    done = tamis(capsys, "mix", made, tmp_path / "m.yaml", "-o", there, "--runner", runner, "-q", *embedded)
    assert done[0] == 0, done
    shards = [read_mixture(str(folder)).shards for folder in (tmp_path / "here", there)]
    assert len(shards[0]) > 3
    assert shards[0] == shards[1]  # their SHA-256 among what is recorded


def test_beam_options_stand_after_two_dashes(made: Path, capsys: Any) -> None:
    for arguments, told in (
        (["--", "--runner=Other"], "give --runner before the --"),
        (["m.yaml", "surplus"], "unexpected argument 'surplus'"),
    ):
        status, _, error = tamis(capsys, "mix", made, *arguments)
        assert status == 2
        assert told in error
