"""Reads pages: their elements, whether links within them lead somewhere, whether they fit a screen. Nothing is fetched."""

from html.parser import HTMLParser
from pathlib import Path

from tests.helpers.browser import Theme, opened

VOID = {"meta"}


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> ends nothing"
        assert self.open.pop() == tag, f"</{tag}> ends another element"

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.elements)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def read_page(source: str) -> Page:
    """Parses a page; fails where an element is not ended in its place, a link leads nowhere, or something would be fetched."""
    page = Page()
    page.feed(source)
    page.close()
    assert page.open == []
    assert not {"link", "img", "iframe"} & {tag for tag, _ in page.elements}
    assert not {"src", "srcset"} & {name for _, attributes in page.elements for name in attributes}
    anchors = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(anchors) == len(set(anchors)), "an anchor stands twice"
    links = [attributes["href"] for _, attributes in page.elements if "href" in attributes]
    lost = [link for link in links if not link or link[0] != "#" or link[1:] not in anchors]
    assert not lost, f"links lead nowhere: {lost}"
    assert "url(" not in source
    assert "@import" not in source
    assert "http" not in source
    return page


MEASURE = """(() => {
const page = document.documentElement;
const tracks = [...document.querySelectorAll('figure svg:not(.ticks)')].map(each => each.getBoundingClientRect());
return {page: page.scrollWidth, right: Math.max(0, ...tracks.map(each => each.right)),
  narrowest: Math.min(...tracks.filter(each => each.height > 0).map(each => each.width), 1e6)};
})()"""


def check_width(source: str, width: int, folder: Path, theme: Theme = "light") -> None:
    """In a browser's window of this width nothing is wider but tables, which scroll by themselves, and charts have room."""
    (folder / "page.html").write_text(source, encoding="utf-8")
    with opened(folder / "page.html", width=width, theme=theme) as tab:
        measured = tab.evaluate(MEASURE)
    assert max(measured["page"], measured["right"]) <= width, measured
    assert measured["narrowest"] >= 200, measured
