"""`soft_dedup`: segments and weights by commonness, what takes documents by them, and mistakes."""

import json
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from tamis.schemas.errors import ConfigError, DataError
from tamis.scorers.perplexity.training import train_lm
from tamis.scorers.selection.soft_weights import soft_weights
from tamis.scorers.selection.upsampling import copies
from tests.jobs.finished_runs import digests, every_row
from tests.jobs.run.step_columns import columns_of, parsed

SEED = 3
SOFT = {"soft_dedup": {"column": "p", "segments": 4}}


@pytest.fixture
def pool(tmp_path):
    """Documents with a perplexity as a field, some without one, of two languages."""
    draw = np.random.default_rng(5)
    rows = [{"id": str(i), "text": f"text {i}", "p": float(v), "lang": "ab"[i % 2]} for i, v in
            enumerate(np.exp(draw.normal(5, 1, 203)))]  # fmt: skip
    rows += [{"id": f"none{i}", "text": f"none {i}"} for i in range(5)]
    for part in range(3):
        lines = [json.dumps(row) + "\n" for row in rows[part::3]]
        (tmp_path / f"part{part}.jsonl").write_text("".join(lines))
    columns = {"p": "double", "lang": "string"}
    source = {"path": str(tmp_path / "part*.jsonl"), "source": "web", "columns": columns}

    def config(*steps):
        return {"inputs": [source], "steps": list(steps), "seed": SEED}

    return config


def told(manifest, label="soft_dedup"):
    return next(step.metrics for step in manifest.steps if step.label == label)


def test_segments_and_weights(pool, run, tmp_path):
    """By numpy's percentiles: equally many documents a segment, the weight by its middle; nobody falls."""
    manifest = run(pool(SOFT))
    rows = every_row(manifest, tmp_path / "run")
    assert manifest.selected == 208
    values = np.array([row["p"] for row in rows if row["p"] is not None])
    ends = np.percentile(values, [25, 50, 75])
    middles = np.percentile(values, [12.5, 37.5, 62.5, 87.5])
    weights = soft_weights(middles.tolist(), ratio=10)
    for row in rows:
        if row["p"] is None:
            assert (row["soft_commonness"], row["soft_segment"], row["soft_weight"]) == (None, None, None)
            continue
        place = int((row["p"] >= ends).sum())
        assert row["soft_commonness"] == 1 / row["p"]
        assert row["soft_segment"] == 3 - place
        assert row["soft_weight"] == pytest.approx(weights[place])
    assert sorted(Counter(row["soft_segment"] for row in rows if row["p"] is not None).values()) == [50, 51, 51, 51]
    shown = told(manifest)["segments"]["all"]
    assert shown["weights"] == pytest.approx(weights[::-1].tolist())
    assert shown["commonness"] == pytest.approx((1 / middles[::-1]).tolist())
    assert digests(run(pool(SOFT), "two", workers=2)) == digests(manifest)


def test_options_change_the_weights(pool, run, tmp_path):
    def weights(folder, **options):
        step = {"soft_dedup": {"column": "p", "segments": 4, **options}}
        rows = every_row(run(pool(step), folder), tmp_path / folder)
        key = f"{options.get('name', 'soft')}_weight"
        return {row["url"] or row["text"]: row[key] for row in rows if row["p"] is not None}

    plain = weights("plain")
    flat = weights("flat", ratio=1)
    assert set(flat.values()) == {1.0}
    assert len(set(weights("ten", segments=10, ratio=1000).values())) == 10
    assert len(set(weights("by", by=["lang"]).values())) == 8
    assert weights("named", name="common") == plain


def test_documents_are_taken_by_weight(pool, run, tmp_path):
    """`repeat` with the weight as factor; `sample` in proportion to it."""
    manifest = run(pool(SOFT, {"repeat": {"column": "soft_weight"}}))
    rows = every_row(manifest, tmp_path / "run")
    factors = [1.0 if row["soft_weight"] is None else row["soft_weight"] for row in rows]
    assert [row["copies"] for row in rows] == copies(SEED, factors, [row["doc_id"] for row in rows]).tolist()
    drawn = run(pool(SOFT, {"sample": {"fraction": 0.5, "weight": "soft_weight"}}), "drawn")
    rows = every_row(drawn, tmp_path / "drawn")
    kept = [row for row in rows if row["fate"] == "selected"]
    assert len(kept) == 101 == drawn.selected
    assert all(row["p"] is not None for row in kept)
    rare = Counter(row["soft_segment"] for row in kept)
    assert rare[0] > 40 > 15 > rare[3] > 0


def test_a_weighted_sample_is_in_proportion():
    """The smallest draw of five documents, for many seeds: as often as the document weighs, within five deviations."""
    ids, weights = [f"{i:032x}" for i in range(5)], np.array([0, 1, 2, 3, 4], float)
    columns_of(parsed("sample", weight="w"), doc_id=ids, w=weights)
    batch = pa.RecordBatch.from_pydict({"doc_id": ids, "w": weights})
    first: Counter[int] = Counter()
    for seed in range(2000):
        draws = parsed("sample", weight="w", seed=seed).annotator({}).annotate(batch).column(0).to_pylist()
        assert draws[0] is None
        first[1 + int(np.argmin(draws[1:]))] += 1
    for row, weight in enumerate(weights.tolist()):
        share = weight / 10
        assert abs(first[row] / 2000 - share) <= 5 * (share * (1 - share) / 2000) ** 0.5


def test_the_models_own_corpus_and_its_copies_weigh_less(run, tmp_path):
    """With a model of the corpus itself: what it has fifty times counts less than what it has once."""
    draw = np.random.default_rng(1)
    words = [f"w{i}" for i in range(400)]
    once = [" ".join(draw.choice(words, 12)) for _ in range(60)]
    often = [" ".join(draw.choice(words, 12)) for _ in range(2)]
    texts = once + [f"{text} {i}" for text in often for i in range(50)]
    train_lm(texts, tmp_path / "model", order=4, use_lmplz=False)
    (tmp_path / "a.jsonl").write_text(
        "".join(json.dumps({"id": str(i), "text": t}) + "\n" for i, t in enumerate(texts))
    )
    steps = [
        {"perplexity": {"model": str(tmp_path / "model"), "name": "own"}},
        {"soft_dedup": {"column": "own_perplexity", "segments": 8}},
        {"sample": {"documents": 80, "weight": "soft_weight"}},
    ]
    manifest = run({"inputs": [{"path": str(tmp_path / "a.jsonl"), "source": "web"}], "steps": steps})
    rows = every_row(manifest, tmp_path / "run")
    weights = {True: [], False: []}
    kept: Counter[bool] = Counter()
    for row in rows:
        weights[row["text"] in once].append(row["soft_weight"])
        kept[row["text"] in once] += row["fate"] == "selected"
    assert np.mean(weights[True]) > 1.2 * np.mean(weights[False])
    assert kept[True] / 60 > kept[False] / 100


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"soft_dedup": {"column": "nothing"}}, "column: no column 'nothing'"),
        ({"soft_dedup": {"column": "soft_weight"}}, "column: no column 'soft_weight'"),
        ({"soft_dedup": {"column": "lang"}}, "'lang' holds string, and no perplexities"),
        ({"soft_dedup": {"column": "p", "by": ["topic"]}}, "by: no column 'topic'"),
        ({"soft_dedup": {"column": "p", "ratio": 0.5}}, "ratio"),
        ({"soft_dedup": {"column": "p", "segments": 0}}, "segments"),
        ({"sample": {"weight": "nothing"}}, "step sample: no column 'nothing'"),
        ({"sample": {"weight": "sample_draw"}}, "step sample: no column 'sample_draw'"),
        ({"sample": {"weight": "lang"}}, "'lang' holds string, and weights are numbers"),
    ],
)
def test_mistakes_are_named(pool, run, step, message):
    with pytest.raises(ConfigError, match=message):
        run(pool(step))


def test_values_that_are_no_perplexities_or_weights(pool, run):
    minus = {"combine": {"columns": ["p"], "how": "sum", "weights": {"p": -1}, "name": "minus"}}
    with pytest.raises(DataError, match=r"step soft_dedup: column minus: perplexities are above 0"):
        run(pool(minus, {"soft_dedup": {"column": "minus"}}))
