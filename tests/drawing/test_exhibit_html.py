"""Tables and figures in a page: the numbers are in their places, and foreign text stays text."""

import re
from math import nan
from pathlib import Path

import pytest

from circuitseer_trl.drawing.exhibit_html import exhibit_html
from circuitseer_trl.drawing.exhibits import Bars, DotPlot, DotRow, HeadMap, Lines, Number, Scatter, Table
from circuitseer_trl.drawing.figure_data import figure_table
from circuitseer_trl.drawing.html_pages import html_page
from circuitseer_trl.drawing.planes import MAX_POINTS
from tests.helpers.exhibits import all_kinds
from tests.helpers.pages import check_width, read_page


@pytest.mark.parametrize("exhibit", all_kinds(), ids=lambda exhibit: exhibit.name)
def test_every_kind_has_its_anchor_and_title_and_foreign_text_is_text(exhibit):
    page = read_page(html_page("Exhibits", exhibit_html(exhibit)))
    assert ("section", {"id": exhibit.name}) in page.elements
    assert exhibit.title in page.text


def test_an_interval_its_mean_and_single_runs_are_in_their_places():
    drawn = exhibit_html(DotPlot("a", "A", [("", [DotRow("x", 5.0, (2.0, 10.0), (0.0, 9.0))])]))
    # The axis goes from 0 to 10.
    assert '<line x1="20.00%" x2="100.00%"' in drawn
    assert '<circle cx="50.00%"' in drawn
    assert [f'seed" cx="{place}%"' in drawn for place in ("0.00", "90.00")] == [True, True]


def test_differences_have_a_line_at_zero():
    drawn = exhibit_html(DotPlot("a", "A", [("", [DotRow("x", 3.0, (1.0, 5.0))])], signed=True))
    assert '<line class="zero" x1="0.00%"' in drawn


def test_changes_have_arrows_and_the_best_is_bold():
    rows = [["a", Number(1.0, "1.0", "+0.5", strong=True)], ["b", Number(0.5, "0.5", "-0.5")]]
    drawn = exhibit_html(Table("t", "T", ["method", "value"], rows))
    assert "<strong>1.0</strong> <small>\u2191 +0.5</small>" in drawn
    assert "0.5 <small>\u2193 -0.5</small>" in drawn


def test_numbers_stand_right_and_words_left():
    table = Table(
        "t", "A <b>", ["run", "model", "value", "remark"], [["a", "m", Number(1.0, "1"), "long"]], "", ["remark"]
    )
    drawn = exhibit_html(table)
    assert '<td class="word">a</td><td class="word">m</td><td>1</td><td class="text">long</td>' in drawn
    assert 'aria-label="A &lt;b&gt;"' in drawn


@pytest.mark.parametrize(("num_rows", "words"), [(30, []), (31, ["31 rows. The table scrolls."])])
def test_a_long_table_scrolls_and_says_so(num_rows: int, words: list[str]):
    drawn = exhibit_html(Table("t", "T", ["x"], [["a"]] * num_rows))
    assert drawn.count("<td") == num_rows
    assert re.findall(r'<p class="note">(.*?)</p>', drawn) == words
    assert ('class="scroll tall"' in drawn) == bool(words)


def test_an_anchor_has_no_spaces():
    assert exhibit_html(Table('a "b"\nc', "", ["x"], [])).startswith('<section id="a-&quot;b&quot;-c">')


def test_a_head_has_its_value_its_error_and_its_frame():
    drawn = exhibit_html(HeadMap("h", "H", [[0.5, -0.25]], [(0, 1)], [[0.1, 0.2]]))
    assert "<title>layer 0, head 0: 0.5 \u00b1 0.1</title>" in drawn
    assert "<title>layer 0, head 1: -0.25 \u00b1 0.2, selected</title>" in drawn
    assert drawn.count('stroke-width="2"') == 1
    assert "rgba(var(--less),1.000)" in drawn
    assert "rgba(var(--more),0.500)" in drawn


def test_many_points_are_thinned_and_it_says_so():
    points = [(float(x), float(x % 7)) for x in range(10 * MAX_POINTS)]
    drawn = exhibit_html(Scatter("s", "S", {"pool": points}, "tokens", "score"))
    assert drawn.count("<circle") == MAX_POINTS
    assert "2,000 of 20,000 points are drawn" in drawn
    assert "<table>" not in drawn


@pytest.mark.parametrize(
    "exhibit",
    [
        DotPlot("a", "A", []),
        DotPlot("a", "A", [("", [DotRow("x", None)])]),
        Scatter("a", "A", {"pool": [(nan, 1.0)]}, "x", "y"),
        Lines("a", "A", [], "x", "y"),
        Bars("a", "A", ["c"], {"pool": [None]}, "y"),
        HeadMap("a", "A", [], []),
    ],
    ids=lambda exhibit: type(exhibit).__name__,
)
def test_a_figure_without_data_says_so(exhibit):
    assert "No data." in exhibit_html(exhibit)


def test_a_figure_has_its_numbers_as_a_table():
    table = figure_table(DotPlot("a", "A", [("g", [DotRow("x", 5.0, (2.0, 10.0), (0.0, 9.0))])]))
    assert [getattr(cell, "value", cell) for cell in table.rows[0]] == ["g", "x", 5.0, 2.0, 10.0, "0 9"]


@pytest.mark.engine
@pytest.mark.parametrize("width", [360, 1200])
def test_fits_a_screen(width: int, tmp_path: Path):
    check_width(html_page("Exhibits", "".join(map(exhibit_html, all_kinds()))), width, tmp_path)
