"""A label in any form finds the language that it means among known ones, and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.scorers.language.identify import LanguageIdentifier
from tamis.scorers.language.labels import LanguageLabels, is_english, parse_label
from tamis.scorers.statistics.language_rules import packaged_table, read_language_table

KNOWN = LanguageLabels(read_language_table(packaged_table()).figures)


@pytest.mark.parametrize(
    ("label", "meant"),
    [
        ("de", "deu_Latn"),
        ("deu", "deu_Latn"),
        ("ger", "deu_Latn"),
        ("DE", "deu_Latn"),
        ("de-DE", "deu_Latn"),
        ("de_DE.UTF-8", "deu_Latn"),
        ("__label__deu_Latn", "deu_Latn"),
        ("deu-Latn", "deu_Latn"),
        ("zh", "cmn_Hani"),
        ("zho_Hans", "cmn_Hani"),
        ("zh-Hant-TW", "cmn_Hani"),
        ("cmn", "cmn_Hani"),
        ("zh-yue", "yue_Hani"),
        ("yue", "yue_Hani"),
        ("no", "nob_Latn"),
        ("nn", "nno_Latn"),
        ("ar", "arb_Arab"),
        ("arz", "arz_Arab"),
        ("fa", "fas_Arab"),
        ("pes_Arab", "fas_Arab"),
        ("ms", "zsm_Latn"),
        ("sw", "swh_Latn"),
        ("et", "ekk_Latn"),
        ("lv", "lvs_Latn"),
        ("sq", "als_Latn"),
        ("als_Latn", "als_Latn"),
        ("tl", "fil_Latn"),
        ("iw", "heb_Hebr"),
        ("sr", "srp_Cyrl"),  # of two scripts the one with more text
        ("sr-Latn", "srp_Latn"),
        ("uzn_Latn", "uzn_Latn"),
        ("kor_Kore", "kor_Hang"),
        # what isn't there
        ("als", None),  # lid.176's Alemannic
        ("en", None),
        ("deu_Cyrl", None),
        ("xx", None),
        ("", None),
        ("german", None),
        ("d1", None),
        ("de/fr", None),
        (None, None),
    ],
)
def test_what_a_label_means(label, meant):
    assert KNOWN.find(label) == meant


def test_known_labels_need_not_be_languages_and_are_taken_as_they_are():
    known = LanguageLabels(["recipes", "de", "sr_Latn", "sr_Cyrl"])
    assert known.find("recipes") == "recipes"
    assert known.find("deu_Latn") == "de"  # a known one without a script stands for all of them
    assert known.find("sr") == "sr_Latn"  # the first
    assert known.find("Recipes") is None


def test_all_labels_of_the_packaged_model_have_a_meaning():
    """And those of languages in the table find it: none is lost for the form of its label."""
    labels = LanguageIdentifier().languages
    assert all(parse_label(label) is not None for label in labels)
    found = {KNOWN.find(label) for label in labels} - {None}
    missing = set(read_language_table(packaged_table()).figures) - found
    # lid.176 doesn't have these: further scripts, dialects of Arabic, and languages that are rarer on Wikipedia.
    assert missing == {
        "ary_Arab", "gmh_Latn", "uzn_Latn", "ars_Arab", "srp_Latn", "nrm_Latn", "bew_Latn", "hau_Latn", "hyw_Armn",
        "kin_Latn", "xho_Latn", "mww_Latn", "fao_Latn", "mri_Latn", "pap_Latn", "hin_Latn", "zul_Latn", "sdh_Arab",
    }  # fmt: skip


def test_english():
    assert is_english("en")
    assert is_english("eng_Latn")
    assert is_english("en-GB")
    assert not is_english("ang")
    assert not is_english(None)


@given(st.text(max_size=12))
def test_any_text_is_a_label_or_none(text):
    parsed = parse_label(text)
    assert parsed is None or (len(parsed.language) == 3 and parsed.language.islower())
    assert KNOWN.find(text) is None or parsed is not None
