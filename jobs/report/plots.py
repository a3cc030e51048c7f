"""Specifications of the report's plots, in Vega-Lite; colours and fonts are the page's own."""

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["bars", "heat", "histogram", "lines", "points"]

# SI prefixes for thousands alone: a thousandth would read as a million.
_SHORT = "abs(datum.value) < 1000 ? format(datum.value, '.3~g') : format(datum.value, '.3~s')"
_COLOUR = {"field": "part", "type": "nominal", "title": None}


def histogram(title: str, marks: Sequence[Mapping[str, Any]], *, log: bool, share: bool = False) -> dict[str, Any]:
    """Return bars between `low` and `high` of height `n`, stacked by `part`, with the thresholds as lines.

    Args:
        title: of the horizontal axis.
        marks: thresholds: `at` and what is `told` of each.
        log: the axis is logarithmic.
        share: heights are shares, and the parts are drawn over each other as steps.
    """
    # The script sets the ends, when the reader zooms.
    scale: dict[str, Any] = {"type": "log", "nice": False} if log else {"type": "linear", "nice": False, "zero": False}
    scale |= {"domainMin": {"expr": "from"}, "domainMax": {"expr": "to"}}
    x: dict[str, Any] = {"field": "low", "bin": "binned", "type": "quantitative", "title": title, "scale": scale}
    x |= {"axis": {"labelOverlap": "greedy", "tickCount": 6}}
    tooltip = [
        {"field": "part", "type": "nominal", "title": " "},
        {"field": "low", "type": "quantitative", "title": "from", "format": ".4~g"},
        {"field": "high", "type": "quantitative", "title": "to", "format": ".4~g"},
        {
            "field": "n",
            "type": "quantitative",
            "title": "share" if share else "documents",
            "format": ".3~g" if share else ",",
        },
    ]
    y: dict[str, Any] = {
        "field": "n",
        "type": "quantitative",
        "title": "share of the run's documents" if share else "documents",
    }
    axis = {"labelExpr": _SHORT, "tickCount": 4} | ({} if share else {"tickMinStep": 1})
    y |= {"axis": axis, "stack": None if share else "zero"}
    bar = {
        "mark": {"type": "bar", "clip": True, "binSpacing": 0, "opacity": 0.55 if share else 1},
        "encoding": {"x": x, "x2": {"field": "high"}, "y": y, "color": _COLOUR, "tooltip": tooltip},
    }
    rule = {
        "data": {"values": [dict(mark) for mark in marks]},
        "mark": {"type": "rule", "clip": True, "strokeDash": [5, 3], "strokeWidth": 1.5, "color": "var(--mark)"},
        "encoding": {
            "x": {"field": "at", "type": "quantitative"},
            "tooltip": {"field": "told", "type": "nominal", "title": "threshold"},
        },
    }
    return {"height": 170, "layer": [bar, rule] if marks else [bar]}


def bars(title: str, *, rows: int, log: bool = False, whole: bool = True) -> dict[str, Any]:
    """Return horizontal bars of length `n` by `name`, in the given order, stacked by `part`.

    Args:
        title: of the horizontal axis.
        rows: names, for the height.
        log: the axis is logarithmic; for one part alone.
        whole: lengths are whole numbers.
    """
    axis = {"labelExpr": _SHORT, "tickCount": 5} | ({"tickMinStep": 1} if whole else {})
    return {
        "height": max(60, 24 * rows),
        "mark": {"type": "bar"},
        "encoding": {
            "y": {"field": "name", "type": "nominal", "sort": None, "title": None, "axis": {"labelLimit": 600}},
            "x": {
                "field": "n", "type": "quantitative", "title": title,
                "scale": {"type": "symlog" if log else "linear"}, "axis": axis,
            },
            "color": _COLOUR,
            "order": {"field": "part_order", "type": "quantitative"},
            "tooltip": [
                {"field": "name", "type": "nominal", "title": " "},
                {"field": "part", "type": "nominal", "title": "  "},
                {"field": "n", "type": "quantitative", "title": title, "format": ","},
            ],
        },
    }  # fmt: skip


def lines(x: str, y: str) -> dict[str, Any]:
    """Return lines of `y` over `x`, one a `part`, with their points."""
    return {
        "height": 220,
        "mark": {"type": "line", "point": True},
        "encoding": {
            "x": {"field": "x", "type": "quantitative", "title": x, "axis": {"tickMinStep": 1, "format": "~g"}},
            "y": {"field": "y", "type": "quantitative", "title": y, "axis": {"format": ".2~g"}},
            "color": _COLOUR,
            "tooltip": [
                {"field": "part", "type": "nominal", "title": " "},
                {"field": "x", "type": "quantitative", "title": x},
                {"field": "y", "type": "quantitative", "title": y, "format": ".4~g"},
            ],
        },
    }


def points(x: str, y: str, size: str) -> dict[str, Any]:
    """Return circles at `x` and `y`, of area `size`, each with a `name`."""
    return {
        "height": 260,
        "mark": {"type": "circle", "opacity": 0.7},
        "encoding": {
            "x": {"field": "x", "type": "quantitative", "title": x, "scale": {"zero": False}},
            "y": {"field": "y", "type": "quantitative", "title": y, "scale": {"zero": False}},
            "size": {"field": "size", "type": "quantitative", "title": size, "legend": None},
            "color": _COLOUR,
            "tooltip": [
                {"field": "name", "type": "nominal", "title": " "},
                {"field": "x", "type": "quantitative", "title": x, "format": ".4~g"},
                {"field": "y", "type": "quantitative", "title": y, "format": ".4~g"},
                {"field": "size", "type": "quantitative", "title": size, "format": ","},
            ],
        },
    }


def heat(columns: int) -> dict[str, Any]:
    """Return squares coloured by `r` from -1 to 1, by the names `x` and `y`; `column` is the whole name of `x`.

    Args:
        columns: how many there are, for the height.
    """
    axis = {"labelLimit": 600, "labelOverlap": False, "title": None}
    return {
        "height": 18 * columns,
        "mark": {"type": "rect"},
        "encoding": {
            "x": {"field": "x", "type": "nominal", "sort": None, "axis": {**axis, "labelAngle": 0, "orient": "top"}},
            "y": {"field": "y", "type": "nominal", "sort": None, "axis": axis},
            "color": {
                "field": "r", "type": "quantitative", "title": None,
                "scale": {"domain": [-1, 0, 1], "range": ["#c2483b", "#8883", "#3173b5"]},
                "legend": {"orient": "bottom", "gradientLength": 200},
            },
            "tooltip": [
                {"field": "column", "type": "nominal", "title": " "},
                {"field": "y", "type": "nominal", "title": "  "},
                {"field": "r", "type": "quantitative", "title": "correlation", "format": ".3f"},
            ],
        },
    }  # fmt: skip
