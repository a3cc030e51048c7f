"""Column files, row states and the guard: what stays of a shard between stages."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.pipeline.graph.coder import RecordBatchCoder
from tamis.pipeline.passes.guard import guarded
from tamis.pipeline.storage.column_file import ColumnFile, aligned, intact_note, write_batches, writer
from tamis.pipeline.storage.row_state import FAILED, RowState
from tamis.pipeline.storage.value_file import read_value, write_value
from tamis.schemas.errors import DamagedError, ModelError, RunError

A = pa.schema([("a", pa.int64()), ("b", pa.string())])


def batch(*values):
    return pa.record_batch({"a": list(values), "b": [str(v) for v in values]}, schema=A)


def test_files_are_read_by_column_and_batch(tmp_path):
    path = str(tmp_path / "x.arrow")
    assert write_batches(path, A, [batch(1, 2), batch(3)]) == 3
    with ColumnFile(path, ["b"]) as file:
        assert len(file) == 2
        assert file[1].to_pydict() == {"b": ["3"]}
        assert file.read().num_rows == 3


def test_files_line_up_side_by_side_and_later_columns_replace_earlier(tmp_path):
    one, two = str(tmp_path / "1.arrow"), str(tmp_path / "2.arrow")
    write_batches(one, A, [batch(1, 2), batch(3)])
    write_batches(
        two, pa.schema([("b", pa.int8())]), [pa.record_batch({"b": pa.array(v, pa.int8())}) for v in ([7, 8], [9])]
    )
    with ColumnFile(one) as first, ColumnFile(two) as second:
        rows = [row for part in aligned([first, second]) for row in part.to_pylist()]
    assert rows == [{"a": 1, "b": 7}, {"a": 2, "b": 8}, {"a": 3, "b": 9}]


def test_misaligned_missing_and_damaged_files_are_sentences(tmp_path):
    one, two = tmp_path / "1.arrow", tmp_path / "2.arrow"
    write_batches(str(one), A, [batch(1, 2)])
    write_batches(str(two), A, [batch(1)])
    told = "its rows aren't those of"
    with ColumnFile(str(one)) as first, ColumnFile(str(two)) as second, pytest.raises(RunError, match=told):
        list(aligned([first, second]))
    with pytest.raises(RunError, match="is missing"):
        ColumnFile(str(tmp_path / "no.arrow"))
    one.write_bytes(one.read_bytes()[:100])
    with pytest.raises(RunError, match="damaged"):
        ColumnFile(str(one))


@given(st.data())
def test_a_flipped_bit_a_cut_or_a_zeroed_page_is_never_taken(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("damage") / "x.arrow"
    with writer(str(path), A) as out:
        out.write_batch(batch(*range(50)))
        out.note = {"falls": {"rule": 3}}
    whole = path.read_bytes()
    with ColumnFile(str(path)) as file:
        assert file.note == {"falls": {"rule": 3}}
    kind = data.draw(st.sampled_from(["bit", "cut", "zeros", "more"]))
    place = data.draw(st.integers(0, len(whole) - 1))
    damaged = {
        "bit": whole[:place] + bytes([whole[place] ^ 1 << data.draw(st.integers(0, 7))]) + whole[place + 1 :],
        "cut": whole[:place],
        "zeros": whole[:place] + bytes(len(whole[place : place + 40])) + whole[place + 40 :],
        "more": whole + b"x",
    }[kind]
    path.write_bytes(damaged)
    told = []
    if damaged == whole:  # zeros where there were zeros
        assert intact_note(str(path), told) == {"falls": {"rule": 3}}
        return
    with pytest.raises(DamagedError, match="is damaged"):
        ColumnFile(str(path))
    assert intact_note(str(path), told) is None
    assert not path.exists()
    assert str(path) in told[0]


@given(st.binary(max_size=40), st.integers(0, 10_000))
def test_values_prove_themselves_too(tmp_path_factory, value, place):
    path = tmp_path_factory.mktemp("value") / "x.value"
    told = []
    assert read_value(str(path), told) is None
    write_value(str(path), value)
    assert read_value(str(path), told) == value
    whole = path.read_bytes()
    at = place % len(whole)
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
    assert read_value(str(path), told) is None
    assert len(told) == 1
    assert not path.exists()


def test_a_file_that_failed_half_way_does_not_appear(tmp_path):
    def batches():
        yield batch(1)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_batches(str(tmp_path / "x.arrow"), A, batches())
    assert not list(tmp_path.iterdir())


def test_coder_keeps_slices_small():
    whole = batch(*range(1000))
    part = whole.slice(3, 2)
    coder = RecordBatchCoder()
    encoded = coder.encode(part)
    assert coder.decode(encoded).equals(part)
    assert len(encoded) < 2000
    assert coder.estimate_size(part) < coder.estimate_size(whole) / 100


def test_a_row_falls_once():
    state = RowState.alive(3)
    state.fall(1, np.array([True, False, False]), 2, 0.5, 0.7)
    state.fall(2, np.array([True, True, False]), np.array([4, 5, 6], np.int16), np.array([1.0, 2.0, 3.0]))
    assert state.step.tolist() == [1, 2, -1]
    assert state.rule.tolist() == [2, 5, -1]
    assert state.mask.tolist() == [False, False, True]
    again = RowState.from_batch(state.to_batch())
    assert np.array_equal(again.value, state.value, equal_nan=True)
    assert np.array_equal(again.threshold, state.threshold, equal_nan=True)
    state.fall(3, np.array([False, False, True]), FAILED)
    assert not state.mask.any()


@given(st.lists(st.integers(0, 5), max_size=40))
def test_guard_isolates_the_rows_to_blame(values):
    def stage(rows):
        got = rows.column("a").to_pylist()
        if 0 in got:
            raise ValueError("a zero")
        return pa.record_batch({"double": [2 * v for v in got]}, schema=schema)

    schema = pa.schema([("double", pa.int64())])
    result, failures = guarded(stage, batch(*values), schema)
    assert result.column("double").to_pylist() == [2 * v if v else None for v in values]
    assert failures == [(i, "ValueError", "a zero") for i, v in enumerate(values) if not v]


def test_errors_on_purpose_concern_the_run():
    def stage(rows):
        raise ModelError("no model")

    with pytest.raises(ModelError):
        guarded(stage, batch(1), A)


@pytest.mark.parametrize("folder", ["elsewhere", "run/work/03-a"])
def test_an_intact_file_under_anothers_name_is_damaged(tmp_path, folder):
    home = tmp_path / folder
    home.mkdir(parents=True)
    one, two = home / "1.arrow", home / "2.arrow"
    write_batches(str(one), A, [batch(1)])
    write_batches(str(two), A, [batch(2)])
    value = home / "1.value"
    write_value(str(value), b"one")
    one.rename(home / "3.arrow")
    two.rename(one)
    value.rename(home / "2.value")
    for wrong in (one, home / "3.arrow"):
        with pytest.raises(DamagedError, match="it is another file under this name"):
            ColumnFile(str(wrong))
    damaged = []
    assert read_value(str(home / "2.value"), damaged) is None
    assert "it is another file under this name" in damaged[0]
    assert not (home / "2.value").exists()


def test_a_run_that_was_moved_keeps_its_files_and_its_folders_are_told_apart(tmp_path):
    for step in ("03-a", "04-b"):
        (tmp_path / "run" / "work" / step).mkdir(parents=True)
        write_batches(str(tmp_path / "run" / "work" / step / "x.arrow"), A, [batch(1)])
    moved = (tmp_path / "run").rename(tmp_path / "moved") / "work"
    with ColumnFile(str(moved / "03-a" / "x.arrow")) as file:
        assert file[0].num_rows == 1
    (moved / "03-a" / "x.arrow").replace(moved / "04-b" / "x.arrow")
    with pytest.raises(DamagedError, match="another file"):
        ColumnFile(str(moved / "04-b" / "x.arrow"))
