"""Reads pages: what elements they have, that they ask for nothing from elsewhere, and whether they fit a screen."""

import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

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
    """Parses a page; fails where an element is not ended in its place, or something would be fetched."""
    page = Page()
    page.feed(source)
    page.close()
    assert page.open == []
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in page.elements}
    assert not {"src", "href", "srcset"} & {name for _, attributes in page.elements for name in attributes}
    assert "url(" not in source
    assert "@import" not in source
    assert "http" not in source
    return page


MEASURE = """
const page = document.getElementById('page').contentDocument.documentElement;
const tracks = [...page.querySelectorAll('figure svg')].map(each => each.getBoundingClientRect());
document.title = JSON.stringify({
  page: page.scrollWidth,
  right: Math.max(...tracks.map(each => each.right)),
  narrowest: Math.min(...tracks.map(each => each.width))
});
"""


def check_width(source: str, width: int, folder: Path) -> None:
    """In a browser's window of this width nothing is wider but tables, which scroll by themselves, and charts have room."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no chromium")
    frame = f'<iframe id="page" style="width:{width}px;height:800px;border:0" srcdoc="{html.escape(source)}"></iframe>'
    (folder / "frame.html").write_text(f"<body>{frame}<script>onload = () => {{ {MEASURE} }}</script></body>")
    words = ["--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom", f"file://{folder}/frame.html"]
    done = subprocess.run([chromium, *words], capture_output=True, text=True, timeout=60)
    found = re.search("<title>(.*?)</title>", done.stdout)
    assert found, done.stderr[-2000:]
    measured = json.loads(html.unescape(found[1]))
    assert measured["page"] <= width
    assert measured["right"] <= width
    assert measured["narrowest"] >= 200
