"""Thresholds that are frozen: what the first increment found decides about all later ones, step by step."""

import json

import pytest

import tamis
from tamis.jobs.watch.corpus import read_corpus
from tamis.pipeline.corpus.given import Given
from tamis.pipeline.steps.base import Earlier
from tamis.pipeline.steps.registry import parse_config, parse_step
from tamis.schemas.errors import ConfigError
from tamis.scorers.perplexity.training import train_lm
from tamis.scorers.selection.selection import Decision, Threshold
from tests.jobs.watch.growing import Growing, shard_bytes, texts_of

FROZEN = {"thresholds": "frozen"}


def score(**keep):
    return {"score": {"scorer": "mine:Share", "column": "share", "keep": keep}}


def increment(growing, number):
    return tamis.open(growing.corpus / "increments" / f"{number:05d}")


def grown(tmp_path, steps, watch=FROZEN, **fields):
    """Grow a corpus by two files of unlike documents; return it."""
    growing = Growing(tmp_path, steps, watch)
    growing.put("a.jsonl", texts_of(40, seed=1), **fields)
    growing.grow()
    growing.put("b.jsonl", [text.replace("e", "a", 1) for text in texts_of(30, seed=2)], **fields)
    growing.grow()
    return growing


KEEPS = {
    "fraction": ({"fraction": 0.4}, lambda value, found: value >= found),
    "lowest": ({"fraction": 0.4, "best": "low"}, lambda value, found: value <= found),
    "documents": ({"documents": 10}, lambda value, found: value >= found),
    "bytes": ({"bytes": 3000}, lambda value, found: value >= found),
    "percentile": ({"percentile": [20, 70]}, lambda value, found: found[0] <= value <= found[1]),
}


@pytest.mark.parametrize("kind", KEEPS)
def test_a_share_is_decided_by_the_first_increment(tmp_path, kind):
    keep, kept = KEEPS[kind]
    growing = grown(tmp_path, [score(**keep)])
    rule = f"share_{next(iter(keep))}"
    found = increment(growing, 1).manifest.steps[1].thresholds[rule]
    second = increment(growing, 2)
    assert second.manifest.steps[1].thresholds == {rule: found}
    rows = second.sql("SELECT share, fate, rule FROM documents").to_pylist()
    assert len(rows) == 30
    for row in rows:
        assert (row["fate"] == "selected") == kept(row["share"], found)
        assert row["rule"] == (None if row["fate"] == "selected" else rule)
    assert 0 < second.manifest.selected < 30
    assert second.verify().ok
    assert tamis.open(growing.corpus).manifest.steps[1].thresholds == {rule: found}


def test_thresholds_are_found_anew_unless_they_are_frozen(tmp_path):
    growing = grown(tmp_path, [score(fraction=0.4)], watch=None)
    found = [increment(growing, number).manifest.steps[1].thresholds["share_fraction"] for number in (1, 2)]
    assert found[0] != found[1]
    assert increment(growing, 2).manifest.selected == 12
    step = tamis.open(growing.corpus).manifest.steps[1]
    assert step.thresholds == {}
    told = {name: one["thresholds"]["share_fraction"] for name, one in step.metrics["by_increment"].items()}
    assert told == {"00001": found[0], "00002": found[1]}


def test_a_group_is_held_from_its_first_increment_on(tmp_path):
    growing = Growing(tmp_path, [score(fraction=0.5, by=["source"])], FROZEN)
    growing.plain["inputs"].append({"path": "in/other*", "source": "other", "id": "id"})
    growing.plain["inputs"][0]["path"] = "in/web*"
    growing.put("web1.jsonl", texts_of(20, seed=1))
    growing.put("other0.jsonl", texts_of(1, seed=7))  # of one document a half is none: nothing to hold
    growing.grow()
    first = increment(growing, 1).manifest.steps[1].thresholds["share_fraction"]
    assert first["other"] is None
    growing.put("web2.jsonl", texts_of(20, seed=2))
    growing.put("other1.jsonl", texts_of(20, seed=3))
    growing.grow()
    second = increment(growing, 2).manifest.steps[1].thresholds["share_fraction"]
    assert second["web"] == first["web"]
    growing.put("other2.jsonl", texts_of(20, seed=4))
    growing.grow()
    third = increment(growing, 3).manifest.steps[1].thresholds["share_fraction"]
    assert third == {"other": second["other"]}
    assert read_corpus(str(growing.corpus)).frozen["score"]["share_fraction"] == second


def test_a_sample_is_drawn_up_to_the_same_draw(tmp_path):
    growing = grown(tmp_path, [{"sample": {"fraction": 0.5}}])
    found = increment(growing, 1).manifest.steps[1].thresholds["sample_draw_fraction"]
    assert increment(growing, 2).manifest.source_config["steps"][1]["sample"]["max_draw"] == found
    draws = increment(growing, 2).sql("SELECT sample_draw, fate FROM documents").to_pylist()
    assert all((row["fate"] == "selected") == (row["sample_draw"] <= found) for row in draws)
    assert 0 < increment(growing, 2).manifest.selected < 30


def test_buckets_are_cut_where_the_first_increment_cut_them(tmp_path):
    steps = [score(), {"combine": {"columns": ["share"], "name": "bucket", "how": "buckets", "buckets": 4}}]
    growing = grown(tmp_path, steps)
    cuts = increment(growing, 1).manifest.steps[2].thresholds["bucket"]["all"]
    assert increment(growing, 2).manifest.steps[2].thresholds["bucket"] == {"all": cuts}
    for row in increment(growing, 2).sql("SELECT share, bucket FROM documents").to_pylist():
        assert row["bucket"] == sum(cut <= row["share"] for cut in cuts)


def test_perplexity_is_held_in_buckets_and_percentiles(tmp_path):
    train_lm(texts_of(60, seed=50, copies=0), tmp_path / "lm", order=2, use_lmplz=False)
    options = {"model": "lm", "bucket": "corpus", "bucket_by": ["source"], "keep": {"percentile": [0, 60]}}
    growing = grown(tmp_path, [{"perplexity": options}])
    first, second = (increment(growing, number).manifest.steps[1].thresholds for number in (1, 2))
    assert first == second
    low, high = first["quality_bucket"]["web"]
    for row in increment(growing, 2).sql("SELECT * FROM documents").to_pylist():
        value = row["quality_perplexity"]
        assert row["quality_bucket"] == ("head" if value < low else "middle" if value < high else "tail")
        assert (row["fate"] == "selected") == (value <= first["quality_perplexity_percentile"][1])


@pytest.mark.parametrize("several", [False, True])
def test_dsir_keeps_model_and_draw(tmp_path, several):
    for name, seed in (("near", 1), ("far", 9)):
        rows = [json.dumps({"text": text}) for text in texts_of(20, seed=seed, copies=0)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(rows))
    target = {"near": "near.jsonl", "far": "far.jsonl"} if several else "near.jsonl"
    growing = grown(tmp_path, [{"dsir": {"target": target, "min_tokens": 1, "keep": {"fraction": 0.5}}}])
    first, second = (increment(growing, number).manifest for number in (1, 2))
    assert second.steps[1].thresholds == first.steps[1].thresholds
    assert (growing.corpus / "models" / "dsir-00001").is_dir()
    assert [model.option for model in second.models] == ["model"]
    assert 0 < second.selected < 30
    # A document weighs what it weighed in the first increment.
    growing.plain["watch"] = FROZEN
    (growing.inputs / "c.jsonl").write_bytes((growing.inputs / "a.jsonl").read_bytes())
    growing.grow()
    columns = "dsir_log_weight_near, dsir_log_weight_far" if several else "dsir_log_weight"
    query = f"SELECT doc_id, fate, {columns} FROM documents ORDER BY doc_id"
    assert increment(growing, 3).sql(query).to_pylist() == increment(growing, 1).sql(query).to_pylist()
    assert tamis.open(growing.corpus).verify().ok


def test_dsir_has_the_model_of_a_compacted_corpus_where_all_was_found_anew(tmp_path):
    rows = [json.dumps({"text": text}) for text in texts_of(20, seed=1, copies=0)]
    (tmp_path / "near.jsonl").write_text("\n".join(rows))
    growing = grown(tmp_path, [{"dsir": {"target": "near.jsonl", "min_tokens": 1, "keep": {"fraction": 0.5}}}])
    growing.compact(thresholds="estimate")
    record = read_corpus(str(growing.corpus))
    assert record.frozen_models == {"dsir": "models/dsir-00003"}
    run = growing.one_run()
    assert shard_bytes(run) == shard_bytes(growing.corpus / "increments" / "00003")
    (growing.inputs / "c.jsonl").write_bytes((growing.inputs / "a.jsonl").read_bytes())
    growing.grow()
    query = "SELECT doc_id, fate, dsir_log_weight FROM documents ORDER BY doc_id"
    known = {row["doc_id"]: row for row in tamis.open(run).sql(query).to_pylist()}
    found = increment(growing, 4).sql(query).to_pylist()
    assert len(found) == 40
    assert all(row == known[row["doc_id"]] for row in found)


def test_an_increment_without_a_document_long_enough_draws_nothing(tmp_path):
    rows = [json.dumps({"text": text}) for text in texts_of(20, copies=0)]
    (tmp_path / "near.jsonl").write_text("\n".join(rows))
    steps = [{"dsir": {"target": "near.jsonl", "min_tokens": 15, "keep": {"fraction": 0.5}}}]
    growing = grown(tmp_path, steps)
    growing.put("c.jsonl", ["too short"])
    assert growing.grow().read == 71
    assert increment(growing, 3).manifest.selected == 0


@pytest.mark.parametrize(
    ("step", "label"),
    [
        ({"quad": {"reference": "r.jsonl", "proxy": "p", "fraction": 0.5}}, "quad"),
        ({"cluster": {"clusters": 2}}, "cluster"),
        ({"repeat": {"column": "bucket", "curve": {"times": 1}}}, "repeat"),
    ],
)
def test_what_cannot_be_held_is_refused_before_any_work(tmp_path, step, label):
    growing = Growing(tmp_path, [step], FROZEN)
    with pytest.raises(ConfigError, match=f"step {label}: what it finds in a corpus can't be held fast"):
        growing.grow()
    assert not growing.corpus.exists()


def test_a_new_config_finds_its_own_thresholds(tmp_path):
    growing = grown(tmp_path, [score(fraction=0.4)])
    growing.plain["steps"] = [score(fraction=0.8)]
    growing.put("c.jsonl", texts_of(30, seed=3))
    growing.grow(new_config=True)
    assert increment(growing, 3).manifest.selected == 24


# --- options that take what an earlier run found ---


def test_given_thresholds_stand_where_they_are_known():
    found = Decision({("a",): Threshold(1.0, 9.0), ("b",): Threshold(2.0, 9.0), ("c", None): Threshold(3.0, 4.0)})
    given = Given({"a": 5, "b": None, "c/null": [None, 7]}, largest=False)
    merged = given.over(found).thresholds
    assert (merged["a",].low, merged["a",].high) == (float("-inf"), 5.0)
    assert merged["b",] == found.thresholds["b",]
    assert (merged["c", None].low, merged["c", None].high) == (float("-inf"), 7.0)
    assert not given.complete
    assert Given(0.0).complete
    assert Given(0.0).of(()) == Threshold(0.0, float("inf"))


@pytest.mark.parametrize(
    ("keep", "problem"),
    [
        ({"thresholds": 3}, "give that too"),
        ({"min": 1, "thresholds": 3}, "give that too"),
        ({"fraction": 0.5, "thresholds": [1, 2]}, "one number each"),
        ({"percentile": [1, 2], "thresholds": 2}, r"\[low, high\]"),
        ({"fraction": 0.5, "by": ["source"], "thresholds": 2}, "by group"),
    ],
)
def test_thresholds_that_do_not_fit_are_refused(keep, problem):
    with pytest.raises(ConfigError, match=problem):
        parse_step(score(**keep), "steps[0]")


def test_cuts_that_do_not_fit_are_refused():
    options = {"columns": ["share"], "name": "bucket", "how": "buckets", "buckets": 4}
    with pytest.raises(ConfigError, match="one fewer than there are buckets"):
        parse_step({"combine": options | {"cuts": {"all": [1, 2]}}}, "steps[0]")
    with pytest.raises(ConfigError, match="`bucket_cuts` are of `bucket: corpus`"):
        parse_step({"perplexity": {"model": "lm", "bucket_cuts": {"all": [1, 2]}}}, "steps[0]")
    with pytest.raises(ConfigError, match="there is one already"):
        parse_step({"dsir": {"model": "m", "write_model": True}}, "steps[0]")


def test_a_step_of_rules_alone_stays_as_it_is():
    step = parse_step({"language": {"keep": ["en"]}}, "steps[0]")
    assert step.leaving() == step
    assert step.frozen(Earlier({})) == step
    assert parse_config({"inputs": [{"path": "x", "source": "a"}], "watch": {}}).watch is not None
