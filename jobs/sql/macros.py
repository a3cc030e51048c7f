"""Questions that everybody asks of a run, as table macros of DuckDB: `FROM funnel()`, `FROM histogram(text_words)`."""

import re
from collections.abc import Collection, Sequence
from typing import Any

import duckdb

from tamis.jobs.sql.limits import Limit
from tamis.jobs.sql.names import identifier, literal

__all__ = ["MACROS", "add_macros", "document_key", "host_of"]

MACROS = {
    "funnel()": "what came to each step, what it kept, and its CPU seconds",
    "histogram(column, bins := 20)": "documents by value of a column, or of any expression: histogram(ln(text_words))",
    "histogram_by(column, part)": "the same for each value of another column, such as source",
    "sample(rule, n := 10)": "documents drawn by a keyed hash that fell to a rule or at a step, or 'selected'",
    "samples(n := 10)": "so many documents of each rule, drawn the same way",
    "what_if(column, min, max)": "by source and language: what bounds would keep and lose; NULL is no bound",
    "near_threshold(rule, n := 5)": "the documents nearest to a rule's threshold, on both of its sides",
    "domains()": "documents, selected documents and bytes of text by host",
}
"""What the macros are called with, and what they give."""


def document_key(seed: int) -> str:
    """Return the SQL of a document's key for drawing: 32 hex digits, by the run's seed and the `doc_id` alone."""
    return f"md5('{seed}/' || doc_id)"


def host_of(url: str) -> str:
    """Return the SQL of an address's host, without `www.`; empty where there is none."""
    return f"regexp_extract(lower({url}), '^[a-z][a-z0-9+.-]*://(?:[^/?#@]*@)?(?:www[.])?([^/?#:]+)', 1)"


def add_macros(
    connection: duckdb.DuckDBPyConnection,
    *,
    labels: Sequence[str],
    columns: Collection[str],
    limits: Sequence[Limit],
    seed: int,
    schema: str = "main",
    only: Collection[str] | None = None,
) -> None:
    """Create the macros over the views of a schema.

    Args:
        connection: which has the views `documents` and `steps` in that schema.
        labels: of the run's steps, in order.
        columns: of `documents`.
        limits: the rules over columns.
        seed: of the run, for what is drawn.
        schema: where the views are and the macros go.
        only: names of the macros to create; all if None.
    """
    language = identifier("language") if "language" in columns else "NULL::VARCHAR"
    macros: Sequence[tuple[str, dict[str, str], str]] = (
        ("funnel", {}, _FUNNEL),
        ("histogram", {"expression": "", "bins": "20", "low": "NULL", "high": "NULL"}, _histogram("")),
        (
            "histogram_by",
            {"expression": "", "by_part": "", "bins": "20", "low": "NULL", "high": "NULL"},
            _histogram("$by_part"),
        ),
        ("samples", {"n": "10"}, _SAMPLES),
        ("sample", {"rule_or_step": "", "n": "10"}, _SAMPLE),
        ("what_if", {"expression": "", "least": "", "most": ""}, _WHAT_IF),
        ("near_threshold", {"rule_or_step": "", "n": "5"}, _near_threshold(labels, limits)),
        ("domains", {}, _DOMAINS),
    )
    words = {"{schema}": identifier(schema), "{key}": document_key(seed), "{language}": language}
    words |= {"{host}": host_of("url")}
    taken = {name.lower() for name in columns}
    for name, parameters, body in macros:
        if only is not None and name not in only:
            continue
        told = body
        for word, meaning in words.items():
            told = told.replace(word, meaning)
        heads = []
        for parameter, default in parameters.items():
            # A parameter may not be called like a column that the body could see.
            free = next(called for called in (parameter + "_" * i for i in range(99)) if called not in taken)
            told = re.sub(rf"[$]{parameter}\b", free, told)
            heads.append(f"{free} := {default}" if default else free)
        connection.execute(f"CREATE MACRO {identifier(schema)}.{name}({', '.join(heads)}) AS TABLE {told}")


_FUNNEL = """
SELECT label AS step, sum(documents)::BIGINT AS documents, sum(kept)::BIGINT AS kept,
  round(sum(kept) / nullif(sum(documents), 0), 4) AS share, sum(rejected)::BIGINT AS rejected,
  sum(errors)::BIGINT AS errors, any_value(step_seconds) AS cpu_seconds
FROM {schema}.steps GROUP BY position, label ORDER BY position
"""
# Whole numbers get bins of whole width, so that none of them is empty by itself. Without `low` and `high` the bins go
# from the smallest to the largest value; what lies beyond them is counted in the outermost bins.
_HISTOGRAM = """
WITH given AS (
  SELECT CASE WHEN typeof($expression) = 'VARCHAR'
      THEN error('histogram takes a column of numbers, without quotes: histogram(text_words)')
      ELSE TRY_CAST($expression AS DOUBLE) END AS number,
    typeof($expression) LIKE '%INT%' AS whole, {which}fate
  FROM {schema}.documents
), bounds AS (
  SELECT coalesce(any_value($low)::DOUBLE, min(number)) AS least,
    coalesce(any_value($high)::DOUBLE, max(number)) AS most, coalesce(any_value(whole), false) AS whole
  FROM given WHERE isfinite(number)
), widths AS (
  SELECT *, CASE WHEN whole THEN greatest(1, ceil((most - least + 1) / $bins))
    WHEN most > least THEN (most - least) / $bins ELSE 1 END AS width
  FROM bounds
), placed AS (
  SELECT {part}g.fate, w.least, w.width,
    greatest(0, least($bins - 1, floor((g.number - w.least) / w.width)))::BIGINT AS bin
  FROM given g CROSS JOIN widths w WHERE isfinite(g.number)
)
SELECT {part}least + bin * width AS low, least + (bin + 1) * width AS high, count(*) AS documents,
  count(*) FILTER (fate = 'selected') AS selected
FROM placed GROUP BY ALL ORDER BY ALL
"""
_SAMPLE = """
WITH drawn AS (
  SELECT doc_id, {key} AS draw FROM {schema}.documents
  WHERE rule = $rule_or_step OR step = $rule_or_step OR fate = $rule_or_step
    OR step || '.' || rule = $rule_or_step
  ORDER BY draw, doc_id LIMIT $n
)
SELECT d.doc_id, d.source, d.url, d.fate, d.step, d.rule, d.value, d.threshold, d.text
FROM {schema}.documents d JOIN drawn USING (doc_id) ORDER BY drawn.draw, d.doc_id, d.fate
"""
_SAMPLES = """
WITH ranked AS (
  SELECT doc_id, step, rule, row_number() OVER (PARTITION BY step, rule ORDER BY {key}, doc_id) AS place
  FROM {schema}.rejected
), drawn AS (FROM ranked WHERE place <= $n)
SELECT d.doc_id, d.source, d.url, d.step, d.rule, d.value, d.threshold, d.text
FROM {schema}.rejected d JOIN drawn USING (doc_id, step, rule)
ORDER BY d.step, d.rule, drawn.place, d.doc_id
"""
_WHAT_IF = """
SELECT source, language, count(*) AS documents, count(*) FILTER (fate = 'selected') AS selected,
  count(*) FILTER (fate = 'selected' AND inside) AS stay, count(*) FILTER (fate = 'selected' AND NOT inside) AS fall,
  count(*) FILTER (fate = 'rejected' AND inside) AS rejected_inside,
  count(*) FILTER (fate = 'rejected' AND NOT inside) AS rejected_outside
FROM (
  SELECT source, {language} AS language, fate,
    ($least IS NULL OR $expression >= $least) AND ($most IS NULL OR $expression <= $most) AS inside
  FROM {schema}.documents WHERE $expression IS NOT NULL
) GROUP BY ALL ORDER BY ALL
"""
_DOMAINS = """
SELECT host AS domain, count(*) AS documents, count(*) FILTER (fate = 'selected') AS selected,
  sum(bytes)::BIGINT AS bytes, coalesce(sum(bytes) FILTER (fate = 'selected'), 0)::BIGINT AS selected_bytes
FROM (SELECT {host} AS host, fate, strlen(text) AS bytes FROM {schema}.documents) WHERE host <> ''
GROUP BY host ORDER BY documents DESC, host
"""


# A name that nothing fell to and that is no rule over a column is a mistake, and no empty answer.
_NO_RULE = """CASE WHEN EXISTS (
    SELECT 1 FROM {schema}.rules WHERE rule = $rule_or_step OR label || '.' || rule = $rule_or_step
  ) THEN NULL::DOUBLE
  ELSE error('there is no rule ' || $rule_or_step || ' over a column: FROM thresholds lists them')::DOUBLE END"""


def _histogram(which: str) -> str:
    """Return the body; with a part's expression a histogram for each of its values."""
    part = "part, " if which else ""
    return _HISTOGRAM.replace("{which}", f"{which} AS part, " if which else "").replace("{part}", part)


def _near_threshold(labels: Sequence[str], limits: Sequence[Limit]) -> str:
    """Return the body: those that fell by what they record, those that passed by the rule's column.

    DuckDB folds the choice of the column, since the rule's name is a constant: no other column is read.
    """
    value = _choice(limits, lambda limit: f"{identifier(limit.column)}::DOUBLE", _NO_RULE)
    threshold = _choice(limits, _threshold, _NO_RULE)
    position = _choice(limits, lambda limit: str(limit.position), "NULL")
    order = f"list_position([{', '.join(map(literal, labels))}]::VARCHAR[], step) - 1"
    return f"""
WITH fell AS (
  SELECT 'fell' AS side, doc_id, fate, abs(value - threshold) AS distance, value, threshold
  FROM {{schema}}.documents
  WHERE (rule = $rule_or_step OR step || '.' || rule = $rule_or_step) AND threshold IS NOT NULL
  ORDER BY distance, doc_id LIMIT $n
), passed AS (
  SELECT 'passed' AS side, doc_id, fate, abs(number - bound) AS distance, number AS value, bound AS threshold
  FROM (
    SELECT doc_id, fate, step, {value} AS number, {threshold} AS bound, {position} AS place FROM {{schema}}.documents
  ) WHERE number IS NOT NULL AND bound IS NOT NULL AND (fate = 'selected' OR {order} > place)
  ORDER BY distance, doc_id LIMIT $n
), near AS (FROM fell UNION ALL FROM passed)
SELECT near.side, near.distance, near.value, near.threshold, d.doc_id, d.source, d.url, d.fate, d.step, d.rule, d.text
FROM {{schema}}.documents d JOIN near USING (doc_id, fate) ORDER BY near.side, near.distance, d.doc_id
"""  # noqa: S608  (names and texts are quoted)


def _choice(limits: Sequence[Limit], of: Any, otherwise: str) -> str:
    """Return a CASE by the rule's name, alone or behind its step's label."""
    seen: set[str] = set()
    arms = []
    for limit in limits:
        for name in (limit.rule, f"{limit.step}.{limit.rule}"):
            if name not in seen:
                seen.add(name)
                arms.append(f"WHEN $rule_or_step = {literal(name)} THEN {of(limit)}")
    return f"CASE {' '.join(arms)} ELSE {otherwise} END" if arms else otherwise


def _threshold(limit: Limit) -> str:
    """Return the SQL of the bound that a kept document is nearest to."""
    column = f"{identifier(limit.column)}::DOUBLE"
    parts = []
    for bounds in limit.bounds:
        numbers = [number for number in (bounds.low, bounds.high) if number is not None]
        if not numbers:
            continue
        nearest = repr(numbers[0])
        if len(numbers) > 1:
            low, high = numbers
            nearest = f"CASE WHEN abs({column} - {low!r}) <= abs({column} - {high!r}) THEN {low!r} ELSE {high!r} END"
        parts.append((bounds.group, nearest))
    if not limit.by:
        return f"({parts[0][1]})::DOUBLE" if parts else "NULL::DOUBLE"
    group = " || '/' || ".join(f"coalesce({identifier(name)}::VARCHAR, 'null')" for name in limit.by)
    arms = " ".join(f"WHEN {literal(str(name))} THEN {nearest}" for name, nearest in parts)
    return f"(CASE {group} {arms} END)::DOUBLE" if arms else "NULL::DOUBLE"
