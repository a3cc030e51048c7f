"""One door to all files: listing, opening, and writing that shows whole files alone."""

import hashlib
import http.server
import os
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import fsspec
import pytest

from tamis.pipeline.storage import filesystem
from tamis.schemas.errors import InputError
from tests.serving import serving


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.jsonl", "a.jsonl.gz", "c.txt", "sub/d.jsonl", ".hidden.jsonl", "_tmp/e.jsonl"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path


def fail_half_way(path: str) -> None:
    with filesystem.write_atomically(path) as stream:
        stream.write(b"half of t")
        raise RuntimeError


def names(files: list[filesystem.FileInfo], folder: Path) -> list[str]:
    return [file.path.removeprefix(f"{folder}/") for file in files]


def test_expand(folder: Path) -> None:
    def listed(pattern: str, suffixes: tuple[str, ...] | None = None) -> list[str]:
        return names(filesystem.expand(f"{folder}/{pattern}", suffixes=suffixes), folder)

    assert listed("*.jsonl") == ["b.jsonl"]
    assert listed("**/*.jsonl") == ["_tmp/e.jsonl", "b.jsonl", "sub/d.jsonl"]
    assert listed("") == ["a.jsonl.gz", "b.jsonl", "c.txt", "sub/d.jsonl"]
    assert listed("", (".jsonl", ".jsonl.gz")) == ["a.jsonl.gz", "b.jsonl", "sub/d.jsonl"]
    assert listed("[ab].*") == ["a.jsonl.gz", "b.jsonl"]
    both = filesystem.expand([f"file://{folder}/b.jsonl", f"{folder}/*.jsonl", str(folder / "sub")])
    assert names(both, folder) == ["b.jsonl", "sub/d.jsonl"]
    assert both[0].size == 7


def test_a_folder_is_the_same_by_every_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / ".git").mkdir()
    (folder / ".git" / "x.jsonl").write_bytes(b"x")
    monkeypatch.chdir(folder)
    expected = ["a.jsonl.gz", "b.jsonl", "c.txt", "sub/d.jsonl"]
    for name in (".", "./", str(folder), f"{folder}/", f"../{folder.name}", f"file://{folder}", "sub/.."):
        found = [os.path.relpath(file.path.removeprefix("file://"), folder) for file in filesystem.expand(name)]
        assert sorted(found) == expected, name


def test_links_are_followed(tmp_path: Path) -> None:
    store, data = tmp_path / "store", tmp_path / "data"
    for name in ("store/s1.jsonl", "store/inner/s2.jsonl", "data/real.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (data / "link.jsonl").symlink_to(store / "s1.jsonl")
    (data / "shard1").symlink_to("../store")
    (store / "round").symlink_to(data)  # and around
    expected = ["link.jsonl", "real.jsonl", "shard1/inner/s2.jsonl", "shard1/s1.jsonl"]
    assert names(filesystem.expand(str(data)), data) == expected
    (data / "broken.jsonl").symlink_to(tmp_path / "gone.jsonl")
    for pattern in (str(data), f"{data}/*", f"{data}/*.jsonl", f"{data}/broken.jsonl"):
        found = filesystem.expand(pattern, suffixes=(".jsonl",))
        assert "broken.jsonl" in names(found, data), pattern
    for act in (filesystem.info, filesystem.open_binary, filesystem.sha256):
        with pytest.raises(InputError, match=r"broken\.jsonl is a link to nothing \(.*gone\.jsonl\)"):
            act(f"{data}/broken.jsonl")


def test_folders_that_match_a_pattern(tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.jsonl/part-0.jsonl", "b.jsonl/_SUCCESS", "_tmp/c.jsonl", "d/e.jsonl", "d/e.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    found = filesystem.expand(f"{tmp_path}/*.jsonl")
    assert names(found, tmp_path) == ["a.jsonl", "b.jsonl/part-0.jsonl"]
    found = filesystem.expand(f"{tmp_path}/*", suffixes=(".jsonl",), notice=lambda text: None)
    assert names(found, tmp_path) == ["a.jsonl", "b.jsonl/part-0.jsonl", "d/e.jsonl"]
    assert names(filesystem.expand(f"{tmp_path}/**/*.csv"), tmp_path) == ["d/e.csv"]


def test_what_is_left_out_is_said(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("x.zip", "y.ZIP", "sub/z.jsonl.tar.gz", "w.lzma", "README", ".cache"):
        (folder / name).write_bytes(b"x")
    said: list[str] = []
    suffixes = (".jsonl", ".jsonl.gz", ".txt", ".md")
    found = filesystem.expand(str(folder), suffixes=suffixes, notice=said.append)
    assert names(found, folder) == ["a.jsonl.gz", "b.jsonl", "sub/d.jsonl"]
    assert said == [
        f"{folder}: 6 files are left out, of kinds that aren't read from a folder of data: "
        "1 .lzma, 1 .tar.gz, 1 .txt, 2 .zip, 1 without suffix"
    ]
    filesystem.expand(str(folder), suffixes=suffixes)
    assert "6 files are left out" in caplog.text
    assert filesystem.expand(f"{folder}/x.zip", suffixes=suffixes)  # what is named is taken


def test_documents_that_are_files_are_taken_where_there_is_nothing_else(tmp_path: Path) -> None:
    for name in ("a.txt", "b.md", "c/d.html", "e.txt.gz", "f.pdf"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    said: list[str] = []
    suffixes = (".jsonl", ".txt", ".txt.gz", ".md", ".html")
    found = filesystem.expand(str(tmp_path), suffixes=suffixes, notice=said.append)
    assert names(found, tmp_path) == ["a.txt", "b.md", "c/d.html", "e.txt.gz"]
    (tmp_path / "g.jsonl").write_bytes(b"{}")
    found = filesystem.expand(str(tmp_path), suffixes=suffixes, notice=said.append)
    assert names(found, tmp_path) == ["g.jsonl"]
    assert "1 .gz" not in said[1]
    assert "2 .txt" not in said[1]
    assert "1 .txt.gz" in said[1]


def test_descriptions_of_a_data_set_are_no_data(tmp_path: Path) -> None:
    """A repository as the Hugging Face hub has it, and what `save_to_disk` leaves, are read as they lie."""
    others = ("README.md", "dataset_infos.json", "train/Dataset_Info.json", "train/state.json", "dataset_dict.json")
    for name in ("data/de/train-00000-of-00001.parquet", "train/data-00000-of-00001.arrow", "more/b.json", *others):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_bytes(b"x")
    said: list[str] = []
    found = filesystem.expand(str(tmp_path), suffixes=(".parquet", ".arrow", ".json", ".md"), notice=said.append)
    assert names(found, tmp_path) == [
        "data/de/train-00000-of-00001.parquet", "more/b.json", "train/data-00000-of-00001.arrow",
    ]  # fmt: skip
    assert said == [
        f"{tmp_path}: 5 files are left out, of kinds that aren't read from a folder of data: "
        "1 .md, 1 dataset_dict.json, 1 dataset_info.json, 1 dataset_infos.json, 1 state.json"
    ]
    for name in ("dataset_infos.json", "*.json"):  # what is named is taken
        assert "dataset_infos.json" in names(filesystem.expand(f"{tmp_path}/{name}", suffixes=(".json",)), tmp_path)


def test_folders_of_an_object_store() -> None:
    for name in ("a.jsonl", "b.jsonl/part-0.jsonl", "b.jsonl/_SUCCESS", "c.zip"):
        with filesystem.write_atomically(f"memory://folders/{name}") as stream:
            stream.write(b"x")
    said: list[str] = []
    for pattern in ("memory://folders", "memory://folders/*.jsonl"):
        found = filesystem.expand(pattern, suffixes=(".jsonl",), notice=said.append)
        assert [file.path.rpartition("folders/")[2] for file in found] == ["a.jsonl", "b.jsonl/part-0.jsonl"]
    assert said == ["memory://folders: 1 file is left out, of kinds that aren't read from a folder of data: 1 .zip"]
    filesystem.remove_tree("memory://folders")


def test_expand_a_list_of_files(folder: Path) -> None:
    (folder / "list.txt").write_text(f"# comment\n{folder}/b.jsonl\n\n{folder}/sub/*\n")
    assert names(filesystem.expand(f"@{folder}/list.txt"), folder) == ["b.jsonl", "sub/d.jsonl"]


def test_expand_a_name_with_magic_characters(tmp_path: Path) -> None:
    (tmp_path / "a[1].jsonl").write_bytes(b"x")
    assert len(filesystem.expand(str(tmp_path / "a[1].jsonl"))) == 1


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [
        ("*.csv", "no file matches"),
        ("$DATA/a.jsonl", r"an environment variable is written \$\{NAME\}"),
        ("{a,b}.jsonl*", "braces stand for themselves: give a list of paths"),
        ("none.jsonl", "no such file"),
        ("sub/none/*.jsonl", "no file matches"),
        ("empty", "holds no file"),
    ],
)
def test_expand_nothing(folder: Path, pattern: str, sentence: str) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(InputError, match=sentence) as error:
        filesystem.expand(f"{folder}/{pattern}")
    assert pattern in str(error.value)


def test_expand_no_pattern() -> None:
    with pytest.raises(InputError, match="no input file"):
        filesystem.expand([])


def test_folder_without_known_files(folder: Path) -> None:
    with pytest.raises(InputError, match="known kind"):
        filesystem.expand(str(folder), suffixes=(".parquet",))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable(folder: Path) -> None:
    (folder / "b.jsonl").chmod(0)
    with pytest.raises(InputError, match="no permission"):
        filesystem.expand(str(folder / "b.jsonl"))
    with pytest.raises(InputError, match="no permission"):
        filesystem.open_binary(str(folder / "b.jsonl"))


def test_unknown_schemes() -> None:
    with pytest.raises(InputError, match="nosuch"):
        filesystem.expand("nosuch://bucket/file.jsonl")
    with pytest.raises(InputError, match="pip install"):
        filesystem.open_binary("s3://bucket/file.jsonl")


def test_fingerprint_follows_the_content(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"1")
    before = filesystem.info(str(path)).fingerprint
    path.write_bytes(b"22")
    assert filesystem.info(str(path)).fingerprint != before


def test_open_binary(folder: Path) -> None:
    with filesystem.open_binary(f"{folder}/b.jsonl", 2) as stream:
        assert stream.read() == b"jsonl"
    for path, sentence in ((f"{folder}/no", "no such file"), (str(folder), "is a folder")):
        with pytest.raises(InputError, match=sentence):
            filesystem.open_binary(path)
        with pytest.raises(InputError, match=sentence):
            filesystem.info(path)


def test_paths() -> None:
    assert filesystem.join("a", "b", "c.txt") == "a/b/c.txt"
    assert filesystem.join("gs://bucket/", "/b") == "gs://bucket/b"
    assert filesystem.join("/", "b") == "/b"
    assert filesystem.is_local("a/b")
    assert filesystem.is_local("file:///a")
    assert not filesystem.is_local("https://a.example/b")
    assert filesystem.local_path("file:///a/b") == "/a/b"
    assert filesystem.local_path("~/x") == str(Path("~/x").expanduser())


def test_sha256(folder: Path) -> None:
    assert filesystem.sha256(f"{folder}/c.txt") == hashlib.sha256(b"c.txt").hexdigest()


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_write_atomically(tmp_path: Path, scheme: str) -> None:
    target = f"{scheme}{tmp_path}/deep/er/out.bin"
    with filesystem.write_atomically(target) as stream:
        stream.write(b"one")
        assert not filesystem.exists(target)
    assert (tmp_path / "deep/er/out.bin").read_bytes() == b"one"
    with pytest.raises(RuntimeError):
        fail_half_way(target)
    assert [path.name for path in (tmp_path / "deep/er").iterdir()] == ["out.bin"]
    assert (tmp_path / "deep/er/out.bin").read_bytes() == b"one"
    with filesystem.write_atomically(target) as stream:
        stream.write(b"two")
    assert (tmp_path / "deep/er/out.bin").read_bytes() == b"two"


def test_remove(tmp_path: Path) -> None:
    filesystem.make_dirs(f"{tmp_path}/a/b")
    filesystem.make_dirs(f"{tmp_path}/a/b")
    (tmp_path / "a/b/c").write_bytes(b"")
    filesystem.remove(f"{tmp_path}/a/b/c")
    filesystem.remove(f"{tmp_path}/a/b/c")
    assert filesystem.exists(f"{tmp_path}/a/b")
    filesystem.remove_tree(f"{tmp_path}/a")
    filesystem.remove_tree(f"{tmp_path}/a")
    assert not filesystem.exists(f"{tmp_path}/a")


@pytest.fixture
def bucket() -> Iterator[str]:
    yield "memory://bucket"
    fsspec.filesystem("memory").store.clear()


def test_an_object_store(bucket: str) -> None:
    for name in ("b.jsonl", "a.jsonl", "deep/c.jsonl", "_hidden/d.jsonl"):
        with filesystem.write_atomically(f"{bucket}/{name}") as stream:
            stream.write(name.encode())
    assert [file.path for file in filesystem.expand(f"{bucket}/*.jsonl")] == [
        "memory:///bucket/a.jsonl",
        "memory:///bucket/b.jsonl",
    ]
    assert len(filesystem.expand(bucket)) == 3
    assert filesystem.expand(f"{bucket}/a.jsonl")[0].size == 7
    with filesystem.open_binary(f"{bucket}/a.jsonl", 2) as stream:
        assert stream.read() == b"jsonl"
    assert filesystem.sha256(f"{bucket}/a.jsonl") == hashlib.sha256(b"a.jsonl").hexdigest()
    with pytest.raises(RuntimeError):
        fail_half_way(f"{bucket}/a.jsonl")
    assert filesystem.info(f"{bucket}/a.jsonl").size == 7
    for pattern, sentence in (("*.csv", "no file matches"), ("none", "no such file")):
        with pytest.raises(InputError, match=sentence):
            filesystem.expand(f"{bucket}/{pattern}")
    with pytest.raises(InputError, match="no such file"):
        filesystem.open_binary(f"{bucket}/none")
    filesystem.remove(f"{bucket}/a.jsonl")
    filesystem.remove(f"{bucket}/a.jsonl")
    assert not filesystem.exists(f"{bucket}/a.jsonl")
    filesystem.remove_tree(bucket)
    filesystem.remove_tree(bucket)
    assert not filesystem.exists(f"{bucket}/b.jsonl")


class _Server(http.server.BaseHTTPRequestHandler):
    """Serves one file with ranges; the first read of each range beyond the start breaks off."""

    content = b"".join(b'{"text": "line %d"}\n' % i for i in range(500_000))
    broken: ClassVar[set[str]] = set()

    def do_HEAD(self) -> None:
        self._head()

    def do_GET(self) -> None:
        part = self._head()
        if part is None:
            return
        key = self.headers.get("Range", "")
        if key and part[:20] != self.content[:20] and key not in self.broken:
            self.broken.add(key)
            self.wfile.write(part[: len(part) // 2])
            self.close_connection = True
        else:
            self.wfile.write(part)

    def _head(self) -> bytes | None:
        if self.path.partition("?")[0] != "/data/file.jsonl":
            self.send_error(404)
            return None
        part, status = self.content, 200
        if header := self.headers.get("Range"):
            start, _, end = header.removeprefix("bytes=").partition("-")
            part, status = self.content[int(start) : int(end or len(self.content)) + 1], 206
        self.send_response(status)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(part)))
        self.send_header("ETag", '"v1"')
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{int(start) + len(part) - 1}/{len(self.content)}")
        self.end_headers()
        return part

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with serving(_Server) as address:
        yield f"http://{address}"


def test_http(server: str) -> None:
    file = filesystem.expand(f"{server}/data/file.jsonl?download=1")[0]
    assert file.size == len(_Server.content)
    assert "v1" in file.fingerprint
    with filesystem.open_binary(file.path) as stream:
        assert stream.read() == _Server.content
    assert _Server.broken  # reads that broke off were resumed
    with filesystem.open_binary(file.path, 1_000_000) as stream:
        assert stream.read(100) == _Server.content[1_000_000:1_000_100]
    with pytest.raises(InputError, match="no such file"):
        filesystem.expand(f"{server}/none.jsonl")


def test_a_name_that_no_manifest_can_hold_is_refused(folder: Path) -> None:
    (folder / os.fsdecode(b"bad\xff.jsonl")).write_bytes(b"{}")
    for pattern in (str(folder), f"{folder}/*.jsonl", f"{folder}/bad*"):
        with pytest.raises(InputError, match="its name isn't UTF-8, which manifests are in: rename the file"):
            filesystem.expand(pattern)
