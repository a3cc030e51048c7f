"""Kernels between float32 numbers and their decimal form."""

import numpy as np
import numpy.typing as npt

from tamis.scorers.kernels.jit import lean_kernel
from tamis.scorers.kernels.word_hash import signed

__all__ = ["parse_float", "write_float"]

_TENS = 10.0 ** np.arange(23)
"""Powers of ten that float64 holds exactly."""


@lean_kernel
def parse_float(data: npt.NDArray[np.uint8], at: int, end: int) -> tuple[float, int]:
    """Return the decimal number at `at` and where it ends; it ends at `at` if there is none.

    Fifteen digits are kept, which is more than float32 can tell apart.
    """
    start = at
    negative = False
    if at < end and (data[at] == 45 or data[at] == 43):
        negative = data[at] == 45
        at += 1
    mantissa = 0
    digits = 0
    power = 0
    seen = False
    point = False
    while at < end:
        byte = data[at]
        if byte == 46 and not point:
            point = True
        elif 48 <= byte <= 57:
            seen = True
            if digits < 15:
                mantissa = 10 * mantissa + signed(byte) - 48
                if mantissa:
                    digits += 1
                if point:
                    power -= 1
            elif not point:
                power += 1
        else:
            break
        at += 1
    if not seen:
        return 0.0, start
    if at + 1 < end and (data[at] == 101 or data[at] == 69):
        sign = 1
        place = at + 1
        if data[place] == 45 or data[place] == 43:
            sign = -1 if data[place] == 45 else 1
            place += 1
        exponent = 0
        digits_at = place
        while place < end and 48 <= data[place] <= 57 and place < digits_at + 6:
            exponent = 10 * exponent + signed(data[place]) - 48
            place += 1
        if place > digits_at:
            power += sign * exponent
            at = place
    value = np.float64(mantissa)
    while power < -22:
        value /= _TENS[22]
        power += 22
        if value == 0.0:
            power = 0
    while power > 22:
        value *= _TENS[22]
        power -= 22
        if value in (np.inf, 0.0):
            power = 0
    value = value / _TENS[-power] if power < 0 else value * _TENS[power]
    return (-value if negative else value), at


@lean_kernel
def write_float(value: np.float32, out: npt.NDArray[np.uint8], at: int) -> int:
    """Write the shortest of 6 to 9 significant digits that reads back as `value`; return where they end.

    `value` is finite and smaller than 10^6 in size; numbers below 10^-12 are written as 0.
    """
    number = np.float64(value)
    if number < 0.0:
        out[at] = 45
        at += 1
        number = -number
    if number < 1e-12:
        out[at] = 48
        return at + 1
    whole = 0  # digits before the point
    while whole < 7 and number >= _TENS[whole]:
        whole += 1
    zeros = 0  # zeros after the point
    if whole == 0:
        while number * _TENS[zeros + 1] < 1.0:
            zeros += 1
    # float32 has a spacing of at least number * 2^-24; a decimal closer than that half reads back as `value`.
    slack = number * 2.0**-24 * 0.49
    decimals = 0
    scaled = 0
    for significant in range(6, 10):
        decimals = max(significant - whole + zeros, 0)
        scaled = signed(number * _TENS[decimals] + 0.5)
        if abs(np.float64(scaled) / _TENS[decimals] - number) < slack:
            break
    while decimals > 0 and scaled % 10 == 0:
        scaled //= 10
        decimals -= 1
    digits = 1
    limit = 10
    while scaled >= limit:
        digits += 1
        limit *= 10
    if digits <= decimals:
        digits = decimals + 1  # a zero before the point
    size = digits + (1 if decimals > 0 else 0)
    place = at + size - 1
    for k in range(digits):
        if k == decimals and decimals > 0:
            out[place] = 46
            place -= 1
        out[place] = np.uint8(48 + scaled % 10)
        scaled //= 10
        place -= 1
    return at + size
