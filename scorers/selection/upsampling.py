"""How often documents are repeated: quality-aware upsampling curves, and tables by the size of a cluster.

The curve is Dolma 3's (OLMo 3, 2025). Ranges of documents stand in ascending quality; x is the cumulative share of
their tokens. The lowest ranges that end at or below `throwaway` get nothing; from there on, over a width W, the factor
is

    f(x) = C x^p exp(lambda x),   0 <= x <= W,

with the integral of f equal to the tokens wanted per token there is, and the mean of f over the last range at most
`cap`. Of the pairs that fit, p is the largest of 20 even steps from 0.01 to 2 for which lambda = 0 fits, and lambda
the largest in [0, 2] for that p. A range's factor is the mean of f over it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tamis.schemas.errors import ConfigError, DataError
from tamis.scorers.text.noise import DocumentIds, uniform_noise

__all__ = ["REHYDRATION", "UpsamplingCurve", "copies", "upsampling_curve"]

_POWERS = np.linspace(0.01, 2.0, 20)
_LARGEST = 2.0
_TOLERANCE = 1e-6
_HALVINGS = 60

REHYDRATION = ((1, 1), (2, 2), (3, 3), (5, 5), (100, 8), (1000, 1))
"""FineWeb-2's table (Penedo et al. 2025, arXiv:2506.20920): from this cluster size on, so many copies."""


@dataclass(frozen=True)
class UpsamplingCurve:
    """A curve, and what it makes of each range.

    Attributes:
        power: p.
        rate: lambda.
        scale: C.
        factors: how often each range's tokens are seen, ascending with quality; float64 (ranges,).
        tokens: factors times tokens, rounded; int64 (ranges,).
    """

    power: float
    rate: float
    scale: float
    factors: npt.NDArray[np.float64]
    tokens: npt.NDArray[np.int64]


def _integral(x: npt.ArrayLike, power: float, rate: float) -> npt.NDArray[np.float64]:
    """Return the integral of t^power exp(rate t) from 0 to x: by Kummer's function, the lower incomplete gamma's."""
    from scipy.special import hyp1f1

    at = np.asarray(x, np.float64)
    return np.asarray(at ** (power + 1) / (power + 1) * hyp1f1(power + 1, power + 2, rate * at), np.float64)


def upsampling_curve(
    tokens: Sequence[int] | npt.NDArray[np.int64],
    wanted: float,
    *,
    cap: float = 7.0,
    throwaway: float = 0.4,
    continuous: bool = False,
) -> UpsamplingCurve:
    """Return the curve for one group of documents.

    Args:
        tokens: tokens of each range, by ascending quality; ranges without any get the factor 0.
        wanted: tokens to be had in all.
        cap: the largest mean factor of the best range.
        throwaway: share of the tokens, from the lowest quality on, within which whole ranges are left out.
        continuous: look for the largest p up to 2 that fits, rather than for one of the 20.

    Raises:
        ConfigError: if an option is out of its range.
        DataError: if there are no tokens, or so many are wanted that no curve fits: the message names the most that
            would fit.
    """
    counts = np.asarray(tokens, np.int64)
    if cap <= 0 or not 0 <= throwaway < 1:
        msg = f"the cap ({cap}) must be above 0 and throwaway ({throwaway}) from 0 to below 1"
        raise ConfigError(msg)
    total = int(counts.sum())
    if total <= 0 or (counts < 0).any() or wanted <= 0:
        msg = f"upsampling needs tokens to take from and a wish above 0, not {wanted} of {total}"
        raise DataError(msg)
    edges = np.concatenate([np.zeros(1), np.cumsum(counts) / total])
    edges[-1] = 1.0
    left_out = int(np.searchsorted(edges[1:], throwaway, side="right"))
    start = float(edges[left_out])
    last = float(counts[np.flatnonzero(counts)[-1]]) / total
    width, ratio = 1.0 - start, wanted / total
    best = np.array([width - last, width])

    def fits(power: float, rate: float) -> bool:
        before, whole = _integral(best, power, rate)
        return bool(ratio / whole * (whole - before) / last <= cap + _TOLERANCE)

    lowest = 0.0 if continuous else float(_POWERS[0])
    if not fits(lowest, 0.0):
        before, whole = _integral(best, lowest, 0.0)
        most = int(cap * last * whole / (whole - before) * total)
        msg = (
            f"{wanted:.0f} tokens of {total} can't be had with at most {cap:g} copies of the best range and the lowest "
            f"{throwaway:.0%} thrown away; at most {most} can: want fewer, raise the cap or throw away less"
        )
        raise DataError(msg)
    if continuous:
        power = _LARGEST if fits(_LARGEST, 0.0) else _bisect(lambda p: fits(p, 0.0), lowest, _LARGEST)
    else:
        power = float(max(p for p in _POWERS if fits(p, 0.0)))
    rate = _LARGEST if fits(power, _LARGEST) else _bisect(lambda rate: fits(power, rate), 0.0, _LARGEST)
    scale = float(ratio / _integral(width, power, rate))
    masses = np.diff(_integral(np.maximum(edges - start, 0.0), power, rate))
    shares = np.diff(edges)
    factors = np.divide(scale * masses, shares, out=np.zeros(len(counts)), where=counts > 0)
    factors[:left_out] = 0.0
    return UpsamplingCurve(power, rate, scale, factors, np.rint(factors * counts).astype(np.int64))


def _bisect(holds: Callable[[float], bool], low: float, high: float) -> float:
    """Return the largest value for which a condition holds that holds at `low`, not at `high`, and changes once."""
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if holds(middle):
            low = middle
        else:
            high = middle
    return low


def copies(seed: int, factors: npt.ArrayLike, ids: DocumentIds) -> npt.NDArray[np.int64]:
    """Return how often each document is taken: the whole part of its factor, and one more with the fraction's chance.

    The chance is a keyed hash of the document's id, so that nothing else decides.

    Args:
        seed: the run's seed.
        factors: each document's factor, at least 0 (n,).
        ids: the documents.

    Raises:
        DataError: if a factor is negative or no number.
    """
    wanted = np.asarray(factors, np.float64)
    if not (np.isfinite(wanted) & (wanted >= 0)).all():
        row = int(np.argmin(np.isfinite(wanted) & (wanted >= 0)))
        msg = f"document {row} is to be taken {wanted[row]} times; factors must be numbers from 0 on"
        raise DataError(msg)
    whole = np.floor(wanted)
    return (whole + (uniform_noise(seed, "upsampling", ids) < wanted - whole)).astype(np.int64)
