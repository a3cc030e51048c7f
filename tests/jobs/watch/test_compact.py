"""Compaction gives the bytes of one run over everything, from any split into increments; or says why not."""

import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tamis
from tamis.jobs.watch import compact as compact_module
from tamis.jobs.watch.corpus import read_corpus
from tamis.schemas.errors import ConfigError, RunError
from tests.jobs.watch.growing import Growing, names, shard_bytes, texts_of

FILES = 5
SHARE = {"score": {"scorer": "mine:Share", "column": "share", "keep": {"fraction": 0.5}}}
STEPS = ["exact_dedup", {"near_dedup": {"name": "near"}}, SHARE]
REPEATS = [*STEPS, {"paragraph_dedup": {"name": "lines"}}]
SPLITS = st.lists(st.integers(0, 2), min_size=FILES, max_size=FILES)


def parts():
    """Return the documents of the files: copies and near-copies lie across them."""
    texts = texts_of(60, seed=5, copies=0.4)
    return [texts[number * 12 : number * 12 + 12] for number in range(FILES)]


def split(root, steps, groups, watch=None, **options):
    """Grow a corpus by files in the order of their groups, and leave it."""
    growing = Growing(root, steps, watch, **options)
    written = []
    for number, texts in enumerate(parts()):
        path = growing.put(f"{number}.jsonl", texts)
        written.append(path.rename(root / path.name))
    for group in sorted(set(groups)):
        for number, mine in enumerate(groups):
            if mine == group:
                shutil.copy2(written[number], growing.inputs / f"{number}.jsonl")
        growing.grow()
    return growing


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """One run over everything."""
    growing = Growing(tmp_path_factory.mktemp("whole"), REPEATS)
    for number, texts in enumerate(parts()):
        growing.put(f"{number}.jsonl", texts)
    run = growing.one_run()
    return shard_bytes(run), tamis.open(run)


@settings(max_examples=1)
@given(SPLITS)
def test_a_split_is_compacted_to_the_bytes_of_one_run(tmp_path_factory, whole, groups):
    compacted(tmp_path_factory, whole, groups)


@pytest.mark.slow
@settings(max_examples=12)
@given(SPLITS)
def test_any_split_is_compacted_to_the_bytes_of_one_run(tmp_path_factory, whole, groups):
    compacted(tmp_path_factory, whole, groups)


def compacted(tmp_path_factory, whole, groups):
    growing = split(tmp_path_factory.mktemp("split"), REPEATS, groups)
    increments = len(set(groups))
    assert tamis.open(growing.corpus).manifest.read == 60
    done = growing.compact()
    if increments == 1:
        assert done.name is None
        assert shard_bytes(growing.corpus / "increments" / "00001").keys() == whole[0].keys()
        return
    assert shard_bytes(growing.corpus / "increments" / done.name) == whole[0]
    corpus = tamis.open(growing.corpus)
    assert corpus.verify(inputs=True).ok
    assert [parent.path for parent in corpus.manifest.parents] == [f"increments/{done.name}"]
    merged = tamis.open(growing.corpus / "increments" / done.name).manifest
    assert [parent.path for parent in merged.parents] == [f"../{name}" for name in done.merged]
    assert sorted(path.name for path in (growing.corpus / "increments").iterdir()) == [done.name]
    # What comes after it is held against all that was seen.
    shutil.copy(growing.inputs / "0.jsonl", growing.inputs / "again.jsonl")
    again = growing.grow()
    assert again.read == 72
    last = tamis.open(growing.corpus / "increments" / f"{increments + 2:05d}")
    assert last.manifest.selected == 0
    assert names(growing.watch()) == []


@settings(max_examples=3)
@given(SPLITS)
def test_one_of_each_text_is_kept_over_any_split(tmp_path_factory, groups):
    growing = split(tmp_path_factory.mktemp("split"), ["exact_dedup"], groups)
    texts = tamis.open(growing.corpus).selected().to_table(columns=["text"]).column(0).to_pylist()
    assert sorted(texts) == sorted({text for part in parts() for text in part})


@pytest.mark.slow
@settings(max_examples=6)
@given(SPLITS)
def test_clusters_that_came_in_order_are_those_of_one_run(tmp_path_factory, groups):
    """Where the document that one run would keep comes first, increments select just what one run selects."""
    steps = ["exact_dedup", {"near_dedup": {"name": "near"}}]
    root = tmp_path_factory.mktemp("split")
    growing = Growing(root, steps)
    apart = [text + f" {number} " * 30 for number, text in enumerate(texts_of(20, seed=8, copies=0))]
    ends = [0, *sorted(10 + 10 * group for group in groups)]
    rows = [*apart, *apart[:10], *[text + " end" for text in apart[5:15]], *apart]
    for number, (first, last) in enumerate(zip(ends, [*ends[1:], len(rows)], strict=True)):
        growing.put(f"{number}.jsonl", rows[first:last])
        growing.grow()
    corpus = tamis.open(growing.corpus)
    assert corpus.manifest.read == len(rows)
    found = corpus.selected().to_table(columns=["text"]).column(0).to_pylist()
    run = tamis.open(growing.one_run())
    expected = run.selected().to_table(columns=["text"]).column(0).to_pylist()
    assert len(found) == len(expected) == 20
    assert {text.removesuffix(" end").strip() for text in found} == {
        text.removesuffix(" end").strip() for text in expected
    }


def test_two_workers_give_the_same_bytes(tmp_path, whole):
    growing = split(tmp_path, REPEATS, [0, 0, 1, 1, 1])
    growing.workers = 2
    done = growing.compact()
    assert shard_bytes(growing.corpus / "increments" / done.name) == whole[0]


def test_documents_that_moved_are_told(tmp_path, whole):
    growing = split(tmp_path, REPEATS, [1, 1, 0, 0, 0])
    before = tamis.open(growing.corpus)
    was = set(before.selected().to_table(columns=["doc_id"]).column(0).to_pylist())
    done = growing.compact(keep=True)
    now = set(whole[1].selected().to_table(columns=["doc_id"]).column(0).to_pylist())
    assert sum(one.documents for one in done.moved if one.only == "first") == len(was - now)
    assert sum(one.documents for one in done.moved if one.only == "second") == len(now - was)
    assert sorted(path.name for path in (growing.corpus / "increments").iterdir()) == ["00001", "00002", "00003"]
    notes = tamis.open(growing.corpus).verify().notes
    assert any("belongs to no increment" in note for note in notes)


def test_what_was_read_and_scored_is_not_read_again(tmp_path):
    """Files that fill a shard by themselves are taken from what the increments left."""
    from tamis.pipeline.passes import inputs

    growing = Growing(tmp_path, [SHARE])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inputs, "PACKED_BYTES", 10)
        for number in range(3):
            growing.put(f"{number}.jsonl", texts_of(20, seed=number))
            growing.grow()
        done = growing.compact()
    merged = tamis.open(growing.corpus / "increments" / done.name).manifest
    assert merged.read == 60
    reused = {record.name: record.cpu_seconds for record in merged.passes}
    assert reused["read"] < 0.05


def test_files_that_changed_or_are_gone_are_a_reason(tmp_path):
    growing = split(tmp_path, STEPS, [0, 0, 0, 1, 1])
    kept = (growing.inputs / "1.jsonl").read_bytes()
    growing.put("1.jsonl", texts_of(3, seed=77))
    with pytest.raises(RunError, match=r"changed after being read: web: in/1.jsonl; --present takes files as they are"):
        growing.compact()
    (growing.inputs / "1.jsonl").unlink()
    with pytest.raises(RunError, match=r"gone after being read: web: in/1.jsonl"):
        growing.compact()
    assert tamis.open(growing.corpus).verify().ok
    (growing.inputs / "1.jsonl").write_bytes(kept)
    (growing.inputs / "2.jsonl").unlink()
    growing.put("new.jsonl", texts_of(9, seed=4))  # which no increment has read yet
    done = growing.compact(present=True)
    assert done.manifest.read == 48
    assert growing.grow().read == 57


def test_a_file_in_two_states_is_a_reason(tmp_path):
    growing = Growing(tmp_path, ["exact_dedup"], {"changed": "read"})
    growing.put("a.jsonl", texts_of(6))
    growing.grow()
    growing.put("a.jsonl", texts_of(6) + texts_of(5, seed=3))
    growing.grow()
    with pytest.raises(RunError, match=r"in several states"):
        growing.compact()
    assert growing.compact(present=True).manifest.read == 11


def test_thresholds_that_are_frozen_are_a_reason(tmp_path):
    growing = split(tmp_path, STEPS, [0, 0, 1, 1, 2], {"thresholds": "frozen"})
    held = read_corpus(str(growing.corpus)).frozen["score"]["share_fraction"]
    with pytest.raises(ConfigError, match=r"thresholds are frozen for score: .* --thresholds frozen merges"):
        growing.compact()
    done = growing.compact(thresholds="frozen")
    merged = tamis.open(growing.corpus / "increments" / done.name)
    assert merged.manifest.steps[3].thresholds == {"share_fraction": held}
    steps = merged.manifest.source_config["steps"]
    run = growing.one_run(steps=steps)
    assert shard_bytes(run) == shard_bytes(growing.corpus / "increments" / done.name)
    assert tamis.open(growing.corpus).verify().ok
    growing.put("9.jsonl", texts_of(8, seed=12))
    growing.grow()
    last = tamis.open(growing.corpus / "increments" / "00005").manifest
    assert last.steps[3].thresholds == {"share_fraction": held}


def test_frozen_thresholds_are_found_anew_on_demand(tmp_path):
    growing = split(tmp_path, STEPS, [0, 0, 1, 1, 2], {"thresholds": "frozen"})
    done = growing.compact(thresholds="estimate")
    run = growing.one_run()
    assert shard_bytes(run) == shard_bytes(growing.corpus / "increments" / done.name)
    found = tamis.open(run).manifest.steps[3].thresholds["share_fraction"]
    growing.put("9.jsonl", texts_of(8, seed=12))
    growing.grow()
    last = tamis.open(growing.corpus / "increments" / "00005").manifest
    assert last.steps[3].thresholds == {"share_fraction": found}


def test_nothing_to_merge(tmp_path):
    growing = Growing(tmp_path, ["exact_dedup"])
    with pytest.raises(RunError, match=r"holds no corpus\.json"):
        growing.compact()
    growing.watch()
    with pytest.raises(RunError, match="no increment yet"):
        growing.compact()
    growing.put("a.jsonl", texts_of(5))
    growing.grow()
    assert growing.compact().name is None


def test_an_increment_that_is_begun_comes_first(tmp_path):
    growing = split(tmp_path, STEPS, [0, 0, 0, 1, 1])
    begun = growing.corpus / "increments" / "00003"
    begun.mkdir()
    (begun / "increment.json").write_text("[]")
    with pytest.raises(RunError, match="00003 was begun and isn't finished"):
        growing.compact()


@pytest.mark.parametrize(("name", "after"), [("execute", True), ("write_corpus", False), ("write_corpus", True)])
def test_a_killed_compaction_goes_on(tmp_path, monkeypatch, whole, name, after):
    growing = split(tmp_path, REPEATS, [0, 0, 0, 1, 1])

    def ends(*args, **kwargs):
        if after:
            real(*args, **kwargs)
        raise KeyboardInterrupt

    real = getattr(compact_module, name)
    with monkeypatch.context() as patch:
        patch.setattr(compact_module, name, ends)
        with pytest.raises(KeyboardInterrupt):
            growing.compact()
    assert tamis.open(growing.corpus).manifest.read == 60
    if name == "write_corpus" and after:  # it is one already, and what it was made of is still there
        assert names(growing.watch()) == []
    else:
        assert growing.compact().name == "00003"
    assert sorted(path.name for path in (growing.corpus / "increments").iterdir()) == ["00003"]
    assert shard_bytes(growing.corpus / "increments" / "00003") == whole[0]
    assert tamis.open(growing.corpus).verify().ok


def test_a_merged_increment_that_fails_leaves_all_as_it_was(tmp_path):
    growing = split(tmp_path, STEPS, [0, 0, 0, 1, 1])
    before = tamis.open(growing.corpus).manifest
    record = read_corpus(str(growing.corpus))
    strict = record.model_copy(update={"source_config": record.source_config | {"max_errors": 0}})
    compact_module.write_corpus(str(growing.corpus), strict)
    (growing.inputs / "0.jsonl").write_bytes(b'{"text": \n')
    done = growing.compact(present=True)
    assert "1 of" in done.problems[0]
    assert tamis.open(growing.corpus).manifest.shards == before.shards
    assert tamis.open(growing.corpus).verify().ok
