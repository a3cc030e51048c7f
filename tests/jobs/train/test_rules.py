"""`tamis train rules`: a file that a run takes, and a report that counts what the run then rejects."""

import json
import random

import pytest
import yaml

from tamis.jobs.cli.train_output import rules
from tamis.jobs.train.rules import methods_from
from tamis.schemas.errors import ConfigError, DataError
from tests.jobs.finished_runs import every_row

GERMAN = "der die und in den von zu das mit sich auf für Haus Wald Berg Stadt Wagen Brücke Lampe Garten Winter".split()  # noqa: SIM905
ENGLISH = "the of and to in that river stone bright window letter garden winter music paper silver cloud table".split()  # noqa: SIM905


def write(path, words, seed, documents=80):
    draw = random.Random(seed)
    lines = []
    for number in range(documents):
        text = "\n".join(
            " ".join(draw.choices(words, k=draw.randint(5, 30))) + draw.choice([".", ".", "", "!"])
            for _ in range(draw.randint(4, 9))
        )
        lines.append(json.dumps({"id": str(number), "text": text, "language": "deu_Latn"}))
    path.write_text("\n".join(lines))
    return str(path)


@pytest.fixture
def files(tmp_path):
    return {
        "reference": write(tmp_path / "clean.jsonl", GERMAN, 1),
        "english": write(tmp_path / "english.jsonl", ENGLISH, 2),
        "pool": write(tmp_path / "pool.jsonl", GERMAN[:12] + ENGLISH, 3),
    }


def train(capsys, files, path, **options):
    given = {"language": "de", "method": (), "english": (), "splitter": "fast", "as_json": True, "quiet": True}
    rules([files["reference"]], path, **given | options)
    return json.loads(capsys.readouterr().out)


def test_rules_are_a_file_that_a_run_takes_and_the_report_is_what_it_rejects(tmp_path, capsys, files, run):
    path = tmp_path / "rules" / "deu_Latn.yml"
    told = train(capsys, files, path, english=[files["english"]], pool=[files["pool"]])
    plain = yaml.safe_load(path.read_text("utf-8"))
    assert set(plain) == {
        "dup_line_frac", "dup_n_grams", "language_score", "line_punct_thr", "max_avg_word_length",
        "max_non_alpha_words_ratio", "min_avg_word_length", "new_line_ratio", "stopwords", "top_n_grams",
    } - ({"language_score"} if told["language_score"] is None else set())  # fmt: skip
    assert (told["documents"], told["pool_documents"]) == (80, 80)
    assert set(told["stop_words"]) <= set(GERMAN)
    assert len(told["stop_words"]) >= 8
    for what, share in (("reference", told["rejects"]["reference"]), ("pool", told["rejects"]["pool"])):
        inputs = {"path": files[what], "source": "web", "columns": {"language": "string"}}
        manifest = run({"inputs": [inputs], "steps": [{"heuristics": {"rules": str(path)}}]}, what)
        assert manifest.rejected / manifest.read == share
        first = {row["rule"] for row in every_row(manifest, tmp_path / what) if row["fate"] == "rejected"}
        assert first <= {f"by_language.{rule['reason']}" for rule in told["rules"] if rule[what] > 0}
    again = train(capsys, files, tmp_path / "again.yml", english=[files["english"]])
    assert again["sha256"] == told["sha256"]


def test_every_option_changes_the_rules(tmp_path, capsys, files):
    def rejects(**options):
        train(capsys, files, tmp_path / "x.yml", **options)
        return yaml.safe_load((tmp_path / "x.yml").read_text("utf-8"))

    plain = rejects()
    assert rejects(tail=0.3)["max_avg_word_length"] < plain["max_avg_word_length"]
    assert rejects(method=["english"])["dup_line_frac"] == 0.3
    mixed = rejects(method=["dup_n_grams=english", "tail"])
    assert mixed["dup_n_grams"] == [[5, 0.15], [6, 0.14], [7, 0.13], [8, 0.12], [9, 0.11], [10, 0.1]]
    assert mixed["top_n_grams"] == plain["top_n_grams"]
    assert len(rejects(stop_word_share=0.9, least_stop_words=3)["stopwords"]) == 3
    assert rejects(english=[files["english"]])["dup_n_grams"] != plain["dup_n_grams"]
    train(capsys, files, tmp_path / "x.json")
    assert json.loads((tmp_path / "x.json").read_text("utf-8")) == plain


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"language": "german"}, "--language german: no label"),
        ({"method": ["mean"]}, "unknown method 'mean'; did you mean 'meanstd'"),
        ({"method": ["dup_n_gram=tail"]}, "unknown key 'dup_n_gram'; did you mean 'dup_n_grams'"),
        ({"splitter": "nltk"}, "--splitter nltk: fast or spacy"),
    ],
)
def test_mistakes_are_named(tmp_path, capsys, files, options, message):
    with pytest.raises(ConfigError, match=message):
        train(capsys, files, tmp_path / "x.yml", **options)


def test_what_can_not_be_fitted(tmp_path, capsys, files):
    with pytest.raises(DataError, match="dup_line_frac: the method meanstd compares with English text"):
        train(capsys, files, tmp_path / "x.yml", method=["meanstd"])
    with pytest.raises(ConfigError, match=r"rules are a .yml, .yaml or .json file"):
        train(capsys, files, tmp_path / "rules")
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(DataError, match="no document"):
        train(capsys, {"reference": str(tmp_path / "empty.jsonl")}, tmp_path / "x.yml")


def test_report_fits_80_columns(tmp_path, capsys, files):
    rules([files["reference"]], tmp_path / "x.yml", language="de", method=(), english=(), splitter="fast",
          pool=[files["pool"]], quiet=False)  # fmt: skip
    shown = capsys.readouterr().out
    assert "gopher_below_alpha_threshold" in shown
    assert "any of them" in shown
    assert max(map(len, shown.splitlines()[:28])) <= 80


def test_methods_of_all_come_before_those_of_one():
    found = methods_from(["dup_line_frac=ratio", "english"])
    assert found["dup_line_frac"] == "ratio"
    assert set(found.values()) == {"ratio", "english"}
