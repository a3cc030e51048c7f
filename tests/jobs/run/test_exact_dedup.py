"""The step `exact_dedup` in real runs: other keys, folded words, and what stays, against a dictionary."""

import json
import random
import unicodedata

import pytest

from tamis.jobs.run.check import check_steps
from tamis.pipeline.steps.registry import parse_step
from tamis.schemas.errors import ConfigError
from tests.jobs.finished_runs import every_row
from tests.jobs.finished_runs import ran as carried_out


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    """Sixty documents of two sources, in three files: few texts in several forms, few addresses, some without one."""
    folder = tmp_path_factory.mktemp("pool")
    draw = random.Random(4)
    forms = (
        str,
        str.upper,
        lambda text: text.replace(" ", ",  "),
        lambda text: f"«{text}»!",
        lambda text: f" {text}\n",
    )
    rows = [
        {
            "id": f"d{i}",
            "text": draw.choice(forms)(draw.choice(["déjà vu 12", "deja vu 34", "one more", "?!"])),
            "url": draw.choice([None, "https://a.org/1", "https://a.org/2"]),
            "year": draw.choice([None, 2001, 2002]),
            "day": draw.choice([None, "2024-10", "2023-50"]),
        }
        for i in range(60)
    ]
    for number, name in enumerate(("web0", "web1", "books")):
        lines = [json.dumps(row) for row in rows[number * 20 : number * 20 + 20]]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def ran(pool, folder, options, **engine):
    columns = {"year": "int64", "day": "string"}
    inputs = [
        {"path": str(pool / f"{source}*.jsonl"), "source": source, "columns": columns} for source in ("web", "books")
    ]
    plain = {"inputs": inputs, "steps": [{"exact_dedup": options}]}
    manifest = carried_out(plain, folder, **engine)
    return manifest, every_row(manifest, folder)


def words(text):
    plain = "".join(c for c in unicodedata.normalize("NFD", text.lower()) if unicodedata.category(c) != "Mn")
    return "".join(c if c.isalnum() else " " for c in plain).split()


def folded(row):
    return " ".join(words(row["text"])) or None


def with_zeros(row):
    return "".join("0" if c.isdigit() else c for c in folded(row) or "") or None


def descending(value):
    return (1, 0) if value is None else (0, -int(str(value).replace("-", "")))


CASES = {
    "texts": ({}, lambda row: " ".join(row["text"].split()), lambda row: 0),
    "as they are": ({"normalize": "none", "name": "raw"}, lambda row: row["text"], lambda row: 0),
    "addresses, the newest": (
        {"key": "url", "keep": "newest", "keep_column": "day"},
        lambda row: row["url"],
        lambda row: descending(row["day"]),
    ),
    "numbers": ({"key": "year"}, lambda row: row["year"], lambda row: 0),
    "words, the longest": (
        {"normalize": "words", "keep": "longest"},
        folded,
        lambda row: -len(row["text"].encode()),
    ),
    "digits alike, by source": (
        {"normalize": "words", "folding": "simplified", "keep": "priority", "priorities": ["web"]},
        with_zeros,
        lambda row: row["source"] != "web",
    ),
    "the lowest": (
        {"normalize": "words", "keep": "lowest", "keep_column": "year", "name": "year"},
        folded,
        lambda row: (row["year"] is None, row["year"] or 0),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_groups_are_those_of_a_dictionary(pool, tmp_path, case):
    options, key, rank = CASES[case]
    manifest, rows = ran(pool, tmp_path, options)
    groups = {}
    for row in rows:
        groups.setdefault(row["doc_id"] if key(row) is None else ("key", key(row)), []).append(row)
    prefix = options.get("name", "dup")
    for members in groups.values():
        kept = min(members, key=lambda row: (rank(row), row["doc_id"]))
        for row in members:
            assert (row[f"{prefix}_cluster"], row[f"{prefix}_cluster_size"]) == (kept["doc_id"], len(members))
            assert row["fate"] == ("selected" if row is kept else "rejected")
    assert manifest.selected == len(groups) < 60
    hashed = "url_hash" if case.startswith("addresses") else "year_hash" if case == "numbers" else "text_hash"
    column = f"{options['name']}_hash" if "name" in options else hashed
    assert all((row[column] is None) == (key(row) is None) for row in rows)
    assert not [name for name in rows[0] if name.endswith("_length")]


def test_two_workers_give_the_same(pool, tmp_path):
    options, _, _ = CASES["addresses, the newest"]
    one, two = (ran(pool, tmp_path / str(n), options, workers=n)[0].shards for n in (1, 2))
    assert one == two


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"folding": "simplified"}, "give `normalize: words` too"),
        ({"keep": "oldest"}, "needs `keep_column`"),
        ({"key": ""}, "at least 1 character"),
    ],
)
def test_contradictions_are_sentences(options, told):
    with pytest.raises(ConfigError, match=told):
        parse_step({"exact_dedup": options}, "steps[0]")


@pytest.mark.parametrize(
    ("options", "told"),
    [({"key": "ulr"}, "no column 'ulr'"), ({"keep": "newest", "keep_column": "when"}, "no column 'when'")],
)
def test_columns_are_checked(options, told):
    with pytest.raises(ConfigError, match=told):
        check_steps([parse_step({"exact_dedup": options}, "steps[0]")], {})
