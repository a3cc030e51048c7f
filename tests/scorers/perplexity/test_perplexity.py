"""Perplexity columns: reference values of the three conventions, odd texts, and pairings that are refused."""

import json
import lzma
import pickle
import re
import shutil
from pathlib import Path
from typing import Any

import duckdb
import kenlm
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.schemas.errors import ConfigError, ModelError
from tamis.scorers.base import Scorer
from tamis.scorers.ngram.arpa import read_arpa
from tamis.scorers.ngram.kenlm_binary import write_probing
from tamis.scorers.perplexity.normalize import Normalizer, ccnet
from tamis.scorers.perplexity.perplexity import NgramPerplexity
from tamis.scorers.perplexity.training import train_lm

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def files(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for name in ("kenlm_small5", "kenlm_small3", "kenlm_sp5"):
        write_probing(read_arpa(golden / f"{name}.arpa.xz"), folder / name)
    for name in ("sp_small.model", "kenlm_small3.trie", "kenlm_small3.arpa"):
        (folder / name).write_bytes(lzma.decompress((golden / f"{name}.xz").read_bytes()))
    return folder


@pytest.fixture(scope="module")
def documents(golden: Path) -> dict[str, Any]:
    return json.loads((golden / "kenlm_scores.json").read_text())["documents_kenlm_small5"]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAMIS_CACHE", str(tmp_path / "cache"))


def rows(scorer: NgramPerplexity, texts: Any) -> Rows:
    batch = scorer.score(texts)
    assert batch.schema == scorer.schema
    return [{key.removeprefix("quality_"): value for key, value in row.items()} for row in batch.to_pylist()]


@pytest.mark.parametrize(
    ("key", "options"),
    [
        ("whole_doc_normalized", {}),
        ("per_line_normalized", {"policy": "lines"}),
        ("ungoliant_style", {"mode": "oscar"}),
    ],
)
def test_golden_documents(files: Path, documents: dict[str, Any], key: str, options: dict[str, Any]) -> None:
    found = rows(NgramPerplexity(files / "kenlm_small5", **options), [case["text"] for case in documents.values()])
    expected = [case[key] for case in documents.values()]
    assert [row["log10_prob"] for row in found] == [case["log10"] for case in expected]
    assert [row["tokens"] for row in found] == [case["length"] for case in expected]
    assert [row["perplexity"] for row in found] == [case["pp"] for case in expected]


def test_golden_pieces(files: Path, golden: Path) -> None:
    cases = json.loads((golden / "ccnet_sp_kenlm.json").read_text())["cases"]
    scorer = NgramPerplexity(files / "kenlm_sp5", tokenizer=files / "sp_small.model")
    found = rows(scorer, [case["text"] for case in cases])
    assert [row["log10_prob"] for row in found] == [case.get("log10") for case in cases]
    assert [row["tokens"] for row in found] == [case.get("length", 0) for case in cases]
    assert [row["perplexity"] for row in found] == [case.get("pp_unrounded") for case in cases]
    assert [row["perplexity"] and round(row["perplexity"], 1) for row in found] == [
        case["perplexity"] for case in cases
    ]
    model = kenlm.Model(str(files / "kenlm_sp5"))
    unknown = [sum(word[2] for word in model.full_scores(" ".join(case.get("pieces", [])))) for case in cases]
    assert [row["oov"] for row in found] == unknown


TEXTS = st.text(st.sampled_from("theca .éÉ\n\r\t\x00\xa0\u3000\x1c中1Σ"), max_size=30)


@given(texts=st.lists(TEXTS, max_size=6))
def test_modes_do_what_their_references_do(files: Path, texts: list[str]) -> None:
    path = files / "kenlm_small5"
    model = kenlm.Model(str(path))
    for row, text in zip(rows(NgramPerplexity(path), texts), texts, strict=True):
        line = ccnet(text)
        if text:
            length = len(line.split()) + 1
            score = model.score(line)
            assert (row["log10_prob"], row["tokens"], row["perplexity"]) == (score, length, 10 ** (-score / length))
            assert row["oov"] == sum(word[2] for word in model.full_scores(line))
        else:
            assert row == {"log10_prob": None, "tokens": 0, "oov": 0, "perplexity": None}
    for row, text in zip(rows(NgramPerplexity(path, mode="oscar"), texts), texts, strict=True):
        # Rust splits at White_Space, which is what str.split splits at less U+001C to U+001F; NUL parts words too.
        words = text.replace("\x1c", "\ue000").replace("\x00", " ").split()
        score = model.score(" ".join(words))
        assert (row["log10_prob"], row["tokens"]) == (score, len(words) + 1)
        assert row["perplexity"] == pytest.approx(10 ** (-score / (len(words) + 1)), rel=1e-6)
    for row, text in zip(rows(NgramPerplexity(path, mode="kenlm"), texts), texts, strict=True):
        lines = text.replace("\x00", " ").split("\n")
        if not lines[-1]:
            lines.pop()
        length = sum(len(line.encode().split()) + 1 for line in lines)
        assert row["tokens"] == length
        if lines:
            assert row["log10_prob"] == sum(model.score(line) for line in lines)
            assert row["perplexity"] == 10 ** (-row["log10_prob"] / length)
        else:
            assert row["perplexity"] is None


@pytest.mark.parametrize("model", ["kenlm_small3", "kenlm_small3.trie", "kenlm_small3.arpa"])
@pytest.mark.parametrize("options", [{}, {"mode": "oscar"}, {"mode": "kenlm"}, {"mode": "kenlm", "policy": "document"}])
def test_every_form_of_a_model_scores_the_same(files: Path, model: str, options: dict[str, Any]) -> None:
    texts = ["", " \n", "The cat sees\nthe\xa0data .", "zzz qqq", "a\x00dog", None, "x\n\ny\n"]
    assert rows(NgramPerplexity(files / model, **options), texts) == rows(
        NgramPerplexity(files / "kenlm_small3", **options), texts
    )


def test_odd_texts(files: Path) -> None:
    scorer = NgramPerplexity(files / "kenlm_small5", mode="kenlm")
    empty, blank, unknown, null, nul, broken = rows(scorer, ["", "\n", "qqq zzz", None, "the\x00cat", "the cat"])
    assert empty == null == {"log10_prob": None, "tokens": 0, "oov": 0, "perplexity": None}
    assert (blank["tokens"], blank["oov"]) == (1, 0)
    assert (unknown["tokens"], unknown["oov"]) == (3, 2)
    assert np.isfinite(unknown["perplexity"])
    assert nul == broken
    nonblank = NgramPerplexity(files / "kenlm_small5", mode="kenlm", policy="nonblank_lines")
    assert [row["tokens"] for row in rows(nonblank, ["a\n\n \t\nb\n", "\n\n"])] == [4, 0]
    oscar = rows(NgramPerplexity(files / "kenlm_small5", mode="oscar"), [""])[0]
    assert oscar["perplexity"] == pytest.approx(784.96536, rel=1e-6)
    assert scorer.score([]).num_rows == 0
    assert scorer.score([]).schema == scorer.schema


def test_perplexity_can_be_recomputed_in_sql(files: Path) -> None:
    texts = ["The cat sees\nthe data .", "", "zzz", "a dog\n\n\n"]
    for mode in ("ccnet", "oscar", "kenlm"):
        for precision in ("library", "exact"):
            scorer = NgramPerplexity(files / "kenlm_small5", mode=mode, name="p", precision=precision)
            scores = pa.Table.from_batches([scorer.score(texts)])  # noqa: F841  # DuckDB reads it by name
            wrong = duckdb.sql(
                "SELECT count(*) FROM scores WHERE abs(p_perplexity / pow(10, -p_log10_prob / p_tokens) - 1) > 1e-6"
                " OR (p_perplexity IS NULL) <> (p_tokens = 0)"
            ).fetchall()
            assert wrong == [(0,)]


def test_batching_changes_nothing(files: Path) -> None:
    texts = ["The cat\nsees", "", "a dog likes clean text", "Ünïcödé ②", "the " * 3000]
    for options in ({}, {"mode": "oscar"}, {"policy": "lines"}, {"precision": "exact"}):
        scorer = NgramPerplexity(files / "kenlm_small5", **options)
        assert rows(scorer, texts) == [row for text in texts for row in rows(scorer, [text])]
    pieces = NgramPerplexity(files / "kenlm_sp5", tokenizer=files / "sp_small.model")
    assert rows(pieces, texts) == [row for text in texts for row in rows(pieces, [text])]


def test_pieces_with_unknown_characters_are_looked_up_by_their_text(files: Path) -> None:
    scorer = NgramPerplexity(files / "kenlm_sp5", tokenizer=files / "sp_small.model", normalizer="none")
    model = kenlm.Model(str(files / "kenlm_sp5"))
    from tamis.scorers.perplexity.sentence_pieces import PieceTokenizer

    texts = ["the cat 中文 x", "Ünïcödé wörds", "plain words", "\U0001f600", "a\u2028b"]
    joined = PieceTokenizer(files / "sp_small.model").joined(texts)
    assert [row["log10_prob"] for row in rows(scorer, texts)] == [model.score(text) for text in joined]
    assert [row["tokens"] for row in rows(scorer, texts)] == [len(text.split()) + 1 for text in joined]


def test_exact_sums_differ_little(files: Path) -> None:
    text = "a dog likes clean text near candor ? " * 5000
    library, exact = (
        rows(NgramPerplexity(files / "kenlm_small5", precision=precision), [text])[0]
        for precision in ("library", "exact")
    )
    assert library["log10_prob"] == kenlm.Model(str(files / "kenlm_small5")).score(ccnet(text))
    assert library["log10_prob"] != exact["log10_prob"]
    assert library["log10_prob"] == pytest.approx(exact["log10_prob"], rel=1e-3)


def test_scorers_pickle_by_reference(files: Path) -> None:
    scorer = NgramPerplexity(files / "kenlm_small5", mode="oscar", name="harmful")
    packed = pickle.dumps(scorer)
    assert len(packed) < 1000
    assert pickle.loads(packed).score(["the cat"]) == scorer.score(["the cat"])
    assert isinstance(scorer, Scorer)


def test_arpa_files_are_converted_once(files: Path, tmp_path: Path) -> None:
    NgramPerplexity(files / "kenlm_small3.arpa")
    (converted,) = (tmp_path / "cache" / "ngram").iterdir()
    before = converted.stat().st_ino
    NgramPerplexity(files / "kenlm_small3.arpa")
    assert converted.stat().st_ino == before


def test_a_cache_that_cannot_be_written_is_named(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TAMIS_CACHE", str(tmp_path / "file"))
    with pytest.raises(ModelError, match="name a writable one with TAMIS_CACHE"):
        NgramPerplexity(files / "kenlm_small3.arpa")


@pytest.mark.parametrize(
    ("model", "options", "says"),
    [
        ("kenlm_sp5", {}, "was trained on SentencePiece pieces"),
        ("kenlm_small5", {"tokenizer": "sp_small.model"}, "wasn't trained on the pieces of"),
        ("sp_small.model", {}, "neither an ARPA file"),
        ("missing", {}, "there is no model"),
        ("kenlm_sp5", {"tokenizer": "kenlm_sp5"}, "isn't a SentencePiece model"),
    ],
)
def test_wrong_pairs_and_files_are_refused(files: Path, model: str, options: dict[str, str], says: str) -> None:
    with pytest.raises(ModelError, match=re.escape(says)):
        NgramPerplexity(files / model, **{key: files / value for key, value in options.items()})


def test_a_normaliser_that_changes_the_models_words_is_refused(tmp_path: Path) -> None:
    cased = train_lm(["The Cat Sat on the Mat in 1984", "Élan Vital"], tmp_path / "cased", normalizer="none", order=2)
    path = cased.folder.file("lm.arpa")
    with pytest.raises(ModelError, match=r"wasn't trained on text normalised by ccnet/1 \(the mode's default\)"):
        NgramPerplexity(path)
    with pytest.raises(ModelError, match="normalised by ccnet/1:"):
        NgramPerplexity(path, normalizer="ccnet")
    NgramPerplexity(path, normalizer="none")
    NgramPerplexity(path, check=False)


@pytest.fixture
def trained(tmp_path: Path, files: Path) -> Path:
    texts = ["The cat sees the data.", "A dog likes clean text."] * 3
    train_lm(texts, tmp_path / "words", order=3)
    train_lm(texts, tmp_path / "pieces", order=3, tokenizer=files / "sp_small.model")
    return tmp_path


def test_a_model_folder_brings_what_it_was_trained_with(trained: Path, files: Path) -> None:
    words = NgramPerplexity(trained / "words")
    assert (words.normalizer, words.tokenizer, words.mode, words.policy) == (Normalizer(), None, "ccnet", "document")
    NgramPerplexity(trained / "words" / "model.json")
    NgramPerplexity(trained / "words", normalizer="ccnet/1", tokenizer="none")
    pieces = NgramPerplexity(trained / "pieces", tokenizer=files / "sp_small.model")
    assert pieces.tokenizer is not None
    assert rows(pieces, ["The cat sees the data."])[0]["tokens"] == 10


@pytest.mark.parametrize(
    ("model", "options", "says"),
    [
        (
            "words",
            {"normalizer": "none"},
            "was trained on text normalised by ccnet/1, so it can't be scored with the normaliser none/1",
        ),
        ("words", {"normalizer": "ccnet(case=false)"}, "with the normaliser ccnet/1(case=false)"),
        ("words", {"tokenizer": "sp_small.model"}, "was trained on words, so it can't be scored with the pieces of"),
        ("pieces", {"tokenizer": "none"}, "so it can't be scored with words"),
        ("pieces", {"tokenizer": "other.model"}, "so it can't be scored with the pieces of"),
    ],
)
def test_a_model_folder_refuses_another_pairing(
    trained: Path, files: Path, model: str, options: dict[str, str], says: str
) -> None:
    shutil.copy(files / "sp_small.model", trained / "sp_small.model")
    (trained / "other.model").write_bytes(b"something else")
    given = {key: trained / value if value.endswith(".model") else value for key, value in options.items()}
    with pytest.raises(ModelError, match=re.escape(says)):
        NgramPerplexity(trained / model, **given)


def test_a_changed_file_is_refused(trained: Path) -> None:
    with (trained / "words" / "lm.binary").open("ab") as file:
        file.write(b"x")
    with pytest.raises(ModelError, match="isn't the file the model was made with"):
        NgramPerplexity(trained / "words")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"mode": "dolma"}, "no perplexity mode 'dolma'"),
        ({"policy": "paragraphs"}, "no perplexity policy 'paragraphs'"),
        ({"precision": "double"}, "library or exact"),
    ],
)
def test_unknown_options_are_refused(files: Path, options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        NgramPerplexity(files / "kenlm_small5", **options)


def test_published_layout_finds_its_tokenizer(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    revision = "0123456789abcdef0123456789abcdef01234567"
    repo = tmp_path / "hub" / "models--edugp--kenlm"
    snapshot = repo / "snapshots" / revision / "wikipedia"
    snapshot.mkdir(parents=True)
    shutil.copy(files / "kenlm_sp5", snapshot / "en.arpa.bin")
    shutil.copy(files / "sp_small.model", snapshot / "en.sp.model")
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(revision)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    expected = rows(NgramPerplexity(files / "kenlm_sp5", tokenizer=files / "sp_small.model"), ["The cat"])
    for model in ("hf://edugp/kenlm/wikipedia/en.arpa.bin", str(snapshot / "en.arpa.bin")):
        scorer = NgramPerplexity(model)
        assert scorer.tokenizer is not None
        assert rows(scorer, ["The cat"]) == expected
    assert rows(NgramPerplexity(f"hf://edugp/kenlm@{revision}/wikipedia/en.arpa.bin"), ["The cat"]) == expected
    with pytest.raises(ModelError, match="the hub can't be reached"):
        NgramPerplexity("hf://edugp/kenlm/wikipedia/fr.arpa.bin")
    with pytest.raises(ModelError, match="the hub can't be reached"):
        NgramPerplexity("hf://oscar-corpus/harmful-kenlms/en.binary")
