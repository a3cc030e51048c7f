"""The step `near_dedup` in real runs: against the same clusters found in this process, on every runner, begun again."""

import json
import math
import random
from collections import Counter
from functools import partial

import numpy as np
import pytest

from tamis.jobs.cli.run_and_plan import show_plan
from tamis.jobs.run.check import check_steps
from tamis.pipeline.corpus import deduplicate_near, near_clusters, near_edges
from tamis.pipeline.passes import read
from tamis.pipeline.steps.registry import parse_config, parse_step
from tamis.schemas.errors import ConfigError
from tamis.scorers.dedup.near_duplicates import Shard
from tests.jobs.finished_runs import digests, every_row, ran

EMBEDDED = ("--job_endpoint=embed", "--environment_type=LOOPBACK")
RUNNERS = {
    "two processes": {"workers": 2},
    "older local": {"runner": "BundleBasedDirectRunner"},
    "portable": {"runner": "PortableRunner", "options": EMBEDDED},
}
STEP = {"shingle_size": 3, "bands": 10, "rows": 3, "verify": "shingles", "threshold": 0.5}


@pytest.fixture(scope="module", autouse=True)
def small_shards():
    """Cut what is read into shards and batches of a few documents; other processes cut as ever."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(read, "CUT_ROWS", 13)
        patch.setattr(read, "BATCH_ROWS", 5)
        yield


def documents(seed, size):
    """Texts in families, each a copy of its family's with some words changed, and some shorter than a shingle."""
    draw = random.Random(seed)
    bases = [[f"w{draw.randrange(400)}" for _ in range(30)] for _ in range(size // 8)]
    found = []
    for i in range(size):
        text = list(draw.choice(bases))
        for _ in range(draw.choice([0, 0, 1, 2, 4, 9])):
            text[draw.randrange(30)] = f"v{draw.randrange(1000)}"
        if draw.random() < 0.1:
            text = draw.choice([["one"], ["a", "b"], ["!?"]])
        row = {
            "id": f"d{i}",
            "text": " ".join(text),
            "year": draw.choice([None, 2001, 2002, 2003]),
            "host": draw.choice("abc"),
        }
        found.append(row)
    return found


def write(folder, rows, cuts):
    folder.mkdir(parents=True, exist_ok=True)
    for number, part in enumerate(np.split(np.arange(len(rows)), cuts)):
        (folder / f"part{number}.jsonl").write_text("".join(json.dumps(rows[i]) + "\n" for i in part))


def config_over(folder, *steps, columns=("year", "host")):
    kinds = {"year": "int64", "host": "string"}
    entry = {"path": str(folder / "*.jsonl"), "source": "web", "columns": {name: kinds[name] for name in columns}}
    return {"name": "near", "inputs": [entry], "steps": list(steps), "output": {"shard_mb": 0.01}}


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pool")
    write(folder, documents(3, 160), [30, 31, 90, 90, 130])
    return folder


@pytest.fixture(scope="module")
def expected(pool, tmp_path_factory):
    """A run of `STEP`: its folder and manifest."""
    folder = tmp_path_factory.mktemp("expected")
    return folder, ran(config_over(pool, {"near_dedup": STEP}), folder)


def twin(rows, step, column=None):
    """Each row's survivor, cluster size and fate, found over all rows at once."""
    ids = [row["doc_id"] for row in rows]
    values = (
        None if column is None else [row[column] if column != "length" else len(row["text"].encode()) for row in rows]
    )
    found = step.options().find([Shard([row["text"] for row in rows], ids, values)])
    return [
        (ids[int(kept)], int(size), "selected" if int(kept) == i else "rejected")
        for i, (kept, size) in enumerate(zip(found.kept[0], found.sizes[0], strict=True))
    ]


OPTIONS = {
    "bands alone": ({"preset": "fineweb"}, None),
    "estimated, the longest": ({**STEP, "verify": "estimate", "keep": "longest", "name": "near"}, "length"),
    "no chains, the newest": ({**STEP, "link": "kept", "keep": "newest", "keep_column": "year"}, "year"),
    "characters": (
        {"shingles": "characters", "hash": "sha1", "threshold": 0.6, "permutations": 32, "keep": "priority",
         "keep_column": "host", "priorities": ["c", "a"]},
        "host",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", OPTIONS)
def test_clusters_are_those_of_one_pass_over_all(pool, tmp_path, case):
    options, column = OPTIONS[case]
    manifest = ran(config_over(pool, {"near_dedup": options}), tmp_path)
    check_against_twin(manifest, tmp_path, options, column)


def test_verified_clusters_are_those_of_one_pass_over_all(expected):
    folder, manifest = expected
    check_against_twin(manifest, folder, STEP, None)
    metrics = manifest.steps[1].metrics
    assert (metrics["bands"], metrics["rows"], metrics["components"]) == (10, 3, "in memory")
    assert metrics["recall"]["0.50"] == pytest.approx(1 - (1 - 0.5**3) ** 10, abs=1e-6)
    assert metrics["candidates"] + metrics["copies"] >= metrics["edges"] > 0
    assert min(cluster["lowest_similarity"] for cluster in metrics["largest"]) >= 0.5
    assert metrics["removed"] == {"web": {"documents": 160, "removed": metrics["duplicates"]}}
    assert any("of web" in warning and "near-duplicates" in warning for warning in manifest.warnings)


def check_against_twin(manifest, folder, options, column):
    rows = every_row(manifest, folder)
    prefix = options.get("name", "dup")
    found = [(row[f"{prefix}_cluster"], row[f"{prefix}_cluster_size"], row["fate"]) for row in rows]
    assert found == twin(rows, parse_step({"near_dedup": options}, "steps[0]"), column)
    assert {row["rule"] for row in rows if row["fate"] == "rejected"} == {"near_duplicate"}
    survivors = [row["doc_id"] for row in rows if row["fate"] == "selected"]
    assert sorted({cluster for cluster, _, _ in found}) == survivors  # exactly one of each cluster stays
    sizes = Counter(cluster for cluster, _, _ in found)
    assert all(size == sizes[cluster] for cluster, size, _ in found)
    clusters = sorted(((n, name) for name, n in sizes.items() if n > 1), key=lambda one: (-one[0], one[1]))
    metrics = manifest.steps[1].metrics
    assert [(one["size"], one["doc_id"]) for one in metrics["largest"]] == clusters[:10]
    assert metrics["clusters"] == len(clusters)
    assert metrics["duplicates"] == len(rows) - len(survivors) > 0
    assert not [name for name in rows[0] if name.endswith(("_bands", "_digest", "_minima", "_length"))]


@pytest.mark.parametrize("runner", RUNNERS)
def test_every_runner_gives_the_same_bytes(pool, tmp_path, expected, runner):
    assert digests(ran(config_over(pool, {"near_dedup": STEP}), tmp_path, **RUNNERS[runner])) == digests(expected[1])


def test_a_run_can_lie_elsewhere(pool, expected):
    pytest.importorskip("fsspec")
    assert digests(ran(config_over(pool, {"near_dedup": STEP}), "memory://runs/near")) == digests(expected[1])


def test_order_and_sharding_change_nothing(tmp_path, expected):
    rows = documents(3, 160)
    random.Random(1).shuffle(rows)
    write(tmp_path / "pool", rows, [70])
    manifest = ran(config_over(tmp_path / "pool", {"near_dedup": STEP}), tmp_path / "run")
    assert manifest.steps[1].metrics == expected[1].steps[1].metrics
    assert every_row(manifest, tmp_path / "run") == every_row(expected[1], expected[0])


def test_partitions_and_components_out_of_core_change_nothing(pool, tmp_path, expected, monkeypatch):
    monkeypatch.setattr(near_edges, "BAND_ROWS_PER_PARTITION", 300)
    monkeypatch.setattr(near_edges, "EVIDENCE_BYTES_PER_PARTITION", 5000)
    monkeypatch.setattr(near_clusters, "MEMBERS_PER_PARTITION", 20)
    monkeypatch.setattr(deduplicate_near, "NearDedup", partial(deduplicate_near.NearDedup, edges_in_memory=25))
    manifest = ran(config_over(pool, {"near_dedup": STEP}), tmp_path)
    assert digests(manifest) == digests(expected[1])
    assert manifest.steps[1].metrics == expected[1].steps[1].metrics | {"components": "out of core"}


def test_what_is_finished_is_not_found_again(pool, tmp_path, monkeypatch):
    step = STEP | {"verify": "estimate"}
    first = ran(config_over(pool, {"near_dedup": step}), tmp_path)
    work = tmp_path / "work"
    files = {
        path: path.stat().st_mtime_ns for path in work.glob("*near_dedup-*/**/*.arrow") if "exchange" not in str(path)
    }

    def broken(*_):
        raise AssertionError

    later = {"rules": {"rules": [{"column": "year", "op": "min", "threshold": 1, "reason": "old"}]}}
    with monkeypatch.context() as patch:
        patch.setattr(near_edges.MatchBands, "__call__", broken)
        patch.setattr(near_edges.MatchEvidence, "__call__", broken)
        second = ran(config_over(pool, {"near_dedup": step}, later), tmp_path)
    assert second.steps[1].metrics == first.steps[1].metrics
    assert second.selected == first.selected
    assert files == {path: path.stat().st_mtime_ns for path in files}
    (edges, *_) = work.glob("*-decision-*/edges/*.arrow")
    before = edges.read_bytes()
    edges.write_bytes(before[:-1])
    assert ran(config_over(pool, {"near_dedup": step}), tmp_path).steps[1].metrics == first.steps[1].metrics
    assert edges.read_bytes() == before
    # another policy signs nothing again
    ran(config_over(pool, {"near_dedup": step | {"keep": "oldest", "keep_column": "year"}}), tmp_path)
    assert len(list(work.glob("*near_dedup-columns-*"))) == 1


def test_planted_duplicates_are_found_as_often_as_the_curve_says(tmp_path):
    """Pairs of known Jaccard similarity: recall within four standard errors, and nothing else is joined."""
    pairs, union, draw = 150, 60, random.Random(5)
    similarities = (0.5, 0.7, 0.9, 1.0)
    rows = []
    for similarity in similarities:
        common = round(similarity * union)
        for i in range(pairs):
            items = [f"s{similarity}p{i}x{j}" for j in range(union)]
            own = draw.sample(range(common, union), (union - common) // 2)
            halves = (own, [j for j in range(common, union) if j not in own])
            for side, half in enumerate(halves):
                rows.append(
                    {"id": f"{similarity}/{i}/{side}", "text": " ".join(items[:common] + [items[j] for j in half])}
                )
    write(tmp_path / "pool", rows, [500])
    options = {"shingle_size": 1, "folding": "none", "bands": 8, "rows": 4, "verify": "shingles", "threshold": 0.5}
    manifest = ran(config_over(tmp_path / "pool", {"near_dedup": options}, columns=()), tmp_path / "run")
    names = {
        row["doc_id"]: json.loads(row["meta"])["id"].rsplit("/", 1)[0] for row in every_row(manifest, tmp_path / "run")
    }
    joined = Counter()
    for row in every_row(manifest, tmp_path / "run"):
        assert names[row["doc_id"]] == names[row["dup_cluster"]]  # precision is 1
        joined[float(names[row["doc_id"]].split("/")[0])] += row["fate"] == "rejected"
    for similarity in similarities:
        expected = 1 - (1 - similarity**4) ** 8
        assert abs(joined[similarity] / pairs - expected) <= 4 * math.sqrt(expected * (1 - expected) / pairs) + 1e-9


def test_rows_that_fell_before_take_no_part(pool, tmp_path):
    cut = {"rules": {"rules": [{"column": "year", "op": "min", "threshold": 2002, "reason": "old"}]}}
    manifest = ran(config_over(pool, "exact_dedup", cut, {"near_dedup": STEP | {"name": "near"}}), tmp_path)
    rows = every_row(manifest, tmp_path)
    alive = [row for row in rows if row["near_cluster"] is not None]
    assert {row["step"] for row in rows if row["near_cluster"] is None} == {"exact_dedup", "rules"}
    found = [(row["near_cluster"], row["near_cluster_size"], row["fate"]) for row in alive]
    assert found == twin(alive, parse_step({"near_dedup": STEP}, "steps[0]"))


def test_nothing_to_join(tmp_path):
    write(
        tmp_path / "pool",
        [{"id": "a", "text": "x"}, {"id": "b", "text": "x"}, {"id": "c", "text": "other words " * 9}],
        [1],
    )
    manifest = ran(config_over(tmp_path / "pool", {"near_dedup": {"preset": "dolma3"}}, columns=()), tmp_path / "run")
    assert manifest.selected == 3
    assert [row["dup_cluster_size"] for row in every_row(manifest, tmp_path / "run")] == [1, 1, 1]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"preset": "fineweb", "bands": 3}, "preset fineweb says what `bands` is"),
        ({"bands": 3}, "give `bands` and `rows` together"),
        ({"bands": 3, "rows": 2, "permutations": 9}, "leave `permutations` out"),
        ({"permutations": 9}, "divided by a `threshold`"),
        ({"preset": "fineweb", "threshold": 0.7}, "give `verify` too"),
        ({"bands": 3, "rows": 2, "threshold": 0.7}, "give `verify` too"),
        ({"preset": "dolma3", "verify": "none", "threshold": 0.7}, "give `verify` too"),
        ({"keep": "newest"}, "needs `keep_column`"),
        ({"keep_column": "year"}, "looks at no column"),
        ({"keep": "priority"}, "needs `priorities`"),
        ({"priorities": ["a"]}, "belong to `keep: priority`"),
        ({"keep": "priority", "priorities": ["a", "a"]}, "names a value twice"),
        ({"name": "1"}, "a name of the form"),
    ],
)
def test_contradictions_are_sentences(options, told):
    with pytest.raises(ConfigError, match=told) as error:
        parse_step({"near_dedup": options}, "steps[0]")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"keep": "newest", "keep_column": "yaer"}, "no column 'yaer' at this point"),
        ({"keep": "highest", "keep_column": "url"}, "can't order a column of type string"),
        ({"keep": "priority", "keep_column": "timestamp", "priorities": ["a"]}, "priorities are texts"),
    ],
)
def test_columns_of_policies_are_checked(options, told):
    with pytest.raises(ConfigError, match=told):
        check_steps([parse_step({"near_dedup": options}, "steps[0]")], {})


def test_two_steps_need_names():
    steps = [parse_step("exact_dedup", "steps[0]"), parse_step("near_dedup", "steps[1]")]
    with pytest.raises(ConfigError, match="give the step another `name`"):
        check_steps(steps, {})
    named = parse_step({"near_dedup": {"name": "near"}}, "steps[1]")
    assert {"dup_cluster", "near_cluster", "near_cluster_size"} <= set(check_steps([steps[0], named], {}).names)


def test_options_stand_for_what_they_say():
    def options(**given):
        return parse_step({"near_dedup": given}, "steps[0]").options()

    assert options() == options(preset="fineweb") == options(bands=14, rows=8)
    assert (options().bands, options().verify) == ((14, 8), "none")
    dolma = options(preset="dolma3")
    assert (dolma.bands, dolma.verify, dolma.threshold) == ((26, 11), "shingles", 0.8)
    assert options(threshold=0.5, permutations=128).bands == (25, 5)  # datasketch's
    assert options(preset="fineweb", verify="estimate", threshold=0.7).threshold == 0.7


@pytest.mark.parametrize("options", [{}, {"preset": "dolma3"}, STEP, {"threshold": 0.7, "keep": "longest"}])
def test_a_resolved_config_is_the_same_step(options):
    step = parse_step({"near_dedup": options}, "steps[0]")
    assert parse_step({"near_dedup": step.model_dump(mode="json")}, "steps[0]") == step


def test_a_plan_says_where_clusters_are_found(pool, capsys):
    plain = config_over(pool, {"near_dedup": STEP})
    show_plan(parse_config(plain), plain, as_json=False)
    shown = capsys.readouterr().out
    assert "step near_dedup: about" in shown
    assert "clusters are found in memory" in shown
    assert max(map(len, shown.splitlines())) <= 80
    step = parse_step({"near_dedup": STEP}, "steps[0]")
    assert "on disk where there are over 16,000,000 pairs" in step.memory(10**9, {}).how


def test_memory_grows_with_the_corpus_up_to_a_partition():
    step = parse_step({"near_dedup": {"preset": "dolma3"}}, "steps[0]")
    need = [step.memory(documents, {}).worker for documents in (10**3, 10**5, 10**8, 10**10)]
    assert need[0] < need[1] < need[2] == need[3] < 2 << 30
