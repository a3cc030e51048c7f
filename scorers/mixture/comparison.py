"""Mixtures of different methods side by side, in one table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from tamis.schemas.errors import ConfigError
from tamis.scorers.mixture.laws import Law
from tamis.scorers.mixture.repetition import effective_tokens
from tamis.scorers.mixture.simplex import Vector, normalised

__all__ = ["COMPARISON", "Candidate", "compare_mixtures"]


def _column(name: str, kind: pa.DataType, description: str, *, nullable: bool = False) -> pa.Field:
    return pa.field(name, kind, nullable=nullable, metadata={"description": description})


COMPARISON = pa.schema(
    [
        _column("method", pa.string(), "name of the mixture"),
        _column("shares", pa.list_(pa.float64()), "share of each group, in the groups' order"),
        _column("distance", pa.float64(), "half the sum of differences to the sizes' shares"),
        _column("divergence", pa.float64(), "KL(shares || sizes' shares), nats"),
        _column("most_repeated", pa.string(), "group with the most epochs"),
        _column("most_epochs", pa.float64(), "its epochs under the budget"),
        _column("effective_tokens", pa.float64(), "worth of the budget in fresh tokens"),
        _column("predicted", pa.float64(), "metric by the fitted law, if there is one", nullable=True),
        _column("measured", pa.float64(), "metric that was measured, if it was", nullable=True),
        _column("extra_steps", pa.int64(), "steps of runs that were needed beside the final one", nullable=True),
        _column("note", pa.string(), "what a person should know"),
    ]
)
"""Columns of `compare_mixtures`."""


@dataclass(frozen=True)
class Candidate:
    """A mixture to compare.

    Attributes:
        shares: of each group.
        measured: a metric that a model trained on it reached, lower is better.
        extra_steps: what finding it cost.
        note: such as that it is an extrapolation.
    """

    shares: Sequence[float]
    measured: float | None = None
    extra_steps: int | None = None
    note: str = ""


def compare_mixtures(
    groups: Sequence[str],
    candidates: Mapping[str, Candidate],
    *,
    sizes: Sequence[float],
    budget: float,
    law: Law | None = None,
    weights: Vector | None = None,
) -> pa.Table:
    """Return one row for each mixture, with the columns of `COMPARISON`, in the given order.

    Args:
        groups: names.
        candidates: by method.
        sizes: tokens of each group, above 0.
        budget: tokens trained on in all, above 0.
        law: predicts metrics from shares.
        weights: of the law's metrics; None: equal.

    Raises:
        ConfigError: if numbers don't fit the groups or aren't above 0.
    """
    have = np.asarray(sizes, np.float64)
    if len(have) != len(groups) or not (have > 0).all() or not budget > 0:
        msg = f"a comparison needs a size above 0 for each of {len(groups)} groups and a budget above 0"
        raise ConfigError(msg)
    prior = have / have.sum()
    rows = []
    for name, candidate in candidates.items():
        p = normalised(candidate.shares, f"mixture {name!r}")
        if len(p) != len(groups):
            msg = f"mixture {name!r} has {len(p)} shares for {len(groups)} groups"
            raise ConfigError(msg)
        epochs = p * budget / have
        given = p > 0
        at = int(epochs.argmax())
        predicted = None
        if law is not None:
            values = law.predict(p[None])[0]
            predicted = float(values.mean() if weights is None else values @ weights)
        rows.append(
            {
                "method": name,
                "shares": p.tolist(),
                "distance": float(np.abs(p - prior).sum() / 2),
                "divergence": max(0.0, float((p[given] * np.log(p[given] / prior[given])).sum())),
                "most_repeated": groups[at],
                "most_epochs": float(epochs[at]),
                "effective_tokens": float(sum(effective_tokens(u, s * budget) for u, s in zip(have, p, strict=True))),
                "predicted": predicted,
                "measured": candidate.measured,
                "extra_steps": candidate.extra_steps,
                "note": candidate.note,
            }
        )
    return pa.Table.from_pylist(rows, COMPARISON)
