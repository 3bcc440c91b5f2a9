"""Figures about a table of scores that a card shows."""

import numpy as np

QUANTILES = (0.0, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0)


def quantiles(scores: np.ndarray) -> dict[str, float]:
    finite = scores[np.isfinite(scores)]
    return {f"{share:g}": float(np.quantile(finite, share)) for share in QUANTILES} if len(finite) else {}


def average_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 0; equal values share the mean of their ranks."""
    _, positions, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts) - 1
    return (last - (counts - 1) / 2)[positions]


def rank_correlation(left: np.ndarray, right: np.ndarray) -> float | None:
    """Spearman's rank correlation over the rows that have both values; None where one of them never varies."""
    both = np.isfinite(left) & np.isfinite(right)
    if both.sum() < 2:
        return None
    ranks = average_ranks(left[both]), average_ranks(right[both])
    if any(np.ptp(values) == 0 for values in ranks):
        return None
    return float(np.corrcoef(*ranks)[0, 1])
