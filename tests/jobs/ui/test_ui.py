"""The local page's server: what it tells of a run, whom it answers, and that nothing but the run can be read."""

import http.client
import json
import socket
import threading
from collections import Counter

import pyarrow.parquet as pq
import pytest

from tamis.jobs.cli import ui as command
from tamis.jobs.ui import store as stores
from tamis.jobs.ui.server import COOKIE, Server
from tamis.jobs.ui.store import Filters, Store, WhatIf
from tamis.schemas.errors import ConfigError, RunError
from tests.jobs.handmade import make_run
from tests.jobs.ui import large_run
from tests.jobs.ui.large_run import THRESHOLD, make_large_run

DOCUMENTS = 3000


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    run = tmp_path_factory.mktemp("ui") / "run"
    make_large_run(run, DOCUMENTS)
    return str(run)


@pytest.fixture(scope="module")
def store(folder):
    opened = Store(folder)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def rows(store):
    connection = store._connection.cursor()
    names = [name for name, *_ in connection.execute("DESCRIBE documents").fetchall()]
    return [dict(zip(names, row, strict=True)) for row in connection.execute("FROM documents").fetchall()]


@pytest.fixture(scope="module")
def server(store):
    running = Server(store, token="secret")
    running.start()
    yield running
    running.stop()


# --- documents ---


def listed(store, **filters):
    told = store.documents(Filters(**filters))
    return told["total"], [row[0] for row in told["rows"]]


@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        ({}, lambda r: True),
        ({"source": "web"}, lambda r: r["source"] == "web"),
        ({"language": "de", "fate": "rejected"}, lambda r: r["language"] == "de" and r["fate"] == "rejected"),
        ({"rule": "language: score_a_min"}, lambda r: r["fate"] == "rejected"),
        ({"column": "score_b", "low": 0.25, "high": 0.5}, lambda r: 0.25 <= r["score_b"] <= 0.5),
        ({"search": "RIVER stone"}, lambda r: "river stone" in r["text"]),
        ({"search": "100%"}, lambda r: False),
    ],
)
def test_filters(store, rows, filters, wanted):
    mine = sorted(r["doc_id"] for r in rows if wanted(r))
    assert listed(store, **filters) == (len(mine), mine[:50])
    if len(mine) > 50:
        assert listed(store, **filters, page=1)[1] == mine[50:100]


def test_sorting(store, rows):
    for column, descending in (("score_c", False), ("value", True)):
        have = [r for r in rows if r[column] is not None]
        expected = [r["doc_id"] for r in sorted(have, key=lambda r: r[column], reverse=descending)]
        assert listed(store, sort=column, descending=descending)[1] == expected[:50]


def test_a_document_with_all_its_columns(store, rows):
    told = store.document(rows[5]["doc_id"])
    assert told["values"] == rows[5]
    assert told["meaning"]["score_a"] == "score a"
    assert listed(store, search=rows[5]["doc_id"])[1] == [rows[5]["doc_id"]]
    with pytest.raises(ConfigError, match="no document"):
        store.document("x")


def test_a_document_is_read_from_its_own_shard_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(large_run, "PART", 100)
    make_large_run(tmp_path / "run", 500)
    opened = Store(str(tmp_path / "run"))
    try:
        with opened._connection.cursor() as cursor:
            where = cursor.execute("SELECT doc_id, fate FROM documents").fetchall()
        shards = sorted((tmp_path / "run").glob("*ed/part-*.parquet"))
        assert len(shards) == 10
        mine = {path: set(pq.read_table(path, columns=["doc_id"])["doc_id"].to_pylist()) for path in shards}
        for path in shards:
            aside = path.with_suffix(".aside")
            path.rename(aside)
            for doc_id, fate in where[:: len(where) // 40]:
                if doc_id not in mine[path]:
                    assert opened.document(doc_id)["values"]["fate"] == fate
            aside.rename(path)
        wrong = next(path for path in shards if where[0][0] not in mine[path])
        right = next(path for path in shards if where[0][0] in mine[path])
        right.write_bytes(wrong.read_bytes())
        with pytest.raises(RunError, match="has changed since it was loaded"):
            opened.document(where[0][0])
    finally:
        opened.close()


def test_of_a_larger_run_beginnings_are_searched_and_whole_texts_shown(folder, rows, monkeypatch):
    monkeypatch.setattr(stores, "TEXT_BYTES", 1000)
    monkeypatch.setattr(stores, "PREVIEW", 30)
    opened = Store(folder)
    try:
        assert not opened.overview()["whole_texts"]
        total, _ = listed(opened, search="river")
        assert total == sum("river" in r["text"][:30] for r in rows)
        assert opened.document(rows[0]["doc_id"])["values"]["text"] == rows[0]["text"]
    finally:
        opened.close()


# --- thresholds ---


def test_what_bounds_change(store, rows):
    told = store.what_if(WhatIf(column="score_a", low=0.5))
    expected = Counter((r["source"], r["language"], r["fate"], r["score_a"] >= 0.5) for r in rows)
    for source, language, _, _, stay, fall, inside, outside in told["rows"]:
        key = (source, language)
        assert (stay, fall) == (expected[(*key, "selected", True)], expected[(*key, "selected", False)])
        assert (inside, outside) == (expected[(*key, "rejected", True)], expected[(*key, "rejected", False)])
    assert sum(n for *_, n in told["bars"]) == len(rows)
    for column in ("language", "nonsense"):
        with pytest.raises(ConfigError, match="no column"):
            store.what_if(WhatIf(column=column))


def test_overview(store):
    told = store.overview()
    tried = {
        "step": "language",
        "rule": "score_a_min",
        "column": "score_a",
        "low": THRESHOLD,
        "high": None,
        "part": None,
    }
    assert tried in told["thresholds"]
    assert told["rules"] == ["language: score_a_min"]
    assert told["counts"]["read"] == DOCUMENTS
    assert "text" not in told["columns"]


# --- SQL ---


def test_sql_only_reads_and_only_the_run(store, tmp_path, monkeypatch):
    assert store.sql("SELECT count(*) AS n FROM documents") == {"heads": ["n"], "rows": [(DOCUMENTS,)], "more": False}
    assert store.sql("FROM funnel()")["rows"][0][0] == "extract"
    assert store.sql("FROM documents")["more"]
    (tmp_path / "other.csv").write_text("a\n1\n")
    for query, message in (
        (f"FROM '{tmp_path}/other.csv'", "Permission"),
        (f"COPY documents TO '{tmp_path}/x.csv'", "one query"),
        ("SET enable_external_access = true", "one query"),
        ("SELECT 1; SELECT 2", "one query"),
        ("DROP VIEW documents", "one query"),
        ("SELECT nothing FROM documents", "SQL"),
    ):
        with pytest.raises(ConfigError, match=message):
            store.sql(query)
    monkeypatch.setattr(stores, "SQL_SECONDS", 0.2)
    with pytest.raises(ConfigError, match="was stopped"):
        store.sql("SELECT count(*) FROM range(1000000000) a, range(1000000) b WHERE a.range * b.range % 7 = 3")


# --- whom it answers ---


def ask(server, path, body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    given = {"Cookie": f"{COOKIE}=secret", "Content-Type": "application/json", **headers}
    given = {name.replace("_", "-"): value for name, value in given.items() if value is not None}
    try:
        connection.request("GET" if body is None else "POST", path, body, given)
        answer = connection.getresponse()
        return answer.status, answer.read(), dict(answer.getheaders())
    finally:
        connection.close()


def test_the_token_becomes_a_cookie_and_leaves_the_address(server):
    status, _, headers = ask(server, "/?tab=sql&token=secret", Cookie=None)
    assert (status, headers["Location"]) == (303, "/?tab=sql")
    assert headers["Set-Cookie"] == f"{COOKIE}=secret; HttpOnly; SameSite=Strict; Path=/"
    assert server.address("?tab=sql&source=web") == f"http://127.0.0.1:{server.port}/?tab=sql&source=web&token=secret"
    assert ask(server, "/?token=wrong")[0] == 403


@pytest.mark.parametrize("path", ["/", "/page.js", "/page.css", "/vega.min.js", "/vega-lite.min.js"])
def test_files_of_the_page(server, path):
    status, body, headers = ask(server, path)
    assert status == 200
    assert body
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert ask(server, path, Cookie=None)[0] == 403
    assert ask(server, path, Cookie=f"{COOKIE}=other")[0] == 403
    assert ask(server, path, Host=f"evil.example:{server.port}")[0] == 403


def test_questions(server, rows):
    status, body, _ = ask(server, "/api/documents", json.dumps({"source": "web"}))
    assert status == 200
    assert json.loads(body)["total"] == sum(r["source"] == "web" for r in rows)
    assert json.loads(ask(server, "/api/manifest", "{}")[1])["read"] == DOCUMENTS
    assert json.loads(ask(server, "/api/document", json.dumps({"doc_id": rows[0]["doc_id"]}))[1])["values"]["text"]
    for path, sent, told in (
        ("/api/documents", '{"page": -1}', "page"),
        ("/api/documents", '{"nonsense": 1}', "nonsense"),
        ("/api/documents", "{", "JSON|Expecting"),
        ("/api/what_if", "{}", "column"),
        ("/api/sql", '{"query": "selec"}', "SQL"),
    ):
        status, body, _ = ask(server, path, sent)
        assert status == 400
        assert any(word in json.loads(body)["error"] for word in told.split("|"))
    assert ask(server, "/api/none", "{}")[0] == 404
    assert ask(server, "/../../etc/passwd")[0] == 404


@pytest.mark.parametrize(
    "headers",
    [
        {"Cookie": None},
        {"Host": "evil.example"},
        {"Content_Type": "text/plain", "Content-Type": None},
        {"Sec_Fetch_Site": "cross-site"},
        {"Content_Length": "9000000"},
    ],
)
def test_questions_of_others_are_refused(server, headers):
    assert ask(server, "/api/overview", "{}", **headers)[0] in (403, 413)


def test_it_listens_on_the_loopback_interface_alone(server):
    assert server._server.server_address[0] == "127.0.0.1"
    with pytest.raises(ConfigError, match="give another --port"):
        Server(server._server.RequestHandlerClass.store, server.port)
    other = socket.socket()
    with pytest.raises(OSError, match="refused"):
        other.connect(("127.0.0.2", server.port))
    other.close()


def test_the_command(tmp_path, monkeypatch, capsys):
    make_run(tmp_path / "run")
    opened, done = [], threading.Event()
    monkeypatch.setattr(command.webbrowser, "open", opened.append)

    def serve(self):
        done.set()
        raise KeyboardInterrupt

    monkeypatch.setattr(Server, "serve", serve)
    command.show_ui(str(tmp_path / "run"), view="tab=manifest")
    assert done.is_set()
    address = capsys.readouterr().out.splitlines()[0]
    assert address.startswith("http://127.0.0.1:")
    assert "tab=manifest&token=" in address
    assert opened == [address]
    command.show_ui(str(tmp_path / "run"), browser=False)
    assert opened == [address]
    with pytest.raises(RunError):
        command.show_ui(str(tmp_path / "none"))
