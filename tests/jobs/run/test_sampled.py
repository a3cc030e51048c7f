"""`tamis plan --sample`: estimates from a sample, and what else a plan says of models, kept stages and idle steps."""

import gzip
import json
import random
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tamis
from tamis.jobs.cli.app import main
from tamis.jobs.run import sample_inputs as cutting
from tamis.jobs.run.kept_stages import kept_stages
from tamis.jobs.run.licences import licence_beside, read_files
from tamis.jobs.run.plan import Plan, make_plan
from tamis.jobs.run.sample_inputs import sample_inputs
from tamis.jobs.run.sampled import run_sample
from tamis.jobs.run.unused_steps import idle_steps, tiny_percentiles
from tamis.pipeline.steps.registry import parse_config

SIZE = 4_000
WORDS = [f"{a}{b}" for a in "bdfgklmnprst" for b in ("ever", "inter", "udden", "ower", "ight", "arth")]


def planned(plain: dict[str, Any]) -> Plan:
    return make_plan(parse_config(plain), plain)


def texts(number: int, start: int = 0) -> list[str]:
    draw = random.Random(3)
    lines = [" ".join(draw.choices(WORDS, k=10)) for _ in range(start + number)]
    return [f"river {i} " + f"{lines[i]} of stone " * (1 + i % 5) for i in range(start, start + number)]


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, Any]:
    """A file of every kind that is cut in a way of its own, each of 600 documents; and pages, which aren't cut."""
    rows = [{"id": str(i), "text": text} for i, text in enumerate(texts(600))]
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    (tmp_path / "a.jsonl").write_bytes(lines)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(lines))
    table = pa.Table.from_pylist(rows)
    pq.write_table(table, tmp_path / "c.parquet", row_group_size=200)
    with pa.ipc.new_file(tmp_path / "d.arrow", table.schema) as writer:
        writer.write_table(table, max_chunksize=50)
    with pa.ipc.new_stream(tmp_path / "e.arrows", table.schema) as writer:
        writer.write_table(table, max_chunksize=50)
    for number in range(40):
        (tmp_path / "pages" / f"lang=de{number % 2}").mkdir(parents=True, exist_ok=True)
        (tmp_path / "pages" / f"lang=de{number % 2}" / f"{number}.txt").write_text(texts(1, number)[0] * 20)
    names = {"a": "a.jsonl", "b": "b.jsonl.gz", "c": "c.parquet", "d": "d.arrow", "e": "e.arrows", "f": "pages"}
    entries = [{"path": str(tmp_path / name), "source": source} for source, name in names.items()]
    entries[-1] |= {"columns": {"lang": "string"}}
    rules = [{"column": "text_words", "op": "min", "threshold": 15, "reason": "short"}]
    return {"inputs": entries, "steps": [{"heuristics": {"rules": rules}}], "seed": 5}


def test_a_sample_of_everything_tells_what_the_run_does(inputs: dict[str, Any], tmp_path: Path) -> None:
    inputs["steps"].append({"sample": {"documents": 400}})
    told = run_sample(planned(inputs), 10**9)
    run = tamis.run(inputs, output=tmp_path / "run").manifest
    assert (told.bytes, told.read, told.selected, told.errors) == (told.whole_bytes, run.read, run.selected, 0)
    assert told.text_bytes == run.text_bytes
    assert told.documents == run.read == 3040
    for mine, step in zip(told.steps, run.steps, strict=True):
        assert mine.documents == sum(counts.documents for counts in step.counts)
        assert mine.kept == sum(counts.kept for counts in step.counts)
    assert told.steps[1].rejected == {"short": sum(c.rejected.get("short", 0) for c in run.steps[1].counts)}
    assert told.selected_bytes == sum(shard.bytes for shard in run.shards if shard.fate == "selected")
    assert told.cpu_seconds > 0
    assert told.work_bytes > 0


def test_beginnings_of_files_stand_for_all_of_them(inputs: dict[str, Any], tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(cutting, "LEAST", SIZE)
    monkeypatch.setattr(cutting, "ROWS", 50)
    plan = planned(inputs)
    sample = sample_inputs(plan, 40_000, str(tmp_path / "cut"))
    assert sample.bytes < 0.5 * sample.whole
    assert {source for source, scale in sample.scale.items() if scale <= 1} == set()
    assert sample.broken == {"a": 0, "b": 1, "c": 0, "d": 0, "e": 0, "f": 0}
    told = run_sample(plan, 40_000)
    assert told.documents < 0.6 * 3040
    assert told.read == pytest.approx(3040, rel=0.2)
    assert told.errors == 0
    run = tamis.run(inputs, output=tmp_path / "run").manifest
    assert told.text_bytes == pytest.approx(run.text_bytes, rel=0.2)
    assert told.selected == pytest.approx(run.selected, rel=0.2)


def test_files_are_drawn_by_a_key_and_partitions_stay(inputs: dict[str, Any], tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(cutting, "LEAST", 1000)
    inputs["inputs"] = inputs["inputs"][-1:]

    def drawn(**changes: Any) -> list[str]:
        folder = tmp_path / f"cut-{len(list(tmp_path.glob('cut-*')))}"
        sample = sample_inputs(planned(inputs | changes), 8000, str(folder))
        return [str(Path(file.path).relative_to(folder)).partition("/")[2] for file in sample.plan.files]

    assert drawn() == drawn()
    assert sorted(drawn(seed=6)) != sorted(drawn())
    assert all(path.startswith("lang=de") for path in drawn())
    assert 1 < len(drawn()) < 40


def test_amounts_are_those_of_the_sample(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(cutting, "LEAST", SIZE)
    rows = "".join(json.dumps({"id": str(i), "text": text}) + "\n" for i, text in enumerate(texts(2000)))
    (tmp_path / "a.jsonl").write_text(rows)
    plain = {
        "inputs": [{"path": str(tmp_path / "a.jsonl"), "source": "web"}],
        "steps": [{"sample": {"documents": 200}}],
    }
    told = run_sample(planned(plain), 30_000)
    assert told.documents < 400
    assert told.selected == pytest.approx(200, rel=0.1)


def test_a_plan_says_what_is_kept_of_earlier_runs(inputs: dict[str, Any], tmp_path: Path) -> None:
    output = str(tmp_path / "run")
    assert kept_stages(planned(inputs), output).shards == {}
    tamis.run(inputs, output=output)
    kept = kept_stages(planned(inputs), output)
    assert kept.finished
    assert kept.shards == {"extract": 6, "heuristics": 6}
    changed = json.loads(json.dumps(inputs))
    changed["steps"][0]["heuristics"]["rules"][0]["threshold"] = 20
    kept = kept_stages(planned(changed), str(tmp_path / "other"), cache=output)
    assert not kept.finished
    assert kept.shards == {"extract": 6, "heuristics": 6}
    assert kept_stages(planned(inputs | {"steps": ["language"]}), output).shards == {"extract": 6}


def test_steps_that_reject_nothing_are_named(inputs: dict[str, Any], tmp_path: Path) -> None:
    def idle(*steps: Any) -> list[str]:
        return [told.split()[1] for told in idle_steps(planned(inputs | {"steps": list(steps)}))]

    rule = {"rules": {"rules": [{"column": "language_score", "op": "min", "threshold": 0.5, "reason": "unsure"}]}}
    assert idle("language") == ["language"]
    assert idle({"language": {"min_score": 0.3}}, {"language": {"keep": ["en"], "name": "b"}}) == []
    assert idle("language", rule) == []
    assert idle("language", {"sample": {"documents": 5}}) == ["language"]
    assert idle("pii", "exact_dedup", {"heuristics": {"presets": ["c4"]}}) == []


def test_licences_are_read_beside_models(inputs: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    model = tmp_path / "model" / "model.bin"
    model.write_bytes(b"x")
    assert licence_beside(str(model)) is None
    (tmp_path / "model" / "LICENSE.txt").write_text("words")
    assert licence_beside(str(model)) == licence_beside(str(tmp_path / "model")) == "see LICENSE.txt"
    (tmp_path / "model" / "README.md").write_text("---\nlanguage: en\nlicense: apache-2.0 # so\n---\nlicense: no\n")
    assert licence_beside(str(model)) == "apache-2.0"
    assert licence_beside("hdfs://x/y") is None
    (packaged,) = read_files(planned(inputs | {"steps": ["language"]}))
    assert (packaged.reference, packaged.licence) == ("lid.176.ftz, packaged", "CC BY-SA 3.0")


def test_the_plan_is_readable_at_eighty_columns(
    inputs: dict[str, Any], tmp_path: Path, capsys: Any, monkeypatch: Any
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    config = tmp_path / "c.yaml"
    config.write_text(json.dumps(inputs | {"steps": ["language", "exact_dedup"], "output": {"path": "run"}}))

    def plan(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["tamis", "plan", str(config), *arguments])
        with pytest.raises(SystemExit) as stopped:
            main()
        assert not stopped.value.code
        return capsys.readouterr().out

    out = plan("--sample")
    for words in ("CC BY-SA 3.0", "can't reject a document", "estimates from a sample: 3,040", "in the work folder"):
        assert "".join(words.split()) in "".join(out.split())  # folded lines
    assert max(len(line) for line in out.splitlines() if not line.startswith("note:")) <= 80
    told = json.loads(plan("--sample-mb", "0.5", "--json"))
    assert told["sample"]["read"] == 3040
    assert [step["label"] for step in told["sample"]["steps"]] == ["extract", "language", "exact_dedup"]
    assert told["kept"] == {"finished": False, "shards": {}}
    assert told["steps"][1]["models"]["model"]["licence"] == "CC BY-SA 3.0"
    assert "sample" not in json.loads(plan("--json"))


def test_percentiles_that_look_like_shares_are_remarked_on(examples, tmp_path):
    model = str(examples / "models" / "quality")
    (tmp_path / "a.jsonl").write_text('{"text": "words"}\n')

    def told(keep):
        step = {"perplexity": {"model": model, "keep": {"percentile": keep}}}
        plain = {"inputs": [{"path": str(tmp_path / "a.jsonl"), "source": "web"}], "steps": [step]}
        return tiny_percentiles(make_plan(parse_config(plain), plain))

    (found,) = told([0, 0.5])
    assert found.startswith("step perplexity.quality keeps 0.5 % of the documents")
    assert found.endswith("`fraction: 0.5` is a share")
    assert told([0, 50]) == told([99, 100]) == ()


def test_a_sample_says_what_steps_of_duplicates_take_out(tmp_path: Path) -> None:
    """Shares by source, the largest clusters with their lowest similarity, and a warning beyond half of a source."""
    draw = random.Random(7)
    base = [" ".join(draw.choices(WORDS, k=40)) for _ in range(60)]
    copies = [base[0]] * 12 + [f"{base[1]} changed {i}" for i in range(5)]
    for source, rows in (("books", base), ("web", copies)):
        lines = [json.dumps({"id": f"{source}{i}", "text": text}) + "\n" for i, text in enumerate(rows)]
        (tmp_path / f"{source}.jsonl").write_text("".join(lines))
    inputs = [{"path": str(tmp_path / f"{source}.jsonl"), "source": source} for source in ("books", "web")]
    steps = [{"near_dedup": {"verify": "shingles", "threshold": 0.5}}, {"paragraph_dedup": {}}]
    notes = run_sample(planned({"inputs": inputs, "steps": steps}), 10**6).notes
    shares = next(note for note in notes if note.startswith("step near_dedup: takes out "))
    assert " of books" in shares
    assert "% of web" in shares
    clusters = next(note for note in notes if "documents of the largest clusters" in note)
    assert clusters.startswith("step near_dedup: documents of the largest clusters: 13 (lowest similarity 1.00), 6 (")
    assert any("documents of web" in note and "are near-duplicates of others" in note for note in notes)
    assert any(note.startswith("step paragraph_dedup: takes out 0% of books") for note in notes)
