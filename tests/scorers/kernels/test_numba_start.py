"""Numba starts without SciPy's linear algebra, and has it all the same where a function needs it."""

import subprocess
import sys

SCRIPT = """
import sys
import numba
import numpy as np
from tamis.scorers.kernels.jit import kernel

@kernel
def twice(number):
    return 2 * number

assert twice(21) == 42
assert not any(name.startswith("scipy.linalg") for name in sys.modules)
product = numba.njit(lambda a, b: np.dot(a, b))
assert product(np.eye(2), np.ones((2, 2))).tolist() == [[1, 1], [1, 1]]
correlated = numba.njit(lambda a: np.correlate(a, a))
assert correlated(np.arange(3.0)).tolist() == [5]
assert numba.np.linalg.ensure_blas.__module__ == "numba.np.linalg"
"""


def test_linear_algebra_is_loaded_where_it_is_used() -> None:
    """In a process of its own: what Numba has registered stays."""
    result = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
