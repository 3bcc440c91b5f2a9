"""Compares selections of one pool: overlap, agreement of scores, lengths, categories and cost, as tables and as a page.

circuitseer compare runs/circuitseer runs/random length=runs/control --output comparison.html
"""

import argparse
import html
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from circuitseer_trl.artifacts import write_text
from circuitseer_trl.selection.comparison import Comparison, compare, read_folder

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #1c1c1c; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { padding: .35rem .7rem; border-bottom: 1px solid #ddd; text-align: right; }
th:first-child, td:first-child { text-align: left; }
svg { max-width: 100%; }
svg text { font: 12px system-ui, sans-serif; fill: #222; }
"""
CELL = 64

Table = tuple[str, list[list[str]]]


def number(value: float | None, digits: int = 2) -> str:
    return "-" if value is None or np.isnan(value) else f"{value:.{digits}f}"


def tables(comparison: Comparison) -> list[Table]:
    """Titles, and rows of cells of which the first row is the heading."""
    names = comparison.names
    length = f"mean tokens ({comparison.length_source})" if comparison.length_source else "mean tokens"
    facts = [["selection", "method", "rows", length, "seconds per 1,000 rows"]]
    facts += [
        [
            name,
            row["method"],
            str(row["num_selected"]),
            number(row["mean_length"], 1),
            number(row["seconds_per_1000"]),
        ]
        for name, row in zip(names, comparison.rows, strict=True)
    ]
    facts.append(["the pool", "", "", number(comparison.pool_length, 1), ""])
    overlap = [["", *names]]
    overlap += [
        [name, *(f"{100 * value:.0f}% ({100 * by_chance:.0f}%)" for value, by_chance in zip(row, chance, strict=True))]
        for name, row, chance in zip(names, comparison.overlap, comparison.chance, strict=True)
    ]
    agreement = [["", *names]]
    agreement += [
        [name, *(number(value) for value in row)] for name, row in zip(names, comparison.correlation, strict=True)
    ]
    result = [
        ("Selections", facts),
        ("Rows in both, as a share of the smaller selection (by chance)", overlap),
        ("Rank correlation of scores", agreement),
    ]
    if comparison.categories:
        shares = [["category", "the pool", *names]]
        shares += [
            [name, *(f"{100 * share:.0f}%" for share in values)] for name, values in comparison.categories.items()
        ]
        result.append(("Share of each category", shares))
    return result


def as_text(table: Table) -> str:
    title, rows = table
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([title, lines[0], "-" * max(map(len, lines)), *lines[1:]])


def as_html(table: Table) -> str:
    title, rows = table
    body = "".join(
        f"<tr>{''.join(f'<{tag}>{html.escape(cell)}</{tag}>' for cell in row)}</tr>"
        for tag, row in [("th", rows[0]), *(("td", row) for row in rows[1:])]
    )
    return f"<h2>{html.escape(title)}</h2><table>{body}</table>"


def heat_map(names: Sequence[str], values: np.ndarray) -> str:
    """A matrix of values in [-1, 1] as an SVG: blue above 0, red below, grey where there is none."""
    left = 20 + 7 * max(map(len, names))
    parts = []
    for row, (name, line) in enumerate(zip(names, values, strict=True)):
        middle = CELL * row + CELL // 2 + 34
        parts.append(f'<text x="{left - 8}" y="{middle}" text-anchor="end">{html.escape(name)}</text>')
        parts.append(f'<text x="{left + CELL * row + 4}" y="22">{html.escape(name[:9])}</text>')
        for column, value in enumerate(line):
            colour = (
                "#eee" if np.isnan(value) else f"rgba({'30,90,200' if value >= 0 else '200,60,40'},{abs(value):.2f})"
            )
            place = f'x="{left + CELL * column}" y="{CELL * row + 30}" width="{CELL - 2}" height="{CELL - 2}"'
            parts.append(f'<rect {place} fill="{colour}"/>')
            parts.append(f'<text x="{left + CELL * column + 16}" y="{middle}">{number(float(value))}</text>')
    width, height = left + CELL * len(names) + 40, CELL * len(names) + 40
    return f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">{"".join(parts)}</svg>'


def bars(names: Iterable[str], values: Iterable[float | None]) -> str:
    """Values of at least 0 as horizontal bars."""
    known = [(name, value) for name, value in zip(names, values, strict=True) if value is not None]
    top = max((value for _, value in known), default=0.0) or 1.0
    parts = [
        f'<text x="190" y="{24 * row + 16}" text-anchor="end">{html.escape(name)}</text>'
        f'<rect x="200" y="{24 * row + 3}" width="{400 * value / top:.1f}" height="18" fill="#1e5ac8"/>'
        f'<text x="{206 + 400 * value / top:.1f}" y="{24 * row + 16}">{number(value, 1)}</text>'
        for row, (name, value) in enumerate(known)
    ]
    return f'<svg viewBox="0 0 700 {24 * len(known) + 4}" width="700" role="img">{"".join(parts)}</svg>'


def page(comparison: Comparison) -> str:
    """The tables and plots as one HTML file that needs no network."""
    names = comparison.names
    lengths = [row["mean_length"] for row in comparison.rows]
    facts, *others = [as_html(table) for table in tables(comparison)]
    plots = [
        "<h2>Mean tokens of the chosen rows</h2>" + bars(["the pool", *names], [comparison.pool_length, *lengths]),
        others[0] + heat_map(names, comparison.overlap),
        others[1] + heat_map(names, comparison.correlation),
        *others[2:],
    ]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Selections compared</title><style>{STYLE}</style>'
        f"<h1>Selections compared</h1>{facts}{''.join(plots)}</html>\n"
    )


def main(args: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="circuitseer compare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", metavar="[NAME=]FOLDER", help="Folders of `select-data` or `reproduce`.")
    parser.add_argument("--output", default="comparison.html", help="The page to write (comparison.html).")
    options = parser.parse_args(args)
    folders = []
    for word in options.folders:
        name, given, folder = word.partition("=")
        folders.append(read_folder(word) if not given or Path(word).exists() else read_folder(folder, name))
    comparison = compare(folders)
    print("\n\n".join(as_text(table) for table in tables(comparison)))
    write_text(options.output, page(comparison))
    print(f"\nWritten to {options.output}")


if __name__ == "__main__":
    main()
