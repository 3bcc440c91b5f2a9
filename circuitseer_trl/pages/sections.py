"""What is a page made of? Sections with sentences, tables, figures and commands."""

import html
from collections.abc import Sequence
from dataclasses import dataclass

from circuitseer_trl.drawing.exhibit_html import exhibit_html
from circuitseer_trl.drawing.exhibits import Exhibit


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Attributes:
        name: Its anchor.
        title: Its heading.
        text: Its paragraphs.
        exhibits: Its tables and figures, from top to bottom.
        commands: Lines for a terminal, to copy.
    """

    name: str
    title: str
    text: Sequence[str] = ()
    exhibits: Sequence[Exhibit] = ()
    commands: Sequence[str] = ()

    @property
    def empty(self) -> bool:
        return not (self.text or self.exhibits or self.commands)


def section_html(section: Section) -> str:
    paragraphs = "".join(f"<p>{html.escape(text)}</p>" for text in section.text)
    exhibits = "".join(exhibit_html(exhibit) for exhibit in section.exhibits)
    lines = html.escape("\n".join(section.commands))
    commands = f'<pre class="scroll" tabindex="0">{lines}</pre>' if lines else ""
    title = html.escape(section.title)
    return f'<section id="{html.escape(section.name)}"><h2>{title}</h2>{paragraphs}{exhibits}{commands}</section>'
