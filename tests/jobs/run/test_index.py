"""Indexes of earlier runs: rounds of the steps that have one against dictionaries, brute force and scorers' twins."""

import itertools
import json
import shutil
from collections import Counter

import numpy as np
import pytest

from tamis.jobs.manifest.verify import verify
from tamis.jobs.run.plan import make_plan
from tamis.pipeline.corpus.earlier import SeenIndex
from tamis.pipeline.steps.base import FoundFile
from tamis.pipeline.steps.registry import parse_config, parse_step
from tamis.schemas.errors import ConfigError, ModelError, TamisError
from tamis.scorers.dedup.near_duplicate_index import INDEX_BIT, NearDuplicateIndex
from tamis.scorers.dedup.near_duplicates import Shard, document_numbers
from tamis.scorers.text.noise import id_words
from tests.jobs.finished_runs import digests, every_row, ran
from tests.jobs.run import test_repeats as repeats
from tests.jobs.run.test_near_dedup import (
    RUNNERS,
    config_over,
    documents,
    small_shards,  # noqa: F401  (a fixture)
    write,
)
from tests.scorers.dedup.test_paragraphs import twin as paragraph_twin

ROUNDS = 3


@pytest.fixture(scope="module")
def pools(tmp_path_factory):
    """One crawl after the other, of texts that recur."""
    folder = tmp_path_factory.mktemp("pools")
    rows = documents(5, 150)
    for number, cuts in enumerate(([20, 21], [3, 30, 30], [])):
        write(folder / str(number), rows[number * 50 : number * 50 + 50], cuts)
    return [folder / str(number) for number in range(ROUNDS)]


def rounds(pools, folder, verb, options, **engine):
    """Run over each pool with the index of the round before; return manifests and rows."""
    found = []
    for number, pool in enumerate(pools):
        step = {**options, "write_index": True}
        if number:
            step["index"] = [str(folder / str(number - 1))]
        manifest = ran(config_over(pool, {verb: step}), folder / str(number), **engine)
        found.append((manifest, every_row(manifest, folder / str(number))))
    return found


EXACT = {
    "texts": {"normalize": "words"},
    "numbers, the highest": {"key": "year", "keep": "highest", "keep_column": "text_size"},
    "hosts": {"key": "host", "name": "host", "keep": "newest", "keep_column": "year"},
}


@pytest.mark.parametrize("case", ["texts", "hosts"])
def test_exact_groups_count_all_rounds(pools, tmp_path, case):
    options = EXACT[case]
    prefix = options.get("name", "dup")
    seen, kept, total = Counter(), {}, 0
    for manifest, rows in rounds(pools, tmp_path, "exact_dedup", options):
        key = (lambda row: row["host"]) if case == "hosts" else (lambda row: row["text_hash"])
        before = set(seen)
        seen.update(key(row) for row in rows if key(row) is not None)
        best = sorted(rows, key=lambda row: (row["year"] is None, -(row["year"] or 0), row["doc_id"]))
        for row in best if case == "hosts" else rows:
            if key(row) is not None:
                kept.setdefault(key(row), row["doc_id"])
        for row in rows:
            if key(row) is None:
                assert (row[f"{prefix}_cluster_size"], row["fate"]) == (1, "selected")
                continue
            assert row[f"{prefix}_cluster"] == kept[key(row)]
            assert row[f"{prefix}_cluster_size"] == seen[key(row)]
            assert row["fate"] == ("selected" if kept[key(row)] == row["doc_id"] else "rejected")
        metrics = manifest.steps[1].metrics
        total += sum(key(row) is not None for row in rows)
        assert metrics["index"]["documents"] == total
        if before:
            fell = sum(key(row) in before for row in rows)
            assert metrics["duplicates_of_earlier_runs"] == fell > 0
    assert len(kept) == len(seen)  # exactly one survivor each, over all rounds
    label = manifest.steps[1].label
    table = SeenIndex.open(str(tmp_path / "2" / "index" / label)).table()
    assert sum(table.column("documents").to_pylist()) == total
    counted = Counter()
    for row in table.to_pylist():
        counted[row["hash"]] += row["documents"]
        assert row["doc_id"].hex() in set(kept.values())
    assert sorted(counted.values()) == sorted(seen.values())


PARAGRAPHS = {
    "lines": {"unit": "lines"},
    "lines of three documents": {"unit": "lines", "min_documents": 3, "name": "par"},
    "none kept": {"keep": "none", "min_words": 2, "folding": "folded"},
}


@pytest.fixture(scope="module")
def crawls(tmp_path_factory):
    """One crawl after the other, of lines that recur."""
    folder = tmp_path_factory.mktemp("crawls")
    for number in range(ROUNDS):
        rows = [row | {"id": f"{number}-{row['id']}"} for row in repeats.documents(20 + number, 30)]
        write(folder / str(number), rows, [[7, 7], [], [3, 20]][number])
    return [folder / str(number) for number in range(ROUNDS)]


@pytest.mark.parametrize("case", PARAGRAPHS)
def test_what_earlier_runs_have_seen_of_paragraphs_goes(crawls, tmp_path, case):
    """As if all crawls were one corpus, in which documents of earlier ones come first: by brute force."""
    options = PARAGRAPHS[case]
    step = parse_step({"paragraph_dedup": options}, "steps[0]")
    texts, ids, keys = [], [], 0
    for number, (manifest, rows) in enumerate(rounds(crawls, tmp_path, "paragraph_dedup", options)):
        plain = every_row(ran(config_over(crawls[number]), tmp_path / f"plain{number}"), tmp_path / f"plain{number}")
        texts += [row["text"] for row in plain]
        ids += [f"{number}{row['doc_id']}" for row in plain]
        left = dict(zip(ids, paragraph_twin(texts, ids, step.options()), strict=True))
        for row, before in zip(rows, plain, strict=True):
            after = left[f"{number}{row['doc_id']}"]
            assert row[f"{step.name or 'text'}_removed_chars"] == len(before["text"]) - len(after)
            assert row["text"] == (after if row["fate"] == "selected" else before["text"])
        told = manifest.steps[1].metrics
        assert told["changed"] > 0
        assert told["index"]["documents"] > keys
        keys = told["index"]["documents"]
        assert verify(str(tmp_path / str(number))).ok
    again = ran(
        config_over(crawls[2], {"paragraph_dedup": {**options, "index": [str(tmp_path / "1")]}}),
        tmp_path / "again",
        workers=2,
    )
    assert every_row(again, tmp_path / "again") == rows
    other = {"unit": "paragraphs" if options.get("unit") else "lines", "name": options.get("name")}
    config = config_over(crawls[2], {"paragraph_dedup": {**other, "index": [str(tmp_path / "1")]}})
    with pytest.raises(ModelError, match="made with `unit: "):
        ran(config, tmp_path / "no")


def test_an_index_is_verified_with_its_run(crawls, tmp_path):
    ran(config_over(crawls[0], {"paragraph_dedup": {"write_index": True}}), tmp_path)
    assert verify(str(tmp_path)).ok
    folder = tmp_path / "index" / "paragraph_dedup"
    listing = (folder / "index.json").read_bytes()
    part = sorted(folder.glob("part-*"))[0]
    whole = part.read_bytes()
    part.write_bytes(whole[:-1] + b"?")
    (told,) = verify(str(tmp_path)).failures
    assert told.startswith(f"index/paragraph_dedup/{part.name} was changed: its SHA-256 is ")
    part.unlink()
    assert verify(str(tmp_path)).failures == (f"index/paragraph_dedup/{part.name} is missing",)
    part.write_bytes(whole)
    (folder / "index.json").write_bytes(listing + b" ")
    (told,) = verify(str(tmp_path)).failures
    assert told.startswith("index/paragraph_dedup/index.json was changed: its SHA-256 is ")
    (folder / "index.json").write_text("nonsense")
    (told,) = verify(str(tmp_path)).failures
    assert told.endswith("it isn't the listing of an index")
    shutil.rmtree(folder)  # which a later run's index makes superfluous
    result = verify(str(tmp_path))
    assert result.ok
    assert result.notes == ("the index that paragraph_dedup left isn't there any more, and can't be checked",)


def test_two_indexes_that_know_nothing_of_each_other(pools, tmp_path):
    step = {"normalize": "words", "write_index": True}
    for number in (0, 1):
        ran(config_over(pools[number], {"exact_dedup": step}), tmp_path / str(number))
    both = [str(tmp_path / "1"), str(tmp_path / "0" / "index" / "exact_dedup")]
    found = []
    for indexes in (both, both[::-1]):
        folder = tmp_path / f"third{len(found)}"
        manifest = ran(config_over(pools[2], {"exact_dedup": {"normalize": "words", "index": indexes}}), folder)
        found.append(every_row(manifest, folder))
    assert found[0] == found[1]
    earlier = [row for number in (0, 1) for row in rows_of_run(tmp_path / str(number))]
    sizes = Counter(row["text_hash"] for row in [*earlier, *found[0]] if row["text_hash"] is not None)
    names = {}
    for row in earlier:
        if row["fate"] == "selected" and row["text_hash"] is not None:
            names[row["text_hash"]] = min(row["doc_id"], names.get(row["text_hash"], "g"))
    for row in found[0]:
        if row["text_hash"] is not None:
            assert row["dup_cluster_size"] == sizes[row["text_hash"]]
            if row["text_hash"] in names:
                assert (row["dup_cluster"], row["fate"]) == (names[row["text_hash"]], "rejected")


def rows_of_run(folder):
    from tamis.jobs.manifest.file import read_manifest

    return every_row(read_manifest(str(folder)), folder)


def test_an_index_counts_in_the_digest_and_mistakes_are_sentences(pools, tmp_path):
    with_index = {"normalize": "words", "write_index": True}
    first = ran(config_over(pools[0], {"exact_dedup": with_index}), tmp_path / "0")
    other = ran(config_over(pools[1], {"exact_dedup": with_index}), tmp_path / "1")
    assert first.models == ()

    def made(index, folder="out", pool=pools[2], **options):
        step = {"normalize": "words", "index": [str(index)], **options}
        return ran(config_over(pool, {"exact_dedup": step}), tmp_path / folder)

    one = made(tmp_path / "0")
    work = list((tmp_path / "out" / "work").glob("*exact_dedup-columns-*"))
    two = made(tmp_path / "1")
    assert one.config_sha256 != two.config_sha256
    assert (one.models[0].sha256, two.models[0].sha256) == (
        first.steps[1].metrics["index"]["sha256"],
        other.steps[1].metrics["index"]["sha256"],
    )
    assert list((tmp_path / "out" / "work").glob("*exact_dedup-columns-*")) == work  # nothing is hashed again
    moved = tmp_path / "moved"
    shutil.copytree(tmp_path / "1" / "index" / "exact_dedup", moved)
    assert made(moved).config_sha256 == two.config_sha256  # by its content, wherever it lies
    for index, options, told in (
        (tmp_path / "none", {}, "neither an index nor a run"),
        (tmp_path / "0", {"normalize": "none"}, r"was made with `normalize: words`.*`normalize: none`"),
        (tmp_path / "0" / "index" / "exact_dedup", {"key": "url"}, "`key"),
    ):
        with pytest.raises(ModelError, match=told) as error:
            made(index, **options)
        assert "\n" not in str(error.value)
    with pytest.raises(ConfigError, match="where this run leaves its own"):
        made(tmp_path / "0", "0", write_index=True)
    listing = moved / "index.json"
    plain = json.loads(listing.read_text())
    listing.write_text(json.dumps(plain | {"format": 9}))
    with pytest.raises(ModelError, match="format 9"):
        made(moved)
    listing.write_text("{}")
    with pytest.raises(ModelError, match="isn't the listing"):
        made(moved)
    listing.write_text(json.dumps(plain))
    part = moved / plain["parts"][0]["name"]
    part.write_bytes(part.read_bytes()[:-9])
    with pytest.raises(TamisError, match="isn't what the index's listing says"):
        made(moved, "again")
    assert part.exists()  # it isn't ours to delete


def test_a_run_that_begins_again_leaves_the_index_as_it_is(pools, tmp_path):
    plain = config_over(pools[0], {"exact_dedup": {"write_index": True}})
    first = ran(plain, tmp_path)
    folder = tmp_path / "index" / "exact_dedup"
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.parquet")}
    later = {"rules": {"rules": [{"column": "year", "op": "min", "threshold": 1, "reason": "old"}]}}
    second = ran(plain | {"steps": [*plain["steps"], later]}, tmp_path)
    assert second.steps[1].metrics == first.steps[1].metrics
    assert before == {path.name: path.stat().st_mtime_ns for path in folder.glob("*.parquet")}
    (folder / "part-00001.parquet").unlink()
    (folder / "part-00099.parquet").write_bytes(b"left over")
    third = ran(plain | {"steps": [*plain["steps"], later], "seed": 7}, tmp_path)
    assert third.steps[1].metrics == first.steps[1].metrics
    assert sorted(path.name for path in folder.glob("*.parquet")) == sorted(before)


NEAR = {
    "bands alone": {"shingle_size": 3, "bands": 6, "rows": 3},
    "verified, the newest": {
        "shingle_size": 3, "bands": 12, "rows": 2, "verify": "shingles", "threshold": 0.5, "keep": "newest",
        "keep_column": "year",
    },
    "estimated, no chains": {
        "shingle_size": 3, "bands": 12, "rows": 2, "verify": "estimate", "threshold": 0.5, "link": "kept",
        "name": "near",
    },
}  # fmt: skip


def near_twin(rows, step, index):
    """Each row's survivor, cluster size and fate, found in memory; and the index with the rows."""
    rows = sorted(rows, key=lambda row: row["doc_id"])
    options = step.options()
    ids = [row["doc_id"] for row in rows]
    texts = [row["original"] for row in rows]
    column = [row["year"] for row in rows] if step.keep == "newest" else None
    signed = options.minhash.sign(texts)
    found = options.find([Shard(texts, ids, column)], index=index)
    before = NearDuplicateIndex.empty(signed.minima.shape[1]) if index is None else index
    names = [f"{high:016x}{low:016x}" for high, low in before.ids.tolist()]
    kept = [names[number & ~INDEX_BIT] if number & INDEX_BIT else ids[number] for number in map(int, found.kept[0])]
    sets = options.shingles.sets(texts) if options.verify == "shingles" else None
    after = before.extended(found.clusters, document_numbers(0, len(ids)), id_words(ids), signed, sets)
    return list(zip(ids, kept, found.sizes[0].tolist(), strict=True)), after


@pytest.mark.parametrize("case", NEAR)
def test_near_clusters_count_all_rounds(pools, tmp_path, case):
    options = NEAR[case]
    step = parse_step({"near_dedup": options}, "steps[0]")
    prefix = options.get("name", "dup")
    index, fell, everyone = None, 0, {}
    for number, (manifest, rows) in enumerate(rounds(pools, tmp_path, "near_dedup", options)):
        for row in rows:
            row["original"] = row["text"]
        known = set() if index is None else {f"{a:016x}{b:016x}" for a, b in index.ids.tolist()}
        wanted, index = near_twin(rows, step, index)
        found = [(row["doc_id"], row[f"{prefix}_cluster"], row[f"{prefix}_cluster_size"]) for row in rows]
        assert found == wanted
        assert all((row["fate"] == "selected") == (row["doc_id"] == row[f"{prefix}_cluster"]) for row in rows)
        everyone |= {row["doc_id"]: row for row in rows}
        metrics = manifest.steps[1].metrics
        earlier = sum(row[f"{prefix}_cluster"] in known for row in rows)
        assert metrics.get("duplicates_of_earlier_runs", 0) == earlier
        assert not number or earlier > 0
        fell += metrics["duplicates"]
    label = manifest.steps[1].label
    seen = SeenIndex.open(str(tmp_path / "2" / "index" / label))
    table = seen.table(["doc_id", "cluster", "documents", "kept", "row"]).to_pylist()
    # the same documents, survivors and sizes as the twin's; each cluster has one survivor
    names = [f"{high:016x}{low:016x}" for high, low in index.ids.tolist()]
    twin = {name: (names[index.kept[i]], int(index.sizes[i])) for i, name in enumerate(names)}
    assert {row["doc_id"].hex(): (row["cluster"].hex(), row["documents"]) for row in table} == twin
    assert sum(row["documents"] for row in table) == len(table) == seen.documents
    starts = np.cumsum([0, *(part.rows for part in seen.parts)])
    by_number = {}
    for position, (low, high) in enumerate(itertools.pairwise(starts.tolist())):
        by_number |= {position << 32 | row["row"]: row["doc_id"] for row in table[low:high]}
    assert all(by_number[row["kept"]] == row["cluster"] for row in table)


def test_rounds_are_the_same_on_two_workers_and_a_shuffle(pools, tmp_path):
    options = NEAR["verified, the newest"]
    here = rounds(pools[:2], tmp_path / "one", "near_dedup", options)
    for name, engine in (("two", {"workers": 2}), ("shuffle", RUNNERS["portable"])):
        folder = tmp_path / name
        shutil.copytree(tmp_path / "one" / "0", folder / "0")
        step = {**options, "write_index": True, "index": [str(folder / "0")]}
        there = ran(config_over(pools[1], {"near_dedup": step}), folder / "1", **engine)
        assert digests(there) == digests(here[1][0])


def test_one_run_over_all_gives_the_same_clusters(pools, tmp_path):
    """Where nothing of a later round joins two clusters of an earlier one, but for which document stays."""
    options = NEAR["verified, the newest"] | {"keep": "id", "threshold": 0.8}
    del options["keep_column"]
    found = rounds(pools, tmp_path / "rounds", "near_dedup", options)
    everything = tmp_path / "all"
    everything.mkdir()
    for number, pool in enumerate(pools):
        for path in pool.glob("*.jsonl"):
            shutil.copy(path, everything / f"{number}-{path.name}")
    whole = every_row(ran(config_over(everything, {"near_dedup": options}), tmp_path / "run"), tmp_path / "run")
    sizes = Counter(row["dup_cluster_size"] for row in whole if row["fate"] == "selected")
    seen = SeenIndex.open(str(tmp_path / "rounds" / "2" / "index" / "near_dedup")).table(["documents"])
    short = sum(row["fate"] == "selected" and len(row["text"].split()) < 3 for row in whole)
    counted = Counter(n for n in seen.column("documents").to_pylist() if n)
    counted[1] += short
    assert counted == sizes
    # a text that joins two clusters of earlier rounds comes too late for one of their survivors
    assert sum(manifest.selected for manifest, _ in found) >= sum(sizes.values())


def test_near_settings_must_agree(pools, tmp_path):
    options = NEAR["bands alone"]
    ran(config_over(pools[0], {"near_dedup": options | {"write_index": True}}), tmp_path / "0")

    def made(**changes):
        step = {**options, "index": [str(tmp_path / "0")], **changes}
        return make_plan(parse_config(plain := config_over(pools[1], {"near_dedup": step})), plain)

    assert made(keep="longest").models["near_dedup"]["index.0"].bytes > 0
    for changes, told in (
        ({"bands": 5}, "`bands: 6`, and this is `bands: 5`"),
        ({"seed": 3}, "seed"),
        ({"link": "kept"}, "link"),
        ({"shingle_size": 4}, "shingles"),
        ({"verify": "estimate"}, "verify"),
        ({"name": "other"}, "neither an index nor a run with one of near_dedup.other"),
    ):
        with pytest.raises(ModelError, match=told):
            made(**changes)
    need = [
        parse_step({"near_dedup": options}, "steps[0]").memory(10, models).worker
        for models in ({}, {"index.0": FoundFile("a", "a", "0", 10**7)})
    ]
    assert need[0] < need[1]


def test_an_index_that_was_deleted_is_written_again(pools, tmp_path):
    plain = config_over(pools[0], {"exact_dedup": {"write_index": True}})
    first = ran(plain, tmp_path)
    shutil.rmtree(tmp_path / "index")
    assert ran(plain, tmp_path).steps[1].metrics == first.steps[1].metrics
    assert len(SeenIndex.open(str(tmp_path / "index" / "exact_dedup")).parts) > 1


def test_indexes_can_lie_elsewhere(pools, tmp_path):
    pytest.importorskip("fsspec")
    step = NEAR["bands alone"] | {"write_index": True}
    here = rounds(pools[:2], tmp_path, "near_dedup", NEAR["bands alone"])
    ran(config_over(pools[0], {"near_dedup": step}), "memory://rounds/0")
    there = ran(config_over(pools[1], {"near_dedup": step | {"index": ["memory://rounds/0"]}}), "memory://rounds/1")
    assert digests(there) == digests(here[1][0])
    assert there.steps[1].metrics == here[1][0].steps[1].metrics


def test_urls_as_datatrove_has_them(tmp_path):
    """The cases of its tests: copies by address, the one of highest priority kept, with counts and with an index."""
    hosts = ["example.com", "example.com", "new-site.com", "example.com", "example2.com"]
    rows = [{"id": str(i), "text": f"text {i}", "url": f"https://{h}", "year": i} for i, h in enumerate(hosts, 1)]
    write(tmp_path / "pool", rows, [2])
    write(tmp_path / "known", [rows[0], rows[4]], [])

    def kept(folder, **options):
        config = config_over(tmp_path / "pool", {"exact_dedup": {"key": "url", **options}}, columns=("year",))
        found = every_row(ran(config, tmp_path / folder), tmp_path / folder)
        return {row["year"]: row["dup_cluster_size"] for row in found if row["fate"] == "selected"}

    assert sorted(kept("plain").values()) == [1, 1, 3]
    assert kept("highest", keep="highest", keep_column="year") == {3: 1, 4: 3, 5: 1}
    assert kept("lowest", keep="lowest", keep_column="year") == {1: 3, 3: 1, 5: 1}
    known = config_over(tmp_path / "known", {"exact_dedup": {"key": "url", "write_index": True}}, columns=("year",))
    ran(known, tmp_path / "seen")
    assert kept("against", index=[str(tmp_path / "seen")]) == {3: 1}
