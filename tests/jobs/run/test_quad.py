"""The step `quad` in real runs: against the bandit in memory, in any shards and processes, stopped and begun again."""

import json
import random
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

import tamis
from tamis.jobs.manifest.verify import verify
from tamis.jobs.quad.replay import replay_quad
from tamis.jobs.quad.stored import stored_quad
from tamis.jobs.run.execute import execute
from tamis.jobs.run.memory import estimate, step_costs
from tamis.jobs.run.plan import make_plan
from tamis.pipeline.corpus import quad as decision
from tamis.pipeline.graph.engine import Engine
from tamis.pipeline.steps.registry import parse_config
from tamis.schemas.errors import ConfigError, DataError, ModelError, RunError, TamisError
from tamis.scorers.causal.models import load_causal_model
from tamis.scorers.causal.threads import one_thread
from tamis.scorers.causal.training import TrainingOptions, train_causal_model
from tamis.scorers.influence.bandit import (
    BanditOptions,
    Scale,
    ScoreTable,
    first_probes,
    next_probes,
    order_keys,
    play,
    selected,
)
from tamis.scorers.influence.fit import InfluenceDirection, InfluenceOptions, fit_direction
from tamis.scorers.influence.scores import InfluenceScorer
from tests.jobs.finished_runs import ran

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("tokenizers")

TOPICS = {
    "sea": ["whale", "ship", "sea", "captain", "harpoon", "wave", "deck", "mast"],
    "law": ["court", "judge", "law", "plaintiff", "appeal", "jury", "oath", "bench"],
    "food": ["sugar", "butter", "flour", "oven", "dough", "bread", "salt", "cream"],
    "sky": ["star", "moon", "comet", "planet", "orbit", "dust", "light", "night"],
}
EMBED, CLUSTER = {"embed": {"dimensions": 16, "write": False}}, {"cluster": {"clusters": 3, "rounds": 2}}


def sentence(draw, topic):
    return " ".join(draw.choices([*TOPICS[topic], "the", "and", "of"], k=draw.randint(6, 14)))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A pool of four topics in two files, a reference of one of them, and a proxy of some hundred bytes' sense."""
    folder = tmp_path_factory.mktemp("quad")
    draw = random.Random(5)
    rows = []
    for i in range(96):
        topic = draw.choice(list(TOPICS))
        rows.append({"id": f"d{i}", "text": sentence(draw, topic), "topic": topic, "half": i % 2})
    for row in rows:
        row["number"] = {"sea": 0, "law": 1, "food": 4, "sky": 5}[row["topic"]]
    rows[3]["topic"] = rows[3]["number"] = None
    (folder / "pool").mkdir()
    for name, part in (("a", rows[:50]), ("b", rows[50:])):
        (folder / "pool" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    reference = [sentence(draw, "law") for _ in range(12)]
    (folder / "reference.jsonl").write_text("".join(json.dumps({"body": text}) + "\n" for text in reference))
    with one_thread():
        options = TrainingOptions(dimensions=16, layers=1, heads=2, context=48, steps=40, batch=8, rate=1e-2)
        train_causal_model([row["text"] for row in rows], options, folder=folder / "proxy")
    return folder, rows


@pytest.fixture
def config_of(world):
    folder, _ = world

    def build(*before, step="quad", shard_mb=0.001, **options):
        kinds = {"topic": "string", "half": "int64", "number": "int64"}
        given = {
            "reference": str(folder / "reference.jsonl"),
            "text": "body",
            "proxy": str(folder / "proxy"),
            "by": ["topic"],
            "budget": 20,
            "probe": 2,
            "block": 5,
            "per_round": 2,
            "first_turn": "block",
            "sample": 16,
            "passes": 6,
            **options,
        }
        return {
            "name": "quad",
            "seed": 11,
            "inputs": [{"path": str(folder / "pool" / "*.jsonl"), "source": "web", "columns": kinds}],
            "steps": [*before, {step: {name: value for name, value in given.items() if value is not None}}],
            "output": {"shard_mb": shard_mb},
        }

    return build


def fates(folder):
    query = (
        "SELECT doc_id, fate, rule, value, threshold, quad_cluster, quad_influence, quad_round, quad_scored "
        "FROM documents ORDER BY doc_id"
    )
    return tamis.open(folder).sql(query).to_pylist()


def chosen(folder):
    return {row["doc_id"] for row in fates(folder) if row["fate"] == "selected"}


_made = {}


@pytest.fixture
def reference(config_of, tmp_path):
    """The run that others are compared with."""
    if not _made:
        manifest = ran(config_of(), tmp_path / "reference")
        _made["reference"] = (tmp_path / "reference", manifest, fates(tmp_path / "reference"))
    return _made["reference"]


def test_selection_is_what_the_bandit_picks_in_memory(world, reference):
    _, rows = world
    folder, manifest, _ = reference
    documents = tamis.open(folder).sql("SELECT doc_id, text, meta FROM documents").to_pylist()
    assert len(documents) == len(rows)
    topics = {row["text"]: row["topic"] for row in rows}
    members = []
    for topic in sorted(TOPICS):
        own = sorted(row["doc_id"] for row in documents if topics[row["text"]] == topic)
        keys = order_keys(11, own)
        members.append([own[place] for place in np.argsort(keys, kind="stable")])
    texts = {row["doc_id"]: row["text"] for row in documents}
    (value,) = (folder / "work").glob("*-quad-fit-*/direction/*.value")
    body = value.read_bytes().partition(b"\n")[2]
    direction = InfluenceDirection.from_bytes(body)
    proxy = load_causal_model(world[0] / "proxy")
    scorer = direction.scorer(proxy.model, proxy.tokenizer)
    options = BanditOptions(20, probe=2, block=5, per_round=2)
    known, state = {}, None
    sizes = [len(own) for own in members]
    probes = first_probes(ScoreTable(sizes), options)
    with one_thread():
        while True:
            for probe in probes:
                for rank in range(probe.first, probe.after):
                    score = scorer.score([texts[members[probe.cluster][rank]]]).column(0)[0].as_py()
                    known.setdefault(probe.cluster, {})[rank] = score
            raw = ScoreTable(sizes, known)
            table = raw.scaled(Scale.of_first_probes(raw, options))
            state = play(table, options, state)
            if state.stop != "missing":
                break
            probes = next_probes(table, options, state, 4)
    wanted = {
        members[draw.cluster][rank]
        for draw in selected(table, options, state, cut=True)
        for rank in range(draw.first, draw.after)
    }
    assert chosen(folder) == wanted
    assert len(wanted) == 20
    told = manifest.steps[-1].metrics
    assert (told["stop"], told["scored"], told["rounds"]) == ("budget", raw.scored, state.round)


def test_shards_workers_and_order_do_not_matter(config_of, tmp_path, reference):
    ran(config_of(shard_mb=10), tmp_path / "large")
    ran(config_of(), tmp_path / "two", workers=2)
    assert fates(tmp_path / "large") == reference[2] == fates(tmp_path / "two")


def test_every_document_has_its_fate(reference, world):
    _, manifest, rows = reference
    assert Counter(row["fate"] for row in rows) == {"selected": 20, "rejected": 76}
    scored = [row for row in rows if row["quad_scored"]]
    assert len(scored) == manifest.steps[-1].metrics["scored"]
    for row in rows:
        if row["rule"] == "quad_influence_min":
            assert row["value"] <= row["threshold"] == 0
            assert row["quad_round"] is not None
        elif row["rule"] == "quad_no_cluster":
            assert row["quad_cluster"] is row["quad_influence"] is row["quad_scored"] is None
        elif row["fate"] == "selected":
            assert row["quad_round"] is not None
            assert row["quad_influence"] is not None
        else:
            assert row["rule"] == "quad_budget"
    assert Counter(row["rule"] for row in rows)["quad_no_cluster"] == 1


def test_views_plot_and_verification(reference, tmp_path):
    folder, manifest, rows = reference
    opened = tamis.open(folder)
    clusters = opened.sql("SELECT * FROM quad_clusters ORDER BY cluster").to_pylist()
    assert [row["label"] for row in clusters] == sorted(TOPICS)
    assert all(set(row["title"].split(", ")) <= set(TOPICS[row["label"]]) for row in clusters)
    picked = Counter(row["quad_cluster"] for row in rows if row["fate"] == "selected")
    assert {row["cluster"]: row["selected"] for row in clusters if row["selected"]} == picked
    rounds = opened.sql("SELECT * FROM quad_rounds ORDER BY round, cluster").to_pylist()
    assert sum(row["selected"] for row in rounds) == 20
    turns = {(row["round"], row["cluster"]): row["mean_influence"] for row in rounds}
    for row in rows:
        if row["quad_round"] is not None and not row["quad_scored"]:
            assert row["quad_influence"] == turns[row["quad_round"], row["quad_cluster"]]
    scale = manifest.steps[-1].metrics
    for row in opened.sql("SELECT doc_id, influence FROM quad_scores").to_pylist():
        own = next(one for one in rows if one["doc_id"] == row["doc_id"])
        assert own["quad_influence"] == (row["influence"] - scale["scale_mean"]) / scale["scale_deviation"]
    comment = "SELECT comment FROM duckdb_columns() WHERE table_name = 'quad_rounds' AND column_name = 'accepted'"
    assert "tau" in opened.sql(comment)["comment"][0].as_py()
    assert verify(str(folder)).ok
    best = max(clusters, key=lambda row: row["mean_influence"])
    assert best["label"] == "law"


def stop_in_pass(monkeypatch, number):
    """Let the pass of that number stop once, and count the documents scored."""
    scored = []
    stopped = []
    real, score = decision._ScoreProbes.__call__, InfluenceScorer.score
    passes = []

    def call(self, task, shard):
        key = (len(task.first), int(task.first[0]))
        if not passes or passes[-1] != key:
            passes.append(key)
        if len(passes) == number and not stopped:
            stopped.append(number)
            raise RunError("stopped here")
        return real(self, task, shard)

    def counted(self, texts):
        scored.extend(texts)
        return score(self, texts)

    monkeypatch.setattr(decision._ScoreProbes, "__call__", call)
    monkeypatch.setattr(InfluenceScorer, "score", counted)
    return scored


def test_stopped_run_goes_on_and_scores_nothing_twice(config_of, tmp_path, reference, monkeypatch):
    scored = stop_in_pass(monkeypatch, 2)
    with pytest.raises(RunError, match="stopped here"):
        ran(config_of(), tmp_path / "run")
    assert len(scored) == 8
    ran(config_of(), tmp_path / "run")
    assert fates(tmp_path / "run") == reference[2]
    assert max(Counter(scored).values()) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"alpha": 3.0}, {"tau": 0.4}, {"budget": 33}, {"block": 9}, {"per_round": 4}, {"rounds": 1},
        {"first_turn": "probe"},
    ],
    ids=str,
)  # fmt: skip
def test_other_decisions_score_nothing_again_and_agree_with_a_fresh_run(
    config_of, tmp_path, reference, monkeypatch, change
):
    import shutil

    shutil.copytree(reference[0], tmp_path / "again")
    scored = stop_in_pass(monkeypatch, 0)
    before = set(tamis.open(reference[0]).sql("SELECT text FROM documents WHERE quad_scored")["text"].to_pylist())
    manifest = ran(config_of(**change), tmp_path / "again")
    assert not before & set(scored)
    found = fates(tmp_path / "again")
    assert found != reference[2]
    if {"alpha", "tau", "budget"} & set(change):
        fresh = ran(config_of(**change), tmp_path / "fresh")
        assert fates(tmp_path / "fresh") == found
        assert fresh.steps[-1].metrics == manifest.steps[-1].metrics


def picks(found):
    return {(pick.cluster, pick.selected) for pick in found.picks if pick.selected}


def test_replay_is_the_run_and_what_a_run_with_other_options_picks(config_of, tmp_path, reference):
    folder = str(reference[0])
    same = replay_quad(folder)
    assert all(pick.selected == pick.before for pick in same.picks)
    assert (same.state.stop, same.documents, same.missing) == ("budget", 20, 0)
    rounds = stored_quad(folder).rounds
    assert [draw.mean for draw in same.state.draws] == rounds.column("mean_influence").to_pylist()
    assert [draw.score for draw in same.state.draws] == rounds.column("cluster_score").to_pylist()
    less = replay_quad(folder, changes={"budget": 9.0, "tau": 0.1})
    assert less.documents == 9
    ran(config_of(budget=9, tau=0.1), tmp_path / "less")
    counts = Counter(row["quad_cluster"] for row in fates(tmp_path / "less") if row["fate"] == "selected")
    assert picks(less) == set(counts.items())
    more = replay_quad(folder, changes={"budget": 80.0})
    assert more.state.stop == "missing"
    assert more.missing > 0
    with pytest.raises(ConfigError, match="alpha must be at least 0"):
        replay_quad(folder, changes={"alpha": -1.0})
    with pytest.raises(ConfigError, match=r"--step quod: the run has no such step; did you mean 'quad'"):
        replay_quad(folder, step="quod")


def test_a_changed_table_is_not_played_from(config_of, tmp_path):
    manifest = ran(config_of(), tmp_path / "run")
    (record,) = (one for one in manifest.tables if one.name == "quad_scores")
    path = tmp_path / "run" / record.path
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(RunError, match="was changed"):
        replay_quad(str(tmp_path / "run"))
    path.unlink()
    with pytest.raises(RunError, match="is missing"):
        replay_quad(str(tmp_path / "run"))


@pytest.mark.parametrize("unit", ["bytes", "tokens"])
def test_budget_in_bytes_and_tokens(config_of, tmp_path, unit):
    manifest = ran(config_of(budget=700, unit=unit), tmp_path / "run")
    opened = tamis.open(tmp_path / "run")
    sizes = opened.sql(f"SELECT text, quad_{unit} AS size, fate FROM documents").to_pylist()
    # The proxy's tokens are bytes.
    assert all(row["size"] == len(row["text"].encode()) for row in sizes)
    spent = sum(row["size"] for row in sizes if row["fate"] == "selected")
    assert 700 <= spent < 700 + max(row["size"] for row in sizes)
    assert manifest.steps[-1].metrics["spent"] == spent
    again = replay_quad(str(tmp_path / "run"))
    assert all(pick.selected == pick.before for pick in again.picks)
    assert again.spent == spent


def test_fraction_is_of_the_pool(config_of, tmp_path):
    manifest = ran(config_of(budget=None, fraction=0.2, block=None), tmp_path / "run")
    assert manifest.selected == 19  # of 95 in clusters
    assert manifest.steps[-1].metrics["options"]["block"] == 20  # ten probes


def test_numbers_of_clusters_stay_and_several_columns_make_finer_ones(config_of, tmp_path, reference):
    ran(config_of(by=["number"]), tmp_path / "number")
    rows = fates(tmp_path / "number")
    assert {row["quad_cluster"] for row in rows} == {None, 0, 1, 4, 5}
    assert tamis.open(tmp_path / "number").sql("SELECT count(*) AS n FROM quad_clusters")["n"][0].as_py() == 6
    ran(config_of(by=["topic", "half"]), tmp_path / "finer")
    labels = tamis.open(tmp_path / "finer").sql("SELECT label FROM quad_clusters ORDER BY cluster")["label"].to_pylist()
    assert labels == [f"{topic}/{half}" for topic in sorted(TOPICS) for half in (0, 1)]
    assert chosen(tmp_path / "finer") != chosen(reference[0])


def influence(world, **change):
    """Return the scores of some documents by a step's options of influence."""
    folder, rows = world
    given = {"reference": "r", "proxy": "p", "budget": 1, **change}
    step = parse_config({"inputs": [{"path": "a", "source": "a"}], "steps": [{"quad": given}]}).steps[-1]
    proxy = load_causal_model(folder / "proxy")
    texts = [row["text"] for row in rows]
    with one_thread():
        options = InfluenceOptions(**step._influence())
        direction = fit_direction(proxy.model, proxy.tokenizer, texts[:6], texts[6:20], options)
        return direction.scorer(proxy.model, proxy.tokenizer, alone=True).score(texts[20:30]).column(0).to_pylist()


@pytest.mark.parametrize(
    "change",
    [
        {"curvature": "none"}, {"curvature": "ekfac"}, {"damping": 5.0}, {"attention": "split"}, {"layers": "mlp"},
        {"context": 12}, {"chunks": 1, "context": 12}, {"batch_tokens": 16, "context": 8},
    ],
    ids=str,
)  # fmt: skip
def test_each_option_of_influence_changes_scores(world, change):
    base = {"context": change["context"]} if len(change) > 1 else {}
    assert influence(world, **change) != influence(world, **base)


@pytest.mark.parametrize("change", [{"sample": 4}, {"reference_documents": 2}], ids=str)
def test_more_documents_change_scores(config_of, tmp_path, reference, change):
    ran(config_of(**change), tmp_path / "other")
    assert fates(tmp_path / "other") != reference[2]


def test_more_ahead_is_fewer_passes(config_of, tmp_path, reference):
    few = ran(config_of(budget=60, ahead=1, passes=20), tmp_path / "few")
    many = ran(config_of(budget=60, ahead=60), tmp_path / "many")
    assert few.steps[-1].metrics["passes"] > many.steps[-1].metrics["passes"]
    assert few.steps[-1].metrics["scored"] <= many.steps[-1].metrics["scored"]
    assert chosen(tmp_path / "few") == chosen(tmp_path / "many")


def test_too_few_passes_rounds_and_documents_are_told(config_of, tmp_path):
    (told,) = ran(config_of(passes=1, budget=90), tmp_path / "passes").warnings
    assert "scores were still missing: raise `passes` or `ahead`" in told
    (told,) = ran(config_of(rounds=1), tmp_path / "rounds").warnings
    assert "the bound of 1 on rounds was reached: raise `rounds`" in told
    (told,) = ran(config_of(tau=30.0), tmp_path / "tau").warnings
    assert "0 of the 20 documents of the budget were selected: no cluster has documents left" in told


def test_neighbours_learn_from_each_other(config_of, tmp_path):
    steps = [{"embed": {"dimensions": 32, "write": False}}, {"cluster": {"clusters": 6, "rounds": 3}}]
    options = {"by": None, "per_round": 1, "rounds": 8, "budget": 60}
    ran(config_of(*steps, **options), tmp_path / "alone")
    manifest = ran(config_of(*steps, **options, neighbours=1.2), tmp_path / "together")
    scores = [
        [row["cluster_score"] for row in tamis.open(folder).sql("SELECT * FROM quad_clusters").to_pylist()]
        for folder in (tmp_path / "alone", tmp_path / "together")
    ]
    assert scores[0] != scores[1]
    near = tamis.open(tmp_path / "together").sql("SELECT cluster, other, distance FROM quad_neighbours").to_pylist()
    assert all(row["distance"] < 1.2 for row in near)
    again = replay_quad(str(tmp_path / "together"))
    assert all(pick.selected == pick.before for pick in again.picks)
    assert [one.name for one in manifest.tables if one.step == "cluster"] == ["clusters"]


def test_two_steps_have_their_own_columns_and_views(config_of, tmp_path):
    plain = config_of(budget=30)
    second = dict(plain["steps"][-1]["quad"]) | {"name": "finer", "budget": 8, "by": ["topic", "half"]}
    plain["steps"].append({"quad": second})
    ran(plain, tmp_path / "run")
    opened = tamis.open(tmp_path / "run")
    steps = opened.sql("SELECT DISTINCT step FROM quad_rounds ORDER BY 1")["step"].to_pylist()
    assert steps == ["quad", "quad.finer"]
    assert opened.sql("SELECT count(finer_round) AS n FROM selected")["n"][0].as_py() == 8
    with pytest.raises(ConfigError, match=r"has the steps quad, quad.finer: say which with --step"):
        replay_quad(str(tmp_path / "run"))
    assert replay_quad(str(tmp_path / "run"), step="quad.finer").documents == 8


def test_plan_says_what_scoring_costs(config_of):
    steps = [{"embed": {}}, {"cluster": {"clusters": 3}}]
    plain = config_of(*steps, by=None)
    plan = make_plan(parse_config(plain), plain)
    need = estimate(plan)
    (told,) = step_costs(plan, 40_000).values()
    assert told[0].startswith("scores about 16 of 40,000 documents (0.0%), ")
    assert "chunks of up to 48 tokens" in told[0]
    assert "chunks/s on one core here" in told[1]
    assert "to fit the direction" in told[1]
    assert "to fit the direction" in told[2]
    assert need.largest is not None
    (told,) = step_costs(make_plan(parse_config(config_of()), plain), 40_000).values()
    assert "the number of clusters isn't known before the run" in told[0]


def test_plan_counts_first_turns_and_clusters_that_a_column_cuts(config_of):
    """Clusters first, then so many turns as the budget needs; each cluster is cut in two."""
    half = {"combine": {"name": "length", "columns": ["half"], "how": "buckets", "buckets": 2, "by": ["cluster"]}}
    steps = [EMBED, CLUSTER, half]
    for options, scored in (
        ({"first_turn": "probe"}, 2 * (6 + 5)),
        ({"first_turn": "block"}, 2 * 8),
        ({"first_turn": "probe", "by": None}, 2 * (3 + 5)),
    ):
        plain = config_of(*steps, **({"by": ["cluster", "length"]} | options))
        (told,) = step_costs(make_plan(parse_config(plain), plain), 40_000).values()
        assert told[0].startswith(f"scores about {scored} of 40,000 documents (0.")


def test_clusters_are_cut_by_a_column_of_combine(config_of, tmp_path, world):
    """Each cluster in two by the likeness to a target: arms are of the likelier and the less likely half."""
    steps = [
        EMBED,
        CLUSTER,
        {"dsir": {"target": str(world[0] / "reference.jsonl"), "text": "body", "normalise": "token", "min_tokens": 0}},
        {"combine": {"name": "likeness", "columns": ["dsir_log_weight"], "how": "buckets", "buckets": 2,
                     "by": ["cluster"]}},
    ]  # fmt: skip
    manifest = ran(config_of(*steps, by=["cluster", "likeness"]), tmp_path / "cut")
    assert manifest.steps[-1].metrics["clusters"] == 6
    rows = (
        tamis.open(tmp_path / "cut")
        .sql("SELECT label, documents, mean_influence FROM quad_clusters ORDER BY cluster")
        .to_pylist()
    )
    assert [row["label"] for row in rows] == [f"{cluster}/{half}" for cluster in range(3) for half in (0, 1)]
    assert sum(row["documents"] for row in rows) == 96
    ran(config_of(*steps[:2], by=None), tmp_path / "whole")
    assert chosen(tmp_path / "cut") != chosen(tmp_path / "whole")


@pytest.mark.parametrize(
    ("change", "kind", "told"),
    [
        ({"by": ["cluster"]}, ConfigError, "no column 'cluster' at this point: put the steps `embed` and `cluster`"),
        ({"by": ["topics"]}, ConfigError, "no column 'topics'"),
        ({"by": ["timestamp"]}, ConfigError, "holds timestamp"),
        ({"budget": None}, ConfigError, "give either `budget`"),
        ({"fraction": 0.1}, ConfigError, "give either `budget`"),
        ({"block": 1}, ConfigError, "it begins with the probe"),
        ({"neighbours": 0.3}, ConfigError, "no column of vectors 'embedding'"),
        ({"context": 999}, ConfigError, "context is 999"),
        ({"layers": "nowhere"}, TamisError, "nowhere"),
        ({"layers": "("}, ConfigError, "regular expression"),
        ({"reference": "nowhere.jsonl"}, ModelError, "step quad: reference: "),
        ({"proxy": "nowhere/at/all"}, ModelError, "step quad: proxy: "),
        ({"text": "missing"}, ModelError, "none of its first 12 records has the field 'missing'"),
        ({"device": "cuda:7"}, ConfigError, "device"),
    ],
    ids=str,
)
def test_mistakes_are_one_sentence(config_of, tmp_path, change, kind, told):
    with pytest.raises(kind, match=told) as caught:
        ran(config_of(**change), tmp_path / "run")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("budget", [{}, {"budget": None, "fraction": 0.5}, {"unit": "tokens"}], ids=str)
def test_empty_pool_and_pool_without_clusters(config_of, tmp_path, budget):
    """Whatever was rejected before it, the run is whole: it says what it found."""
    rules = [{"rules": {"rules": [{"column": "half", "op": "min", "threshold": 5, "reason": "none"}]}}]
    told = "step quad: there is no document in any cluster to select from"
    for folder, steps, rejected in (("empty", [*rules], {}), ("again", [*rules, EMBED, CLUSTER], {})):
        manifest = ran(config_of(*steps, **budget), tmp_path / folder)
        assert (manifest.read, manifest.selected, manifest.rejected, manifest.errors) == (96, 0, 96, 0)
        assert manifest.steps[-1].counts[0].rejected == rejected or not manifest.steps[-1].counts[0].documents
        assert told in manifest.warnings
        assert verify(str(tmp_path / folder)).ok
        assert replay_quad(str(tmp_path / folder)).documents == 0
    rules = [{"rules": {"rules": [{"column": "number", "op": "max", "threshold": -1, "reason": "all"}]}}]
    manifest = ran(config_of(*rules, **budget), tmp_path / "none")  # a null breaks no rule
    assert manifest.steps[-1].counts[0].rejected == {"quad_no_cluster": 1}
    assert told in manifest.warnings
    assert manifest.balanced


def test_a_run_that_reads_nothing_is_whole(config_of, tmp_path):
    (tmp_path / "nothing.jsonl").write_text("")
    plain = config_of(EMBED, CLUSTER, by=None)
    plain["inputs"] = [{"path": str(tmp_path / "nothing.jsonl"), "source": "web"}]
    with Engine(f"{tmp_path}/run/work/passes") as engine:
        found = execute(make_plan(parse_config(plain), plain), str(tmp_path / "run"), engine)
    assert found.problems == ("no record was read: the inputs are empty (`allow_empty: true` allows it)",)
    assert found.manifest.balanced
    assert verify(str(tmp_path / "run")).ok


def test_a_proxy_that_knows_nothing_of_the_reference_is_told(config_of, tmp_path, world):
    """All influence equal: a model of zeros."""
    import shutil

    folder = shutil.copytree(world[0] / "proxy", tmp_path / "zero")
    loaded = load_causal_model(folder)
    with torch.no_grad():
        for parameter in loaded.model.parameters():
            parameter.zero_()
    loaded.model.save_pretrained(folder)
    with pytest.raises(DataError, match="step quad: all first probes have the same influence: train the proxy"):
        ran(config_of(proxy=str(folder)), tmp_path / "run")


def test_rounds_draw_by_scores(reference):
    """What the table says follows from itself: in each round the clusters of highest score, unseen ones first."""
    rows = tamis.open(reference[0]).sql("SELECT * FROM quad_rounds").to_pylist()
    for one, other in pairwise(rows):
        if one["round"] == other["round"] and one["cluster_score"] is not None:
            assert other["cluster_score"] is not None
            assert one["cluster_score"] >= other["cluster_score"]
