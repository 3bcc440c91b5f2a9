"""Bars and a growth curve as one SVG file, without a plotting library."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

WIDTH, ROW, LEFT = 760, 24, 300
OURS, PEER = "#2a78b5", "#777777"


def bars(title: str, values: Mapping[str, float], unit: str, top: int) -> list[str]:
    """A bar for each value, the longest across the page."""
    largest = max(values.values())
    parts = [f'<text x="16" y="{top}" font-weight="bold">{escape(title)}</text>']
    for index, (name, value) in enumerate(values.items()):
        y = top + 12 + index * ROW
        width = max(1.0, value / largest * (WIDTH - LEFT - 110))
        colour = OURS if name.startswith("ours") else PEER
        parts += [
            f'<text x="{LEFT - 8}" y="{y + 15}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{LEFT}" y="{y + 3}" width="{width:.1f}" height="16" fill="{colour}"/>',
            f'<text x="{LEFT + width + 6:.1f}" y="{y + 15}">{value:.3g} {escape(unit)}</text>',
        ]
    return parts


def curves(
    title: str, lengths: Sequence[int], series: Mapping[str, Sequence[float]], unit: str, top: int, height: int = 220
) -> list[str]:
    """Lines over numbers that grow, both axes logarithmic."""
    values = [value for line in series.values() for value in line]
    low, high = math.log(min(values)), math.log(max(values))
    right, bottom = WIDTH - 170, top + height

    def x(length: int) -> float:
        span = math.log(lengths[-1] / lengths[0]) or 1.0
        return 70 + math.log(length / lengths[0]) / span * (right - 70)

    def y(value: float) -> float:
        return bottom - (math.log(value) - low) / ((high - low) or 1.0) * (height - 30)

    parts = [f'<text x="16" y="{top}" font-weight="bold">{escape(title)}</text>']
    parts += [f'<text x="{x(n):.1f}" y="{bottom + 18}" text-anchor="middle">{n}</text>' for n in lengths]
    parts += [
        f'<text x="62" y="{y(value) + 4:.1f}" text-anchor="end">{value:.2g}</text>'
        for value in (min(values), max(values))
    ]
    for name, line in series.items():
        colour = OURS if name.startswith("ours") else PEER
        points = " ".join(f"{x(n):.1f},{y(value):.1f}" for n, value in zip(lengths, line, strict=True))
        parts += [
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>',
            f'<text x="{right + 8}" y="{y(line[-1]) + 4:.1f}" fill="{colour}">{escape(name)}</text>',
        ]
    return [*parts, f'<text x="62" y="{bottom + 34}">{escape(unit)}; both axes logarithmic</text>']


def write_plot(
    path: Path,
    groups: Mapping[str, Mapping[str, float]],
    growth: Sequence[tuple[str, Sequence[int], Mapping[str, Sequence[float]]]],
    unit: str,
) -> None:
    """Writes the plot.

    Args:
        groups: Title and values of each group of bars.
        growth: Title, numbers, and each method's values at them, of each group of lines.
    """
    parts: list[str] = []
    top = 28
    for title, values in groups.items():
        parts += bars(title, values, unit, top)
        top += 12 + len(values) * ROW + 34
    for title, numbers, lines in growth:
        parts += curves(title, numbers, lines, unit, top)
        top += 220 + 70
    height = top
    style = "font-family: sans-serif; font-size: 13px; background: white"
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" style="{style}">'
    path.write_text("\n".join([svg, *parts, "</svg>"]) + "\n", encoding="utf-8")
