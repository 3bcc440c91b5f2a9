"""Where figures with two axes put their marks: places worked out by hand."""

import re
from math import nan

from circuitseer_trl.drawing.exhibit_html import exhibit_html
from circuitseer_trl.drawing.exhibits import Bars, Histogram, Lines, Scatter


def test_points():
    # The axes go from 0 to 10 and from 0 to 100.
    drawn = exhibit_html(Scatter("s", "S", {"pool": [(0, 0), (5, 25), (10, 100), (nan, 1), (1, nan)]}, "x", "y"))
    places = re.findall(r'<circle cx="([\d.]+)%" cy="([\d.]+)%"', drawn)
    assert places == [("0.0", "100.0"), ("50.0", "75.0"), ("100.0", "0.0")]


def test_points_on_a_logarithmic_axis_are_above_zero():
    points = [(1, 0), (10, 0), (100, 10), (0, 5), (-1, 5)]
    drawn = exhibit_html(Scatter("s", "S", {"pool": points}, "x", "y", log_x=True))
    assert [float(x) for x in re.findall(r'cx="([\d.]+)%"', drawn)] == [0.0, 50.0, 100.0]


def test_curves_of_one_method_have_one_key_and_a_single_point_is_a_dot():
    curves = [("a", 1, [(0, 0), (5, 10), (10, 5)]), ("a", 1, [(10, 10)]), ("b", 2, [])]
    drawn = exhibit_html(Lines("l", "L", curves, "step", "loss"))
    assert 'points="0.00,100.00 50.00,0.00 100.00,50.00"' in drawn
    assert '<circle class="s1" cx="100.00%" cy="0.00%"' in drawn
    assert re.findall(r'class="key (k\d)"></i>(\w)', drawn) == [("k1", "a")]


def test_a_histogram_has_steps_its_mean_and_its_median():
    exhibit = Histogram("h", "H", [0, 10, 20], {"pool": [0.25, 0.75]}, "words", {"pool": 12.5}, {"pool": 15.0})
    drawn = exhibit_html(exhibit)
    # The upright axis goes to 80%: 25% is at 31.25 from below.
    assert 'd="M0,100V68.75H50.00V6.25H100.00V100"' in drawn
    assert 'mean" x1="62.50%"' in drawn
    assert 'median" x1="75.00%"' in drawn
    assert "pool, mean 12.5, median 15.0" in drawn


def test_bars_of_two_groups_below_and_above_zero():
    drawn = exhibit_html(Bars("b", "B", ["one", "two"], {"a": [10.0, -10.0], "b": [None, 5.0]}, "points"))
    # The axis goes from -10 to 10. Half of the width is a category; its bars fill 80% of that.
    assert re.findall(r'x="([\d.]+)%" width="([\d.]+)%" y="([\d.]+)%" height="([\d.]+)%"', drawn) == [
        ("5.00", "18.40", "0.00", "50.00"),
        ("55.00", "18.40", "50.00", "50.00"),
        ("75.00", "18.40", "25.00", "25.00"),
    ]
    assert "<title>two, b: 5</title>" in drawn
