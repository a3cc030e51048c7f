"""SQL over runs: views, formats, mistakes in one sentence, the prompt, and that a run's files stay as they are."""

import io
import json
import re
import signal
import threading
from decimal import Decimal
from pathlib import Path

import fsspec
import pytest

from tamis.jobs.cli import sql_prompt
from tamis.jobs.cli.console import SafeConsole
from tamis.jobs.cli.sql_query import run_query
from tamis.jobs.sql.query import FETCH, Rows, Written, connect, results
from tamis.jobs.unprintable import UNPRINTABLE
from tamis.schemas.errors import ConfigError, RunError
from tamis.schemas.tables import DOCUMENT_SCHEMA, REJECTED_SCHEMA
from tests.jobs.handmade import DOCUMENTS, edit, make_run

SCORE_COLUMNS = ["language", "language_score", "dup_cluster"]
VIEWS = [
    "documents",
    "errors",
    "increments",
    "inputs",
    "manifest",
    "mixture",
    "mixture_rounds",
    "models",
    "passes",
    "rejected",
    "repetition",
    "repetition_heavy",
    "rules",
    "selected",
    "shards",
    "sources",
    "steps",
    "thresholds",
]


@pytest.fixture
def made(tmp_path):
    """A handmade run: its folder and its manifest."""
    folder = tmp_path / "runs" / "it's [a] run"
    return str(folder), make_run(folder)


@pytest.fixture
def ask(made):
    """Rows of a query over the handmade run."""
    with connect(made[0]) as connection:
        yield lambda query: connection.execute(query).fetchall()


def columns(connection, view):
    return [name for name, *_ in connection.execute(f"DESCRIBE {view}").fetchall()]


def test_documents_are_selected_and_rejected_with_their_fate(ask):
    rows = ask("SELECT doc_id, source, fate, step, rule, value, threshold FROM documents ORDER BY doc_id")
    assert rows == [(i, s, "rejected" if f else "selected", *(f or (None,) * 4)) for i, s, _, f in sorted(DOCUMENTS)]
    assert ask("SELECT count(*) FROM selected") == [(3,)]
    assert ask("SELECT step, rule, count(*) FROM rejected GROUP BY ALL ORDER BY ALL") == [
        ("exact_dedup", "duplicate", 1),
        ("language", "language", 2),
        ("language", "language_score_min", 1),
    ]
    assert ask("SELECT uri, record, step, error FROM errors") == [("web.jsonl", "line 9", "read", "invalid_json")]
    assert ask("SELECT DISTINCT language_score FROM documents") == [(0.875,)]


def test_columns_and_their_meaning(made):
    with connect(made[0]) as connection:
        assert columns(connection, "selected") == [*DOCUMENT_SCHEMA.names, *SCORE_COLUMNS]
        assert columns(connection, "rejected") == [*REJECTED_SCHEMA.names, "timestamp", "meta", *SCORE_COLUMNS]
        leading = ["doc_id", "url", "source", "fate", "step", "rule", "value", "threshold", "text", "timestamp", "meta"]
        assert columns(connection, "documents") == [*leading, *SCORE_COLUMNS]
        assert [name for (name,) in connection.execute("SHOW TABLES").fetchall()] == VIEWS
        query = "SELECT comment FROM duckdb_columns() WHERE NOT internal AND schema_name = 'main' AND comment IS NULL"
        assert connection.execute(query).fetchall() == []


@pytest.mark.parametrize("kept", [True, False])
def test_a_run_of_one_fate_still_has_the_columns_of_both(tmp_path, kept):
    make_run(tmp_path / "run", [d for d in DOCUMENTS if (d[3] is None) is kept], errors=0)
    with connect(str(tmp_path / "run")) as connection:
        assert set(columns(connection, "selected")) == {*DOCUMENT_SCHEMA.names, *SCORE_COLUMNS}
        assert set(columns(connection, "rejected")) == {*REJECTED_SCHEMA.names, "timestamp", "meta", *SCORE_COLUMNS}
        types = connection.execute("SELECT DISTINCT typeof(language_score), typeof(value) FROM documents").fetchall()
        assert types == [("FLOAT", "DOUBLE")]
        assert connection.execute("SELECT count(*) FROM errors").fetchone() == (0,)


def test_an_empty_run_has_all_views(tmp_path):
    make_run(tmp_path / "run", [], errors=0)
    with connect(str(tmp_path / "run")) as connection:
        for view in VIEWS:
            connection.execute(f"FROM {view}").fetchall()
        assert columns(connection, "rejected")[: len(REJECTED_SCHEMA)] == REJECTED_SCHEMA.names


def test_the_manifest_as_tables(ask, made):
    manifest = made[1]
    assert ask(
        "SELECT label, source, documents, kept, rejected, errors, step_seconds FROM steps ORDER BY position, source"
    ) == [
        ("extract", "books", 2, 2, 0, 0, 0.0),
        ("extract", "web", 5, 5, 0, 0, 0.0),
        ("language", "books", 2, 1, 1, 0, 0.5),
        ("language", "web", 5, 3, 2, 0, 0.5),
        ("exact_dedup", "books", 1, 1, 0, 0, 1.0),
        ("exact_dedup", "web", 3, 2, 1, 0, 1.0),
    ]
    assert ask("SELECT label, source, rule, rejected, threshold FROM rules ORDER BY ALL") == [
        ("exact_dedup", "web", "duplicate", 1, None),
        ("language", "books", "language", 1, None),
        ("language", "web", "language", 1, None),
        ("language", "web", "language_score_min", 1, 0.65),
    ]
    # What the manifest counts is what the shards hold.
    counted = "SELECT label, source, rule, rejected FROM rules"
    assert ask(f"({counted}) EXCEPT (SELECT step, source, rule, count(*) FROM rejected GROUP BY ALL)") == []
    assert ask("SELECT source, read, selected, rejected, errors FROM sources ORDER BY source") == [
        ("books", 2, 1, 1, 0),
        ("web", 6, 2, 3, 1),
    ]
    assert ask("SELECT sum(proportion) FROM sources")[0][0] == pytest.approx(1)
    assert ask("SELECT path, sha256, rows FROM shards ORDER BY path") == [
        (s.path, s.sha256, s.rows) for s in manifest.shards
    ]
    assert ask("SELECT records, skipped['empty'] FROM inputs ORDER BY source") == [(2, 2), (6, 2)]
    assert ask("SELECT config->>'$.steps[1].language.min_score', warnings[1] FROM manifest") == [
        ("0.65", "a warning of the run")
    ]
    assert ask("SELECT read, selected + rejected + errors FROM manifest") == [(8, 8)]


def test_only_recorded_files_are_read(made, tmp_path):
    run, manifest = made
    stranger = tmp_path / "runs" / "it's [a] run" / "selected" / "source=web" / "part-00009.parquet"
    stranger.write_bytes((stranger.parent / "part-00000.parquet").read_bytes())
    with connect(run) as connection:
        assert connection.execute("SELECT count(*) FROM selected").fetchone() == (manifest.selected,)


def test_a_run_on_another_file_system(made):
    remote = fsspec.filesystem("memory")
    for path in Path(made[0]).rglob("*"):
        if path.is_file():
            remote.pipe_file(f"/sql_test/{path.relative_to(made[0])}", path.read_bytes())
    try:
        with connect("memory://sql_test") as connection:
            assert connection.execute("SELECT count(*), count(rule) FROM documents").fetchone() == (7, 4)
    finally:
        remote.rm("/sql_test", recursive=True)


def test_a_missing_or_damaged_shard_is_named(made, tmp_path):
    run, manifest = made
    path = tmp_path / "runs" / "it's [a] run" / manifest.shards[-1].path
    path.write_bytes(b"no parquet")
    with pytest.raises(RunError, match=r"source=web/part-00000.parquet|selected shards.*verify"):
        run_query(run, "SELECT count(text) FROM selected")
    path.unlink()
    with pytest.raises(RunError, match=r"selected.*verify"):
        run_query(run, "SELECT 1")
    with pytest.raises(RunError, match="no run of tamis"):
        connect(str(tmp_path))


def test_a_broken_manifest_is_one_sentence(made, tmp_path):
    run, _ = made
    edit(tmp_path / "runs" / "it's [a] run", lambda manifest: manifest.update(read="many"))
    with pytest.raises(RunError, match=r"manifest.json is no manifest.*read: "):
        connect(run)


def test_formats(made, capsys):
    columns = "doc_id, text, value, dup_cluster, [1, 2] AS list, 'NaN'::DOUBLE AS nan"
    run_query(made[0], f"SELECT {columns} FROM documents WHERE doc_id IN ('a1', 'a3') ORDER BY 1", format="json")
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert rows[0]["text"] == DOCUMENTS[1][2]
    assert [row["value"] for row in rows] == [None, 0.25]
    assert rows[0]["dup_cluster"] == b"a1".ljust(16, b"\0").hex()
    assert (rows[0]["list"], rows[0]["nan"]) == ([1, 2], None)
    run_query(
        made[0], "SELECT doc_id, text, value FROM documents WHERE doc_id IN ('a2', 'a4') ORDER BY 1", format="csv"
    )
    assert capsys.readouterr().out == 'doc_id,text,value\na2,Bon jour.,0.9\na4,"First text, kept.",\n'
    run_query(made[0], "SELECT doc_id, text FROM selected ORDER BY 1", format="tsv", limit=1)
    assert capsys.readouterr().out == "doc_id\ttext\na0\tFirst text, kept.\n"
    run_query(made[0], "SELECT warnings, mixture FROM manifest", format="json")
    row = json.loads(capsys.readouterr().out)
    assert row["warnings"] == ["a warning of the run"]
    assert row["mixture"]["unit"] == "text bytes"


def test_a_table_is_cut_counted_and_cannot_drive_the_terminal(made, capsys):
    run_query(made[0], "SELECT doc_id, text FROM documents ORDER BY 1", limit=2)
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "Second text, with a \\x1b[31mline\\x1b[0m break and ünïcode." in out
    assert "the first 2 rows: --limit shows more" in out
    run_query(made[0], "SELECT repeat('x', 500) AS long")
    out = capsys.readouterr().out
    assert "x" * 63 + "…" in out
    assert out.endswith("1 row\n")
    run_query(made[0], "SELECT d.*, e.*, r.* FROM documents d, errors e, selected r WHERE d.doc_id = 'a0' LIMIT 1")
    out = capsys.readouterr().out
    assert "--- row 1 -" in out
    assert "doc_id          a0\n" in out


def test_on_a_terminal_long_text_gives_way(made, capsys, monkeypatch):
    def console():
        return SafeConsole(width=50, force_terminal=True, color_system=None)

    monkeypatch.setattr("tamis.jobs.cli.sql_output.out_console", console)
    run_query(made[0], "SELECT doc_id, language_score, repeat(text, 30) AS long FROM selected ORDER BY 1")
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert max(map(len, lines)) == 50
    assert lines[0].startswith("doc_id   language_score   long")
    assert lines[2].startswith("a0 ")
    assert lines[2].endswith("…")
    run_query(made[0], "SELECT * FROM selected LIMIT 1")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("--- row 1 -")
    assert "doc_id          b0" in lines
    assert max(map(len, lines)) <= 50


@pytest.mark.parametrize("width", [60, 80])
def test_on_a_terminal_names_are_folded_and_never_cut(made, capsys, monkeypatch, width):
    monkeypatch.setattr(
        "tamis.jobs.cli.sql_output.out_console",
        lambda: SafeConsole(width=width, force_terminal=True, color_system=None),
    )
    rule = "gopher_repetition.max_duplicate_5_gram_char_fraction"
    passes = "heuristics + perplexity.harmful + perplexity.quality: threshold, pass 1"
    run_query(made[0], f"SELECT 'perplexity.quality' AS step, '{rule}' AS rule, 12345 AS documents, '{passes}' AS name")
    out = capsys.readouterr().out
    assert "…" not in out
    lines = out.splitlines()
    assert max(map(len, lines)) <= width
    run_query(made[0], f"SELECT 'perplexity.quality' AS step, '{rule}' AS rule, 12345 AS documents")
    out = capsys.readouterr().out.splitlines()
    assert max(map(len, out)) <= width
    assert "…" not in "".join(out)
    place = out[0].index("rule")
    told = [line[place:].split("   ")[0].strip() for line in out[2:-1]]
    assert "".join(told) == rule
    assert len(told) > 1


def test_many_rows_are_all_printed(made, capsys):
    rows = 2 * FETCH + 5
    run_query(made[0], f"SELECT range AS n FROM range({rows})", format="csv")
    assert capsys.readouterr().out.splitlines() == ["n", *map(str, range(rows))]


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("SELECT docid FROM documents", r"Referenced column .docid.*did you mean 'doc_id'\?$"),
        ("SELECT s.languag FROM selected s", r"languag.*did you mean 'language'\?$"),
        ("SELECT docid", r"because the FROM clause is missing$"),
        ("SELECT * FROM reject", r"reject does not exist; did you mean 'rejected'\?$"),
        ("SELECT * FROM zzzz", r"zzzz does not exist; known: documents, errors"),
        ("SELEC 1", r"syntax error at or near .SELEC.$"),
        ("SELECT legnth(text) FROM selected", r"did you mean '\w*'\?$"),
        ("DELETE FROM documents", "Can only delete"),
        ("INSERT INTO steps VALUES (1)", "steps"),
        ("SELECT * FROM query", "query does not exist"),
    ],
)
def test_a_mistake_is_one_sentence(made, query, sentence):
    with pytest.raises(ConfigError, match=sentence) as caught:
        run_query(made[0], query)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "query",
    [
        "COPY (SELECT 1) TO '{run}/selected/mine.parquet'",
        "copy documents to '{run}/../run/manifest.json' (format csv)",
        "EXPLAIN ANALYZE COPY documents TO '{run}/errors/part-00000.parquet'",
        "PREPARE p AS COPY documents TO '{run}/work/x.csv'",
        "COPY documents TO '{run}' (FORMAT parquet, PARTITION_BY source)",
        "COPY (SELECT ')' AS a, 'é' AS b) /* ( */ TO '{run}/rejected/x.csv'",
        "EXPORT DATABASE '{run}/selected/dump'",
        "ATTACH '{run}/selected/x.db' AS x",
        "COPY documents TO $${run}/selected/x.csv$$",
        "COPY documents TO E'{run}/selected/x.csv'",
        "COPY documents TO ('{run}/selected/x.csv')",
    ],
)
def test_a_run_stays_as_it_is(tmp_path, query):
    run = tmp_path / "run"
    make_run(run)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match=r"belongs to the run|name the file to write to"):
        run_query(str(run), query.format(run=run))
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_copying_elsewhere_works(made, tmp_path, capsys):
    target = tmp_path / "out.csv"
    run_query(made[0], f"COPY (SELECT doc_id FROM rejected ORDER BY 1) TO '{target}'; SELECT 1 AS one", format="csv")
    assert target.read_text().split() == ["doc_id", "a2", "a3", "a4", "b1"]
    captured = capsys.readouterr()
    assert captured.out == "one\n1\n"
    assert captured.err == "4 rows written\n"
    run_query(made[0], f"COPY (SELECT 1) TO '{target}'")
    assert capsys.readouterr().err == "1 row written\n"
    run_query(made[0], "COPY selected TO '" + str(tmp_path / "parts") + "' (FORMAT parquet, PARTITION_BY source)")


def test_explaining_shows_the_plan(made, capsys):
    run_query(made[0], "EXPLAIN SELECT count(*) FROM selected")
    assert len(capsys.readouterr().out.splitlines()) > 3


def test_json_loses_no_column_and_no_digit(made, capsys):
    query = (
        "SELECT 1 AS n, 2 AS n, 1.10::DECIMAL(4, 2) AS d, 12345678901234567.89::DECIMAL(38, 2) AS n_1, "
        "170141183460469231731687303715884105727::HUGEINT AS h, '{\"x\": 0.10000000000000000001}'::JSON AS j, "
        "[0.1::DECIMAL(30, 20)] AS l, {'a': 1.50::DECIMAL(5, 2)} AS s"
    )
    run_query(made[0], query, format="json")
    line = capsys.readouterr().out
    told = json.loads(line, parse_float=Decimal)
    assert list(told) == ["n", "n_2", "d", "n_1", "h", "j", "l", "s"]
    assert [str(told[name]) for name in ("n", "n_2", "d", "n_1")] == ["1", "2", "1.10", "12345678901234567.89"]
    assert told["h"] == 2**127 - 1
    assert told["j"] == {"x": Decimal("0.10000000000000000001")}
    assert told["l"] == [Decimal("0.1")]
    assert '"s": {"a": 1.50}' in line
    run_query(made[0], query, format="csv")
    assert "1,2,1.10,12345678901234567.89," in capsys.readouterr().out
    run_query(made[0], query)
    assert "12345678901234567.89" in capsys.readouterr().out


def test_json_on_a_terminal_that_isnt_utf8(made, monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", stream)
    run_query(made[0], "SELECT 'ünï 山 😀' AS \"ä\"", format="json")
    stream.flush()
    assert json.loads(stream.buffer.getvalue()) == {"ä": "ünï 山 😀"}


def test_json_of_any_text_drives_no_terminal(made, capsys):
    run_query(made[0], "SELECT chr(155) || '2J' || chr(8238) || text AS t FROM selected", format="json")
    out = capsys.readouterr().out
    assert not UNPRINTABLE.search(out.replace("\n", ""))
    assert json.loads(out.splitlines()[0])["t"].startswith("\x9b2J\u202e")


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_names_of_columns_are_never_cut(made, capsys, monkeypatch, width):
    def console():
        return SafeConsole(width=width, force_terminal=True, color_system=None)

    monkeypatch.setattr("tamis.jobs.cli.sql_output.out_console", console)
    for query in ("FROM steps", "FROM rules", "FROM documents", "SELECT doc_id, text, language_score FROM documents"):
        run_query(made[0], query)
        out = capsys.readouterr().out
        with connect(made[0]) as connection:
            names = [name for name, *_ in connection.execute(query).description]
        for name in names:
            assert name in out


def test_identifiers_stay_whole_where_text_gives_way(made, capsys, monkeypatch):
    def console():
        return SafeConsole(width=80, force_terminal=True, color_system=None)

    monkeypatch.setattr("tamis.jobs.cli.sql_output.out_console", console)
    run_query(made[0], "SELECT md5(doc_id) AS id, repeat(text, 9) AS text, language_score FROM selected ORDER BY 1")
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    for line in lines[2:5]:
        assert re.match(r"[0-9a-f]{32}   ", line)
        assert "…" in line


def test_on_a_terminal_no_format_drives_it(made, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    run_query(made[0], "SELECT text FROM documents WHERE doc_id = 'a1'", format="csv")
    assert "with a \\x1b[31mline" in capsys.readouterr().out
    monkeypatch.undo()
    run_query(made[0], "SELECT text FROM documents WHERE doc_id = 'a1'", format="csv")
    assert "with a \x1b[31mline" in capsys.readouterr().out


def test_a_query_can_be_stopped(made):
    """Ctrl-C reaches the main thread while DuckDB computes in another; the connection can be used on."""
    with connect(made[0]) as connection:
        timer = threading.Timer(0.5, signal.raise_signal, [signal.SIGINT])
        timer.start()
        endless = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE (a.range * b.range) % 7 = 3"
        with pytest.raises(KeyboardInterrupt):
            list(results(connection, made[0], endless))
        timer.join()
        (rows,) = results(connection, made[0], "SELECT 5 AS five")
        assert list(rows.fetch()) == [(5,)]


def test_results_are_values(made, tmp_path):
    with connect(made[0]) as connection:
        text = f"SET threads = 1; SELECT 1 AS a, 'x' AS b; COPY (SELECT 1 UNION ALL SELECT 2) TO '{tmp_path / 'x.csv'}'"
        found = []
        for result in results(connection, made[0], text):
            found.append((result.names, list(result.fetch())) if isinstance(result, Rows) else result)
        assert found == [(["a", "b"], [(1, "x")]), Written(2)]
        (explained,) = results(connection, made[0], "EXPLAIN SELECT 1")
        assert explained.explains


def test_an_unknown_format_is_refused(made):
    with pytest.raises(ConfigError, match="did you mean 'json'"):
        run_query(made[0], "SELECT 1", format="jsn")


# --- the prompt ---


def typed(monkeypatch, text):
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_statements_from_a_pipe(made, monkeypatch, capsys):
    typed(
        monkeypatch,
        ".format csv\nSELECT ';'\n AS semicolon;\n\n-- a remark\n"
        "SELECT 2 AS two; SELECT 3 AS three;\nSELECT 4\n AS four",
    )
    sql_prompt.prompt(made[0])
    assert capsys.readouterr().out.split() == ["semicolon", ";", "two", "2", "three", "3", "four", "4"]


def test_commands(made, monkeypatch, capsys):
    typed(monkeypatch, ".tables\n.schema rules\n.help\n.limit 1\nFROM rules;\n.limit\n.quit\nSELECT 'never';\n")
    sql_prompt.prompt(made[0])
    out = capsys.readouterr().out
    assert out.startswith("documents    doc_id, url, source, fate, step")
    assert "the rule's reason, as in rejected" in out
    assert "Ctrl-D" in out
    assert "the first 1 row: .limit N shows more" in out
    assert "never" not in out


def test_on_a_terminal_views_are_listed_within_its_width(made, monkeypatch, capsys):
    typed(monkeypatch, ".tables\n")
    monkeypatch.setattr(
        sql_prompt, "out_console", lambda: SafeConsole(width=80, force_terminal=True, color_system=None)
    )
    monkeypatch.setattr(
        sql_prompt, "columns_of", lambda *_: [(f"text_{i}", "", "") for i in range(60)] + [("b", "", "")]
    )
    sql_prompt.prompt(made[0])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert "documents" in lines[0]
    assert "text_0, text_1, 58 more text_* (.schema documents), b" in " ".join(" ".join(lines[:3]).split())


@pytest.mark.parametrize("word", ["quit", "exit;", ".quit", " EXIT ", "quit ;"])
def test_leaving_needs_neither_dot_nor_semicolon(made, monkeypatch, capsys, word):
    typed(monkeypatch, f"help\n{word}\nSELECT 'never' AS never;\n")
    sql_prompt.prompt(made[0])
    out = capsys.readouterr().out
    assert "Ctrl-D" in out
    assert "never" not in out


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (".tabels\n", "did you mean '.tables'"),
        (".schema rulez\n", "did you mean 'rules'"),
        (".limit none\n", "write it as .limit N"),
        ("SELECT 1;\nSELECT nothing;\n", "nothing"),
    ],
)
def test_a_mistake_in_a_pipe_stops_it(made, monkeypatch, text, sentence):
    typed(monkeypatch, text)
    with pytest.raises(ConfigError, match=sentence):
        sql_prompt.prompt(made[0])


def test_a_conversation(made, monkeypatch, tmp_path, capsys):
    from prompt_toolkit.application import create_app_session
    from prompt_toolkit.input import create_pipe_input
    from prompt_toolkit.output import DummyOutput

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr("sys.stdin", io.StringIO())
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    with create_pipe_input() as pipe, create_app_session(input=pipe, output=DummyOutput()):
        # Enter goes on to the next line until a semicolon; a mistake doesn't end the conversation; Ctrl-D does.
        pipe.send_text(
            "SELECT doc_id\rFROM selected WHERE doc_id = 'b0';\r\rSELECT nothing;\r"
            ".format json\rSELECT 5 AS five;\r\x04"
        )
        sql_prompt.prompt(made[0])
    captured = capsys.readouterr()
    assert "b0" in captured.out
    assert '{"five": 5}' in captured.out
    assert "nothing" in captured.err
    assert "FROM selected" in (tmp_path / "state" / "tamis" / "sql_history").read_text()


def test_a_home_that_cannot_be_written_to_keeps_no_history(monkeypatch, tmp_path):
    from prompt_toolkit.history import InMemoryHistory

    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert isinstance(sql_prompt.history(), InMemoryHistory)
