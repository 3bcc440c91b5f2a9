"""How do selections compare? Tables for a terminal, and a page."""

import numpy as np

from circuitseer_trl.drawing.charts import bar, figure, histogram, lanes, legend, linear_axis, log_axis, matrix, row
from circuitseer_trl.drawing.html_pages import html_page, html_table
from circuitseer_trl.pages.overlap_tables import OVERLAP_HEADING, OVERLAP_TITLE, overlap_rows
from circuitseer_trl.selection.differences import SelectionDifferences

NUM_BINS = 24


Table = tuple[str, list[list[str]]]


def number(value: float | None, digits: int = 2) -> str:
    return "-" if value is None or np.isnan(value) else f"{value:.{digits}f}"


def facts_table(comparison: SelectionDifferences) -> Table:
    of = f" ({comparison.length_source})" if comparison.length_source else ""
    rows = [["selection", "method", "rows", f"mean tokens{of}", "median", "seconds", "seconds per 1,000 rows"]]
    for name, facts in zip(comparison.names, comparison.rows, strict=True):
        lengths = [number(facts["mean_length"], 1), number(facts["median_length"], 0)]
        seconds = [number(facts["seconds"], 1), number(facts["seconds_per_1000"])]
        rows.append([name, facts["method"], str(facts["num_selected"]), *lengths, *seconds])
    pool = comparison.pool_lengths
    lengths = [number(float(pool.mean()), 1), number(float(np.median(pool)), 0)] if len(pool) else ["-", "-"]
    return "Selections", [*rows, ["the pool", "", "", *lengths, "", ""]]


def overlap_texts(comparison: SelectionDifferences) -> list[list[str]]:
    return [
        [f"{100 * value:.0f}% ({100 * by_chance:.0f}%)" for value, by_chance in zip(line, chance, strict=True)]
        for line, chance in zip(comparison.overlap, comparison.chance, strict=True)
    ]


def correlation_texts(comparison: SelectionDifferences) -> list[list[str]]:
    return [[number(value) for value in line] for line in comparison.correlation]


def category_table(comparison: SelectionDifferences) -> Table:
    rows = [["category", "the pool", *comparison.names]]
    rows += [[name, *(f"{100 * share:.0f}%" for share in shares)] for name, shares in comparison.categories.items()]
    return "Share of each category", rows


OVERLAP = "Rows in both, as a share of the smaller selection (by chance)"


CORRELATION = "Rank correlation of scores"


def tables(comparison: SelectionDifferences) -> list[Table]:
    """Titles and rows of cells. The first row of each table is the heading."""
    names = comparison.names
    result = [facts_table(comparison)]
    for title, texts in ((OVERLAP, overlap_texts(comparison)), (CORRELATION, correlation_texts(comparison))):
        result.append((title, [["", *names], *([name, *line] for name, line in zip(names, texts, strict=True))]))
    result.append((OVERLAP_TITLE, [OVERLAP_HEADING, *overlap_rows(comparison.pairs)]))
    return [*result, category_table(comparison)] if comparison.categories else result


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
        value = f"mean {number(facts['mean_length'], 1)}"
        rows.append(
            row(axis, name, marks, value, note=f"median {number(facts['median_length'], 0)}", series=series, height=54)
        )
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
        row(axis, name, bar(axis, value, series), number(value), note="s", series=series)
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
    names = comparison.names

    def section(title: str, note: str, content: str) -> str:
        return f'<h2>{title}</h2><p class="note">{note}</p>{content}'

    _, facts = facts_table(comparison)
    parts = [html_table(facts[0], facts[1:])]
    if len(comparison.pool_lengths):
        parts.append(f"<h2>Lengths of the chosen rows</h2>{length_chart(comparison)}")
    note = (
        "Colour: overlap above that of independent draws; another colour for overlap below it. Selections with the same random "
        "numbers share more rows than their scores alone would cause."
    )
    parts.append(section(OVERLAP, note, matrix(names, beyond_chance(comparison), overlap_texts(comparison))))
    pairs = html_table(OVERLAP_HEADING, overlap_rows(comparison.pairs))
    parts.append(f"<details><summary>{OVERLAP_TITLE}, in numbers</summary>{pairs}</details>")
    note = "Spearman's, over the rows that both have scored, before any combination. There is none (-) if all scores are equal."
    parts.append(section(CORRELATION, note, matrix(names, comparison.correlation, correlation_texts(comparison))))
    if comparison.categories:
        title, shares = category_table(comparison)
        folded = f"<details><summary>As a table</summary>{html_table(shares[0], shares[1:])}</details>"
        parts.append(f"<h2>{title}</h2>{category_chart(comparison)}{folded}")
    parts.append(f"<h2>Cost</h2>{cost_chart(comparison)}")
    return html_page("Selections compared", "".join(parts))
