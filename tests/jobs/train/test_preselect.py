"""The whole loop of PreSelect on small sizes: models, losses, strength, examples, classifier, and the step."""

import json
import shutil
import sys
import warnings
from itertools import combinations
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.jobs.cli.app import main
from tamis.jobs.train.preselect import load_training, train_preselect
from tamis.pipeline.formats.options import ReadOptions
from tamis.pipeline.formats.reader import plan_splits
from tamis.pipeline.graph.engine import Engine
from tamis.pipeline.passes.inputs import SourceShard
from tamis.pipeline.storage.column_file import ColumnFile, write_table
from tamis.pipeline.storage.filesystem import info, sha256
from tamis.pipeline.training.draw import (
    ROWS_SCHEMA,
    SAMPLE_SCHEMA,
    DrawTask,
    IndexTask,
    draw_documents,
    index_documents,
)
from tamis.schemas.base import validate
from tamis.schemas.errors import ConfigError, DataError, InputError, ModelError
from tamis.schemas.preselect_training import ClassifierOptions, PreselectTraining
from tamis.scorers.causal.bits_per_character import bits_per_character
from tamis.scorers.fasttext.label_score import LabelScorer
from tamis.scorers.fasttext.training import FastTextOptions
from tamis.scorers.models.folder import read_model_folder

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")

from examples.preselect.build_models import Member, build

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")

FAMILY = (Member("tiny", 16, 1, 12, 0.1), Member("less", 16, 1, 20, 0.5), Member("more", 32, 1, 40, 0.95))


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A folder of three trained models, and their scores."""
    folder = tmp_path_factory.mktemp("models")
    return folder, build(folder, FAMILY, batch=4, held_out=6)


@pytest.fixture(scope="module")
def plain(models, examples):
    """The tutorial's config on these models and fewer documents."""
    folder, scores = models
    config = yaml.safe_load((examples / "preselect" / "train.yaml").read_text())
    config["inputs"] = [
        {**entry, "path": str(examples.parent / entry["path"])}
        for entry in config["inputs"]
        if entry["source"] != "web"
    ]
    config["models"] = [{"name": name, "path": str(folder / name), "score": score} for name, score in scores.items()]
    config["sample"]["per_domain"] = 25
    config["losses"]["shard_mb"] = 0.07
    config["fasttext"] |= {"min_count": 1, "bucket": 2000}
    return config


def train(plain, folder, *, workers=1, **options):
    config = validate(PreselectTraining, plain, "config")
    return train_preselect(config, Engine(str(folder / ".work/passes"), workers=workers), str(folder), **options)


@pytest.fixture(scope="module")
def trained(plain, tmp_path_factory):
    """The folder that the training left, and its result."""
    folder = tmp_path_factory.mktemp("classifier")
    return folder, train(plain, folder)


def sampled_texts(folder):
    tables = [ColumnFile(str(path)).read() for path in sorted(folder.glob(".work/sample-*/0*.arrow"))]
    table = pa.concat_tables(tables)
    return dict(zip(table.column("doc_id").to_pylist(), table.column("text").to_pylist(), strict=True))


def test_family_is_reproducible_and_ordered(models, tmp_path):
    folder, scores = models
    assert list(scores.values()) == sorted(scores.values())
    assert build(tmp_path, FAMILY[:1], batch=4, held_out=6) == {"tiny": scores["tiny"]}
    ours, theirs = (path / "tiny" / "model.safetensors" for path in (folder, tmp_path))
    assert ours.read_bytes() == theirs.read_bytes()


def test_losses_are_those_of_the_models(trained, plain):
    folder, result = trained
    table = pq.read_table(folder / "losses.parquet")
    texts = sampled_texts(folder)
    ids = table.column("doc_id").to_pylist()
    assert ids == sorted(set(ids))
    assert set(ids) == set(texts)
    few = ids[:6]
    for model in plain["models"]:
        expected = bits_per_character(model["path"], [texts[id_] for id_ in few], stride=127)
        np.testing.assert_allclose(table.column(model["name"]).to_numpy()[:6], expected, rtol=1e-5)
    assert result.documents == len(ids)
    assert table.schema.names == ["doc_id", "url", "source", "domain", "tiny", "less", "more", "strength", "label"]


def test_strength_and_labels(trained, plain):
    folder, result = trained
    rows = pq.read_table(folder / "losses.parquet").to_pylist()
    models = sorted(plain["models"], key=lambda model: model["score"])
    for row in rows:
        pairs = list(combinations([row[model["name"]] for model in models], 2))
        assert row["strength"] == pytest.approx(sum(worse > better for worse, better in pairs) / len(pairs))
    positive = [row["strength"] for row in rows if row["label"] == 1]
    negative = [row["strength"] for row in rows if row["label"] == 0]
    rest = [row["strength"] for row in rows if row["label"] is None]
    assert len(positive) == len(negative) > 0
    assert set(positive) == {1.0}
    assert max(negative) <= min((s for s in rest if s < 1), default=1)
    assert not any(s < max(negative) for s in rest)
    assert result.report.labels == {"__label__0": len(negative), "__label__1": len(positive)}


def test_duckdb_reads_the_losses(trained):
    query = f"SELECT label, avg(strength) FROM '{trained[0]}/losses.parquet' GROUP BY ALL ORDER BY label NULLS LAST"
    found = duckdb.sql(query).fetchall()
    assert [row[0] for row in found][:2] == [0, 1]


def test_model_folder(trained):
    folder, result = trained
    model = read_model_folder(folder, kind="preselect")
    assert model.digest == result.model.digest
    assert model.provenance["models"][0]["name"] == "tiny"
    assert model.provenance["accuracy"] == result.report.accuracy
    report = json.loads((folder / "training.json").read_text())
    assert report["sha256"] == model.files["model.bin"] == result.report.sha256
    for name in ("model.json", "training.json"):
        assert not [place for place in ("/tmp", str(Path.cwd())) if place in (folder / name).read_text()]


def test_classifier_tells_prose_from_code(trained):
    scorer = LabelScorer(trained[0])
    prose = "The whale rose slowly from the calm sea, and the old captain stood silent upon the deck of his ship."
    code = "func (s *Server) Close() error { s.mu.Lock() ; defer s.mu.Unlock() ; return nil } // if err != nil"
    scores = scorer.score([prose, code]).column("preselect_score").to_pylist()
    assert scores[0] > scores[1]
    assert trained[1].report.accuracy > 0.7


def test_step_in_a_run(trained, config_of, run):
    manifest = run(config_of({"preselect": {"model": str(trained[0]), "keep": {"fraction": 0.5}}}))
    assert 0 < manifest.selected < manifest.read


def test_rerun_measures_only_what_is_missing(trained, plain, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(trained[0], folder)
    before = {name: (folder / name).read_bytes() for name in ("model.bin", "model.json", "losses.parquet")}
    again = train(plain, folder)
    assert [one.new_tokens for one in again.measured] == [0, 0, 0]
    assert again.measured[0].tokens_per_second is None
    columns = sorted(folder.glob(".work/losses-*/*/*.arrow"))
    assert len(columns) > 6
    columns[0].unlink()
    third = train(plain, folder)
    measured = [one for one in third.measured if one.new_tokens]
    assert len(measured) == 1
    assert 0 < measured[0].new_tokens < sum(measured[0].losses.column("tokens").to_pylist())
    assert measured[0].tokens_per_second > 0
    assert {name: (folder / name).read_bytes() for name in before} == before
    fewer = plain | {"models": plain["models"][:2]}
    assert [one.new_tokens for one in train(fewer, folder).measured] == [0, 0]


@pytest.mark.slow
def test_workers_give_the_same(trained, plain, tmp_path):
    result = train(plain, tmp_path, workers=2)
    ours, theirs = (pq.read_table(folder / "losses.parquet") for folder in (trained[0], tmp_path))
    for name in ("tiny", "less", "more"):
        np.testing.assert_allclose(ours.column(name).to_numpy(), theirs.column(name).to_numpy(), rtol=1e-5)
    assert result.report.labels == trained[1].report.labels


def test_balanced_domains(trained, plain, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(trained[0], folder)
    train(plain | {"examples": {"balance_domains": True}}, folder)
    rows = pq.read_table(folder / "losses.parquet").to_pylist()
    assert any(row["label"] == 1 for row in rows)
    for domain in {row["domain"] for row in rows}:
        labels = [row["label"] for row in rows if row["domain"] == domain]
        assert labels.count(0) == labels.count(1)


def test_no_positives(plain, models, trained, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(trained[0], folder)
    prose = [entry for entry in plain["inputs"] if entry["source"] == "books"]
    scores = sorted((model["score"] for model in plain["models"]), reverse=True)
    upside_down = [model | {"score": score} for model, score in zip(plain["models"], scores, strict=True)]
    with pytest.raises(DataError, match="0 documents have predictive strength 1"):
        train(plain | {"inputs": prose, "models": upside_down}, folder)


def wrong(plain, **changes):
    return {**plain, **changes}


def test_sentences_of_the_config(plain):
    first, second, _ = plain["models"]
    cases = {
        "at least two, not 1": wrong(plain, models=[first]),
        "same score": wrong(plain, models=[first, second | {"score": first["score"]}]),
        "two models are called": wrong(plain, models=[first, second | {"name": "TINY"}]),
        "another column": wrong(plain, models=[first, second | {"name": "Strength"}]),
        "did you mean 'fasttext'": wrong(plain, fasttex={}),
        "stride is 9: it must be below": wrong(plain, losses={"context": 9, "stride": 9}),
    }
    for sentence, config in cases.items():
        with pytest.raises(ConfigError, match=sentence):
            validate(PreselectTraining, config, "config")


def test_sentences_of_models(plain, tmp_path):
    first, second, _ = plain["models"]
    with pytest.raises(ModelError, match=r"model less: there is no model org/name.*written hf://org/name"):
        train(wrong(plain, models=[first, second | {"path": "org/name"}]), tmp_path)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"model less: .*bad can't be loaded"):
        train(wrong(plain, models=[first, second | {"path": str(tmp_path / "bad")}]), tmp_path)
    with pytest.raises(ConfigError, match="tiny and less are the same files"):
        train(wrong(plain, models=[first, second | {"path": first["path"]}]), tmp_path)
    with pytest.raises(ConfigError, match=r"model tiny: context is 200, more than the 128"):
        train(wrong(plain, losses={"context": 200}), tmp_path)
    with pytest.raises(ModelError, match=r"model less: .*x\.gguf can't be loaded: there is no such file"):
        train(wrong(plain, models=[first, second | {"gguf_file": "x.gguf"}]), tmp_path)
    broken = tmp_path / "broken"
    shutil.copytree(first["path"], broken)
    (broken / "model.safetensors").write_bytes(b"\xff" * 40)
    with pytest.raises(ModelError, match=r"model broken: .*broken can't be loaded"):
        train(wrong(plain, models=[second, first | {"path": str(broken), "name": "broken"}]), tmp_path / "out")
    with pytest.raises(ConfigError, match=r"device 'nothing' can't be used here"):
        train(wrong(plain, losses={"device": "nothing"}), tmp_path / "out")


def test_another_model_is_left_alone(plain, examples, tmp_path):
    shutil.copytree(examples / "models" / "quality", tmp_path / "quality")
    with pytest.raises(ModelError, match="holds a model of kind 'ngram_lm'"):
        train(plain, tmp_path / "quality")
    assert read_model_folder(tmp_path / "quality").kind == "ngram_lm"


def test_missing_packages(plain, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ConfigError, match=r"pip install '\.\[lm\]'"):
        train(plain, tmp_path)


def test_no_documents(plain, tmp_path):
    (tmp_path / "empty.jsonl").write_text('{"id": "1", "text": ""}\n')
    inputs = [{"path": str(tmp_path / "empty.jsonl"), "source": "none"}]
    with pytest.raises(DataError, match="there is no document to measure models on"):
        train(wrong(plain, inputs=inputs), tmp_path)
    with pytest.raises(InputError, match="missing"):
        train(wrong(plain, inputs=[{"path": str(tmp_path / "missing.jsonl"), "source": "none"}]), tmp_path)


def test_command(trained, plain, tmp_path, capsys, monkeypatch):
    folder = tmp_path / "copy"
    shutil.copytree(trained[0], folder)
    config = tmp_path / "train.yaml"
    config.write_text(yaml.safe_dump(plain))
    arguments = ["tamis", "train", "preselect", str(config), "-o", str(folder), "--set", "fasttext.epoch=2"]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as stopped:
        main()
    assert not stopped.value.code
    assert "documents measured" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", [*arguments, "--json"])
    with pytest.raises(SystemExit):
        main()
    told = json.loads(capsys.readouterr().out)
    assert [model["model"] for model in told["models"]] == ["tiny", "less", "more"]
    assert read_model_folder(folder).provenance["losses"]["stride"] == 127
    monkeypatch.setattr(sys, "argv", [*arguments, "--set", "fasttext.epochs=2"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert "did you mean 'epoch'?" in capsys.readouterr().err


def test_options_are_those_of_the_trainer():
    assert ClassifierOptions().model_dump() == vars(FastTextOptions())


def test_tutorial_config_is_valid(examples):
    config = load_training(str(examples / "preselect" / "train.yaml"))
    assert [model.score for model in config.models] == sorted(model.score for model in config.models)


def test_digest_is_of_what_counts(plain):
    config = validate(PreselectTraining, plain, "config")
    models = {model.name: f"digest of {model.name}" for model in config.models}
    moved = [model | {"path": "elsewhere"} for model in plain["models"]]
    same = wrong(plain, models=moved, output="elsewhere", name="other", losses=plain["losses"] | {"batch_tokens": 99})
    assert validate(PreselectTraining, same, "config").digest(models) == config.digest(models)
    for changes in ({"seed": 8}, {"losses": {"stride": 9}}, {"fasttext": {"dim": 9}}, {"sample": {"per_domain": 9}}):
        assert validate(PreselectTraining, wrong(plain, **changes), "config").digest(models) != config.digest(models)


def test_bundled_classifier(examples):
    folder = examples / "models" / "preselect"
    model = read_model_folder(folder, kind="preselect")
    assert (folder / "model.bin").stat().st_size < 1.5e6
    for entry in model.provenance["inputs"]:
        assert sha256(str(examples / "corpus" / entry["name"])) == entry["sha256"]
    tutorial = load_training(str(examples / "preselect" / "train.yaml"))
    scores = {entry["name"]: entry["score"] for entry in model.provenance["models"]}
    assert scores == {entry.name: entry.score for entry in tutorial.models}


# --- drawing ---

HOSTS = {
    None: "files",
    "https://a.example/1": "a.example",
    "https://a.example/2": "a.example",
    "http://B.example:80/x": "b.example",
    "c.example/no-scheme": "c.example",
    "urn:isbn:1": "files",
}

records = st.lists(
    st.fixed_dictionaries(
        {
            "text": st.sampled_from(["", "a", "few words", "naïve 山 " * 9]),
            "url": st.sampled_from(list(HOSTS)),
        }
    ),
    max_size=30,
)


def shard_of(folder, rows):
    path = folder / "documents.jsonl"
    path.write_text("".join(json.dumps({"id": str(i), **row}) + "\n" for i, row in enumerate(rows)))
    options = ReadOptions(batch_rows=4)
    splits = tuple(plan_splits(info(str(path)), options))
    return [SourceShard(0, "files", (0,) * len(splits), splits, ("",), options, "key", 1)] if splits else []


@settings(max_examples=30)
@given(records, st.data())
def test_index_and_draw(tmp_path_factory, rows, data):
    folder = tmp_path_factory.mktemp("draw")
    for shard in shard_of(folder, rows):
        index_documents(IndexTask(shard, str(folder / "index.arrow")))
        with ColumnFile(str(folder / "index.arrow")) as file:
            index = file.read().to_pylist()
            assert IndexTask.errors(file.schema) == 0
        kept = [row for row in rows if row["text"]]
        assert [entry["row"] for entry in index] == list(range(len(kept)))
        assert [entry["domain"] for entry in index] == [HOSTS[row["url"]] for row in kept]
        chosen = sorted(data.draw(st.sets(st.sampled_from(range(len(kept)))))) if kept else []
        write_table(str(folder / "rows.arrow"), pa.table({"row": pa.array(chosen, pa.int64())}, schema=ROWS_SCHEMA))
        size = data.draw(st.integers(1, 60))
        drawn = draw_documents(DrawTask(shard, str(folder / "rows.arrow"), str(folder), size))
        tables = [ColumnFile(str(folder / part["name"])).read() for part in drawn]
        texts = [text for table in tables for text in table.column("text").to_pylist()]
        assert texts == [kept[i]["text"] for i in chosen]
        for part, table in zip(drawn, tables, strict=True):
            assert table.schema == SAMPLE_SCHEMA
            sizes = [len(text.encode()) for text in table.column("text").to_pylist()]
            assert part["bytes"] == sum(sizes)
            assert part["documents"] == len(sizes)
            assert sum(sizes[:-1]) < size
        assert all(part["bytes"] >= size for part in drawn[:-1])
        assert len({part["digest"] for part in drawn}) == len(drawn)
