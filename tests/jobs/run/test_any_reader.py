"""What a run leaves is plain Parquet: any reader takes its folders as they are."""

import os
from pathlib import Path

import duckdb
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

import tamis
from tamis.pipeline.passes.parts import folder_of_source

SOURCES = ("web", "train", "my-test", "1.dev", "Validation_set", "devices")
"""Labels with words that `datasets` takes for splits, and others."""
RULE = {"column": "text_words", "op": "max", "threshold": 5, "reason": "long"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder, below one that is called like a split; a document of each source is rejected."""
    root = tmp_path_factory.mktemp("files")
    for source in SOURCES:
        (root / f"{source}.jsonl").write_text('{"text": "the river is wide"}\n{"text": "the river is wide and long"}\n')
    output = root / "test" / "run"
    config = {
        "inputs": [{"path": str(root / f"{source}.jsonl"), "source": source} for source in SOURCES],
        "steps": [{"heuristics": {"rules": [RULE]}}],
    }
    tamis.run(config, output=output)
    return output


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that selected and rejected nothing."""
    root = tmp_path_factory.mktemp("empty")
    (root / "none.jsonl").write_text("\n")
    config = {"inputs": [{"path": str(root / "none.jsonl"), "source": "web"}], "steps": [{"language": {}}]}
    tamis.run(config | {"allow_empty": True}, output=root / "run")
    return root / "run"


def test_pyarrow(folder: Path, empty: Path) -> None:
    for fate in ("selected", "rejected", "errors"):
        table = pq.read_table(folder / fate)
        assert table.num_rows == (0 if fate == "errors" else len(SOURCES))
        assert pq.read_table(empty / fate).num_rows == 0
        assert pq.read_table(empty / fate).schema.names == list(ds.dataset(empty / fate).schema.names)
    selected = pq.read_table(folder / "selected")
    assert sorted(selected["source"].to_pylist()) == sorted(SOURCES)
    assert "language_score" in pq.read_table(empty / "selected").schema.names
    assert pq.read_table(folder / "selected", columns=["text"]).num_rows == len(SOURCES)
    one = pq.read_table(folder / folder_of_source("my-test"))
    assert one["source"].to_pylist() == ["my-test"]


def test_duckdb(folder: Path, empty: Path) -> None:
    for hive in ("true", "false"):
        query = f"SELECT source FROM read_parquet('{folder}/selected/**/*.parquet', hive_partitioning = {hive})"
        assert sorted(row[0] for row in duckdb.sql(query).fetchall()) == sorted(SOURCES)
    assert duckdb.sql(f"SELECT count(*) FROM '{folder}/selected/**/*.parquet'").fetchall() == [(len(SOURCES),)]
    assert duckdb.sql(f"SELECT count(*) FROM '{empty}/selected/**/*.parquet'").fetchall() == [(0,)]


def test_pandas(folder: Path, empty: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_parquet(folder / "selected")
    assert sorted(frame["source"]) == sorted(SOURCES)
    assert len(pandas.read_parquet(folder / "rejected", columns=["text"])) == len(SOURCES)
    assert len(pandas.read_parquet(empty / "selected")) == 0


def test_polars(folder: Path, empty: Path) -> None:
    polars = pytest.importorskip("polars")
    assert sorted(polars.read_parquet(folder / "selected")["source"]) == sorted(SOURCES)
    assert polars.scan_parquet(folder / "rejected").collect().height == len(SOURCES)
    assert polars.scan_parquet(empty / "selected").collect().height == 0


def test_datasets(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setitem(os.environ, "HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    for path in (folder / "selected", folder):
        for streaming in (False, True):
            found = datasets.load_dataset(str(path), streaming=streaming, cache_dir=str(tmp_path))
            assert list(found) == ["train"]
            assert sorted(row["source"] for row in found["train"]) == sorted(SOURCES)
    assert datasets.load_dataset(str(folder), "rejected", cache_dir=str(tmp_path))["train"].num_rows == len(SOURCES)


def test_ones_own_readers(folder: Path, empty: Path) -> None:
    run = tamis.open(folder)
    assert run.verify().ok
    assert run.selected().count_rows() == run.rejected().count_rows() == len(SOURCES)
    assert run.sql("SELECT count(*) AS n FROM documents")["n"].to_pylist() == [2 * len(SOURCES)]
    nothing = tamis.open(empty)
    assert nothing.verify().ok
    assert nothing.sql("SELECT count(language) AS n FROM selected")["n"].to_pylist() == [0]
    assert nothing.selected().count_rows() == 0


def test_a_runs_selected_documents_are_an_input(folder: Path, tmp_path: Path) -> None:
    config = {"inputs": [{"path": str(folder / "selected"), "source": "again"}], "steps": []}
    again = tamis.run(config, output=tmp_path / "again")
    assert again.manifest.selected == len(SOURCES)
    before, after = tamis.open(folder).selected().to_table(), again.selected().to_table()
    assert sorted(before["doc_id"].to_pylist()) == sorted(after["doc_id"].to_pylist())
