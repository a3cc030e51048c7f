"""Rows at any width: a table where it fits, blocks where it doesn't, and nothing is ever cut."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from tamis.jobs.cli.console import SafeConsole, say
from tamis.jobs.cli.layout import Column, print_pairs, print_rows
from tamis.jobs.cli.text import harmless
from tamis.jobs.unprintable import UNPRINTABLE

CELLS = st.text(st.characters(exclude_categories=["Cs", "Zs", "Mn", "Me", "Mc", "Cf", "Cc", "Cn", "Co"]), max_size=40)


def printed(width: int, columns: list[Column], rows: list[list[str]]) -> str:
    stream = io.StringIO()
    print_rows(SafeConsole(width=width, file=stream), columns, rows)
    return stream.getvalue()


@given(
    st.integers(20, 120),
    st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=4),
    st.lists(st.booleans(), min_size=3, max_size=3),
    st.integers(0, 3),
)
def test_all_names_and_values_are_there(width: int, rows: list[tuple[str, ...]], right: list[bool], wrap: int) -> None:
    names = ("step", "most rejected by", "documents")
    columns = [Column(name, right=right[i], wrap=i == wrap) for i, name in enumerate(names)]
    shown = printed(width, columns, [list(row) for row in rows])
    table = "─" in shown.splitlines()[1] if rows else True
    squeezed = "".join(shown.split())
    for name in names:
        assert name.replace(" ", "") in squeezed
    for row in rows:
        for i, value in enumerate(row):
            if not table or i != wrap:  # folded ones stand in several lines, beside others
                assert harmless(value) in squeezed
            else:
                assert all(character in squeezed for character in value)
    if table and rows:
        assert max(map(cell_len, shown.splitlines())) <= max(width, 2)


def test_a_table_and_the_same_as_blocks() -> None:
    columns = [Column("step"), Column("kept", right=True), Column("model", wrap=True)]
    rows = [["language", "1,234", ""], ["quality", "5", "models/of/a/long/path/quality"]]
    assert printed(50, columns, rows) == (
        "step       kept  model\n"
        "────────  ─────  ─────────────────────────────\n"
        "language  1,234\n"
        "quality       5  models/of/a/long/path/quality\n"
    )
    assert printed(42, columns, rows).splitlines()[3:] == [
        "quality       5  models/of/a/long/path/",
        "                 quality",
    ]
    assert printed(30, columns, rows) == (
        "step: language\n  kept   1,234    model\nstep: quality\n  kept   5\n  model  models/of/a/long/\n"
        "         path/quality\n"
    )


def test_pairs_share_a_line_where_they_fit() -> None:
    stream = io.StringIO()
    print_pairs(SafeConsole(width=40, file=stream), [("a", "1"), ("bb", "22"), ("c", "3"), ("d", "4")], indent=2)
    assert stream.getvalue() == "  a   1     bb  22    c   3     d   4\n"


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_any_encoding_can_be_printed_to(encoding: str) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding)
    console = SafeConsole(width=60, file=stream)
    print_rows(console, [Column("name")], [["naïve 山"]])
    say("naïve 山 \udc80 [b]", console)
    stream.flush()
    text = raw.getvalue().decode(encoding)
    assert "[b]" in text
    assert not UNPRINTABLE.search(text.replace("\n", ""))
