"""Repetition: how often tokens are seen, what that is worth, and when something is hammered in.

Two figures, never one. Seen `D = U (1 + R)` times in all, U unique tokens are worth

    effective(U, D) = U + U R* (1 - exp(-R / R*)),   R* = 15.387756

fresh ones (Muennighoff et al. 2023, arXiv:2305.16264; R* is the e-folding number of repeats). That was fitted where
everything is repeated equally, and never says that repetition hurts. But a small part repeated very often does: 0.1 %
of the data a hundred times made a model of 800 million parameters as good as one of half its size (Hernandez et al.
2022, arXiv:2205.10487), where the formula counts a loss of a tenth. So heavy repetition is warned of beside it.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from tamis.schemas.errors import ConfigError
from tamis.scorers.mixture.simplex import CappedShares, cap_shares, normalised

__all__ = [
    "BINS",
    "HALF_VALUE_REPEATS",
    "HEAVY",
    "DecayedLoss",
    "Repetition",
    "SeenClass",
    "Warned",
    "capped_proportions",
    "decayed_loss",
    "effective_tokens",
    "marginal_value",
    "repetition",
    "repetition_warning",
]

_R_TOKENS = 15.387756
_R_PARAMETERS = 5.309743
_LOG_A, _LOG_B, _LOG_E, _ALPHA = 6.255414, 7.3049974, 0.6254804, 0.3526596

HALF_VALUE_REPEATS = _R_TOKENS * math.log(2)
"""Repeats after which a token is worth half of a fresh one."""

BINS: tuple[tuple[int, int | None], ...] = ((1, 1), (2, 2), (3, 4), (5, 9), (10, 99), (100, None))
"""Classes of times seen, both ends included."""

HEAVY = 10
"""Times seen from which on something is seen often."""
_ANCHOR = "0.1 % of the data seen 100 times made a model of 8e8 parameters as good as one of half its size"


class SeenClass(NamedTuple):
    """Tokens that are seen equally often.

    Attributes:
        unique_tokens: how many different ones.
        times: how often each is seen: copies in its cluster times epochs of its group; not whole where epochs aren't.
        group: whose they are.
    """

    unique_tokens: float
    times: float
    group: str = ""


class Repetition(NamedTuple):
    """The histogram of times seen, and what it is worth.

    Attributes:
        histogram: by class of `BINS`: least and most times seen, tokens seen, unique tokens, share of the tokens seen.
        tokens_seen: in all, repeats included.
        unique_tokens: different ones that are seen.
        effective_tokens: what they are worth in fresh tokens.
        groups: by group the same three numbers and epochs (tokens seen by unique tokens).
    """

    histogram: tuple[dict[str, object], ...]
    tokens_seen: float
    unique_tokens: float
    effective_tokens: float
    groups: Mapping[str, Mapping[str, float]]


class Warned(NamedTuple):
    """What heavy repetition means for a model.

    Attributes:
        level: `none`, `note`, `warn` or `severe`.
        heavy_token_share: share of the tokens seen that belongs to classes seen at least ten times.
        heavy_unique_tokens: their unique tokens.
        heavy_unique_per_parameter: those by the model's parameters.
        sentence: for a person; empty with `none`.
    """

    level: Literal["none", "note", "warn", "severe"]
    heavy_token_share: float
    heavy_unique_tokens: float
    heavy_unique_per_parameter: float
    sentence: str


class DecayedLoss(NamedTuple):
    """The loss that the data-constrained scaling law predicts, and the effective numbers it rests on."""

    loss: float
    effective_tokens: float
    effective_parameters: float


def effective_tokens(unique: float, seen: float) -> float:
    """Return what `seen` tokens, of which `unique` are different, are worth in fresh ones; see the module.

    Raises:
        ConfigError: if a number is negative or not finite.
    """
    if not (math.isfinite(unique) and math.isfinite(seen) and unique >= 0 and seen >= 0):
        msg = f"token counts must be finite and not below 0, got {unique} unique and {seen} seen"
        raise ConfigError(msg)
    if seen <= unique:
        return float(seen)
    if unique == 0:
        return 0.0
    repeats = seen / unique - 1
    return float(unique - unique * _R_TOKENS * math.expm1(-repeats / _R_TOKENS))


def marginal_value(times: float) -> float:
    """Return what one more token is worth in fresh ones when all were seen `times` times: exp(-(times - 1) / R*)."""
    return math.exp(-max(0.0, times - 1) / _R_TOKENS)


def decayed_loss(parameters: float, seen: float, unique: float) -> DecayedLoss:
    """Return the loss of a model by the data-constrained scaling law, in nats of its authors' tokens.

    `L = E + A / Neff^a + B / effective(U, D)^a`, with parameters beyond what U tokens can use discounted likewise.

    Args:
        parameters: N, above 0.
        seen: D, tokens seen in all.
        unique: U, different tokens.

    Raises:
        ConfigError: if a number isn't above 0.
    """
    if not (parameters > 0 and seen > 0 and unique > 0):
        msg = f"parameters and tokens must be above 0, got {parameters}, {seen} and {unique}"
        raise ConfigError(msg)
    G = math.exp((_LOG_A - _LOG_B) / (2 * _ALPHA))
    base = min(parameters, G * G * min(unique, seen))
    extra = max(parameters / base - 1, 0.0)
    n = base + base * _R_PARAMETERS * (1 - math.exp(-extra / _R_PARAMETERS))
    d = effective_tokens(unique, seen)
    loss = math.exp(_LOG_E) + math.exp(_LOG_A) / n**_ALPHA + math.exp(_LOG_B) / d**_ALPHA
    return DecayedLoss(loss, d, n)


def capped_proportions(
    shares: Sequence[float], unique_tokens: Sequence[float], total_tokens: float, max_epochs: float
) -> CappedShares:
    """Return a mixture in which no group is seen more than `max_epochs` times; see `cap_shares`.

    Args:
        shares: the mixture, shape (groups,).
        unique_tokens: of each group.
        total_tokens: tokens trained on in all.
        max_epochs: most passes.

    Raises:
        ConfigError: if a number is out of range.
    """
    if not (total_tokens > 0 and max_epochs > 0):
        msg = f"total_tokens and max_epochs must be above 0, got {total_tokens} and {max_epochs}"
        raise ConfigError(msg)
    return cap_shares(normalised(shares), np.asarray(unique_tokens, np.float64) * max_epochs / total_tokens)


def repetition(classes: Sequence[SeenClass]) -> Repetition:
    """Return the histogram and worth of classes.

    Times that aren't whole come from epochs that aren't: after 2.3 passes a part of 0.3 was seen three times and the
    rest twice, and is counted so in the histogram; the worth is that of the mean times. What is seen less than once is
    counted for the part that is.

    Raises:
        ConfigError: if a number is negative.
    """
    seen = [0.0] * len(BINS)
    unique = [0.0] * len(BINS)
    groups: dict[str, dict[str, float]] = {}
    for tokens, times, group in classes:
        if tokens < 0 or times < 0:
            msg = f"a class of {tokens} tokens seen {times} times can't be"
            raise ConfigError(msg)
        low = math.floor(times + 1e-9)
        part = max(0.0, times - low)
        for count, number in ((low, tokens * (1 - part)), (low + 1, tokens * part)):
            if count >= 1 and number > 0:
                at = next(i for i, (_, most) in enumerate(BINS) if most is None or count <= most)
                seen[at] += number * count
                unique[at] += number
        of_group = groups.setdefault(group, {"tokens_seen": 0.0, "unique_tokens": 0.0, "effective_tokens": 0.0})
        of_group["tokens_seen"] += tokens * times
        of_group["unique_tokens"] += tokens * min(1.0, times)
        of_group["effective_tokens"] += effective_tokens(tokens, tokens * times)
    for of_group in groups.values():
        number = of_group["unique_tokens"]
        of_group["epochs"] = of_group["tokens_seen"] / number if number else 0.0
    total = math.fsum(of_group["tokens_seen"] for of_group in groups.values())
    rows = tuple(
        {"seen": [low, high], "tokens": t, "unique_tokens": u, "share": t / total if total else 0.0}
        for (low, high), t, u in zip(BINS, seen, unique, strict=True)
    )
    return Repetition(
        rows,
        total,
        math.fsum(of_group["unique_tokens"] for of_group in groups.values()),
        math.fsum(of_group["effective_tokens"] for of_group in groups.values()),
        groups,
    )


def repetition_warning(classes: Sequence[SeenClass], parameters: float) -> Warned:
    """Return whether a part of the data is repeated so much that a model of this size may suffer.

    A heuristic with one measured anchor (the module's). With f the share of the tokens seen that belongs to classes
    seen at least ten times and S their unique tokens: f below 1 %: none; S above the parameters: a note, since that
    much can't be memorised; else a warning, a severe one if also f is at least 5 % and S at least a hundredth of the
    parameters.

    Args:
        classes: all that is seen.
        parameters: of the model, above 0.

    Raises:
        ConfigError: if `parameters` isn't above 0.
    """
    if not parameters > 0:
        msg = f"parameters must be above 0, got {parameters}"
        raise ConfigError(msg)
    total = math.fsum(c.unique_tokens * c.times for c in classes)
    heavy = [c for c in classes if c.times >= HEAVY]
    share = math.fsum(c.unique_tokens * c.times for c in heavy) / total if total else 0.0
    unique = math.fsum(c.unique_tokens for c in heavy)
    ratio = unique / parameters
    if share < 0.01:
        return Warned("none", share, unique, ratio, "")
    most = max(c.times for c in heavy)
    least = min(c.times for c in heavy)
    times = f"{least:g} times" if least == most else f"{least:g} to {most:g} times"
    level: Literal["note", "warn", "severe"] = (
        "note" if ratio > 1 else "severe" if share >= 0.05 and ratio >= 0.01 else "warn"
    )
    end = (
        f"that is more than the {parameters:.3g} parameters can memorise, and costs what the effective tokens say"
        if level == "note"
        else f"{_ANCHOR}: cap epochs or remove copies"
    )
    return Warned(
        level, share, unique, ratio, f"{100 * share:.1f} % of tokens come from {unique:.3g} tokens seen {times}; {end}"
    )
