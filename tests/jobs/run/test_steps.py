"""Steps that decide over the whole corpus, in real runs, against the same decision made over all rows at once."""

import json
import random

import numpy as np
import pytest

from tamis.jobs.manifest.verify import verify
from tamis.pipeline.steps.registry import parse_step
from tamis.schemas.errors import ConfigError, ModelError
from tamis.scorers.dsir.sampling import DsirSampling
from tamis.scorers.fasttext.training import FastTextOptions, train_classifier
from tamis.scorers.perplexity.harmful import LabelledDocuments, train_harmful
from tamis.scorers.perplexity.training import train_lm
from tamis.scorers.selection.order_statistics import Partial
from tamis.scorers.selection.selection import TopFraction
from tests.jobs.conftest import WORDS, sentence
from tests.jobs.finished_runs import digests, every_row


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A language model, a classifier, and two target files."""
    folder = tmp_path_factory.mktemp("models")
    draw = random.Random(5)
    texts = [" ".join(sentence(draw) for _ in range(6)) for _ in range(60)]
    train_lm(texts, folder / "lm", order=3, use_lmplz=False)
    labels = ["1" if "river" in text else "0" for text in texts]
    train_classifier(texts, labels, folder / "classifier", options=FastTextOptions(dim=4, bucket=2000), held_out=0)
    for name, words in (("water", ["river", "stone", "bright"]), ("home", ["table", "paper", "letter"])):
        lines = [json.dumps({"text": " ".join(draw.choices(words + WORDS[:4], k=60))}) for _ in range(20)]
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    return folder


def test_percentiles_of_each_source(config_of, run, tmp_path, models):
    step = {"perplexity": {"model": str(models / "lm"), "keep": {"percentile": [10, 60], "by": ["source"]}}}
    manifest = run(config_of(step))
    rows = every_row(manifest, tmp_path / "run")
    for source in ("web", "books"):
        mine = [row for row in rows if row["source"] == source]
        values = np.array([row["quality_perplexity"] for row in mine])
        low, high = np.percentile(values, [10, 60])
        expected = (values >= low) & (values <= high)
        assert [row["fate"] == "selected" for row in mine] == expected.tolist()
        assert manifest.steps[1].thresholds["quality_perplexity_percentile"][source] == [low, high]
        for row, value in zip(mine, values, strict=True):
            if row["fate"] == "rejected":
                assert (row["step"], row["rule"]) == ("perplexity.quality", "quality_perplexity_percentile")
                assert row["value"] == value
                assert row["threshold"] == (low if value < low else high)


def test_bounds_and_buckets(config_of, run, tmp_path, models):
    options = {"model": str(models / "lm"), "name": "lm", "bucket": "corpus"}
    rows = every_row(run(config_of({"perplexity": options})), tmp_path / "run")
    limit = float(np.median([row["lm_perplexity"] for row in rows]))
    rows = every_row(run(config_of({"perplexity": options | {"keep": {"max": limit}}})), tmp_path / "run")
    assert {row["fate"] for row in rows} == {"selected", "rejected"}
    for row in rows:
        assert (row["fate"] == "selected") == (row["lm_perplexity"] <= limit)
    for source in ("web", "books"):
        alive = [row for row in rows if row["source"] == source and row["fate"] == "selected"]
        low, high = np.percentile([row["lm_perplexity"] for row in alive], [30, 60])
        for row in alive:
            value = row["lm_perplexity"]
            assert row["lm_bucket"] == ("head" if value < low else "middle" if value < high else "tail")
    assert all(row["lm_bucket"] is None for row in rows if row["fate"] == "rejected")


@pytest.mark.parametrize("of", ["documents", "characters", "bytes", "tokens"])
def test_best_share_by_each_measure(config_of, run, tmp_path, models, of):
    step = {"preselect": {"model": str(models / "classifier"), "keep": {"fraction": 0.3, "of": of}}}
    manifest = run(config_of(step))
    rows = every_row(manifest, tmp_path / "run")
    weights = {
        "documents": [1 for _ in rows],
        "characters": [len(row["text"]) for row in rows],
        "bytes": [len(row["text"].encode()) for row in rows],
        "tokens": [row["preselect_tokens"] for row in rows],
    }[of]
    order = sorted(range(len(rows)), key=lambda i: (-rows[i]["preselect_score"], rows[i]["doc_id"]))
    if of == "documents":
        kept = set(order[: int(0.3 * len(rows))])
    else:
        kept, total = set(), 0
        for i in order:
            kept.add(i)
            total += weights[i]
            if total > 0.3 * sum(weights):
                break
    assert {i for i, row in enumerate(rows) if row["fate"] == "selected"} == kept


def test_dsir_draws_exactly_so_many_the_same_every_time(config_of, run, tmp_path, models):
    step = {"dsir": {"target": str(models / "water.jsonl"), "min_tokens": 20, "keep": {"fraction": 0.4}}}
    manifest = run(config_of(step), "a")
    rows = every_row(manifest, tmp_path / "a")
    long = [row for row in rows if row["dsir_tokens"] >= 20]
    assert manifest.selected == int(0.4 * len(long))
    weights = np.array([row["dsir_log_weight"] for row in rows])
    ids, tokens = [row["doc_id"] for row in rows], np.array([row["dsir_tokens"] for row in rows])
    sampling = DsirSampling(TopFraction(0.4), seed=3, min_tokens=20)
    while (task := sampling.next_pass()) is not None:
        sampling.advance(Partial.merge([task.accumulate(weights, ids, tokens)]))
    chosen = sampling.decision().choose(weights, ids, tokens) >= 0
    assert [row["fate"] == "selected" for row in rows] == chosen.tolist()
    assert {row["rule"] for row in rows if row["fate"] == "rejected"} == {"dsir_tokens_min", "dsir_log_weight_fraction"}
    assert manifest.steps[1].metrics["kl_reduction"] > 0
    assert digests(run(config_of(step), "b", workers=2)) == digests(manifest)
    assert digests(run(config_of(step, seed=4), "c")) != digests(manifest)


def test_dsir_draws_from_each_group_alone(config_of, run, tmp_path, models):
    options = {"target": str(models / "water.jsonl"), "min_tokens": 20}
    keep = {"fraction": 0.4, "by": ["source"]}
    manifest = run(config_of({"dsir": {**options, "keep": keep}}), "a")
    rows = every_row(manifest, tmp_path / "a")
    for source in ("web", "books"):
        mine = [row for row in rows if row["source"] == source]
        long = [row for row in mine if row["dsir_tokens"] >= 20]
        assert sum(row["fate"] == "selected" for row in mine) == int(0.4 * len(long))
        threshold = manifest.steps[1].thresholds["dsir_log_weight_fraction"][source]
        fell = [row for row in mine if row.get("rule") == "dsir_log_weight_fraction"]
        assert {row["threshold"] for row in fell} == {threshold}
        assert all(row["value"] <= threshold for row in fell)
    assert digests(run(config_of({"dsir": {**options, "keep": keep}}), "b", workers=2)) == digests(manifest)
    documents = {"documents": 5, "by": ["source"]}
    drawn = every_row(run(config_of({"dsir": {**options, "keep": documents}}), "c"), tmp_path / "c")
    assert sorted(row["source"] for row in drawn if row["fate"] == "selected") == ["books"] * 5 + ["web"] * 5
    with pytest.raises(ConfigError, match="`by` groups for one target alone"):
        parse_step({"dsir": {"target": {"a": "x", "b": "y"}, "keep": keep}}, "steps[0]")


def test_the_best_of_each_group(config_of, run, tmp_path, models):
    keep = {"fraction": 0.25, "by": ["source"], "of": "bytes"}
    step = {"preselect": {"model": str(models / "classifier"), "keep": keep}}
    rows = every_row(run(config_of(step)), tmp_path / "run")
    for source in ("web", "books"):
        mine = [row for row in rows if row["source"] == source]
        order = sorted(mine, key=lambda row: (-row["preselect_score"], row["doc_id"]))
        size = sum(len(row["text"].encode()) for row in mine)
        kept = [row["doc_id"] for row in order if row["fate"] == "selected"]
        assert kept == [row["doc_id"] for row in order[: len(kept)]]
        taken = sum(len(row["text"].encode()) for row in order[: len(kept)])
        last = len(order[len(kept) - 1]["text"].encode())
        assert taken > 0.25 * size >= taken - last


def test_length_enters_dsirs_weights_as_asked(config_of, run, tmp_path, models):
    def scored(folder, **options):
        step = {"dsir": {"target": str(models / "water.jsonl"), "min_tokens": 20, **options}}
        return run(config_of(step), folder), every_row(run(config_of(step), folder), tmp_path / folder)

    (_, none), (chunk, scaled), (token, means) = (
        scored(name, normalise=name, keep={"fraction": 0.5}) for name in ("none", "chunk", "token")
    )
    for whole, part, mean in zip(none, scaled, means, strict=True):
        tokens = max(whole["dsir_tokens"], 1)
        assert part["dsir_log_weight"] == pytest.approx(whole["dsir_log_weight"] * min(1, 128 / tokens))
        assert mean["dsir_log_weight"] == pytest.approx(whole["dsir_log_weight"] / tokens)
    assert not chunk.warnings
    assert any("the draw is near random" in warning for warning in token.warnings)
    assert not scored("top", normalise="token", top_k=True, keep={"fraction": 0.5})[0].warnings
    assert [row["dsir_log_weight"] for row in scored("default")[1]] == [row["dsir_log_weight"] for row in scaled]
    reference = parse_step({"dsir": {"model": "m", "normalise": "reference"}}, "steps[0]")
    assert reference == parse_step({"dsir": {"model": "m", "normalise": "none"}}, "steps[0]")
    assert parse_step({"dsir": {"model": "m", "normalise": "token", "keep": {"fraction": 0.5}}}, "steps[0]").notes([])


def test_dsir_with_two_targets_takes_no_document_twice(config_of, run, tmp_path, models):
    targets = {"water": str(models / "water.jsonl"), "home": str(models / "home.jsonl")}
    step = {
        "dsir": {
            "target": targets,
            "proportions": {"water": 0.75, "home": 0.25},
            "min_tokens": 0,
            "keep": {"documents": 80},
        }
    }
    manifest = run(config_of(step))
    rows = every_row(manifest, tmp_path / "run")
    drawn = [row["dsir_target"] for row in rows if row["fate"] == "selected"]
    assert (drawn.count("water"), drawn.count("home")) == (60, 20)
    assert all(row["dsir_target"] is None for row in rows if row["fate"] == "rejected")


def test_more_asked_for_than_there_are_is_a_warning(config_of, run, models):
    step = {"dsir": {"target": str(models / "water.jsonl"), "min_tokens": 0, "keep": {"documents": 10_000}}}
    manifest = run(config_of(step))
    assert manifest.selected == 400
    assert any("only 400" in warning for warning in manifest.warnings)


def test_a_changed_share_scores_nothing_again(config_of, run, tmp_path, models):
    def step(share):
        return {"preselect": {"model": str(models / "classifier"), "keep": {"fraction": share}}}

    run(config_of(step(0.3)))
    columns = list((tmp_path / "run" / "work").glob("*preselect-columns-*/*.arrow"))
    before = {path: path.stat().st_mtime_ns for path in columns}
    manifest = run(config_of(step(0.5)))
    assert manifest.selected == 200
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert len(list((tmp_path / "run" / "work").glob("*preselect-columns-*"))) == 1


def test_steps_in_a_row_see_what_is_left(config_of, run, tmp_path, models):
    manifest = run(
        config_of(
            {"perplexity": {"model": str(models / "lm"), "keep": {"fraction": 0.5}}},
            {"preselect": {"model": str(models / "classifier"), "keep": {"documents": 50}}},
        )
    )
    rows = every_row(manifest, tmp_path / "run")
    assert manifest.selected == 50
    best = sorted(rows, key=lambda row: (row["quality_perplexity"], row["doc_id"]))[:200]
    assert {row["doc_id"] for row in rows if row["preselect_score"] is not None} == {row["doc_id"] for row in best}
    chain = [sum(count.kept for count in step.counts) for step in manifest.steps]
    assert chain == [400, 200, 50]


def test_cleaning_rewrites_the_text_for_all_that_follows(run, tmp_path):
    lines = {
        "good": "This is a line of more than five words.\nHome\nHere is another sentence that may stay.",
        "bare": "Home\nMenu\nAbout us",
    }
    path = tmp_path / "pages.jsonl"
    path.write_text("".join(json.dumps({"id": name, "text": text}) + "\n" for name, text in lines.items()))
    plain = {
        "inputs": [{"path": str(path), "source": "web"}],
        "steps": [{"clean": {}}, "exact_dedup", {"heuristics": {"presets": [], "statistics": "all"}}],
    }
    manifest = run(plain)
    rows = {json.loads(row["meta"])["id"]: row for row in every_row(manifest, tmp_path / "run")}
    kept = "This is a line of more than five words.\nHere is another sentence that may stay."
    assert rows["good"]["text"] == kept
    assert rows["good"]["text_lines"] == 2
    assert rows["good"]["clean_characters"] == len(kept)
    assert (rows["bare"]["rule"], rows["bare"]["text"]) == ("nothing_left", lines["bare"])
    selected = next(shard for shard in manifest.shards if shard.fate == "selected")
    assert selected.text_bytes == len(kept)


def test_a_models_own_threshold(config_of, run, tmp_path, examples):
    model = str(examples / "models" / "harmful")
    manifest = run(config_of({"perplexity": {"model": model, "name": "harmful", "threshold": "model"}}))
    (limit,) = manifest.steps[1].thresholds.values()
    assert limit == json.loads((examples / "models" / "harmful" / "model.json").read_text())["settings"]["threshold"]
    for row in every_row(manifest, tmp_path / "run"):
        assert (row["fate"] == "selected") == (row["harmful_perplexity"] >= limit)
    assert not verify(str(tmp_path / "run"), inputs=True).failures


@pytest.fixture(scope="module")
def contrast(tmp_path_factory):
    """A model about rivers and one about tables, trained together."""
    folder, draw = tmp_path_factory.mktemp("contrast"), random.Random(8)
    texts, harmful = [], []
    for i in range(200):
        words = ["river", "stone", "bright"] if i % 2 else ["table", "paper", "letter"]
        texts.append(" ".join(draw.choices(words * 2 + WORDS, k=40)))
        harmful.append(bool(i % 2))
    documents = LabelledDocuments(texts, np.array(harmful), [f"g{i % 50}" for i in range(200)])
    train_harmful(documents, folder / "river", validation=0.3, test=0.2, contrast=True, use_lmplz=False)
    train_harmful(documents, folder / "alone", validation=0.3, test=0.2, order=2, use_lmplz=False)
    return folder


def test_the_ratio_to_another_model_decides(config_of, run, tmp_path, contrast):
    model = str(contrast / "river")
    options = {"model": model, "against": f"{model}/clean", "name": "harmful", "threshold": "model"}
    manifest = run(config_of({"perplexity": options}))
    (limit,) = manifest.steps[1].thresholds.values()
    assert limit == json.loads((contrast / "river" / "model.json").read_text())["settings"]["threshold"]
    rows = every_row(manifest, tmp_path / "run")
    assert {row["fate"] for row in rows} == {"selected", "rejected"}
    for row in rows:
        assert (row["fate"] == "selected") == (row["harmful_log_ratio"] <= limit)
        if row["fate"] == "rejected":
            assert (row["rule"], row["value"]) == ("harmful_log_ratio_max", row["harmful_log_ratio"])
    assert {(model.option, model.step) for model in manifest.models} == {
        ("model", "perplexity.harmful"),
        ("against", "perplexity.harmful"),
    }
    options |= {"threshold": None, "keep": {"fraction": 0.25}}
    lowest = every_row(run(config_of({"perplexity": options}), "lowest"), tmp_path / "lowest")
    kept = sorted(row["harmful_log_ratio"] for row in lowest if row["fate"] == "selected")
    assert kept == sorted(row["harmful_log_ratio"] for row in lowest)[: len(kept)]
    options |= {"keep": {"fraction": 0.25, "best": "high"}, "bucket": "corpus"}
    highest = every_row(run(config_of({"perplexity": options}), "highest"), tmp_path / "highest")
    kept = sorted(row["harmful_log_ratio"] for row in highest if row["fate"] == "selected")
    assert kept == sorted(row["harmful_log_ratio"] for row in highest)[-len(kept) :]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "river"}, "is one of the ratio to its model of clean text: give `against:"),
        ({"model": "river", "against": "alone"}, "isn't one of its ratio to"),
        ({"model": "alone", "against": "river/clean"}, "isn't one of its ratio to"),
    ],
)
def test_thresholds_of_other_models_are_refused(config_of, run, contrast, options, message):
    paths = {name: str(contrast / value) for name, value in options.items()}
    with pytest.raises(ModelError, match=message):
        run(config_of({"perplexity": {**paths, "threshold": "model"}}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": "model", "keep": {"max": 1}}, "either `threshold: model` or `keep: {max"),
        ({"bucket": "ccnet"}, "is a table of perplexities"),
        ({"against": "x-{language}"}, "put {language} into both paths"),
    ],
)
def test_mistakes_about_ratios(options, message):
    with pytest.raises(ConfigError, match=message):
        parse_step({"perplexity": {"model": "m", "against": "n", **options}}, "steps[0]")


def test_ratios_of_one_model_a_language(config_of, run, tmp_path, contrast):
    (tmp_path / "m-en").symlink_to(contrast / "river")
    paths = {"model": str(tmp_path / "m-{language}"), "against": str(tmp_path / "m-{language}/clean")}
    steps = [{"language": {"prefix": 40}}, {"perplexity": {**paths, "languages": ["en"], "name": "r"}}]
    rows = every_row(run(config_of(*steps)), tmp_path / "run")
    assert {row["r_log_ratio"] is not None for row in rows if row["language"] == "en"} == {True}
    assert {row["r_log_ratio"] for row in rows if row["language"] != "en"} <= {None}
    fixed = {**paths, "against": str(contrast / "river" / "clean"), "languages": ["en"], "name": "r"}
    again = every_row(run(config_of(steps[0], {"perplexity": fixed}), "fixed"), tmp_path / "fixed")
    assert [row["r_log_ratio"] for row in again] == [row["r_log_ratio"] for row in rows]


def test_a_model_without_a_threshold_is_a_sentence(config_of, run, models):
    with pytest.raises(ModelError, match="has no threshold of its own"):
        run(config_of({"perplexity": {"model": str(models / "lm"), "threshold": "model"}}))
