"""How many rows do selections share, and how many would independent draws share?"""

import itertools
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from circuitseer_trl.selection.stored_selection import StoredSelection, read_selection

DRAWS = ("soft", "soft_inverse", "stratified", "reweight")  # values of `sampling` that leave something to chance


@dataclass(frozen=True)
class Overlap:
    """The rows that two selections of one pool share.

    Attributes:
        left: Name of the first selection.
        right: Name of the second one.
        shared: Number of rows in both.
        smaller: Number of rows of the smaller selection.
        by_chance: Expected number of rows in both for two independent draws of as many rows.
        same_noise: Whether both draw with the same random numbers, so that they share more rows than independent draws.
    """

    left: str
    right: str
    shared: int
    smaller: int
    by_chance: float
    same_noise: bool


def overlaps(cards: Mapping[str, dict[str, Any]], chosen: Mapping[str, Collection[str]]) -> list[Overlap]:
    """The overlap of each two selections of one pool; none for two of different pools.

    Args:
        cards: The content of each `selection.json`, by the selection's name.
        chosen: The uids of its rows.
    """
    found = []
    for left, right in itertools.combinations(cards, 2):
        pool, pool_of_right = cards[left]["pool"], cards[right]["pool"]
        if pool["fingerprint"] == pool_of_right["fingerprint"]:
            noise, sizes = noise_of(cards[left]), (len(chosen[left]), len(chosen[right]))
            shared = len(frozenset(chosen[left]) & frozenset(chosen[right]))
            by_chance = sizes[0] * sizes[1] / pool["num_usable"]
            same_noise = noise is not None and noise == noise_of(cards[right])
            found.append(Overlap(left, right, shared, min(sizes), by_chance, same_noise))
    return found


def noise_of(card: Mapping[str, Any]) -> int | None:
    """The seed of a selection's noise; None if nothing was left to chance. In version 0.1.0 it was the seed of the draw."""
    if "noise" not in card:
        return card.get("seed") if card.get("sampling") in DRAWS else None
    return card["noise"]["seed"] if card["noise"] is not None else None


def beside(folder: str | Path) -> dict[str, StoredSelection]:
    """The selections in folders beside this one, or in `selection` of runs beside its run, by the names of their folders.

    Those that cannot be read are left out: another run may be writing them.
    """
    folder = Path(folder).resolve()
    run, pattern = (folder.parent, "*/selection") if folder.name == "selection" else (folder, "*")
    found = {}
    for other in sorted(run.parent.glob(f"{pattern}/selection.parquet")):
        if other.parent != folder:
            try:
                selection = read_selection(other)
            except (FileNotFoundError, ValueError):
                continue
            found[other.relative_to(run.parent).parts[0]] = selection
    return found
