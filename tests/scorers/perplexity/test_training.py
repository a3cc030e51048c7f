"""Training into model folders."""

import json
import lzma
import stat
from pathlib import Path

import kenlm
import pyarrow as pa
import pytest

from tamis.schemas.errors import ConfigError, DataError, ModelError
from tamis.scorers.models.folder import read_model_folder, write_model_folder
from tamis.scorers.ngram.arpa import read_arpa
from tamis.scorers.perplexity.normalize import Normalizer
from tamis.scorers.perplexity.perplexity import NgramPerplexity
from tamis.scorers.perplexity.training import train_lm


@pytest.fixture(scope="module")
def corpus(golden: Path) -> str:
    return lzma.decompress((golden / "kenlm_train.txt.xz").read_bytes()).decode()


@pytest.fixture(scope="module")
def reference(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> kenlm.Model:
    path = tmp_path_factory.mktemp("lmplz") / "small5.arpa"
    path.write_bytes(lzma.decompress((golden / "kenlm_small5.arpa.xz").read_bytes()))
    return kenlm.Model(str(path))


UNSEEN = [
    "the old dog trains a clean corpus .",
    "zebra the the cat",
    "",
    "a web page removes tokens and says every model !",
]


def test_a_trained_model_scores_unseen_text_as_lmplz_does(corpus: str, reference: kenlm.Model, tmp_path: Path) -> None:
    trained = train_lm([corpus], tmp_path / "lm", order=5, normalizer="none", mode="kenlm", policy="lines")
    assert trained.documents == 1
    assert trained.details.sentences == 1601
    scores = NgramPerplexity(tmp_path / "lm", policy="document").score(UNSEEN).column(0).to_pylist()
    assert scores == pytest.approx([reference.score(text) for text in UNSEEN], abs=1e-5)
    library = kenlm.Model(str(trained.folder.file("lm.binary")))
    assert [library.score(text) for text in UNSEEN] == scores
    arpa = kenlm.Model(str(trained.folder.file("lm.arpa")))
    assert [arpa.score(text) for text in UNSEEN] == scores


def test_batches_strings_and_arrow_give_the_same_model(tmp_path: Path) -> None:
    texts = ["The cat sees the data.", "", "A dog likes\nclean text."] * 5
    digests = set()
    forms = {"strings": texts, "batches": [texts[:4], texts[4:]], "arrow": [pa.array(texts, pa.large_string())]}
    for name, form in forms.items():
        trained = train_lm(form, tmp_path / name, order=3)
        assert trained.documents == 15
        assert trained.details.sentences == 10  # an empty document is no sentence
        digests.add(trained.folder.digest)
    assert len(digests) == 1


def test_the_folder_tells_what_it_was_trained_with(tmp_path: Path) -> None:
    train_lm(
        ["One two.", "Two one."],
        tmp_path,
        order=2,
        normalizer="ccnet(case=false)",
        keep_arpa=False,
        provenance={"inputs": "two texts"},
        settings={"language": "en"},
    )
    content = json.loads((tmp_path / "model.json").read_text())
    assert content["kind"] == "ngram_lm"
    assert sorted(content["files"]) == ["lm.binary"]
    assert content["settings"] == {
        "model": "lm.binary",
        "order": 2,
        "normalizer": "ccnet/1(case=false)",
        "mode": "ccnet",
        "policy": "document",
        "tokenizer": None,
        "language": "en",
    }
    assert content["provenance"]["inputs"] == "two texts"
    assert content["provenance"]["documents"] == 2
    assert content["provenance"]["fallback"] == [1, 2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lm.binary", "model.json"]


def test_pieces_are_trained_with_the_model(corpus: str, tmp_path: Path) -> None:
    long = " ".join(corpus.splitlines()[:200])
    texts = [*corpus.splitlines(), long]
    first = train_lm(texts, tmp_path / "a", order=3, pieces=120)
    second = train_lm(texts, tmp_path / "b", order=3, pieces=120)
    assert first.folder.digest == second.folder.digest
    scorer = NgramPerplexity(tmp_path / "a")
    assert scorer.tokenizer is not None
    assert len(scorer.tokenizer.pieces()) == 120
    row = scorer.score(["the old cat removes a corpus"]).to_pylist()[0]
    assert row["quality_oov"] == 0
    again = train_lm(texts, tmp_path / "c", order=3, tokenizer=tmp_path / "a" / "tokenizer.model")
    assert again.folder.digest == first.folder.digest


def test_options_that_exclude_each_other(tmp_path: Path, golden: Path) -> None:
    with pytest.raises(ConfigError, match="not both"):
        train_lm(["a"], tmp_path, tokenizer=tmp_path, pieces=100)
    with pytest.raises(ConfigError, match="can't be trained on this text"):
        train_lm(["a"], tmp_path, pieces=1)
    with pytest.raises(DataError, match="no word"):
        train_lm([], tmp_path)
    with pytest.raises(DataError, match="discount_fallback"):
        train_lm(["a b"], tmp_path, discount_fallback=False)
    with pytest.raises(ModelError, match="isn't a model folder"):
        read_model_folder(tmp_path)


FAKE = """#!/bin/sh
while [ $# -gt 0 ]; do
  case "$1" in --text) text="$2";; --arpa) arpa="$2";; --discount_fallback) fallback=1;; esac
  shift
done
[ -n "$fallback" ] || { echo "BadDiscountException: too small" >&2; exit 1; }
cp "$text" "$FAKE_SEEN"
cp "$FAKE_ARPA" "$arpa"
"""


def test_lmplz_from_the_path(golden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match="no lmplz on the PATH"):
        train_lm(["a"], tmp_path / "lm", use_lmplz=True)
    program = tmp_path / "bin" / "lmplz"
    program.parent.mkdir()
    program.write_text(FAKE)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    (tmp_path / "hand3.arpa").write_bytes(lzma.decompress((golden / "kenlm_hand3.arpa.xz").read_bytes()))
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setenv("FAKE_ARPA", str(tmp_path / "hand3.arpa"))
    monkeypatch.setenv("FAKE_SEEN", str(tmp_path / "seen.txt"))
    trained = train_lm(["A b\nC", "", "B"], tmp_path / "lm", normalizer="ccnet-blanks", use_lmplz=True)
    assert trained.details.estimator == "lmplz"
    assert (tmp_path / "seen.txt").read_text() == "a b c\nb\n"
    expected = kenlm.Model(str(tmp_path / "hand3.arpa")).score("a b c")
    assert NgramPerplexity(tmp_path / "lm").score(["A\nB\nC"]).column(0).to_pylist() == [expected]
    with pytest.raises(DataError, match="BadDiscountException"):
        train_lm(["a"], tmp_path / "bad", use_lmplz=True, discount_fallback=False)
    small = train_lm(["a b c"], tmp_path / "small", order=2)  # lmplz is there, but the text is small
    assert small.details.estimator == "tamis"


def test_newlines_in_documents_separate_words(tmp_path: Path) -> None:
    train_lm(["x y\nz"] * 3, tmp_path, order=2, normalizer="none", mode="oscar")
    arpa = read_arpa(tmp_path / "lm.arpa")
    assert arpa.words.words() == [b"<unk>", b"<s>", b"</s>", b"x", b"y", b"z"]
    assert [3, 4] in arpa.orders[1].ids.tolist()
    assert [4, 5] in arpa.orders[1].ids.tolist()


def test_model_folders(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"1")
    written = write_model_folder(tmp_path, kind="thing", files=["data"], settings={"é": 1}, provenance={})
    found = read_model_folder(tmp_path, kind="thing")
    assert found == written
    assert found.file("data") == tmp_path / "data"
    with pytest.raises(ModelError, match="has no file 'other'"):
        found.file("other")
    with pytest.raises(ModelError, match="kind 'thing' where one of kind 'ngram_lm'"):
        read_model_folder(tmp_path, kind="ngram_lm")
    (tmp_path / "data").write_bytes(b"2")
    with pytest.raises(ModelError, match="isn't the file the model was made with"):
        read_model_folder(tmp_path)
    assert read_model_folder(tmp_path, verify=False) == written
    (tmp_path / "data").unlink()
    with pytest.raises(ModelError, match="is missing"):
        read_model_folder(tmp_path, verify=False)
    (tmp_path / "model.json").write_text("{")
    with pytest.raises(ModelError, match="can't be read"):
        read_model_folder(tmp_path)
    (tmp_path / "model.json").write_text('{"format": "tamis-model", "version": 99}')
    with pytest.raises(ModelError, match="version 1"):
        read_model_folder(tmp_path)


def test_the_digest_names_what_determines_scores(tmp_path: Path) -> None:
    a = train_lm(["a b c"], tmp_path / "a", order=2, provenance={"x": 1})
    b = train_lm(["a b c"], tmp_path / "b", order=2, provenance={"x": 2})
    c = train_lm(["a b c"], tmp_path / "c", order=2, normalizer=Normalizer(case=False))
    assert a.folder.digest == b.folder.digest != c.folder.digest
