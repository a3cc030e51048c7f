import json

import fasttext
import numpy as np
import pyarrow as pa
import pytest

from tamis.schemas.errors import ConfigError, DataError, ModelError
from tamis.scorers.base import Scorer
from tamis.scorers.fasttext.label_score import LabelScorer
from tamis.scorers.fasttext.model import FastTextModel
from tamis.scorers.fasttext.training import FastTextOptions, train_classifier
from tamis.scorers.preselect.train import train_preselect

SMALL = FastTextOptions(dim=8, bucket=2000, epoch=5, lr=0.5)


def documents(n, seed=0):
    rng = np.random.default_rng(seed)
    good, bad, common = (np.array([f"{stem}{i}" for i in range(40)]) for stem in ("proof", "deal", "the"))
    for i in range(n):
        words = np.concatenate([rng.choice(common, 15), rng.choice(good if i % 2 else bad, 6)])
        rng.shuffle(words)
        yield ("good" if i % 2 else "bad"), "\n".join(" ".join(line) for line in words.reshape(3, 7))


@pytest.fixture(scope="module")
def data():
    labels, texts = zip(*documents(600), strict=True)
    return list(labels), list(texts)


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    labels, texts = data
    report = train_classifier(texts, labels, folder, options=SMALL, provenance={"source": "made up"})
    return folder, report


def test_report(trained, data):
    folder, report = trained
    assert sorted(path.name for path in folder.iterdir()) == ["model.bin", "training.json"]
    assert json.loads((folder / "training.json").read_text())["sha256"] == report.sha256
    assert report.labels == {"__label__bad": 300, "__label__good": 300}
    assert report.trained + report.held_out == 600
    assert 30 < report.held_out < 100
    assert report.accuracy is not None
    assert report.accuracy > 0.95
    assert sum(sum(row.values()) for row in report.confusion.values()) == report.held_out
    assert report.provenance == {"source": "made up"}
    assert report.options["word_ngrams"] == 2


def test_defaults_are_those_of_the_paper():
    options = FastTextOptions()
    assert (options.epoch, options.lr, options.word_ngrams) == (3, 0.1, 2)
    assert (options.dim, options.bucket, options.loss, options.thread) == (100, 2_000_000, "softmax", 1)


def test_same_model_whatever_the_order(trained, data, tmp_path):
    labels, texts = data
    order = np.random.default_rng(5).permutation(len(texts))
    again = train_classifier(
        pa.array([texts[i] for i in order]), ["__label__" + labels[i] for i in order], tmp_path, options=SMALL
    )
    assert again.sha256 == trained[1].sha256
    assert (tmp_path / "model.bin").read_bytes() == (trained[0] / "model.bin").read_bytes()
    other = train_classifier(texts, labels, tmp_path, options=FastTextOptions(dim=8, bucket=2000, seed=1))
    assert other.sha256 != again.sha256


def test_equal_texts_are_held_out_together(data, tmp_path):
    labels, texts = data
    report = train_classifier(texts * 3, labels * 3, tmp_path, options=SMALL)
    once = train_classifier(texts, labels, tmp_path, options=SMALL)
    assert report.held_out == 3 * once.held_out


def test_nothing_held_out(data, tmp_path):
    labels, texts = data
    report = train_classifier(texts, labels, tmp_path, options=SMALL, held_out=0)
    assert (report.trained, report.held_out, report.accuracy, report.confusion) == (600, 0, None, {})


def test_labels_inside_texts_are_no_labels(data, tmp_path):
    labels, texts = data
    plain = train_classifier(texts, labels, tmp_path / "a", options=SMALL, held_out=0)
    library = fasttext.load_model(str(tmp_path / "a" / "model.bin"))
    marked = [f"{text}\n__label__other __label__good word" for text in texts]
    train_classifier(marked, labels, tmp_path / "b", options=SMALL, held_out=0)
    assert sorted(FastTextModel(tmp_path / "b").labels) == sorted(library.get_labels()) == sorted(plain.labels)


def test_scorer(trained):
    scorer = LabelScorer(trained[0], label="good", name="quality")
    assert isinstance(scorer, Scorer)
    texts = [text for _, text in documents(40, seed=9)]
    batch = scorer.score(["\u00a0" + text + "\n\n" for text in texts])
    assert batch.schema.equals(scorer.schema)
    assert batch.schema.names == ["quality_score", "quality_tokens"]
    library = fasttext.load_model(str(trained[0] / "model.bin"))
    expected = [dict(zip(*library.predict(text.replace("\n", " "), k=-1), strict=True)) for text in texts]
    np.testing.assert_allclose(
        batch.column(0).to_numpy(), [row["__label__good"] for row in expected], rtol=0, atol=2e-6
    )
    glued = LabelScorer(trained[0], label="good", newline="glue").score(texts).column("preselect_score")
    expected = [dict(zip(*library.predict(text.replace("\n", ""), k=-1), strict=True)) for text in texts]
    np.testing.assert_allclose(glued.to_numpy(), [row["__label__good"] for row in expected], rtol=0, atol=2e-6)
    assert scorer.score([]).num_rows == 0


def test_scorer_checks_at_once(trained, tmp_path):
    with pytest.raises(ConfigError, match="has no label"):
        LabelScorer(trained[0], label="1")
    with pytest.raises(ConfigError, match="newline is"):
        LabelScorer(trained[0], label="good", newline="none")
    with pytest.raises(ModelError, match=r"model\.bin"):
        LabelScorer(tmp_path)


@pytest.mark.parametrize(
    ("texts", "labels", "options", "held_out", "error", "message"),
    [
        (["a", "b"], ["x"], SMALL, 0, DataError, "1 labels were given for 2"),
        (["a", "b"], ["x", "x"], SMALL, 0, DataError, "at least two labels"),
        (["a", "b"], ["x", "y z"], SMALL, 0, DataError, "'y z' is empty or holds"),
        (["a", "b"], ["x", ""], SMALL, 0, DataError, "'' is empty"),
        (["a", "b"], ["x", "y"], SMALL, 1, ConfigError, "held_out"),
        (["a", "b"], ["x", "y"], SMALL, 0.999999, DataError, "is left to train on"),
        (["a", "b"], ["x", "y"], FastTextOptions(dim=8, bucket=100, min_count=9), 0, DataError, "can't train"),
    ],
)
def test_wrong_input(tmp_path, texts, labels, options, held_out, error, message):
    with pytest.raises(error, match=message):
        train_classifier(texts, labels, tmp_path, options=options, held_out=held_out)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "wrong", [{"dim": 0}, {"epoch": -1}, {"lr": 0.0}, {"minn": 3}, {"seed": -1}, {"loss": "huber"}]
)
def test_wrong_options(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        FastTextOptions(**wrong)


def test_library_that_only_predicts(monkeypatch, tmp_path):
    monkeypatch.delattr(fasttext, "train_supervised")
    with pytest.raises(ConfigError, match="fasttext-predict"):
        train_classifier(["a", "b"], ["x", "y"], tmp_path, options=SMALL, held_out=0)


def test_preselect_finds_the_documents_that_predict(tmp_path):
    labels, texts = zip(*documents(400), strict=True)
    rng = np.random.default_rng(2)
    benchmark = [60.0, 65.0, 70.0, 80.0]
    falling = np.array([4.0, 3.0, 2.0, 1.0])
    losses = np.array([falling if label == "good" else rng.permutation(falling) for label in labels])
    losses[0] = np.nan
    report = train_preselect(texts, losses, benchmark, tmp_path, options=SMALL, provenance={"run": 1})
    assert set(report.labels) == {"__label__1", "__label__0"}
    assert report.labels["__label__1"] == report.labels["__label__0"]
    assert report.provenance["run"] == 1
    assert report.provenance["predictive_strength"]["documents"] == 400
    assert report.provenance["predictive_strength"]["strongest_negative"] < 1
    fresh_labels, fresh = zip(*documents(200, seed=7), strict=True)
    scores = LabelScorer(tmp_path).score(fresh).column("preselect_score").to_numpy()
    good = np.array([label == "good" for label in fresh_labels])
    assert scores[good].mean() > 0.7 > 0.3 > scores[~good].mean()
    with pytest.raises(DataError, match="losses of 400 documents"):
        train_preselect(texts[1:], losses, benchmark, tmp_path, options=SMALL)


def test_a_folder_names_its_only_model(trained, tmp_path):
    """Published classifiers lie in a repository under a name of their own."""
    (tmp_path / "README.md").touch()
    (tmp_path / "PreSelect-classifier.bin").write_bytes((trained[0] / "model.bin").read_bytes())
    assert LabelScorer(tmp_path, label="good").score(["some text"]).num_rows == 1
    (tmp_path / "other.ftz").touch()
    with pytest.raises(ModelError, match=r"several models \(PreSelect-classifier\.bin, other\.ftz\)"):
        LabelScorer(tmp_path, label="good")
