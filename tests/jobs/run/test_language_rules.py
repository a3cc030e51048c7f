"""Rules by language in whole runs: each document is held to its language's, and the manifest says to which."""

import json

import pytest
import yaml

from tamis.jobs.cli.run_and_plan import show_plan
from tamis.jobs.config_file import load_config
from tamis.jobs.run.check import check_steps
from tamis.jobs.run.plan import make_plan
from tamis.pipeline.steps.registry import parse_config
from tamis.schemas.errors import ConfigError, ModelError
from tamis.scorers.statistics.language_rules import packaged_table, read_language_table
from tests.jobs.finished_runs import digests, every_row
from tests.jobs.run.step_columns import parsed

GOOD = {
    "de": "Der Wind kommt von Westen, und die Wolken ziehen mit ihm über den See. Wer im Herbst hier wandert, sieht "
    "das Ufer kaum. Ein Boot liegt neben dem Steg; niemand fährt hinaus. Später wurde es still, nur Vögel riefen noch. "
    "Für Gäste gab es Tee, Brot, Käse sowie frische Äpfel aus einem alten Garten hinter dem Haus.",
    "fr": "Le vent vient de la mer et les nuages passent sur la côte. Dans le port, un bateau attend que la marée "
    "monte, puis il part vers les îles. Les enfants jouent sur le sable pendant que leurs parents lisent à l'ombre des "
    "pins. Plus tard, quand le soleil descend, tout le monde rentre par un chemin étroit qui longe les jardins.",
    "en": "Wind comes from the west and the clouds pass over a lake. A boat lies beside its landing; nobody goes out.",
}
"""Documents that keep all rules of their language, but the English one, which is too short for any."""


@pytest.fixture
def texts(tmp_path):
    """Nine documents: label, text, and what FineWeb-2's rules say."""
    rows = [
        ("de", GOOD["de"], None),
        ("deu_Latn", GOOD["de"][:215], "gopher_short_doc"),
        ("deu_Latn", GOOD["fr"], "gopher_enough_stop_words"),
        ("fra_Latn", GOOD["fr"], None),
        ("fr", GOOD["de"], "gopher_enough_stop_words"),
        ("fr", GOOD["fr"].replace(". ", ".\n").replace(" ", "\n", 12), "list_ratio"),
        ("en", GOOD["en"], "other"),
        (None, GOOD["de"], "other"),
        ("xx", "short", "other"),
    ]
    lines = [json.dumps({"id": str(i), "text": text, "lang": label}) for i, (label, text, _) in enumerate(rows)]
    (tmp_path / "texts.jsonl").write_text("\n".join(lines))
    return tmp_path / "texts.jsonl", [reason for _, _, reason in rows]


def config(path, **options):
    inputs = {"path": str(path), "source": "web", "columns": {"language": {"type": "string", "field": "lang"}}}
    return {"inputs": [inputs], "steps": [{"heuristics": options}]}


def fates(manifest, folder, rows):
    """Return the rule that each document fell to, in the order of the file."""
    told = {(row["text"], row["language"]): row for row in every_row(manifest, folder)}
    return [told[key].get("rule") if told[key]["fate"] == "rejected" else None for key in rows]


@pytest.fixture
def keys(texts):
    lines = [json.loads(line) for line in texts[0].read_text().splitlines()]
    return [(line["text"], line["lang"]) for line in lines]


@pytest.mark.parametrize("other", ["keep", "reject"])
def test_each_document_is_held_to_the_rules_of_its_language(run, tmp_path, texts, keys, other):
    path, wanted = texts
    plain = config(path, presets=["fineweb2"], other=other, languages=["de", "fr"])
    manifest = run(plain)
    expected = [None if why is None or (why == "other" and other == "keep") else f"fineweb2.{why}" for why in wanted]
    assert fates(manifest, tmp_path / "run", keys) == expected
    assert manifest.read == manifest.selected + manifest.rejected == 9
    record = manifest.steps[1]
    assert record.thresholds["fineweb2.list_ratio"] == {"deu_Latn": 0.152, "fra_Latn": 0.185}
    assert manifest.models[0].option == "fineweb2"
    assert digests(run(plain, "two", workers=2)) == digests(manifest)


def test_rejected_rows_have_the_value_and_the_threshold_of_their_language(run, tmp_path, texts):
    path, _ = texts
    manifest = run(config(path, presets=["fineweb2"], languages=["de", "fr"]))
    (row,) = [row for row in every_row(manifest, tmp_path / "run") if row.get("rule") == "fineweb2.list_ratio"]
    assert row["threshold"] == 0.185
    assert row["value"] == row["text_datatrove_fineweb_newline_token_ratio"] > 0.185


def test_a_table_of_ones_own_and_its_mistakes(run, tmp_path, texts, keys):
    path, wanted = texts
    (tmp_path / "rules").mkdir()
    published = read_language_table(packaged_table()).figures
    for key in ("deu_Latn", "fra_Latn"):
        plain = published[key].model_dump(mode="json", exclude_defaults=True)
        (tmp_path / "rules" / f"{key}.yml").write_text(yaml.safe_dump(plain, allow_unicode=True))
    manifest = run(config(path, rules=str(tmp_path / "rules"), other="reject"))
    found = fates(manifest, tmp_path / "run", keys)
    assert found == [None if why is None else f"by_language.{why}" for why in wanted]
    assert manifest.models[0].option == "rules"
    (tmp_path / "rules" / "deu_Latn.yml").write_text("dup_line: 0.3")
    with pytest.raises(ConfigError, match=r"step heuristics: .*deu_Latn.yml.dup_line: unknown key"):
        run(config(path, rules=str(tmp_path / "rules")), "again")
    with pytest.raises(ModelError, match="step heuristics: rules: "):
        run(config(path, rules=str(tmp_path / "nothing.yml")), "again")


def test_changed_table_decides_anew(run, tmp_path, texts, keys):
    """A table counts by its content, so that a run sees that it changed, and its digest with it."""
    path, _ = texts
    table = tmp_path / "mine.yml"
    table.write_text("{de: {stopwords: [der, die], min_stop_words: 1}}")
    first = run(config(path, rules=str(table)))
    before = fates(first, tmp_path / "run", keys)
    table.write_text("{de: {stopwords: [der, die], min_stop_words: 1, min_doc_words: 10}}")
    second = run(config(path, rules=str(table)))
    assert first.config_sha256 != second.config_sha256
    assert (before[1], fates(second, tmp_path / "run", keys)[1]) == ("by_language.gopher_short_doc", None)


def test_thresholds_override_those_of_all_languages(run, tmp_path, texts, keys):
    path, _ = texts
    thresholds = {"fineweb2.list_ratio": None, "gopher_short_doc": 5, "short_line_ratio": 0.1}
    manifest = run(config(path, presets=["fineweb2"], languages=["de", "fr"], thresholds=thresholds))
    found = fates(manifest, tmp_path / "run", keys)
    assert found[1] is None
    assert found[5] == "fineweb2.short_line_ratio"
    assert "fineweb2.list_ratio" not in manifest.steps[1].thresholds
    assert manifest.steps[1].thresholds["fineweb2.gopher_short_doc"] == {"deu_Latn": 5, "fra_Latn": 5}
    with pytest.raises(ConfigError, match=r"unknown reason 'fineweb2.list'"):
        run(config(path, presets=["fineweb2"], languages=["de"], thresholds={"fineweb2.list": 1}), "again")


def test_other_presets_and_own_rules_hold_for_all_languages_in_their_order(run, tmp_path, texts, keys):
    path, _ = texts
    own = {"column": "text_digit_fraction", "op": "max", "threshold": 0.5, "reason": "digits"}
    short = {"column": "text_characters", "op": "min", "threshold": 10, "reason": "tiny"}
    step = {"presets": ["c4", "fineweb2"], "rules": [own, short], "languages": ["de", "fr"]}
    step["thresholds"] = {"min_sentences": 2}
    manifest = run(config(path, **step))
    found = fates(manifest, tmp_path / "run", keys)
    assert found[8] == "c4.min_sentences"  # before the rules by language
    assert found[2] == "fineweb2.gopher_enough_stop_words"
    late = run(config(path, presets=["fineweb2", "c4"], rules=[own, short], languages=["de", "fr"]), "late")
    found = fates(late, tmp_path / "late", keys)
    assert found[1] == "fineweb2.gopher_short_doc"
    assert found[8] == "c4.min_sentences"
    only = run(config(path, presets=["fineweb2"], rules=[own, short], languages=["de", "fr"]), "only")
    assert fates(only, tmp_path / "only", keys)[8] == "tiny"


def test_statistics_of_rules_alone_and_a_column_of_another_name(run, tmp_path, texts):
    path, _ = texts
    plain = config(path, rules=str(tmp_path / "t.yml"), by="topic", statistics="rules")
    (tmp_path / "t.yml").write_text("{en: {min_doc_words: 60}, recipes: {min_doc_words: 100000}}")
    plain["inputs"][0]["columns"] = {"topic": {"type": "string", "field": "lang"}}
    manifest = run(plain)
    rows = every_row(manifest, tmp_path / "run")
    assert sum(row["fate"] == "rejected" for row in rows) == 1
    assert "text_words" not in rows[0]
    assert "text_datatrove_words" in rows[0]
    plain["inputs"][0]["columns"] = {"topic": {"type": "int64", "field": "lang"}}
    with pytest.raises(ConfigError, match="by: 'topic' holds int64, and languages are text"):
        run(plain, "again")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"presets": ["fineweb2"], "rules": "t.yml"}, "either the preset fineweb2 or a path"),
        ({"other": "reject"}, "other is of rules by language"),
        ({"presets": ["c4"], "by": "topic"}, "by is of rules by language"),
        ({"presets": ["fineweb2"], "languages": ["de", False]}, "quote language codes"),
        ({"presets": ["fineweb2"], "languages": []}, "languages"),
        ({"presets": ["finewebb"]}, "unknown preset 'finewebb'; did you mean 'fineweb"),
    ],
)
def test_mistakes_are_named(run, texts, options, message):
    with pytest.raises(ConfigError, match=message):
        run(config(texts[0], **options))


def test_a_language_that_the_table_lacks_is_named(run, texts):
    with pytest.raises(ConfigError, match="languages: fineweb2 has no rules for 'qq'"):
        run(config(texts[0], presets=["fineweb2"], languages=["qq"]))


def test_libraries_are_asked_for_only_where_their_languages_can_come(texts, monkeypatch):
    from tamis.scorers.statistics import language_words

    monkeypatch.setitem(__import__("sys").modules, "icu4py.breakers", None)
    monkeypatch.setitem(__import__("sys").modules, "kiwipiepy", None)
    language_words.language_words.cache_clear()

    def check(*steps):
        plain = config(texts[0]) | {"steps": list(steps)}
        del plain["inputs"][0]["columns"]
        made = make_plan(parse_config(plain), plain)
        check_steps(made.steps, {step.label: made.model_paths(step.label) for step in made.steps})

    check({"language": {"keep": ["de", "fr"]}}, {"heuristics": {"presets": ["fineweb2"]}})
    check("language", {"heuristics": {"presets": ["fineweb2"], "languages": ["de"]}})
    with pytest.raises(ConfigError, match=r"step heuristics: the rules of tha_Thai: icu4py.*\[words\]"):
        check({"language": {"keep": ["de", "th"]}}, {"heuristics": {"presets": ["fineweb2"]}})
    with pytest.raises(ConfigError, match="cmn_Hani, jpn_Jpan"):
        check("language", {"heuristics": {"presets": ["fineweb2"]}})
    language_words.language_words.cache_clear()


# --------------------------------------------------------------------------------------- the language step and the plan


def test_least_scores_by_language(run, tmp_path, config_of):
    """A table's `language_score` is what a document's own score must reach."""
    lines = [json.dumps({"id": str(i), "text": text}) for i, text in enumerate([*GOOD.values(), "la la la", "der der"])]
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    (tmp_path / "least.yml").write_text("{de: {language_score: 1.0}, fr: {language_score: 0.2}}")
    plain = {"inputs": [{"path": str(tmp_path / "t.jsonl"), "source": "web"}], "steps": []}
    plain["steps"] = [{"language": {"min_score": str(tmp_path / "least.yml")}}]
    manifest = run(plain)
    rows = every_row(manifest, tmp_path / "run")
    for row in rows:
        least = {"de": 1.0, "fr": 0.2}.get(row["language"], 0.0)
        fell = row["language_score"] < least
        assert (row["fate"] == "rejected") == fell
        assert not fell or (row["rule"], row["threshold"]) == ("language_score_min", least)
    assert {row["fate"] for row in rows} == {"selected", "rejected"}
    assert manifest.steps[1].thresholds == {"language_score_min": {"de": 1.0, "fr": 0.2}}
    plain["steps"] = [{"language": {"min_score": "fineweb2"}}]
    assert run(plain, "packaged").steps[1].thresholds["language_score_min"]["deu_Latn"] == 0.821


@pytest.mark.parametrize(("given", "wanted"), [("0.5", 0.5), (0.25, 0.25), ("fineweb2", "fineweb2")])
def test_least_score_is_a_number_or_a_table(given, wanted):
    assert parsed("language", min_score=given).min_score == wanted
    with pytest.raises(ConfigError, match="a share from 0 to 1"):
        parsed("language", min_score=1.5)


@pytest.mark.parametrize(
    ("language", "presets", "warned"),
    [
        ({"keep": ["de", "fr"]}, ["gopher_quality", "c4"], ["gopher_quality", "c4"]),
        ({"keep": ["en", "de"]}, ["fineweb2", "fineweb"], ["fineweb"]),
        ({"keep": ["en"]}, ["gopher_quality"], []),
        ({"keep": ["de"]}, ["fineweb2"], []),
    ],
)
def test_plan_warns_of_presets_for_english(texts, tmp_path, capsys, language, presets, warned):
    path, _ = texts
    steps = [{"language": language}, {"heuristics": {"presets": presets}}]
    plain = {"inputs": [{"path": str(path), "source": "web"}], "steps": steps}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(plain))
    show_plan(*load_config(str(tmp_path / "c.yaml")), as_json=True)
    told = json.loads(capsys.readouterr().out)
    notes = [note for note in told["notes"] if "is meant for English" in note]
    assert [note.split("preset ")[1].split(" is")[0] for note in notes] == warned
    show_plan(*load_config(str(tmp_path / "c.yaml")), as_json=False)
    shown = capsys.readouterr().out
    assert ("note: step heuristics: the preset" in " ".join(shown.split())) == bool(warned)
