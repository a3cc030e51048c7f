"""What trainers read: every document with its end, in the order of the shards, in types that hold every token."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from tamis.jobs.mix.export import ExportResult, export
from tamis.pipeline.graph.engine import Engine
from tamis.pipeline.mixing.export import shard_documents
from tamis.schemas.errors import ConfigError, DataError, RunError
from tamis.scorers.mixture.document_tokenizer import DocumentTokenizer
from tamis.scorers.mixture.megatron_files import MegatronTokens
from tamis.scorers.mixture.olmo_files import OlmoTokens
from tests.jobs.handmade import make_run
from tests.jobs.mix.runs import documents, mix, run_of
from tests.jobs.mix.test_materialise import rows

SIZES = {"books": 40, "code": 12, "web": 80}
BYTES = DocumentTokenizer("bytes")


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mixture in training order, a group repeated, in several shards; one document has no text."""
    folder = tmp_path_factory.mktemp("mixed")
    listed = documents(SIZES)
    listed[0] = (*listed[0][:2], "", None)
    make_run(folder / "run", listed)
    mix(folder / "run", folder / "mix", without="unimax", budget=30_000, order="training", shard_mb=0.008)
    return folder / "mix"


def exported(source: Path, folder: Path, form: str, **options: Any) -> ExportResult:
    with Engine(str(folder / "work" / "passes"), workers=options.pop("workers", 1)) as engine:
        return export(str(source), str(folder), form, engine, **options)


def ended(source: Path, tokenizer: DocumentTokenizer = BYTES) -> list[list[int]]:
    """Tokens of the documents, each with its end, without those that have none."""
    texts = [row["text"] for row in rows(source)]
    return [[*tokens.tolist(), tokenizer.end] for tokens in tokenizer.documents(texts) if len(tokens)]


def test_megatron(mixed: Path, tmp_path: Path) -> None:
    found = exported(mixed, tmp_path / "out", "megatron", tokenizer=BYTES)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["export.json", "tokens.bin", "tokens.idx"]
    tokens = MegatronTokens(tmp_path / "out" / "tokens")
    assert [row.tolist() for row in tokens] == ended(mixed)
    assert tokens.index.dtype == np.uint16  # 257 ids
    assert found.tokens == sum(map(len, ended(mixed)))
    assert "the tokenizer adds no end-of-document token" in found.notes[0]
    assert any("1 document without a token is left out" in note for note in found.notes)
    before = (tmp_path / "out" / "tokens.bin").stat().st_mtime_ns
    assert exported(mixed, tmp_path / "out", "megatron", tokenizer=BYTES) == found  # nothing to do
    assert (tmp_path / "out" / "tokens.bin").stat().st_mtime_ns == before
    again = exported(mixed, tmp_path / "again", "megatron", tokenizer=BYTES, workers=2)
    assert again.files == found.files


def test_olmo(mixed: Path, tmp_path: Path) -> None:
    exported(mixed, tmp_path / "out", "olmo", tokenizer=BYTES, max_tokens=3000)
    found: list[list[int]] = []
    ids: list[str] = []
    files = sorted((tmp_path / "out").glob("*.npy"))
    assert len(files) > 4
    for path in files:
        tokens = OlmoTokens(path)
        found += [tokens[i].tolist() for i in range(len(tokens))]
        ids += tokens.doc_ids
        assert set(tokens.sources) <= set(SIZES)
    assert found == ended(mixed)
    assert ids == [row["doc_id"] for row in rows(mixed) if row["text"]]


def test_a_wide_vocabulary_takes_wider_tokens(mixed: Path, tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    words = {f"w{i}": i for i in range(1 << 16)}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="w0"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.save(str(tmp_path / "full.json"))
    made.add_special_tokens(["</s>"])  # the 65,537th id, of which `vocab_size` without added tokens says nothing
    assert made.get_vocab_size(with_added_tokens=False) == 1 << 16
    made.save(str(tmp_path / "wide.json"))
    tokenizer = DocumentTokenizer(str(tmp_path / "wide.json"))
    exported(mixed, tmp_path / "megatron", "megatron", tokenizer=tokenizer)
    tokens = MegatronTokens(tmp_path / "megatron" / "tokens")
    assert tokens.index.dtype == np.int32
    assert {int(row[-1]) for row in tokens} == {1 << 16}
    assert [row.tolist() for row in tokens] == ended(mixed, tokenizer)
    exported(mixed, tmp_path / "olmo", "olmo", tokenizer=tokenizer)
    assert OlmoTokens(next((tmp_path / "olmo").glob("*.npy")), np.uint32)[0][-1] == 1 << 16
    fits = DocumentTokenizer(str(tmp_path / "full.json"), end="w1")
    exported(mixed, tmp_path / "fits", "megatron", tokenizer=fits)
    assert MegatronTokens(tmp_path / "fits" / "tokens").index.dtype == np.uint16


def test_a_folder_of_datasets(mixed: Path, tmp_path: Path) -> None:
    found = exported(mixed, tmp_path / "out", "hf")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["README.md", "data", "export.json"]
    card = (tmp_path / "out" / "README.md").read_text()
    head = yaml.safe_load(card.split("---\n")[1])
    assert head["configs"][0]["data_files"] == [{"split": "train", "path": "data/*.parquet"}]
    assert head["size_categories"] == ["n<1K"]
    assert "| code |" in card
    listed = [row for name in found.files for row in pq.read_table(tmp_path / "out" / name).to_pylist()]
    assert [row["doc_id"] for row in listed] == [row["doc_id"] for row in rows(mixed)]
    assert listed[0]["dup_cluster"] == rows(mixed)[0]["dup_cluster"].hex()  # a type that every reader knows


def test_jsonl_parquet_and_a_run_s_selection(mixed: Path, tmp_path: Path) -> None:
    exported(mixed, tmp_path / "jsonl", "jsonl")
    lines = [d for p in sorted((tmp_path / "jsonl").glob("*.zst")) for d in shard_documents(str(p))]
    assert [d.text for d in lines] == [row["text"] for row in rows(mixed)]
    assert {d.group for d in lines} == set(SIZES)
    exported(mixed, tmp_path / "parquet", "parquet")
    tables = [pq.read_table(p) for p in sorted((tmp_path / "parquet").glob("*.parquet"))]
    assert [t for table in tables for t in table.column("text").to_pylist()] == [d.text for d in lines]
    run = run_of(tmp_path / "run", {"web": 5})
    found = exported(run, tmp_path / "selected", "megatron", tokenizer=BYTES)
    assert found.documents == 5
    mix(run, tmp_path / "lines", without="union", format="jsonl")
    exported(tmp_path / "lines", tmp_path / "from-jsonl", "olmo", tokenizer=BYTES)
    assert len(OlmoTokens(next((tmp_path / "from-jsonl").glob("*.npy")))) == 5
    with pytest.raises(ConfigError, match="has JSONL shards"):
        exported(tmp_path / "lines", tmp_path / "no", "hf")


def test_an_export_that_was_cut_off_goes_on(mixed: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = exported(mixed, out, "parquet")
    record = json.loads((out / "export.json").read_text())
    notes = out / "work" / f"export-{record['identity'][:16]}"
    notes.mkdir(parents=True)
    kept, lost = sorted(found.files)[:2]
    (notes / "a.json").write_text(
        json.dumps({"task": str(out / "part-00000"), "documents": 1, "bytes": 1, "files": {kept: found.files[kept]}})
    )
    (out / "export.json").unlink()
    (out / lost).unlink()
    before = (out / kept).stat().st_mtime_ns
    assert exported(mixed, out, "parquet").files == found.files
    assert (out / kept).stat().st_mtime_ns == before


def test_mistakes(mixed: Path, tmp_path: Path) -> None:
    for form, options, words in (
        ("megatrn", {}, "did you mean 'megatron'"),
        ("olmo", {}, "need --tokenizer"),
    ):
        with pytest.raises(ConfigError, match=words):
            exported(mixed, tmp_path / "x", form, **options)
    with pytest.raises(ConfigError, match=r"holds mixture\.json"):
        exported(mixed, mixed, "jsonl")
    with pytest.raises(RunError, match="no run of tamis"):
        exported(tmp_path, tmp_path / "x", "jsonl")
    make_run(tmp_path / "empty", [("a" * 32, "web", "", None)])
    with pytest.raises(DataError, match="no document has a token"):
        exported(tmp_path / "empty", tmp_path / "x", "megatron", tokenizer=BYTES)


@pytest.mark.peers
def test_datasets_loads_it(mixed: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    exported(mixed, tmp_path / "out", "hf")
    loaded = datasets.load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded["doc_id"][:] == [row["doc_id"] for row in rows(mixed)]
    assert loaded["text"][:] == [row["text"] for row in rows(mixed)]


@pytest.mark.peers
def test_megatron_and_olmo_read_it(mixed: Path, tmp_path: Path) -> None:
    indexed = pytest.importorskip("megatron.core.datasets.indexed_dataset")
    utils = pytest.importorskip("olmo_core.data.utils")
    exported(mixed, tmp_path / "megatron", "megatron", tokenizer=BYTES)
    theirs = indexed.IndexedDataset(str(tmp_path / "megatron" / "tokens"))
    assert [theirs[i].tolist() for i in range(len(theirs))] == ended(mixed)
    assert theirs.document_indices.tolist() == list(range(len(theirs) + 1))
    exported(mixed, tmp_path / "olmo", "olmo", tokenizer=BYTES)
    found = []
    for path in sorted((tmp_path / "olmo").glob("*.npy")):
        bounds = utils.iter_document_indices(path, eos_token_id=256, dtype=np.uint16, use_array_if_local=True)
        found += [utils.load_array_slice(path, a, b, np.uint16).tolist() for a, b in bounds]
    assert found == ended(mixed)
