"""How are figures with two axes drawn in a page? Points, curves, histograms, bars, and the map of heads."""

import html
from math import isfinite

import numpy as np

from circuitseer_trl.drawing.charts import Axis, colour, legend, linear_axis, log_axis
from circuitseer_trl.drawing.exhibits import Bars, HeadMap, Histogram, Lines, Scatter

MAX_POINTS = 2000  # of a scatter plot; a page with more is slow on a phone
HEIGHT = 240
MANY_CATEGORIES = 4  # more have their names upright on a narrow screen


def _plane(up: Axis, marks: str, below: str, labels: tuple[str, str], keys: str) -> str:
    """Marks in percent of a plane, with a grid, ticks, and the names of the axes.

    Args:
        below: What stands below the plane, as wide as it is.
        labels: Names of the horizontal and the vertical axis.
        keys: The legend.
    """
    heights = [(f"{100 - up.place(tick):.2f}%", html.escape(name)) for tick, name in up.ticks]
    grid = "".join(f'<line class="grid" x1="0" x2="100%" y1="{height}" y2="{height}"/>' for height, _ in heights)
    names = "".join(
        f'<text x="100%" dx="-6" y="{height}" dy="4" text-anchor="end">{name}</text>' for height, name in heights
    )
    gutter = 10 + 7 * max((len(name) for _, name in up.ticks), default=0)
    x_label, y_label = map(html.escape, labels)
    return (
        f'<figure class="plane">{keys}<div class="axis">{y_label}</div>'
        f'<div class="canvas" style="grid-template-columns:{gutter}px minmax(0,1fr)">'
        f'<svg class="ticks" width="100%" height="{HEIGHT}" aria-hidden="true">{names}</svg>'
        f'<svg width="100%" height="{HEIGHT}" aria-hidden="true">{grid}{marks}</svg><span></span>{below}</div>'
        f'<div class="axis x">{x_label}</div></figure>'
    )


def _ticks(across: Axis) -> str:
    names = "".join(
        f'<text x="{across.place(tick):.2f}%" y="13" text-anchor="middle">{html.escape(name)}</text>'
        for tick, name in across.ticks
    )
    return f'<svg width="100%" height="18" aria-hidden="true">{names}</svg>'


def _stretched(shapes: str) -> str:
    """Shapes whose places are percent without a sign: those of a polyline and of a path can have none."""
    return f'<svg width="100%" height="100%" viewBox="0 0 100 100" preserveAspectRatio="none">{shapes}</svg>'


def thinned(points: list[tuple[float, float]], number: int) -> list[tuple[float, float]]:
    """At most so many of the points, spread evenly over their order along x."""
    if len(points) <= number:
        return points
    places = np.linspace(0, len(points) - 1, number).round().astype(int)
    in_order = sorted(points)
    return [in_order[place] for place in places]


def _finite(points: object) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in points if isfinite(x) and isfinite(y)]  # type: ignore[attr-defined]


def scatter_svg(exhibit: Scatter) -> str:
    series = {name: _finite(points) for name, points in exhibit.series.items()}
    points = [point for each in series.values() for point in each if not exhibit.log_x or point[0] > 0]
    if not points:
        return ""
    xs, ys = [x for x, _ in points], [y for _, y in points]
    across = log_axis(min(xs), max(xs) * 1.0001) if exhibit.log_x else linear_axis(xs)
    up = linear_axis(ys)
    share = MAX_POINTS / max(MAX_POINTS, len(points))
    marks, left_out = [], 0
    for number, each in enumerate(series.values()):
        usable = [point for point in each if not exhibit.log_x or point[0] > 0]
        drawn = thinned(usable, max(1, int(share * len(usable))))
        left_out += len(usable) - len(drawn)
        dots = "".join(f'<circle cx="{across.place(x):.1f}%" cy="{100 - up.place(y):.1f}%" r="2.5"/>' for x, y in drawn)
        marks.append(f'<g class="s{colour(number)} point">{dots}</g>')
    more = f" ({len(points) - left_out:,} of {len(points):,} points are drawn)" if left_out else ""
    labels = exhibit.x_label + more, exhibit.y_label
    return _plane(up, "".join(marks), _ticks(across), labels, legend(list(series)))


def lines_svg(exhibit: Lines) -> str:
    curves = [(name, series, _finite(points)) for name, series, points in exhibit.series]
    curves = [curve for curve in curves if curve[2]]
    if not curves:
        return ""
    across = linear_axis([x for *_, points in curves for x, _ in points])
    up = linear_axis([y for *_, points in curves for _, y in points])
    marks = []
    for name, series, points in curves:
        places = [(across.place(x), 100 - up.place(y)) for x, y in points]
        line = " ".join(f"{x:.2f},{y:.2f}" for x, y in places)
        shape = f'<polyline class="s{colour(series)} curve" points="{line}"/>'
        # A curve of one point has no line.
        dot = f'<circle class="s{colour(series)}" cx="{places[0][0]:.2f}%" cy="{places[0][1]:.2f}%" r="3"/>'
        drawn = _stretched(shape) if len(places) > 1 else dot
        marks.append(f"<g><title>{html.escape(name)}</title>{drawn}</g>")
    series_names = {series: name for name, series, _ in curves}
    keys = "".join(
        f'<span><i class="key k{colour(series)}"></i>{html.escape(name)}</span>'
        for series, name in series_names.items()
    )
    labels = exhibit.x_label, exhibit.y_label
    return _plane(up, "".join(marks), _ticks(across), labels, f'<div class="legend">{keys}</div>')


def histogram_svg(exhibit: Histogram) -> str:
    """The outline of each group's shares, with its mean as a dashed line and its median as a dotted one."""
    if not exhibit.shares:
        return ""
    across = Axis(exhibit.edges[0], exhibit.edges[-1], [])
    across = Axis(
        across.low,
        across.high,
        [tick for tick in linear_axis(exhibit.edges).ticks if across.low <= tick[0] <= across.high],
    )
    top = max(share for shares in exhibit.shares.values() for share in shares)
    up = linear_axis([0.0, 100 * top], unit="%")
    marks, names = [], []
    for number, (name, shares) in enumerate(exhibit.shares.items()):
        steps = "".join(
            f"V{100 - up.place(100 * share):.2f}H{across.place(right):.2f}"
            for right, share in zip(exhibit.edges[1:], shares, strict=True)
        )
        marks.append(_stretched(f'<path class="s{colour(number)} shape" d="M0,100{steps}V100"/>'))
        said = name
        for kind, values in (("mean", exhibit.means), ("median", exhibit.medians)):
            if name in values and isfinite(values[name]):
                place = min(100.0, max(0.0, across.place(values[name])))
                marks.append(
                    f'<line class="s{colour(number)} {kind}" x1="{place:.2f}%" x2="{place:.2f}%" y1="0" y2="100%"/>'
                )
                said += f", {kind} {values[name]:,.1f}"
        names.append(said)
    return _plane(up, "".join(marks), _ticks(across), (exhibit.x_label, "share of the rows"), legend(names))


def bars_svg(exhibit: Bars) -> str:
    """Groups of bars over the categories."""
    values = [value for each in exhibit.values.values() for value in each if value is not None and isfinite(value)]
    if not values or not exhibit.categories:
        return ""
    up = linear_axis([0.0, *values])
    width, number_of_groups = 100 / len(exhibit.categories), len(exhibit.values)
    bar_width = 0.8 * width / number_of_groups
    marks = []
    for number, (name, each) in enumerate(exhibit.values.items()):
        for place, value in enumerate(each):
            if value is None or not isfinite(value):
                continue
            ends = sorted((up.place(0.0), up.place(value)))
            left = place * width + 0.1 * width + number * bar_width
            title = f"<title>{html.escape(f'{exhibit.categories[place]}, {name}: {value:.4g}')}</title>"
            marks.append(
                f'<rect class="s{colour(number)}" stroke-width="0" x="{left:.2f}%" width="{bar_width * 0.92:.2f}%" '
                f'y="{100 - ends[1]:.2f}%" height="{ends[1] - ends[0]:.2f}%">{title}</rect>'
            )
    names = "".join(f"<span>{html.escape(name)}</span>" for name in exhibit.categories)
    many = " many" if len(exhibit.categories) > MANY_CATEGORIES else ""
    columns = f"grid-template-columns:repeat({len(exhibit.categories)},minmax(0,1fr))"
    below = f'<div class="categories{many}" style="{columns}">{names}</div>'
    return _plane(up, "".join(marks), below, ("", exhibit.y_label), legend(list(exhibit.values)))


def heads_svg(exhibit: HeadMap) -> str:
    """One cell for each head, a line for each layer, and the bar that says what the colours mean."""
    if not exhibit.values:
        return ""
    framed = {tuple(head) for head in exhibit.selected}
    largest = max((abs(value) for line in exhibit.values for value in line if isfinite(value)), default=0.0) or 1.0
    num_heads = max(len(line) for line in exhibit.values)
    cell, left, top = (22 if num_heads <= 32 else 14), 58, 22
    parts = []
    for layer, line in enumerate(exhibit.values):
        parts.append(
            f'<text x="{left - 8}" y="{top + layer * cell + cell * 0.7:.0f}" text-anchor="end">layer {layer}</text>'
        )
        for head, value in enumerate(line):
            known = isfinite(value)
            # Warm colour: silencing the head raises the loss. Cool colour: silencing it lowers the loss.
            tint = f"rgba(var(--{'less' if value > 0 else 'more'}),{abs(value) / largest if known else 0:.3f})"
            chosen = (layer, head) in framed
            title = f"layer {layer}, head {head}: {value:.4g}" if known else f"layer {layer}, head {head}: not measured"
            if exhibit.standard_errors is not None and known:
                title += f" \u00b1 {exhibit.standard_errors[layer][head]:.2g}"
            place = f'x="{left + head * cell + 1}" y="{top + layer * cell + 1}" width="{cell - 3}" height="{cell - 3}"'
            style = f"fill:{tint};stroke:var(--{'text' if chosen else 'line'})"
            more = ", selected" if chosen else ""
            dashes = "" if known else ' stroke-dasharray="2"'
            parts.append(
                f'<rect {place} stroke-width="{2 if chosen else 1}"{dashes} style="{style}"><title>{title}{more}</title></rect>'
            )
    step = 1 if num_heads <= 32 else 4
    parts += [
        f'<text x="{left + head * cell + cell / 2 - 1:.0f}" y="14" text-anchor="middle">{head}</text>'
        for head in range(0, num_heads, step)
    ]
    size = f'width="{left + num_heads * cell + 4}" height="{top + len(exhibit.values) * cell + 4}"'
    bar = (
        f'<div class="colours"><span>{-largest:.3g}</span><i></i><span>0</span><i></i><span>{largest:.3g}</span> '
        f"{exhibit.unit}; a frame marks the selected heads</div>"
    )
    drawn = f'<svg {size} role="img" aria-label="{html.escape(exhibit.title)}">{"".join(parts)}</svg>'
    return f'<div class="scroll" tabindex="0">{drawn}</div>{bar}'
