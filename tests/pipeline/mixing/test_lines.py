"""Lines of a mixture: counted exactly, the same for any sharding, and by a part of all where there are many."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.pipeline.mixing.lines import LINES_SCHEMA, count_lines, lines_file, lines_of, sampled_bits
from tamis.pipeline.storage.column_file import write_batches


def write(folder: Path, shards: list[list[str]], bits: int = 0) -> list[str]:
    paths = []
    for number, texts in enumerate(shards):
        paths.append(lines_file(str(folder / f"{number}.arrow")))
        half = len(texts) // 2
        write_batches(paths[-1], LINES_SCHEMA, [lines_of(texts[:half], 0, bits), lines_of(texts[half:], half, bits)])
    return paths


def by_hand(texts: list[str], times: list[int], least: int) -> tuple[int, int, int, int]:
    documents, lines = Counter[str](), Counter[str]()
    for text, often in zip(texts, times, strict=True):
        found = [line.strip() for line in text.split("\n") if line.strip()]
        lines.update({line: often * number for line, number in Counter(found).items() if often})
        documents.update({line: often for line in set(found) if often})
    heavy = [line for line, number in documents.items() if number >= least]
    return sum(lines.values()), len(lines), sum(lines[line] for line in heavy), len(heavy)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.lists(st.sampled_from(["home", "about us", "", "news", "log in", "the end"]), max_size=5),
            st.integers(0, 4),
        ),
        max_size=12,
    ),
    st.integers(1, 3),
    st.integers(1, 6),
)
def test_counts_are_those_by_hand_for_any_sharding(
    tmp_path_factory: pytest.TempPathFactory, documents: list[tuple[list[str], int]], shards: int, least: int
) -> None:
    texts, times = ["\n".join(lines) for lines, _ in documents], [often for _, often in documents]
    cut = [texts[i::shards] for i in range(shards)]
    paths = write(tmp_path_factory.mktemp("lines"), cut)
    found = count_lines(paths, [np.array(times[i::shards], np.int64) for i in range(shards)], least)
    assert tuple(found) == by_hand(texts, times, least)


def test_a_part_of_the_lines_tells_of_all(tmp_path: Path) -> None:
    # 40 lines that stand in all 200 documents, beside 40 of their own: half of all that is seen.
    texts = ["\n".join([*(f"menu item {chr(97 + i % 26)}{'x' * i}" for i in range(40)),
                        *(f"own {'y' * (d % 50 + 1)} {'z' * (d // 50 + 1)} {'w' * (i + 1)}" for i in range(40))])
             for d in range(200)]  # fmt: skip
    every = [np.ones(200, np.int64)]
    whole = count_lines(write(tmp_path / "whole", [texts]), every, 10)
    part = count_lines(write(tmp_path / "part", [texts], bits=2), every, 10)
    assert whole.heavy_seen * 2 == whole.seen == 16_000
    assert 0 < part.unique < whole.unique / 3
    assert part.heavy_seen == 200 * part.heavy_unique  # every copy of a line that is counted
    assert part.heavy_seen / part.seen == pytest.approx(0.5, abs=0.25)


def test_how_many_are_counted_follows_from_the_text() -> None:
    assert [sampled_bits(size) for size in (0, 80_000_000 - 1, 80_000_000, 160_000_000, 10**12)] == [0, 0, 1, 2, 14]
    assert lines_file("work/000001.arrow") == "work/000001-lines.arrow"
