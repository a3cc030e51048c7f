"""Draws the perplexities of harmful and clean documents, and the threshold between them."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tamis.schemas.errors import ConfigError

__all__ = ["plot_perplexities"]

_BINS = 80
_COLOURS = {"harmful": "#b2182b", "clean": "#2166ac"}


def plot_perplexities(
    perplexity: Any,
    harmful: Any,
    path: Path,
    *,
    threshold: float | None = None,
    title: str = "",
    ratio: bool = False,
) -> None:
    """Write a histogram of both classes' perplexities on a logarithmic axis, as PNG or SVG by the name's ending.

    Args:
        perplexity: one number a document; those that aren't finite are left out.
        harmful: whether the document is.
        path: the file.
        threshold: marked by a line.
        title: above the picture.
        ratio: the numbers are logarithms of ratios, on a plain axis.

    Raises:
        ConfigError: if the name ends in neither .png nor .svg.
    """
    if path.suffix not in (".png", ".svg"):
        msg = f"{path}: a plot is written as .png or .svg"
        raise ConfigError(msg)
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    values, labels = np.asarray(perplexity, np.float64), np.asarray(harmful, np.bool_)
    finite = np.isfinite(values) & (ratio | (values > 0))
    with rc_context({"svg.hashsalt": "tamis"}):  # the same bytes for the same data
        figure = Figure(figsize=(7, 3.6), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        bins = _bins(values[finite], ratio=ratio)
        for name, mask in (("clean", ~labels & finite), ("harmful", labels & finite)):
            chosen = values[mask]
            if len(chosen):
                weights = np.full(len(chosen), 1 / len(chosen))
                label = f"{name} ({len(chosen):,})"
                axes.hist(chosen, bins.tolist(), weights=weights, alpha=0.6, color=_COLOURS[name], label=label)
        if threshold is not None:
            axes.axvline(threshold, color="black", linestyle="--", label=f"threshold {threshold:,.4g}")
        axes.set(xscale="linear" if ratio else "log", xlabel="log ratio, nats a token" if ratio else "perplexity")
        axes.set(ylabel="share of documents", title=title)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="upper left", bbox_to_anchor=(1, 1))  # "best" takes seconds on a slow machine, and warns
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else {"Software": None})


def _bins(values: npt.NDArray[np.float64], *, ratio: bool) -> npt.NDArray[np.float64]:
    low, high = (values.min(), values.max()) if len(values) else (1.0, 10.0)
    if ratio:
        return np.linspace(low, max(high, low + 0.01), _BINS)
    return np.geomspace(low, max(high, low * 1.01), _BINS)
