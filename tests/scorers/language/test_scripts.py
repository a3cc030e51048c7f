"""Labels and letters: what script a text is in, what languages are written in it, and what gives way to what."""

import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.schemas.errors import ConfigError
from tamis.scorers.language.identify import LanguageIdentifier
from tamis.scorers.language.scripts import SCRIPTS, ScriptCheck, scripts_of
from tamis.scorers.testing import check_scorer
from tamis.scorers.text.texts import as_buffer

PLAIN = LanguageIdentifier()
CHECKED = LanguageIdentifier(check_scripts=True)
LAO = "ປະເທດລາວ ຕັ້ງຢູ່ໃນ ອາຊີຕະເວັນອອກສ່ຽງໃຕ້"
WORDS = {
    "ARABIC": "سلام", "ARMENIAN": "բարեւ", "BENGALI": "বাংলা", "CJK": "漢字", "CYRILLIC": "привет", "ETHIOPIC": "ሰላም",
    "GEORGIAN": "გამარჯობა", "GREEK": "γειά", "HANGUL": "안녕", "HEBREW": "שלום", "HIRAGANA": "ひらがな",
    "KATAKANA": "カタカナ", "KHMER": "ខ្មែរ", "LAO": "ລາວ", "LATIN": "hello", "TAMIL": "தமிழ்", "THAI": "ไทย",
}  # fmt: skip


def letters_of(texts):
    check = ScriptCheck(["en"])
    buffer = as_buffer(texts)
    return check.letters(buffer, buffer.offsets[:-1], buffer.offsets[1:])


@pytest.mark.parametrize("script", WORDS)
def test_letters_are_counted_by_script(script):
    word = WORDS[script]
    counts = letters_of([f"12, {word}!"])[0]
    assert counts[3 + SCRIPTS.index(script)] == sum(c.isalpha() for c in word)
    assert counts[1:].sum() == sum(c.isalpha() for c in word)


@given(st.text())
def test_letters_are_those_of_python(text):
    counts = letters_of([text])[0]
    assert counts.sum() == len(text)
    letters = [c for c in text if c.isalpha() and ord(c) < 0x323B0]
    found = counts[1:].sum()
    # Han and Hangul are taken by their blocks, in which some places are not assigned in each version of Unicode.
    odd = [c for c in text if unicodedata.category(c) == "Cn"]
    assert len(letters) <= found <= len(letters) + len(odd)


def test_every_language_of_the_models_is_written_somehow():
    for code in PLAIN.languages:
        assert scripts_of(code), code
    assert scripts_of("sr") == {"CYRILLIC", "LATIN"}
    assert scripts_of("ja") == {"CJK", "HIRAGANA", "KATAKANA"}
    assert scripts_of("en") == {"LATIN"}
    assert scripts_of("srp_Cyrl") == {"CYRILLIC"}
    assert scripts_of("jpn_Jpan") == {"CJK", "HIRAGANA", "KATAKANA"}
    assert scripts_of("good") is None
    assert scripts_of("positive_review") is None


def test_lao_gets_no_latin_label():
    texts = [LAO[i : i + 3] for i in range(len(LAO) - 3)] + [LAO]
    before = PLAIN.score(texts).column("language").to_pylist()
    after = CHECKED.score(texts).column("language").to_pylist()
    assert set(before) - {"lo"}, "the model alone is wrong on short ones"
    assert set(after) == {"lo"}


def test_texts_without_letters_are_undetermined():
    texts = ["", "12345 67890", "!!! ... ???", "🙂🙂🙂", "3 + 4 = 7", "a"]
    got = CHECKED.score(texts).to_pylist()
    assert [row["language"] for row in got[:5]] == ["und"] * 5
    assert [row["language_score"] for row in got[:5]] == [0] * 5
    assert got[5]["language"] != "und"
    assert PLAIN.score(["3 + 4 = 7"]).column("language").to_pylist() != ["und"]


def test_letters_of_a_script_that_no_language_of_the_model_has_are_undetermined():
    assert CHECKED.score(["ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ"]).column("language").to_pylist() == ["und"]


def test_quoting_others_changes_nothing():
    texts = [
        "Справка: функция CHISQ.TEST(Data; Expected) возвращает вероятность",
        "LibreOffice 7.4 도움말 Module Contents Index Function",
        "中文 mixed with plenty of English words in the same line",
        "The word ລາວ is the name of the country in its own letters",
    ]
    assert CHECKED.score(texts).to_pylist() == PLAIN.score(texts).to_pylist()


def test_only_the_prefix_counts():
    text = LAO + " english words" * 500
    short = LanguageIdentifier(check_scripts=True, prefix=20)
    assert short.score([text]).column("language").to_pylist() == ["lo"]


def test_merged_labels_add_up():
    texts = ["Вчера вечером в городе прошёл сильный дождь.", "Jučer navečer u gradu je padala jaka kiša.", LAO[:5], "7"]
    merged = LanguageIdentifier(merge={"hbs": ["hr", "bs", "sr", "sh"], "east": ["ru", "uk", "be"]}, check_scripts=True)
    plain = CHECKED.score(texts).to_pylist()
    got = merged.score(texts).to_pylist()
    assert [row["language"] for row in got] == ["east", "hbs", "lo", "und"]
    assert plain[1]["language"] == "sl", "no label of the four is the best one, but together they are"
    assert got[1]["language_score"] > plain[1]["language_score"]
    assert got[2:] == plain[2:]
    assert {"hbs", "east"} <= set(merged.languages)
    assert not {"hr", "sr", "ru"} & set(merged.languages)
    alone = LanguageIdentifier(merge={"russian": ["ru"]}).score(texts[:1]).to_pylist()[0]
    assert alone["language"] == "russian"
    assert np.isclose(alone["language_score"], plain[0]["language_score"])


def test_a_sum_can_beat_the_best_label():
    rows = PLAIN._engine.rank(["Det er en dag i dag"], None, None)
    names = [PLAIN._engine.languages[i] for i in rows.ids[0] if i >= 0]
    merged = LanguageIdentifier(merge={"others": names[1:]}).score(["Det er en dag i dag"]).to_pylist()[0]
    wanted = "others" if rows.scores[0][1:].sum() > rows.scores[0][0] else names[0]
    assert merged["language"] == wanted
    assert np.isclose(merged["language_score"], max(rows.scores[0][1:].sum(), rows.scores[0][0]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"merge": {"x": ["germn"]}}, "no language 'germn'"),
        ({"merge": {"x": ["de"], "y": ["de"]}}, "'de' is in 'x' and in 'y'"),
        ({"engine": "eldc", "model": "lid.bin"}, "has a model of its own"),
        ({"engine": "cld3"}, "no language engine 'cld3'"),
    ],
)
def test_mistakes_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        LanguageIdentifier(**options)


def test_eldc_knows_short_texts_and_keeps_the_protocol():
    pytest.importorskip("eldc")
    engine = LanguageIdentifier(engine="eldc", check_scripts=True, name="lid")
    rows = check_scorer(
        engine, ["guten Tag", "bonjour à tous", LAO, "42", "", "ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ", "こんにちは"], picklable=False
    )
    assert rows.column("lid").to_pylist() == ["de", "fr", "lo", "und", "und", "und", "ja"]
    scores = rows.column("lid_score").to_pylist()
    assert all(0 < score <= 1 for score in [*scores[:3], scores[6]])
    assert scores[3:6] == [0, 0, 0]
    assert len(engine.languages) == 60
    merged = LanguageIdentifier(engine="eldc", merge={"latin": ["es", "it", "pt", "fr"]})
    text = ["La biblioteca municipal abrirá también los domingos por la mañana"]
    plain = LanguageIdentifier(engine="eldc").score(text).to_pylist()[0]
    got = merged.score(text).to_pylist()[0]
    assert (plain["language"], got["language"]) == ("es", "latin")
    assert got["language_score"] == plain["language_score"], "scores that aren't probabilities aren't added up"


def test_without_eldc_the_extra_is_named(monkeypatch):
    import sys

    from tamis.schemas.errors import ModelError

    monkeypatch.setitem(sys.modules, "eldc", None)
    with pytest.raises(ModelError, match=r"\[eldc\]"):
        LanguageIdentifier(engine="eldc")
