"""`tamis train`: values from the work, sentences from the command line, and provenance in every model's folder."""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tamis.jobs.cli.app import main
from tamis.jobs.train.dsir import features_from, train_dsir
from tamis.jobs.train.lm import add_percentiles, train_harmful_lm, train_quality_lm
from tamis.pipeline.formats.options import ReadOptions
from tamis.schemas.errors import ConfigError, ModelError
from tamis.scorers.dsir.model import DsirModel
from tamis.scorers.models.folder import read_model_folder


@pytest.fixture
def pool(examples: Path) -> str:
    return str(examples / "corpus" / "forum.csv")


@pytest.fixture
def target(examples: Path) -> str:
    return str(examples / "corpus" / "target.jsonl.zst")


def tamis(*arguments: Any) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["tamis", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
    return int(stopped.value.code or 0)


def recorded(path: str) -> dict[str, Any]:
    data = Path(path).read_bytes()
    return {"name": Path(path).name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def test_dsir_leaves_provenance(pool: str, target: str, tmp_path: Path, capsys: Any) -> None:
    features = features_from(2, 1000, "fast", "wordpunct")
    trained = train_dsir([pool], {"": [target]}, str(tmp_path / "dsir"), features, max_ngrams=5000)
    assert capsys.readouterr() == ("", "")
    folder = read_model_folder(tmp_path / "dsir", kind="dsir")
    assert folder == trained.folder
    assert set(folder.files) == {path.name for path in (tmp_path / "dsir").iterdir()} - {"model.json"}
    assert folder.settings["buckets"] == 1000
    made = folder.provenance
    assert made["raw"] == {"text_field": "text", "ngrams": trained.pool_ngrams, "files": [recorded(pool)]}
    assert made["targets"] == [
        {"name": "", "text_field": "text", "ngrams": trained.target_ngrams[""], "files": [recorded(target)]}
    ]
    assert made["max_ngrams"] == 5000
    assert made["tamis"]
    assert str(tmp_path) not in (tmp_path / "dsir" / "model.json").read_text()
    assert DsirModel.load(tmp_path / "dsir").log_ratios.tolist() == trained.model.log_ratios.tolist()
    before = {path.name: path.read_bytes() for path in (tmp_path / "dsir").iterdir()}
    train_dsir([pool], {"": [target]}, str(tmp_path / "dsir"), features, max_ngrams=5000)
    assert {path.name: path.read_bytes() for path in (tmp_path / "dsir").iterdir()} == before


def test_dsir_of_several_targets_and_the_command(pool: str, target: str, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "m"
    arguments = ("train", "dsir", "--raw", pool, "--target", f"a={target}", "--target", f"b={pool}", "-o", out)
    assert tamis(*arguments, "--buckets", 500) == 0
    told = capsys.readouterr()
    assert told.out.startswith(f"{out}: ")
    assert "n-grams of the pool" in told.out
    names = [entry["name"] for entry in read_model_folder(out, kind="dsir").provenance["targets"]]
    assert names == ["a", "b"]
    assert tamis(*arguments, "--buckets", 500, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["target_ngrams"].keys() == {"a", "b"}
    assert found["sha256"] == read_model_folder(out).digest
    # The step reads what was trained.
    assert tamis("score", pool, "--limit", 2, "--step", f"{{dsir: {{model: '{out}'}}}}") == 0
    assert "dsir_log_weight" in capsys.readouterr().out


def test_another_model_is_left_alone(pool: str, target: str, tmp_path: Path) -> None:
    train_quality_lm([target], tmp_path / "m", ReadOptions(), order=1, use_lmplz=False)
    before = (tmp_path / "m" / "model.json").read_bytes()
    with pytest.raises(ModelError, match="kind 'ngram_lm' where one of kind 'dsir'"):
        train_dsir([pool], {"": [target]}, str(tmp_path / "m"), features_from(1, 10, "fast", "wordpunct"))
    assert (tmp_path / "m" / "model.json").read_bytes() == before


def test_lm_returns_what_it_trained(target: str, tmp_path: Path, capsys: Any) -> None:
    trained = train_quality_lm([target], tmp_path / "m", ReadOptions(), order=2, use_lmplz=False)
    sampled = add_percentiles(tmp_path / "m", [target], ReadOptions(), language=None, source=None)
    assert capsys.readouterr() == ("", "")
    assert sampled == trained.documents
    assert trained.folder.provenance["files"] == [recorded(target)]
    arguments = ("train", "lm", target, "--order", 2, "--no-lmplz", "-o", tmp_path / "n", "--percentiles", target)
    assert tamis(*arguments) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith(f"{tmp_path / 'n'}: order 2, {trained.documents:,} documents, ")
    assert out[1] == f"{tmp_path / 'n'}: percentiles of {sampled:,} documents"
    assert tamis(*arguments, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["documents"] == told["percentile_documents"] == sampled
    assert told["sha256"] == read_model_folder(tmp_path / "n").digest
    assert told["unreadable"] == 0


def test_harmful_lm_returns_what_it_measured(examples: Path, tmp_path: Path, capsys: Any) -> None:
    corpus = str(examples / "corpus" / "harmful_like.jsonl.zst")
    options = {"label": "label", "group": "host", "seed": 1, "order": 2, "use_lmplz": False}
    found = train_harmful_lm([corpus], tmp_path / "m", ReadOptions(), **options)
    assert capsys.readouterr() == ("", "")
    assert 0 < found.validation.macro_f1 <= 1
    arguments = ("train", "lm", corpus, "--harmful", "--label", "label", "--group", "host", "--seed", 1, "--order", 2)
    assert tamis(*arguments, "--no-lmplz", "-o", tmp_path / "n") == 0
    out = capsys.readouterr().out
    assert f"harmful is a perplexity below {found.calibration.threshold:.6g}" in out
    assert "validation: AUC" in out
    assert tamis(*arguments, "--no-lmplz", "-o", tmp_path / "n", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["threshold"] == found.calibration.threshold
    assert told["validation"]["macro_f1"] == found.validation.macro_f1
    # Other shares part the groups otherwise.
    assert tamis(*arguments, "--no-lmplz", "-o", tmp_path / "o", "--json", "--validation", 0.4, "--test", 0.1) == 0
    assert json.loads(capsys.readouterr().out)["documents"] != told["documents"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--pieces", 0), "--pieces 0: a tokenizer has 8 at least\n"),
        (("--pieces", 7), "--pieces 7: a tokenizer has 8 at least\n"),
        (("--harmful", "--label", "label", "--contrast", "--pieces", 7), "has 8 at least (0 stands for words)\n"),
        (("--harmful", "--label", "label", "--pieces", 0), "--pieces 0: a tokenizer has 8 at least\n"),
    ],
)
def test_too_few_pieces(examples: Path, tmp_path: Path, capsys: Any, options: tuple[Any, ...], told: str) -> None:
    corpus = str(examples / "corpus" / "harmful_like.jsonl.zst")
    assert tamis("train", "lm", corpus, *options, "-o", tmp_path / "m") == 2
    assert capsys.readouterr().err.replace("\n ", " ").endswith(told)


def test_harmful_lm_with_a_contrast(examples: Path, tmp_path: Path, capsys: Any) -> None:
    corpus = str(examples / "corpus" / "harmful_like.jsonl.zst")
    arguments = ("train", "lm", corpus, "--harmful", "--label", "label", "--contrast", "--no-lmplz")
    options = {"label": "label", "group": "host", "seed": 1, "contrast": True, "pieces": 300, "use_lmplz": False}
    found = train_harmful_lm([corpus], tmp_path / "m", ReadOptions(), **options)
    assert tamis(*arguments, "--group", "host", "--seed", 1, "--pieces", 300, "-o", tmp_path / "n") == 0
    out = capsys.readouterr().out
    assert f"harmful is a log ratio to {tmp_path / 'n' / 'clean'} above {found.threshold:.6g}" in " ".join(out.split())
    assert f"validation: AUC {found.validation.auc:.3f}; macro-F1" in out
    assert read_model_folder(tmp_path / "n").digest == found.folder.digest
    told = (
        "--group",
        "host",
        "--seed",
        1,
        "--order",
        2,
        "--normalizer",
        "ccnet-blanks",
        "-o",
        tmp_path / "o",
        "--json",
    )
    assert tamis(*arguments, *told) == 0
    settings = read_model_folder(tmp_path / "o" / "clean").settings
    assert (settings["order"], settings["normalizer"]) == (2, "ccnet-blanks/1")
    assert json.loads(capsys.readouterr().out)["against"] == str(tmp_path / "o" / "clean")


def test_groups_of_splits_are_named_in_a_file(tmp_path: Path, capsys: Any) -> None:
    rows = [
        {"text": f"{'bad' if i % 2 else 'good'} words of text {i}", "label": bool(i % 2), "source": f"list{i % 5}"}
        for i in range(60)
    ]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = ("train", "lm", tmp_path / "a.jsonl", "--harmful", "--label", "label", "--no-lmplz", "--order", 2)
    (tmp_path / "splits.yaml").write_text("train: [list0, list1, list2]\nvalidation: [list3]\ntest: [list4]\n")
    # A record's own field `source` keeps documents together where there are no URLs.
    assert tamis(*arguments, "--splits", tmp_path / "splits.yaml", "-o", tmp_path / "m", "--json") == 0
    documents = json.loads(capsys.readouterr().out)["documents"]
    assert documents == {"train": [18, 18], "validation": [6, 6], "test": [6, 6]}
    for text, said in (
        ("train: list0\n", "name the groups of each part"),
        ("[list0]", "name the groups of each part"),
        ("train: [list0]\ntest: [list0]\n", "is in train and in test"),
        ("train: [lst0]\n", "did you mean 'list0'"),
        ("dev: [list0]\n", "train, validation, test, not 'dev'"),
        ("train: [", "can't be read"),
    ):
        (tmp_path / "splits.yaml").write_text(text)
        assert tamis(*arguments, "--splits", tmp_path / "splits.yaml", "-o", tmp_path / "x") == 2
        assert said in " ".join(capsys.readouterr().err.split())
    assert tamis(*arguments, "--splits", tmp_path / "none.yaml", "-o", tmp_path / "x") == 2
    assert "none.yaml: it can't be read" in " ".join(capsys.readouterr().err.split())
    assert tamis(*arguments, "--pieces", 50, "-o", tmp_path / "x") == 2
    assert "--pieces doesn't go with --harmful" in " ".join(capsys.readouterr().err.split())
    one = tmp_path / "one.jsonl"
    one.write_text("".join(json.dumps({**row, "source": "all"}) + "\n" for row in rows))
    assert tamis("train", "lm", one, "--harmful", "--label", "label", "-o", tmp_path / "x") == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "there is 1 group" in said
    assert "--splits" in said


def test_unreadable_records_are_told(tmp_path: Path, capsys: Any) -> None:
    lines = [json.dumps({"text": f"some words of text number {i}"}) for i in range(9)]
    (tmp_path / "a.jsonl").write_text("\n".join(["{broken"] * 12 + lines) + "\n")
    assert tamis("train", "lm", tmp_path / "a.jsonl", "--order", 1, "--no-lmplz", "-o", tmp_path / "m") == 0
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 11
    assert err[-1].startswith("12 records couldn't be read or scored")


def test_mistakes(tmp_path: Path, target: str, pool: str) -> None:
    with pytest.raises(ConfigError, match="--label FIELD, or --url-list FOLDER"):
        train_harmful_lm([target], tmp_path / "m", ReadOptions())
    with pytest.raises(ConfigError, match="--hash md5: fast or sha256"):
        features_from(2, 10, "md5", "wordpunct")
    assert tamis("train", "lm", target, "--harmful", "--label", "x", "--mode", "kenlm", "-o", tmp_path / "m") == 2
    assert tamis("train", "dsir", "--raw", pool, "--target", "a=x", "--target", "y", "-o", tmp_path / "m") == 2
    assert not (tmp_path / "m").exists()
