"""Tries every step on no rows before any work, and says which columns they add."""

from collections.abc import Mapping, Sequence

import pyarrow as pa

from tamis.pipeline.steps.base import Step
from tamis.pipeline.steps.loaded import annotator_of
from tamis.schemas.base import nearest
from tamis.schemas.errors import ConfigError
from tamis.schemas.tables import DOCUMENT_SCHEMA, is_internal

__all__ = ["check_steps", "scored_columns"]


def check_steps(
    steps: Sequence[Step], models: Mapping[str, Mapping[str, str]], inputs: pa.Schema | None = None
) -> pa.Schema:
    """Try every step on a batch of no rows, as the run will call them, and return the columns that they add.

    Loads the models, so that a broken one is found now and not in an hour.

    Args:
        steps: in order.
        models: step label to {option: local path}.
        inputs: columns that documents have beside their own; they come first.

    Raises:
        ConfigError: if a step or rule reads a column that nothing before it computes, or two steps add the same one.
    """
    added = {f.name: f for f in inputs or ()}
    available = {f.name: f for f in DOCUMENT_SCHEMA} | added
    for position, step in enumerate(steps):
        mine = models.get(step.label, {})
        for column in [*_computed(step, mine, available), *(step.corpus_columns if step.over_corpus else ())]:
            if column.name in added and column.name != "text":
                hint = ": give the step another `name`" if step.names_columns else ", and its scorer calls it so itself"
                msg = f"step {step.label}: the column {column.name} is already there{hint}"
                raise ConfigError(msg)
            available[column.name] = column
            if column.name not in DOCUMENT_SCHEMA.names:
                added[column.name] = column
        step.check(mine, available)
        step.check_after(steps[:position], mine)
        for name in step.kept.by:
            _require(name, available, f"step {step.label}: keep.by")
        for rule in step.rules:
            where = f"step {step.label}: rule {rule.reason!r}"
            _require(rule.column, available, where)
            kind = available[rule.column].type
            if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
                msg = f"{where}: column {rule.column!r} holds {kind}, and rules compare numbers"
                raise ConfigError(msg)
    return pa.schema([f for f in added.values() if not is_internal(f)])


def _computed(step: Step, models: Mapping[str, str], available: Mapping[str, pa.Field]) -> list[pa.Field]:
    if step.fits:
        return list(step.columns(models))
    annotator = annotator_of(step, models)
    if annotator is None:
        return []
    for name in annotator.requires:
        _require(name, available, f"step {step.label}")
    fields = [available[name] for name in annotator.requires]
    empty = pa.RecordBatch.from_arrays([pa.array([], f.type) for f in fields], schema=pa.schema(fields))
    result = annotator.annotate(empty)
    if result.schema.names != annotator.schema.names or result.num_rows:
        msg = f"step {step.label}: declares {annotator.schema.names} but computes {result.schema.names}"
        raise ConfigError(msg)
    return list(annotator.schema)


def scored_columns(step: Step, columns: pa.Schema) -> list[pa.Field]:
    """Return those of a step's columns that scoring shows.

    Args:
        step: the step.
        columns: all that it computes.

    Raises:
        ConfigError: if it only computes what its decision over the corpus needs.
    """
    shown = [column for column in columns if not is_internal(column)]
    if len(columns) and not shown:
        msg = (
            f"step {step.label}: it looks at all documents of a run at once and has no column of a document's own: "
            "`tamis run` a config with it"
        )
        raise ConfigError(msg)
    return shown


def _require(name: str, available: Mapping[str, pa.Field], where: str) -> None:
    if name not in available:
        msg = f"{where}: no column {name!r} at this point{nearest(name, list(available))}"
        raise ConfigError(msg)
