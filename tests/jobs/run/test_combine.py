"""`combine`: columns combined row by row and by quantiles, against the same in plain Python and NumPy."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.schemas.errors import ConfigError
from tests.jobs.finished_runs import digests, every_row
from tests.jobs.run.step_columns import columns_of, parsed

NUMBER = st.one_of(st.none(), st.floats(-1e6, 1e6).map(lambda value: round(value, 3)))
ROWS = st.lists(st.tuples(NUMBER, NUMBER, NUMBER), min_size=1, max_size=12)


def twin(row, how, weights, missing):
    present = [(value, weight) for value, weight in zip(row, weights, strict=True) if value is not None]
    if not present or (missing == "empty" and len(present) < len(row)):
        return None
    if how in ("min", "max"):
        return {"min": min, "max": max}[how](value for value, _ in present)
    total = math.fsum(value * weight for value, weight in present)
    if how == "sum":
        return total
    share = sum(weight for _, weight in present)
    return total / share if share else None


@pytest.mark.parametrize("missing", ["empty", "skip"])
@pytest.mark.parametrize("how", ["min", "max", "mean", "sum"])
@given(rows=ROWS, weights=st.tuples(*[st.sampled_from([0.0, 0.5, 1.0, 3.0])] * 2))
def test_row_by_row(how, missing, rows, weights):
    used = (*weights, 1.0) if how in ("mean", "sum") else (1.0, 1.0, 1.0)
    options = {"weights": {"a": used[0], "b": used[1]}} if how in ("mean", "sum") else {}
    step = parsed("combine", columns=["a", "b", "c"], name="new", how=how, missing=missing, **options)
    columns = {name: [row[i] for row in rows] for i, name in enumerate("abc")}
    found = columns_of(step, **{name: np.array(values, float) for name, values in columns.items()})
    for row, one in zip(rows, found, strict=True):
        expected = twin(row, how, used, missing)
        assert (one["new"] is None) == (expected is None)
        assert expected is None or one["new"] == pytest.approx(expected, rel=1e-12, abs=1e-6)


def test_whole_numbers_and_truth_values_count():
    step = parsed("combine", columns=["a", "b"], name="new", how="sum", weights={"b": -2})
    assert [row["new"] for row in columns_of(step, a=[1, None, 3], b=[True, False, None])] == [-1.0, None, None]


def config(folder, *steps):
    path = folder / "scored.jsonl"
    lines = []
    for i in range(300):
        score = (i * 37 % 101) / 10 if i % 13 else None  # with ties, and some without
        lines.append(
            {
                "id": str(i),
                "text": f"text {i} " + "x" * (i * 31 % 40),
                "a": score,
                "b": i % 7,
                "topic": None if i % 5 == 4 else f"t{i % 3}",
            }
        )
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    columns = {"a": {"type": "double"}, "b": {"type": "int64"}, "topic": {"type": "string"}}
    inputs = [{"path": str(path), "source": "web", "columns": columns}]
    return {"inputs": inputs, "steps": list(steps), "output": {"shard_mb": 0.01}}


@pytest.mark.parametrize(("by", "buckets"), [([], 2), ([], 100), (["topic"], 20), (["topic", "source"], 7)])
def test_buckets_are_those_of_numpy(run, tmp_path, by, buckets):
    step = {"combine": {"columns": ["a"], "name": "bucket", "how": "buckets", "buckets": buckets, "by": by}}
    alive = {"rules": {"rules": [{"column": "b", "op": "min", "threshold": 2, "reason": "small"}]}}
    manifest = run(config(tmp_path, alive, step))
    rows = every_row(manifest, tmp_path / "run")
    assert manifest.selected == sum(row["b"] >= 2 for row in rows)
    groups = {}
    for row in rows:
        if row["fate"] == "rejected" or row["a"] is None:
            assert row["bucket"] is None
        else:
            groups.setdefault(tuple(row[name] for name in by), []).append(row)
    assert len(groups) == (4 if by else 1)
    for group in groups.values():
        values = np.array([row["a"] for row in group])
        cuts = np.percentile(values, [100 * k / buckets for k in range(1, buckets)])
        assert [row["bucket"] for row in group] == np.searchsorted(cuts, values, side="right").tolist()
    shown = manifest.steps[2].thresholds["bucket"]
    assert {len(cuts) for cuts in shown.values()} == {buckets - 1}
    if buckets == 20:
        assert digests(run(config(tmp_path, alive, step), "two", workers=2)) == digests(manifest)


@pytest.mark.parametrize(("of", "by"), [("bytes", []), ("characters", ["topic"]), ("b", [])])
def test_buckets_of_equal_weight(run, tmp_path, of, by):
    step = {"columns": ["a"], "name": "bucket", "how": "buckets", "buckets": 5, "of": of, "by": by}
    rows = every_row(run(config(tmp_path, {"combine": step})), tmp_path / "run")
    groups = {}
    for row in rows:
        if row["a"] is not None:
            groups.setdefault(tuple(row[name] for name in by), []).append(row)
    for group in groups.values():
        ranked = sorted(group, key=lambda row: (row["a"], row["doc_id"]))
        weights = [row["b"] if of == "b" else len(row["text"]) for row in ranked]
        running = np.cumsum(weights)
        cuts = [ranked[int(np.argmax(running * 5 > k * running[-1]))]["a"] for k in range(1, 5)]
        assert [row["bucket"] for row in ranked] == [sum(cut <= row["a"] for cut in cuts) for row in ranked]
        shares = [sum(w for row, w in zip(ranked, weights, strict=True) if row["bucket"] == k) for k in range(5)]
        assert of == "characters" or max(shares) - min(shares) < 0.1 * sum(weights)


def test_buckets_that_are_lost_are_made_again_alone(run, tmp_path):
    plain = config(tmp_path, {"combine": {"columns": ["a"], "name": "bucket", "how": "buckets", "buckets": 5}})
    before = digests(run(plain))
    (tmp_path / "run" / "manifest.json").unlink()
    files = sorted((tmp_path / "run" / "work").glob("*combine.bucket-state-*/*.arrow"))
    kept = {path: path.stat().st_mtime_ns for path in files[1:]}
    files[0].unlink()
    assert digests(run(plain)) == before
    assert files[0].is_file()
    assert kept == {path: path.stat().st_mtime_ns for path in kept}


def test_buckets_of_no_documents(run, tmp_path):
    nothing = {"rules": {"rules": [{"column": "b", "op": "min", "threshold": 7, "reason": "small"}]}}
    step = {"combine": {"columns": ["a"], "name": "bucket", "how": "buckets", "buckets": 5, "by": ["topic"]}}
    manifest = run(config(tmp_path, nothing, step))
    assert manifest.selected == 0
    assert {row["bucket"] for row in every_row(manifest, tmp_path / "run")} == {None}


def test_the_best_of_buckets_and_rules_over_it(run, tmp_path):
    manifest = run(
        config(
            tmp_path,
            {"combine": {"columns": ["a"], "name": "a20", "how": "buckets", "buckets": 20}},
            {"combine": {"columns": ["b"], "name": "b20", "how": "buckets", "buckets": 20}},
            {"combine": {"columns": ["a20", "b20"], "name": "best", "how": "max", "missing": "skip"}},
            {"rules": {"rules": [{"column": "best", "op": "min", "threshold": 15, "reason": "low"}]}},
        )
    )
    rows = every_row(manifest, tmp_path / "run")
    assert 0 < manifest.selected < 300
    for row in rows:
        assert row["best"] == max(value for value in (row["a20"], row["b20"]) if value is not None)
        assert (row["fate"] == "selected") == (row["best"] >= 15)


def test_keep_by_the_new_column(run, tmp_path):
    step = {"columns": ["a", "b"], "name": "both", "how": "sum", "weights": {"b": 0.5}}
    manifest = run(config(tmp_path, {"combine": step | {"keep": {"documents": 50}}}))
    rows = every_row(manifest, tmp_path / "run")
    known = [row for row in rows if row["a"] is not None]
    best = sorted(known, key=lambda row: (-(row["a"] + 0.5 * row["b"]), row["doc_id"]))[:50]
    assert {row["doc_id"] for row in rows if row["fate"] == "selected"} == {row["doc_id"] for row in best}
    manifest = run(config(tmp_path, {"combine": step | {"keep": {"min": 5}}}))
    for row in every_row(manifest, tmp_path / "run"):
        assert (row["fate"] == "selected") == (row["both"] is None or row["both"] >= 5)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"columns": []}, "columns"),
        ({"columns": ["a", "a"]}, "stands there twice"),
        ({"columns": ["new"]}, "call the new one otherwise"),
        ({"weights": {"aa": 1}}, "did you mean 'a'"),
        ({"how": "min", "weights": {"a": 1}}, "this is `how: min`"),
        ({"weights": {"a": -1, "b": 1}}, "not below 0"),
        ({"weights": {"a": 0, "b": 0}}, "not all 0"),
        ({"how": "sum", "weights": {"a": math.inf}}, "finite"),
        ({"how": "buckets"}, "go together"),
        ({"buckets": 3}, "go together"),
        ({"how": "buckets", "buckets": 3}, "buckets are of one column"),
        ({"columns": ["a"], "how": "buckets", "buckets": 3, "keep": {"min": 2}}, "keep: not with"),
        ({"columns": ["a"], "how": "buckets", "buckets": 3, "missing": "skip"}, "missing: not with"),
        ({"by": ["topic"]}, "by is of `how: buckets`"),
        ({"of": "bytes"}, "of is of `how: buckets`"),
        ({"keep": {"fraction": 0.5, "of": "tokens"}}, "counts no tokens"),
    ],
)
def test_mistakes(options, told):
    with pytest.raises(ConfigError, match=told):
        parsed("combine", **{"columns": ["a", "b"], "name": "new", **options})


@pytest.mark.parametrize(
    ("step", "told"),
    [
        ({"columns": ["aa"]}, "no column 'aa'"),
        ({"columns": ["topic"]}, "columns: 'topic' holds string"),
        ({"columns": ["topic"], "how": "buckets", "buckets": 3}, "columns: 'topic' holds string"),
        ({"columns": ["aa"], "how": "buckets", "buckets": 3}, "columns: no column 'aa'"),
        ({"columns": ["a"], "how": "buckets", "buckets": 3, "by": ["topics"]}, "by: no column 'topics'.*'topic'"),
        ({"columns": ["a"], "how": "buckets", "buckets": 3, "of": "bb"}, "of: no column 'bb'"),
        ({"columns": ["b"], "how": "buckets", "buckets": 3, "of": "a"}, "of: 'a' holds double"),
    ],
)
def test_columns_that_arent_there_or_hold_no_numbers(run, tmp_path, step, told):
    with pytest.raises(ConfigError, match=told):
        run(config(tmp_path, {"combine": step | {"name": "new"}}))
