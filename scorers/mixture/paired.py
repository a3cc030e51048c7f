"""Does one arm beat another? Differences of runs with the same seed, with intervals, and the answer in words.

Runs of two arms with one seed share initial weights and the order of what they have in common, so their difference
varies less than either. Over n seeds the mean difference has Student's interval with n - 1 degrees of freedom. Where
several arms are compared with a baseline, p-values are adjusted by Holm's method, and a difference *survives* if its
adjusted p-value is below 1 - confidence and its plain interval excludes 0.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from tamis.schemas.errors import DataError

__all__ = [
    "ArmComparison",
    "PairedDifference",
    "compare_arms",
    "paired_difference",
    "proxy_note",
]

ROUGH_PROXY_PARAMETERS = 15_000_000
"""Below this size proxies rank mixtures only roughly (Olmix, arXiv:2602.12237)."""


class PairedDifference(NamedTuple):
    """The difference of two arms on one evaluation set.

    Attributes:
        mean: of arm minus baseline over seeds.
        deviation: standard deviation over seeds, NaN for one seed.
        low: lower end of the interval, -inf for one seed.
        high: its upper end.
        p_value: two-sided, of no difference; 1 for one seed.
        seeds: how many pairs there are.
    """

    mean: float
    deviation: float
    low: float
    high: float
    p_value: float
    seeds: int


class ArmComparison(NamedTuple):
    """An arm against the baseline on one evaluation set.

    Attributes:
        arm: its name.
        evaluation: the set.
        baseline_mean: the baseline's mean over the shared seeds.
        difference: see `PairedDifference`.
        adjusted_p: Holm's, over all arms and sets that were compared.
        verdict: `better`, `worse`, `unclear`, `same` (all differences are exactly 0) or `one seed`.
        sentence: the answer in words.
    """

    arm: str
    evaluation: str
    baseline_mean: float
    difference: PairedDifference
    adjusted_p: float
    verdict: Literal["better", "worse", "unclear", "same", "one seed"]
    sentence: str


def paired_difference(
    arm: Mapping[int, float], baseline: Mapping[int, float], *, confidence: float = 0.95
) -> PairedDifference:
    """Return the mean difference over the seeds that both have, with its interval.

    Args:
        arm: value by seed.
        baseline: value by seed.
        confidence: of the interval.

    Raises:
        DataError: if no seed is shared, a value isn't finite, or `confidence` isn't between 0 and 1.
    """
    from scipy.stats import t

    seeds = sorted(set(arm) & set(baseline))
    values = np.array([arm[seed] - baseline[seed] for seed in seeds], np.float64)
    if not seeds or not np.isfinite(values).all() or not 0 < confidence < 1:
        msg = f"a paired difference needs finite values of shared seeds, got seeds {sorted(arm)} and {sorted(baseline)}"
        raise DataError(msg)
    n, mean = len(values), float(values.mean())
    if n == 1:
        return PairedDifference(mean, math.nan, -math.inf, math.inf, 1.0, 1)
    deviation = float(values.std(ddof=1))
    error = deviation / math.sqrt(n)
    if error <= 1e-15 * max(abs(mean), 1e-300):
        return PairedDifference(mean, deviation, mean, mean, 1.0 if mean == 0 else 0.0, n)
    half = float(t.ppf((1 + confidence) / 2, n - 1)) * error
    return PairedDifference(mean, deviation, mean - half, mean + half, float(2 * t.sf(abs(mean) / error, n - 1)), n)


def compare_arms(
    results: Mapping[str, Mapping[str, Mapping[int, float]]],
    baseline: str,
    *,
    confidence: float = 0.95,
    lower_is_better: bool = True,
    unit: str = "nats",
) -> list[ArmComparison]:
    """Compare every arm with the baseline on every evaluation set, in the given order.

    Args:
        results: value by arm, evaluation set and seed.
        baseline: the arm to compare with.
        confidence: of intervals and of the verdict.
        lower_is_better: as for losses.
        unit: of the values, for the sentences.

    Raises:
        DataError: if the baseline isn't there, or an arm shares no evaluation set or seed with it.
    """
    if baseline not in results:
        msg = f"the baseline {baseline!r} isn't among the arms {', '.join(sorted(results))}"
        raise DataError(msg)
    found = []
    for arm, sets in results.items():
        if arm == baseline:
            continue
        shared = [name for name in sets if name in results[baseline]]
        if not shared:
            msg = f"arm {arm!r} shares no evaluation set with the baseline {baseline!r}"
            raise DataError(msg)
        for name in shared:
            difference = paired_difference(sets[name], results[baseline][name], confidence=confidence)
            both = set(sets[name]) & set(results[baseline][name])
            found.append(
                (arm, name, float(np.mean([results[baseline][name][seed] for seed in sorted(both)])), difference)
            )
    adjusted = _holm([difference.p_value for *_, difference in found])
    return [
        _judged(arm, name, mean, difference, p, baseline, confidence, lower_is_better, unit)
        for (arm, name, mean, difference), p in zip(found, adjusted, strict=True)
    ]


def proxy_note(parameters: float) -> str:
    """Return what a proxy's size allows to say about mixtures; empty where it allows to rank them."""
    if parameters >= ROUGH_PROXY_PARAMETERS:
        return ""
    return (
        f"proxies of {parameters / 1e6:.3g} million parameters rank mixtures only roughly: rank correlation with 1B "
        "models was 0.73 at 1 million and above 0.89 from 15 million on (Olmix, arXiv:2602.12237)"
    )


def _holm(p_values: Sequence[float]) -> list[float]:
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted = [1.0] * len(p_values)
    most = 0.0
    for rank, i in enumerate(order):
        most = max(most, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = most
    return adjusted


def _judged(
    arm: str,
    evaluation: str,
    mean: float,
    difference: PairedDifference,
    adjusted: float,
    baseline: str,
    confidence: float,
    lower_is_better: bool,
    unit: str,
) -> ArmComparison:
    d = difference
    head = f"{evaluation}: {arm} minus {baseline} is {d.mean:+.4g} {unit}"
    if d.seeds == 1:
        text = f"{head} with one seed: run more seeds to tell a difference from noise"
        return ArmComparison(arm, evaluation, mean, d, adjusted, "one seed", text)
    interval = f"{confidence:.0%} interval {d.low:+.4g} to {d.high:+.4g}, {d.seeds} seeds"
    if d.mean == 0 and d.deviation == 0:
        return ArmComparison(arm, evaluation, mean, d, adjusted, "same", f"{head}: the arms are the same on every seed")
    if adjusted < 1 - confidence and not d.low <= 0 <= d.high:
        better = (d.mean < 0) == lower_is_better
        text = (
            f"{head} ({interval}): {arm} is {'better' if better else 'worse'}, and the difference survives its interval"
        )
        return ArmComparison(arm, evaluation, mean, d, adjusted, "better" if better else "worse", text)
    why = (
        "the interval includes 0"
        if d.low <= 0 <= d.high
        else f"with {adjusted:.2g} after adjusting for all comparisons"
    )
    text = f"{head} ({interval}): no difference can be told, {why}"
    return ArmComparison(arm, evaluation, mean, d, adjusted, "unclear", text)
