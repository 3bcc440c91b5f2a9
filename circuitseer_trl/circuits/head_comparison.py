"""How far do two sets of heads agree? Overlap of the selected heads, and agreement of the values of all."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from circuitseer_trl.circuits.attention import Head
from circuitseer_trl.circuits.head_card import UNITS, criterion_of, read_heads_card, selecting_values, values_of
from circuitseer_trl.circuits.retrieval_list import is_retrieval_list, read_retrieval_list
from circuitseer_trl.ranks import average_ranks


@dataclass(frozen=True)
class Agreement:
    """Agreement of one value of all heads. None where the value never varies in one of the two."""

    spearman: float | None
    pearson: float | None


@dataclass(frozen=True)
class HeadComparison:
    """Two sets of heads of one grid.

    Attributes:
        grid: Layers, and query heads of a layer.
        both, only_first, only_second: Selected heads, the most important first.
        by_chance: Mean number of heads that two random sets of these sizes share.
        jaccard: Heads of both over heads of any.
        agreements: For each value that both cards have: `importance`, `contrast`, `retrieval`. Where there is none, for the
            values that the two were selected by.
        differences: What the two cards differ in: model, criterion, ablation, probe, mode.
    """

    grid: tuple[int, int]
    both: list[Head]
    only_first: list[Head]
    only_second: list[Head]
    by_chance: float
    jaccard: float
    agreements: Mapping[str, Agreement]
    differences: list[str]


def read_detected(path: Path) -> dict[str, Any]:
    """Reads a `heads.json`, that of a folder, or a published list of retrieval heads, with its top 5%.

    Raises if its heads were not detected, so that only their names are known.
    """
    path = path / "heads.json" if path.is_dir() else path
    if is_retrieval_list(path):
        return read_retrieval_list(path).card
    card = read_heads_card(path)
    if not values_of(card):
        raise ValueError(
            f"{path} has the names of its heads and no values ({card.get('mode', 'no mode')}), so there is little to "
            "compare. Give the `heads.json` of `circuitseer find-heads`."
        )
    return card


def compare_heads(first: Mapping[str, Any], second: Mapping[str, Any]) -> HeadComparison:
    """Compares two cards of detected heads.

    Raises:
        ValueError: The models have other numbers of layers or heads.
    """
    grids = [selecting_values(card).values.shape for card in (first, second)]
    if grids[0] != grids[1]:
        (layers, width), (others, other_width) = grids
        raise ValueError(
            f"The first heads are of {layers} layers of {width} heads ({first['model'].get('name')}), the second of {others} of "
            f"{other_width} ({second['model'].get('name')}). Heads of models of different shapes have nothing in common."
        )
    chosen = [[(layer, head) for layer, head in card["selected"]] for card in (first, second)]
    both = [head for head in chosen[0] if head in chosen[1]]
    num_any = len(set(chosen[0]) | set(chosen[1]))
    return HeadComparison(
        grid=grids[0],
        both=both,
        only_first=[head for head in chosen[0] if head not in both],
        only_second=[head for head in chosen[1] if head not in both],
        by_chance=len(chosen[0]) * len(chosen[1]) / (grids[0][0] * grids[0][1]),
        jaccard=len(both) / num_any,
        agreements=_agreements(first, second),
        differences=_differences(first, second),
    )


def agreement(first: np.ndarray, second: np.ndarray) -> Agreement:
    """Rank correlation and correlation over all heads."""
    left, right = first.ravel(), second.ravel()
    if np.ptp(left) == 0 or np.ptp(right) == 0:
        return Agreement(None, None)
    ranks = np.corrcoef(average_ranks(left), average_ranks(right))
    return Agreement(float(ranks[0, 1]), float(np.corrcoef(left, right)[0, 1]))


def _agreements(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Agreement]:
    values = [values_of(card) for card in (first, second)]
    shared = {
        name: agreement(*(each[name].values for each in values))
        for name in UNITS
        if all(name in each for each in values)
    }
    both = selecting_values(first), selecting_values(second)
    return shared or {f"{both[0].name} and {both[1].name}": agreement(both[0].values, both[1].values)}


def _differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    found = []
    models = [each["model"].get("fingerprint") or each["model"].get("name") for each in (first, second)]
    if models[0] != models[1]:
        found.append(f"model: {first['model'].get('name')} and {second['model'].get('name')}, of other weights")
    if criterion_of(first) != criterion_of(second):
        found.append(f"criterion: {criterion_of(first)} and {criterion_of(second)}")
    ablations = [card.get("ablation", "uniform") for card in (first, second) if criterion_of(card) != "retrieval"]
    if len(set(ablations)) > 1:
        found.append(f"ablation: {ablations[0]} and {ablations[1]}")
    if first.get("pool", {}).get("fingerprint") != second.get("pool", {}).get("fingerprint"):
        found.append("pool: other rows")
    probes = [card.get("probe", {}) for card in (first, second)]
    for key in ("strategy", "size", "seed", "format"):
        if probes[0].get(key) != probes[1].get(key):
            found.append(f"probe's {key}: {probes[0].get(key)} and {probes[1].get(key)}")
    if first.get("mode") != second.get("mode"):
        found.append(f"detection: {first.get('mode')} and {second.get('mode')}")
    return found
