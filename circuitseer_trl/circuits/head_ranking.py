"""Which heads come first, and how sure is that? Ranks of heads, their errors, and their stability over probes."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from circuitseer_trl.circuits.attention import Head

BOOTSTRAP_DRAWS = 1000
Values = Callable[[np.ndarray, np.ndarray], np.ndarray]  # of increases and difficulties of a probe, one for each head


def num_selected(num_heads: int, ratio: float) -> int:
    """Number of heads to select: a share of all, rounded half up, at least 1 (the paper does not specify the rounding)."""
    return max(1, math.floor(ratio * num_heads + 0.5))


def top_heads(importance: np.ndarray, size: int) -> list[Head]:
    """The `size` most important heads, best first; ties go to the lower layer, then to the lower head."""
    order = np.argsort(-importance.ravel(), kind="stable")[:size]
    return [(int(index // importance.shape[1]), int(index % importance.shape[1])) for index in order]


def mean_increase(increases: np.ndarray, difficulty: np.ndarray) -> np.ndarray:
    """The paper's importance of each head: the mean over the probe. The difficulty of its examples has no part in it."""
    return increases.mean(axis=0)


def selection_stability(
    increases: np.ndarray,
    size: int,
    difficulty: np.ndarray,
    values: Values = mean_increase,
    draws: int = BOOTSTRAP_DRAWS,
) -> np.ndarray:
    """Estimates by bootstrap over the probe's examples how often each head would be selected on another probe.

    Args:
        increases (`np.ndarray` of shape `(examples, heads)`): Loss increase of each head on each example.
        size: Number of heads to select.
        difficulty (`np.ndarray` of shape `(examples,)`): What parts a probe.
        values: What heads are selected by.
        draws: Number of bootstrap draws.

    Returns:
        `np.ndarray` of shape `(heads,)`: Share of the bootstrap draws in which the head is among the top `size`.
    """
    rng = np.random.default_rng(0)
    counts = np.zeros(increases.shape[1])
    for _ in range(draws):
        drawn = rng.integers(len(increases), size=len(increases))
        counts[np.argsort(-values(increases[drawn], difficulty[drawn]), kind="stable")[:size]] += 1
    return counts / draws


def stability_card(
    increases: np.ndarray, selected: Sequence[Head], grid: tuple[int, int], difficulty: np.ndarray, values: Values
) -> dict[str, Any]:
    """Makes the entry `stability` of `heads.json`. It needs the loss increases of every head on the whole probe."""
    stability = selection_stability(increases, len(selected), difficulty, values).reshape(grid)
    again = [float(stability[head]) for head in selected]
    return {
        "meaning": "share of bootstrap draws over the probe in which a selected head is selected again",
        "draws": BOOTSTRAP_DRAWS,
        "selected": [round(share, 3) for share in again],
        "mean_overlap": float(np.mean(again)),
    }


def standard_error(increases: np.ndarray, grid: tuple[int, int]) -> list[list[float]] | None:
    """Standard error of each head's importance; None if there is only one example."""
    if len(increases) <= 1:
        return None
    return (increases.std(axis=0, ddof=1) / math.sqrt(len(increases))).reshape(grid).tolist()
