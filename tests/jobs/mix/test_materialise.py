"""A mixture of a finished run: what it holds, that it can be repeated, and what is said where a group runs out."""

import json
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from tamis.jobs.manifest.file import read_manifest
from tamis.jobs.mix import materialise as materialising
from tamis.jobs.mix.estimate import Found
from tamis.jobs.mix.folder import read_mixture, refuse_strange_folder
from tamis.jobs.mix.plan import plan_mixture
from tamis.jobs.mix.selection import Index, index_memory
from tamis.jobs.mix.verify import explain_mixtures, mix_again, verify_mixture
from tamis.jobs.sql.views import connect
from tamis.pipeline.graph.engine import Engine
from tamis.pipeline.mixing.move import ORDER_SCHEMA, SendShard, SendTask, WriteShard, WriteTask, added_columns
from tamis.pipeline.storage.column_file import write_batches
from tamis.schemas.base import validate
from tamis.schemas.errors import ConfigError, DamagedError, DataError, RunError
from tamis.schemas.mixture import MixtureConfig
from tests.jobs.handmade import edit, make_run, write_shard
from tests.jobs.mix.runs import documents, mix, run_of

SIZES = {"books": 40, "code": 12, "web": 80}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_of(tmp_path_factory.mktemp("made") / "run", SIZES)


def rows(folder: Path) -> list[dict[str, Any]]:
    """All documents of a mixture, in the order of its shards."""
    found: list[dict[str, Any]] = []
    for shard in read_mixture(str(folder)).shards:
        path = folder / shard.path
        if path.suffix == ".parquet":
            found += pq.read_table(path, partitioning=None).to_pylist()
        else:
            text = zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes())
            found += [json.loads(line) for line in text.splitlines()]
    return found


def digests(folder: Path) -> list[tuple[str, str]]:
    return [(shard.path, shard.sha256) for shard in read_mixture(str(folder)).shards]


@pytest.mark.parametrize("unit", ["bytes", "documents", "tokens"])
def test_realised_shares_are_within_a_document_of_the_quotas(made: Path, tmp_path: Path, unit: str) -> None:
    budget = {"bytes": 30_000, "documents": 150, "tokens": 30_000}[unit]
    keys: dict[str, Any] = {"tokenizer": {"path": "bytes"}} if unit == "tokens" else {}
    manifest = mix(
        made, tmp_path / "mix", unit=unit, budget=budget, proportions={"books": 2, "code": 1, "web": 1}, **keys
    ).manifest
    found = rows(tmp_path / "mix")
    size = {
        "bytes": lambda row: len(row["text"].encode()),
        "documents": lambda _: 1,
        "tokens": lambda row: row["mixture_tokens"],
    }[unit]
    assert sum(group["quota"] for group in manifest.mixture["groups"]) == budget
    for group in manifest.mixture["groups"]:
        mine = [row for row in found if row["mixture_group"] == group["name"]]
        largest = max(map(size, mine))
        assert {row["source"] for row in mine} == {group["name"]}
        assert sum(map(size, mine)) == group["amount"]
        assert abs(group["amount"] - group["quota"]) <= largest / 2
        times = Counter(Counter(row["doc_id"] for row in mine).values())
        assert {int(k): v for k, v in group["times_seen"].items() if k != "0"} == times
        for row in mine:
            assert unit != "tokens" or row["mixture_tokens"] == len(row["text"].encode()) + 1
    assert verify_mixture(str(tmp_path / "mix")).ok


def test_twice_the_same_bytes_on_workers_other_shards_and_from_its_own_record(made: Path, tmp_path: Path) -> None:
    keys: dict[str, Any] = {"without": "unimax", "budget": 40_000, "shard_mb": 0.004, "schedule": "mean"}
    first = mix(made, tmp_path / "first", **keys)
    assert len(first.manifest.shards) > 6
    mix(made, tmp_path / "second", workers=2, **keys)
    assert digests(tmp_path / "first") == digests(tmp_path / "second")
    with Engine(str(tmp_path / "third" / "work" / "passes")) as engine:
        repeated = mix_again(str(tmp_path / "first"), str(tmp_path / "third"), engine)
    assert repeated.same
    assert repeated.why == ()
    assert explain_mixtures(str(tmp_path / "first"), str(tmp_path / "third")) == (True, ())
    # The same documents in other shards of the run: the mixture's shards are the same but for the digest they name.
    other = make_run_in_many_shards(tmp_path / "other")
    mix(other, tmp_path / "fourth", **keys)
    assert [row["doc_id"] for row in rows(tmp_path / "first")] == [row["doc_id"] for row in rows(tmp_path / "fourth")]


def make_run_in_many_shards(folder: Path) -> Path:
    """The module's run with its selection cut otherwise."""
    manifest = make_run(folder, documents(SIZES))
    shards = []
    for shard in manifest.shards:
        if shard.fate != "selected":
            shards.append(shard.model_dump())
            continue
        table = pq.read_table(folder / shard.path, partitioning=None)
        order = np.random.default_rng(1).permutation(table.num_rows)
        (folder / shard.path).unlink()
        for number, chosen in enumerate(np.array_split(order, 3)):
            path = shard.path.replace("00000", f"{number:05d}")
            part = table.take(pa.array(chosen)).replace_schema_metadata(None)
            written = write_shard(folder / path, part, manifest.config_sha256)
            size = sum(len(text.encode()) for text in part.column("text").to_pylist())
            shards.append({**shard.model_dump(), "path": path, "text_bytes": size, **written})
    edit(folder, lambda plain: plain.update(shards=sorted(shards, key=lambda s: s["path"])))
    return folder


def test_nothing_to_do_a_lost_shard_and_another_mixture_in_the_folder(made: Path, tmp_path: Path) -> None:
    keys: dict[str, Any] = {"without": "equal", "shard_mb": 0.004}
    first = mix(made, tmp_path / "mix", **keys)
    assert mix(made, tmp_path / "mix", **keys).nothing_to_do
    before = digests(tmp_path / "mix")
    lost = tmp_path / "mix" / first.manifest.shards[2].path
    others = {p: p.stat().st_mtime_ns for p in (tmp_path / "mix" / "mixed").rglob("*.parquet") if p != lost}
    lost.unlink()
    assert not mix(made, tmp_path / "mix", **keys).nothing_to_do
    assert digests(tmp_path / "mix") == before
    assert others == {p: p.stat().st_mtime_ns for p in others}  # nothing else was written again
    mix(made, tmp_path / "mix", proportions={"web": 1})
    assert [p.name for p in (tmp_path / "mix" / "mixed").iterdir()] == ["group=web"]
    assert verify_mixture(str(tmp_path / "mix")).ok


def test_a_schedule_stands_in_the_order_of_training(made: Path, tmp_path: Path) -> None:
    stages = [
        {"proportions": {"web": 3, "books": 1}, "length": 2},
        {"proportions": {"books": 1, "code": 1}},
    ]
    keys: dict[str, Any] = {"stages": stages, "budget": 24_000, "schedule": "rounds", "shard_mb": 0.006}
    manifest = mix(made, tmp_path / "mix", **keys).manifest
    assert [shard.path for shard in manifest.shards] == [f"mixed/part-{i:05d}.parquet" for i in range(5)]
    found = rows(tmp_path / "mix")
    assert [row["mixture_stage"] for row in found] == sorted(row["mixture_stage"] for row in found)
    quotas = manifest.mixture["stages"]
    largest = max(len(row["text"]) for row in found)
    for stage, quota in enumerate(quotas):
        sizes = Counter[str]()
        for row in found:
            if row["mixture_stage"] == stage:
                sizes[row["mixture_group"]] += len(row["text"])
        for name, due in quota.items():
            assert abs(sizes[name] - due) <= largest
    assert [round(sum(quota.values()), -1) for quota in quotas] == [16_000, 8_000]
    first = [row["mixture_group"] for row in found if row["mixture_stage"] == 0]
    assert {*first[: len(first) // 4]} == {"web", "books"}  # interleaved, not one group after the other
    mean = mix(made, tmp_path / "mean", **{**keys, "schedule": "mean"}).manifest
    assert {s.path.split("/")[1] for s in mean.shards} == {"group=books", "group=code", "group=web"}
    assert [g["quota"] for g in mean.mixture["groups"]] == [g["quota"] for g in manifest.mixture["groups"]]
    trained = mix(made, tmp_path / "trained", **{**keys, "schedule": "mean", "order": "training"}).manifest
    assert [shard.path for shard in trained.shards] == [shard.path for shard in manifest.shards]


@pytest.mark.parametrize("exhausted", ["repeat", "once", "shrink", "error"])
def test_a_group_that_runs_out_does_what_the_config_says(made: Path, tmp_path: Path, exhausted: str) -> None:
    keys: dict[str, Any] = {"exhausted": exhausted, "proportions": {"code": 1, "web": 1}, "budget": 40_000}
    if exhausted == "error":
        with pytest.raises(DataError, match=r"group 'code' has .* with 4 epochs"):
            mix(made, tmp_path / "mix", **keys)
        return
    manifest = mix(made, tmp_path / "mix", **keys).manifest
    groups = {group["name"]: group for group in manifest.mixture["groups"]}
    most = {"repeat": 4, "once": 1, "shrink": 4}[exhausted]
    assert groups["code"]["epochs"] == pytest.approx(most, abs=0.001)
    assert max(int(times) for times in groups["code"]["times_seen"]) == most
    if exhausted == "shrink":
        assert groups["code"]["share"] == pytest.approx(0.5, abs=1e-4)
        assert any("shrinks" in warning for warning in manifest.warnings)
    else:
        assert manifest.mixture["total"] == (
            40_000 if exhausted == "repeat" else sum(groups[name]["size"] for name in ("code", "web"))
        )
        assert any("code is capped" in warning for warning in manifest.warnings)
    capped = mix(made, tmp_path / "capped", **{**keys, "max_epochs": 2}).manifest
    assert capped.mixture["groups"][1]["epochs"] <= 2


def test_an_empty_group_a_group_of_one_document_and_weights_near_zero_and_one(tmp_path: Path) -> None:
    listed = documents({"books": 1, "code": 3, "web": 30})
    listed = [(i, s, "" if s == "code" else t, f) for i, s, t, f in listed]
    make_run(tmp_path / "run", listed)
    size = len(next(t for _, s, t, _ in listed if s == "books"))
    one = mix(tmp_path / "run", tmp_path / "one", proportions={"books": 1}, budget=3 * size).manifest
    assert [row["source"] for row in rows(tmp_path / "one")] == ["books"] * 3
    assert [row["mixture_pass"] for row in rows(tmp_path / "one")] == [0, 1, 2]
    assert one.mixture["groups"][0]["times_seen"] == {"3": 1}
    empty = mix(tmp_path / "run", tmp_path / "empty", proportions={"code": 1, "web": 1}, budget=1000).manifest
    assert [g["quota"] for g in empty.mixture["groups"]] == [0, 0, 1000]
    assert "code is empty: its share goes to the others" in empty.warnings
    with pytest.raises(DataError, match="'code' is empty"):
        mix(tmp_path / "run", tmp_path / "no", proportions={"code": 1, "web": 1}, budget=1000, exhausted="error")
    near = mix(
        tmp_path / "run", tmp_path / "near", proportions={"books": 1e-12, "web": 1 - 1e-12}, budget=2000
    ).manifest
    assert [g["taken"] for g in near.mixture["groups"]][:2] == [0, 0]
    assert verify_mixture(str(tmp_path / "near")).ok


def with_column(folder: Path, name: str, values: Any, kind: pa.DataType | None = None) -> Path:
    """Add a column to the selected shards of a run."""
    plain = json.loads((folder / "manifest.json").read_text())
    for shard in plain["shards"]:
        if shard["fate"] == "selected":
            table = pq.read_table(folder / shard["path"], partitioning=None)
            column = pa.array([values(row) for row in table.select(["doc_id", "source", "text"]).to_pylist()], kind)
            shard.update(write_shard(folder / shard["path"], table.append_column(name, column), plain["config_sha256"]))
    (folder / "manifest.json").write_text(json.dumps(plain))
    return folder


def test_groups_from_any_column(tmp_path: Path) -> None:
    run = with_column(run_of(tmp_path / "run", SIZES), "topic", lambda row: len(row["text"]) % 3)
    found = mix(run, tmp_path / "number", by="topic", without="equal").manifest
    assert [group["name"] for group in found.mixture["groups"]] == ["0", "1", "2"]
    assert all(row["mixture_group"] == str(row["topic"]) for row in rows(tmp_path / "number"))
    assert mix(run, tmp_path / "meta", by="meta.n", without="union").manifest.mixture["groups"][0]["name"] == "1"
    holes = with_column(
        run_of(tmp_path / "holes", SIZES), "kind", lambda row: "a" if row["source"] == "web" else None, pa.string()
    )
    with pytest.raises(DataError, match=r"52 of 132 selected documents .* have no 'kind'"):
        mix(holes, tmp_path / "no", by="kind", without="union")
    named = mix(holes, tmp_path / "named", by="kind", without="union", missing="rest").manifest
    assert [(g["name"], g["documents"]) for g in named.mixture["groups"]] == [("a", 80), ("rest", 52)]
    with pytest.raises(ConfigError, match="missing: 'a' is the name"):
        mix(holes, tmp_path / "taken", by="kind", without="union", missing="a")
    odd = with_column(run_of(tmp_path / "odd", {"web": 3}), "topic", lambda row: "../a/b c")
    mix(odd, tmp_path / "quoted", by="topic", without="union")
    assert [p.name for p in (tmp_path / "quoted" / "mixed").iterdir()] == ["group=..%2Fa%2Fb%20c"]


def test_quality_fills_best_first_or_by_a_curve(tmp_path: Path) -> None:
    run = with_column(run_of(tmp_path / "run", {"web": 60}), "score", lambda row: int(row["doc_id"][:4], 16))
    size = read_manifest(str(run)).mixture["bytes"]["web"]
    for best, better in (("high", max), ("low", min)):
        mix(run, tmp_path / best, without="union", budget=size // 3, fill={"by": "score", "best": best})
        taken = {row["score"] for row in rows(tmp_path / best)}
        every = {int(i[:4], 16) for i, *_ in documents({"web": 60})}
        assert better(every) in taken
        assert (min(taken) > max(every - taken)) if best == "high" else (max(taken) < min(every - taken))
    curve = {"ranges": 6, "cap": 5, "throwaway": 0.3}
    found = mix(run, tmp_path / "curve", without="union", budget=size, fill={"by": "score", "curve": curve}).manifest
    group = found.mixture["groups"][0]
    assert group["factors"][0] == 0
    assert group["factors"][-1] > group["factors"][-2]
    times = Counter(row["score"] for row in rows(tmp_path / "curve"))
    best_ten = sorted(every)[-10:]
    assert min(times[s] for s in best_ten) >= 2
    assert sum(times[s] for s in sorted(every)[:10]) == 0


def test_times_seen_count_copies_in_the_cluster_and_epochs(tmp_path: Path) -> None:
    planted = {"a": 2, "b": 5, "c": 50}
    listed = documents({"web": sum(planted.values()) + 20}, words=(10, 10))
    run = make_run(tmp_path / "run", listed) and tmp_path / "run"
    names = [name for name, copies in planted.items() for _ in range(copies)]
    cluster = {doc_id: names[i] if i < len(names) else None for i, (doc_id, *_) in enumerate(listed)}
    with_column(run, "near", lambda row: cluster[row["doc_id"]])
    found = mix(run, tmp_path / "mix", without="union", unit="documents", clusters="near", parameters=1e9).manifest
    size = Counter(name or doc_id for doc_id, name in cluster.items())
    text = {doc_id: len(t.encode()) for doc_id, _, t, _ in listed}
    histogram = {tuple(row["seen"]): row["tokens"] for row in found.repetition["histogram"]}
    for (low, high), amount in histogram.items():
        due = sum(text[d] for d, n in cluster.items() if low <= size[n or d] and (high is None or size[n or d] <= high))
        assert amount == pytest.approx(due)
    assert found.repetition["effective"] <= found.repetition["seen"]
    warned = found.repetition["warning"]
    assert warned["level"] == "warn"
    assert warned["sentence"] in found.warnings[-1]
    twice = mix(run, tmp_path / "twice", without="union", unit="documents", clusters="near", budget=2 * len(listed))
    assert sum(row["tokens"] for row in twice.manifest.repetition["histogram"]) == 2 * sum(text.values())
    assert {tuple(r["seen"]): r["tokens"] for r in twice.manifest.repetition["histogram"]}[1, 1] == 0


def test_epochs_agree_in_record_and_sql(made: Path, tmp_path: Path) -> None:
    manifest = mix(made, tmp_path / "mix", without="unimax", budget=60_000, format="jsonl").manifest
    with connect(str(tmp_path / "mix")) as connection:
        told = connection.execute("SELECT name, epochs, amount, taken FROM mixture ORDER BY name").fetchall()
        counted = connection.execute(
            "SELECT mixture_group, sum(strlen(text)), count(*) FROM documents GROUP BY 1 ORDER BY 1"
        ).fetchall()
        seen = connection.execute('SELECT sum(seen), sum("unique") FROM repetition').fetchall()
    groups = manifest.mixture["groups"]
    assert told == [(g["name"], g["epochs"], g["amount"], g["taken"]) for g in groups]
    assert counted == [(g["name"], g["amount"], g["taken"]) for g in groups]
    assert seen == [(manifest.repetition["seen"], manifest.repetition["unique"])]
    assert rows(tmp_path / "mix")[0]["meta"] == {"n": 1}


def test_what_was_changed_afterwards_is_told(made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mix"
    first = mix(made, folder, without="union").manifest
    shard = folder / first.shards[0].path
    data = shard.read_bytes()
    shard.write_bytes(data[:-1] + b"x")
    assert "was changed" in verify_mixture(str(folder)).failures[0]
    shard.write_bytes(data)
    (shard.parent / "part-99999.parquet").write_bytes(data)
    assert "is no file of the mixture" in verify_mixture(str(folder)).failures[0]
    (shard.parent / "part-99999.parquet").unlink()
    record = json.loads((folder / "mixture.json").read_text())
    record["mixture"]["groups"][0]["taken"] += 1
    (folder / "mixture.json").write_text(json.dumps(record))
    assert "group books: the shards hold 40 documents, recorded are 41" in verify_mixture(str(folder)).failures
    shard.unlink()
    assert f"{first.shards[0].path} is missing" in verify_mixture(str(folder)).failures


def test_two_mixtures_are_explained(made: Path, tmp_path: Path) -> None:
    mix(made, tmp_path / "a", without="union")
    mix(made, tmp_path / "b", proportions={"web": 1, "code": 3}, budget=9000, seed=4, fill={"by": "language_score"})
    same, why = explain_mixtures(str(tmp_path / "a"), str(tmp_path / "b"))
    assert not same
    told = "; ".join(why)
    for part in ("now they are given", "budget was", "seed was 0, now it is 4", "code gives 75.0%", "fill was"):
        assert part in told


def test_mistakes_are_sentences(made: Path, tmp_path: Path) -> None:
    for keys, words in (
        ({"without": "union", "by": "sorce"}, "did you mean 'source'"),
        ({"without": "union", "clusters": "x"}, "mixture.clusters"),
        ({"without": "union", "fill": {"by": "url"}}, "isn't a number"),
        ({"proportions": {"wbe": 1}}, "'wbe'"),
        ({}, "none is given"),
        ({"without": "union", "proportions": {"web": 1}}, "these are 2"),
        ({"without": "union", "unit": "tokens"}, "counted by a tokenizer"),
        ({"without": "union", "schedule": "rounds"}, "needs stages"),
        ({"stages": [{"proportions": {"web": 1}}], "schedule": "rounds", "order": "group"}, "training order"),
        ({"without": "union", "fill": {"curve": {}}}, "needs the column of quality"),
    ):
        with pytest.raises((ConfigError, DataError), match=words):
            mix(made, tmp_path / "mix", **keys)
    with pytest.raises(ConfigError, match="holds a run"):
        mix(made, made, without="union")
    (tmp_path / "strange" / "mixed").mkdir(parents=True)
    with pytest.raises(ConfigError, match="not made by tamis"):
        refuse_strange_folder(str(tmp_path / "strange"))
    with pytest.raises(RunError, match=r"no mixture\.json"):
        read_mixture(str(tmp_path))
    make_run(tmp_path / "none", [(i, s, t, ("language", "language", 0.1, None)) for i, s, t, _ in documents(SIZES)])
    with pytest.raises(DataError, match="selected no document"):
        mix(tmp_path / "none", tmp_path / "mix", without="union")


def test_the_move_leaves_two_files_a_source_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run_in_many_shards(tmp_path / "run") and tmp_path / "run"
    shards = len([s for s in read_manifest(str(run)).shards if s.fate == "selected"])
    assert shards == 9
    left: dict[str, bytes] = {}
    remove = materialising.filesystem.remove_tree

    def watched(folder: str) -> None:
        left.update({str(p.relative_to(folder)): p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()})
        remove(folder)

    monkeypatch.setattr(materialising.filesystem, "remove_tree", watched)
    keys: dict[str, Any] = {"without": "equal", "order": "training", "budget": 30_000}
    few = mix(run, tmp_path / "few", shard_mb=1, **keys).manifest
    assert (len(few.shards), len(left)) == (1, 2 * shards)
    left.clear()
    many = mix(run, tmp_path / "many", shard_mb=0.001, **keys).manifest
    assert len(many.shards) > 20
    assert len(left) == 2 * shards  # however many new shards there are
    assert [row["doc_id"] for row in rows(tmp_path / "few")] == [row["doc_id"] for row in rows(tmp_path / "many")]


def test_pieces_that_were_damaged_are_no_documents(made: Path, tmp_path: Path) -> None:
    table = pa.table(
        {"part": [0, 2], "position": [0, 1], "row": [1, 0], "group": ["a", "b"], "stage": pa.array([0, 0], pa.int32()),
         "pass": pa.array([0, 0], pa.int32()), "tokens": [1, 1]}
    ).cast(ORDER_SCHEMA)  # fmt: skip
    shard = next(s for s in read_manifest(str(made)).shards if s.fate == "selected")
    source = made / shard.path
    schema = pa.schema([*pq.read_schema(source).remove_metadata(), *added_columns(None)])
    folder = tmp_path / "parts"
    write_batches(str(tmp_path / "order.arrow"), ORDER_SCHEMA, table.to_batches())
    send = SendShard(schema)
    task = SendTask(0, str(source), str(tmp_path / "order.arrow"), str(folder))
    assert send(task) == [0, 2]
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert send(task) == [0, 2]  # is there
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    write = WriteShard(str(tmp_path), str(folder), schema)
    note = write(WriteTask(2, "mixed/a.parquet", (0,), 1, 9))
    assert note["rows"] == 1
    expected = pq.read_table(source, partitioning=None).column("doc_id")[0]
    assert pq.read_table(tmp_path / "mixed" / "a.parquet").column("doc_id")[0] == expected
    pieces = next(path for path in folder.iterdir() if path.suffix == ".pieces")
    data = bytearray(pieces.read_bytes())
    data[-20] ^= 1
    pieces.write_bytes(data)
    with pytest.raises(DamagedError, match="digest"):
        write(WriteTask(2, "mixed/a.parquet", (0,), 1, 9))
    pieces.unlink()
    with pytest.raises(DamagedError, match="missing"):
        write(WriteTask(0, "mixed/b.parquet", (0,), 1, 9))
    send(task)
    assert write(WriteTask(0, "mixed/b.parquet", (0,), 1, 9))["rows"] == 1


def test_what_is_seen_ten_times_is_told_of_tokens_and_of_lines(tmp_path: Path) -> None:
    listed = documents({"books": 6, "web": 24}, words=(8, 8))
    menu = "all rights reserved"
    listed = [(i, s, f"{t}\n{menu}" if s == "web" else t, f) for i, s, t, f in listed]
    run = make_run(tmp_path / "run", listed) and tmp_path / "run"
    web = [text for _, source, text, _ in listed if source == "web"]
    lines = Counter(line for _, _, text, _ in listed for line in text.split("\n"))
    found = mix(run, tmp_path / "once", without="union").manifest.repetition["heavy"]
    assert (found["times"], found["tokens"], found["share"]) == (10, 0, 0)
    assert found["lines"] == {"seen": 24, "unique": 1, "share": 24 / sum(lines.values()), "counted": 1.0}
    # With clusters of copies, documents are seen often too.
    with_column(run, "near", lambda row: "one" if row["source"] == "web" else None, pa.string())
    copies = mix(run, tmp_path / "copies", without="union", clusters="near").manifest
    heavy = copies.repetition["heavy"]
    assert heavy["tokens"] == sum(len(text.encode()) for text in web)
    assert heavy["share"] == pytest.approx(heavy["tokens"] / copies.repetition["seen"])
    assert heavy["share"] == pytest.approx(sum(row["share"] for row in copies.repetition["histogram"][-2:]))
    # Twelve epochs: every line of the group is seen twelve times or more.
    often = {"proportions": {"books": 1}, "max_epochs": 12, "budget": 10**7, "exhausted": "repeat"}
    epochs = mix(run, tmp_path / "epochs", **often).manifest
    assert epochs.repetition["heavy"]["share"] == pytest.approx(1)
    assert epochs.repetition["heavy"]["lines"]["share"] == 1
    with connect(str(tmp_path / "copies")) as connection:
        rows_ = connection.execute("SELECT what, least, seen, share FROM repetition_heavy ORDER BY what").fetchall()
    assert rows_ == [
        ("bytes", 10, heavy["tokens"], heavy["share"]),
        ("lines", 10, 24.0, heavy["lines"]["share"]),
    ]


@pytest.mark.parametrize("keys", [{"without": "union"}, {"without": "equal", "order": "training", "budget": 4 * 10**7}])
def test_the_memory_of_planning_is_what_is_said(keys: dict[str, Any]) -> None:
    number = 20_000
    draw = np.random.default_rng(0)
    words, sizes = draw.integers(0, 2**63, (number, 2)).astype(np.uint64), draw.integers(1, 2000, number)
    group, clusters = draw.integers(0, 3, number).astype(np.int32), draw.integers(0, number, number)
    shard, rows_ = np.zeros(number, np.int32), np.arange(number)
    config = validate(MixtureConfig, {"exhausted": "repeat", **keys}, "mixture")

    def made_index() -> Index:
        columns = (group.copy(), words.copy(), sizes.copy(), np.zeros(number, np.int64), draw.random(number))
        return Index(("a", "b", "c"), *columns, clusters.copy(), shard.copy(), rows_.copy())

    found = Found(str(config.without))
    plan_mixture(config, made_index(), found)  # what is imported and compiled once isn't of the documents
    tracemalloc.start()
    try:
        planned = plan_mixture(config, made_index(), found)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0.7 * index_memory(number, len(planned.order)) < peak < 1.05 * index_memory(number, len(planned.order))
