"""How are tables and figures drawn in a page? Each as a section with its title, its note, and below a figure its data."""

import html
from collections.abc import Callable
from math import isfinite

from circuitseer_trl.drawing.charts import (
    Axis,
    colour,
    figure,
    heading,
    linear_axis,
    matrix,
    row,
    whisker,
)
from circuitseer_trl.drawing.exhibits import (
    Bars,
    Cell,
    DotPlot,
    DotRow,
    Exhibit,
    Figure,
    HeadMap,
    Histogram,
    Lines,
    Matrix,
    Number,
    Scatter,
    Table,
    Tokens,
)
from circuitseer_trl.drawing.figure_data import figure_table
from circuitseer_trl.drawing.html_pages import anchor
from circuitseer_trl.drawing.planes import bars_svg, heads_svg, histogram_svg, lines_svg, scatter_svg

MAX_ROWS = 1000  # of a figure's table in a page
MAX_ROWS_SHOWN = 30  # of a table; a longer one scrolls in a window of its own


def exhibit_html(exhibit: Exhibit, *, level: int = 3) -> str:
    """A table or a figure as HTML, with an anchor of its name.

    Args:
        level: Level of its title's heading.
    """
    note = f'<p class="note">{html.escape(exhibit.note)}</p>' if exhibit.note else ""
    body = table_html(exhibit) if isinstance(exhibit, Table) else _figure_html(exhibit)
    title = f"<h{level}>{html.escape(exhibit.title)}</h{level}>"
    return f'<section id="{anchor(exhibit.name)}">{title}{note}{body}</section>'


def cell_html(cell: Cell) -> str:
    if isinstance(cell, str):
        return html.escape(cell)
    text = html.escape(cell.text)
    if cell.strong:
        text = f"<strong>{text}</strong>"
    if cell.change:
        change = f"{cell.arrow} {cell.change}".strip()
        text += f" <small>{html.escape(change)}</small>"
    return text


def table_html(table: Table) -> str:
    """The table alone, without its title. It scrolls on its own where it is too wide; long text wraps."""
    numbers = [any(isinstance(line[place], Number) for line in table.rows) for place in range(len(table.heading))]
    marks = [
        ' class="text"' if name in table.text_columns else "" if has_numbers else ' class="word"'
        for name, has_numbers in zip(table.heading, numbers, strict=True)
    ]
    head = "".join(
        f'<th scope="col"{mark}>{html.escape(name)}</th>' for mark, name in zip(marks, table.heading, strict=True)
    )
    body = "".join(
        "<tr>" + "".join(f"<td{mark}>{cell_html(cell)}</td>" for mark, cell in zip(marks, line, strict=True)) + "</tr>"
        for line in table.rows
    )
    head = f"<thead><tr>{head}</tr></thead>" if any(table.heading) else ""
    named = f'role="region" aria-label="{html.escape(table.title)}"'
    drawn = f'tabindex="0" {named}><table>{head}<tbody>{body}</tbody></table></div>'
    if len(table.rows) <= MAX_ROWS_SHOWN:
        return f'<div class="scroll" {drawn}'
    return f'<div class="scroll tall" {drawn}<p class="note">{len(table.rows):,} rows. The table scrolls.</p>'


def _figure_html(exhibit: Figure) -> str:
    draw: dict[type, Callable[..., str]] = {
        **{DotPlot: _dot_plot, Matrix: _matrix, HeadMap: heads_svg, Scatter: scatter_svg, Lines: lines_svg},
        **{Histogram: histogram_svg, Bars: bars_svg, Tokens: _tokens},
    }
    drawn = draw[type(exhibit)](exhibit)
    if isinstance(exhibit, Matrix) or not drawn:  # a matrix is a table itself
        return drawn or '<p class="note">No data.</p>'
    table = figure_table(exhibit)
    if len(table.rows) > MAX_ROWS:
        return f'{drawn}<p class="note">`circuitseer export` writes the {len(table.rows):,} numbers of this figure.</p>'
    return f"{drawn}<details><summary>The figure as a table</summary>{table_html(table)}</details>"


def _tokens(exhibit: Tokens) -> str:
    """The text; a token is darker the more it receives. The first one receives so much that the second largest is full."""
    if not exhibit.tokens:
        return ""
    values = [value if isfinite(value) else 0.0 for value in exhibit.values]
    largest = sorted(values)[-2:][0] or 1.0
    parts = []
    for token, value in zip(exhibit.tokens, values, strict=True):
        tint = f"rgba(var(--less),{0.7 * min(1.0, max(0.0, value) / largest):.2f})"
        parts.append(f'<span style="background:{tint}" title="{value:.3g}">{html.escape(token)}</span>')
    return f'<p class="tokens">{"".join(parts)}</p>'


def _dot_plot(exhibit: DotPlot) -> str:
    numbers = [number for _, rows in exhibit.groups for each in rows for number in _numbers(each)]
    if not numbers:
        return ""
    axis = linear_axis([0.0, *numbers] if exhibit.signed else numbers, unit=exhibit.unit, signed=exhibit.signed)
    rows = []
    for title, lines in exhibit.groups:
        if title:
            rows.append(heading(title))
        for each in lines:
            text = each.text or ("-" if each.value is None else f"{each.value:g}")
            value, _, note = text.partition(" ")
            rows.append(row(axis, each.label, _dots(axis, each), value, note=note, series=each.series))
    return figure(axis, rows, "")


def _numbers(each: DotRow) -> list[float]:
    numbers = [*each.dots, *(each.interval or ()), *([] if each.value is None else [each.value])]
    return [number for number in numbers if isfinite(number)]


def _dots(axis: Axis, each: DotRow) -> str:
    parts = [
        f'<circle class="s{colour(each.series)} seed" cx="{axis.place(dot):.2f}%" cy="50%" r="3"/>'
        for dot in each.dots
        if isfinite(dot)
    ]
    if each.value is not None and isfinite(each.value):
        ends = each.interval if each.interval and all(map(isfinite, each.interval)) else (each.value, each.value)
        mark = whisker(axis, each.value, ends, each.series)
        parts.append(mark.replace("<circle", '<circle class="hollow"') if each.hollow else mark)
    return "".join(parts)


def _matrix(exhibit: Matrix) -> str:
    return matrix(exhibit.names, exhibit.values, exhibit.texts)
