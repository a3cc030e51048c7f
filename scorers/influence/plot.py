"""Draws clusters by their influence, and what was selected of each."""

from pathlib import Path

import pyarrow as pa

from tamis.schemas.errors import ConfigError

__all__ = ["plot_clusters"]

_TITLED = 40
"""Most clusters whose titles fit beside their bars."""


def plot_clusters(clusters: pa.Table, path: Path, *, tau: float | None = None, title: str = "") -> None:
    """Write clusters as bars, best first, as PNG or SVG by the name's ending: mean influence, and share selected.

    Args:
        clusters: as `tamis.scorers.influence.bandit.clusters_view` returns it; clusters without a score are left out.
        path: the file.
        tau: marked by a line.
        title: above the picture.

    Raises:
        ConfigError: if the name ends in neither .png nor .svg.
    """
    if path.suffix not in (".png", ".svg"):
        msg = f"{path}: a plot is written as .png or .svg"
        raise ConfigError(msg)
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = [row for row in clusters.to_pylist() if row["mean_influence"] is not None]
    rows.sort(key=lambda row: (-row["mean_influence"], row["cluster"]))
    places = list(range(len(rows)))
    shares = [row["selected"] / row["documents"] if row["documents"] else 0.0 for row in rows]
    with rc_context({"svg.hashsalt": "tamis"}):  # the same bytes for the same data
        figure = Figure(figsize=(9, max(2.5, 0.24 * min(len(rows), _TITLED) + 1.2)), layout="constrained")
        FigureCanvasAgg(figure)
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
        colours = ["#2166ac" if row["selected"] else "#bbbbbb" for row in rows]
        left.barh(places, [row["mean_influence"] for row in rows], color=colours)
        right.barh(places, shares, color="#2166ac")
        if tau is not None:
            left.axvline(tau, color="black", linestyle="--", label=f"tau {tau:,.4g}")
            left.legend()
        left.invert_yaxis()
        left.set(xlabel="mean influence of the scored documents", title=title)
        right.set(xlabel="share of the cluster selected", xlim=(0, 1))
        if len(rows) <= _TITLED:
            # A dollar sign in a title isn't mathematics.
            names = [f"{row['title'][:40]}  ({row['documents']:,})".replace("$", r"\$") for row in rows]
            left.set_yticks(places, names, fontsize=8)
        else:
            left.set(ylabel=f"{len(rows):,} clusters")
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else {"Software": None})
