"""Pictures of mixtures: shares and losses by round, curves of continued training, proxies against trained models."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tamis.schemas.errors import ConfigError, DataError
from tamis.scorers.mixture.critical_ratio import CriticalRatio, Curve
from tamis.scorers.mixture.merging import CheckTable

__all__ = ["new_figure", "plot_check", "plot_critical_ratio", "plot_rounds", "save_figure"]


def plot_rounds(groups: Sequence[str], history: Sequence[dict[str, Any]], path: Path, *, title: str = "") -> None:
    """Draw the shares of each round, and beside them the losses where they were measured, as PNG or SVG.

    Args:
        groups: names, in the order of shares.
        history: as `Controller.history` returns it.
        path: the file; its ending says the format.
        title: above the picture.

    Raises:
        ConfigError: if the name ends in neither .png nor .svg.
        DataError: if there is no round with shares.
    """
    rounds = [record for record in history if "p" in record]
    if not rounds:
        msg = "there is nothing to draw: no round of the mixture was finished"
        raise DataError(msg)
    losses = [
        (i + 1, record["loss_end"])
        for i, record in enumerate(rounds)
        if len(record.get("loss_end") or ()) == len(groups)
    ]
    figure, axes = new_figure(path, 2 if losses else 1)
    shares = np.array([record["p"] for record in rounds])
    numbers = np.arange(1, len(rounds) + 1)
    for j, name in enumerate(groups):
        axes[0].plot(numbers, shares[:, j], marker=".", label=name, color=f"C{j % 10}")
        if losses:
            axes[1].plot([i for i, _ in losses], [values[j] for _, values in losses], marker=".", color=f"C{j % 10}")
    axes[0].set(xlabel="round", ylabel="share", ylim=(0, None), title=title)
    axes[0].legend(fontsize="small")
    if losses:
        axes[1].set(xlabel="round", ylabel="validation loss, nats a token")
    save_figure(figure, path)


def plot_critical_ratio(curves: Sequence[Curve], found: CriticalRatio, path: Path, *, tokens: float) -> None:
    """Draw the general loss' measured and fitted change by tokens, one colour a ratio, extrapolation dashed.

    Args:
        curves: what was measured.
        found: the fit.
        path: the file; its ending says the format.
        tokens: the horizon.

    Raises:
        ConfigError: if the name ends in neither .png nor .svg.
    """
    figure, axes = new_figure(path, 1)
    for i, (curve, law) in enumerate(zip(sorted(curves, key=lambda c: c.ratio), found.laws, strict=True)):
        last = float(np.max(curve.tokens))
        colour = f"C{i % 10}"
        for row in np.atleast_2d(curve.general):
            axes[0].plot(curve.tokens, row, ".", color=colour)
        inside, beyond = np.geomspace(np.min(curve.tokens), last, 60), np.geomspace(last, max(last, tokens), 60)
        axes[0].plot(inside, law.predict(inside), color=colour, label=f"{curve.ratio:.0%} domain")
        axes[0].plot(beyond, law.predict(beyond), "--", color=colour)
    axes[0].set(xscale="log", xlabel="tokens", ylabel="change of the general loss, nats", title=found.verdict)
    axes[0].legend(fontsize="small")
    save_figure(figure, path)


def plot_check(table: CheckTable, evaluations: Sequence[str], path: Path) -> None:
    """Draw the losses of averages against those of trained models, one colour an evaluation set.

    Args:
        table: candidates that have both.
        evaluations: names of the sets.
        path: the file; its ending says the format.

    Raises:
        ConfigError: if the name ends in neither .png nor .svg.
    """
    figure, axes = new_figure(path, 1)
    for k, name in enumerate(evaluations):
        label = f"{name} (r = {table.pearson[k]:.2f})"
        axes[0].plot([r.trained[k] for r in table.rows], [r.proxy[k] for r in table.rows], "o", label=label)
    axes[0].set(xlabel="trained, nats a token", ylabel="average of units, nats a token")
    axes[0].legend(fontsize="small")
    save_figure(figure, path)


def new_figure(path: Path, panels: int, *, height: float = 3.6) -> tuple[Any, Any]:
    """Return a figure and the axes of its panels, side by side, for a file.

    Args:
        path: the file; its ending says the format.
        panels: their number.
        height: in inches.

    Raises:
        ConfigError: if the name ends in neither .png nor .svg.
    """
    if path.suffix not in (".png", ".svg"):
        msg = f"{path}: a plot is written as .png or .svg"
        raise ConfigError(msg)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6 * panels, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, np.atleast_1d(figure.subplots(1, panels))


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure: the same bytes for the same data."""
    from matplotlib import rc_context

    with rc_context({"svg.hashsalt": "tamis"}):
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else {"Software": None})
