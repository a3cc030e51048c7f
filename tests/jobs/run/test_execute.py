"""Whole runs: nothing is lost, bytes repeat, work that is done isn't done again, faults become records."""

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tamis.pipeline.passes.annotate
from tamis.pipeline.steps.loaded import annotator_of
from tamis.schemas.errors import BalanceError, ConfigError, InputError, RunError, TamisError
from tamis.scorers.dedup.text_hash import TextHash

DEDUP = {"exact_dedup": {}}
LONG = {
    "rules": {
        "name": "long",
        "rules": [{"column": "dup_cluster_size", "op": "max", "threshold": 2, "reason": "copied"}],
    }
}


def shard_digests(manifest):
    return {shard.path: shard.sha256 for shard in manifest.shards}


def rows(tmp_path, folder, fate):
    return [
        row
        for path in sorted((tmp_path / folder / fate).rglob("*.parquet"))
        for row in pq.read_table(path, partitioning=None).to_pylist()
    ]


def test_every_record_ends_once_and_duplicates_fall_to_the_smallest_id(config_of, run, tmp_path):
    manifest = run(config_of(DEDUP))
    assert (manifest.read, manifest.errors) == (402, 2)
    assert manifest.balanced
    selected, rejected = rows(tmp_path, "run", "selected"), rows(tmp_path, "run", "rejected")
    every = selected + rejected
    groups = {}
    for row in every:
        groups.setdefault(" ".join(row["text"].split()), []).append(row["doc_id"])
    assert {row["doc_id"] for row in selected} == {min(ids) for ids in groups.values()}
    for row in every:
        ids = groups[" ".join(row["text"].split())]
        assert (row["dup_cluster"], row["dup_cluster_size"]) == (min(ids), len(ids))
    assert {(row["step"], row["rule"]) for row in rejected} == {("exact_dedup", "duplicate")}
    assert all(row["value"] == row["dup_cluster_size"] and row["threshold"] == 1 for row in rejected)
    errors = rows(tmp_path, "run", "errors")
    assert Counter(row["step"] for row in errors) == {"read": 2}
    assert all(row["uri"].endswith("part1.jsonl") for row in errors)


def test_documents_keep_what_the_input_had(config_of, run, tmp_path):
    run(config_of())
    by_url = {row["url"]: row for row in rows(tmp_path, "run", "selected") if row["source"] == "web"}
    assert json.loads(by_url["https://example.org/0/7"]["meta"])["n"] == 7
    assert len(rows(tmp_path, "run", "selected")) == 400


def test_shards_are_bounded_sorted_and_carry_the_config_digest(config_of, run, tmp_path):
    manifest = run(config_of(DEDUP))
    shards = [s for s in manifest.shards if s.fate == "selected"]
    assert len(shards) > 2
    assert {s.path.split("/")[1] for s in shards} == {"books", "web"}
    for shard in manifest.shards:
        file = pq.ParquetFile(tmp_path / "run" / shard.path)
        assert file.schema_arrow.metadata[b"tamis.config_sha256"].decode() == manifest.config_sha256
        if shard.fate != "errors":
            ids = file.read(columns=["doc_id"]).column(0).to_pylist()
            assert ids == sorted(ids)


def test_bytes_repeat_with_more_workers_other_order_and_place(config_of, run):
    first = run(config_of(DEDUP, LONG), "a")
    assert shard_digests(run(config_of(DEDUP, LONG), "b", workers=2)) == shard_digests(first)
    turned = config_of(DEDUP, LONG)
    turned["inputs"].reverse()
    again = run(turned, "c")
    assert shard_digests(again) == shard_digests(first)
    assert again.config_sha256 == first.config_sha256


def times(folder: Path, pattern: str):
    return {str(path): path.stat().st_mtime_ns for path in folder.glob(pattern)}


def test_texts_are_written_window_by_window(config_of, run, tmp_path, monkeypatch):
    whole = run(config_of(DEDUP, output={"shard_mb": 10}), "whole")
    monkeypatch.setattr("tamis.pipeline.passes.write.ROW_GROUP_ROWS", 7)
    windows = run(config_of(DEDUP, output={"shard_mb": 10}), "windows")
    assert [shard.path for shard in windows.shards] == [shard.path for shard in whole.shards]
    for shard in windows.shards:
        one, other = (pq.ParquetFile(tmp_path / folder / shard.path) for folder in ("whole", "windows"))
        assert other.read().equals(one.read())
        if shard.fate != "errors" and shard.rows > 14:
            assert [other.metadata.row_group(i).num_rows for i in range(2)] == [7, 7]


def test_finished_work_is_not_done_again(config_of, run, tmp_path):
    first = run(config_of(DEDUP, LONG))
    before = times(tmp_path / "run", "**/*.arrow") | times(tmp_path / "run", "**/*.parquet")
    (tmp_path / "run" / "manifest.json").unlink()
    again = run(config_of(DEDUP, LONG))
    assert shard_digests(again) == shard_digests(first)
    kept = {path: time for path, time in before.items() if "/errors/part" not in path and "/exchange/" not in path}
    after = times(tmp_path / "run", "**/*.arrow") | times(tmp_path / "run", "**/*.parquet")
    assert len(kept) > 15
    assert {path: after[path] for path in kept} == kept


def test_a_finished_run_is_left_as_it_is(config_of, run, tmp_path):
    first = run(config_of(DEDUP, LONG))
    before = times(tmp_path / "run", "**/*")
    assert run(config_of(DEDUP, LONG)) == first
    assert times(tmp_path / "run", "**/*") == before
    shard = next(path for path in (tmp_path / "run" / "selected").rglob("*.parquet"))
    shard.unlink()
    assert shard_digests(run(config_of(DEDUP, LONG))) == shard_digests(first)
    assert shard.exists()


def test_a_lost_file_is_made_again(config_of, run, tmp_path):
    first = run(config_of(DEDUP, LONG))
    for path in list((tmp_path / "run" / "work").glob("*-state-*/*.arrow"))[::2]:
        path.unlink()
    assert shard_digests(run(config_of(DEDUP, LONG))) == shard_digests(first)


def test_fresh_forgets(config_of, run, tmp_path):
    run(config_of(DEDUP))
    (tmp_path / "run" / "work" / "strange").touch()
    run(config_of(DEDUP), fresh=True)
    assert not (tmp_path / "run" / "work" / "strange").exists()


def test_another_config_in_the_same_folder_leaves_no_old_shards(config_of, run, tmp_path):
    run(config_of(DEDUP))
    manifest = run(config_of(DEDUP, output={"shard_mb": 100}))
    found = {str(p.relative_to(tmp_path / "run")) for p in (tmp_path / "run").rglob("*.parquet")}
    assert found == {shard.path for shard in manifest.shards}


class Faulty:
    """An annotator that can't bear some texts."""

    def __init__(self, inner):
        self._inner = inner
        self.schema = inner.schema
        self.requires = inner.requires

    def annotate(self, batch):
        for text in batch.column("text").to_pylist():
            if "river stone" in text:
                raise ValueError("rivers have no stones")
        return self._inner.annotate(batch)


@pytest.mark.parametrize("score", ["alive", "all"])
def test_a_record_that_cannot_be_scored_becomes_an_error(config_of, run, tmp_path, monkeypatch, score):
    def faulty(step, models):
        made = annotator_of(step, models)
        return Faulty(made) if made is not None and step.verb == "exact_dedup" else made

    monkeypatch.setattr(tamis.pipeline.passes.annotate, "annotator_of", faulty)
    manifest = run(config_of(DEDUP, score=score))
    assert manifest.balanced
    errors = [row for row in rows(tmp_path, "run", "errors") if row["step"] == "exact_dedup"]
    assert errors
    assert {row["error"] for row in errors} == {"ValueError"}
    kept = rows(tmp_path, "run", "selected") + rows(tmp_path, "run", "rejected")
    assert not any("river stone" in row["text"] for row in kept)
    assert len(kept) + manifest.errors == manifest.read
    assert shard_digests(run(config_of(DEDUP, score=score))) == shard_digests(manifest)


def test_a_run_that_does_not_balance_fails(config_of, run, monkeypatch):
    from tamis.pipeline.passes.parts import SummariseShard

    honest = SummariseShard.summary

    def losing(self, shard):
        told = honest(self, shard)
        return replace(told, selected=((0, 0), *told.selected[1:]))  # a batch is overlooked

    monkeypatch.setattr(SummariseShard, "summary", losing)
    with pytest.raises(BalanceError, match="records were read"):
        run(config_of(DEDUP))


def test_a_failed_run_leaves_no_manifest_and_can_go_on(config_of, run, tmp_path, monkeypatch):
    first = run(config_of(DEDUP), "good")
    original = TextHash.score

    def broken(self, texts):
        raise OSError("the disk is gone")

    monkeypatch.setattr(
        TextHash, "score", lambda self, texts: broken(self, texts) if len(texts) else original(self, texts)
    )
    with pytest.raises(RunError, match="the disk is gone"):
        run(config_of(DEDUP))
    assert not (tmp_path / "run" / "manifest.json").exists()
    monkeypatch.setattr(TextHash, "score", original)
    assert shard_digests(run(config_of(DEDUP))) == shard_digests(first)


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        (
            [{"rules": {"rules": [{"column": "languag", "op": "min", "threshold": 1, "reason": "x"}]}}],
            "no column 'languag'",
        ),
        (
            [{"rules": {"rules": [{"column": "url", "op": "min", "threshold": 1, "reason": "x"}]}}],
            "rules compare numbers",
        ),
    ],
)
def test_steps_that_do_not_fit_fail_before_any_work(config_of, run, tmp_path, steps, said):
    with pytest.raises(ConfigError, match=said):
        run(config_of(*steps))
    assert not (tmp_path / "run").exists()


def test_missing_inputs_fail_before_any_work(config_of, run, tmp_path):
    with pytest.raises(InputError, match=r"input web: no file matches .*nothing\*"):
        run(config_of(inputs=[{"path": str(tmp_path / "nothing*"), "source": "web"}]))
    with pytest.raises(InputError, match="text"):
        run(config_of(inputs=[{"path": config_of()["inputs"][1]["path"], "source": "x", "text": "absent"}]))


def test_an_input_without_documents_is_a_run_of_nothing(run, tmp_path):
    (tmp_path / "empty.jsonl").write_text("\n\n")
    manifest = run({"inputs": [{"path": str(tmp_path / "empty.jsonl"), "source": "web"}], "steps": [DEDUP]})
    assert (manifest.read, manifest.selected, manifest.balanced) == (0, 0, True)
    assert manifest.inputs[0].skipped
    assert pa.types.is_string(pq.read_schema(tmp_path / "run" / "errors" / "part-00000.parquet").field("uri").type)


def test_a_folder_of_somebody_else_is_left_alone(config_of, run, tmp_path):
    mine = tmp_path / "run" / "selected" / "notes.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(ConfigError, match="holds selected, not made by tamis"):
        run(config_of(DEDUP), fresh=True)
    assert mine.read_text() == "mine"
    beside = tmp_path / "other" / "notes.txt"
    beside.parent.mkdir()
    beside.write_text("beside")
    run(config_of(DEDUP), "other")
    strange = tmp_path / "other" / "selected" / "mine.parquet"
    strange.write_text("mine")
    run(config_of(DEDUP, output={"shard_mb": 100}), "other")
    assert (beside.read_text(), strange.read_text()) == ("beside", "mine")


def test_a_finished_run_without_its_work_folder_can_be_run_again(config_of, run, tmp_path):
    first = run(config_of(DEDUP))
    shutil.rmtree(tmp_path / "run" / "work")
    assert shard_digests(run(config_of(DEDUP))) == shard_digests(first)


def test_repeated_ids_are_a_warning(run, tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"id": 1, "text": "one"}\n{"id": 1, "text": "two"}\n{"id": 2, "text": "three"}\n')
    manifest = run({"inputs": [{"path": str(path), "source": "web"}]})
    assert manifest.selected == 3
    assert "at least 1 selected document shares its doc_id" in manifest.warnings[0]


def test_files_that_cannot_be_read_are_named_together_or_recorded(run, tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "good"}\n')
    (tmp_path / "b.parquet").touch()
    (tmp_path / "c.jsonl.gz").write_bytes(b"no gzip")
    entry = {"path": [str(tmp_path / name) for name in ("a.jsonl", "b.parquet", "c.jsonl.gz")], "source": "web"}
    with pytest.raises(InputError) as caught:
        run({"inputs": [entry]})
    assert "b.parquet" in str(caught.value)
    assert "c.jsonl.gz" in str(caught.value)
    manifest = run({"inputs": [entry | {"unreadable": "record"}]})
    assert (manifest.read, manifest.selected, manifest.errors) == (3, 1, 2)
    assert {Path(row["uri"]).name for row in rows(tmp_path, "run", "errors")} == {"b.parquet", "c.jsonl.gz"}


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ({"language": {"keep": ["english"]}}, "no language 'english'"),
        ({"dsir": {"target": "EMPTY", "keep": {"fraction": 0.5}}}, "holds no document"),
        ({"dsir": {"target": "GOOD", "text": "body", "keep": {"fraction": 0.5}}}, "body"),
        ({"heuristics": {"bad_words": "absent.txt"}}, "there is no file absent.txt"),
    ],
)
def test_mistakes_in_steps_are_found_before_any_work(config_of, run, tmp_path, step, said):
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "good.jsonl").write_text('{"text": "good"}\n')
    names = {"EMPTY": str(tmp_path / "empty.jsonl"), "GOOD": str(tmp_path / "good.jsonl")}
    step = {verb: {k: names.get(v, v) if isinstance(v, str) else v for k, v in o.items()} for verb, o in step.items()}
    with pytest.raises(TamisError, match=said):
        run(config_of(step))
    assert not (tmp_path / "run").exists()
