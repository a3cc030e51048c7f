"""A database that was shut reads its folder alone, writes nothing, and answers queries alone."""

from pathlib import Path

import pytest

from tamis.jobs.mcp.answers import Answers
from tamis.schemas.errors import ConfigError
from tests.jobs.handmade import make_run


@pytest.fixture
def answers(tmp_path: Path) -> Answers:
    make_run(tmp_path / "run")
    (tmp_path / "secret.csv").write_text("password\n1234\n")
    return Answers(str(tmp_path / "run"))


@pytest.mark.parametrize(
    "query",
    [
        "COPY (SELECT 1) TO '{run}/x.csv'",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '{run}/x.csv'",
        "EXPLAIN (ANALYZE) COPY (SELECT 1) TO '{run}/x.csv'",
        "EXPLAIN ANALYZE CREATE TABLE t AS SELECT 1",
        "CREATE TABLE t AS SELECT 1",
        "CREATE OR REPLACE VIEW documents AS SELECT 1",
        "ATTACH '{run}/x.duckdb'",
        "EXPORT DATABASE '{run}/x'",
        "INSTALL httpfs",
        "SET enable_external_access = true",
        "SELECT 1; SELECT 2",
        "SELECT * FROM read_csv('{parent}/secret.csv')",
        "SELECT * FROM '{parent}/secret.csv'",
        "SELECT * FROM read_text('{parent}/secret.csv')",
        "SELECT * FROM read_text('{run}/../secret.csv')",
        "SELECT * FROM glob('{parent}/*')",
        "SELECT * FROM read_csv('https://example.org/x.csv')",
        "SELECT * FROM query('COPY (SELECT 1) TO ''{run}/x.csv''')",
        "WITH x AS (INSERT INTO documents VALUES (1) RETURNING *) SELECT * FROM x",
        "",
    ],
)
def test_nothing_is_written_and_nothing_else_is_read(answers: Answers, query: str) -> None:
    run = Path(answers.run)
    before = sorted(path.name for path in run.rglob("*"))
    with pytest.raises(ConfigError):
        answers.sql(query.format(run=run, parent=run.parent))
    assert sorted(path.name for path in run.rglob("*")) == before
    assert answers.sql("SELECT count(*) FROM documents")["rows"][0][0] > 0


def test_queries_are_answered(answers: Answers) -> None:
    assert answers.sql("EXPLAIN SELECT 1")["rows"]
    assert answers.sql("EXPLAIN ANALYZE SELECT 1")["rows"]
    assert answers.sql("DESCRIBE documents")["columns"][0] == "column_name"
    assert answers.sql("SELECT 1 AS n, 2 AS n") == {"columns": ["n", "n_1"], "rows": [[1, 2]], "more": False}
    assert answers.sql("FROM range(5000)", limit=9999)["more"]
    assert len(answers.sql("FROM range(5000)", limit=9999)["rows"]) == 1000
    assert answers.sql("FROM range(5)", limit=2) == {"columns": ["range"], "rows": [[0], [1]], "more": True}
    (cut,) = answers.sql("SELECT repeat('x', 5000)")["rows"][0]
    assert cut == "x" * 2000 + " [3,000 more characters]"
