"""From presets, overridden thresholds and the user's own rules to one ordered list of rules."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping

from tamis.schemas.base import nearest
from tamis.schemas.errors import ConfigError
from tamis.schemas.rule import Op, Rule
from tamis.scorers.statistics.presets import PRESETS

__all__ = ["Op", "Rule", "resolve_rules"]


def resolve_rules(
    presets: Iterable[str] = (),
    thresholds: Mapping[str, float | None] | None = None,
    rules: Iterable[Rule] = (),
    known: Mapping[str, tuple[Rule, ...]] = PRESETS,
) -> tuple[Rule, ...]:
    """Return the rules of the presets, in their order, then the user's own.

    A preset's rule gets the reason `preset.reason`, such as `gopher_quality.max_word_count`; the user's own
    keep theirs. The order is the order of decision: a document is rejected for the first rule that it
    breaks.

    Args:
        presets: names in `known`; a name given twice counts once.
        thresholds: `preset.reason`, or `reason` alone where only one of the presets has it, to the
            threshold in place of the preset's; None switches the rule off.
        rules: the user's own.
        known: the presets there are.

    Raises:
        ConfigError: for an unknown preset or reason (with the nearest known one), an ambiguous reason, a
            threshold given twice or not finite, or two rules with one reason.
    """
    resolved: dict[str, Rule] = {}
    for preset in dict.fromkeys(presets):
        if preset not in known:
            msg = f"heuristics.presets: unknown preset {preset!r}{nearest(preset, [*PRESETS, 'fineweb2'])}"
            raise ConfigError(msg)
        for rule in known[preset]:
            reason = f"{preset}.{rule.reason}"
            resolved[reason] = rule.model_copy(update={"reason": reason})
    overridden: dict[str, float | None] = {}
    for key, threshold in (thresholds or {}).items():
        reason = _qualified(key, resolved)
        if reason in overridden:
            msg = f"heuristics.thresholds: {reason} is given twice, once as {key!r}; keep one of them"
            raise ConfigError(msg)
        overridden[reason] = threshold
    for reason, threshold in overridden.items():
        if threshold is None:
            del resolved[reason]
        else:
            resolved[reason] = _with_threshold(resolved[reason], threshold)
    every = (*resolved.values(), *rules)
    repeated = [reason for reason, times in Counter(rule.reason for rule in every).items() if times > 1]
    if repeated:
        msg = f"heuristics.rules: two rules have the reason {repeated[0]!r}; give each its own"
        raise ConfigError(msg)
    return every


def _qualified(key: str, known: Mapping[str, Rule]) -> str:
    if key in known:
        return key
    matches = [reason for reason in known if reason.partition(".")[2] == key]
    if len(matches) == 1:
        return matches[0]
    if matches:
        msg = f"heuristics.thresholds: {key!r} is in several presets; write {' or '.join(matches)}"
    elif not known:
        msg = f"heuristics.thresholds: {key!r} overrides nothing, as no preset is chosen"
    else:
        candidates = list(known) if "." in key else [reason.partition(".")[2] for reason in known]
        msg = f"heuristics.thresholds: unknown reason {key!r}{nearest(key, candidates)}"
    raise ConfigError(msg)


def _with_threshold(rule: Rule, threshold: float) -> Rule:
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not math.isfinite(threshold):
        msg = f"heuristics.thresholds: {rule.reason} needs a finite number or null, got {threshold!r}"
        raise ConfigError(msg)
    return rule.model_copy(update={"threshold": float(threshold)})
