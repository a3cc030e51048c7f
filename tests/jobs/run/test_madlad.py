"""`madlad`: sentences counted by rule, documents that fall, options, mistakes."""

import json

import pytest

from tamis.schemas.errors import ConfigError, ModelError
from tests.jobs.finished_runs import digests, every_row
from tests.jobs.run.step_columns import columns_of, models_of, parsed

GOOD = "The committee met in May and agreed that nothing would be told. "
MENU = "Home About Us Contact Us Products Services News Blog Careers Support Login. "
GERMAN = "Die Versammlung hat im Mai beschlossen, dass darüber nichts gesagt werden soll. "
TEXTS = {
    "good": GOOD * 10,
    "menus": GOOD * 8 + MENU * 2,
    "one menu": GOOD * 9 + MENU,
    "cursed": GOOD * 8 + "Find us on Facebook at any time of day. " * 2,
    "numbers": GOOD * 8 + "0171 23 45 67 89 or 0172 98 76 54 32. " * 2,
    "short ones": GOOD * 8 + "Click. Here. ",
    "german": GOOD * 8 + GERMAN * 2,
    "own": GOOD * 8 + "This is a sentence with zebras in it. " * 2,
    "brief": GOOD * 3,
    "empty": "",
}


def rows_of(**options):
    languages = {"by": ["en"] * len(TEXTS)} if "by" in options else {"language": ["en"] * len(TEXTS)}
    given = languages if "language" in options.get("rules", ()) else {}
    step = parsed("madlad", **options)
    return dict(zip(TEXTS, columns_of(step, text=list(TEXTS.values()), **given), strict=True))


def test_each_rule_counts_its_sentences():
    rows = rows_of()
    assert rows["good"] == {
        "madlad_sentences": 10, "madlad_case": 0, "madlad_lengths": 0, "madlad_technical": 0, "madlad_cursed": 0,
        "madlad_questionable": 0,
    }  # fmt: skip
    for text, column in (("menus", "case"), ("cursed", "cursed"), ("numbers", "technical"), ("short ones", "lengths")):
        assert rows[text][f"madlad_{column}"] == 2
        assert rows[text]["madlad_questionable"] == 0.2
    assert rows["one menu"]["madlad_questionable"] == 0.1
    assert rows["empty"]["madlad_questionable"] is None
    assert rows["german"]["madlad_questionable"] == 0


def test_sentences_of_another_language():
    rows = rows_of(rules=["language"])
    assert rows["german"]["madlad_language"] == 2
    assert rows["good"]["madlad_language"] == 0
    assert "madlad_case" not in rows["good"]
    assert rows_of(rules=["language"], by="by")["german"]["madlad_language"] == 2


def test_name_patterns_and_model(tmp_path):
    (tmp_path / "patterns.txt").write_text("zebras\n[0-9]{4} \n")
    rows = rows_of(rules=["cursed"], patterns=str(tmp_path / "patterns.txt"), name="m")
    assert rows["own"]["m_cursed"] == rows["numbers"]["m_cursed"] == 2
    assert rows["cursed"]["m_cursed"] == 0
    from tests.jobs.run.test_label import FastTextOptions, train_classifier

    train_classifier(
        ["committee may told"] * 30 + ["versammlung mai gesagt"] * 30, ["en"] * 30 + ["de"] * 30, tmp_path / "model",
        options=FastTextOptions(dim=4, bucket=2000, epoch=5), held_out=0,
    )  # fmt: skip
    assert "own" in rows_of(rules=["language"], model=str(tmp_path / "model"))


def config(folder, **options):
    lines = [json.dumps({"id": name, "text": text}) + "\n" for name, text in TEXTS.items() if text]
    (folder / "texts.jsonl").write_text("".join(lines))
    return {"inputs": [{"path": str(folder / "texts.jsonl"), "source": "web"}], "steps": [{"madlad": options}]}


@pytest.mark.parametrize(
    ("options", "fell"),
    [
        ({}, {"menus", "cursed", "numbers", "short ones"}),
        ({"rules": ["case", "cursed"]}, {"menus", "cursed"}),
        ({"max_share": 0.1}, {"menus", "one menu", "cursed", "numbers", "short ones"}),
        ({"max_share": 0.21}, set()),
        ({"min_sentences": 0}, {"menus", "cursed", "numbers", "short ones"}),
    ],
)
def test_a_fifth_of_questionable_sentences_is_too_much(run, tmp_path, options, fell):
    manifest = run(config(tmp_path, **options))
    rows = {json.loads(row["meta"])["id"]: row for row in every_row(manifest, tmp_path / "run")}
    rejected = {name: row["rule"] for name, row in rows.items() if row["fate"] == "rejected"}
    short = {} if options.get("min_sentences") == 0 else {"brief": "too_few_sentences"}
    assert rejected == dict.fromkeys(fell, "questionable_sentences") | short
    if not options:
        assert digests(run(config(tmp_path), "two", workers=2)) == digests(manifest)


def test_mistakes(tmp_path):
    for options, told in (
        ({"rules": []}, "rules"),
        ({"rules": ["caps"]}, "rules"),
        ({"rules": ["case"], "patterns": "x"}, "patterns is of the rule cursed"),
        ({"by": "lang"}, "by is of the rule language"),
        ({"model": "m"}, "model is of the rule language"),
    ):
        with pytest.raises(ConfigError, match=told):
            parsed("madlad", **options)
    with pytest.raises(ModelError, match="there is no file"):
        models_of(parsed("madlad", patterns=str(tmp_path / "none")))
    for content, told in (("", "holds no pattern"), ("a(b\n", r"'a\(b' is no regular expression")):
        (tmp_path / "patterns.txt").write_text(content)
        step = parsed("madlad", patterns=str(tmp_path / "patterns.txt"))
        with pytest.raises(ConfigError, match=told):
            step.annotator(models_of(step))
