"""What does the page of a report show? Results of runs, their differences, their times, and their selections."""

import html
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from circuitseer_trl.drawing.exhibit_html import exhibit_html, table_html
from circuitseer_trl.drawing.exhibits import Table
from circuitseer_trl.drawing.html_pages import html_page
from circuitseer_trl.evaluation.paired import PairedComparison
from circuitseer_trl.evaluation.run_folders import Runs
from circuitseer_trl.pages.answers import answers_section
from circuitseer_trl.pages.result_tables import not_compared
from circuitseer_trl.pages.run_exhibits import run_exhibits
from circuitseer_trl.pages.selection_exhibits import (
    example_tables,
    head_maps,
    overlap_tables,
    run_overlaps,
    selection_folders,
)
from circuitseer_trl.selection.step_cards import read_step_cards

CARDS_SHOWN = ("scores.json", "selection.json")


def report_page(
    runs: Runs,
    folders: Mapping[str, Path],
    baseline: str,
    comparisons: Mapping[str, PairedComparison],
    page: Path,
    selection_dirs: Iterable[str | Path] = (),
) -> str:
    """Makes the page as HTML.

    Args:
        runs: Content of results.json, by the run's name.
        folders: The runs' folders, which may also have other files of `circuitseer reproduce`.
        baseline: Name of the run that the others are compared with.
        comparisons: The comparisons of the other runs with the baseline, by their names.
        page: Where it will be written; the answers of large runs go to a folder beside it.
        selection_dirs: More folders with heads.json, scores.json or selection.json.
    """
    differences = [f"<p>{html.escape(each)}</p>" for each in not_compared(baseline, comparisons)]
    tables = [exhibit_html(each, level=2) for each in run_exhibits(runs, folders, baseline, comparisons)]
    parts = [
        *tables[:2],
        *differences,
        *tables[2:],
        _selections(folders, selection_dirs),
        answers_section(folders, page),
    ]
    return html_page("CircuitSeer report", "".join(parts))


def _selections(folders: Mapping[str, Path], more: Iterable[str | Path]) -> str:
    """A section for every folder with a selection: the runs' folders, their `selection` folders, and those given."""
    found = selection_folders(folders, more)
    sections = [f"<h3>{html.escape(name)}</h3>{_selection(name, folder)}" for name, folder in found]
    shared = "".join(map(exhibit_html, overlap_tables(run_overlaps(folders, more))))
    return f"<h2>Selection</h2>{shared}{''.join(sections)}" if sections else ""


def _selection(name: str, folder: Path) -> str:
    """Shows heads.json, examples.json, scores.json and selection.json of a folder."""
    cards = read_step_cards(folder)
    warnings = dict.fromkeys(each for card in cards.values() for each in card.get("warnings", []))  # each once
    parts = [f"<p><strong>Warning.</strong> {html.escape(each)}</p>" for each in warnings]
    parts += [exhibit_html(each, level=4) for each in head_maps(name, cards)]
    tables = {each.title: each for each in example_tables(name, cards)}
    tables |= {file: Table(file, file, ["", ""], _facts(cards[file])) for file in CARDS_SHOWN if file in cards}
    parts += [f"<details><summary>{title}</summary>{table_html(each)}</details>" for title, each in tables.items()]
    return "".join(parts)


def _facts(card: dict[str, Any]) -> list[list[str]]:
    """The plain values of a card, and those of its dicts."""
    facts = []
    for key, value in card.items():
        inner = value.items() if isinstance(value, dict) else [("", value)]
        for name, each in inner:
            if isinstance(each, str | int | float | bool):
                text = f"{each:.4g}" if isinstance(each, float) else str(each)
                facts.append([f"{key}.{name}" if name else key, text])
    return facts
