import numpy as np
import pyarrow as pa
import pytest

from tamis.schemas.errors import DataError
from tamis.scorers.embeddings.vectors import as_column, as_matrix, embedding_field, unit_rows


def test_column_and_matrix_are_each_other():
    matrix = np.arange(12, dtype=np.float32).reshape(4, 3)
    column = as_column(matrix)
    assert column.type == embedding_field(3).type
    np.testing.assert_array_equal(as_matrix(column), matrix)
    np.testing.assert_array_equal(as_matrix(column.slice(1, 2)), matrix[1:3])
    np.testing.assert_array_equal(as_matrix(pa.chunked_array([column, column.slice(2)])), matrix[[0, 1, 2, 3, 2, 3]])
    assert as_matrix(as_column(np.zeros((0, 3), np.float32))).shape == (0, 3)


def test_null_is_zeros():
    column = pa.array([[1.0, 2.0], None, [3.0, 4.0]], pa.list_(pa.float32(), 2))
    np.testing.assert_array_equal(as_matrix(column), [[1, 2], [0, 0], [3, 4]])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_named(bad):
    matrix = np.ones((3, 2))
    matrix[1, 1] = bad
    with pytest.raises(DataError, match="row 1 holds a number that isn't finite"):
        as_matrix(matrix)
    with pytest.raises(DataError, match="row 1"):
        as_matrix(as_column(matrix.astype(np.float32)))


def test_other_shapes_are_refused():
    for wrong in (np.ones(3), np.ones((2, 0)), np.array([["a"]]), pa.array([[1.0]])):
        with pytest.raises(DataError, match="embeddings must be"):
            as_matrix(wrong)


def test_unit_rows():
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(50, 7))
    matrix[3] = 0
    units = unit_rows(matrix)
    np.testing.assert_allclose(units[4], matrix[4] / np.linalg.norm(matrix[4]), rtol=1e-15)
    np.testing.assert_array_equal(units[3], 0)
    tiny = unit_rows(np.array([[3e-200, 4e-200], [3e200, 4e200]]))
    np.testing.assert_allclose(tiny, [[0.6, 0.8]] * 2, rtol=1e-14)
    assert unit_rows(matrix.astype(np.float32)).dtype == np.float32
