"""The steps `paragraph_dedup` and `substring_dedup` in real runs: against brute force over all documents at once."""

import json
import random

import pytest

from tamis.jobs.run.check import check_steps
from tamis.pipeline.corpus import remove_paragraphs, remove_substrings
from tamis.pipeline.steps.registry import parse_step
from tamis.schemas.errors import ConfigError
from tests.jobs.finished_runs import digests, every_row, ran
from tests.jobs.run.test_near_dedup import (
    RUNNERS,
    config_over,
    small_shards,  # noqa: F401  (a fixture)
    write,
)
from tests.scorers.dedup.test_paragraphs import twin as paragraph_twin
from tests.scorers.dedup.test_substrings import twin as substring_twin

LINES = ["Share this été", "SHARE this ete!", "cookie notice 12", "cookie notice 99", "漢字", "a b c", "", "x"]
PARAGRAPHS = {"unit": "lines", "spans": True}
SUBSTRINGS = {"min_bytes": 20, "spans": True, "fill_gaps": 3}


def documents(seed, size=60):
    draw = random.Random(seed)
    blocks = ["".join(draw.choices("abcdé漢 ", k=draw.randrange(15, 50))) for _ in range(6)]
    found = []
    for i in range(size):
        lines = [
            draw.choice([draw.choice(LINES), draw.choice(blocks), f"its own {i} {draw.randrange(9)}", "z" * 40])
            for _ in range(draw.randrange(7))
        ]
        if not any(line.strip() for line in lines):
            lines.append("something")
        ends = [draw.choice(["\n", "\n\n", "\n"]) for _ in lines]
        text = "".join(line + end for line, end in zip(lines, ends, strict=True))
        found.append({"id": f"d{i}", "text": text, "year": draw.choice([1, 2, 3]), "host": "h"})
    return found


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pool")
    write(folder, documents(7), [11, 12, 40, 40])
    return folder


@pytest.fixture(scope="module")
def original(pool, tmp_path_factory):
    """Text by document id."""
    folder = tmp_path_factory.mktemp("plain")
    return {row["doc_id"]: row["text"] for row in every_row(ran(config_over(pool), folder), folder)}


def left_by(step, texts):
    """What brute force leaves of texts by id, and the spans that go, in code points (None for paragraphs)."""
    ids = list(texts)
    options = step.options()
    if step.verb == "paragraph_dedup":
        return dict(zip(ids, paragraph_twin(list(texts.values()), ids, options), strict=True)), None
    spans = substring_twin(list(texts.values()), ids, options.length, options.gap)
    found, told = {}, {}
    for name, mine in zip(ids, spans, strict=True):
        raw, at, parts = texts[name].encode(), 0, []
        for start, end in mine:
            parts.append(raw[at:start])
            at = end
        found[name] = b"".join([*parts, raw[at:]]).decode()
        told[name] = [{"start": len(raw[:a].decode()), "end": len(raw[:b].decode())} for a, b in mine]
    return found, told


def check(rows, original, step, alive=None):
    """Hold the rows of a run with this step alone to brute force."""
    texts = {name: text for name, text in original.items() if alive is None or name in alive}
    left, spans = left_by(step, texts)
    prefix = "text" if step.name is None else step.name
    for row in rows:
        if row["doc_id"] not in texts:
            assert row[f"{prefix}_removed_chars"] is None
            continue
        before, after = original[row["doc_id"]], left[row["doc_id"]]
        assert row[f"{prefix}_removed_chars"] == len(before) - len(after)
        assert row[f"{prefix}_left_chars"] == len(after.strip())
        enough = len(after.strip()) >= step.min_characters
        assert row["fate"] == ("selected" if enough else "rejected")
        assert row["text"] == (after if enough else before)
        assert enough or (row["step"], row["rule"]) == (step.label, "nothing_left")
        if step.spans:
            mine = row[f"{prefix}_removed_spans"]
            kept, at = [], 0
            for span in mine:
                kept.append(before[at : span["start"]])
                at = span["end"]
            assert "".join([*kept, before[at:]]) == after
            assert spans is None or mine == spans[row["doc_id"]]
        else:
            assert f"{prefix}_removed_spans" not in row
        assert not [name for name in row if name.endswith(("_units", "_anchors"))]
    return len({name for name in texts if left[name] != texts[name]})


CASES = {
    "lines": {"paragraph_dedup": PARAGRAPHS},
    "paragraphs, none kept": {"paragraph_dedup": {"keep": "none", "name": "par", "min_documents": 2}},
    "lines of two words": {"paragraph_dedup": {"unit": "lines", "min_words": 2, "folding": "none", "min_documents": 3}},
    "digits as they are": {"paragraph_dedup": {"unit": "lines", "folding": "folded", "min_characters": 6}},
    "substrings": {"substring_dedup": SUBSTRINGS},
    "substrings, by short anchors": {"substring_dedup": {"min_bytes": 33, "anchor_bytes": 4, "name": "sub"}},
    "substrings, little left": {"substring_dedup": {"min_bytes": 24, "min_characters": 30}},
}


@pytest.mark.parametrize("case", CASES)
def test_texts_are_what_brute_force_leaves(pool, tmp_path, original, case):
    manifest = ran(config_over(pool, CASES[case]), tmp_path)
    step = parse_step(CASES[case], "steps[0]")
    rows = every_row(manifest, tmp_path)
    changed = check(rows, original, step)
    prefix = "text" if step.name is None else step.name
    gone = sum(row[f"{prefix}_removed_chars"] for row in rows)
    metrics = manifest.steps[1].metrics
    assert metrics["changed"] == changed > 0
    assert metrics["removed_chars"] == gone > 0
    assert metrics["removed"]["web"]["removed"] == metrics["removed_bytes"] >= gone
    assert metrics["removed"]["web"]["bytes"] == sum(len(text.encode()) for text in original.values())
    over = 2 * metrics["removed_bytes"] > metrics["removed"]["web"]["bytes"]
    assert any("look at the texts" in warning for warning in manifest.warnings) == over


@pytest.fixture(scope="module")
def expected(pool, tmp_path_factory):
    """A run of both steps, one after the other."""
    folder = tmp_path_factory.mktemp("expected")
    return folder, ran(both(pool), folder)


def both(pool):
    return config_over(pool, {"paragraph_dedup": {**PARAGRAPHS, "name": "lines"}}, {"substring_dedup": SUBSTRINGS})


def test_later_steps_read_the_new_text(expected, original):
    rows = every_row(expected[1], expected[0])
    first = parse_step({"paragraph_dedup": PARAGRAPHS | {"name": "lines"}}, "steps[0]")
    left, _ = left_by(first, original)
    alive = {name for name, text in left.items() if text.strip()}
    second = parse_step({"substring_dedup": SUBSTRINGS}, "steps[1]")
    after, _ = left_by(second, {name: text for name, text in left.items() if name in alive})
    for row in rows:
        if row["doc_id"] in alive:
            assert row["text_removed_chars"] == len(left[row["doc_id"]]) - len(after[row["doc_id"]])
        if row["fate"] == "selected":
            assert row["text"] == after[row["doc_id"]]
        else:
            assert row["text"] == original[row["doc_id"]]
    assert {row["step"] for row in rows if row["fate"] == "rejected"} >= {"paragraph_dedup.lines"}


@pytest.mark.parametrize("runner", ["two processes", "portable"])
def test_every_runner_gives_the_same_bytes(pool, tmp_path, expected, runner):
    assert digests(ran(both(pool), tmp_path, **RUNNERS[runner])) == digests(expected[1])


def test_order_and_sharding_change_nothing(tmp_path, expected):
    rows = documents(7)
    random.Random(1).shuffle(rows)
    write(tmp_path / "pool", rows, [9])
    manifest = ran(both(tmp_path / "pool"), tmp_path / "run")
    assert [step.metrics for step in manifest.steps] == [step.metrics for step in expected[1].steps]
    assert every_row(manifest, tmp_path / "run") == every_row(expected[1], expected[0])


def test_partitions_change_nothing(pool, tmp_path, expected, monkeypatch):
    monkeypatch.setattr(remove_paragraphs, "KEYS_PER_PARTITION", 10)
    monkeypatch.setattr(remove_substrings, "ANCHORS_PER_PARTITION", 60)
    monkeypatch.setattr(remove_substrings, "WINDOWS_PER_PARTITION", 90)
    assert digests(ran(both(pool), tmp_path)) == digests(expected[1])


def test_what_is_finished_is_not_found_again(pool, tmp_path, monkeypatch):
    first = ran(both(pool), tmp_path)
    work = tmp_path / "work"

    def broken(*_):
        raise AssertionError

    later = {"rules": {"rules": [{"column": "year", "op": "min", "threshold": 2, "reason": "old"}]}}
    plain = both(pool)
    plain["steps"].append(later)
    with monkeypatch.context() as patch:
        patch.setattr(remove_paragraphs._MatchKeys, "__call__", broken)
        patch.setattr(remove_substrings._MatchAnchors, "__call__", broken)
        patch.setattr(remove_substrings._MatchWindows, "__call__", broken)
        second = ran(plain, tmp_path)
    assert [step.metrics for step in second.steps[:3]] == [step.metrics for step in first.steps]
    # what decides hashes nothing again
    plain["steps"][0] = {"paragraph_dedup": {**PARAGRAPHS, "name": "lines", "keep": "none"}}
    ran(plain, tmp_path)
    assert len(list(work.glob("*paragraph_dedup.lines-columns-*"))) == 1
    texts = list(work.glob("*-decision-*/text/*.arrow"))
    texts[0].write_bytes(texts[0].read_bytes()[:-1])
    assert digests(ran(both(pool), tmp_path)) == digests(first)


def test_rows_that_fell_before_take_no_part(pool, tmp_path, original):
    cut = {"rules": {"rules": [{"column": "year", "op": "min", "threshold": 2, "reason": "old"}]}}
    for verb, options in (("paragraph_dedup", PARAGRAPHS), ("substring_dedup", SUBSTRINGS)):
        manifest = ran(config_over(pool, cut, {verb: options}), tmp_path / verb)
        rows = every_row(manifest, tmp_path / verb)
        alive = {row["doc_id"] for row in rows if row["year"] >= 2}
        assert 0 < len(alive) < len(rows)
        check(rows, original, parse_step({verb: options}, "steps[0]"), alive)


def test_all_rows_can_be_scored_after_it(pool, tmp_path):
    """With `score: all`, rejected rows are scored too: on their text as it is."""
    cut = {"rules": {"rules": [{"column": "year", "op": "min", "threshold": 2, "reason": "old"}]}}
    later = {"exact_dedup": {"normalize": "none"}}
    plain = config_over(pool, cut, {"substring_dedup": SUBSTRINGS}, later) | {"score": "all"}
    rows = every_row(ran(plain, tmp_path), tmp_path)
    assert all(row["text_hash"] is not None for row in rows)
    twins = {}
    for row in rows:
        if row["year"] < 2:
            twins.setdefault(row["text_hash"], set()).add(row["text"])
    assert all(len(texts) == 1 for texts in twins.values())
    assert len(twins) > 1


def test_nothing_to_remove(tmp_path):
    write(tmp_path / "pool", [{"id": "a", "text": "x"}, {"id": "b", "text": "one more\n"}], [1])
    manifest = ran(
        config_over(tmp_path / "pool", {"paragraph_dedup": {"name": "lines"}}, "substring_dedup", columns=()),
        tmp_path / "run",
    )
    rows = every_row(manifest, tmp_path / "run")
    assert [row["text"] for row in rows] == [row["text"] for row in rows if row["fate"] == "selected"]
    assert all(row["text_removed_chars"] == row["lines_removed_chars"] == 0 for row in rows)


def test_long_texts_of_one_period(tmp_path):
    texts = ["z" * 200_000, "ab" * 100_000, "漢" * 60_000, "q" * 499]
    write(tmp_path / "pool", [{"id": str(i), "text": text} for i, text in enumerate(texts)], [2])
    manifest = ran(config_over(tmp_path / "pool", "substring_dedup", columns=()), tmp_path / "run")
    rows = {json.loads(row["meta"])["id"]: row for row in every_row(manifest, tmp_path / "run")}
    assert [len(rows[str(i)]["text"].encode()) for i in range(4)] == [500, 501, 504, 499]  # a copy of each window


@pytest.mark.parametrize(
    ("step", "told"),
    [
        ({"substring_dedup": {"min_bytes": 20, "anchor_bytes": 21}}, "can't be above min_bytes"),
        ({"substring_dedup": {"min_bytes": 3}}, "min_bytes"),
        ({"paragraph_dedup": {"unit": "words"}}, "unit"),
        ({"paragraph_dedup": {"min_word": 3}}, "min_words"),
    ],
)
def test_mistakes_are_sentences(step, told):
    with pytest.raises(ConfigError, match=told) as error:
        parse_step(step, "steps[0]")
    assert "\n" not in str(error.value)


def test_two_steps_need_names():
    steps = [parse_step("paragraph_dedup", "steps[0]"), parse_step("substring_dedup", "steps[1]")]
    with pytest.raises(ConfigError, match="give the step another `name`"):
        check_steps(steps, {})


@pytest.mark.parametrize("verb", ["paragraph_dedup", "substring_dedup"])
def test_memory_grows_with_the_corpus_up_to_a_partition(verb):
    step = parse_step(verb, "steps[0]")
    need = [step.memory(documents, {}).worker for documents in (10**2, 10**3, 10**8, 10**10)]
    assert need[0] < need[1] < need[2] == need[3] < 2 << 30
