"""`repeat`: factors by value, table and curve, drawn by keyed hashes, counted apart from the documents."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from tamis.jobs.manifest.verify import verify
from tamis.jobs.mix.export import export
from tamis.pipeline.graph.engine import Engine
from tamis.pipeline.mixing.export import shard_documents
from tamis.schemas.errors import ConfigError, DataError
from tamis.scorers.mixture.document_tokenizer import DocumentTokenizer
from tamis.scorers.mixture.megatron_files import MegatronTokens
from tamis.scorers.selection.upsampling import REHYDRATION, copies, upsampling_curve
from tests.jobs.finished_runs import digests, every_row

NEAR = {"exact_dedup": {}}


def kept(rows):
    return [row for row in rows if row["fate"] == "selected"]


def rehydrated(sizes):
    return [next(count for least, count in reversed(REHYDRATION) if size >= least) for size in sizes]


def told(manifest, label="repeat"):
    return next(step.metrics for step in manifest.steps if step.label == label)


def test_rehydration_by_the_size_of_a_cluster(config_of, run, tmp_path):
    """FineWeb-2's table: as often as a cluster of 1 to 3 is large; the balance is that of the records."""
    manifest = run(config_of(NEAR, {"repeat": {"column": "dup_cluster_size", "table": "fineweb2"}}))
    rows = kept(every_row(manifest, tmp_path / "run"))
    sizes = np.array([row["dup_cluster_size"] for row in rows])
    assert len(set(sizes.tolist())) > 1
    assert [row["copies"] for row in rows] == rehydrated(sizes)
    more = np.array([row["copies"] for row in rows]) - 1
    assert told(manifest)["copies"] == more.sum() > 0
    assert told(manifest)["documents"] == manifest.selected == len(rows)
    assert told(manifest)["copied_bytes"] == sum(n * len(r["text"].encode()) for n, r in zip(more, rows, strict=True))
    assert told(manifest)["most"] == max(more) + 1
    by_source = told(manifest)["by_source"]
    assert sum(one["copies"] for one in by_source.values()) == more.sum()
    assert manifest.read == manifest.selected + manifest.rejected + manifest.errors
    assert verify(str(tmp_path / "run")).ok
    again = run(config_of(NEAR, {"repeat": {"column": "dup_cluster_size", "table": "fineweb2"}}), "two", workers=2)
    assert digests(again) == digests(manifest)


@pytest.mark.parametrize("form", ["parquet", "jsonl", "hf", "megatron", "olmo"])
def test_copies_are_written_marked_and_counted_where_a_run_is_exported(config_of, run, tmp_path, form):
    manifest = run(config_of(NEAR, {"repeat": {"column": "dup_cluster_size", "table": "fineweb2"}}))
    rows = sorted(kept(every_row(manifest, tmp_path / "run")), key=lambda row: row["doc_id"])
    tokenizer = DocumentTokenizer("bytes") if form in ("megatron", "olmo") else None

    def exported(folder, **options):
        with Engine(str(tmp_path / folder / "work" / "passes")) as engine:
            return export(str(tmp_path / "run"), str(tmp_path / folder), form, engine, tokenizer=tokenizer, **options)

    found, once = exported("all"), exported("once", copies="none")
    assert (once.documents, once.copies) == (len(rows), 0)
    assert found.copies == told(manifest)["copies"] > 0
    assert found.documents == len(rows) + found.copies
    assert json.loads((tmp_path / "all" / "export.json").read_text())["copies"] == found.copies
    assert f"{found.copies:,} of the documents repeat another" in " ".join(found.notes)
    assert exported("all") == found
    wanted = sorted((row["doc_id"], copy) for row in rows for copy in range(row["copies"]))
    if form in ("parquet", "hf"):
        tables = [pq.read_table(tmp_path / "all" / name) for name in found.files]
        listed = [(row["doc_id"], row["copy"]) for table in tables for row in table.to_pylist()]
        assert sorted(listed) == wanted
        assert listed[:3] == sorted(listed[:3])  # copies are next to one another
        assert "copy" not in pq.read_schema(tmp_path / "once" / next(iter(once.files))).names
    if form == "jsonl":
        lines = [row for name in found.files for row in shard_documents(str(tmp_path / "all" / name))]
        assert sorted(row.doc_id for row in lines) == [name for name, _ in wanted]
    if form == "megatron":
        assert len(MegatronTokens(tmp_path / "all" / "tokens")) == len(wanted)


def test_columns_of_copies_are_named_where_there_are_several(config_of, run, tmp_path):
    steps = [NEAR, *({"repeat": {"column": "dup_cluster_size", "name": name}} for name in ("one", "two"))]
    run(config_of(*steps))

    def exported(folder, **options):
        with Engine(str(tmp_path / folder / "work" / "passes")) as engine:
            return export(str(tmp_path / "run"), str(tmp_path / folder), "parquet", engine, **options)

    with pytest.raises(ConfigError, match=r"name the column with --copies \(one, two\)"):
        exported("a")
    with pytest.raises(ConfigError, match="--copies tow: no such column; did you mean 'two'"):
        exported("a", copies="tow")
    with pytest.raises(ConfigError, match="--copies url: it holds string"):
        exported("a", copies="url")
    assert exported("b", copies="two").copies > 0


def test_published_table_at_its_edges():
    sizes = [1, 2, 3, 4, 5, 99, 100, 999, 1000, 10**6]
    assert rehydrated(sizes) == [1, 2, 3, 3, 5, 5, 8, 8, 1, 1]


def test_fractions_are_drawn_by_the_document_alone(config_of, run, tmp_path):
    """Half of the short documents fall, and each long one is taken once or twice: by the seed and the id."""
    step = {"repeat": {"column": "text_words", "table": {0: 0.5, 40: 1.5}, "name": "times"}}
    manifest = run(config_of({"heuristics": {}}, step))
    rows = every_row(manifest, tmp_path / "run")
    factors = [0.5 if row["text_words"] < 40 else 1.5 for row in rows]
    wanted = copies(3, factors, [row["doc_id"] for row in rows])
    assert [row["times"] for row in rows] == wanted.tolist()
    assert set(wanted.tolist()) == {0, 1, 2}
    for row, number, factor in zip(rows, wanted, factors, strict=True):
        assert (row["fate"] == "rejected") == (number == 0)
        if row["fate"] == "rejected":
            assert (row["step"], row["rule"], row["value"]) == ("repeat.times", "times_min", factor)
    other = every_row(run(config_of({"heuristics": {}}, step, seed=4), "other"), tmp_path / "other")
    assert [row["times"] for row in other] != wanted.tolist()


def test_a_column_is_the_factor_itself_and_below_a_table_is_nothing(config_of, run, tmp_path):
    weight = {"combine": {"columns": ["text_lines"], "how": "sum", "weights": {"text_lines": 0.5}, "name": "weight"}}
    manifest = run(config_of({"heuristics": {}}, weight, {"repeat": {"column": "weight"}}))
    rows = every_row(manifest, tmp_path / "run")
    assert [row["copies"] for row in rows] == copies(
        3, [row["weight"] for row in rows], [row["doc_id"] for row in rows]
    ).tolist()
    low = run(config_of({"heuristics": {}}, {"repeat": {"column": "text_lines", "table": {3: 2}}}), "low")
    for row in every_row(low, tmp_path / "low"):
        assert row["copies"] == (2 if row["text_lines"] >= 3 else 0)


def test_documents_without_a_value(config_of, run, tmp_path):
    label = {"rules": {"rules": [{"column": "text_words", "op": "min", "threshold": 1, "reason": "any"}]}}
    config = config_of({"heuristics": {}}, label, {"repeat": {"column": "n", "missing": 4}})
    config["inputs"][0]["columns"] = {"n": "int64"}
    rows = every_row(run(config), tmp_path / "run")
    assert {row["copies"] for row in rows if row["source"] == "books"} == {4}  # they have no such field
    assert all(row["copies"] == row["n"] for row in rows if row["source"] == "web")


@pytest.mark.parametrize("by", [["source"], []])
@pytest.mark.parametrize("of", ["bytes", "documents", "text_words"])
def test_curve_is_dolma_3s_over_ranges_by_quality(config_of, run, tmp_path, by, of):
    buckets = {"combine": {"columns": ["text_words"], "how": "buckets", "buckets": 10, "name": "quality", "by": by}}
    curve = {"times": 1.2, "cap": 4.0, "throwaway": 0.3, "of": of, "by": by}
    manifest = run(config_of({"heuristics": {}}, buckets, {"repeat": {"column": "quality", "curve": curve}}))
    rows = every_row(manifest, tmp_path / "run")
    for group in {row["source"] if by else "all" for row in rows}:
        mine = [row for row in rows if not by or row["source"] == group]
        weights = [{"bytes": len(r["text"].encode()), "documents": 1, "text_words": r["text_words"]}[of] for r in mine]
        quality = np.array([row["quality"] for row in mine])
        numbers = sorted(set(quality.tolist()))
        tokens = [int(np.array(weights)[quality == number].sum()) for number in numbers]
        wanted = upsampling_curve(tokens, 1.2 * sum(tokens), cap=4.0, throwaway=0.3)
        factors = dict(zip(numbers, wanted.factors.tolist(), strict=True))
        expected = copies(3, [factors[q] for q in quality.tolist()], [row["doc_id"] for row in mine])
        assert [row["copies"] for row in mine] == expected.tolist()
        shown = told(manifest)["factors"][group]
        assert shown == {str(number): round(factor, 6) for number, factor in factors.items()}
    assert {row["rule"] for row in rows if row["fate"] == "rejected"} == {"copies_min"}
    steps = ({"heuristics": {}}, buckets, {"repeat": {"column": "quality", "curve": curve}})
    again = run(config_of(*steps), "two", workers=2)
    assert digests(again) == digests(manifest)


def test_continuous_curve_differs(config_of, run):
    buckets = {"combine": {"columns": ["text_words"], "how": "buckets", "buckets": 10, "name": "quality"}}
    found = [
        told(run(config_of({"heuristics": {}}, buckets, {"repeat": {"column": "quality", "curve": curve}}), name))
        for name, curve in (("a", {"times": 1.2, "cap": 2.5}), ("b", {"times": 1.2, "cap": 2.5, "continuous": True}))
    ]
    assert found[0]["factors"] != found[1]["factors"]


def test_a_wish_that_no_curve_fits_says_what_would(config_of, run):
    buckets = {"combine": {"columns": ["text_words"], "how": "buckets", "buckets": 4, "name": "quality"}}
    step = {"repeat": {"column": "quality", "curve": {"times": 9}}}
    with pytest.raises(DataError, match=r"step repeat: curve: .* at most .* can"):
        run(config_of({"heuristics": {}}, buckets, step))


def test_negative_factors_are_refused(config_of, run):
    weight = {"combine": {"columns": ["text_lines"], "how": "sum", "weights": {"text_lines": -1}, "name": "weight"}}
    with pytest.raises(DataError, match="a document's weight is -"):
        run(config_of({"heuristics": {}}, weight, {"repeat": {"column": "weight"}}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"column": "nothing"}, "column: no column 'nothing'"),
        ({"column": "text_words", "table": {1: 1}, "curve": {"times": 1}}, "either `table` or `curve`"),
        ({"column": "text_words", "table": {}}, "needs values to factors"),
        ({"column": "text_words", "table": {1: -1}}, "factors from 0 on"),
        ({"column": "text_words", "table": "fineweb"}, "table"),
        ({"column": "url"}, "'url' holds string, and factors are numbers"),
        ({"column": "text_mean_word_length", "curve": {"times": 1}}, "ranges are numbered by whole numbers"),
        ({"column": "text_words", "curve": {"times": 1, "of": "text_mean_word_length"}}, "whole numbers weigh"),
        ({"column": "text_words", "curve": {"times": 1, "by": ["topic"]}}, "curve.by: no column 'topic'"),
        ({"column": "text_words", "name": "text_words"}, "call the new one otherwise"),
        ({"column": "copies"}, "call the new one otherwise"),
    ],
)
def test_mistakes_are_named(config_of, run, options, message):
    with pytest.raises(ConfigError, match=message):
        run(config_of({"heuristics": {}}, {"repeat": options}))
