"""The style of reports: one HTML file that needs no network, for wide and narrow screens, light and dark."""

import html
import re
from collections.abc import Sequence

from circuitseer_trl.terminal import visible

# Colour-blind readers can tell the colours of series apart (after Okabe and Ito), on the light and the dark background.
STYLE = """
:root { color-scheme: light dark; --page: #fff; --text: #1d2330; --soft: #5b6475; --line: #dde1e8; --band: #f5f7fa;
  --more: 31,98,180; --less: 196,74,28; --c0: #0072b2; --c1: #d55e00; --c2: #009e73; --c3: #b6589a; --c4: #b98300;
  --c5: #3698d0; --c6: #6f5bc4; --c7: #6b7280; }
@media screen and (prefers-color-scheme: dark) { :root { --page: #14171d; --text: #e4e8ef; --soft: #9aa5b5; --line: #313845;
  --band: #1c212a; --more: 92,166,245; --less: 245,130,80; --c0: #56b4e9; --c1: #ff8f4f; --c2: #2fc79a; --c3: #e79ccb;
  --c4: #f0bd3f; --c5: #a5d8f5; --c6: #b3a4f3; --c7: #a3acba; } }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; max-width: 72rem; margin: 0 auto;
  padding: 1.5rem 1.25rem 4rem; background: var(--page); color: var(--text); }
h1 { font-size: 1.6rem; margin: 0 0 .25rem; } h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1.75rem 0 .5rem; } p { max-width: 46rem; margin: .4rem 0 .8rem; }
p.note, figcaption { color: var(--soft); font-size: .9rem; }
.scroll { overflow-x: auto; margin: .75rem 0; } .scroll.tall { max-height: 36rem; overflow-y: auto;
  border-bottom: 2px solid var(--line); }
.tall thead th { position: sticky; top: 0; background: var(--page); z-index: 1; } .tall thead th:first-child { z-index: 2; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap;
  vertical-align: top; }
th { font-weight: 600; color: var(--soft); } tbody tr:hover { background: var(--band); }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: var(--page); }
th.word, td.word { text-align: left; }
th.text, td.text { white-space: normal; text-align: left; min-width: 18rem; overflow-wrap: anywhere; }
td small, .value small { color: var(--soft); font-size: .85em; }
table.matrix td { text-align: center; min-width: 5.2rem; border: 2px solid var(--page); }
table.matrix th { border: 0; } table.matrix thead th:not(:first-child) { text-align: center; }
details { margin: .5rem 0; } summary { cursor: pointer; color: var(--soft); }
figure { margin: .75rem 0 1.25rem; }
.row { display: grid; grid-template-columns: 13rem minmax(0, 1fr) 12rem; column-gap: 1.25rem; align-items: center; }
.row.heading { font-weight: 600; margin-top: .8rem; } .row.heading .label { grid-column: 1 / -1; }
.label { overflow-wrap: anywhere; line-height: 1.25; font-size: .9rem; }
.value { font-size: .9rem; font-variant-numeric: tabular-nums; white-space: nowrap; }
.key { display: inline-block; width: .7em; height: .7em; border-radius: 50%; margin-right: .45em; }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; font-size: .9rem; margin: .5rem 0; }
svg { display: block; overflow: visible; } svg text { font-size: 11px; fill: var(--soft); }
.grid { stroke: var(--line); } .zero, .pool-mark { stroke: var(--soft); } .pool { fill: var(--soft); opacity: .3; }
.seed { opacity: .45; stroke-width: 0; } .hollow { fill: var(--page); stroke-width: 2; }
.point { fill-opacity: .5; stroke-width: 0; } .curve, .shape { stroke-width: 1.5; vector-effect: non-scaling-stroke; }
svg .curve { fill: none; } .shape { fill-opacity: .2; } .canvas { display: grid; }
.mean { stroke-dasharray: 7 4; stroke-width: 2; } .median { stroke-dasharray: 2 3; stroke-width: 2; }
.axis { color: var(--soft); font-size: .85rem; margin-bottom: .8rem; } .axis.x { text-align: right; margin: 0; }
.categories { display: grid; font-size: .75rem; color: var(--soft); text-align: center; overflow-wrap: anywhere;
  padding-top: .3rem; }
.tokens { white-space: pre-wrap; overflow-wrap: anywhere; line-height: 1.8; } .tokens span { border-radius: .15rem; }
.colours { display: flex; flex-wrap: wrap; gap: .4rem; align-items: center; color: var(--soft); font-size: .85rem; }
.colours i { width: 5rem; height: .8rem; background: linear-gradient(to right, rgb(var(--more)), transparent); }
.colours i + span + i { background: linear-gradient(to right, transparent, rgb(var(--less))); }
a { color: inherit; } :focus-visible { outline: 2px solid rgb(var(--more)); outline-offset: 2px; }
nav ul { columns: 16rem; padding-left: 1.1rem; margin: .5rem 0 1.5rem; } nav li { break-inside: avoid; }
.skip { position: absolute; left: -99rem; } .skip:focus { position: static; } section { scroll-margin-top: 1rem; }
@media print { :root { color-scheme: light; } nav, .skip { display: none; } body { max-width: none; padding: 0; }
  .scroll, .scroll.tall { overflow: visible; max-height: none; }
  figure, tr, .row { break-inside: avoid; } h1, h2, h3, h4 { break-after: avoid; }
  * { print-color-adjust: exact; } }
@media (max-width: 44rem) { body { padding: 1rem .9rem 3rem; } .row { grid-template-columns: minmax(0, 1fr) auto; }
  .row > svg { grid-column: 1 / -1; grid-row: 2; margin: 0 .5rem; width: calc(100% - 1rem); } .row { margin-bottom: .35rem; }
  .categories.many span { writing-mode: vertical-rl; justify-self: center; max-height: 9rem; } }
""" + "".join(
    f".k{n} {{ background: var(--c{n}); }} .s{n} {{ fill: var(--c{n}); stroke: var(--c{n}); }}\n" for n in range(8)
)


def anchor(name: str) -> str:
    """The anchor of a part of this name, which may have parts that users chose."""
    return html.escape(re.sub(r"\s+", "-", name))


def html_page(title: str, body: str, *, contents: Sequence[tuple[str, str]] = (), script: str = "") -> str:
    """A page.

    Args:
        body: HTML below the title.
        contents: Name and title of each part that the table of contents names; none if the page is short.
        script: JavaScript that adds to the page. Without it the page still says all.
    """
    named = html.escape(title)
    lines = "".join(f'<li><a href="#{anchor(name)}">{html.escape(part)}</a></li>' for name, part in contents)
    skip = '<a class="skip" href="#content">To the content</a>' if contents else ""
    nav = f'<nav aria-label="Contents"><ul>{lines}</ul></nav>' if contents else ""
    page = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{named}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head>'
        f'<body>{skip}<h1>{named}</h1>{nav}<main id="content" tabindex="-1">{body}</main>'
        f"{f'<script>{script}</script>' if script else ''}</body></html>\n"
    )
    return visible(page)  # a page may be shown in a terminal, and text may not reverse what stands beside it
