"""A natural logarithm that gives the same bits on every machine.

Libraries' logarithms differ in the last bit between processors and versions. Where a logarithm decides which document
is chosen, that would break the promise that a run can be repeated anywhere; so this one uses IEEE additions,
multiplications and divisions alone, in a fixed order. It is within two units in the last place of the true value.
"""

import math

import numpy as np
import numpy.typing as npt

from tamis.scorers.kernels.jit import helper, kernel, lean_kernel

__all__ = ["log1m", "natural_log", "natural_logs"]

_LN2_HIGH = 6.93147180369123816490e-01
_LN2_LOW = 1.90821492927058770002e-10
"""ln 2 in two parts: the high one has trailing zero bits, so that its product with an exponent is exact."""

_SQRT_HALF = 0.7071067811865476


@helper
def _two_atanh(s: float) -> float:
    """Return 2 atanh(s) for |s| <= 0.1716, by its series: s^22 / 23 is below half a unit in the last place."""
    z = s * s
    tail = 1.0 / 23.0
    tail = 1.0 / 21.0 + z * tail
    tail = 1.0 / 19.0 + z * tail
    tail = 1.0 / 17.0 + z * tail
    tail = 1.0 / 15.0 + z * tail
    tail = 1.0 / 13.0 + z * tail
    tail = 1.0 / 11.0 + z * tail
    tail = 1.0 / 9.0 + z * tail
    tail = 1.0 / 7.0 + z * tail
    tail = 1.0 / 5.0 + z * tail
    tail = 1.0 / 3.0 + z * tail
    return 2.0 * s + 2.0 * s * (z * tail)


@lean_kernel
def natural_log(x: float) -> float:
    """Return ln x for a finite x > 0."""
    mantissa, exponent = math.frexp(x)
    if mantissa < _SQRT_HALF:
        mantissa *= 2.0
        exponent -= 1
    series = _two_atanh((mantissa - 1.0) / (mantissa + 1.0))
    return exponent * _LN2_HIGH + (exponent * _LN2_LOW + series)


@lean_kernel
def log1m(v: float) -> float:
    """Return ln(1 - v) for 0 < v < 1, exact to rounding for small v too."""
    if v < 0.25:
        return _two_atanh(-v / (2.0 - v))
    return natural_log(1.0 - v)


@kernel
def natural_logs(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the natural logarithm of each of a vector's finite, positive values."""
    out = np.empty(len(values), np.float64)
    for i in range(len(values)):
        out[i] = natural_log(values[i])
    return out
