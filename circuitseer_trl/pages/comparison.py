"""How do selections compare? Tables for a terminal, and a page."""

import numpy as np

from circuitseer_trl.drawing.charts import bar, figure, histogram, lanes, legend, linear_axis, log_axis, row
from circuitseer_trl.drawing.exhibit_html import exhibit_html, table_html
from circuitseer_trl.drawing.exhibits import Cell, Matrix, Number, Table
from circuitseer_trl.drawing.html_pages import html_page
from circuitseer_trl.pages.overlap_tables import OVERLAP_HEADING, OVERLAP_TITLE, overlap_rows
from circuitseer_trl.selection.differences import SelectionDifferences

NUM_BINS = 24


def number(value: float | None, digits: int = 2) -> Number:
    known = value is not None and not np.isnan(value)
    return Number(value if known else None, f"{value:.{digits}f}" if known else "-")


def facts_table(comparison: SelectionDifferences) -> Table:
    of = f" ({comparison.length_source})" if comparison.length_source else ""
    heading = ["selection", "method", "rows", f"mean tokens{of}", "median", "seconds", "seconds per 1,000 rows"]
    rows: list[list[Cell]] = []
    for name, facts in zip(comparison.names, comparison.rows, strict=True):
        lengths = [number(facts["mean_length"], 1), number(facts["median_length"], 0)]
        seconds = [number(facts["seconds"], 1), number(facts["seconds_per_1000"])]
        rows.append([name, facts["method"], number(facts["num_selected"], 0), *lengths, *seconds])
    pool = comparison.pool_lengths
    lengths = [number(float(pool.mean()), 1), number(float(np.median(pool)), 0)] if len(pool) else [number(None)] * 2
    return Table("selections", "Selections", heading, [*rows, ["the pool", "", "", *lengths, "", ""]])


def overlap_matrix(comparison: SelectionDifferences) -> Matrix:
    """Overlaps, coloured by how far they are beyond chance."""
    texts = [
        [f"{100 * value:.0f}% ({100 * by_chance:.0f}%)" for value, by_chance in zip(line, chance, strict=True)]
        for line, chance in zip(comparison.overlap, comparison.chance, strict=True)
    ]
    note = (
        "Colour: overlap above that of independent draws; another colour for overlap below it. Selections with the same random "
        "numbers share more rows than their scores alone would cause."
    )
    title = "Rows in both, as a share of the smaller selection (by chance)"
    return Matrix("overlap", title, comparison.names, beyond_chance(comparison).tolist(), texts, note)


def correlation_matrix(comparison: SelectionDifferences) -> Matrix:
    texts = [[number(value).text for value in line] for line in comparison.correlation]
    note = "Spearman's, over the rows that both have scored, before any combination. There is none (-) if all scores are equal."
    values = comparison.correlation.tolist()
    return Matrix("correlation", "Rank correlation of scores", comparison.names, values, texts, note)


def category_table(comparison: SelectionDifferences) -> Table:
    rows: list[list[Cell]] = [
        [name, *(Number(share, f"{100 * share:.0f}%") for share in shares)]
        for name, shares in comparison.categories.items()
    ]
    return Table("categories", "Share of each category", ["category", "the pool", *comparison.names], rows)


def pairs_table(comparison: SelectionDifferences) -> Table:
    return Table("pairs", OVERLAP_TITLE, OVERLAP_HEADING, overlap_rows(comparison.pairs))


def tables(comparison: SelectionDifferences) -> list[Table]:
    """All of it for a terminal."""
    squares = [
        Table(each.name, each.title, ["", *each.names], [[a, *b] for a, b in zip(each.names, each.texts, strict=True)])
        for each in (overlap_matrix(comparison), correlation_matrix(comparison))
    ]
    categories = [category_table(comparison)] if comparison.categories else []
    return [facts_table(comparison), *squares, pairs_table(comparison), *categories]


def length_chart(comparison: SelectionDifferences) -> str:
    """Each selection's lengths in front of the pool's."""
    pool = np.maximum(comparison.pool_lengths, 1)
    low, high = float(pool.min()), float(pool.max())
    edges = np.geomspace(low * 0.99, high * 1.01, NUM_BINS + 1)
    of_pool, *of_selections = [
        np.histogram(np.maximum(lengths, 1), edges)[0] / max(1, len(lengths))
        for lengths in (comparison.pool_lengths, *comparison.lengths)
    ]
    top = max(float(shares.max()) for shares in (of_pool, *of_selections))
    axis = log_axis(edges[0], edges[-1])
    rows = []
    for series, (name, shares) in enumerate(zip(comparison.names, of_selections, strict=True)):
        facts = comparison.rows[series]
        marks = histogram(axis, edges.tolist(), shares.tolist(), of_pool.tolist(), top, series)
        mean, median = number(facts["mean_length"], 1).text, number(facts["median_length"], 0).text
        rows.append(row(axis, name, marks, f"mean {mean}", note=f"median {median}", series=series, height=54))
    caption = (
        f"Tokens, as {comparison.length_source} counts them; equal ratios are equal widths. Grey: the pool, with a mean of "
        f"{pool.mean():.1f} and a median of {np.median(pool):.0f}."
    )
    return figure(axis, rows, caption)


def category_chart(comparison: SelectionDifferences) -> str:
    """Each selection's share of every category, beside the pool's."""
    names = sorted(comparison.categories, key=lambda name: -comparison.categories[name][0])
    axis = linear_axis([0.0, *(100 * share for shares in comparison.categories.values() for share in shares)], unit="%")
    rows = []
    for name in names:
        of_pool, *shares = (100 * share for share in comparison.categories[name])
        marks = lanes(axis, shares, of_pool)
        rows.append(row(axis, name, marks, f"{of_pool:.0f}%", note="of the pool", height=14 + 11 * len(shares)))
    return legend(comparison.names) + figure(axis, rows, "The upright line is the pool's share.")


def cost_chart(comparison: SelectionDifferences) -> str:
    seconds = [facts["seconds_per_1000"] for facts in comparison.rows]
    axis = linear_axis([0.0, *seconds])
    rows = [
        row(axis, name, bar(axis, value, series), number(value).text, note="s", series=series)
        for series, (name, value) in enumerate(zip(comparison.names, seconds, strict=True))
    ]
    return figure(
        axis, rows, "Seconds for 1,000 rows of the pool: finding heads and scoring, on the machines that did it."
    )


def beyond_chance(comparison: SelectionDifferences) -> np.ndarray:
    """Overlap on a scale where 0 is chance and 1 is all rows; NaN if chance is already all rows."""
    room = 1 - comparison.chance
    return np.divide(comparison.overlap - comparison.chance, room, out=np.full_like(room, np.nan), where=room > 0)


def page(comparison: SelectionDifferences) -> str:
    """The tables and plots as one HTML file that needs no network."""
    parts = [table_html(facts_table(comparison))]
    if len(comparison.pool_lengths):
        parts.append(f"<h2>Lengths of the chosen rows</h2>{length_chart(comparison)}")
    parts += [
        exhibit_html(overlap_matrix(comparison), level=2),
        _folded(f"{OVERLAP_TITLE}, in numbers", pairs_table(comparison)),
    ]
    parts.append(exhibit_html(correlation_matrix(comparison), level=2))
    if comparison.categories:
        shares = category_table(comparison)
        parts.append(f"<h2>{shares.title}</h2>{category_chart(comparison)}{_folded('As a table', shares)}")
    parts.append(f"<h2>Cost</h2>{cost_chart(comparison)}")
    return html_page("Selections compared", "".join(parts))


def _folded(summary: str, table: Table) -> str:
    return f"<details><summary>{summary}</summary>{table_html(table)}</details>"
