"""Long pages: a table of contents, keys, themes and print; and that the tests' browser sees what is wrong with a page."""

import re
from pathlib import Path

import pytest

from circuitseer_trl.drawing.charts import NUM_COLOURS
from circuitseer_trl.drawing.exhibit_html import exhibit_html
from circuitseer_trl.drawing.html_pages import STYLE, html_page
from tests.helpers.browser import Theme, opened
from tests.helpers.exhibits import HOSTILE, all_kinds
from tests.helpers.pages import check_width, read_page


def long_page(script: str = "") -> str:
    kinds = all_kinds()
    body = "".join(map(exhibit_html, kinds))
    return html_page(HOSTILE, body, contents=[(each.name, each.title) for each in kinds], script=script)


def written(source: str, folder: Path) -> Path:
    (folder / "page.html").write_text(source, encoding="utf-8")
    return folder / "page.html"


def test_the_contents_name_every_exhibit_and_lead_to_it():
    page = read_page(long_page())  # which follows the links
    links = [attributes["href"] for tag, attributes in page.elements if tag == "a"]
    assert links == ["#content", *(f"#{each.name}" for each in all_kinds())]
    assert ("html", {"lang": "en"}) in page.elements


def test_a_short_page_has_no_contents():
    assert not {"nav", "a"} & {tag for tag, _ in read_page(html_page("A", "<p>b</p>")).elements}


@pytest.mark.engine
def test_keys_reach_all_and_a_link_leads_to_its_exhibit(tmp_path: Path):
    with opened(written(long_page(), tmp_path)) as tab:
        stops = tab.tab_stops()
        assert stops[:3] == ["a To the content", "a Results", "a By method"]
        assert stops.count("summary The figure as a table") == tab.evaluate(
            "document.querySelectorAll('summary').length"
        )
        tab.evaluate("document.querySelector('nav li:last-child a').focus()")
        tab.press("Enter")
        assert tab.evaluate("location.hash") == "#sources"
        assert tab.evaluate("scrollY") > 0
        tab.evaluate("document.querySelector('summary').focus()")
        tab.press(" ")
        assert tab.evaluate("document.querySelector('details').open")


@pytest.mark.engine
@pytest.mark.parametrize(("theme", "background"), [("light", "rgb(255, 255, 255)"), ("dark", "rgb(20, 23, 29)")])
def test_a_page_has_the_theme_of_its_reader(theme: Theme, background: str, tmp_path: Path):
    with opened(written(long_page(), tmp_path), width=360, theme=theme) as tab:
        assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == background
        tab.send("Emulation.setEmulatedMedia", media="print", features=[])
        assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert tab.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"


@pytest.mark.engine
@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("fetch('missing.json').catch(() => 0)", "request: .*missing.json"),
        ("missing()", "exception: ReferenceError"),
        ("console.error('no')", "console: "),
    ],
)
def test_the_browser_sees_requests_and_errors(script: str, problem: str, tmp_path: Path):
    with (
        pytest.raises(AssertionError, match=problem),
        opened(written(html_page("A", "", script=script), tmp_path)),
    ):
        pass
    with opened(written(html_page("A", "", script=script), tmp_path), scripts=False):
        pass


@pytest.mark.engine
def test_the_browser_sees_what_is_too_wide(tmp_path: Path):
    with pytest.raises(AssertionError, match="'page': 4"):
        check_width(html_page("A", '<div style="width: 400px">wide</div>'), 360, tmp_path)


def test_a_link_that_leads_nowhere_is_seen():
    with pytest.raises(AssertionError, match="lead nowhere"):
        read_page(html_page("A", "", contents=[("missing", "Missing")]))


def contrast(one: str, other: str) -> float:
    """WCAG 2.1's contrast ratio of two colours such as `#0072b2`."""

    def luminance(colour: str) -> float:
        digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
        parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def themes() -> list[dict[str, str]]:
    light, dark = STYLE.split("@media screen and (prefers-color-scheme: dark)")
    return [dict(re.findall(r"--(\w+): (#\w+)", part)) for part in (light, dark)]


def test_contrast_by_hand():
    assert contrast("#fff", "#000000") == pytest.approx(21)


@pytest.mark.parametrize("theme", themes(), ids=["light", "dark"])
def test_text_and_marks_can_be_seen(theme: dict[str, str]):
    assert min(contrast(theme[name], theme[ground]) for name in ("text", "soft") for ground in ("page", "band")) >= 4.5
    assert min(contrast(theme[f"c{number}"], theme["page"]) for number in range(NUM_COLOURS)) >= 3


def test_files_have_the_colours_of_the_light_page():
    plots = pytest.importorskip("circuitseer_trl.drawing.plots")
    assert list(plots.COLOURS) == [themes()[0][f"c{number}"] for number in range(NUM_COLOURS)]
