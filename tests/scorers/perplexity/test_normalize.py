"""cc_net's normalisation against reference values and a plain transcription of its rules."""

import json
import re
import unicodedata
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tamis.schemas.errors import ConfigError, DataError
from tamis.scorers.perplexity.normalize import NONE, Normalizer, ccnet, ccnet_batch, parse_normalizer
from tamis.scorers.text.spans import text_spans
from tamis.scorers.text.texts import TextBuffer

OPTIONS: dict[str, dict[str, Any]] = {
    "normalize": {},
    "normalize_noaccent_strip": {"accents": False},
    "normalize_nocase": {"case": False},
    "normalize_nonumbers": {"numbers": False},
    "normalize_punct2": {"punct": 2},
    "normalize_punct0": {"punct": 0},
    "normalize_for_dedup": {"accents": False, "punct": 2},
}


@pytest.fixture(scope="module")
def reference(golden: Path) -> dict[str, Any]:
    return json.loads((golden / "ccnet_normalize.json").read_text())


def twin(text: str, table: dict[str, str], *, accents: bool, case: bool, numbers: bool, punct: int) -> str:
    text = text.strip()
    if case:
        text = text.lower()
    if accents:
        text = "".join(c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn")
    if numbers:
        text = re.sub(r"\d", "0", text)
    if punct:
        text = "".join((table[c] if punct == 1 else "") if c in table else c for c in text)
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", "", text)


def decoded(buffer: TextBuffer) -> list[str]:
    return [bytes(buffer.data[a:b]).decode() for a, b in zip(buffer.offsets[:-1], buffer.offsets[1:], strict=True)]


@pytest.mark.parametrize("key", OPTIONS)
def test_golden_texts(reference: dict[str, Any], key: str) -> None:
    texts = [case["text"] for case in reference["cases"]]
    expected = [case[key] for case in reference["cases"]]
    assert [ccnet(text, **OPTIONS[key]) for text in texts] == expected
    assert decoded(ccnet_batch(texts, **OPTIONS[key])) == expected


@pytest.mark.parametrize("accents", [True, False])
@pytest.mark.parametrize(("case", "numbers", "punct"), [(True, True, 1), (False, True, 2), (True, False, 0)])
def test_every_code_point(reference: dict[str, Any], accents: bool, case: bool, numbers: bool, punct: int) -> None:
    # Planes 3 to 13 and 15, 16 hold ideographs and nothing: a step through them is enough.
    points = [*range(0xD800), *range(0xE000, 0x20000), *range(0x2F000, 0x30000), *range(0x30000, 0x110000, 97)]
    texts = [f"a{chr(point)}B" for point in points]
    options = {"accents": accents, "case": case, "numbers": numbers, "punct": punct}
    got = decoded(ccnet_batch(texts, **options))
    table = reference["unicode_punct"]
    wrong = [text for text, found in zip(texts, got, strict=True) if found != twin(text, table, **options)]
    assert not wrong


# Where neighbours matter: final sigma, marks that are reordered, white space at the ends, expanding lower case.
AWKWARD = (
    "aAσΣςΣ'.\u00ad\u0301\u0345 \n\t\x1c\x85\xa0\u2028\u3000İIßẞ"
    "한글é\u0327\u302e\u302f\U0001d165\U0001d15e\u1b44\u0f39①٣１—…«\x00\x7fx"
)


@given(
    text=st.text(st.one_of(st.sampled_from(AWKWARD), st.characters(exclude_categories=["Cs"])), max_size=40),
    accents=st.booleans(),
    case=st.booleans(),
    numbers=st.booleans(),
    punct=st.sampled_from([0, 1, 2]),
)
@example(text="ΑΣ", accents=False, case=True, numbers=True, punct=1)
@example(text="Σ", accents=True, case=True, numbers=True, punct=1)
@example(text="Α'Σ.'Α", accents=True, case=True, numbers=True, punct=1)
@example(text="x\U0001d165\u302e\u0327y", accents=True, case=True, numbers=True, punct=1)
@example(text="\U0001d15e\U0001d16e\u302e", accents=True, case=True, numbers=True, punct=1)
def test_agrees_with_the_rules(
    reference: dict[str, Any], text: str, accents: bool, case: bool, numbers: bool, punct: int
) -> None:
    expected = twin(text, reference["unicode_punct"], accents=accents, case=case, numbers=numbers, punct=punct)
    assert ccnet(text, accents=accents, case=case, numbers=numbers, punct=punct) == expected
    batch = ccnet_batch(["", text, "x"], accents=accents, case=case, numbers=numbers, punct=punct)
    assert decoded(batch) == ["", expected, "x"]


def test_line_breaks_glue_words_in_ccnet_and_become_blanks_in_the_variant() -> None:
    text = "\nFirst line.\r\nSecond\tone\x85end\n"
    assert ccnet(text) == "first line.secondoneend"
    assert Normalizer("ccnet-blanks")(text) == "first line.  second one end"
    assert Normalizer("ccnet-blanks")("a\x00b\x1bc") == "abc"


def test_a_lone_surrogate_is_normalised_alone_and_refused_in_a_batch() -> None:
    assert ccnet("A\ud800É") == "a\ud800e"
    with pytest.raises(DataError, match="surrogate"):
        ccnet_batch(["A\ud800"])


def test_batches_take_arrow_slices_and_nulls() -> None:
    array = pa.array(["skip", "É", None, "Ü"], pa.string()).slice(1)
    assert decoded(ccnet_batch(array)) == ["e", "", "u"]
    assert decoded(ccnet_batch([])) == []


def test_none_leaves_texts_alone() -> None:
    spans = text_spans([" Á\n"])
    assert NONE.apply(spans) is spans
    assert parse_normalizer(None) == NONE


@pytest.mark.parametrize(
    "normalizer",
    [
        NONE,
        Normalizer(),
        Normalizer("ccnet-blanks", case=False),
        Normalizer(accents=False, case=False, numbers=False, punct=2),
    ],
)
def test_specs_read_back(normalizer: Normalizer) -> None:
    assert parse_normalizer(normalizer.spec) == normalizer


def test_specs() -> None:
    assert Normalizer().spec == "ccnet/1"
    assert parse_normalizer("ccnet(accents=false, case=false)").spec == "ccnet/1(accents=false,case=false)"
    assert parse_normalizer({"name": "ccnet", "punct": 2}) == Normalizer(punct=2)
    assert parse_normalizer(Normalizer()) == Normalizer()


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("fastcc", "there is no normaliser 'fastcc'"),
        ("ccnet/9", "has version 1, not 9"),
        ("ccnet(accent=true)", "no option accent"),
        ("ccnet(punct=true)", "no option punct"),
        ("ccnet(case=2)", "no option case"),
        ("Not a spec!", "names no normaliser"),
        ({"name": "ccnet", "punct": 3}, "punct is 3"),
    ],
)
def test_wrong_specs_are_refused(spec: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(says)):
        parse_normalizer(spec)


def test_wrong_punct_is_refused() -> None:
    with pytest.raises(ConfigError, match="punct is 3"):
        ccnet("a", punct=3)
