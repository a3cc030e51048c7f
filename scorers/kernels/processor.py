"""What processors can do and Python can't say: wide products, remainders without division, loading ahead.

A division of 64 bits takes some thirty cycles and keeps others waiting; products take four and overlap.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from tamis.scorers.kernels.jit import helper

__all__ = ["inverse", "prefetch", "remainder", "remainder32"]

ir: Any = cgutils.ir
_ONES = np.uint64(0xFFFFFFFFFFFFFFFF)


@intrinsic  # type: ignore[untyped-decorator]
def _high_product(typing_context: Any, a: Any, b: Any) -> Any:  # noqa: ARG001
    """Return the upper 64 bits of the product of two unsigned numbers."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        wide = ir.IntType(128)
        product = builder.mul(*(builder.zext(number, wide) for number in arguments))
        return builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), ir.IntType(64))

    return types.uint64(types.uint64, types.uint64), generate


@helper
def inverse(divisor: np.uint64) -> np.uint64:
    """Return what `remainder` and `remainder32` need of a divisor."""
    return _ONES // divisor


@helper
def remainder(number: np.uint64, divisor: np.uint64, inverted: np.uint64) -> np.uint64:
    """Return `number % divisor`, given `inverse(divisor)`.

    The inverse is 2^64 / divisor less at most one, so the product's upper half is the quotient or up to two less
    (Granlund and Montgomery 1994, "Division by invariant integers using multiplication").
    """
    rest = np.uint64(number - _high_product(number, inverted) * divisor)
    rest -= divisor * np.uint64(rest >= divisor)
    return np.uint64(rest - divisor * np.uint64(rest >= divisor))


@helper
def remainder32(number: np.uint32, divisor: np.uint64, inverted: np.uint64) -> np.uint64:
    """Return `number % divisor` for a divisor of at most 32 bits, given `inverse(divisor)`, by two products.

    Lemire, Kaser and Kurz 2019, "Faster remainder by direct computation": the lower half of the product is the
    quotient's fraction.
    """
    return np.uint64(_high_product((inverted + np.uint64(1)) * np.uint64(number), divisor))


@intrinsic  # type: ignore[untyped-decorator]
def _prefetch(typing_context: Any, array: Any, index: Any) -> Any:  # noqa: ARG001
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        place = builder.bitcast(builder.gep(data, [arguments[1]]), cgutils.voidptr_t)
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [place.type, number, number, number])
        load = builder.module.declare_intrinsic("llvm.prefetch", [place.type], kind)
        builder.call(load, [place, *(ir.Constant(number, value) for value in (0, 3, 1))])  # to read, soon, as data
        return context.get_dummy_value()

    return types.void(array, types.intp), generate


@helper
def prefetch(array: npt.NDArray[Any], index: Any) -> None:
    """Have the memory of a contiguous array's entry `index`, counted flat, loaded while other work goes on."""
    _prefetch(array, index)
