"""Text for people: nothing in it drives a terminal, numbers read well, things are counted in English."""

import unicodedata
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.jobs.cli.text import counted, duration, figure, file_size, harmless, one_line
from tamis.jobs.unprintable import UNPRINTABLE

VISIBLE = "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"
JOINERS = "\u200c\u200d"


def test_every_character_that_drives_or_hides_is_escaped() -> None:
    """The whole of Unicode, by its own classes."""
    for code in range(0x110000):
        character = chr(code)
        drives = unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")
        if drives and character not in VISIBLE + JOINERS:
            shown = harmless(character)
            assert shown.startswith("\\"), hex(code)
            assert shown.isascii()
        elif unicodedata.category(character) != "Cn":
            assert harmless(character) == character, hex(code)


def test_escapes_are_pythons() -> None:
    text = "a\x1b[31m\n\r\t\x7f\x9b\u202e\udc80\U000e0041"
    assert harmless(text) == "a\\x1b[31m\\n\\r\\t\\x7f\\x9b\\u202e\\udc80\\U000e0041"
    assert harmless(text).encode().decode("unicode_escape") == text
    assert harmless("two\nlines\t", lines=True) == "two\nlines\\t"
    assert harmless("[/quote] [b]x[/b] :smile: \\n") == "[/quote] [b]x[/b] :smile: \\n"


@given(st.text(), st.integers(1, 60), st.sampled_from(["", "…"]))
def test_a_preview_is_one_harmless_line(text: str, room: int, end: str) -> None:
    shown = one_line(text, room, end)
    assert len(shown) <= room
    assert not UNPRINTABLE.search(shown)
    whole = harmless(" ".join(text.split()))
    assert shown == whole or (len(whole) > room or len(text) > 8 * room)
    assert whole.startswith(shown.removesuffix(end) if shown != whole else shown)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        (True, "true"),
        (1234567, "1,234,567"),
        (-5, "-5"),
        (0.0, "0"),
        (0.123456, "0.1235"),
        (0.875, "0.875"),
        (999.96, "1000"),
        (1234.56, "1,234.6"),
        (1234567.8, "1,234,568"),
        (1e20, "1.000e+20"),
        (1.5e-7, "1.500e-07"),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (Decimal("1234.50"), "1,234.50"),
        (b"\x00\xff", "00ff"),
        ("a\x1bb", "a\\x1bb"),
        (["a"], "['a']"),
    ],
)
def test_figures(value: Any, shown: str) -> None:
    assert figure(value) == shown


def test_counting() -> None:
    assert counted(0, "file") == "0 files"
    assert counted(1, "file") == "1 file"
    assert counted(2000, "source shard") == "2,000 source shards"
    assert counted(2, "entry") == "2 entries"
    assert counted(2, "day") == "2 days"


def test_sizes_and_spans() -> None:
    assert [file_size(n) for n in (0, 999, 2_000, 99_000)] == ["0 B", "999 B", "2 kB", "99 kB"]
    assert [file_size(n) for n in (2.2e6, 1234e6)] == ["2.2 MB", "1,234 MB"]
    spans = [duration(seconds) for seconds in (3.21, 48, 290, 7800)]
    assert spans == ["3.2 s", "48 s", "5 min", "2 h 10 min"]
