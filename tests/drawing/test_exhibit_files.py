"""Tables and figures as files: a CSV file gives the numbers back, and foreign text breaks neither Markdown nor LaTeX."""

import csv
import io
import re
import struct

import pytest

from circuitseer_trl.drawing.exhibits import Number, Table
from circuitseer_trl.drawing.figure_data import figure_table
from circuitseer_trl.drawing.table_files import table_csv, table_latex, table_markdown
from tests.helpers.exhibits import HOSTILE, all_kinds

TABLES = [each if isinstance(each, Table) else figure_table(each) for each in all_kinds()]
FIGURES = [each for each in all_kinds() if not isinstance(each, Table)]


def test_a_csv_file_has_numbers_changes_and_texts():
    rows = list(csv.DictReader(io.StringIO(table_csv(TABLES[0]))))
    assert [row["Pass@1"] for row in rows] == ["0.611", "0.656", ""]
    assert [row["Pass@1, change"] for row in rows] == ["", "+4.5", "-4.5"]
    assert rows[0]["Pass@1, as text"] == "61.1 [50.8, 70.5]"
    assert rows[0]["remark"] == HOSTILE


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_numbers_in_a_csv_file_are_not_rounded(table: Table):
    read = list(csv.reader(io.StringIO(table_csv(table))))[1:]
    assert len(read) == len(table.rows)
    for line, found in zip(table.rows, read, strict=True):
        values = [cell.value for cell in line if isinstance(cell, Number) and cell.value is not None]
        assert {repr(value) for value in values} <= set(found)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_line_of_a_markdown_table_has_as_many_cells(table: Table):
    lines = table_markdown(table).splitlines()[2:]
    assert len(lines) == len(table.rows) + 2
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {len(table.heading) + 1}
    assert "<script>" not in "".join(lines).replace("\\<", "")


def test_latex_by_hand():
    table = Table(
        "t", "50% & more", ["a_b", "value"], [["x^2 {y}", Number(1.0, "1.0", "+0.5", strong=True)], [HOSTILE, "-"]]
    )
    lines = table_latex(table).splitlines()
    assert r"  \caption{50\% \& more}" in lines
    assert r"  \begin{tabular}{lr}" in lines
    assert r"    a\_b & value \\" in lines
    assert r"    x\textasciicircum{}2 \{y\} & \textbf{1.0} {\scriptsize $\uparrow$+0.5} \\" in lines
    assert r"\textless{}script\textgreater{}alert(1)" in lines[9]
    assert r"50\% of \$x\_1\$, \textquotedbl{}a\textbar{}b\textquotedbl{}" in lines[9]


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.name)
def test_figures_become_files(figure):
    plots = pytest.importorskip("circuitseer_trl.drawing.plots")
    drawn = plots.plot(figure, "svg")
    assert drawn == plots.plot(figure, "svg")
    assert b"<svg" in drawn
    assert figure.title.encode() in drawn  # text stays text
    assert b"<script>" not in drawn
    picture = plots.plot(figure, "png")
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    width, _ = struct.unpack(">II", picture[16:24])
    assert width >= 1000
