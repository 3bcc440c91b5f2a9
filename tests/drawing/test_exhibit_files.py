"""Tables and figures as files: a CSV file gives the numbers back, and foreign text breaks neither Markdown nor LaTeX."""

import csv
import io
import re
import shutil
import struct
import subprocess
from dataclasses import replace
from math import nan
from pathlib import Path
from xml.etree import ElementTree

import pytest

from circuitseer_trl.drawing.exhibit_files import FORMATS, check_formats, write_exhibits
from circuitseer_trl.drawing.exhibits import Bars, DotPlot, DotRow, HeadMap, Lines, Matrix, Number, Scatter, Table
from circuitseer_trl.drawing.figure_data import figure_table
from circuitseer_trl.drawing.table_files import latex_text, table_csv, table_latex, table_markdown
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
    assert r"\textless{}script\textgreater{}alert(1)" in lines[10]
    assert r"50\% of \$x\_1\$, \textquotedbl{}a\textbar{}b\textquotedbl{}" in lines[10]
    # What ends a line takes a bracket or a star in the next one as its option.
    assert latex_text("[1, -2]") == "{}[1, $-$2]"
    assert latex_text("*") == "{}*"


@pytest.mark.engine
def test_latex_compiles(tmp_path: Path):
    pdflatex = shutil.which("pdflatex")
    if pdflatex is None:
        pytest.skip("there is no pdflatex")
    write_exhibits([replace(each, name=f"t{n}") for n, each in enumerate(TABLES)], tmp_path, ["tex"])
    inputs = "".join(rf"\input{{t{number}}}" for number in range(len(TABLES)))
    packages = r"\usepackage[T1]{fontenc}\usepackage{booktabs}"
    document = rf"\documentclass{{article}}{packages}\begin{{document}}{inputs}\end{{document}}"
    (tmp_path / "all.tex").write_text(document, encoding="utf-8")
    words = [pdflatex, "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=120, errors="replace")
    assert done.returncode == 0, done.stdout[-1500:]


@pytest.mark.parametrize(
    ("change", "arrow"),
    [
        ("+4.5", "\u2191"),
        ("-0.05 (p 0.2)", "\u2193"),
        ("\u22121", "\u2193"),
        ("+0.0 (p 0.9)", ""),
        ("", ""),
        ("new", ""),
    ],
)
def test_the_arrow_of_a_change(change: str, arrow: str):
    assert Number(1.0, "1.0", change).arrow == arrow


def test_every_exhibit_is_written_in_its_formats_twice_the_same(tmp_path: Path):
    pytest.importorskip("matplotlib")
    exhibits = [*all_kinds(), Table("results", "Again", ["a"], []), Table("../a b/\u00e9", "Far", ["a"], [["b"]])]
    paths = write_exhibits(exhibits, tmp_path / "one", FORMATS[:-1])
    names = {path.name for path in paths}
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == sorted(names)
    assert len(names) == len(paths) == 3 * 3 + 8 * 2
    tables = {f"{stem}.{form}" for stem in ("results", "results-2", "a-b-\u00e9") for form in ("csv", "md", "tex")}
    assert tables | {"heads.csv", "heads.svg"} <= names
    for path in paths:
        assert not re.search("[\x00-\x08\x0b-\x1f\u202e]", path.read_text(encoding="utf-8"))
    again = write_exhibits(exhibits[:2], tmp_path / "two", FORMATS)
    assert [path.name for path in again][-2:] == ["by-method.svg", "by-method.png"]
    for path in again[:-1]:
        assert path.read_bytes() == (tmp_path / "one" / path.name).read_bytes()


def test_formats_are_checked(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ValueError, match=r"`formats` must be among csv, md, tex, svg, png, got pdf\."):
        check_formats(["csv", "pdf"])
    monkeypatch.setattr("circuitseer_trl.extras.find_spec", lambda name: None)
    check_formats(["csv", "md", "tex"])
    with pytest.raises(ImportError, match=r"`--formats svg` needs matplotlib, .*circuitseer-trl\[plots\]"):
        check_formats(["csv", "svg"])


@pytest.mark.parametrize(
    "figure",
    [
        DotPlot("a", "A", []),
        DotPlot("a", "A", [("", [DotRow("x", nan, (nan, 1.0), (nan,))])], signed=True),
        Scatter("a", "A", {"pool": [(nan, 1.0), (0.0, 1.0)]}, "x", "y", log_x=True),
        Lines("a", "A", [], "x", "y"),
        Bars("a", "A", [], {}, "y"),
        HeadMap("a", "A", [], []),
        HeadMap("a", "A", [[nan]], []),
        Matrix("a", "A", [], [], []),
    ],
    ids=lambda each: type(each).__name__,
)
@pytest.mark.filterwarnings("error")
def test_a_figure_without_data_is_a_file(figure):
    plots = pytest.importorskip("circuitseer_trl.drawing.plots")
    drawn = plots.plot(figure, "svg")
    assert b"<svg" in drawn
    assert figure_table(figure).rows or b"No data." in drawn


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.name)
def test_figures_become_files(figure):
    plots = pytest.importorskip("circuitseer_trl.drawing.plots")
    drawn = plots.plot(figure, "svg")
    assert drawn == plots.plot(figure, "svg")
    assert b"<svg" in drawn
    assert figure.title.encode() in drawn  # text stays text
    assert "<script" not in {element.tag for element in ElementTree.fromstring(drawn).iter()}
    picture = plots.plot(figure, "png")
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    width, _ = struct.unpack(">II", picture[16:24])
    assert width >= 1000


def test_letters_that_the_font_lacks_are_named_once(caplog: pytest.LogCaptureFixture):
    plots = pytest.importorskip("circuitseer_trl.drawing.plots")
    figure = Bars("sources", "\u65b9\u6cd5", ["a"], {"\u65b9": [1.0]}, "%")
    assert "\u65b9\u6cd5".encode() in plots.plot(figure, "svg")
    assert caplog.messages == []
    plots.plot(figure, "png")
    assert caplog.messages == [
        "sources.png has boxes for letters that its font does not have. The SVG has the letters."
    ]
