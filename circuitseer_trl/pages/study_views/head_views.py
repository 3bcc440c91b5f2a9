"""Which heads did a study find? A map for each reference model and probe, and how far head sets of one model agree."""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import nan

from circuitseer_trl.circuits.head_card import HeadValues, read_heads_card, shown_values
from circuitseer_trl.drawing.exhibits import Cell, Exhibit, HeadMap, Matrix, Table
from circuitseer_trl.pages.number_cells import number_cell
from circuitseer_trl.pages.study_views.study_files import Record, StudyFiles
from circuitseer_trl.scoring.diagnostics import rank_correlation

MAX_MAPS = 12  # of a page; the table has all head sets


@dataclass(frozen=True)
class FoundHeads:
    """A set of heads that points share: its folder, the content of `heads.json`, and the points."""

    folder: str
    card: Record
    points: Sequence[Record]

    @property
    def model(self) -> str:
        return str(self.card["model"]["name"]).rstrip("/").rsplit("/", 1)[-1]

    @property
    def probe(self) -> str:
        probe = self.card["probe"]
        kind = "texts" if probe["strategy"] == "retrieval" else "rows"
        return f"{probe['strategy']} probe of {probe['size']} {kind}, seed {probe['seed']}"

    @property
    def selected(self) -> list[tuple[int, int]]:
        return [(int(layer), int(head)) for layer, head in self.card["selected"]]

    @property
    def shown(self) -> HeadValues:
        return shown_values(self.card)


def found_heads(study: StudyFiles) -> list[FoundHeads]:
    """The sets of heads that were found for the study, each once."""
    found = []
    for folder, points in study.sharers("heads").items():
        if (study.root / folder / "heads.json").is_file():
            card = read_heads_card(study.root / folder / "heads.json")
            found.append(FoundHeads(folder, card, points))
    return found


def head_exhibits(study: StudyFiles) -> list[Exhibit]:
    """Maps of the heads' importance, a table of the sets, and the agreement of sets of one model."""
    sets = found_heads(study)
    if not sets:
        return []
    found: list[Exhibit] = []
    taken: dict[str, int] = {}
    for each in sets[:MAX_MAPS]:
        name = re.sub(r"[^a-z0-9]+", "-", f"heads {each.model} {each.card['probe']['strategy']}".lower()).strip("-")
        taken[name] = taken.get(name, 0) + 1
        name += f"-{taken[name]}" if taken[name] > 1 else ""
        note = (
            f"{each.shown.meaning[0].upper()}{each.shown.meaning[1:]}, in {each.shown.unit}, over the {each.probe}. The "
            f"{len(each.selected)} selected heads have a frame."
        )
        shown = each.shown
        title, values = f"Heads of {each.model}", shown.values.tolist()
        found.append(HeadMap(name, title, values, each.selected, shown.standard_error, note, shown.unit))
    found.append(_table_of_sets(sets))
    by_model: dict[str, list[FoundHeads]] = {}
    for each in sets:
        by_model.setdefault(each.card["model"]["fingerprint"], []).append(each)
    for number, several in enumerate((each for each in by_model.values() if len(each) > 1), 1):
        found += _agreement(several, "" if number == 1 else f"-{number}")
    return found


def _table_of_sets(sets: Sequence[FoundHeads]) -> Table:
    rows: list[list[Cell]] = []
    for each in sets:
        stability = (each.card.get("stability") or {}).get("mean_overlap")
        first = sum(layer == 0 for layer, _ in each.selected)
        cells: list[Cell] = [each.model, each.probe, str(each.card["mode"]), number_cell(len(each.selected))]
        cells += [number_cell(first), number_cell(stability, ".0%")]
        cells += [", ".join(f"{layer}.{head}" for layer, head in each.selected)]
        cells += [", ".join(dict.fromkeys(point["method"] for point in each.points)), each.folder.rsplit("/", 1)[-1]]
        rows.append(cells)
    heading = ["reference model", "probe", "detection", "heads", "in the first layer", "selected again", "layer.head"]
    note = (
        "Selected again: share of the heads that are selected on another probe of as many rows, by bootstrap. All text needs "
        "the first layer, so heads there may have little to do with reasoning."
    )
    return Table("head-sets", "Sets of heads", [*heading, "methods", "folder"], rows, note, ["layer.head"])


def _agreement(sets: Sequence[FoundHeads], suffix: str) -> list[Exhibit]:
    """For sets of one model: how often each head is selected, and how far the rankings of heads agree."""
    model, names = sets[0].model, [f"{each.probe} ({each.folder.rsplit('/', 1)[-1][:6]})" for each in sets]
    counts: dict[tuple[int, int], int] = {}
    for each in sets:
        for head in each.selected:
            counts[head] = counts.get(head, 0) + 1
    ordered = sorted(counts, key=lambda head: (-counts[head], head))
    rows: list[list[Cell]] = [
        [f"layer {layer}, head {head}", number_cell(counts[layer, head])] for layer, head in ordered
    ]
    table = Table(
        f"head-counts{suffix}", f"How often heads of {model} are selected", ["head", f"of {len(sets)} sets"], rows
    )
    size = len(sets)
    values, texts = [[1.0] * size for _ in sets], [["" for _ in sets] for _ in sets]
    for place in range(size):
        texts[place][place] = f"{len(sets[place].selected)} heads"
    for one, other in itertools.combinations(range(size), 2):
        rankings = (sets[place].shown.values.ravel() for place in (one, other))
        correlation = rank_correlation(*rankings)
        agreement = nan if correlation is None else correlation
        both = len({*sets[one].selected} & {*sets[other].selected})
        values[one][other] = values[other][one] = agreement
        texts[one][other] = texts[other][one] = f"{agreement:+.2f}, {both} in both"
    note = "Rank correlation of the values of all heads, and the number of heads that are selected in both."
    return [Matrix(f"head-agreement{suffix}", f"Agreement on the heads of {model}", names, values, texts, note), table]
