"""Formulas in texts become MathML; money, broken formulas and foreign markup stay text."""

import xml.etree.ElementTree as ET

import pytest

from circuitseer_trl.drawing.formulas import MAX_CHARACTERS, formula_html, text_html


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("no formula", 0),
        ("$x^2$ and \\(y\\)", 2),
        ("$$\\frac{1}{2}$$ then \\[a_1\\]", 2),
        ("The answer is \\boxed{\\frac{1}{2}}.", 1),
        ("It costs $5 and $10.", 0),
        ("It costs $5, and x is $x$.", 1),
        ("\\$5$", 0),
        ("a $ b $ c", 0),
        ("$\\frac{1$", 0),
        ("$" + "x" * (MAX_CHARACTERS + 1) + "$", 0),
    ],
)
def test_formulas_of_a_text(text: str, number: int):
    assert text_html(text).count("<math") == number


def test_a_fraction_by_hand():
    root = ET.fromstring(formula_html("\\frac{1}{2}"))
    assert [each.tag for each in root.iter()] == ["math", "mrow", "mfrac", "mrow", "mn", "mrow", "mn"]
    assert root.get("title") == "\\frac{1}{2}"


def test_text_around_formulas_is_kept():
    assert text_html("a < $x$ > b").startswith("a &lt; <math")
    assert text_html("a < $x$ > b").endswith(" &gt; b")


@pytest.mark.parametrize(
    "text",
    [
        "<img src=x onerror=alert(1)>",
        "$<img src=x onerror=alert(1)>$",
        "$\\text{<script>alert(1)</script>}$",
        "$\\href{javascript:alert(1)}{x}$",
        "$\\style{color:red}{x}$",
        '$"><script>alert(1)</script>$',
        "\\boxed{</math><script>alert(1)</script>}",
    ],
)
def test_foreign_markup_stays_text(text: str):
    shown = text_html(text)
    assert "<script" not in shown
    assert "<img" not in shown
    root = ET.fromstring(f"<p>{shown}</p>")
    for element in root.iter():
        assert not any(name.startswith("on") or name in ("href", "style", "src") for name in element.attrib)


def test_signs_that_change_the_direction_are_shown():
    assert "\u202e" not in text_html("a \u202e b $\u202e x$")
