"""How far do two sets of heads agree? Tables, maps and a scatter of a comparison."""

from collections.abc import Mapping, Sequence
from typing import Any

from circuitseer_trl.circuits.head_card import criterion_of, selecting_values, shown_values
from circuitseer_trl.circuits.head_comparison import HeadComparison
from circuitseer_trl.drawing.exhibit_html import exhibit_html
from circuitseer_trl.drawing.exhibits import Cell, Exhibit, HeadMap, Number, Scatter, Table
from circuitseer_trl.drawing.html_pages import html_page

Card = Mapping[str, Any]


def head_tables(cards: Sequence[Card], names: Sequence[str], found: HeadComparison) -> list[Table]:
    """How many heads the two share and how their values agree; then each selected head, with its places in both."""
    either = len(found.both) + len(found.only_first) + len(found.only_second)
    numbers: list[tuple[str, float | None, str]] = [
        ("heads of both", len(found.both), str(len(found.both))),
        ("by chance", found.by_chance, f"{found.by_chance:.1f}"),
        ("of both, of those of any (Jaccard)", found.jaccard, f"{found.jaccard:.2f} ({len(found.both)} of {either})"),
    ]
    for name, each in found.agreements.items():
        numbers += [
            (
                f"{name}: rank correlation (Spearman)",
                each.spearman,
                "-" if each.spearman is None else f"{each.spearman:+.2f}",
            ),
            (f"{name}: correlation (Pearson)", each.pearson, "-" if each.pearson is None else f"{each.pearson:+.2f}"),
        ]
    differ = f"They differ in: {'; '.join(found.differences)}." if found.differences else "Their settings are the same."
    rows: list[list[Cell]] = [[name, Number(value, text)] for name, value, text in numbers]
    agreement = Table("agreement", "Agreement", ["", "value"], rows, differ)
    groups = (("both", found.both), (names[0], found.only_first), (names[1], found.only_second))
    lines: list[list[Cell]] = []
    for group, heads in groups:
        for layer, head in heads:
            line: list[Cell] = [f"layer {layer} head {head}", group]
            for card in cards:
                values = selecting_values(card).values
                place = 1 + int((values > values[layer, head]).sum())
                line += [Number(float(values[layer, head]), f"{values[layer, head]:.4f}"), Number(place, str(place))]
            lines.append(line)
    heading = ["head", "selected by"]
    for card, name in zip(cards, names, strict=True):
        heading += [f"{name}, {selecting_values(card).unit}", f"place in {name}"]
    return [agreement, Table("heads", "Selected heads", heading, lines, f"Of {found.grid[0] * found.grid[1]} heads.")]


def head_page(cards: Sequence[Card], names: Sequence[str], found: HeadComparison) -> str:
    exhibits: list[Exhibit] = list(head_tables(cards, names, found))
    for number, (card, name) in enumerate(zip(cards, names, strict=True), start=1):
        selected = [(layer, head) for layer, head in card["selected"]]
        note = f"Selected by {criterion_of(card)}."
        each = shown_values(card)
        values = each.values.tolist()
        exhibits.append(
            HeadMap(f"map-{number}", f"{name}: {each.name}", values, selected, each.standard_error, note, each.unit)
        )
    chosen = {"both": found.both, f"only {names[0]}": found.only_first, f"only {names[1]}": found.only_second}
    marked = {head for heads in chosen.values() for head in heads}
    shown = [shown_values(card) for card in cards]
    grid = [(layer, head) for layer in range(found.grid[0]) for head in range(found.grid[1])]
    series = {"not selected": [head for head in grid if head not in marked]} | chosen
    points = {
        name: [(float(shown[0].values[head]), float(shown[1].values[head])) for head in heads]
        for name, heads in series.items()
        if heads
    }
    across, up = (f"{name}, {each.unit}" for name, each in zip(names, shown, strict=True))
    exhibits.append(Scatter("scatter", "Each head in both", points, across, up))
    body = "".join(exhibit_html(exhibit, level=2) for exhibit in exhibits)
    return html_page(f"Heads: {names[0]} and {names[1]}", body)
