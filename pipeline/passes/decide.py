"""Applies a step's own rules to a batch: which rows fall, by which rule, with what value against what threshold."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tamis.pipeline.storage.row_state import RowState
from tamis.schemas.keep import Keep
from tamis.schemas.steps import (
    CleanStep,
    DsirStep,
    ExactDedupStep,
    ExtractStep,
    HeuristicsStep,
    LanguageStep,
    PerplexityStep,
    PreselectStep,
    RulesStep,
    StepConfig,
)
from tamis.scorers.selection.rules import decide
from tamis.scorers.statistics.rule_presets import Op, Rule, resolve_rules

__all__ = [
    "CLEAN_COLUMN",
    "EXTRACT_RULES",
    "apply_rules",
    "keep_rule",
    "kept",
    "kept_column",
    "rule_names",
    "step_rules",
]

EXTRACT_RULES = (
    "http_status",
    "content_type",
    "empty_payload",
    "empty_text",
    "page_too_large",
    "page_too_complex",
    "page_timeout",
    "gibberish",
)
"""Why readers and extraction refuse a record; row states hold positions in it."""
CLEAN_COLUMN = "clean_characters"
KEEP_KINDS = ("min", "max", "percentile", "fraction", "documents")


def step_rules(config: StepConfig) -> tuple[Rule, ...]:
    """Return the rules over columns that a step applies by itself, in their order."""
    match config:
        case HeuristicsStep():
            return resolve_rules(config.presets, config.thresholds, config.rules)
        case RulesStep():
            return config.rules
        case CleanStep():
            return (Rule(column=CLEAN_COLUMN, op="min", threshold=1, reason="nothing_left"),)
        case PerplexityStep() | PreselectStep():
            column = kept_column(config)
            bounds: list[tuple[Op, float | None]] = [("min", kept(config).min), ("max", kept(config).max)]
            return tuple(
                Rule(column=column, op=op, threshold=bound, reason=keep_rule(config, op))
                for op, bound in bounds
                if bound is not None
            )
        case _:
            return ()


def kept(config: StepConfig) -> Keep:
    """Return what a scoring step keeps; everything if it has no such option."""
    return config.keep if isinstance(config, PerplexityStep | PreselectStep | DsirStep) else Keep()


def kept_column(config: StepConfig) -> str:
    """Return the column that a scoring step's `keep` is about."""
    match config:
        case PerplexityStep():
            return f"{config.name}_perplexity"
        case PreselectStep():
            return f"{config.name}_score"
        case DsirStep():
            return "dsir_log_weight"
        case _:
            return ""


def keep_rule(config: StepConfig, kind: str) -> str:
    """Return the name of a `keep` rule in the rejected table, such as quality_perplexity_max."""
    return f"{kept_column(config)}_{kind}"


def rule_names(config: StepConfig) -> tuple[str, ...]:
    """Return the names of all rules that a row can fall to at a step; row states hold positions in it."""
    match config:
        case ExtractStep():
            return EXTRACT_RULES
        case LanguageStep():
            return ("language", "language_score_min")
        case ExactDedupStep():
            return ("duplicate",)
        case HeuristicsStep() | RulesStep() | CleanStep():
            return tuple(rule.reason for rule in step_rules(config))
        case PerplexityStep() | PreselectStep():
            return tuple(keep_rule(config, kind) for kind in KEEP_KINDS)
        case DsirStep():
            return ("dsir_tokens_min", *(keep_rule(config, kind) for kind in KEEP_KINDS[3:]))
        case _:
            return ()


def apply_rules(config: StepConfig, index: int, batch: pa.RecordBatch, state: RowState) -> None:
    """Let the rows fall that a step's own rules reject; rules that need the whole corpus come later.

    Args:
        config: the step.
        index: the step's position in the run.
        batch: the columns that its rules name, row-aligned with `state`.
        state: changed in place.
    """
    if isinstance(config, LanguageStep):
        _apply_language(config, index, batch, state)
        return
    rules = step_rules(config)
    if not rules:
        return
    decision = decide(batch, rules)
    names = rule_names(config)
    positions = np.array([names.index(rule.reason) for rule in rules], np.int16)
    thresholds = np.array([rule.threshold for rule in rules])
    fallen = decision.rule >= 0
    hit = np.maximum(decision.rule, 0)
    state.fall(index, fallen, positions[hit], decision.value, thresholds[hit])


def _apply_language(config: LanguageStep, index: int, batch: pa.RecordBatch, state: RowState) -> None:
    score = batch.column("language_score").to_numpy(zero_copy_only=False).astype(np.float64)
    if config.keep is not None:
        wanted = pc.is_in(batch.column("language"), value_set=pa.array(config.keep, pa.string()))
        state.fall(index, ~wanted.to_numpy(zero_copy_only=False), 0, score)
    state.fall(index, score < config.min_score, 1, score, config.min_score)
