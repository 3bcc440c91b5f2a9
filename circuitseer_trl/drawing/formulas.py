"""How is a text with LaTeX shown without a network? Its formulas become MathML; what cannot be read stays as it is."""

import html
import re
import xml.etree.ElementTree as ET
from functools import lru_cache

from latex2mathml.converter import convert

from circuitseer_trl.terminal import visible

MAX_CHARACTERS = 2000  # of a formula; a longer one stays as it is
# A dollar sign opens a formula if no space follows, and closes it if no space is before it and no digit follows: `$5 and $10`
# is money (the rule of pandoc).
_FORMULA = re.compile(
    r"\$\$(?P<shown>.+?)\$\$|\\\[(?P<bracket>.+?)\\\]|\\\((?P<paren>.+?)\\\)"
    r"|(?<![\\$\w])\$(?P<dollar>(?!\s)[^$\n]+?(?<!\s))\$(?!\d)|(?P<box>\\boxed\s*\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\})",
    re.DOTALL,
)
_TAGS = {
    *("math", "mrow", "mi", "mn", "mo", "ms", "mtext", "mspace", "mfrac", "msqrt", "mroot", "mstyle", "merror", "mpadded"),
    *("mphantom", "msub", "msup", "msubsup", "munder", "mover", "munderover", "mmultiscripts", "mtable", "mtr", "mtd"),
    *("menclose", "mprescripts", "none", "mfenced"),
}  # fmt: skip
_ATTRIBUTES = {
    *("display", "mathvariant", "stretchy", "fence", "form", "separator", "symmetric", "minsize", "maxsize", "width"),
    *("height", "depth", "lspace", "rspace", "linethickness", "displaystyle", "scriptlevel", "accent", "movablelimits"),
    *("columnalign", "rowspacing", "columnspacing", "columnlines", "rowlines", "notation"),
}
_NAMESPACE = "{http://www.w3.org/1998/Math/MathML}"


def text_html(text: str) -> str:
    """A text as HTML, with MathML for its formulas. Foreign tags, links and styles stay text."""
    text, parts, end = visible(text), list[str](), 0
    for found in _FORMULA.finditer(text):
        kind = found.lastgroup or ""
        formula = formula_html(found[kind], block=kind in ("shown", "bracket"))
        if formula is not None:
            parts += [html.escape(text[end : found.start()]), formula]
            end = found.end()
    return "".join([*parts, html.escape(text[end:])])


@lru_cache(maxsize=4096)
def formula_html(latex: str, *, block: bool = False) -> str | None:
    """A formula as MathML, with its source as a title; None if it cannot be read."""
    braces = latex.replace("\\{", "").replace("\\}", "")
    if len(latex) > MAX_CHARACTERS or braces.count("{") != braces.count("}"):
        return None
    try:
        root = ET.fromstring(convert(visible(latex), display="block" if block else "inline"))
    except Exception:  # the library raises many kinds for what it cannot read, RecursionError among them
        return None
    for element in root.iter():
        element.tag = element.tag.removeprefix(_NAMESPACE)
        if element.tag not in _TAGS:
            return None
        element.attrib = {name: value for name, value in element.attrib.items() if name in _ATTRIBUTES}
    root.set("title", latex)
    return ET.tostring(root, encoding="unicode", short_empty_elements=False)
