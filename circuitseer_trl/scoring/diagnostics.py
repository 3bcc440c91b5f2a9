"""What do scores really measure? Figures about a score table, for its card."""

from typing import Any, Literal

import numpy as np

from circuitseer_trl.ranks import average_ranks

QUANTILES = (0.0, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0)
TOP_SHARE = 0.1  # the paper's budget


def quantiles(scores: np.ndarray) -> dict[str, float]:
    finite = scores[np.isfinite(scores)]
    return {f"{share:g}": float(np.quantile(finite, share)) for share in QUANTILES} if len(finite) else {}


def rank_correlation(left: np.ndarray, right: np.ndarray) -> float | None:
    """Spearman's rank correlation over the rows that have both values; None if one of the two never varies."""
    both = np.isfinite(left) & np.isfinite(right)
    if both.sum() < 2:
        return None
    ranks = average_ranks(left[both]), average_ranks(right[both])
    if any(np.ptp(values) == 0 for values in ranks):
        return None
    return float(np.corrcoef(*ranks)[0, 1])


def partial_rank_correlation(left: np.ndarray, right: np.ndarray, given: np.ndarray) -> float | None:
    """Rank correlation of `left` and `right` with `given` held fixed; None if it is not defined.

    It is the first-order partial correlation (r_lr - r_lg r_rg) / sqrt((1 - r_lg^2) (1 - r_rg^2)) of the ranks.
    """
    whole = np.isfinite(left) & np.isfinite(right) & np.isfinite(given)
    pairs = (left, right), (left, given), (right, given)
    r_lr, r_lg, r_rg = (rank_correlation(a[whole], b[whole]) for a, b in pairs)
    if r_lr is None or r_lg is None or r_rg is None or max(abs(r_lg), abs(r_rg)) > 1 - 1e-12:
        return None
    return float((r_lr - r_lg * r_rg) / np.sqrt((1 - r_lg**2) * (1 - r_rg**2)))


def top_overlap(left: np.ndarray, right: np.ndarray, share: float = TOP_SHARE) -> float | None:
    """Share of the rows with the highest `left` that are also among the rows with the highest `right`.

    A random order gives `share`. Ties go to the earlier row. It is None if one of the two never varies: its top is arbitrary.
    """
    both = np.isfinite(left) & np.isfinite(right)
    size = round(share * both.sum())
    if size == 0 or np.ptp(left[both]) == 0 or np.ptp(right[both]) == 0:
        return None
    first, second = (np.argsort(-values[both], kind="stable")[:size] for values in (left, right))
    return len(np.intersect1d(first, second)) / size


def effective_sample_size(weights: np.ndarray) -> float:
    """Kish's effective sample size of weights: their number if all are equal, 1 if only one is above 0."""
    return float(weights.sum() ** 2 / (weights**2).sum()) if weights.any() else 0.0


def nan_mean(values: np.ndarray) -> float | None:
    return float(np.nanmean(values)) if np.isfinite(values).any() else None


def solution_correlation(
    scores: np.ndarray, lengths: np.ndarray, unit: Literal["tokens", "characters"]
) -> dict[str, Any]:
    """Makes the card's entry for the rank correlation of score and length of the worked solution, counted in `unit`."""
    return {"value": rank_correlation(scores, lengths), "unit": unit}


def what_scores_follow(
    scores: np.ndarray, problem_length: np.ndarray, solution_length: np.ndarray, num_steps: np.ndarray
) -> dict[str, float | None]:
    """Rank correlations of scores with the lengths of problem and worked solution, and with the number of the solution's steps.

    `A_given_B` is the partial correlation of the scores with A, with B held fixed. A score that sees more than length follows the
    steps also where a length is given.

    Args:
        scores (`np.ndarray` of shape `(N,)`): NaN for a row without a score; the others of the same shape.
    """
    values = {"problem_length": problem_length, "solution_length": solution_length, "steps": num_steps}
    plain = {name: rank_correlation(scores, each) for name, each in values.items()}
    pairs = (
        *(("steps", "problem_length"), ("steps", "solution_length")),
        *(("problem_length", "solution_length"), ("solution_length", "problem_length")),
    )
    partial = {
        f"{name}_given_{given}": partial_rank_correlation(scores, values[name], values[given]) for name, given in pairs
    }
    return plain | partial


def diagnostics(scores: np.ndarray, num_tokens: np.ndarray, difficulty: np.ndarray | None = None) -> dict[str, Any]:
    """Computes the figures of the card that show whether a score is a measure of length.

    Args:
        scores (`np.ndarray` of shape `(N,)`): NaN for a row without a score.
        num_tokens (`np.ndarray` of shape `(N,)`): Lengths of the scored texts; NaN for an unknown length.
        difficulty (`np.ndarray` of shape `(N,)`): The pool's `difficulty_column`; None if it has none.

    Returns:
        Entries of the card. `effective_sample_size` is that of soft sampling, as a share of the rows; null if a score is below
        0. `overlap_with_longest` is the share of the top 10% by score that is among the 10% longest.
        `rank_correlation_with_difficulty`, plain and given the length, is there only if the pool has a difficulty.
    """
    weights = np.nan_to_num(scores)
    card: dict[str, Any] = {
        "rank_correlation_with_length": rank_correlation(scores, num_tokens),
        "overlap_with_longest": top_overlap(scores, num_tokens),
        "effective_sample_size": effective_sample_size(weights) / len(weights) if (weights >= 0).all() else None,
    }
    if difficulty is not None:
        card["rank_correlation_with_difficulty"] = {
            "plain": rank_correlation(scores, difficulty),
            "given_length": partial_rank_correlation(scores, difficulty, num_tokens),
            "num_rows": int((np.isfinite(scores) & np.isfinite(difficulty)).sum()),
        }
    return card
