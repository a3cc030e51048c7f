"""New files become increments: read once, whatever happens between; what changed or is gone is said."""

import json
import os
import shutil
import time

import pytest

import tamis
from tamis.jobs.manifest.rerun import rerun
from tamis.jobs.run import execute as execute_module
from tamis.jobs.run.folder import owned
from tamis.jobs.watch import increment as increment_module
from tamis.jobs.watch.corpus import read_corpus
from tamis.jobs.watch.increment import Refused, Stood, Told
from tamis.schemas.errors import ConfigError, InputError, ModelError, RunError
from tests.jobs.watch.growing import Growing, names, texts_of

SHORT = {"heuristics": {"rules": [{"column": "text_words", "op": "min", "threshold": 25, "reason": "short"}]}}
NEAR = {"near_dedup": {"name": "near"}}
SHARE = {"score": {"scorer": "mine:Share", "column": "share", "keep": {"fraction": 0.5}}}


@pytest.fixture
def growing(tmp_path):
    """A corpus of two files, the second of which comes later."""
    made = Growing(tmp_path, [SHORT, "exact_dedup"])
    made.put("a.jsonl", texts_of(40))
    return made


def selected(growing):
    return sorted(tamis.open(growing.corpus).selected().to_table(columns=["doc_id"]).column(0).to_pylist())


def test_each_pass_is_a_run_that_names_the_one_before(growing):
    first = growing.grow()
    assert [parent.path for parent in first.parents] == ["increments/00001"]
    growing.put("b.jsonl", texts_of(40, seed=2)[:20] + texts_of(40)[:20])
    both = growing.grow()
    assert both.read == 80
    assert [one.path for one in both.inputs] == ["in/a.jsonl", "in/b.jsonl"]
    second = tamis.open(growing.corpus / "increments" / "00002").manifest
    assert [parent.path for parent in second.parents] == ["../00001"]
    assert second.read == 40
    copies = sum(len(text.split()) >= 25 for text in texts_of(40)[:20])
    assert second.steps[2].metrics["duplicates_of_earlier_runs"] == copies
    assert both.selected == first.selected + second.selected
    assert tamis.open(growing.corpus).verify().ok
    assert tamis.open(growing.corpus / "increments" / "00002").verify().ok
    query = "SELECT run, files, read FROM increments ORDER BY run"
    told = tamis.open(growing.corpus).sql(query).to_pylist()
    assert [(row["run"], row["read"]) for row in told] == [("increments/00001", 40), ("increments/00002", 40)]


def test_nothing_new_does_nothing(growing):
    growing.grow()
    before = {path: path.stat().st_mtime_ns for path in growing.corpus.rglob("*") if path.is_file()}
    events = growing.watch()
    assert names(events) == []
    assert isinstance(events[-1], Stood)
    assert events[-1].standing.seen == 1
    after = {path: path.stat().st_mtime_ns for path in growing.corpus.rglob("*") if path.is_file()}
    before.pop(growing.corpus / "work" / "lock.json"), after.pop(growing.corpus / "work" / "lock.json")
    assert after == before


def test_an_input_without_files_is_waited_for(tmp_path):
    growing = Growing(tmp_path, ["exact_dedup"])
    assert "no file matches in/*.jsonl" in growing.told()[0]
    growing.put("a.jsonl", texts_of(5))
    growing.plain["inputs"].append({"path": "later/*.jsonl", "source": "later"})
    assert growing.grow().read == 5
    (tmp_path / "later").mkdir()
    shutil.copy(growing.put("b.jsonl", texts_of(5, seed=3)), tmp_path / "later" / "c.jsonl")
    assert {name: counts["read"] for name, counts in growing.grow().sources.items()} == {"web": 10, "later": 5}


def test_a_file_that_changed_is_said_once_and_not_read_again(growing):
    growing.grow()
    was = selected(growing)
    path = growing.put("a.jsonl", texts_of(10, seed=9))
    told = growing.told()
    assert len(told) == 1
    assert told[0].startswith("web: in/a.jsonl changed after being read")
    assert growing.told() == []
    assert selected(growing) == was
    path.unlink()
    assert growing.told() == ["web: in/a.jsonl was read and is gone: what was read stays"]
    assert growing.told() == []
    assert selected(growing) == was


def test_a_file_that_changed_is_read_again_where_the_config_says_so(growing):
    growing.plain["watch"] = {"changed": "read"}
    first = growing.grow()
    growing.put("a.jsonl", texts_of(40) + texts_of(10, seed=9))
    both = growing.grow()
    assert both.read == 90
    distinct = {text for text in texts_of(40) + texts_of(10, seed=9) if len(text.split()) >= 25}
    assert both.selected == len(distinct) > first.selected
    assert names(growing.watch()) == []


def test_a_file_that_changed_fails_where_the_config_says_so(growing):
    growing.plain["watch"] = {"changed": "fail"}
    growing.grow()
    kept = (growing.inputs / "a.jsonl").read_bytes()
    growing.put("a.jsonl", texts_of(10, seed=9))
    growing.put("b.jsonl", texts_of(10, seed=8))
    with pytest.raises(RunError, match=r"in/a.jsonl changed after being read"):
        growing.grow()
    (growing.inputs / "a.jsonl").write_bytes(kept)
    assert growing.grow().read == 50


def test_a_file_of_another_time_and_the_same_bytes_is_the_same(growing):
    growing.grow()
    path = growing.inputs / "a.jsonl"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    os.utime(path, (1, 1))
    assert growing.told() == []
    assert list(read_corpus(str(growing.corpus)).same) == ["web: in/a.jsonl"]
    assert names(growing.watch()) == []


def test_a_file_that_is_written_to_waits(growing):
    growing.plain["watch"] = {"settle": 3600}
    events = growing.watch()
    assert events[-1].corpus is None
    assert [file.key for file in events[-1].standing.waiting] == ["web: in/a.jsonl"]
    old = time.time() - 7200
    os.utime(growing.inputs / "a.jsonl", (old, old))
    assert growing.grow().read == 40


def test_many_files_are_cut_into_increments(tmp_path):
    growing = Growing(tmp_path, ["exact_dedup"], {"max_files": 2})
    for number in range(5):
        growing.put(f"{number}.jsonl", texts_of(4, seed=number))
    assert names(growing.watch()) == ["00001", "00002", "00003"]
    assert growing.grow().read == 20


@pytest.mark.parametrize("indexes", ["last", "all"])
def test_indexes_of_earlier_increments_go_unless_wanted(growing, indexes):
    growing.plain["watch"] = {"indexes": indexes}
    growing.grow()
    growing.put("b.jsonl", texts_of(40, seed=2))
    growing.grow()
    there = [path.parent.parent.name for path in sorted(growing.corpus.glob("increments/*/index/exact_dedup"))]
    assert there == (["00002"] if indexes == "last" else ["00001", "00002"])
    assert tamis.open(growing.corpus).verify(inputs=True).ok
    runs = [tamis.open(growing.corpus / "increments" / name) for name in ("00001", "00002")]
    assert [run.verify(inputs=True).failures for run in runs] == [(), ()]
    if indexes == "all":
        assert rerun(runs[1].path, str(growing.root / "again")).same
    else:
        with pytest.raises(ModelError, match=r"00001 has its index no longer, .* `watch.indexes: all` keeps all"):
            rerun(runs[1].path, str(growing.root / "again"))


def test_files_can_be_added_to_the_config_and_nothing_else_changed(growing):
    growing.grow()
    (growing.root / "more").mkdir()
    shutil.move(growing.put("b.jsonl", texts_of(9, seed=4)), growing.root / "more" / "b.jsonl")
    growing.plain["inputs"].append({"path": "more", "source": "more", "id": "id"})
    assert growing.grow().read == 49
    growing.plain["steps"] = ["exact_dedup"]
    with pytest.raises(ConfigError, match=r"decides otherwise than for the 2 increments .* give another folder"):
        growing.grow()
    growing.put("c.jsonl", ["a few words"])
    assert growing.grow(new_config=True).read == 50
    assert tamis.open(growing.corpus).verify().ok
    assert names(growing.watch()) == []


def test_an_increment_with_too_many_errors_does_not_join(growing):
    growing.grow()
    path = growing.inputs / "b.jsonl"
    path.write_text('{"id": "x", "text": "fine words"}\n{"text": \n')
    events = growing.watch()
    refused = next(event for event in events if isinstance(event, Refused))
    assert "1 of 2 records became errors" in refused.problems[0]
    assert events[-1].corpus.read == 40
    assert any(isinstance(event, Refused) for event in growing.watch())
    path.write_text('{"id": "x", "text": "fine words"}\n')
    assert growing.grow().read == 41
    path = growing.inputs / "c.jsonl"
    path.write_text('{"id": "y", "text": "other fine words"}\n{"text": \n')
    growing.watch()
    growing.plain["max_errors"] = 0.9
    assert growing.grow().read == 43
    assert tamis.open(growing.corpus).verify().ok


def test_an_increment_of_copies_alone_is_no_failure(growing):
    first = growing.grow()
    shutil.copy(growing.inputs / "a.jsonl", growing.inputs / "b.jsonl")
    both = growing.grow()
    assert (both.read, both.selected) == (80, first.selected)


def test_one_process_at_a_time(growing):
    growing.grow()
    with owned(str(growing.corpus)), pytest.raises(RunError, match="another run works in"):
        growing.grow()
    with owned(str(growing.corpus)), pytest.raises(RunError, match="another run works in"):
        growing.compact()


def test_other_folders_are_refused(growing, tmp_path):
    growing.grow()
    with pytest.raises(ConfigError, match="holds a corpus of tamis watch"):
        growing.one_run("corpus")
    with pytest.raises(ConfigError, match="holds a corpus of tamis watch"):
        tamis.run(growing.plain | {"inputs": [{"path": str(growing.inputs), "source": "web"}]}, output=growing.corpus)
    growing.one_run("one")
    growing.corpus = tmp_path / "one"
    with pytest.raises(ConfigError, match="holds a run, which is no corpus"):
        growing.grow()
    growing.corpus = tmp_path / "trial"
    growing.plain["limit"] = 3
    with pytest.raises(ConfigError, match="leave `limit` out"):
        growing.grow()


def test_a_corpus_below_its_own_inputs_is_no_input(growing):
    growing.corpus = growing.inputs / "grown"
    growing.plain["inputs"][0]["path"] = "in/"
    growing.grow()
    growing.put("b.jsonl", texts_of(4, seed=6))
    assert growing.grow().read == 44


def test_two_inputs_of_one_source_may_not_name_a_file_twice(growing):
    growing.plain["inputs"].append({"path": "in/a.jsonl", "source": "web", "text": "id"})
    with pytest.raises(ConfigError, match="named by two inputs"):
        growing.grow()


def test_a_folder_that_cannot_be_listed_is_an_error_and_nothing_gone(growing):
    growing.grow()
    growing.plain["inputs"][0]["path"] = ["in/*.jsonl", "@in/list.txt"]
    with pytest.raises(InputError, match=r"list.txt"):
        growing.grow()
    growing.plain["inputs"][0]["path"] = "in/*.jsonl"
    assert growing.told() == []


# --- a process that ends in the middle ---


class Killed(BaseException):
    """Stands for the end of the process: nothing catches it."""


def killed(monkeypatch, growing, module, name, *, after=False, nth=1):
    """Make a pass in which a function of a module ends the process, before its work or after it."""
    real = getattr(module, name)
    calls = 0

    def ends(*args, **kwargs):
        nonlocal calls
        calls += 1
        if calls == nth and not after:
            raise Killed
        found = real(*args, **kwargs)
        if calls == nth:
            raise Killed
        return found

    with monkeypatch.context() as patch:
        patch.setattr(module, name, ends)
        with pytest.raises(Killed):
            growing.grow()


THREE = {
    "a.jsonl": texts_of(40),
    "b.jsonl": texts_of(40, seed=2)[:20] + texts_of(40)[:20],
    "c.jsonl": texts_of(7, seed=11),
}
POINTS = {
    "before the increment's run": (increment_module, "execute", False, 1),
    "after the graph": (execute_module, "_carried_out", True, 1),
    "after the increment's run": (increment_module, "execute", True, 1),
    "before corpus.json": (increment_module, "write_corpus", False, 1),
    "before the sum": (increment_module, "write_total", False, 2),
    "after the sum": (increment_module, "write_total", True, 2),
}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """What three passes select that nothing stops."""
    growing = Growing(tmp_path_factory.mktemp("fresh"), [SHORT, "exact_dedup"])
    for name, texts in THREE.items():
        growing.put(name, texts)
        growing.grow()
    return selected(growing)


@pytest.mark.parametrize(("point", "workers"), [*((point, 1) for point in POINTS), ("after the graph", 2)])
def test_a_killed_increment_goes_on(growing, monkeypatch, uninterrupted, point, workers):
    growing.grow()
    growing.workers = workers
    growing.put("b.jsonl", THREE["b.jsonl"])
    module, name, after, nth = POINTS[point]
    killed(monkeypatch, growing, module, name, after=after, nth=nth)
    growing.put("c.jsonl", THREE["c.jsonl"])  # comes too late for the increment that was begun
    growing.grow()
    corpus = tamis.open(growing.corpus)
    assert corpus.manifest.read == 87
    assert [one.path for one in corpus.manifest.inputs] == ["in/a.jsonl", "in/b.jsonl", "in/c.jsonl"]
    assert len({one.path for one in corpus.manifest.inputs}) == 3
    assert corpus.verify().ok
    assert names(growing.watch()) == []
    assert not list(growing.corpus.rglob(".*.tmp"))
    assert selected(growing) == uninterrupted


def test_a_killed_increment_whose_files_changed_begins_anew(growing, monkeypatch):
    growing.grow()
    growing.put("b.jsonl", texts_of(40, seed=2))
    killed(monkeypatch, growing, increment_module, "execute")
    growing.put("b.jsonl", texts_of(30, seed=2))
    told = growing.told()
    assert told == ["increment 00002 is begun anew: web: in/b.jsonl changed or went since it was begun"]
    assert tamis.open(growing.corpus).manifest.read == 70
    growing.put("c.jsonl", texts_of(4, seed=5))
    killed(monkeypatch, growing, increment_module, "execute")
    (growing.corpus / "increments" / "00003" / "increment.json").write_text("[[")
    assert "damaged" in growing.told()[0]


def test_what_fails_is_planned_anew(growing):
    growing.grow()
    path = growing.inputs / "b.jsonl.gz"
    growing.plain["inputs"][0]["path"] = "in"
    path.write_bytes(b"no gzip at all")
    with pytest.raises(InputError):
        growing.grow()
    path.unlink()
    growing.put("c.jsonl", texts_of(4, seed=5))
    assert growing.grow().read == 44


def test_what_is_remembered_can_be_read_by_no_older_program(growing):
    growing.grow()
    path = growing.corpus / "corpus.json"
    told = json.loads(path.read_text())
    path.write_text(json.dumps(told | {"version": 99}))
    with pytest.raises(RunError, match="written by a newer tamis"):
        growing.grow()
    path.write_text("{}")
    with pytest.raises(RunError, match="is nothing that this version reads"):
        growing.grow()


def test_events_say_what_compares_within_an_increment(tmp_path):
    growing = Growing(tmp_path, [{"paragraph_dedup": {"name": "lines"}}])
    growing.put("a.jsonl", texts_of(5))
    told = [event.text for event in growing.watch() if isinstance(event, Told)]
    assert told == ["step paragraph_dedup.lines compares what an increment holds, not earlier ones"]
