"""Languages in runs: named steps beside each other, merged labels, a model for each, rules that take one whole."""

import json
import random

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tamis.jobs.cli.app import app
from tamis.jobs.run.lost_languages import lost_languages
from tamis.pipeline.steps.registry import parse_config, parse_step
from tamis.schemas.errors import ConfigError
from tamis.scorers.perplexity.training import train_lm

ENGLISH = [
    "the committee decided to move the meeting to the next week of the month",
    "it rained in the city and many of the streets were under water by the evening",
    "the library will be open on sundays and that is good for all of us with children",
]
GERMAN = [
    "der Ausschuss hat gestern beschlossen die Sitzung auf den nächsten Donnerstag zu verschieben",
    "gestern Abend regnete es in der Stadt und viele Straßen standen unter Wasser",
    "die Bibliothek wird am Sonntag geöffnet und das ist gut für alle Kinder der Stadt",
]


def documents(lines, count, seed):
    draw = random.Random(seed)
    return [f"{'. '.join(draw.choices(lines, k=6))} {seed * 1000 + n}." for n in range(count)]


@pytest.fixture
def plain(tmp_path):
    """A config over 30 English and 30 German documents."""
    texts = documents(ENGLISH, 30, 1) + documents(GERMAN, 30, 2)
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))

    def build(*steps):
        return {"name": "two", "inputs": [{"path": str(tmp_path / "texts.jsonl"), "source": "web"}], "steps": [*steps]}

    return build


def rows(folder, fate="selected"):
    return [
        row
        for path in sorted((folder / fate).rglob("*.parquet"))
        for row in pq.read_table(path, partitioning=None).to_pylist()
    ]


def test_two_steps_of_a_kind_stand_in_one_run(plain, run, tmp_path):
    manifest = run(
        plain(
            {"language": {}},
            {"language": {"name": "start", "prefix": 20, "merge": {"germanic": ["de", "en", "nl"]}}},
            {"heuristics": {"presets": ["gopher_quality"], "thresholds": {"min_stop_words": None}}},
            {"clean": {}},
            {
                "heuristics": {
                    "name": "cleaned",
                    "presets": ["gopher_repetition_later"],
                    "rules": [
                        {"column": "cleaned_words", "op": "min", "threshold": 3, "reason": "left_over"},
                        {"column": "text_words", "op": "max", "threshold": 500, "reason": "long"},
                    ],
                    "thresholds": {"max_repeat_5_gram_char_fraction": 0.99},
                }
            },
            {"exact_dedup": {}},
            {"exact_dedup": {"name": "loose", "normalize": "words"}},
        )
    )
    assert [step.label for step in manifest.steps] == [
        "extract", "language", "language.start", "heuristics", "clean", "heuristics.cleaned", "exact_dedup",
        "exact_dedup.loose",
    ]  # fmt: skip
    everything = rows(tmp_path / "run") + rows(tmp_path / "run", "rejected")
    assert {row["language"] for row in everything} == {"en", "de"}
    assert {row["start"] for row in everything} <= {"germanic", "lb", "und", "als"}
    assert "germanic" in {row["start"] for row in everything}
    for row in rows(tmp_path / "run"):
        assert row["cleaned_words"] <= row["text_words"]
        assert row["loose_hash"] is not None
    later = next(step for step in manifest.steps if step.label == "heuristics.cleaned")
    assert later.thresholds["gopher_repetition_later.max_repeat_5_gram_char_fraction"] == 0.99
    assert sum(sum(counts.rejected.values()) for counts in later.counts) > 0


def test_names_are_needed_where_two_steps_are_of_a_kind():
    steps = [{"heuristics": {}}, {"heuristics": {}}]
    with pytest.raises(ConfigError, match="give each a `name`"):
        parse_config({"inputs": [{"path": "a", "source": "a"}], "steps": steps})
    assert parse_step({"heuristics": {"name": "later"}}, "steps[0]").label == "heuristics.later"
    rule = {"column": "text_words", "op": "min", "threshold": 1, "reason": "mine"}
    twice = parse_step({"heuristics": {"rules": [rule, rule]}}, "steps[0]")
    with pytest.raises(ConfigError, match="two rules have the reason"):
        _ = twice.rules


def test_kept_languages_are_those_after_merging(plain, run, tmp_path):
    step = {"language": {"keep": ["german"], "merge": {"german": ["de", "als", "bar", "lb", "nds"]}}}
    run(plain(step))
    assert {row["language"] for row in rows(tmp_path / "run")} == {"german"}
    with pytest.raises(ConfigError, match="no language 'de'"):
        run(plain({"language": {"keep": ["de"], "merge": {"german": ["de"]}}}), "other")


@pytest.mark.parametrize("scripts", [True, False])
def test_scripts_option_decides_about_labels(tmp_path, run, scripts):
    (tmp_path / "lao.jsonl").write_text(json.dumps({"text": "ປະເທ"}) + "\n" + json.dumps({"text": "12345"}) + "\n")
    inputs = [{"path": str(tmp_path / "lao.jsonl"), "source": "lao"}]
    run({"name": "lao", "inputs": inputs, "steps": [{"language": {"scripts": scripts}}]})
    found = {row["text"]: row["language"] for row in rows(tmp_path / "run")}
    assert (found == {"ປະເທ": "lo", "12345": "und"}) == scripts


def test_eldc_identifies_in_a_run(plain, run, tmp_path):
    pytest.importorskip("eldc")
    run(plain({"language": {"engine": "eldc", "keep": ["de"]}}))
    assert len(rows(tmp_path / "run")) == 30
    with pytest.raises(ConfigError, match="model of its own"):
        parse_step({"language": {"engine": "eldc", "model": "x.bin"}}, "steps[0]")


def test_one_model_a_language(plain, run, tmp_path):
    for code, lines in (("en", ENGLISH), ("de", GERMAN)):
        train_lm(documents(lines, 40, 9), tmp_path / f"quality-{code}", order=2, use_lmplz=False)
    model = str(tmp_path / "quality-{language}")
    manifest = run(plain({"language": {}}, {"perplexity": {"model": model, "languages": ["en", "de"]}}))
    assert (manifest.selected, manifest.errors) == (60, 0)
    found = {row["doc_id"]: row for row in rows(tmp_path / "run")}
    for code in ("en", "de"):
        run(plain({"language": {}}, {"perplexity": {"model": str(tmp_path / f"quality-{code}")}}), code)
        alone = {row["doc_id"]: row for row in rows(tmp_path / code) if row["language"] == code}
        assert len(alone) == 30
        for doc_id, row in alone.items():
            assert found[doc_id]["quality_perplexity"] == row["quality_perplexity"]
    manifest = run(plain({"language": {}}, {"perplexity": {"model": model, "languages": ["en"]}}), "one")
    assert manifest.errors == 0
    assert {row["language"] for row in rows(tmp_path / "one") if row["quality_perplexity"] is None} == {"de"}


def test_a_run_says_which_rule_takes_a_language(plain, run):
    manifest = run(plain({"language": {}}, {"heuristics": {"presets": ["gopher_quality"]}}))
    assert manifest.selected == 30
    (warning,) = manifest.warnings
    assert "step heuristics: over 95% of these languages are rejected" in warning
    assert "gopher_quality.min_stop_words: de (30 of 30 rejected, 30 by it)" in warning
    manifest = run(plain({"language": {"keep": ["en"]}}, {"heuristics": {"presets": ["gopher_quality"]}}), "kept")
    assert not manifest.warnings


class Told:
    def __init__(self, label, *rules):
        self.label, self.verb, self.rules = label, label.partition(".")[0], rules


def test_lost_languages_are_told_by_rule():
    steps = [Told("extract"), Told("language", "language"), Told("heuristics", "words", "stop"), Told("dsir", "share")]
    counts = {
        ("en", -1, -1): 900, ("en", 2, 1): 100,
        ("de", -1, -1): 6, ("de", 2, 0): 20, ("de", 2, 1): 80,
        ("fr", -1, -1): 4, ("fr", 2, 0): 20, ("fr", 2, 1): 80,
        ("zh", 2, 0): 50, ("zh", 3, 0): 1, ("zh", 1, 0): 1000,
        ("ru", 2, 1): 9,
        ("it", 2, -2): 500, ("it", -1, -1): 1,
        ("fi", 3, 0): 40,
    }  # fmt: skip
    said = list(lost_languages(counts, steps))
    assert said == [
        "step heuristics: over 95% of these languages are rejected, most by the rule words: "
        "zh (51 of 51 rejected, 50 by it)",
        "step heuristics: over 95% of these languages are rejected, most by the rule stop: "
        "fr (100 of 104 rejected, 80 by it)",
        "step dsir: over 95% of these languages are rejected, most by the rule share: fi (40 of 40 rejected, 40 by it)",
    ]
    many = {(f"l{n:02d}", 2, 1): 30 for n in range(11)}
    assert next(iter(lost_languages(many, steps))).endswith("l07 (30 of 30 rejected, 30 by it) and 3 more")


def test_plan_says_which_presets_are_meant_for_english(plain, tmp_path):
    def planned(*steps):
        (tmp_path / "config.json").write_text(json.dumps(plain(*steps)))
        done = CliRunner().invoke(app, ["plan", str(tmp_path / "config.json")], catch_exceptions=False)
        assert done.exit_code == 0
        return " ".join(done.output.split())

    presets = {"presets": ["gopher_quality", "gopher_repetition", "c4"]}
    told = planned({"heuristics": presets})
    assert "the preset gopher_quality is meant for English: its stop words" in told
    assert "the preset c4 is meant for English" in told
    assert "gopher_repetition is meant" not in told
    assert "meant for English" in planned({"language": {"keep": ["en", "de"]}}, {"heuristics": presets})
    assert "meant for English" not in planned({"language": {"keep": ["en"]}}, {"heuristics": presets})


def test_documents_of_a_language_with_a_model_are_no_errors(examples, tmp_path, run):
    """Each language's documents have its model's perplexity, the others none, whatever is between them."""
    texts = {
        "en": "This is an English document about the weather and the sea, with many common words in it.",
        "fr": "Ceci est un document en français sur la météo et la mer, avec beaucoup de mots courants.",
        "und": "12345 67890 !!!",
    }
    lines = [{"id": f"{code}{n}", "text": f"{text} {n}{n}{n}"} for n in range(5) for code, text in texts.items()]
    (tmp_path / "langs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "en").symlink_to(examples / "models" / "quality")
    model = {"model": str(tmp_path / "{language}"), "languages": ["en"]}
    inputs = [{"path": str(tmp_path / "langs.jsonl"), "source": "a"}]
    manifest = run({"name": "t", "inputs": inputs, "steps": ["language", {"perplexity": model}]})
    assert (manifest.selected, manifest.errors) == (15, 0)
    found = rows(tmp_path / "run")
    assert {row["language"] for row in found} == set(texts)
    assert all((row["quality_perplexity"] is None) == (row["language"] != "en") for row in found)
