"""What is remembered of remote files: bounded, and never another result."""

import pytest

from tamis.pipeline.storage import filesystem
from tamis.pipeline.storage.remembered import Remembered
from tamis.pipeline.storage.value_file import read_value, write_value

ROOT = "memory://remembered/run/work"


@pytest.fixture(autouse=True)
def nothing_known():
    filesystem.forget()
    yield
    filesystem.forget()
    filesystem.remove_tree("memory://remembered")


class Asked:
    """Counts what a file system is asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        import fsspec

        self.calls: list[str] = []
        fs = fsspec.filesystem("memory")
        for name in ("ls", "find", "info", "cat_file", "put_file"):
            monkeypatch.setattr(type(fs), name, self._counting(name, getattr(type(fs), name)))

    def _counting(self, name, call):
        def counted(*arguments, **named):
            self.calls.append(name)
            return call(*arguments, **named)

        return counted


def test_contents_are_bounded_and_the_oldest_goes_first():
    known = Remembered(most_bytes=10, largest=6)
    known.keep("a", b"1234")
    known.keep("b", b"1234")
    assert known.content("a") == b"1234"
    known.keep("c", b"1234")
    assert (known.content("a"), known.content("b"), known.content("c")) == (b"1234", None, b"1234")
    known.keep("a", b"1234567")
    assert known.content("a") is None
    known.removed("c")
    assert known.content("c") is None


def test_names_of_a_large_folder_are_not_kept():
    known = Remembered(most_names=2, most_folders=2)
    known.list("x/a", {"1", "2", "3"})
    assert not known.absent("x/a/9")
    known.list("x/b", {"1"})
    assert known.absent("x/b/2")
    known.written("x/b/2")
    assert not known.absent("x/b/2")
    known.list("x/c", set())
    known.list("x/d", set())
    assert not known.absent("x/b/9")  # forgotten, so nobody knows


def test_what_lies_below_a_folder_that_was_not_there_is_known_from_the_first_file_on():
    known = Remembered()
    known.list("x", {"old"})
    assert not known.absent("x/old/1")
    known.written("x/new/deep/1")  # before anybody asked
    assert not known.absent("x/new/deep/1")
    assert known.absent("x/new/deep/2")
    assert known.absent("x/new/other/1")
    assert known.absent("x/newer")
    known.removed("x/new")
    assert known.absent("x/new/deep/1")


def test_what_was_written_is_there_and_what_was_removed_is_not(monkeypatch):
    path = f"{ROOT}/01-step/a.value"
    asked = Asked(monkeypatch)
    assert read_value(path, [], look=True) is None
    assert asked.calls == ["cat_file"]  # nothing is known without a look
    filesystem.look([ROOT])
    asked.calls.clear()
    assert read_value(path, [], look=True) is None
    assert asked.calls == []
    assert read_value(f"{ROOT}/02-other/a.value", [], look=True) is None
    write_value(path, b"one")
    asked.calls.clear()
    assert read_value(path, [], look=True) == b"one"
    assert asked.calls == []
    filesystem.remove(path)
    assert filesystem.absent(path)
    assert read_value(path, []) is None
    write_value(path, b"two")
    filesystem.remove_tree(f"{ROOT}/01-step")
    assert read_value(path, [], look=True) is None


def test_a_new_run_lists_one_folder_for_all_that_it_will_make(monkeypatch):
    write_value(f"{ROOT}/inputs/a.value", b"1")
    filesystem.forget()
    asked = Asked(monkeypatch)
    filesystem.look([ROOT, ROOT, "/tmp"])
    for folder in ("01-a", "02-b", "02-b/notes", "03-c"):
        for name in ("x", "y"):
            assert filesystem.absent(f"{ROOT}/{folder}/{name}.value")
    assert asked.calls == ["ls"]


def test_another_process_knows_what_the_driver_saw_and_asks_nobody(monkeypatch):
    write_value(f"{ROOT}/inputs/a.value", b"1")
    listing = filesystem.look([ROOT])
    filesystem.forget()  # as in a process that has just begun
    asked = Asked(monkeypatch)
    assert not filesystem.absent(f"{ROOT}/01-a/x.value")
    filesystem.know(listing)
    assert filesystem.absent(f"{ROOT}/01-a/x.value")
    assert not filesystem.absent(f"{ROOT}/inputs/b.value")
    write_value(f"{ROOT}/01-a/x.value", b"2")
    filesystem.know(listing)  # with the next task: nothing is forgotten
    asked.calls.clear()
    assert read_value(f"{ROOT}/01-a/x.value", [], look=True) == b"2"
    assert asked.calls == []
    filesystem.know(filesystem.Listing("another run", listing.folders))
    assert filesystem.absent(f"{ROOT}/01-a/x.value")


def test_the_names_of_a_full_folder_do_not_travel_with_tasks():
    for number in range(257):
        write_value(f"{ROOT}/{number}/a.value", b"1")
    assert filesystem.look([ROOT]).folders == ()
    assert filesystem.absent(f"{ROOT}/257/a.value")


def test_a_damaged_value_is_not_remembered():
    path = f"{ROOT}/01-step/a.value"
    write_value(path, b"one")
    filesystem.forget()
    with filesystem.write_atomically(path) as stream:
        stream.write(b"rubbish")
    damaged: list[str] = []
    assert read_value(path, damaged) is None
    assert len(damaged) == 1
    write_value(path, b"one")
    assert read_value(path, []) == b"one"


@pytest.mark.parametrize("root", ["memory://remembered/folder", "{tmp}/folder"])
def test_listings_say_what_a_folder_holds(tmp_path, root):
    root = root.format(tmp=tmp_path)
    assert filesystem.names_in(root) == set()
    assert filesystem.below(root) == {}
    for name, content in {"a.txt": b"1", "in/b.txt": b"22", "in/deep/c.txt": b"333"}.items():
        with filesystem.write_atomically(f"{root}/{name}") as stream:
            stream.write(content)
    assert filesystem.names_in(root) == {"a.txt", "in"}
    assert filesystem.below(root) == {"a.txt": 1, "in/b.txt": 2, "in/deep/c.txt": 3}
    assert filesystem.content(f"{root}/a.txt") == b"1"
    assert filesystem.content(f"{root}/b.txt") is None


def test_who_looks_opens_a_remote_file_once(monkeypatch):
    import fsspec

    path = "memory://remembered/a.bin"
    with filesystem.write_atomically(path) as stream:
        stream.write(b"0123456789")
    opened: list[str] = []
    fs = type(fsspec.filesystem("memory"))
    once = fs.open
    monkeypatch.setattr(fs, "open", lambda self, *a, **n: opened.append(a[0]) or once(self, *a, **n))
    with filesystem.looking():
        for _ in range(3):
            with filesystem.open_binary(path, 2) as stream:
                assert stream.read() == b"23456789"
    assert len(opened) == 1
    with filesystem.open_binary(path) as stream:
        assert stream.read() == b"0123456789"
    assert len(opened) == 2
