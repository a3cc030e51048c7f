"""`label`: the best label as the model itself gives it, and what is kept by it."""

import random

import numpy as np
import pytest

from tamis.schemas.errors import ConfigError
from tamis.scorers.fasttext.model import FastTextModel
from tamis.scorers.fasttext.training import FastTextOptions, train_classifier
from tests.jobs.conftest import WORDS
from tests.jobs.finished_runs import digests, every_row
from tests.jobs.run.step_columns import columns_of, models_of, parsed

TOPICS = {"river": "water", "table": "home", "music": "art"}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A classifier of three topics."""
    folder = tmp_path_factory.mktemp("topics") / "model"
    draw = random.Random(5)
    texts, labels = [], []
    for word, topic in TOPICS.items():
        for _ in range(60):
            texts.append(" ".join(draw.choices([word, *WORDS[:6]], k=20)))
            labels.append(topic)
    train_classifier(texts, labels, folder, options=FastTextOptions(dim=4, bucket=2000, epoch=30), held_out=0)
    return str(folder)


TEXTS = ["river the river", "  table of music table\nmusic table ", "music", "river\nstone", "", "zzzz"]


def twin(model, texts):
    """The best label of each text by itself."""
    found = FastTextModel(model)
    rows = []
    for text in texts:
        labels, scores = found.predict([text.strip()], k=-1)
        best = max(range(len(labels[0])), key=lambda i: scores[0][i], default=None)
        rows.append((None, 0.0) if best is None else (labels[0][best].removeprefix("__label__"), scores[0][best]))
    return rows


def test_best_label_and_its_probability(model):
    rows = columns_of(parsed("label", model=model), text=TEXTS)
    assert [(row["label"], row["label_score"]) for row in rows] == twin(model, TEXTS)
    assert rows[0]["label"] == "water"
    assert rows[2]["label"] == "art"


def test_name_prefix_and_newline(model):
    rows = columns_of(parsed("label", model=model, name="topic", prefix=5), text=TEXTS)
    assert [(row["topic"], row["topic_score"]) for row in rows] == twin(model, [text.strip()[:5] for text in TEXTS])
    glued = columns_of(parsed("label", model=model, newline="glue"), text=TEXTS)
    fused = [text.strip().replace("\n", "") for text in TEXTS]
    assert [row["label_score"] for row in glued] == [score for _, score in twin(model, fused)]
    plain = columns_of(parsed("label", model=model), text=TEXTS)
    assert glued[3] != plain[3]


@pytest.mark.parametrize("options", [{"keep": ["water", "art"]}, {"drop": ["home"]}, {"min_score": 0.5}, {}])
def test_what_is_kept(config_of, run, tmp_path, model, options):
    step = {"label": {"model": model, "name": "topic", **options}}
    manifest = run(config_of(step))
    rows = every_row(manifest, tmp_path / "run")
    labels = twin(model, [row["text"] for row in rows])
    assert [(row["topic"], row["topic_score"]) for row in rows] == labels
    for row, (label, score) in zip(rows, labels, strict=True):
        kept = label in options.get("keep", TOPICS.values()) and label not in options.get("drop", [])
        sure = score >= options.get("min_score", 0)
        assert (row["fate"] == "selected") == (kept and sure)
        if row["fate"] == "rejected":
            assert (row["step"], row["rule"]) == ("label.topic", "topic" if not kept else "topic_score_min")
            assert row["value"] == np.float32(score)
    assert {row["fate"] for row in rows} == ({"selected", "rejected"} if options else {"selected"})
    if "min_score" in options:
        assert digests(run(config_of(step), "two", workers=2)) == digests(manifest)


def test_a_changed_decision_labels_nothing_again(config_of, run, tmp_path, model):
    def columns():
        return {p: p.stat().st_mtime_ns for p in (tmp_path / "run" / "work").glob("*label-columns-*/*.arrow")}

    run(config_of({"label": {"model": model}}))
    before = columns()
    run(config_of({"label": {"model": model, "keep": ["art"], "min_score": 0.4}}))
    assert columns() == before != {}


def test_mistakes(model):
    with pytest.raises(ConfigError, match="either `keep` or `drop`"):
        parsed("label", model=model, keep=["art"], drop=["home"])
    with pytest.raises(ConfigError, match="keep"):
        parsed("label", model=model, keep=[])
    step = parsed("label", model=model, drop=["watr"])
    with pytest.raises(ConfigError, match="drop: the model has no label 'watr'; it has 3, such as water"):
        step.check(models_of(step), {})
