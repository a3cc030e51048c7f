"""`keep` within groups: each kind of share and amount, against the same decision made by sorting each group."""

from collections import defaultdict
from math import floor

import numpy as np
import pytest

from tamis.schemas.errors import ConfigError
from tamis.scorers.selection.order_statistics import Partial
from tamis.scorers.selection.selection import Selection, TopAmount
from tests.jobs.finished_runs import digests, every_row
from tests.jobs.run.test_steps import models  # noqa: F401

WORDS = {"heuristics": {}}


def combined(**keep):
    return {"combine": {"columns": ["text_words"], "how": "min", "name": "score", "keep": keep}}


def kept_by_hand(rows, value, unit, share=None, amount=None, *, best="high"):
    """The best rows of a group: by value, ties by id, up to the one with which the weight is reached."""
    ordered = sorted(rows, key=lambda row: (-row[value] if best == "high" else row[value], row["doc_id"]))
    weights = [1 if unit is None else row[unit] for row in ordered]
    kept = set()
    total = 0
    for row, weight in zip(ordered, weights, strict=True):
        if unit is None and len(kept) >= (amount if amount is not None else floor(share * len(rows) + 1e-9)):
            break
        if unit is not None and total >= (amount if amount is not None else floor(share * sum(weights)) + 1):
            break
        kept.add(row["doc_id"])
        total += weight
    return kept


@pytest.mark.parametrize(
    ("keep", "unit", "asked"),
    [
        ({"fraction": 0.3}, None, {"share": 0.3}),
        ({"fraction": 0.3, "best": "low"}, None, {"share": 0.3, "best": "low"}),
        ({"fraction": 0.3, "of": "bytes"}, "text_bytes", {"share": 0.3}),
        ({"documents": 40}, None, {"amount": 40}),
        ({"bytes": 9000}, "text_bytes", {"amount": 9000}),
    ],
)
@pytest.mark.parametrize("by", [["source"], []])
def test_shares_and_amounts_of_groups(config_of, run, tmp_path, keep, unit, asked, by):
    manifest = run(config_of(WORDS, combined(**keep, by=by)))
    rows = every_row(manifest, tmp_path / "run")
    for row in rows:
        row["text_bytes"] = len(row["text"].encode())
    groups = defaultdict(list)
    for row in rows:
        groups[row["source"] if by else ""].append(row)
    assert len(groups) == (2 if by else 1)
    kept = set().union(*(kept_by_hand(group, "score", unit, **asked) for group in groups.values()))
    assert {row["doc_id"] for row in rows if row["fate"] == "selected"} == kept
    kind = next(name for name in ("fraction", "documents", "bytes") if name in keep)
    assert {row["rule"] for row in rows if row["fate"] == "rejected"} == {f"score_{kind}"}
    found = manifest.steps[2].thresholds[f"score_{kind}"]
    assert set(found) == {"web", "books"} if by else isinstance(found, float)
    if by and unit:
        assert digests(run(config_of(WORDS, combined(**keep, by=by)), "two", workers=2)) == digests(manifest)


def test_tokens_of_groups(config_of, run, tmp_path, models):  # noqa: F811
    step = {"perplexity": {"model": str(models / "lm"), "keep": {"tokens": 1500, "by": ["source"]}}}
    rows = every_row(run(config_of(step)), tmp_path / "run")
    for source in ("web", "books"):
        mine = [row for row in rows if row["source"] == source]
        kept = kept_by_hand(mine, "quality_perplexity", "quality_tokens", amount=1500, best="low")
        assert {row["doc_id"] for row in mine if row["fate"] == "selected"} == kept


@pytest.mark.parametrize(
    ("keep", "unit", "asked"),
    [
        ({"fraction": 0.25}, None, {"share": 0.25}),
        ({"documents": 20}, None, {"amount": 20}),
        ({"bytes": 4000}, "text_bytes", {"amount": 4000}),
        ({"tokens": 800}, "dsir_tokens", {"amount": 800}),
        ({"fraction": 0.25, "of": "tokens"}, "dsir_tokens", {"share": 0.25}),
    ],
)
def test_draws_within_groups(config_of, run, tmp_path, models, keep, unit, asked):  # noqa: F811
    options = {"target": str(models / "water.jsonl"), "min_tokens": 5, "buckets": 500, "top_k": True}
    manifest = run(config_of({"dsir": {**options, "keep": {**keep, "by": ["source"]}}}))
    rows = [row for row in every_row(manifest, tmp_path / "run") if row.get("rule") != "dsir_tokens_min"]
    for row in rows:
        row["text_bytes"] = len(row["text"].encode())
    for source in ("web", "books"):
        mine = [row for row in rows if row["source"] == source]
        kept = kept_by_hand(mine, "dsir_log_weight", unit, **asked)
        assert {row["doc_id"] for row in mine if row["fate"] == "selected"} == kept
    rule = f"dsir_log_weight_{next(iter(keep))}"
    assert set(manifest.steps[1].thresholds[rule]) == {"web", "books"}
    if keep != {"fraction": 0.25}:
        return
    drawn = run(config_of({"dsir": {**options, "top_k": False, "keep": {**keep, "by": ["source"]}}}), "drawn")
    chosen = {row["doc_id"] for row in every_row(drawn, tmp_path / "drawn") if row["fate"] == "selected"}
    assert chosen != {row["doc_id"] for row in rows if row["fate"] == "selected"}


def test_less_than_asked_for_is_said_of_its_group(config_of, run):
    manifest = run(config_of(WORDS, combined(documents=350, by=["source"])))
    assert any("350 documents were asked for of books, but there are only 100" in told for told in manifest.warnings)
    manifest = run(config_of(WORDS, combined(bytes=10**9)), "bytes")
    assert any("1000000000 was asked for, but there are only" in told for told in manifest.warnings)
    assert manifest.rejected == 0


def test_nothing_of_an_amount_of_nothing():
    rows = np.array([3.0, 1.0])
    found = Selection(TopAmount(0))
    while (task := found.next_pass()) is not None:
        found.advance(Partial.merge([task.accumulate(rows, ["0" * 31 + "1", "0" * 31 + "2"], np.array([5, 5]))]))
    assert found.decision().keep(rows, ["0" * 31 + "1", "0" * 31 + "2"]).tolist() == [False, False]


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (combined(by=["source"]), "`by` is about each group"),
        (combined(bytes=5, documents=5), "give only one of documents and bytes"),
        (combined(tokens=5), "a combined column counts no tokens"),
        (combined(bytes=5, of="tokens"), "`of` says what a `fraction`"),
        (combined(fraction=0.5, by=["nothing"]), "keep.by: no column 'nothing'"),
        ({"dsir": {"target": {"a": "x", "b": "y"}, "keep": {"fraction": 0.5, "by": ["source"]}}}, "one target alone"),
        ({"dsir": {"target": {"a": "x", "b": "y"}, "keep": {"bytes": 5}}}, "several targets share out documents"),
    ],
)
def test_mistakes_are_named(config_of, run, step, message):
    with pytest.raises(ConfigError, match=message):
        run(config_of(WORDS, step))
