"""The report's page and sections, against the run's own files and slow twins."""

import base64
import hashlib
import itertools
import json
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from tamis.jobs.cli.app import app
from tamis.jobs.report import report
from tamis.jobs.report.blocks import Documents, Plot, Table, Words
from tamis.jobs.report.page import LIBRARIES
from tamis.jobs.report.report import COMPARED, SECTIONS, make_report
from tamis.jobs.report.sections import (
    buckets,
    clusters,
    contamination,
    correlations,
    costs,
    domains,
    duplicates,
    funnel,
    mixture,
    ngrams,
    rejected,
    repeats,
    scores,
    thresholds,
)
from tamis.jobs.unprintable import UNPRINTABLE
from tamis.schemas.errors import RunError
from tests.jobs.handmade import make_run
from tests.jobs.report.conftest import NASTY, QUESTION
from tests.source_tree import ROOT

ASSETS = ROOT / "jobs" / "report" / "assets"


class Page(HTMLParser):
    """Tags and texts of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.scripts, self.pres, self.ids = Counter(), [], [], [], []
        self.inside, self.blurred = [], 0
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags[tag] += 1
        self.attributes += attrs
        self.ids += [value for name, value in attrs if name == "id"]
        self.inside.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append([dict(attrs), ""])
        if tag == "pre":
            blurred = any("blurred" in (a.get("class") or "").split() for _, a in self.inside)
            self.pres.append([blurred, ""])

    def handle_endtag(self, tag):
        while self.inside and self.inside.pop()[0] != tag:
            pass

    def handle_data(self, data):
        for tag, _ in self.inside:
            if tag == "script":
                self.scripts[-1][1] += data
            if tag == "pre":
                self.pres[-1][1] += data


@pytest.fixture(scope="module")
def html(reported):
    return make_report(reported[:1])


@pytest.fixture(scope="module")
def parsed(html):
    return Page(html)


def test_the_page_has_a_section_of_each_kind(parsed):
    assert {*SECTIONS} - {"clusters"} <= {*parsed.ids}
    assert len(parsed.ids) == len(set(parsed.ids))


def test_the_page_stands_alone_and_only_its_own_scripts_run(html, parsed):
    assert len(html.encode()) < 10_000_000
    assert not [pair for pair in parsed.attributes if pair[0] in ("src", "srcset", "action", "data")]
    assert {value for name, value in parsed.attributes if name == "href"} == {
        "#main", "data:,", *(f"#{key}" for key in SECTIONS if key in parsed.ids)
    }  # fmt: skip
    assert not re.search(r"@import|url\(", html.partition("<style>")[2].partition("</style>")[0])
    assert "sourceMappingURL" not in html
    run = [text for attributes, text in parsed.scripts if "type" not in attributes]
    assert len(run) == len(LIBRARIES) + 1
    policy = next(value for name, value in parsed.attributes if name == "content" and "script-src" in value)
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in run]
    assert re.findall(r"'sha256-([^']+)'", policy) == digests
    assert policy.startswith("default-src 'none'")
    assert "'unsafe-inline'" not in policy.partition("style-src")[0]


def test_what_documents_hold_is_text(html, parsed):
    assert parsed.tags["img"] == parsed.tags["b"] == 0
    assert any(text.startswith(NASTY[:40]) for _, text in parsed.pres)
    assert not UNPRINTABLE.search(html.replace("\n", ""))
    assert "\\u202eright\\x07" in html


def test_harmful_texts_are_blurred_and_others_are_not(reported, facts_of):
    facts = facts_of(reported[0])
    assert facts.harmful_steps == {"perplexity.harmful"}
    bound = facts.manifest.steps[[s.label for s in facts.manifest.steps].index("perplexity.harmful")].thresholds
    rows = facts.rows("SELECT doc_id, step, harmful_perplexity, text FROM {run}.documents")
    low = {text for _, _, value, text in rows if value is not None and value < bound["harmful_perplexity_min"]}
    room = facts.room.text
    begins = {text[:room] for text in low}
    shown = [d for block in rejected.build(facts).blocks if isinstance(block, Documents) for d in block.documents]
    assert {d.blurred for d in shown} == {True, False}
    for document in shown:
        assert document.blurred == (document.text.split("\n[and ")[0] in begins)


def test_the_same_run_gives_the_same_bytes(reported, html):
    assert make_report(reported[:1]) == html


def test_funnel(reported, facts_of):
    facts = facts_of(reported[0])
    left, _ = funnel.remaining(facts)
    rows = facts.rows("SELECT source, step, text FROM {run}.documents")
    labels = [step.label for step in facts.manifest.steps]
    for source in facts.manifest.sources:
        for place in range(len(labels) + 1):
            stay = [t for s, step, t in rows if s == source and (step is None or labels.index(step) >= place)]
            assert left["documents"][source][place] == len(stay)
            assert left["bytes"][source][place] == sum(len(text.encode()) for text in stay)
    counted = {(c.source, i): c for i, step in enumerate(facts.manifest.steps) for c in step.counts}
    assert all(left["documents"][s][i + 1] == c.kept for (s, i), c in counted.items())
    assert {v.name for v in funnel.build(facts).blocks[0].variants} == {"documents", "bytes", "tokens"}


def test_scores_count_every_document_that_has_one(reported, facts_of):
    facts = facts_of(reported[0])
    section = scores.build(facts)
    plots = {block.title: block for block in section.blocks if isinstance(block, Plot)}
    axes = scores.spread(facts)
    assert {"quality_perplexity", "harmful_perplexity", "dsir_log_weight", "text_words"} <= set(plots) == set(axes)
    for name, plot in plots.items():
        values = [v for (v,) in facts.rows(f'SELECT "{name}" FROM {{run}}.documents') if v is not None]
        drawn = [v for v in values if v != axes[name].common and not (axes[name].log and v <= 0)]
        for variant in plot.variants:
            assert sum(row[2] for row in variant.rows) == len(drawn), name
            assert all(0 <= row[3] < len(variant.parts) for row in variant.rows)
        if axes[name].common is not None:
            assert f"{len(values) - len(drawn):,} of {len(values):,} documents have" in plot.note
    assert [v.name for v in plots["quality_perplexity"].variants] == ["source", "language", "fate"]
    marks = plots["quality_perplexity"].spec["layer"][1]["data"]["values"]
    assert len(marks) == 2 * len(facts.manifest.steps[7].thresholds["quality_perplexity_percentile"])
    assert "gopher_quality.min_word_count: at least 50" in plots["text_words"].note


def test_a_large_run_is_sampled_and_says_so(reported, facts_of):
    facts = facts_of(reported[0], documents=200)
    section = scores.build(facts)
    said = re.search(r"A sample of (\d+) of ([\d,]+) documents, drawn by a keyed hash", section.blocks[0].text)
    assert 100 < int(said[1]) < 300
    assert int(said[2].replace(",", "")) == facts.documents
    ids = facts.rows("SELECT doc_id FROM {run}.documents")
    bound = f"{int(facts.share * 16**8):08x}"
    drawn = {i for (i,) in ids if hashlib.md5(f"5/{i}".encode()).hexdigest() < bound}
    assert {i for (i,) in facts.rows(f"SELECT doc_id FROM {facts.drawn}.documents")} == drawn
    assert len(drawn) == int(said[1])


def test_rejected_shows_ten_of_each_rule(reported, facts_of):
    facts = facts_of(reported[0])
    blocks = [b for b in rejected.build(facts).blocks if isinstance(b, Documents)]
    for step in facts.manifest.steps:
        for rule, n in sum((Counter(c.rejected) for c in step.counts), Counter()).items():
            block = next(b for b in blocks if b.title.startswith(f"{step.label}: {rule}, {n:,} document"))
            assert len(block.documents) == min(10, n)
    few = [b for b in rejected.build(facts_of(reported[0], samples=3, rules=2)).blocks if isinstance(b, Documents)]
    assert [len(block.documents) for block in few] == [3, 3]


def test_thresholds_show_both_sides(reported, facts_of):
    section = thresholds.build(facts_of(reported[0], near=2))
    block = next(b for b in section.blocks if "quality_perplexity_percentile" in getattr(b, "title", ""))
    assert Counter(d.facts.partition(":")[0] for d in block.documents) == {"fell": 2, "passed": 2}
    assert all(document.text for document in block.documents)


COLUMN = st.lists(st.one_of(st.just(float("nan")), st.integers(0, 6).map(float)), min_size=60, max_size=60)


@given(st.lists(COLUMN, min_size=2, max_size=4))
def test_rank_correlations(columns):
    from scipy.stats import rankdata

    found = correlations.rank_correlations(np.array(columns))
    for i, j in itertools.product(range(len(columns)), repeat=2):
        both = ~np.isnan(columns[i]) & ~np.isnan(columns[j])
        x, y = (np.array(columns[k])[both] for k in (i, j))
        if len(x) < correlations.LEAST or len(set(x)) < 2 or len(set(y)) < 2:
            assert np.isnan(found[i, j])
        else:
            assert found[i, j] == pytest.approx(np.corrcoef(rankdata(x), rankdata(y))[0, 1])


WORDS = st.lists(st.lists(st.sampled_from(["a", "B", "ça", "d"]), max_size=9).map(" ".join), max_size=5)


@given(WORDS, st.integers(1, 4), st.integers(1, 5))
def test_common_ngrams(texts, size, top):
    times, owners = Counter(), {}
    for number, text in enumerate(texts):
        words = text.casefold().split()
        for i in range(len(words) - size + 1):
            gram = " ".join(words[i : i + size])
            times[gram] += 1
            owners.setdefault(gram, set()).add(number)
    expected = sorted(((-n, gram) for gram, n in times.items() if n > 1))[:top]
    found = ngrams.common_ngrams(texts, size, top)
    assert found == [(gram, -n, len(owners[gram])) for n, gram in expected]


def test_duplicates_and_domains(reported, facts_of):
    facts = facts_of(reported[0])
    section = duplicates.build(facts)
    sizes = facts.rows("SELECT DISTINCT dup_cluster, dup_cluster_size FROM {run}.documents WHERE dup_cluster_size > 1")
    assert sum(row[1] for row in section.blocks[0].variants[0].rows) == len({c for c, _ in sizes})
    assert domains.build(facts).blocks[2].rows[0][0] == "encyclopedia.example.org"


def test_contamination_stands_beside_its_item(reported, facts_of):
    section = contamination.build(facts_of(reported[0]))
    assert section.blocks[0].rows == [("quiz", 4, 1, 4, section.blocks[0].rows[0][4])]
    (hits,) = [block for block in section.blocks if isinstance(block, Documents)]
    assert all(QUESTION in document.text and document.beside == QUESTION for document in hits.documents)


def test_buckets_by_source_and_fate(reported, facts_of):
    facts = facts_of(reported[0])
    plot = buckets.build(facts).blocks[0]
    assert list(dict.fromkeys(row[0] for row in plot.variants[0].rows)) == ["head", "middle", "tail"]
    known = dict(
        facts.rows("SELECT quality_bucket, count(*) FROM {run}.documents WHERE quality_bucket <> '' GROUP BY 1")
    )
    for variant in plot.variants:
        assert {b: sum(row[2] for row in variant.rows if row[0] == b) for b in known} == known


def test_costs_and_their_price(reported, facts_of):
    facts = facts_of(reported[0])
    plain = next(block for block in costs.build(facts).blocks if isinstance(block, Table))
    facts.price = 3600.0
    priced = next(block for block in costs.build(facts).blocks if isinstance(block, Table))
    assert plain.heads == ["step", "CPU seconds", "%"]
    assert priced.heads[-1] == "cost"
    assert [row[3] for row in priced.rows] == pytest.approx([row[1] for row in priced.rows], abs=0.01)


def test_a_mixture_that_was_estimated(tmp_path, facts_of):
    make_run(tmp_path / "run")
    groups = [
        {
            "name": name,
            "size": 10,
            "share": share,
            "realised": share,
            "quota": 5,
            "epochs": 2.0,
            "times_seen": {"1": 3, "2": 4},
        }
        for name, share in (("books", 0.25), ("web", 0.75))
    ]
    rounds = [{"p": [0.5, 0.5]}, {"p": [0.25, 0.75]}]
    made = {
        "method": "aioli",
        "unit": "tokens",
        "groups": groups,
        "rounds": rounds,
        "notes": ["a note"],
        "proportions": {"books": 0.25, "web": 0.75},
    }
    path = tmp_path / "run" / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {"mixture": manifest["mixture"] | {"materialised": made}}))
    facts = facts_of(str(tmp_path / "run"))
    blocks = mixture.build(facts).blocks
    assert list(blocks[0].variants[0].rows) == [["books", 25.0], ["web", 75.0]]
    assert Words("a note") in blocks
    (shown,) = [b for b in blocks if isinstance(b, Plot) and b.title == "share by round"]
    assert shown.variants[0].rows == [[0, 0.5, 0], [0, 0.5, 1], [1, 0.25, 0], [1, 0.75, 1]]
    assert any(isinstance(b, Table) and b.caption == "how often documents are seen" for b in blocks)


def test_clusters_with_titles_influence_and_picks(tmp_path, facts_of):
    make_run(tmp_path / "run")
    facts = facts_of(str(tmp_path / "run"))
    assert clusters.build(facts) is None
    made = "(0, 'sea, ship', 10, 4, 5e-1, 6e-1, 2, 5), (1, 'code', 20, 4, -1e-1, NULL, 1, 0)"
    made += ", (2, NULL, 3, 0, NULL, NULL, 0, 0)"
    heads = "cluster, title, documents, scored, mean_influence, cluster_score, turns, selected"
    facts.rows(f"CREATE VIEW quad_clusters AS SELECT 'quad' AS step, * FROM (VALUES {made}) t({heads})")
    rounds = "(0, 0, 4e-1, 2), (1, 0, 6e-1, 3), (1, 1, -1e-1, 0)"
    facts.rows(
        "CREATE VIEW quad_rounds AS SELECT 'quad' AS step, * FROM "
        f"(VALUES {rounds}) t(round, cluster, mean_influence, selected)"
    )
    facts.rows("CREATE VIEW clusters AS SELECT 'cluster' AS step, cluster, title, documents FROM quad_clusters")
    del facts.views
    picks, table, played, titles = clusters.build(facts).blocks
    assert picks.variants[0].rows == [["0 sea, ship", 0.5, 50.0, 10], ["1 code", -0.1, 0.0, 20]]
    assert [row[1] for row in table.rows] == ["sea, ship", "code", None]
    assert played.variants[0].rows == [[0, 0.4, 0], [1, 0.6, 0], [1, -0.1, 1]]
    assert played.variants[1].rows == [[0, 2, 0], [1, 5, 0], [1, 0, 1]]
    assert [row[2] for row in titles.rows] == [20, 10, 3]


def test_two_runs(reported):
    html = make_report(reported)
    page = Page(html)
    assert {*COMPARED} <= {*page.ids}
    assert "config steps.language.min_score: 0.3 became 0.8" in html
    from tamis.jobs.manifest.compare import compare

    for moved in compare(*reported).moved:
        if moved.step is not None:
            told = f"rejected at {moved.step}: {moved.rule}"
            first, second = ("selected", told) if moved.only == "first" else (told, "selected")
            title = f"first: {first}; second: {second}; {moved.documents:,} document"
            assert title in html.replace("<wbr>", "")


def test_runs_of_one_name_are_told_apart(reported):
    assert "first (A): read" in make_report([reported[0], reported[0]])


def test_a_report_that_would_be_too_large_shows_less_of_each_text(reported, html, monkeypatch):
    monkeypatch.setattr(report, "LARGEST", len(html.encode()) - 100_000)
    smaller = make_report(reported[:1])
    assert len(smaller.encode()) < report.LARGEST
    assert "characters more]" in smaller


def test_a_run_of_almost_nothing(tmp_path):
    make_run(tmp_path / "run", [], errors=0)
    page = Page(make_report([str(tmp_path / "run")]))
    assert {"funnel", "record"} <= set(page.ids)


def test_the_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "run")
    go = CliRunner()
    done = go.invoke(app, ["report", "run"])
    assert done.exit_code == 0, done.exception
    assert "run/report.html" in done.output
    assert "open it in a browser" in done.output
    assert go.invoke(app, ["report", "run", "-o", "x.html", "--price", "0.5"]).exit_code == 0
    assert "At 0.5 a CPU hour" in Path("x.html").read_text()
    assert "At 0.5 a CPU hour" not in Path("run/report.html").read_text()
    assert "run/compared.html" in go.invoke(app, ["report", "run", "run"]).output
    assert isinstance(go.invoke(app, ["report", "nothing"]).exception, RunError)
    done = go.invoke(app, ["manifest", "verify", "run"])
    assert "report.html" not in done.output


def test_libraries_are_what_their_record_says():
    told = (ASSETS / "README.md").read_text()
    for name in LIBRARIES:
        assert hashlib.sha256((ASSETS / name).read_bytes()).hexdigest() in told
        assert (ASSETS / f"{name.removesuffix('.min.js')}.LICENSE").exists()
    assert sum((ASSETS / name).stat().st_size for name in LIBRARIES) < 5_000_000


def test_repeated_text(reported, facts_of):
    facts = facts_of(reported[0])
    section = repeats.build(facts)
    tables = [block for block in section.blocks if isinstance(block, Table)]
    assert [table.caption for table in tables] == [
        "paragraph_dedup: lines or paragraphs taken out",
        "substring_dedup.windows: substrings taken out",
    ]
    for table, label, prefix in zip(
        tables, ("paragraph_dedup", "substring_dedup.windows"), ("text", "windows"), strict=True
    ):
        (step,) = [step for step in facts.manifest.steps if step.label == label]
        assert sum(row[1] for row in table.rows) == step.metrics["documents"]
        assert sum(row[2] for row in table.rows) == step.metrics["changed"] > 0
        assert sum(row[3] for row in table.rows) == step.metrics["removed_chars"]
        fell = {counts.source: sum(counts.rejected.values()) for counts in step.counts}
        assert {row[0]: row[5] for row in table.rows} == {row[0]: fell.get(row[0], 0) for row in table.rows}
        (plot,) = [b for b in section.blocks if isinstance(b, Plot) and b.title.startswith(f"{label}:")]
        assert sum(row[2] for row in plot.variants[0].rows) == step.metrics["changed"]
        assert {row[1] for row in plot.variants[0].rows} == {*range(len(plot.variants[0].parts))}
        (documents,) = [b for b in section.blocks if isinstance(b, Documents) and b.title.startswith(f"{label}:")]
        lost = [int(re.search(r"([\d,]+) of", shown.facts)[1].replace(",", "")) for shown in documents.documents]
        found = facts.rows(f"SELECT {prefix}_removed_chars FROM documents WHERE {prefix}_removed_chars > 0")
        assert lost == sorted((row[0] for row in found), reverse=True)[: len(lost)]
    assert sum(row[5] for row in tables[0].rows) > 0


def test_without_repeated_text_there_is_no_section(tmp_path, facts_of):
    make_run(tmp_path / "run")
    assert repeats.build(facts_of(str(tmp_path / "run"))) is None
