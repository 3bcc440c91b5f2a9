"""Charts as HTML with inline SVG. Positions are in percent of the width, so that text keeps its size on narrow screens."""

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, floor, isnan, log, log10

NUM_COLOURS = 8  # of series, defined in `html_pages.STYLE`


def colour(series: int) -> int:
    return series % NUM_COLOURS


@dataclass(frozen=True)
class Axis:
    """A horizontal axis.

    Attributes:
        low: Value at the left end.
        high: Value at the right end.
        ticks: Values with a label, and their labels.
        is_log: Whether the axis is logarithmic.
    """

    low: float
    high: float
    ticks: list[tuple[float, str]]
    is_log: bool = False

    def place(self, value: float) -> float:
        """The position of a value, in percent from left to right."""
        low, high, value = (log(self.low), log(self.high), log(value)) if self.is_log else (self.low, self.high, value)
        return 100 * (value - low) / (high - low)


def linear_axis(values: Iterable[float], *, unit: str = "", signed: bool = False) -> Axis:
    """An axis with round ends around the values, and about five ticks."""
    values = list(values)
    low, high = min(values), max(values)
    if high == low:
        low, high = (low - 1, high + 1) if low else (0.0, 1.0)
    power = 10.0 ** floor(log10((high - low) / 5))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power * 5.5 >= high - low)
    first, last = floor(low / step + 1e-9), ceil(high / step - 1e-9)
    digits = max(0, -floor(log10(step) + 1e-9))
    form = f"{'+' if signed else ''}.{digits}f"
    ticks = [
        (number * step, f"{number * step:{form if number else f'.{digits}f'}}{unit}")
        for number in range(first, last + 1)
    ]
    return Axis(first * step, last * step, ticks)


def log_axis(low: float, high: float) -> Axis:
    """A logarithmic axis from low to high, both above 0, with ticks at round multiples of powers of ten."""
    powers = range(floor(log10(low)), ceil(log10(high)) + 1)
    factors = (1, 1.5, 2, 3, 4, 5, 7) if high < 10 * low else (1, 2, 5) if high < 1000 * low else (1,)
    values = [factor * 10.0**power for power in powers for factor in factors]
    return Axis(low, high, [(value, f"{value:,g}") for value in values if low <= value <= high], is_log=True)


def whisker(axis: Axis, value: float, interval: Sequence[float], series: int) -> str:
    """A dot with the line of its interval."""
    low, high = (axis.place(end) for end in interval)
    return (
        f'<g class="s{colour(series)}"><line x1="{low:.2f}%" x2="{high:.2f}%" y1="50%" y2="50%" stroke-width="2"/>'
        f'<circle cx="{axis.place(value):.2f}%" cy="50%" r="4.5"/></g>'
    )


def bar(axis: Axis, value: float, series: int) -> str:
    return f'<rect class="s{colour(series)}" stroke-width="0" x="0" y="20%" height="60%" width="{axis.place(value):.2f}%"/>'


def lanes(axis: Axis, values: Sequence[float], reference: float) -> str:
    """One dot for each value, from top to bottom, and a line through all of them at the reference."""
    place = axis.place(reference)
    parts = [f'<line class="pool-mark" stroke-width="2" x1="{place:.2f}%" x2="{place:.2f}%" y1="0" y2="100%"/>']
    for series, value in enumerate(values):
        height = 10 + 80 * (series + 0.5) / len(values)
        ends = f'x1="{place:.2f}%" x2="{axis.place(value):.2f}%" y1="{height:.1f}%" y2="{height:.1f}%"'
        parts.append(
            f'<g class="s{colour(series)}"><line {ends} stroke-width="1.5"/>'
            f'<circle cx="{axis.place(value):.2f}%" cy="{height:.1f}%" r="3.5"/></g>'
        )
    return "".join(parts)


def histogram(
    axis: Axis, edges: Sequence[float], shares: Sequence[float], pool: Sequence[float], top: float, series: int
) -> str:
    """Shares of bins as bars in front of the pool's; a share of `top` fills the height."""
    places = [axis.place(edge) for edge in edges]
    parts = []
    for left, right, share, of_pool in zip(places[:-1], places[1:], shares, pool, strict=True):
        for mark, value, opacity in (
            ("pool", of_pool, ""),
            (f"s{colour(series)}", share, ' fill-opacity=".55" stroke-width="0"'),
        ):
            if value > 0:
                size = (
                    f'width="{right - left:.2f}%" y="{100 * (1 - value / top):.1f}%" height="{100 * value / top:.1f}%"'
                )
                parts.append(f'<rect class="{mark}"{opacity} x="{left:.2f}%" {size}/>')
    return "".join(parts)


def polyline(across: Axis, up: Axis, points: Sequence[tuple[float, float]], series: int) -> str:
    """Dots at the points and lines between neighbours; the vertical axis starts at the bottom of the track."""
    places = [(across.place(x), 100 - up.place(y)) for x, y in points]
    lines = "".join(
        f'<line stroke-width="2" x1="{x1:.2f}%" x2="{x2:.2f}%" y1="{y1:.1f}%" y2="{y2:.1f}%"/>'
        for (x1, y1), (x2, y2) in pairwise(places)
    )
    dots = "".join(f'<circle cx="{x:.2f}%" cy="{y:.1f}%" r="3.5"/>' for x, y in places)
    return f'<g class="s{colour(series)}">{lines}{dots}</g>'


def row(
    axis: Axis, label: str, marks: str, value: str, *, note: str = "", series: int | None = None, height: int = 22
) -> str:
    """One line of a figure: a label, the marks, and the value as text.

    Args:
        marks: SVG from the functions above.
        note: Small print after the value.
        series: Number of the colour of the key before the label; None leaves the key out.
    """
    key = "" if series is None else f'<i class="key k{colour(series)}"></i>'
    lines = "".join(
        f'<line class="{"grid" if tick else "zero"}" x1="{axis.place(tick):.2f}%" x2="{axis.place(tick):.2f}%" y1="0" y2="100%"/>'
        for tick, _ in axis.ticks
    )
    small = f" <small>{html.escape(note)}</small>" if note else ""
    return (
        f'<div class="row"><span class="label">{key}{html.escape(label)}</span>'
        f'<svg width="100%" height="{height}" aria-hidden="true">{lines}{marks}</svg>'
        f'<span class="value">{html.escape(value)}{small}</span></div>'
    )


def heading(text: str) -> str:
    return f'<div class="row heading"><span class="label">{html.escape(text)}</span></div>'


def figure(axis: Axis, rows: Iterable[str], caption: str) -> str:
    """Rows from top to bottom over one axis."""
    names = "".join(
        f'<text x="{axis.place(tick):.2f}%" y="13" text-anchor="middle">{html.escape(name)}</text>'
        for tick, name in axis.ticks
    )
    scale = f'<div class="row"><span></span><svg width="100%" height="18" aria-hidden="true">{names}</svg><span></span></div>'
    return f"<figure>{''.join(rows)}{scale}<figcaption>{html.escape(caption)}</figcaption></figure>"


def legend(names: Sequence[str]) -> str:
    keys = "".join(f'<span><i class="key k{colour(n)}"></i>{html.escape(name)}</span>' for n, name in enumerate(names))
    return f'<div class="legend">{keys}</div>'


def matrix(names: Sequence[str], values: Iterable[Iterable[float]], texts: Iterable[Iterable[str]]) -> str:
    """A square table of values in [-1, 1] as a heat map: stronger colour for larger values, another colour below 0."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    body = []
    for name, line, words in zip(names, values, texts, strict=True):
        cells = []
        for value, word in zip(line, words, strict=True):
            tint = f"rgba(var(--{'more' if value >= 0 else 'less'}),{0.75 * min(1.0, abs(value)):.2f})"
            style = "" if isnan(value) else f' style="background:{tint}"'
            cells.append(f"<td{style}>{html.escape(word)}</td>")
        body.append(f"<tr><th>{html.escape(name)}</th>{''.join(cells)}</tr>")
    return (
        f'<div class="scroll"><table class="matrix"><thead><tr><th></th>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )
