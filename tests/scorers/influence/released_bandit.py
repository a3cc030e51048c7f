"""The bandit as the paper's released code plays it, to compare selections with: not for use.

It differs from `tamis.scorers.influence.bandit` (and from the paper) in what follows. Unvisited clusters have score 0
and the bonus alone; a cluster without a whole further block drops out for good; the probe of draw s is documents
s * probe to (s + 1) * probe, while the block is s * block to (s + 1) * block; neighbours get a part of the reward and a
whole count; and what is selected are a cluster's first accepted * block documents, not the accepted blocks.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tamis.schemas.errors import DataError
from tamis.scorers.kernels.portable_log import natural_log

__all__ = ["ReleasedRound", "play_released"]

_OUT = -9_999_999.0


class ReleasedRound(NamedTuple):
    """A round of the released code.

    Attributes:
        picked: the clusters drawn.
        rewards: their probes' mean influence less tau.
        scores: all clusters' scores after the round.
        accepted: all clusters' accepted blocks after the round.
        sampled: all clusters' draws after the round.
        counts: all clusters' counts, neighbours' included, after the round.
    """

    picked: list[int]
    rewards: list[float]
    scores: list[float]
    accepted: list[int]
    sampled: list[int]
    counts: list[int]


def play_released(
    influence: Sequence[Sequence[float]],
    distances: npt.NDArray[np.float64],
    *,
    alpha: float,
    tau: float,
    probe: int,
    block: int,
    per_round: int,
    budget: int,
    rounds: int,
    threshold: float,
) -> list[ReleasedRound]:
    """Play until the budget (in documents), the rounds or the clusters are used up.

    Args:
        influence: of each cluster's documents, in their order.
        distances: float64 (clusters, clusters) between centroids.
        alpha: weight of exploration.
        tau: taken off a probe's mean.
        probe: documents scored a draw.
        block: documents taken a draw.
        per_round: clusters a round.
        budget: documents to select.
        rounds: most rounds.
        threshold: neighbours are nearer than this.

    Raises:
        DataError: if a cluster hasn't the documents that its probes need.
    """
    clusters = len(influence)
    rewards, scores = [0.0] * clusters, [0.0] * clusters
    counts, sampled, accepted = [0] * clusters, [0] * clusters, [0] * clusters
    history: list[ReleasedRound] = []
    while len(history) < rounds and sum(accepted) * block < budget:
        order = sorted(range(clusters), key=lambda i: -scores[i]) if history else list(range(clusters))
        picked: list[int] = []
        for cluster in order:
            if len(picked) == per_round:
                break
            if (sampled[cluster] + 1) * block <= len(influence[cluster]):
                picked.append(cluster)
            else:
                rewards[cluster] = scores[cluster] = _OUT
        if len(picked) < per_round:  # the released code fails here
            break
        found = []
        for cluster in picked:
            part = influence[cluster][sampled[cluster] * probe : (sampled[cluster] + 1) * probe]
            if len(part) < probe:
                msg = f"cluster {cluster} has no documents left to probe: give larger clusters or a smaller probe"
                raise DataError(msg)
            found.append(math.fsum(part) / probe - tau)
        for cluster, reward in zip(picked, found, strict=True):
            sampled[cluster] += 1
            accepted[cluster] += reward > 0
            for other in np.flatnonzero(distances[cluster] < threshold).tolist():
                rewards[other] += reward * (1.0 - float(distances[cluster, other]) / threshold)
                counts[other] += 1
        spread = 2.0 * natural_log(float(sum(counts))) if sum(counts) else 0.0
        scores = [
            (rewards[i] / counts[i] if counts[i] else 0.0) + alpha * math.sqrt(spread / (counts[i] + 1))
            for i in range(clusters)
        ]
        history.append(ReleasedRound(picked, found, list(scores), list(accepted), list(sampled), list(counts)))
    return history
