"""Which document of a group of duplicates a step keeps: the options of `exact_dedup` and `near_dedup`, checked."""

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import pyarrow as pa

from tamis.schemas.base import nearest
from tamis.schemas.errors import ConfigError, DataError

__all__ = ["KeepPolicy", "check_policy", "policy_problem"]

KeepPolicy: TypeAlias = Literal["id", "longest", "newest", "oldest", "highest", "lowest", "priority"]
"""The smallest `doc_id`, the longest text, or by a column; see `tamis.scorers.dedup.keep`."""


def policy_problem(keep: KeepPolicy, column: str | None, priorities: Sequence[str]) -> str | None:
    """Return what contradicts what among the options of a policy, in a sentence; None if nothing does."""
    if keep in ("newest", "oldest", "highest", "lowest") and column is None:
        return f"`keep: {keep}` needs `keep_column`, the column that it looks at"
    if keep in ("id", "longest") and column is not None:
        return f"`keep: {keep}` looks at no column: leave `keep_column` out"
    if keep == "priority" and not priorities:
        return "`keep: priority` needs `priorities`, the values in order, the best first"
    if keep != "priority" and priorities:
        return f"`priorities` belong to `keep: priority`, not to `keep: {keep}`"
    if len(set(priorities)) < len(priorities):
        return "`priorities` names a value twice"
    return None


def check_policy(
    label: str, keep: KeepPolicy, column: str | None, priorities: Sequence[str], available: Mapping[str, pa.Field]
) -> None:
    """Find a policy whose column is missing, or can't be ordered.

    Args:
        label: the step's.
        keep: the policy.
        column: what it looks at, if anything.
        priorities: of `priority`.
        available: the columns that there are.

    Raises:
        ConfigError: one sentence.
    """
    from tamis.scorers.dedup.keep import Keep

    if column is None:
        return
    if column not in available:
        msg = f"step {label}: keep_column: no column {column!r} at this point{nearest(column, list(available))}"
        raise ConfigError(msg)
    kind = available[column].type
    if keep == "priority" and not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        msg = f"step {label}: keep_column: {column!r} holds {kind}, and priorities are texts"
        raise ConfigError(msg)
    try:
        Keep(keep, tuple(priorities)).ranks([], pa.array([], kind))
    except DataError as error:
        msg = f"step {label}: keep_column {column!r}: {error}"
        raise ConfigError(msg) from None
