"""A picture of an experiment: each arm's difference from the baseline with its interval, by evaluation set."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tamis.schemas.errors import DataError
from tamis.scorers.mixture.paired import ArmComparison
from tamis.scorers.mixture.plot import new_figure, save_figure

__all__ = ["plot_arms"]


def plot_arms(comparisons: Sequence[ArmComparison], baseline: str, path: Path, *, unit: str) -> None:
    """Draw differences, as PNG or SVG; left of 0 is better.

    Args:
        comparisons: of arms with the baseline.
        baseline: its name.
        path: the file; its ending says the format.
        unit: of the differences.

    Raises:
        ConfigError: if the name ends in neither .png nor .svg.
        DataError: if there is nothing to draw.
    """
    if not comparisons:
        msg = "there is nothing to draw: no arm was compared"
        raise DataError(msg)
    arms = list(dict.fromkeys(one.arm for one in comparisons))
    sets = list(dict.fromkeys(one.evaluation for one in comparisons))
    figure, axes = new_figure(path, 1, height=max(2.4, 0.5 * len(arms) * max(1, len(sets) * 0.5) + 1.4))
    for k, name in enumerate(sets):
        mine = [one for one in comparisons if one.evaluation == name]
        places = np.array([arms.index(one.arm) for one in mine]) + (k - (len(sets) - 1) / 2) * 0.8 / max(1, len(sets))
        means = np.array([one.difference.mean for one in mine])
        low = np.array([m - one.difference.low for m, one in zip(means, mine, strict=True)])
        high = np.array([one.difference.high - m for m, one in zip(means, mine, strict=True)])
        bars = np.where(np.isfinite([low, high]), [low, high], 0.0)
        axes[0].errorbar(means, places, xerr=bars, fmt="o", capsize=3, label=name, color=f"C{k % 10}")
    axes[0].axvline(0, color="0.6", linewidth=1)
    axes[0].set(yticks=range(len(arms)), yticklabels=arms, xlabel=f"minus {baseline}, {unit}; left is better")
    axes[0].set_ylim(len(arms) - 0.5, -0.5)
    axes[0].legend(fontsize="small")
    save_figure(figure, path)
