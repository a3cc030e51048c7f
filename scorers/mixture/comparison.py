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

COMPARISON = pa.schema(
    [
        pa.field("method", pa.string(), False, {"description": "name of the mixture"}),
        pa.field("shares", pa.list_(pa.float64()), False, {"description": "share of each group, in the groups' order"}),
        pa.field("distance", pa.float64(), False, {"description": "half the sum of differences to the sizes' shares"}),
        pa.field("divergence", pa.float64(), False, {"description": "KL(shares || sizes' shares), nats"}),
        pa.field("most_repeated", pa.string(), False, {"description": "group with the most epochs"}),
        pa.field("most_epochs", pa.float64(), False, {"description": "its epochs under the budget"}),
        pa.field("effective_tokens", pa.float64(), False, {"description": "worth of the budget in fresh tokens"}),
        pa.field("predicted", pa.float64(), True, {"description": "metric by the fitted law, if there is one"}),
        pa.field("measured", pa.float64(), True, {"description": "metric that was measured, if it was"}),
        pa.field("extra_steps", pa.int64(), True, {"description": "steps of runs that were needed beside the final one"}),
        pa.field("note", pa.string(), False, {"description": "what a person should know"}),
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
