"""Inputs by HTTP: what a server tells of a file decides whether it is read again, whatever it tells."""

import contextlib
import hashlib
import http.server
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

import tamis
from tamis.jobs.manifest.verify import verify
from tamis.pipeline.storage import filesystem
from tests.serving import five_lines, serving


class Server(http.server.BaseHTTPRequestHandler):
    """Serves one file with the headers that it is told to; it knows nothing of ranges unless `ranges` is true."""

    content: ClassVar[bytes] = b""
    headers_told: ClassVar[dict[str, str]] = {}
    ranges: ClassVar[bool] = True
    tells_length: ClassVar[bool] = True
    before_get: ClassVar[Callable[[], None] | None] = None

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        if self.before_get is not None:
            type(self).before_get()
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        data, start = self.content, 0
        asked = self.headers.get("Range") if self.ranges else None
        whole = len(data)
        if asked:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start = int(first)
            data = data[start : int(last or whole) + 1]
        self.send_response(206 if asked else 200)
        if self.tells_length:
            self.send_header("Content-Length", str(len(data)))
        if self.ranges:
            self.send_header("Accept-Ranges", "bytes")
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{start + len(data) - 1}/{whole}")
        for name, value in self.headers_told.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            with contextlib.suppress(ConnectionError):  # who has what he wants hangs up
                self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def served() -> Iterator[tuple[type[Server], str]]:
    """A server of its own kind, and the address of its file."""
    kind = type("OneServer", (Server,), {})
    with serving(kind) as address:
        yield kind, f"http://{address}/x.jsonl"


EARLY, LATE = "Wed, 25 Nov 2026 10:00:00 GMT", "Wed, 25 Nov 2026 10:00:01 GMT"
STRONG, OTHER, WEAK = '"one"', '"two"', 'W/"one"'


@pytest.mark.parametrize(
    ("before", "after", "noticed"),
    [
        ({"ETag": STRONG}, {"ETag": OTHER}, True),
        ({"ETag": STRONG}, {"ETag": STRONG}, False),
        ({"ETag": STRONG, "Last-Modified": EARLY}, {"ETag": STRONG, "Last-Modified": LATE}, True),
        ({"ETag": WEAK, "Last-Modified": EARLY}, {"ETag": WEAK, "Last-Modified": LATE}, True),
        ({"ETag": STRONG}, {"ETag": WEAK}, True),
        ({"Last-Modified": EARLY}, {"Last-Modified": LATE}, True),
        ({"Last-Modified": EARLY}, {"Last-Modified": EARLY}, False),
        ({"Content-MD5": "a"}, {"Content-MD5": "b"}, True),
    ],
)
def test_each_of_what_a_server_tells_counts(served, before, after, noticed):
    kind, address = served
    kind.content, kind.headers_told = five_lines("river"), before
    first = filesystem.info(address)
    assert filesystem.tells_changes(first.fingerprint)
    kind.content, kind.headers_told = five_lines("stone"), after  # of the same size
    assert (filesystem.info(address).fingerprint != first.fingerprint) == noticed
    kind.content, kind.headers_told = five_lines("pebbles"), before
    assert filesystem.info(address).fingerprint != first.fingerprint  # another size is always noticed


def test_of_a_server_that_tells_nothing_the_content_is_asked(served):
    kind, address = served
    kind.content = five_lines("river")
    assert not filesystem.tells_changes(filesystem.info(address).fingerprint)


@pytest.mark.parametrize("told", [{"ETag": WEAK, "Last-Modified": EARLY}, {}])
@pytest.mark.parametrize("size", [100, 9_000_000])
def test_a_server_that_ignores_ranges_is_read_all_the_same(served, told, size):
    kind, address = served
    kind.content, kind.headers_told, kind.ranges = bytes(range(256)) * (size // 256), told, False
    with filesystem.open_binary(address) as stream:
        assert stream.read() == kind.content
    with filesystem.open_binary(address, size // 2) as stream:
        assert stream.read(10) == kind.content[size // 2 :][:10]
    with filesystem.looking():
        for _ in range(2):
            with filesystem.open_binary(address) as stream:
                assert stream.read(50) == kind.content[:50]
    assert filesystem.sha256(address) == hashlib.sha256(kind.content).hexdigest()


def test_a_file_of_a_length_that_nobody_tells_is_read_from_anywhere(served):
    kind, address = served
    kind.content, kind.tells_length, kind.ranges = bytes(range(256)) * 1_000, False, False
    assert filesystem.info(address).size is None
    with filesystem.open_binary(address, 1_000) as stream:
        assert stream.read() == kind.content[1_000:]
        stream.seek(5)
        assert stream.read(3) == kind.content[5:8]


def config(address: str) -> dict[str, Any]:
    return {"inputs": [{"path": address, "source": "web"}], "steps": []}


def texts(run: Any) -> list[str]:
    return sorted(run.selected().to_table()["text"].to_pylist())


def test_another_etag_of_the_same_content_gives_the_same_bytes(served, tmp_path: Path):
    kind, address = served
    kind.content, kind.headers_told, kind.ranges = five_lines("river"), {"ETag": STRONG}, False
    first = tamis.run(config(address), output=tmp_path / "run")
    kind.headers_told = {"ETag": OTHER}
    failures = verify(first.path, inputs=True).failures
    assert len(failures) == 1
    assert "was changed: it is size:" in failures[0]
    again = tamis.run(config(address), output=tmp_path / "run")
    assert not again.nothing_to_do
    assert [shard.sha256 for shard in again.manifest.files] == [shard.sha256 for shard in first.manifest.files]
    assert verify(again.path, inputs=True).ok


def test_new_content_under_an_old_etag_and_time_is_told_as_unproven(served, tmp_path: Path):
    kind, address = served
    kind.content, kind.headers_told = five_lines("river"), {"ETag": STRONG, "Last-Modified": EARLY}
    first = tamis.run(config(address), output=tmp_path / "run")
    assert first.manifest.inputs[0].sha256 is None
    kind.content = five_lines("stone")
    found = verify(first.path, inputs=True)
    assert found.ok
    assert any("not checked by content: 1 input was recorded without a SHA-256" in note for note in found.notes)
    assert tamis.run(config(address), output=tmp_path / "run").nothing_to_do


@pytest.mark.parametrize("told", [True, False])
def test_a_file_that_changes_between_planning_and_reading_stops_the_run_and_the_next_one_reads_it(
    served, tmp_path: Path, told: bool
):
    kind, address = served
    kind.content, kind.headers_told = five_lines("river"), {"ETag": STRONG} if told else {}
    asked = []

    def change() -> None:
        asked.append(1)
        if len(asked) == 2:  # the first looks at it, the second reads it
            kind.content, kind.headers_told = five_lines("stones"), {"ETag": OTHER} if told else {}

    kind.before_get = staticmethod(change)
    with pytest.raises(tamis.InputError, match=r"was changed .* run the same command again"):
        tamis.run(config(address), output=tmp_path / "run")
    kind.before_get = None
    assert texts(tamis.run(config(address), output=tmp_path / "run")) == [f"stones {n}" for n in range(5)]


def test_a_run_that_is_resumed_reads_a_file_that_changed_meanwhile(served, tmp_path: Path):
    kind, address = served
    kind.content, kind.headers_told = five_lines("river"), {"Last-Modified": EARLY}
    first = tamis.run(config(address), output=tmp_path / "run")
    (tmp_path / "run" / "manifest.json").unlink()  # as if it had been killed before its end
    kind.content, kind.headers_told = five_lines("stone"), {"Last-Modified": LATE}
    assert texts(tamis.run(config(address), output=tmp_path / "run")) == [f"stone {n}" for n in range(5)]
    assert first.manifest.read == 5
