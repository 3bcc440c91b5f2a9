"""Which tables and figures do selections have? Heads, rows in common, and rows of the pool by their scores."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from circuitseer_trl.circuits.head_card import shown_values, values_of
from circuitseer_trl.drawing.exhibits import Exhibit, HeadMap, Number, Table
from circuitseer_trl.pages.overlap_tables import OVERLAP_HEADING, OVERLAP_TITLE, overlap_rows
from circuitseer_trl.selection.overlaps import Overlap, overlaps
from circuitseer_trl.selection.step_cards import CARDS, EXAMPLE_GROUPS, read_step_cards
from circuitseer_trl.selection.stored_selection import read_selection


def selection_exhibits(folders: Mapping[str, Path], more: Iterable[str | Path] = ()) -> list[Exhibit]:
    """All of them, by the names of the runs."""
    exhibits: list[Exhibit] = [*overlap_tables(run_overlaps(folders, more))]
    for name, folder in selection_folders(folders, more):
        cards = read_step_cards(folder)
        exhibits += [*head_maps(name, cards), *example_tables(name, cards)]
    return exhibits


def selection_folders(folders: Mapping[str, Path], more: Iterable[str | Path]) -> list[tuple[str, Path]]:
    """The folders with a card of a selection, each once: the runs' folders, their `selection` folders, and those given."""
    candidates = [(name, place) for name, folder in folders.items() for place in (folder, folder / "selection")]
    candidates += [(str(folder), Path(folder)) for folder in more]
    by_place: dict[Path, tuple[str, Path]] = {}
    for name, folder in candidates:
        if any((folder / file).is_file() for file in CARDS):
            by_place.setdefault(folder.resolve(), (name, folder))
    return list(by_place.values())


def run_overlaps(folders: Mapping[str, Path], more: Iterable[str | Path] = ()) -> list[Overlap]:
    """The overlap of each two of the runs' selections of one pool. A run without its selected rows has none."""
    stored = {
        name: read_selection(folder / "selection.parquet")
        for name, folder in selection_folders(folders, more)
        if (folder / "selection.parquet").is_file() and (folder / "selection.json").is_file()
    }
    return overlaps(
        {name: each.card for name, each in stored.items()}, {name: each.uids for name, each in stored.items()}
    )


def overlap_tables(found: Sequence[Overlap]) -> list[Table]:
    """One table, or none where there are no two selections of one pool."""
    return [Table("overlaps", OVERLAP_TITLE, OVERLAP_HEADING, overlap_rows(found))] if found else []


def head_maps(name: str, cards: Mapping[str, Any]) -> list[HeadMap]:
    """The importance of heads if a selection has it, as of `read_step_cards`."""
    heads = cards.get("heads.json", {})
    if not values_of(heads):
        return []
    shown = shown_values(heads)
    note = (
        f"{len(heads['selected'])} of {shown.values.size} heads selected (framed). Colour: {shown.meaning}, in {shown.unit}; the "
        "warm colour is more."
    )
    selected = [(layer, head) for layer, head in heads["selected"]]
    return [HeadMap(f"heads-{name}", "Heads", shown.values.tolist(), selected, shown.standard_error, note, shown.unit)]


def example_tables(name: str, cards: Mapping[str, Any]) -> list[Table]:
    """Rows of the pool with high scores, with low ones, and random ones."""
    tables = []
    for group in EXAMPLE_GROUPS:
        rows = [
            [
                Number(line["score"], "-" if line["score"] is None else f"{line['score']:.4g}"),
                Number(line["num_tokens"], "-" if line["num_tokens"] is None else str(line["num_tokens"])),
                "yes" if line.get("selected") else "no",
                line["problem"],
            ]
            for line in cards.get("examples.json", {}).get(group, [])
        ]
        if rows:
            title = "Random rows" if group == "random" else f"Rows with the {group} scores"
            heading = ["score", "tokens", "selected", "problem"]
            tables.append(Table(f"rows-{group}-{name}", title, heading, rows, text_columns=["problem"]))
    return tables
