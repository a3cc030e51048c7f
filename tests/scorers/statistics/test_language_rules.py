"""Tables by language are read as published, and their rules are FineWeb-2's pipeline over the words of the language."""

import itertools
import json

import numpy as np
import pyarrow as pa
import pytest
import yaml

from tamis.schemas.errors import ConfigError, InputError
from tamis.schemas.rule import Rule
from tamis.scorers.selection.rules import decide
from tamis.scorers.statistics.columns import TEXT_COLUMNS
from tamis.scorers.statistics.language_rules import (
    ENGLISH_FIGURES,
    FIGURE_COLUMNS,
    Figures,
    LanguageTable,
    packaged_table,
    read_language_table,
)
from tamis.scorers.statistics.language_statistics import StatisticsByLanguage, check_words
from tamis.scorers.statistics.language_words import language_words, segmenter
from tamis.scorers.statistics.presets import PRESETS
from tamis.scorers.statistics.spacy_words import given_words
from tamis.scorers.statistics.text_statistics import TextStatistics, fnv1a
from tests.scorers.statistics.heuristic_twins import datatrove_statistics

GERMAN = """\
dup_line_frac: 0.263
dup_n_grams:
- - 5
  - 0.141
- - 6
  - 0.134
- - 7
  - 0.126
- - 8
  - 0.117
- - 9
  - 0.108
- - 10
  - 0.098
language_score: 0.821
line_punct_thr: 0.0
max_avg_word_length: 15
max_non_alpha_words_ratio: 0.774
min_avg_word_length: 0
new_line_ratio: 0.152
stopwords:
- der
- und
- die
- in
- von
- im
- den
- des
- mit
- das
- er
- dem
- als
- wurde
- "f\\xFCr"
top_n_grams:
- - 2
  - 0.169
- - 3
  - 0.153
- - 4
  - 0.137
"""
"""configs/deu_Latn.yml of huggingface/fineweb-2 (Apache License 2.0)."""


@pytest.fixture(scope="module")
def packaged():
    return read_language_table(packaged_table(), "fineweb2")


def test_packaged_table_has_120_languages_those_with_most_text_first(packaged):
    assert len(packaged.figures) == 120
    assert list(packaged.figures)[:5] == ["rus_Cyrl", "cmn_Hani", "deu_Latn", "jpn_Jpan", "spa_Latn"]
    head = packaged_table().read_text("utf-8").split("language_script")[0]
    assert "https://github.com/huggingface/fineweb-2" in head
    assert "Apache License 2.0" in head


def test_packaged_figures_are_the_published_ones(packaged, tmp_path):
    (tmp_path / "deu_Latn.yml").write_text(GERMAN)
    assert read_language_table(tmp_path / "deu_Latn.yml").figures == {"deu_Latn": packaged.figures["deu_Latn"]}
    thai = packaged.figures["tha_Thai"]
    assert (thai.language_score, thai.dup_line_frac, thai.min_avg_word_length) == (0.9, 0.349, 2)
    assert thai.stopwords == ("ใน", "ที่", "และ", "ของ", "เป็น", "มี", "การ", "ได้")
    assert thai.dup_n_grams == ((5, 0.185), (6, 0.168), (7, 0.152), (8, 0.137), (9, 0.124), (10, 0.111))


def test_every_language_has_all_rules_and_bounds_within_reason(packaged):
    for key, figures in packaged.figures.items():
        found = figures.thresholds()
        missing = set(FIGURE_COLUMNS) - set(found)
        off = {"dup_para_frac", "dup_para_char_frac", "dup_line_char_frac", "short_line_ratio"}
        assert off <= missing <= off | {"gopher_below_avg_threshold"}, key
        assert len(figures.stopwords) >= 2
        assert 0.3 <= figures.language_score <= 0.9
        assert found["char_dup_ratio"] == 0.1


def test_thresholds_by_hand():
    figures = Figures(dup_line_frac=0.25, min_avg_word_length=0, top_n_grams=((3, 0.2),), stopwords=("a", "b"))
    assert figures.thresholds() == {
        "empty": 1,
        "dup_line_frac": 0.25,
        "top_3_gram": 0.2,
        "no_line": 1,
        "char_dup_ratio": 0.1,
        "gopher_short_doc": 50,
        "gopher_long_doc": 100_000,
        "gopher_too_many_hashes": 0.1,
        "gopher_too_many_ellipsis": 0.1,
        "gopher_too_many_bullets": 0.9,
        "gopher_too_many_end_ellipsis": 0.3,
        "gopher_enough_stop_words": 2,
    }
    nothing = Figures(
        char_duplicates_ratio=None, min_doc_words=0, max_doc_words=0, max_symbol_word_ratio=0, max_bullet_lines_ratio=0,
        max_ellipsis_lines_ratio=None, min_stop_words=0, stopwords=("a",), dup_line_frac=0, dup_para_frac=0,
    )  # fmt: skip
    assert nothing.thresholds() == {"empty": 1, "no_line": 1}


def test_english_figures_are_those_of_the_presets():
    """The generic thresholds, reason by reason, are the ones that datatrove's presets have for English."""
    every = {r.reason: (r.column, r.op, r.threshold) for name in PRESETS if "datatrove" in name for r in PRESETS[name]}
    every |= {"no_line": ("text_datatrove_fineweb_lines", "min", 1), "empty": ("text_datatrove_characters", "min", 1)}
    every["char_dup_ratio"] = (*every["char_dup_ratio"][:2], 0.1)
    assert {r.reason: (r.column, r.op, r.threshold) for r in ENGLISH_FIGURES} == {
        reason: every[reason] for reason in FIGURE_COLUMNS
    }


def test_forms_of_tables_say_the_same(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "deu_Latn.yml").write_text(GERMAN)
    (tmp_path / "one" / "fra_Latn.yaml").write_text("dup_line_frac: 0.2\nstopwords: [de, la]\n")
    (tmp_path / "one" / "README.md").write_text("no table")
    folder = read_language_table(tmp_path / "one")
    assert list(folder.figures) == ["deu_Latn", "fra_Latn"]
    many = {"deu_Latn": yaml.safe_load(GERMAN), "fra_Latn": {"dup_line_frac": 0.2, "stopwords": ["de", "la"]}}
    (tmp_path / "many.yaml").write_text(yaml.safe_dump(many))
    (tmp_path / "many.json").write_text(json.dumps(many))
    (tmp_path / "table.tsv").write_text(
        "# ours\nlanguage\tname\tdup_line_frac\tstopwords\ttop_n_grams\nfra_Latn\tFrench\t0.2\tde la\t\n"
    )
    assert read_language_table(tmp_path / "many.yaml").figures == folder.figures
    assert read_language_table(tmp_path / "many.json").figures == folder.figures
    assert read_language_table(tmp_path / "table.tsv").figures == {"fra_Latn": folder.figures["fra_Latn"]}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("deu_Latn.yml", "dup_line_fraq: 0.2", "Latn.yml.dup_line_fraq: unknown key .* did you mean 'dup_line_frac'"),
        ("deu_Latn.yml", "dup_line_frac: much", "dup_line_frac: expected"),
        ("deu_Latn.yml", "top_n_grams: [[5, 0.1]]", "each of the orders 2 to 4 once"),
        ("deu_Latn.yml", "dup_n_grams: [[5, 0.1], [5, 0.2]]", "each of the orders 5 to 10 once"),
        ("nob_Latn.yml", "stopwords: [og, no]", "quote them"),
        ("deu_Latn.yml", "a: [", "line [12]: "),
        ("deu_Latn.yml", "- 5", "expected keys and values"),
        ("deu_Latn.yml", "dup_line_frac: .inf", "dup_line_frac"),
        ("all.yml", "{de: {dup_line_frac: 0.2}, fr: {dup: 1}}", "all.yml: fr.dup: unknown key"),
        ("t.tsv", "", "the first line must name the columns"),
        ("t.tsv", "language\tstop\nde\tx\n", "unknown column 'stop'; did you mean 'stopwords'"),
        ("t.tsv", "language\tdup_line_frac\nde\tx\n", "t.tsv: de: dup_line_frac is no number"),
        ("t.tsv", "language\ttop_n_grams\nde\t2=0.1\n", "top_n_grams is no number or list of pairs"),
        ("t.tsv", "language\tdup_line_frac\nde\t1\t2\n", "3 cells in a line, and 2 columns"),
        ("t.tsv", "language\tdup_line_frac\n", "no rules of any language"),
    ],
)
def test_mistakes_in_tables_are_named(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_language_table(tmp_path / name, name)


def test_what_is_no_table(tmp_path):
    with pytest.raises(ConfigError, match="no rules of any language"):
        read_language_table(tmp_path)
    with pytest.raises(InputError, match="can't read the rules"):
        read_language_table(tmp_path / "none.yml")
    with pytest.raises(ConfigError, match="has no rules for 'fr'"):
        LanguageTable({"de": Figures()}, "mine").only(("fr",))
    assert list(LanguageTable({"de": Figures(), "fr": Figures()}, "mine").only(("fra_Latn",)).figures) == ["fr"]


# ------------------------------------------------------------------------------------------------------------- words


def words_of(label, text, splitter="fast"):
    data, ends, _ = language_words(label, splitter).find([text])
    raw = data.tobytes()
    return [raw[a:b].decode() for a, b in itertools.pairwise(ends)]


@pytest.mark.parametrize(
    ("label", "text", "words"),
    [
        ("eng_Latn", "I'm im haus.", ["I", "'m", "i", "m", "haus", "."]),
        ("deu_Latn", "Der Ost-West-Weg im Haus.", ["Der", "Ost-West-Weg", "im", "Haus", "."]),
        ("xx", "Ost-West im (Haus)", ["Ost", "-", "West", "im", "(", "Haus", ")"]),
        ("fra_Latn", "l'eau d’un grand-père", ["l'", "eau", "d’", "un", "grand", "-", "père"]),
        ("cat_Latn", "l'home Ost-West", ["l'", "home", "Ost-West"]),
        ("rus_Cyrl", "Это что-то, да?", ["Это", "что", "-", "то", ",", "да", "?"]),
        (None, "It's 5% o'clock :-)", ["It", "'s", "5", "%", "o'clock", ":-)"]),
        ("hin_Deva", "यह है। 1.5 और, 12/3", ["यह", "है", "।", "1.5", "और", ",", "12/3"]),
        ("hin_Deva", "1.5 एक\nदो", ["1", ".", "5", "एक\nदो"]),
        ("urd_Arab", "یہ ہے۔ 1.5", ["یہ", "ہے", "۔", "1", ".", "5"]),
        ("hin_Latn", "yah-hai", ["yah", "-", "hai"]),
    ],
)
def test_words_by_hand(label, text, words):
    assert words_of(label, text) == words


@pytest.mark.parametrize(
    ("label", "text", "words"),
    [
        ("cmn_Hani", "他在北京大学。\n我们都", ["他在", "北京", "大学", "。", "我们", "都"]),
        ("ja", "私は東京に", ["私", "は", "東京", "に"]),
        ("tha_Thai", "ประเทศไทยเป็นประเทศ", ["ประเทศไทย", "เป็น", "ประเทศ"]),
        ("lo", "ປະເທດລາວແມ່ນ", ["ປະເທດ", "ລາວ", "ແມ່ນ"]),
        ("khm_Khmr", "ប្រទេសកម្ពុជាជាប្រទេស", ["ប្រទេស", "កម្ពុជា", "ជា", "ប្រទេស"]),
    ],
)
def test_words_without_blanks(label, text, words):
    pytest.importorskip("icu4py")
    assert words_of(label, text) == words


def test_korean_words_are_morphemes():
    """As datatrove takes them: the text of two morphemes that are one syllable stands twice."""
    pytest.importorskip("kiwipiepy")
    assert words_of("kor_Hang", "나는 학교에 갔다.") == ["나", "는", "학교", "에", "갔", "갔", "다", "."]


@pytest.mark.parametrize("label", ["deu_Latn", "fra_Latn", "swe_Latn", "rus_Cyrl", "xho_Latn"])
def test_spacy_splits_where_it_is_asked(label):
    pytest.importorskip("spacy")
    assert words_of(label, "Ein Satz, und noch einer.", "spacy") == ["Ein", "Satz", ",", "und", "noch", "einer", "."]
    assert words_of("deu_Latn", "z.B. im Haus", "spacy") == ["z.B.", "im", "Haus"]


def test_which_languages_need_a_segmenter(packaged):
    need = {key: code for key in packaged.figures if (code := segmenter(key)) is not None}
    assert need == {
        "cmn_Hani": "zh", "yue_Hani": "zh", "jpn_Jpan": "ja", "tha_Thai": "th", "lao_Laoo": "lo", "khm_Khmr": "km",
        "mya_Mymr": "my", "kor_Hang": "ko",
    }  # fmt: skip
    assert segmenter("zh") == "zh"
    assert segmenter("no language") is None


def test_a_missing_library_is_named_with_its_languages(packaged, monkeypatch):
    from tamis.scorers.statistics import language_words as module

    monkeypatch.setitem(__import__("sys").modules, "icu4py.breakers", None)
    module.language_words.cache_clear()
    with pytest.raises(ConfigError, match=r"cmn_Hani, jpn_Jpan, .*icu4py.*pip install '\.\[words\]'.*`languages`"):
        check_words(packaged)
    check_words(packaged.only(("de", "fr")))
    module.language_words.cache_clear()


# -------------------------------------------------------------------------------------------------------- statistics

TEXTS = {
    "deu_Latn": ["Der Hund und die Katze.\nDer Hund und die Katze.\n\n- Ende ...", "im der im", "", "###"],
    "fra_Latn": ["L'eau de l'eau, de l'air. De l'eau, de l'air et du feu " * 5, "Le d' l'"],
    "eng_Latn": ["The dog and the cat, to be or not to be that I'm", "im"],
    "hin_Deva": ["यह है और यह है।\nयह है और यह है।", "के"],
}


@pytest.mark.parametrize("label", TEXTS)
def test_statistics_are_those_of_plain_python_over_the_same_words(label, packaged):
    columns = [name for name in TEXT_COLUMNS if name.startswith("text_datatrove") and "_c4" not in name]
    key = packaged.find(label)
    stop_words = packaged.figures[key].stopwords if key else ()
    scorer = TextStatistics(columns, words=language_words(label), stop_words=stop_words)
    for text, found in zip(TEXTS[label], scorer.score(TEXTS[label]).to_pylist(), strict=True):
        words = words_of(label, text)
        wanted = datatrove_statistics(text, words)
        wanted["text_datatrove_stop_words"] = len(set(stop_words) & set(words))
        assert found == pytest.approx(wanted)


def test_each_document_is_split_as_its_language_is(packaged):
    texts = [text for texts in TEXTS.values() for text in texts]
    labels = [label for label, texts in TEXTS.items() for _ in texts]
    labels[0], labels[2] = "de", "ger"
    columns = ["text_datatrove_tokens", "text_datatrove_stop_words", "text_words"]
    order = np.random.default_rng(3).permutation(len(texts))
    batch = pa.record_batch({"text": [texts[i] for i in order], "language": [labels[i] for i in order]})
    found = StatisticsByLanguage(columns, packaged).annotate(batch).to_pylist()
    for row, i in zip(found, order.tolist(), strict=True):
        key = packaged.find(labels[i])
        stop_words = packaged.figures[key].stopwords if key else None
        alone = TextStatistics(columns, words=language_words(labels[i]), stop_words=stop_words).score([texts[i]])
        assert row == alone.to_pylist()[0]
    # English is English though the table hasn't it: Gopher's stop words, and English contractions.
    english = found[order.tolist().index(texts.index(TEXTS["eng_Latn"][0]))]
    assert english["text_datatrove_stop_words"] == 5
    assert english["text_datatrove_tokens"] == 15


def test_a_language_that_is_none_is_split_by_common_rules(packaged):
    batch = pa.record_batch({"text": ["im Haus", "im Haus"], "topic": pa.array(["und", None])})
    found = StatisticsByLanguage(["text_datatrove_tokens"], packaged, by="topic").annotate(batch)
    assert found.column(0).to_pylist() == [2, 2]


def test_stop_words_are_counted_once_each_whatever_their_number():
    words = [f"w{i}" for i in range(300)]
    text = " ".join(words[:120] * 2)
    column = ["text_datatrove_stop_words"]
    common = language_words(None)
    found = TextStatistics(column, words=common, stop_words=words).score([text, "x w299"])
    assert found.column(0).to_pylist() == [120, 1]
    assert TextStatistics(column, words=common, stop_words=[]).score(["the of and"]).column(0).to_pylist() == [0]
    assert TextStatistics(column, words=common).score(["the of and"]).column(0).to_pylist() == [3]


def test_hash_is_fnv1a():
    assert fnv1a("") == 0xCBF29CE484222325
    assert fnv1a("a") == 0xAF63DC4C8601EC8C  # of the authors' test vectors
    assert fnv1a("foobar") == 0x85944171F73967E8


def test_given_words_lose_white_space_alone():
    data, ends, before = given_words([["a ", " ", "ü"], [], ["b\n"]])
    assert data.tobytes() == "aüb".encode()
    assert ends.tolist() == [0, 1, 3, 4]
    assert before.tolist() == [0, 2, 2, 3]


def test_decisions_of_the_published_pipeline_by_hand(packaged):
    """One document a rule, decided by hand."""
    figures = packaged.figures["deu_Latn"]
    good = (
        "Der Wind kommt von Westen, und die Wolken ziehen mit ihm über den See. Wer im Herbst hier wandert, "
        "sieht das Ufer kaum. Ein Boot liegt neben dem Steg; niemand fährt hinaus. Später wurde es still, "
        "nur Vögel riefen noch. Für Gäste gab es Tee, Brot, Käse sowie frische Äpfel aus einem alten Garten hinter "
        "dem Haus."
    )
    cases = {
        "kept": (None, good),
        "empty": ("empty", ""),
        "blank": ("no_line", "\t\n "),
        "lines": ("dup_line_frac", good + "\nEnde.\nEnde.\nEnde."),
        "short": ("gopher_short_doc", good[:215]),
        "list": ("list_ratio", good.replace(" ", "\n", 12)),
        "stops": ("gopher_enough_stop_words", " ".join(f"Wort{i} rennt{i}" for i in range(40)) + " !"),
        "hash": ("gopher_too_many_hashes", good.replace(" ", " # ", 12)),
    }
    thresholds = figures.thresholds()
    rules = [
        Rule(column=FIGURE_COLUMNS[reason][0], op=FIGURE_COLUMNS[reason][1], threshold=threshold, reason=reason)
        for reason, threshold in thresholds.items()
    ]
    texts = [text for _, text in cases.values()]
    columns = dict.fromkeys(rule.column for rule in rules)
    found = TextStatistics(list(columns), words=language_words("de"), stop_words=figures.stopwords).score(texts)
    decided = decide(found, rules).rule.tolist()
    assert [None if rule < 0 else rules[rule].reason for rule in decided] == [reason for reason, _ in cases.values()]
