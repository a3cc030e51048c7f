"""Ratios of two models' likelihoods, models of harmful and clean text trained together, the area under the curve."""

import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.schemas.errors import ConfigError, DataError, ModelError
from tamis.scorers.models.folder import read_model_folder
from tamis.scorers.perplexity.calibration import auc, evaluate
from tamis.scorers.perplexity.harmful import LabelledDocuments, train_harmful
from tamis.scorers.perplexity.perplexity import NgramPerplexity
from tamis.scorers.perplexity.ratio import LikelihoodRatio
from tamis.scorers.perplexity.training import train_lm, train_tokenizer
from tamis.scorers.testing import check_scorer

SHARED = [f"s{i}" for i in range(40)]
OWN = {True: [f"h{i}" for i in range(20)], False: [f"c{i}" for i in range(100)]}


def labelled(count: int = 600, groups: int = 60) -> LabelledDocuments:
    """Harmful and clean documents of mostly shared words; both have long lists of one word, easy for any model."""
    draw = random.Random(3)
    texts, harmful, names = [], [], []
    for i in range(count):
        bad = i % 3 == 0
        words = [draw.choice(OWN[bad] if draw.random() < 0.15 else SHARED) for _ in range(draw.randint(10, 50))]
        words += [draw.choice(SHARED[:2])] * draw.choice((0, 40))
        texts.append(" ".join(words))
        harmful.append(bad)
        names.append(f"g{i % groups}")
    return LabelledDocuments(texts, np.array(harmful), names)


SCORES = st.lists(st.tuples(st.sampled_from([1.0, 2.0, 3.0, 5.0, np.nan, np.inf]), st.booleans()), max_size=12)


@given(SCORES)
def test_auc_counts_pairs(pairs: list[tuple[float, bool]]) -> None:
    low = [math.inf if math.isnan(value) else value for value, harmful in pairs if harmful]
    high = [math.inf if math.isnan(value) else value for value, harmful in pairs if not harmful]
    found = auc([value for value, _ in pairs], [harmful for _, harmful in pairs])
    if not low or not high:
        assert math.isnan(found)
        return
    wins = sum((a < b) + (a == b) / 2 for a in low for b in high)
    assert found == pytest.approx(wins / (len(low) * len(high)))
    assert evaluate([v for v, _ in pairs], [h for _, h in pairs], 2).auc == found


def scorers(folder: Path, **options: Any) -> tuple[NgramPerplexity, NgramPerplexity]:
    documents = labelled(90)
    for name, kind in (("bad", True), ("good", False)):
        texts = [text for text, harmful in zip(documents.texts, documents.harmful, strict=True) if harmful == kind]
        train_lm(texts, folder / name, order=3, use_lmplz=False, **options)
    return NgramPerplexity(folder / "bad", name="harmful"), NgramPerplexity(folder / "good", name="x")


def test_the_ratio_is_that_of_the_parts(tmp_path: Path) -> None:
    bad, good = scorers(tmp_path, mode="oscar", normalizer="none")
    ratio = LikelihoodRatio(bad, good, name="harmful")
    texts = ["h1 h2 s1 s2", "c1 c2 s1 s2", "", "unheard of words\nin lines", None, "s1"]
    rows = check_scorer(ratio, texts, picklable=False).to_pylist()
    for row, text in zip(rows, texts, strict=True):
        mine, other = (model.score([text]).to_pylist()[0] for model in (bad, good))
        assert {name: row[name] for name in mine} == mine
        assert row["harmful_against_log10_prob"] == other["x_log10_prob"]
        wanted = (mine["harmful_log10_prob"] - other["x_log10_prob"]) * math.log(10) / mine["harmful_tokens"]
        assert row["harmful_log_ratio"] == pytest.approx(wanted, rel=1e-12)
    assert rows[0]["harmful_log_ratio"] > rows[1]["harmful_log_ratio"]


def test_nothing_to_score_has_no_ratio(tmp_path: Path) -> None:
    ratio = LikelihoodRatio(*scorers(tmp_path), name="harmful")
    got = ratio.score(pa.array(["", "s1", None])).column("harmful_log_ratio").to_pylist()
    assert got[0] is got[2] is None
    assert got[1] is not None


def test_models_that_read_other_tokens_are_refused(tmp_path: Path) -> None:
    texts = labelled(90).texts
    for name, options in (
        ("words", {}), ("raw", {"normalizer": "none"}), ("lines", {"policy": "lines"}), ("oscar", {"mode": "oscar"}),
        ("pieces", {"pieces": 60}),
    ):  # fmt: skip
        train_lm(texts, tmp_path / name, order=2, use_lmplz=False, **options)
    train_lm([text[::-1] for text in texts], tmp_path / "others", order=2, pieces=60, use_lmplz=False)
    for other, what in (("raw", "normalizer"), ("lines", "policy"), ("oscar", "mode"), ("pieces", "tokenizers")):
        with pytest.raises(ModelError, match=what):
            LikelihoodRatio(NgramPerplexity(tmp_path / "words"), NgramPerplexity(tmp_path / other))
    with pytest.raises(ModelError, match="different tokenizers"):
        LikelihoodRatio(NgramPerplexity(tmp_path / "pieces"), NgramPerplexity(tmp_path / "others"))


@pytest.mark.parametrize("pieces", [0, None, 150])
def test_contrast_is_calibrated_on_the_ratio_and_better(tmp_path: Path, pieces: int | None) -> None:
    documents = labelled()
    options: dict[str, Any] = {"validation": 0.3, "test": 0.3, "use_lmplz": False}
    alone = train_harmful(documents, tmp_path / "alone", **options)
    found = train_harmful(documents, tmp_path / "both", contrast=True, pieces=pieces, **options)
    assert found.test is not None
    assert alone.test is not None
    assert found.test.auc > 0.9 > alone.test.auc
    folder, clean = read_model_folder(tmp_path / "both"), read_model_folder(tmp_path / "both" / "clean")
    assert folder.settings["harmful"] == "above"
    assert folder.settings["threshold"] == found.threshold
    assert folder.settings["contrast"] == clean.digest
    assert (folder.settings["order"], alone.folder.settings["order"]) == (3, 5)
    assert clean.settings["order"] == 3
    if pieces != 0:
        assert folder.files["tokenizer.model"] == clean.files["tokenizer.model"]
    else:
        assert "tokenizer.model" not in folder.files
    assert "perplexity.svg" in folder.files
    scorer = LikelihoodRatio(NgramPerplexity(tmp_path / "both"), NgramPerplexity(tmp_path / "both" / "clean"))
    bad, good = scorer.score(["h1 h2 s1 h3 h4", "c1 c2 c3 s1 c9"]).column("quality_log_ratio").to_pylist()
    assert bad > found.threshold > good
    said = dict.fromkeys(sorted(set(documents.groups)), "train") | {"g0": "validation", "g1": "validation"}
    named = train_harmful(documents, tmp_path / "named", splits=said, contrast=True, order=2, use_lmplz=False)
    assert named.documents["validation"] == (10, 10)
    assert named.test is None


def test_default_pieces_have_room_for_each_character(tmp_path: Path) -> None:
    draw = random.Random(1)
    letters = [chr(0x4E00 + i) for i in range(3000)]
    texts = ["".join(draw.choices(letters[i % 2 :: 2], k=200)) for i in range(400)]
    documents = LabelledDocuments(texts, np.arange(400) % 2 == 0, [f"g{i}" for i in range(400)])
    options: dict[str, Any] = {"validation": 0.2, "test": 0.2, "contrast": True, "order": 1, "use_lmplz": False}
    found = train_harmful(documents, tmp_path / "m", **options)
    assert found.test is not None
    assert found.test.auc > 0.99
    with pytest.raises(ConfigError, match="2,000 pieces can't be trained"):
        train_harmful(documents, tmp_path / "n", pieces=2000, **options)


def test_what_a_contrast_lacks_is_said(tmp_path: Path) -> None:
    documents = labelled(60, groups=3)
    splits = {"g0": "train", "g1": "validation", "g2": "validation"}
    with pytest.raises(DataError, match="no document in the training groups is clean, so nothing can be learned"):
        train_harmful(documents, tmp_path / "a", splits=splits, contrast=True)
    with pytest.raises(DataError, match=r"there are 3 groups.*--validation, --test or --seed.*--splits"):
        train_harmful(documents, tmp_path / "a", splits={"g0": "train"})
    one = LabelledDocuments(documents.texts, documents.harmful, ["all"] * 60)
    with pytest.raises(DataError, match="there is 1 group"):
        train_harmful(one, tmp_path / "a", validation=0.01, test=0.01)
    options: dict[str, Any] = {"pieces": 30, "tokenizer": tmp_path / "t.model", "contrast": True}
    with pytest.raises(ConfigError, match="not both"):
        train_harmful(labelled(), tmp_path / "a", validation=0.3, test=0.3, **options)


def test_a_shared_tokenizer_is_trained_as_one_of_ones_own(tmp_path: Path) -> None:
    texts = labelled(90).texts
    train_tokenizer(texts, tmp_path / "shared.model", pieces=100)
    train_lm(texts, tmp_path / "own", order=2, pieces=100, use_lmplz=False)
    assert (tmp_path / "shared.model").read_bytes() == (tmp_path / "own" / "tokenizer.model").read_bytes()
    train_lm(texts, tmp_path / "given", order=2, tokenizer=tmp_path / "shared.model", use_lmplz=False)
    assert (tmp_path / "given" / "lm.binary").read_bytes() == (tmp_path / "own" / "lm.binary").read_bytes()
