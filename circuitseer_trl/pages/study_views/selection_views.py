"""What do the methods of a study choose? Rows that they share, what their selections are like, and scores against length."""

from collections.abc import Sequence
from math import nan
from pathlib import Path
from typing import Any

import numpy as np

from circuitseer_trl.artifacts import read_json
from circuitseer_trl.drawing.exhibits import Cell, Exhibit, Matrix, Number, Scatter, Table, Tokens
from circuitseer_trl.pages.number_cells import number_cell
from circuitseer_trl.pages.study_views.study_files import Record, StudyFiles
from circuitseer_trl.scoring.score_folder import read_score_folder

MAX_DOTS = 500  # of one figure of scores; a pool may have millions of rows
MAX_SCATTERS = 12


def overlap_exhibits(study: StudyFiles) -> list[Exhibit]:
    """The share of rows that each two methods have in common, beside that of independent draws; and the numbers behind it."""
    pairs = study.found["overlaps"]
    if not pairs:
        return []
    points = {point["name"]: point for point in study.points}
    budgets = list(dict.fromkeys(point["budget"] for point in study.points if point["selection"]))
    matrices = [_overlap_matrix(study, points, budget, len(budgets) > 1) for budget in budgets]
    rows: list[list[Cell]] = []
    for each in pairs:
        smaller, common, chance = min(each["num_rows"]), each["in_common"], each["by_chance"]
        cells: list[Cell] = [*each["points"], *(Number(rows, f"{rows:,}") for rows in each["num_rows"])]
        cells += [Number(common, f"{common:,} ({100 * common / smaller:.1f}%)")]
        cells += [Number(chance, f"{chance:,.1f} ({100 * chance / smaller:.1f}%)")]
        rows.append(cells)
    heading = ["one", "other", "rows of one", "rows of other", "rows in both", "independent draws"]
    note = "Shares are of the smaller selection. Independent draws of as many rows have the last number in common, on average."
    return [*matrices, Table("overlaps", "Rows that two selections share", heading, rows, note)]


def _overlap_matrix(study: StudyFiles, points: dict[str, Record], budget: str | None, several: bool) -> Matrix:
    """The mean over seeds for the selections of one budget."""
    names = list(
        dict.fromkeys(study.label(point) for point in study.points if point["selection"] and point["budget"] == budget)
    )
    shares: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for each in study.found["overlaps"]:
        one, other = (points[name] for name in each["points"])
        if one["budget"] == budget and other["budget"] == budget:
            smaller = min(each["num_rows"])
            share = (each["in_common"] / smaller, each["by_chance"] / smaller)
            for key in ((study.label(one), study.label(other)), (study.label(other), study.label(one))):
                shares.setdefault(key, []).append(share)
    values, texts = [], []
    for name in names:
        means = [tuple(np.mean(shares.get((name, each), [(nan, nan)]), axis=0)) for each in names]
        values.append([1.0 if name == each else float(mean[0]) for each, mean in zip(names, means, strict=True)])
        texts.append(
            [
                ""
                if name == each
                else "-"
                if np.isnan(mean[0])
                else f"{100 * mean[0]:.0f}% (chance {100 * mean[1]:.0f}%)"
                for each, mean in zip(names, means, strict=True)
            ]
        )
    note = (
        "Share of the smaller selection's rows that are in both, with the same seed: mean over seeds. In brackets: the share of "
        "independent draws of as many rows."
    )
    name = f"overlap-{budget}" if several else "overlap"
    return Matrix(name, "Overlap of selections" + (f", {budget}" if several else ""), names, values, texts, note)


def selection_exhibits(study: StudyFiles) -> list[Exhibit]:
    """The selections in numbers, and what their cards warn of."""
    rows: list[list[Cell]] = []
    for point in study.points:
        found = point["selection"]
        if found is None:
            continue
        lengths = found["mean_tokens"] or {"pool": None, "selected": None}
        tokens = (found["training_tokens"] or {}).get("selected")
        cells: list[Cell] = [
            point["name"],
            f"{found['method']} ({found['sampling']})",
            number_cell(found["num_selected"]),
        ]
        cells += [number_cell(tokens), number_cell(lengths["pool"]), number_cell(lengths["selected"])]
        cells += [
            number_cell(found["rank_correlation_with_length"], "+.2f"),
            number_cell(found["effective_sample_size"], ".0%"),
        ]
        rows.append(cells)
    heading = [
        "point",
        "method",
        "rows",
        "training tokens",
        "tokens of a text: pool",
        "selected",
        "rank correlation with length",
    ]
    note = (
        "Lengths are means over the texts that are scored. Effective sample size: share of the pool that would carry a soft "
        "draw if all its weights were equal; at 100% the draw is a random one."
    )
    table = Table("selections", "Selections", [*heading, "effective sample size"], rows, note)
    return [*([table] if rows else []), *warning_exhibits(study)]


def warning_exhibits(study: StudyFiles) -> list[Exhibit]:
    """What the cards of heads and selections warn of, each text once, with the points that it holds for."""
    found: dict[str, list[str]] = {}
    for point in study.points:
        cards = [study.root / point["folder"] / "selection" / "selection.json"]
        cards += [study.root / point["shared"]["heads"] / "heads.json"] if "heads" in point["shared"] else []
        texts = dict.fromkeys(text for path in cards for text in _warnings(path))
        for text in texts:
            found.setdefault(text, []).append(point["name"])
    rows = [[text, ", ".join(names)] for text, names in found.items()]
    return (
        [Table("warnings", "Warnings", ["warning", "points"], rows, text_columns=["warning", "points"])] if rows else []
    )


def _warnings(path: Path) -> list[str]:
    return list(read_json(path).get("warnings", [])) if path.is_file() else []


def score_exhibits(study: StudyFiles) -> list[Exhibit]:
    """Score against length for each table of scores that points share, if its scores differ."""
    found: list[Exhibit] = []
    for folder, points in study.sharers("scores").items():
        if not (study.root / folder / "scores.json").is_file() or len(found) == MAX_SCATTERS:
            continue
        scatter = _scatter(study, study.root / folder, points, len(found) + 1)
        found += [scatter] if scatter is not None else []
    return found


def token_exhibits(study: StudyFiles) -> list[Exhibit]:
    """Single rows with the attention that their tokens receive, for the first table of scores that has them."""
    for folder, points in study.sharers("scores").items():
        path = study.root / folder / "token_views.json"
        if not path.is_file():
            continue
        label = ", ".join(dict.fromkeys(study.label(point) for point in points))
        found: list[Exhibit] = []
        for place, view in enumerate(read_json(path)["views"], 1):
            shown, whole = len(view["tokens"]), view["num_tokens"]
            note = (
                f"Row {view['row']}, score {view['score']:.4g} by {label}. Darker: more attention; 1 is an even share."
            )
            note += f" The first {shown} of {whole} tokens." if shown < whole else ""
            title = f"A row with one of the {view['group']} scores"
            values = view["attention_received"]
            found.append(Tokens(f"tokens-{place}", title, view["tokens"], values, "attention received", note))
        return found
    return []


def _scatter(study: StudyFiles, folder: Path, points: Sequence[Record], number: int) -> Scatter | None:
    table = read_score_folder(folder).table
    scores = table["score"].to_numpy(zero_copy_only=False).astype(np.float64)
    tokens = table["num_tokens"].to_numpy(zero_copy_only=False).astype(np.float64)
    usable = np.flatnonzero(np.isfinite(scores) & np.isfinite(tokens))
    if len(usable) < 2 or np.ptp(scores[usable]) == 0:
        return None
    shown = usable[np.linspace(0, len(usable) - 1, min(MAX_DOTS, len(usable))).round().astype(int)]
    methods = list(dict.fromkeys(study.label(point) for point in points))
    name, label = f"score-length-{number}", ", ".join(methods)
    dots = [(float(tokens[row]), float(scores[row])) for row in shown]
    drawn = f"{len(shown):,} of {len(usable):,} rows, evenly spread over the pool. " if len(shown) < len(usable) else ""
    note = drawn + _correlations(study.root / points[0]["folder"] / "selection" / "selection.json")
    return Scatter(
        name, f"Score against length: {label}", {label: dots}, "tokens of the text that is scored", "score", note
    )


def _correlations(path: Path) -> str:
    """The rank correlations that a selection's card has, as a sentence."""
    card: dict[str, Any] = read_json(path) if path.is_file() else {}
    by_text = card.get("rank_correlation_with_length")
    by_solution = card.get("rank_correlation_with_solution_length") or {}
    parts = [] if by_text is None else [f"the length of the scored text {by_text:+.2f}"]
    if by_solution.get("value") is not None:
        parts.append(f"the solution's length in {by_solution['unit']} {by_solution['value']:+.2f}")
    return f"Rank correlation of the score with {', with '.join(parts)}, over the whole pool." if parts else ""
