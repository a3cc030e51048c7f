"""`word_lists`: documents that no word and no address gives to their language."""

import json

import pytest

from tamis.schemas.errors import ConfigError, InputError, ModelError
from tests.jobs.finished_runs import digests, every_row
from tests.jobs.run.step_columns import columns_of, models_of, parsed

DOCUMENTS = {
    "bavarian": ("Servus, i bin da Sepp aus Minga", "bar", "https://example.org/"),
    "something else": ("Buy cheap watches online", "bar_Latn", "https://example.org/"),
    "by its host": ("Buy cheap watches online", "bar", "https://shop.bayern/"),
    "by a word": ("Buy cheap watches online", "bar", "https://example.org/bavaria"),
    "other language": ("Buy cheap watches online", "en", "https://example.org/"),
    "no address": ("Buy cheap watches online", "bar", None),
    "no language": ("Buy cheap watches online", None, None),
}


@pytest.fixture
def lists(tmp_path):
    (tmp_path / "bar.txt").write_text("Servus\nMinga\n\nguad\n")
    return {"bar_Latn": str(tmp_path / "bar.txt")}


def rows_of(lists, **options):
    texts, languages, urls = zip(*DOCUMENTS.values(), strict=True)
    step = parsed("word_lists", lists=lists, **options)
    rows = columns_of(step, text=list(texts), url=list(urls), **{options.get("by", "language"): list(languages)})
    return dict(zip(DOCUMENTS, rows, strict=True))


def test_shares_and_addresses(lists):
    rows = rows_of(lists, urls={"bar_Latn": [".bayern", "bavaria"]})
    assert {name: row["words_share"] for name, row in rows.items()} == {
        "bavarian": pytest.approx(2 / 7), "something else": 0, "by its host": 0, "by a word": 0, "other language": None,
        "no address": 0, "no language": None,
    }  # fmt: skip
    assert [name for name, row in rows.items() if row["words_in_url"]] == ["by its host", "by a word"]
    assert [name for name, row in rows_of(lists).items() if row["words_in_url"]] == []
    assert rows_of(lists, by="label", name="w")["bavarian"]["w_share"] > 0


def config(folder, lists, **options):
    lines = [
        json.dumps({"id": name, "text": text, "url": url, "language": language}) + "\n"
        for name, (text, language, url) in DOCUMENTS.items()
    ]
    (folder / "texts.jsonl").write_text("".join(lines))
    source = {"path": str(folder / "texts.jsonl"), "source": "web", "columns": {"language": "string"}}
    return {"inputs": [source], "steps": [{"word_lists": {"lists": lists, **options}}]}


@pytest.mark.parametrize(
    ("options", "fell"),
    [
        ({"urls": {"bar_Latn": [".bayern", "bavaria"]}}, {"something else", "no address"}),
        ({}, {"something else", "no address", "by its host", "by a word"}),
        ({"min_share": 0.3}, {"something else", "no address", "by its host", "by a word", "bavarian"}),
    ],
)
def test_documents_of_other_languages_fall(lists, run, tmp_path, options, fell):
    manifest = run(config(tmp_path, lists, **options))
    rows = {json.loads(row["meta"])["id"]: row for row in every_row(manifest, tmp_path / "run")}
    assert {name for name, row in rows.items() if row["fate"] == "rejected"} == fell
    for name in fell:
        assert (rows[name]["step"], rows[name]["rule"]) == ("word_lists", "words_of_other_languages")
        assert (rows[name]["value"], rows[name]["threshold"]) == (
            rows[name]["words_share"],
            options.get("min_share", 0),
        )
    if not options:
        assert digests(run(config(tmp_path, lists), "two", workers=2)) == digests(manifest)


def test_mistakes(lists, tmp_path, run):
    for options, told in (
        ({"lists": {}}, "lists"),
        ({"lists": {"bavarian!": "x"}}, "is no language"),
        ({"urls": {"de": ["x"]}}, "urls: 'de' is none of `lists`; did you mean|urls: 'de' is none of `lists`"),
        ({"urls": {"bar_Latn": ["a b"]}}, "letters and digits, not 'a b'"),
    ):
        with pytest.raises(ConfigError, match=told):
            parsed("word_lists", **{"lists": lists, **options})
    with pytest.raises(ModelError, match="there is no file"):
        models_of(parsed("word_lists", lists={"bar": str(tmp_path / "none")}))
    for content, error, told in ((b"\n", ConfigError, "holds no word"), (b"\xff\xfe", InputError, "can't be read")):
        (tmp_path / "bar.txt").write_bytes(content)
        step = parsed("word_lists", lists=lists)
        with pytest.raises(error, match=told):
            step.annotator(models_of(step))
    (tmp_path / "bar.txt").write_text("Servus\n")
    plain = config(tmp_path, lists)
    plain["inputs"][0]["columns"]["language"] = "int64"
    with pytest.raises(ConfigError, match="'language' holds int64, and languages are text"):
        run(plain)
