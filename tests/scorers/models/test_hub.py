"""Model references: local paths, hub repositories, downloads with a digest, object stores."""

import hashlib
import io
import urllib.error
from pathlib import Path
from typing import Any

import fsspec
import pytest

from tamis.schemas.errors import ModelError
from tamis.scorers.models.hub import cache_folder, resolve, sha256_file

DATA = b"a model"
REVISION = "0123456789abcdef0123456789abcdef01234567"
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAMIS_CACHE", str(tmp_path / "cache"))


def test_local_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "m").write_bytes(DATA)
    assert resolve(tmp_path / "m") == resolve(f"file://{tmp_path}/m") == tmp_path / "m"
    assert sha256_file(tmp_path / "m") == DIGEST
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve("~/m") == tmp_path / "m"
    with pytest.raises(ModelError, match="nothing; check the path"):
        resolve(tmp_path / "nothing")


def test_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("TAMIS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache_folder() == Path("/x/tamis")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "tamis"


def snapshot(cache: Path) -> Path:
    repo = cache / "models--org--repo"
    files = repo / "snapshots" / REVISION
    (files / "de").mkdir(parents=True)
    (files / "de" / "model.json").write_text("{}")
    (files / "en.binary").write_bytes(DATA)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(REVISION)
    return files


def test_hub_files_and_folders_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = snapshot(tmp_path / "hub")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert resolve("hf://org/repo/en.binary").read_bytes() == DATA
    assert resolve(f"hf://org/repo@{REVISION}/en.binary").read_bytes() == DATA
    assert resolve("hf://org/repo/de/model.json") == files / "de" / "model.json"
    assert resolve("hf://org/repo/de") == files / "de"
    assert resolve("hf://org/repo") == files
    with pytest.raises(ModelError, match="hf download org/other x"):
        resolve("hf://org/other/x")
    with pytest.raises(ModelError, match="isn't such as hf://ORG/REPO"):
        resolve("hf://repo")


class Answers:
    """Stands in for `urllib.request.urlopen`."""

    def __init__(self, answer: bytes | Exception) -> None:
        self.answer, self.calls = answer, 0

    def __call__(self, url: str, timeout: float) -> Any:
        self.calls += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return io.BytesIO(self.answer)


def test_downloads_are_checked_and_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = Answers(DATA)
    monkeypatch.setattr("urllib.request.urlopen", answers)
    reference = f"https://host.example/models/en.bin#sha256={DIGEST.upper()}"
    for _ in range(2):
        path = resolve(reference)
        assert path.read_bytes() == DATA
        assert path.name == "en.bin"
    assert answers.calls == 1


def test_downloads_need_the_right_digest(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("urllib.request.urlopen", Answers(DATA))
    with pytest.raises(ModelError, match="needs a digest"):
        resolve("https://host.example/en.bin")
    with pytest.raises(ModelError, match=f"has the SHA-256 {DIGEST}"):
        resolve(f"https://host.example/en.bin#sha256={'0' * 64}")
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    monkeypatch.setattr("urllib.request.urlopen", Answers(urllib.error.URLError("no route")))
    with pytest.raises(ModelError, match="no route"):
        resolve(f"https://host.example/en.bin#sha256={DIGEST}")


def test_object_stores_are_copied_once_a_version(tmp_path: Path) -> None:
    store = fsspec.filesystem("memory")
    store.pipe("/bucket/lm/model.json", b"{}")
    store.pipe("/bucket/lm/lm.binary", DATA)
    folder = resolve("memory://bucket/lm")
    assert folder.name == "lm"
    assert (folder / "lm.binary").read_bytes() == DATA
    assert resolve("memory://bucket/lm") == folder
    single = resolve("memory://bucket/lm/lm.binary")
    assert single.read_bytes() == DATA
    with pytest.raises(ModelError, match="there is no model memory://bucket/none"):
        resolve("memory://bucket/none")
    with pytest.raises(ModelError, match="can't be fetched"):
        resolve("nosuchscheme://x/y")
    store.rm("/bucket", recursive=True)
