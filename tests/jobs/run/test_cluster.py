"""The step `cluster` in real runs: against k-means in memory, on runners, in any shards, begun again in the middle."""

import json

import numpy as np
import pyarrow as pa
import pytest

import tamis
from tamis.jobs.cli.manifest_output import show
from tamis.jobs.manifest.verify import verify
from tamis.jobs.run.check import check_steps
from tamis.jobs.sql.views import connect
from tamis.pipeline.corpus import cluster_vectors
from tamis.pipeline.steps.registry import parse_step
from tamis.schemas.errors import ConfigError, DataError, ModelError, RunError
from tamis.scorers.embeddings.hashed import HashedEmbeddings
from tamis.scorers.embeddings.kmeans import fit_clusters
from tamis.scorers.embeddings.kmeans_start import start_spread
from tests.jobs.finished_runs import ran

EMBED = {"embed": {"dimensions": 8, "write": False}}


def clustered(folder):
    with connect(str(folder)) as connection:
        rows = connection.execute("SELECT doc_id, text, cluster, cluster_distance FROM documents ORDER BY 1, 2")
        return rows.fetchall()


CLUSTER = {"cluster": {"clusters": 4, "rounds": 18}}
_made = {}


@pytest.fixture
def reference(config_of, tmp_path):
    if not _made:
        manifest = ran(config_of(EMBED, CLUSTER), tmp_path / "reference")
        _made["reference"] = (manifest, clustered(tmp_path / "reference"))
    return _made["reference"]


def test_clusters_are_those_of_k_means_in_memory(reference):
    manifest, rows = reference
    ids, texts = [row[0] for row in rows], [row[1] for row in rows]
    vectors = HashedEmbeddings(8).vectors(texts)
    start = start_spread(vectors, 4, ids=ids, seed=3)
    found = fit_clusters(vectors, start, ids=ids, rounds=18, empty="farthest").assign(vectors)
    assert [row[2] for row in rows] == found.clusters.tolist()
    assert [row[3] for row in rows] == found.distances.tolist()
    told = manifest.steps[-1].metrics
    assert told["settled"]
    assert told["rounds"] < 18
    assert told["documents"] == len(rows)


def test_two_workers_find_the_same(config_of, tmp_path, reference):
    ran(config_of(EMBED, CLUSTER), tmp_path / "other", workers=2)
    assert clustered(tmp_path / "other") == reference[1]


@pytest.mark.slow
def test_another_runner_finds_the_same(config_of, tmp_path):
    plain = config_of(EMBED, {"cluster": {"clusters": 3, "rounds": 2, "minibatch": 0.5}})
    ran(plain, tmp_path / "here")
    ran(plain, tmp_path / "there", runner="BundleBasedDirectRunner")
    assert clustered(tmp_path / "there") == clustered(tmp_path / "here")


def test_shards_and_order_do_not_matter(config_of, tmp_path, reference):
    plain = config_of(EMBED, CLUSTER, output={"shard_mb": 10})
    plain["inputs"] = plain["inputs"][::-1]
    ran(plain, tmp_path / "other")
    assert clustered(tmp_path / "other") == reference[1]


def test_stopped_run_goes_on_where_it_was(config_of, tmp_path, reference, monkeypatch):
    plain = config_of(EMBED, CLUSTER)
    real = cluster_vectors._Move.__call__
    stopped = []

    def move(self, task, values):
        if self.number == 3 and not stopped:
            stopped.append(self.number)
            raise RunError("stopped here")
        return real(self, task, values)

    monkeypatch.setattr(cluster_vectors._Move, "__call__", move)
    with pytest.raises(RunError, match="stopped here"):
        ran(plain, tmp_path / "other")
    summed = []
    sum_shard = cluster_vectors._SumShard.__call__

    def counted(self, shard, values):
        summed.append(self.number)
        return sum_shard(self, shard, values)

    monkeypatch.setattr(cluster_vectors._SumShard, "__call__", counted)
    ran(plain, tmp_path / "other")
    assert clustered(tmp_path / "other") == reference[1]
    assert min(summed) == 2  # rounds 1 and 2 were there


def test_damaged_centroids_are_found_again(config_of, tmp_path, reference):
    plain = config_of(EMBED, CLUSTER)
    ran(plain, tmp_path / "other")
    (model,) = (tmp_path / "other" / "work").glob("*-cluster-fit-*/clusters/????????????????????????.value")
    for path in [*model.parent.parent.glob("about/*"), *(tmp_path / "other").glob("work/*-cluster-state-*/*")]:
        path.unlink()
    model.write_bytes(b"?" + model.read_bytes()[1:])
    (tmp_path / "other" / "manifest.json").unlink()
    ran(plain, tmp_path / "other")
    assert clustered(tmp_path / "other") == reference[1]


@pytest.mark.parametrize("change", [{"rounds": 1}, {"minibatch": 0.3}, {"sample": 9}, {"clusters": 3}], ids=str)
def test_each_option_changes_clusters(config_of, tmp_path, reference, change):
    ran(config_of(EMBED, {"cluster": {"clusters": 4, "rounds": 18, **change}}), tmp_path / "other")
    assert clustered(tmp_path / "other") != reference[1]


def write(folder, texts):
    folder.mkdir(parents=True, exist_ok=True)
    rows = [json.dumps({"id": f"d{i}", "text": text}) for i, text in enumerate(texts)]
    (folder / "a.jsonl").write_text("\n".join(rows) + "\n")
    return {"inputs": [{"path": str(folder / "a.jsonl"), "source": "web"}], "seed": 5, "output": {"shard_mb": 1}}


def test_empty_clusters_take_distinct_vectors_or_stay(tmp_path):
    # Starts drawn from few documents: the many others then lie in few clusters.
    texts = [" ".join(f"w{j * i % 17}" for j in range(8)) for i in range(60)]
    plain = write(tmp_path / "in", texts)
    found = {}
    for empty in ("keep", "farthest"):
        steps = [{"embed": {"dimensions": 2}}, {"cluster": {"clusters": 12, "empty": empty, "rounds": 5}}]
        manifest = ran({**plain, "steps": steps}, tmp_path / empty)
        found[empty] = manifest.steps[-1].metrics["empty"]
    assert found["farthest"] <= found["keep"]


def test_two_steps_and_their_views(config_of, tmp_path, run):
    steps = [EMBED, {"cluster": {"clusters": 3}}, {"cluster": {"clusters": 2, "name": "topic", "minibatch": 0.5}}]
    manifest = run(config_of(*steps))
    assert {(one.step, one.name, one.rows) for one in manifest.tables} == {
        ("cluster", "clusters", 3),
        ("cluster.topic", "clusters", 2),
    }
    folder = str(tmp_path / "run")
    with connect(folder) as connection:
        rows = connection.execute("SELECT * FROM clusters ORDER BY step, cluster").fetchall()
        sizes = connection.execute("SELECT cluster, count(*) FROM documents GROUP BY 1 ORDER BY 1").fetchall()
        nearest = connection.execute(
            "SELECT cluster, arg_min(doc_id, (cluster_distance, doc_id)) FROM documents GROUP BY 1 ORDER BY 1"
        ).fetchall()
        comment = "SELECT comment FROM duckdb_columns() WHERE table_name = 'clusters' AND column_name = 'title'"
        assert "distinctive words" in connection.execute(comment).fetchone()[0]
    assert [row[0] for row in rows] == ["cluster"] * 3 + ["cluster.topic"] * 2
    assert [(row[1], row[3]) for row in rows[:3]] == sizes
    assert [(row[1], row[4][0]) for row in rows[:3]] == nearest
    assert all(row[2] for row in rows)
    assert verify(folder).ok
    table = tmp_path / "run" / manifest.tables[0].path
    data = table.read_bytes()
    table.write_bytes(data[:-20] + bytes(20))
    assert any("tables/cluster/clusters.parquet was changed" in told for told in verify(folder).failures)
    table.unlink()
    assert any("clusters.parquet is missing" in told for told in verify(folder).failures)
    again = run(config_of(EMBED, {"cluster": {"clusters": 3}}))
    assert [one.step for one in again.tables] == ["cluster"]
    assert not (tmp_path / "run" / "tables" / "cluster.topic").exists()
    assert verify(folder).ok


def test_the_manifest_shows_tables(config_of, tmp_path, run, capsys):
    run(config_of(EMBED, {"cluster": {"clusters": 3, "rounds": 1}}))
    show(str(tmp_path / "run"))
    told = capsys.readouterr().out.partition("tables that decisions left\n")[2].splitlines()
    assert told[0].split() == ["step", "table", "rows", "size", "digest"]
    assert told[2].split()[:3] == ["cluster", "clusters", "3"]
    assert all(len(line) <= 80 for line in told)


def test_a_table_that_is_gone_is_written_again(config_of, tmp_path, run):
    plain = config_of(EMBED, {"cluster": {"clusters": 3}})
    first = run(plain)
    (tmp_path / "run" / first.tables[0].path).unlink()
    assert run(plain).tables == first.tables
    assert (tmp_path / "run" / first.tables[0].path).exists()


def test_titles_name_what_clusters_are_about(tmp_path):
    kinds = ["whale ship sea captain harpoon", "court judge law plaintiff appeal", "sugar butter flour oven dough"]
    texts = [f"the {' '.join(np.roll(kinds[i % 3].split(), i))} and {i}" for i in range(90)]
    plain = write(tmp_path / "in", texts)
    ran({**plain, "steps": [EMBED, {"cluster": {"clusters": 3}}]}, tmp_path / "run")
    titles = tamis.open(tmp_path / "run").sql("SELECT title FROM clusters")["title"].to_pylist()
    words = [set(kind.split()) for kind in kinds]
    assert sorted(max(range(3), key=lambda k: len(words[k] & set(title.split(", ")))) for title in titles) == [0, 1, 2]
    assert all(any(set(title.split(", ")) <= own for own in words) for title in titles)


@pytest.mark.parametrize(
    ("texts", "clusters", "told"),
    [
        (["one word here"] * 20, 3, "3 clusters can't be made of the 1 distinct vectors there are: ask for 1"),
        (["alpha", "beta", "alpha"] * 5, 4, "of the 2 distinct vectors there are: ask for 2"),
        (["!", "?"], 1, None),
    ],
)
def test_what_cannot_be_clustered_is_one_sentence(tmp_path, texts, clusters, told):
    plain = write(tmp_path / "in", texts)
    plain = {**plain, "steps": [EMBED, {"cluster": {"clusters": clusters}}]}
    if told is None:
        assert ran(plain, tmp_path / "run").selected == len(texts)
        return
    with pytest.raises(DataError, match=told):
        ran(plain, tmp_path / "run")


SCORER = """
import numpy as np, pyarrow as pa

class Odd:
    schema = pa.schema([pa.field("odd", pa.list_(pa.float32(), 2), nullable=False)])

    def score(self, texts):
        rows = [{"nan": [np.nan, 1], "zero": [0, 0]}.get(t, [len(t), i]) for i, t in enumerate(texts.to_pylist())]
        return pa.record_batch([pa.array(rows, self.schema.field(0).type)], schema=self.schema)
"""


def test_nan_is_an_error_record_and_zero_in_no_cluster(tmp_path):
    (tmp_path / "odd.py").write_text(SCORER)
    plain = write(tmp_path / "in", ["nan", "zero", "abc", "abcdef", "a", "nan"])
    steps = [{"score": {"scorer": f"{tmp_path / 'odd.py'}:Odd"}}, {"cluster": {"clusters": 2, "embedding": "odd"}}]
    manifest = ran({**plain, "steps": steps, "max_errors": 1}, tmp_path / "run")
    assert (manifest.selected, manifest.errors) == (4, 2)
    opened = tamis.open(tmp_path / "run")
    assert opened.sql("SELECT DISTINCT step, detail FROM errors").to_pylist() == [
        {"step": "cluster", "detail": "the embedding holds a number that isn't finite (NaN or infinite)"}
    ]
    assert opened.sql("SELECT text FROM selected WHERE cluster IS NULL")["text"].to_pylist() == ["zero"]
    assert manifest.steps[-1].metrics["in_no_cluster"] == 1


def test_tamis_score_says_that_only_a_run_can_tell():
    with pytest.raises(ModelError, match="step cluster: the clusters are found over a whole corpus: a run does it"):
        tamis.score(["a text"], {"embed": {}, "cluster": {"clusters": 1}})


def test_mistakes_before_the_run():
    def checked(*steps):
        check_steps([parse_step(step, "steps[0]") for step in steps], {}, pa.schema([pa.field("n", pa.int64())]))

    with pytest.raises(ConfigError, match="no column 'embedding' at this point: put the step `embed` before it"):
        checked({"cluster": {"clusters": 3}})
    with pytest.raises(ConfigError, match="no column 'embeding' at this point; did you mean 'embedding'"):
        checked({"embed": {}}, {"cluster": {"clusters": 3, "embedding": "embeding"}})
    with pytest.raises(ConfigError, match="column 'n' holds int64, not vectors"):
        checked({"cluster": {"clusters": 3, "embedding": "n"}})
    with pytest.raises(ConfigError, match="clusters"):
        checked({"embed": {}}, {"cluster": {"clusters": 0}})
    step = parse_step({"cluster": {"clusters": 3}}, "steps[0]")
    assert (step.values_of("cluster"), step.values_of("other")) == (3, None)
