"""The macros of `tamis sql`, against the same questions answered in plain Python; two runs; files of rows."""

import csv
import hashlib
import io
import itertools
import json
import re
from collections import Counter
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tamis.jobs.cli.app import app
from tamis.jobs.sql.limits import limits_of
from tamis.jobs.sql.macros import MACROS
from tamis.jobs.sql.query import connect, open_runs
from tamis.schemas.errors import ConfigError
from tests.jobs.handmade import DOCUMENTS, make_run

STEPS = (
    {"language": {"min_score": 0.05}},
    "exact_dedup",
    {"heuristics": {"presets": ["gopher_quality"], "thresholds": {"gopher_quality.min_stop_words": 3}}},
    {"rules": {"rules": [{"column": "n", "op": "max", "threshold": 80, "reason": "late"}]}},
    {
        "combine": {
            "columns": ["text_words"],
            "name": "size",
            "how": "mean",
            "keep": {"percentile": [10, 90], "by": ["source"]},
        }
    },
)


@pytest.fixture(scope="module")
def real(corpus, tmp_path_factory):
    """A run with rules of every kind, whose documents have columns called like parameters of macros."""
    from tamis.jobs.run.execute import execute
    from tamis.jobs.run.plan import make_plan
    from tamis.pipeline.graph.engine import Engine
    from tamis.pipeline.steps.registry import parse_config

    folder = str(tmp_path_factory.mktemp("macros") / "run")
    # The other source's documents have no n: a rule lets them pass.
    inputs = [
        {
            "path": str(corpus / "*.jsonl"),
            "source": "web",
            "columns": {"n": "int64", "bins": {"field": "n", "type": "int64"}},
        },
        {"path": str(corpus / "books.parquet"), "source": "books", "text": "body", "id": "key"},
    ]
    plain = {"name": "test", "seed": 3, "inputs": inputs, "steps": list(STEPS), "output": {"shard_mb": 0.02}}
    manifest = execute(make_plan(parse_config(plain), plain), folder, Engine(folder + "/work/passes")).manifest
    with connect(folder) as connection:
        cursor = connection.execute("FROM documents")
        names = [column[0] for column in cursor.description]
        rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        yield folder, manifest, connection, rows


def told(connection, query):
    cursor = connection.execute(query)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def test_funnel_is_what_the_manifest_counts(real):
    _, manifest, connection, _ = real
    rows = told(connection, "FROM funnel()")
    assert [row["step"] for row in rows] == [step.label for step in manifest.steps]
    for row, step in zip(rows, manifest.steps, strict=True):
        assert row["documents"] == sum(c.documents for c in step.counts)
        assert row["kept"] == sum(c.kept for c in step.counts)
        assert row["rejected"] == sum(sum(c.rejected.values()) for c in step.counts)
    assert all(later["documents"] == earlier["kept"] for earlier, later in itertools.pairwise(rows))


@pytest.mark.parametrize("bins", [1, 4, 20])
def test_histogram_counts_every_value_once(real, bins):
    connection, rows = real[2:]
    values = [row["text_words"] for row in rows if row["text_words"] is not None]
    found = told(connection, f"FROM histogram(text_words, {bins})")
    assert len(found) <= bins
    assert sum(row["documents"] for row in found) == len(values)
    for row in found:
        assert row["documents"] == sum(row["low"] <= value < row["high"] for value in values)
        assert row["selected"] == sum(
            r["fate"] == "selected" and r["text_words"] is not None and row["low"] <= r["text_words"] < row["high"]
            for r in rows
        )
    assert all((row["high"] - row["low"]) % 1 == 0 for row in found)  # of whole numbers


def test_histogram_of_fractions_by_part_with_bounds(real):
    connection, rows = real[2:]
    query = "FROM histogram_by(text_mean_word_length, source, bins_ := 5, low := 4, high := 5)"
    found = told(connection, query)
    # What lies beyond the bounds is in the outermost bins.
    expected = Counter(
        (r["source"], max(0, min(4, int((r["text_mean_word_length"] - 4) // ((5.0 - 4.0) / 5)))))
        for r in rows
        if r["text_mean_word_length"] is not None
    )
    assert {(row["part"], round((row["low"] - 4) * 5)): row["documents"] for row in found} == expected
    assert len(found) > 5
    whole = told(connection, "SELECT sum(documents) AS n FROM histogram(ln(text_words + 1))")
    assert whole[0]["n"] == sum(row["text_words"] is not None for row in rows)


def test_histogram_of_a_quoted_name_says_what_is_wrong(real):
    with pytest.raises(Exception, match="without quotes"):
        real[2].execute("FROM histogram('text_words')").fetchall()


def test_sample_is_drawn_by_the_keyed_hash(real):
    connection, rows = real[2:]
    for which, mine in (
        ("duplicate", [r for r in rows if r["rule"] == "duplicate"]),
        ("exact_dedup.duplicate", [r for r in rows if r["rule"] == "duplicate"]),
        ("heuristics", [r for r in rows if r["step"] == "heuristics"]),
        ("selected", [r for r in rows if r["fate"] == "selected"]),
    ):
        drawn = sorted(mine, key=lambda r: hashlib.md5(f"3/{r['doc_id']}".encode()).hexdigest())
        found = told(connection, f"FROM sample('{which}', 7)")
        assert [r["doc_id"] for r in found] == [r["doc_id"] for r in drawn[:7]]
        assert len(found) == min(7, len(mine)) > 0
        assert found[0]["text"]


def test_what_if_is_each_fate_inside_and_outside(real):
    connection, rows = real[2:]
    have = [r for r in rows if r["text_words"] is not None]
    for low, high in ((None, 40), (20, None), (20, 40)):
        bounds = ["NULL" if bound is None else str(bound) for bound in (low, high)]
        found = told(connection, f"FROM what_if(text_words, {', '.join(bounds)})")

        def inside(row, low=low, high=high):
            return (low is None or row["text_words"] >= low) and (high is None or row["text_words"] <= high)

        expected = Counter((r["source"], r["language"], r["fate"], inside(r)) for r in have)
        for row in found:
            key = (row["source"], row["language"])
            assert (row["stay"], row["fall"]) == (
                expected[(*key, "selected", True)],
                expected[(*key, "selected", False)],
            )
            assert row["rejected_inside"] == expected[(*key, "rejected", True)]
            assert row["rejected_outside"] == expected[(*key, "rejected", False)]
        assert sum(row["documents"] for row in found) == len(have)


def test_limits_name_column_and_numbers_of_every_rule_over_numbers(real):
    _, manifest, connection, rows = real
    limits = {limit.rule: limit for limit in limits_of(manifest, set(rows[0]))}
    assert limits["late"].column == "n"
    assert limits["late"].bounds[0].high == 80
    assert limits["gopher_quality.min_stop_words"].bounds[0].low == 3
    assert limits["language_score_min"].bounds[0].low == 0.05
    by_source = limits["size_percentile"]
    assert by_source.by == ("source",)
    assert {bounds.group for bounds in by_source.bounds} == {"web", "books"}
    assert "duplicate" not in limits
    assert len(told(connection, "FROM thresholds")) == sum(len(limit.bounds) for limit in limits.values())


def test_near_threshold_is_the_nearest_on_both_sides(real):
    _, manifest, connection, rows = real
    labels = [step.label for step in manifest.steps]
    for limit in limits_of(manifest, set(rows[0])):
        bounds = {b.group: [x for x in (b.low, b.high) if x is not None] for b in limit.bounds}

        def near(row, limit=limit, bounds=bounds):
            group = row[limit.by[0]] if limit.by else None
            return min(abs(row[limit.column] - bound) for bound in bounds[group])

        later = [
            r for r in rows
            if r[limit.column] is not None and (r["fate"] == "selected" or labels.index(r["step"]) > limit.position)
        ]  # fmt: skip
        fell = [r for r in rows if r["rule"] == limit.rule]
        found = told(connection, f"FROM near_threshold('{limit.rule}', 4)")
        assert [row["distance"] for row in found if row["side"] == "passed"] == pytest.approx(
            sorted(map(near, later))[:4]
        )
        expected = sorted(abs(r["value"] - r["threshold"]) for r in fell)[:4]
        assert [row["distance"] for row in found if row["side"] == "fell"] == pytest.approx(expected)


def test_a_threshold_of_no_rule_is_a_mistake(real):
    with pytest.raises(duckdb.Error, match="there is no rule nothing over a column"):
        told(real[2], "FROM near_threshold('nothing')")


def test_domains_count_documents_and_bytes(real):
    connection, rows = real[2:]
    found = told(connection, "FROM domains()")
    web = [r for r in rows if r["source"] == "web"]
    selected = [r for r in web if r["fate"] == "selected"]
    size = sum(len(r["text"].encode()) for r in web)
    kept = sum(len(r["text"].encode()) for r in selected)
    assert [tuple(row.values()) for row in found] == [("example.org", len(web), len(selected), size, kept)]


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://www.Example.org:8080/a?b#c", "example.org"),
        ("http://user:pw@a.b.example/", "a.b.example"),
        ("ftp://x?y", "x"),
        ("no address", ""),
    ],
)
def test_hosts(real, url, host):
    from tamis.jobs.sql.macros import host_of

    assert real[2].execute(f"SELECT {host_of('$1')}", [url]).fetchall() == [(host,)]


def scanned(connection, query):
    """The columns that the Parquet files are read for."""
    plan = json.loads(connection.execute(f"EXPLAIN (FORMAT json) {query}").fetchall()[0][1])
    found = []

    def walk(node):
        info = node.get("extra_info", {})
        if "READ_PARQUET" in str(info.get("Function", node.get("name", ""))):
            shown = info.get("Projections", [])
            found.extend(name for name in ([shown] if isinstance(shown, str) else shown) if name)
        for child in node.get("children", []):
            walk(child)

    assert "READ_PARQUET" in str(plan)
    for root in plan:
        walk(root)
    return set(found)


@pytest.mark.parametrize(
    ("query", "columns"),
    [
        ("FROM funnel()", set()),
        ("FROM histogram(text_words)", {"text_words"}),
        ("FROM histogram_by(text_words, source)", {"text_words", "source"}),
        ("FROM what_if(text_words, 1, 2)", {"text_words", "source", "language"}),
        ("SELECT domain, documents FROM domains()", {"url"}),
        ("SELECT doc_id FROM sample('duplicate')", {"doc_id", "rule", "step"}),
        ("SELECT doc_id FROM near_threshold('late')", {"doc_id", "n", "rule", "step", "value", "threshold"}),
        ("SELECT fate, count(*) FROM documents WHERE text_words > 5 GROUP BY ALL", {"text_words"}),
    ],
)
def test_queries_read_the_columns_they_need_alone(real, query, columns):
    found = set() if query == "FROM funnel()" else scanned(real[2], query)
    assert found <= columns


def test_macros_are_those_that_are_told(real):
    query = "SELECT DISTINCT function_name FROM duckdb_functions() WHERE NOT internal AND function_type = 'table_macro'"
    assert {name for (name,) in real[2].execute(query).fetchall()} == {head.partition("(")[0] for head in MACROS}


# --- two runs ---


def test_two_runs_are_joined_by_document(tmp_path):
    changed = [(*d[:3], None) if d[0] == "a3" else d for d in DOCUMENTS if d[0] != "b1"]
    make_run(tmp_path / "first")
    make_run(tmp_path / "second", changed)
    with open_runs([str(tmp_path / "first"), str(tmp_path / "second")]) as connection:
        rows = connection.execute("SELECT doc_id, fate_a, rule_a, fate_b FROM joined ORDER BY ALL").fetchall()
        assert len(rows) == len(DOCUMENTS)
        assert ("a3", "rejected", "language_score_min", "selected") in rows
        assert ("b1", "rejected", "language", None) in rows
        query = "SELECT (SELECT count(*) FROM a.selected), (SELECT count(*) FROM b.selected)"
        assert connection.execute(query).fetchall() == [(3, 4)]
        assert connection.execute("SELECT doc_id FROM b.sample('selected', 9) ORDER BY ALL").fetchall() == [
            ("a0",), ("a1",), ("a3",), ("b0",)
        ]  # fmt: skip
    with pytest.raises(ConfigError, match="one run or two"):
        open_runs(["x"] * 3)


def test_the_command_takes_two_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("first", "second"):
        make_run(tmp_path / name)
    go = CliRunner()
    done = go.invoke(app, ["sql", "first", "second", "SELECT count(*) AS n FROM joined", "--json"])
    assert done.output.splitlines() == ['{"n": 7}']
    done = go.invoke(
        app, ["sql", "first", "second"], input="SELECT count(*) AS n FROM b.selected;\n.schema b.thresholds\n.macros"
    )
    assert done.output.startswith("n\n─\n3\n")
    assert "the smallest value that is kept" in done.output
    assert "near_threshold(rule, n := 5)" in done.output
    for arguments, message in (
        (["first", "se/cond"], "neither SQL nor a folder"),
        (["first", "second", "SELECT 1", "SELECT 2"], "one argument with SQL in quotes"),
        (["first", "second", "SELECT x FROM b.selectd"], "did you mean 'b.selected'"),
        (["first", "second", "COPY joined TO 'second/manifest.json'"], "belongs to the run"),
        (["first", "-o", "x.csv"], "--output takes the rows of a query"),
        (["first", "SELECT 1", "-o", "x.txt"], "rows are written to .parquet, .csv, .tsv or .jsonl"),
        (["first", "SET threads = 2", "-o", "x.csv"], "gives no rows"),
        (["first", "SELECT 1; SELECT 2", "-o", "x.csv"], "rows of one query"),
    ):
        error = go.invoke(app, ["sql", *arguments]).exception
        assert isinstance(error, ConfigError)
        assert re.search(re.escape(message), str(error)), str(error)


# --- files ---


def test_rows_go_to_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "run")
    query = "SELECT doc_id, doc_id, dup_cluster, text FROM documents ORDER BY doc_id"
    for suffix in ("parquet", "csv", "tsv", "jsonl"):
        done = CliRunner().invoke(app, ["sql", "run", query, "-o", f"x.{suffix}"])
        assert done.exit_code == 0, done
        assert "7 rows written to" in done.output
    table = pq.read_table("x.parquet")
    assert table.schema.names == ["doc_id", "doc_id_1", "dup_cluster", "text"]
    assert table.column("text").to_pylist() == [text for _, _, text, _ in sorted(DOCUMENTS)]
    rows = list(csv.reader(io.StringIO(Path("x.csv").read_text(), newline="")))
    assert rows == list(csv.reader(io.StringIO(Path("x.tsv").read_text(), newline=""), delimiter="\t"))
    assert [row[3] for row in rows[1:]] == table.column("text").to_pylist()
    lines = [json.loads(line) for line in Path("x.jsonl").read_text().splitlines()]
    assert [line["doc_id_1"] for line in lines] == table.column("doc_id").to_pylist()
    done = CliRunner().invoke(app, ["sql", "run", query, "-o", "few.parquet", "--limit", "2"])
    assert pq.read_table("few.parquet").num_rows == 2
