"""How is a figure written to a file? By matplotlib, as SVG or PNG, in the width of a paper's column."""

import io
import logging
import warnings
from collections.abc import Callable
from math import isfinite
from textwrap import shorten
from typing import Any

import matplotlib as mpl
import numpy as np
from cycler import cycler
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure as Canvas
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from circuitseer_trl.drawing.charts import NUM_COLOURS, log_axis
from circuitseer_trl.drawing.exhibits import (
    Bars,
    DotPlot,
    Figure,
    HeadMap,
    Histogram,
    Lines,
    Matrix,
    Number,
    Scatter,
    Tokens,
)
from circuitseer_trl.drawing.figure_data import figure_table

# As in `html_pages.STYLE`, light.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#b6589a", "#b98300", "#3698d0", "#6f5bc4", "#6b7280")
assert len(COLOURS) == NUM_COLOURS
MORE, LESS = "#1f62b4", "#c44a1c"
WIDTH = 5.5  # inches
MAX_LABEL = 40  # signs
logger = logging.getLogger(__name__)
STYLE: Any = {
    **{"font.size": 8, "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 9},
    **{"svg.fonttype": "none", "svg.hashsalt": "circuitseer", "axes.prop_cycle": cycler(color=COLOURS)},
    **{"legend.frameon": False, "text.parse_math": False},  # names are foreign text
}


def plot(figure: Figure, form: str) -> bytes:
    """The figure as a file of the format `svg` or `png`. The same figure gives the same bytes."""
    draw: dict[type, Callable[[Canvas, Any], None]] = {
        **{DotPlot: _dots, Matrix: _matrix, HeadMap: _heads, Scatter: _scatter, Lines: _lines},
        **{Histogram: _histogram, Bars: _bars, Tokens: _tokens},
    }
    with mpl.rc_context(STYLE):
        canvas = Canvas(figsize=(WIDTH, 3.2), layout="constrained")
        if any(
            isinstance(cell, Number) and cell.value is not None for row in figure_table(figure).rows for cell in row
        ):
            draw[type(figure)](canvas, figure)
        else:
            canvas.text(0.5, 0.5, "No data.", ha="center")
        canvas.suptitle(figure.title, fontsize=9)
        stream = io.BytesIO()
        metadata = {"Date": None} if form == "svg" else {"Software": None}
        with warnings.catch_warnings(record=True) as found:
            canvas.savefig(stream, format=form, dpi=200, metadata=metadata)
    if form == "png" and any("missing from font" in str(each.message) for each in found):
        logger.warning(
            "%s.png has boxes for letters that its font does not have. The SVG has the letters.", figure.name
        )
    return stream.getvalue()


def _colour(series: int) -> str:
    return COLOURS[series % NUM_COLOURS]


def _dots(canvas: Canvas, figure: DotPlot) -> None:
    axes = canvas.subplots()
    labels, headings = list[str](), set[int]()
    for title, rows in figure.groups:
        if title:
            headings.add(len(labels))
            labels.append(title)
        for each in rows:
            place, colour = len(labels), _colour(each.series)
            places = [place] * len(each.dots)
            axes.plot(each.dots, places, "o", color=colour, alpha=0.45, markersize=3, markeredgewidth=0)
            if each.interval is not None:
                axes.plot(each.interval, [place, place], color=colour)
            if each.value is not None:
                inside = "white" if each.hollow else colour
                axes.plot(each.value, place, "o", color=colour, markersize=5, markerfacecolor=inside)
            labels.append(each.label)
    axes.set_yticks(range(len(labels)), [shorten(label, MAX_LABEL, placeholder="\u2026") for label in labels])
    for place, text in enumerate(axes.get_yticklabels()):
        text.set_fontweight("bold" if place in headings else "normal")
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xlabel(figure.unit)
    axes.grid(axis="x", linewidth=0.4)
    if figure.signed:
        axes.axvline(0, color="0.4", linewidth=0.8)
    canvas.set_size_inches(WIDTH, 0.9 + 0.2 * max(1, len(labels)))


def _matrix(canvas: Canvas, figure: Matrix) -> None:
    axes = canvas.subplots()
    values = np.array(figure.values, dtype=float).reshape(len(figure.names), len(figure.names))
    colours = LinearSegmentedColormap.from_list("overlap", [LESS, "white", MORE])
    axes.imshow(values, cmap=colours, vmin=-1.3, vmax=1.3, aspect="auto")
    texts = [[text.replace(" (", "\n(") for text in line] for line in figure.texts]
    for line, column in np.ndindex(values.shape):
        axes.text(column, line, texts[line][column], ha="center", va="center", fontsize=7)
    axes.set_xticks(range(len(figure.names)), figure.names, rotation=30, ha="right")
    axes.set_yticks(range(len(figure.names)), figure.names)
    longest = max(len(part) for line in texts for text in line for part in text.split("\n"))
    width = 1.5 + len(figure.names) * max(0.5, 0.065 * longest)
    canvas.set_size_inches(max(WIDTH, width), 1.2 + 0.4 * len(figure.names))


def _heads(canvas: Canvas, figure: HeadMap) -> None:
    axes = canvas.subplots()
    width = max(map(len, figure.values), default=0)
    values = np.full((len(figure.values), width), np.nan)
    for layer, line in enumerate(figure.values):
        values[layer, : len(line)] = line
    largest = float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 1.0
    colours = LinearSegmentedColormap.from_list("heads", [MORE, "white", LESS])
    drawn = axes.imshow(values, cmap=colours, vmin=-largest, vmax=largest, aspect="auto")
    for layer, head in figure.selected:
        axes.add_patch(Rectangle((head - 0.5, layer - 0.5), 1, 1, fill=False, edgecolor="black", linewidth=0.9))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("head")
    axes.set_ylabel("layer")
    canvas.colorbar(drawn, label=figure.unit)
    canvas.set_size_inches(WIDTH, 1 + 0.14 * max(8, len(figure.values)))


def _scatter(canvas: Canvas, figure: Scatter) -> None:
    axes = canvas.subplots()
    for name, points in figure.series.items():
        axes.plot(
            [x for x, _ in points], [y for _, y in points], ".", markersize=2, alpha=0.5, label=name, rasterized=True
        )
    ends = [x for points in figure.series.values() for x, _ in points if isfinite(x) and x > 0]
    if figure.log_x and ends:
        axes.set_xscale("log")
        axes.minorticks_off()
        ticks = log_axis(min(ends), max(ends)).ticks
        axes.set_xticks([place for place, _ in ticks], [name for _, name in ticks])
    _label(axes, figure.x_label, figure.y_label)


def _lines(canvas: Canvas, figure: Lines) -> None:
    axes = canvas.subplots()
    seen = set[str]()
    for name, series, points in figure.series:
        label = name if name not in seen else None
        seen.add(name)
        mark = "-" if len(points) > 1 else "."
        axes.plot([x for x, _ in points], [y for _, y in points], mark, color=_colour(series), linewidth=1, label=label)
    _label(axes, figure.x_label, figure.y_label)


def _histogram(canvas: Canvas, figure: Histogram) -> None:
    axes = canvas.subplots()
    for series, (name, shares) in enumerate(figure.shares.items()):
        colour = _colour(series)
        axes.stairs([100 * share for share in shares], figure.edges, fill=True, alpha=0.3, color=colour)
        label = name
        for kind, line, values in (("mean", "--", figure.means), ("median", ":", figure.medians)):
            if name in values and isfinite(values[name]):
                axes.axvline(values[name], linestyle=line, color=colour, linewidth=1.2)
                label += f", {kind} {values[name]:,.1f}"
        axes.plot([], [], color=colour, label=label)
    _label(axes, figure.x_label, "share of the rows, %")


def _bars(canvas: Canvas, figure: Bars) -> None:
    axes = canvas.subplots()
    width = 0.8 / max(1, len(figure.values))
    for series, (name, values) in enumerate(figure.values.items()):
        places = [place - 0.4 + (series + 0.5) * width for place in range(len(values))]
        known = [(place, value) for place, value in zip(places, values, strict=True) if value is not None]
        axes.bar(
            [place for place, _ in known],
            [value for _, value in known],
            0.92 * width,
            color=_colour(series),
            label=name,
        )
    names = [shorten(name, MAX_LABEL, placeholder="\u2026") for name in figure.categories]
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right")
    _label(axes, "", figure.y_label)


def _tokens(canvas: Canvas, figure: Tokens) -> None:
    """The value of each token by its position."""
    axes = canvas.subplots()
    axes.bar(range(len(figure.values)), figure.values, 1.0, color=LESS)
    _label(axes, "position of the token", figure.value_label)


def _label(axes: Any, x_label: str, y_label: str) -> None:
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    if axes.get_legend_handles_labels()[1]:
        axes.legend()
