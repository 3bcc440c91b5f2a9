"""Where charts put their marks: places worked out by hand."""

import re

import numpy as np
import pytest

from circuitseer_trl.drawing.charts import (
    bar,
    figure,
    histogram,
    lanes,
    linear_axis,
    log_axis,
    matrix,
    polyline,
    row,
    whisker,
)
from tests.helpers.pages import read_page


@pytest.mark.parametrize(
    ("values", "ends", "names"),
    [
        ([3, 97], (0, 100), ["0%", "20%", "40%", "60%", "80%", "100%"]),
        ([0.31, 0.38], (0.3, 0.38), ["0.30%", "0.32%", "0.34%", "0.36%", "0.38%"]),
        ([0, 0], (0, 1), ["0.0%", "0.2%", "0.4%", "0.6%", "0.8%", "1.0%"]),
        ([5, 5], (4, 6), ["4.0%", "4.5%", "5.0%", "5.5%", "6.0%"]),
    ],
)
def test_linear_axis(values: list[float], ends: tuple[float, float], names: list[str]):
    axis = linear_axis(values, unit="%")
    assert (axis.low, axis.high) == pytest.approx(ends)
    assert [name for _, name in axis.ticks] == names
    assert axis.place(axis.low) == 0
    assert axis.place(axis.high) == pytest.approx(100)


def test_signed_axis_names_zero_without_a_sign():
    assert [name for _, name in linear_axis([-7.0, 12.0], signed=True).ticks] == ["-10", "-5", "0", "+5", "+10", "+15"]


def test_log_axis():
    axis = log_axis(1, 10_000)
    assert [axis.place(value) for value in (1, 100, 10_000)] == pytest.approx([0, 50, 100])
    assert [name for _, name in axis.ticks] == ["1", "10", "100", "1,000", "10,000"]
    assert [name for _, name in log_axis(17, 90).ticks] == ["20", "30", "40", "50", "70"]


def places(svg: str, name: str) -> list[float]:
    return [float(value) for value in re.findall(rf'\b{name}="([0-9.]+)%"', svg)]


def test_marks_by_hand():
    axis = linear_axis([0, 50])
    svg = whisker(axis, 20, [10, 45], 0)
    assert (places(svg, "x1"), places(svg, "x2"), places(svg, "cx")) == ([20], [90], [40])
    assert places(bar(axis, 25, 0), "width") == [50]
    svg = lanes(axis, [10, 40], 20)
    assert places(svg, "cx") == [20, 80]
    assert places(svg, "cy") == [30, 70]
    assert places(svg, "x1") == [40, 40, 40]


def test_histogram_by_hand():
    """Three bins; the highest share fills the track, and the pool's bars stand behind those of the selection."""
    svg = histogram(linear_axis([0, 50]), [0, 10, 20, 50], [0.5, 0.0, 0.25], [0.25, 0.5, 0.25], 0.5, 3)
    assert re.findall(r'class="(\w+)"', svg) == ["pool", "s3", "pool", "pool", "s3"]
    assert places(svg, "height") == [50, 100, 100, 50, 50]
    assert places(svg, "x") == [0, 0, 20, 40, 40]
    assert places(svg, "width") == [20, 20, 20, 60, 60]


def test_matrix_has_no_colour_where_there_is_no_value():
    page = read_page(matrix(["<a>", "b"], np.array([[1.0, np.nan], [-0.5, 0.0]]), [["1", "-"], ["x", "0"]]))
    tints = [attributes.get("style") for tag, attributes in page.elements if tag == "td"]
    blue, red, none = (f"background:rgba(var(--{tint})" for tint in ("more),0.75", "less),0.38", "more),0.00"))
    assert tints == [blue, None, red, none]


def test_labels_are_text_and_colours_come_round():
    axis = linear_axis([0, 50])
    source = figure(axis, [row(axis, "<b>&", "", "5 < 6", note="<i>", series=9)], "a < b")
    page = read_page(source)
    assert page.text.startswith("<b>& 5 < 6 <i>")
    assert page.text.endswith("a < b")
    assert "key k1" in source


def test_a_line_through_points_by_hand():
    across, up = linear_axis([0, 10]), log_axis(1, 100)
    svg = polyline(across, up, [(0, 1), (5, 10), (10, 100)], series=2)
    assert svg.startswith('<g class="s2">')
    assert re.findall(r'cx="([\d.]+)%" cy="([\d.]+)%"', svg) == [
        ("0.00", "100.0"),
        ("50.00", "50.0"),
        ("100.00", "0.0"),
    ]
    assert svg.count("<line") == 2
