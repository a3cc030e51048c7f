"""Repairs of text: ftfy by FineWeb's settings, and lines of symbols as datatrove's formatter has them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.scorers.text.repair import EncodingRepair, count_symbol_lines, drop_symbol_lines

ftfy = pytest.importorskip("ftfy")

MOJIBAKE = {
    "schÃ¶n": "schön",
    "l\u00e2\u20ac\u2122humanitÃ©": "l’humanité",
    "&lt;b&gt; &amp; co": "<b> & co",
    "a\x1b[1mb\x00c": "abc",
    # choices of writing stay
    "caf\u00e9 \ufb01ne “quoted” ｆｕｌｌ\r\nline": "caf\u00e9 \ufb01ne “quoted” ｆｕｌｌ\r\nline",
    "e\u0301": "e\u0301",
    "": "",
}


def test_encodings_are_repaired_and_writing_stays():
    assert EncodingRepair().repair(list(MOJIBAKE)).to_pylist() == list(MOJIBAKE.values())


@given(st.lists(st.text(st.sampled_from("ab &;<>\n\r\t\x00\x1b[0mÃ©Â â€™\x7f~!'%&"), max_size=20), max_size=6))
def test_texts_that_are_passed_over_are_such_as_ftfy_leaves(texts):
    config = ftfy.TextFixerConfig(
        fix_latin_ligatures=False,
        fix_character_width=False,
        uncurl_quotes=False,
        fix_line_breaks=False,
        normalization=None,
    )
    assert EncodingRepair().repair(texts).to_pylist() == [ftfy.fix_text(text, config) for text in texts]


def formatter(text, symbols, replacement):
    """What `SymbolLinesFormatter` of datatrove 0.10 does, of texts without other line ends."""
    kept, inside = [], False
    for line in text.split("\n"):
        hit = line.strip() != "" and all(c in symbols or c == " " for c in line)
        if hit and not inside and replacement:
            kept.append(replacement)
        if not hit:
            kept.append(line)
        inside = hit
    return "\n".join(kept)


@given(
    st.lists(st.text(st.sampled_from("a| -]\n"), max_size=20), max_size=6),
    st.sampled_from(["|", "|-", "]^", "-"]),
    st.sampled_from(["", "\n", "x"]),
)
def test_lines_of_symbols_go_as_in_datatrove(texts, symbols, replacement):
    found = drop_symbol_lines(texts, symbols, replacement).to_pylist()
    assert found == [formatter(text, symbols, replacement) for text in texts]
    counts = count_symbol_lines(texts, symbols).to_pylist()
    assert counts == [
        sum(bool(line.strip()) and set(line) <= {*symbols, " "} for line in text.split("\n")) for text in texts
    ]


def test_the_case_of_datatroves_own_test():
    """Its text, by a shorter one of ours: lines of marks go, lists and lines with words stay."""
    text = "-\n-\n>> one is a two.\n\n\n>> three\n|\n|\n|\nhello -\n|\n- oi\n|\n\nbye"
    assert drop_symbol_lines([text], "|->").to_pylist() == [">> one is a two.\n\n\n>> three\nhello -\n- oi\n\nbye"]
    table = "cell\n|\n | |\ncell"
    assert drop_symbol_lines([table], "|", "\n").to_pylist() == ["cell\n\n\ncell"]
