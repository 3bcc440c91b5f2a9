"""How do selections differ? Their overlap, rank correlation of scores, lengths, categories and cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from circuitseer_trl.scoring.diagnostics import rank_correlation
from circuitseer_trl.scoring.score_folder import read_score_folder
from circuitseer_trl.selection.overlaps import Overlap, overlaps
from circuitseer_trl.selection.step_cards import read_step_cards
from circuitseer_trl.selection.stored_selection import read_selection


@dataclass(frozen=True)
class SelectionFolder:
    """A selection, read from its folder.

    Attributes:
        name: Name of the selection in tables.
        card: Content of `selection.json`.
        chosen: uids of the chosen rows.
        scores: By uid, the score of every scored row of the pool, as in `scores/`: before combination and length control.
        lengths: By uid, the `num_tokens` of every row that has it.
        seconds: Time for heads and scores.
    """

    name: str
    card: dict[str, Any]
    chosen: frozenset[str]
    scores: dict[str, float]
    lengths: dict[str, int]
    seconds: float


@dataclass(frozen=True)
class SelectionDifferences:
    """Figures of S selections.

    Attributes:
        names: Names of the selections.
        rows: For each selection its method, number of rows, mean and median length of the chosen rows, seconds, and seconds
            for 1,000 rows of the pool.
        overlap (`np.ndarray` of shape `(S, S)`): Share of the smaller selection's rows that are also in the other one.
        chance (`np.ndarray` of shape `(S, S)`): Expected overlap of two independent selections.
        pairs: The overlap of each pair, in rows.
        correlation (`np.ndarray` of shape `(S, S)`): Spearman's rank correlation of scores; NaN if the scores of one never vary.
        pool_lengths: Lengths of the pool's rows; empty if no selection has lengths.
        lengths: For each selection the lengths of the chosen rows.
        length_source: The selection that all lengths are from; None if no selection has lengths.
        categories: For each category its share of the pool, and of each selection.
    """

    names: list[str]
    rows: list[dict[str, Any]]
    overlap: np.ndarray
    chance: np.ndarray
    pairs: list[Overlap]
    correlation: np.ndarray
    pool_lengths: np.ndarray
    lengths: list[np.ndarray]
    length_source: str | None
    categories: dict[str, list[float]]


def read_folder(path: str | Path, name: str | None = None) -> SelectionFolder:
    """Reads the selection in a folder, or in the folder `selection` of a run of `circuitseer reproduce`."""
    path = Path(path)
    folder = path if (path / "selection.json").is_file() else path / "selection"
    selection, scores, cards = (
        read_selection(folder / "selection.parquet"),
        read_score_folder(folder),
        read_step_cards(folder),
    )
    table = scores.table.select(["uid", "score", "num_tokens"]).to_pylist()
    seconds = scores.card["seconds"] + cards.get("heads.json", {}).get("seconds", 0)
    return SelectionFolder(
        name=name or path.name,
        card=selection.card,
        chosen=frozenset(selection.uids),
        scores={row["uid"]: row["score"] for row in table if row["score"] is not None},
        lengths={row["uid"]: row["num_tokens"] for row in table if row["num_tokens"] is not None},
        seconds=seconds,
    )


def score_correlation(left: SelectionFolder, right: SelectionFolder) -> float:
    shared = [uid for uid in left.scores if uid in right.scores]
    values = [np.array([folder.scores[uid] for uid in shared]) for folder in (left, right)]
    correlation = rank_correlation(*values) if shared else None
    return np.nan if correlation is None else correlation


def compare(folders: Sequence[SelectionFolder]) -> SelectionDifferences:
    """Compares selections of the same pool.

    Raises:
        ValueError: There are fewer than two selections, two have the same name, or they are of different pools.
    """
    names = [folder.name for folder in folders]
    if len(folders) < 2:
        raise ValueError(f"A comparison needs at least two selections, got {len(folders)}.")
    if len(set(names)) < len(names):
        raise ValueError(f"Two selections have the same name: {', '.join(names)}. Write NAME=FOLDER to name them.")
    pools = {folder.card["pool"]["fingerprint"] for folder in folders}
    if len(pools) > 1:
        of = ", ".join(f"{folder.name}: {folder.card['pool']['fingerprint']}" for folder in folders)
        advice = "Give selections of one pool."
        if len({frozenset({*folder.scores, *folder.lengths}) for folder in folders}) == 1:
            advice = (
                "The ids of their rows are the same, so their data recipes may differ in `category_column`, which belongs to a "
                "pool. Select again with one data recipe."
            )
        raise ValueError(f"These selections are of {len(pools)} different pools (fingerprints: {of}). {advice}")
    size = folders[0].card["pool"]["num_usable"]
    # Methods read different texts, so the lengths of one selection are used for all.
    source = next((folder for folder in folders if folder.lengths), None)

    known = source.lengths if source is not None else {}
    lengths = [np.array([known[uid] for uid in sorted(folder.chosen & known.keys())]) for folder in folders]

    def matrix(value: Any) -> np.ndarray:
        return np.array([[value(left, right) for right in folders] for left in folders], dtype=np.float64)

    described = [folder.card["categories"] for folder in folders]
    categories = {}
    if all(described):
        for name in described[0]:
            pool_share = described[0][name]["pool"] / size
            shares = [card[name]["selected"] / len(f.chosen) for card, f in zip(described, folders, strict=True)]
            categories[name] = [pool_share, *shares]
    return SelectionDifferences(
        names=names,
        rows=[
            {
                "method": folder.card["method"],
                "num_selected": len(folder.chosen),
                "mean_length": float(each.mean()) if len(each) else None,
                "median_length": float(np.median(each)) if len(each) else None,
                "seconds": folder.seconds,
                "seconds_per_1000": 1000 * folder.seconds / size,
            }
            for folder, each in zip(folders, lengths, strict=True)
        ],
        overlap=matrix(lambda a, b: len(a.chosen & b.chosen) / min(len(a.chosen), len(b.chosen))),
        chance=matrix(lambda a, b: max(len(a.chosen), len(b.chosen)) / size),
        pairs=overlaps({each.name: each.card for each in folders}, {each.name: each.chosen for each in folders}),
        correlation=matrix(score_correlation),
        pool_lengths=np.array(list(known.values())),
        lengths=lengths,
        length_source=source.name if source is not None else None,
        categories=categories,
    )
