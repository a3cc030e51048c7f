"""Inputs on a server: a changed file is noticed by whatever the server tells, or its content; credentials stay out."""

import base64
import hashlib
import http.server
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pyarrow.parquet as pq
import pytest
import yaml

import tamis
from tamis.jobs.cli import app
from tamis.jobs.manifest.verify import verify
from tests.serving import five_lines, serving

SECRETS = ("hunter2secret", "carol", "abcdefsig", "t0ken")


class Server(http.server.BaseHTTPRequestHandler):
    """Serves what `content` holds, with the validators that `tells` names."""

    content: ClassVar[dict[str, bytes]] = {}
    tells: ClassVar[tuple[str, ...]] = ()
    times = 0
    guarded = False

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        data = self.content.get(self.path.partition("?")[0])
        wanted = "Basic " + base64.b64encode(b"carol:hunter2secret").decode()
        if data is None or (self.guarded and self.headers.get("Authorization") != wanted):
            self.send_error(404 if data is None else 403)
            return
        start, end = 0, len(data)
        asked = self.headers.get("Range")
        if asked:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, end = int(first), min(len(data), int(last or len(data)) + 1)
        self.send_response(206 if asked else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(end - start))
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(data)}")
        if "ETag" in self.tells:
            self.send_header("ETag", f'"{hashlib.md5(data).hexdigest()}"')
        if "Last-Modified" in self.tells:
            self.send_header("Last-Modified", f"Wed, 25 Nov 2026 10:00:{self.times:02d} GMT")
        self.end_headers()
        if body:
            self.wfile.write(data[start:end])

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[tuple[type[Server], str]]:
    """A server of its own kind, and its address without the scheme."""
    kind = type("OneServer", (Server,), {"content": {}})
    with serving(kind) as address:
        yield kind, address


@pytest.mark.parametrize("tells", [("ETag", "Last-Modified"), ("Last-Modified",), ()])
def test_a_changed_file_of_the_same_size_is_noticed(server: Any, tmp_path: Path, tells: tuple[str, ...]) -> None:
    kind, place = server
    kind.tells = tells
    kind.content["/x.jsonl"] = five_lines("river")
    plain = {"inputs": [{"path": f"http://{place}/x.jsonl", "source": "web"}], "steps": []}
    first = tamis.run(plain, output=tmp_path / "run")
    (record,) = first.manifest.inputs
    assert record.sha256 == (None if tells else hashlib.sha256(five_lines("river")).hexdigest())
    again = tamis.run(plain, output=tmp_path / "run")
    assert again.nothing_to_do == bool(tells)
    assert [s.sha256 for s in again.manifest.shards] == [s.sha256 for s in first.manifest.shards]
    told = verify(first.path, inputs=True)
    assert told.ok
    assert any("not checked by content: 1 input was" in note for note in told.notes) == bool(tells)
    assert any("not checked by content" in note for note in verify(first.path).notes) == bool(tells)
    kind.content["/x.jsonl"], kind.times = five_lines("stone"), 1
    assert "was changed" in " ".join(verify(first.path, inputs=True).failures)
    changed = tamis.run(plain, output=tmp_path / "run")
    assert not changed.nothing_to_do
    assert sorted(changed.selected().to_table()["text"].to_pylist()) == [f"stone {n}" for n in range(5)]


def test_credentials_come_into_nothing_that_a_run_leaves(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kind, place = server
    kind.tells, kind.guarded = ("ETag",), True
    kind.content["/x.jsonl"] = five_lines("river") + b'{"text": \n'
    kind.content["/page.txt"] = b"clouds"
    kind.content["/broken.jsonl.gz"] = b"\x1f\x8b\x08 no gzip at all"
    where = f"http://carol:hunter2secret@{place}"
    asked = "X-Amz-Signature=abcdefsig&token=t0ken&page=2"
    paths = [f"{where}/{name}?{asked}" for name in ("x.jsonl", "page.txt", "broken.jsonl.gz")]
    monkeypatch.setenv("TOKEN", "t0ken")
    paths[0] = paths[0].replace("t0ken", "${TOKEN}")
    plain = {
        "inputs": [{"path": paths, "source": "web", "unreadable": "record"}],
        "steps": [],
        "max_errors": 1,
        "output": {"path": "run"},
    }
    monkeypatch.chdir(tmp_path)
    Path("c.yaml").write_text(yaml.safe_dump(plain))

    def command(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["tamis", *arguments])
        with pytest.raises(SystemExit) as stopped:
            app.main()
        told = capsys.readouterr()
        return int(stopped.value.code or 0), told.out + told.err

    printed = [command("plan", "c.yaml"), command("plan", "c.yaml", "--json"), command("run", "c.yaml")]
    printed += [command("manifest", "show", "run"), command("manifest", "verify", "run", "--inputs")]
    assert [status for status, _ in printed] == [0] * 5
    left = Path("run/manifest.json").read_text() + str(pq.read_table("run/errors").to_pylist())
    left += str(pq.read_table("run/selected").to_pylist()) + "".join(text for _, text in printed)
    assert f"http://***@{place}/x.jsonl?X-Amz-Signature=***&token=***&page=2" in left
    assert not [secret for secret in SECRETS if secret in left]
    run = tamis.open("run")
    assert (run.manifest.read, run.manifest.selected, run.manifest.errors) == (8, 6, 2)
    assert "not looked at: 3 inputs whose addresses had credentials" in printed[-1][1]

    monkeypatch.setenv("TOKEN", "another")  # a new signature is no new input
    assert "nothing to do" in command("run", "c.yaml")[1]
    status, told = command("manifest", "rerun", "run", "-o", "again")
    assert status == 1
    assert "manifests keep no credentials" in told
    for path in (paths[1].replace("hunter2secret", "hunter2secretno"), f"{where}/none.jsonl?{asked}"):
        Path("d.yaml").write_text(yaml.safe_dump(plain | {"inputs": [{"path": path, "source": "web"}]}))
        status, told = command("run", "d.yaml", "-o", "other")
        assert status == 1
        assert not [secret for secret in SECRETS if secret in told]
        with pytest.raises(tamis.InputError) as raised:
            tamis.run("d.yaml", output="other")
        assert not [secret for secret in SECRETS if secret in str(raised.value) + repr(raised.value.__cause__)]
