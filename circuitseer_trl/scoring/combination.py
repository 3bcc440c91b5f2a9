"""How are scores changed before sampling? Joint ranks and control of length, as pure functions of whole score tables."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa

from circuitseer_trl.checks import check_choice, check_number
from circuitseer_trl.configs import DifficultySource, LengthControl
from circuitseer_trl.scoring.diagnostics import average_ranks

LENGTH_BINS = 10

Normalisation = Literal["rank", "z_score"]


def _scored(scores: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Marks the rows that have a score. Raises if one of them has no length."""
    scored = np.isfinite(scores)
    if missing := int((scored & ~(np.nan_to_num(lengths) > 0)).sum()):
        raise ValueError(
            f"{missing} of {int(scored.sum())} scored rows have no `num_tokens`, which `length_control` needs. "
            "Set `length_control: none`: this method reads no text."
        )
    return scored


def rank_in_length_bin(scores: np.ndarray, lengths: np.ndarray, num_bins: int = LENGTH_BINS) -> np.ndarray:
    """Ranks each row by score among rows of similar length, in (0, 1). Every length then gets the same share of a draw.

    Bins hold equal numbers of rows, except that rows of one length share a bin, so the order of the rows has no effect. A
    rank is (rank + 1/2) / rows of the bin. Equal scores have equal ranks. NaN stays NaN.
    """
    result = np.full(len(scores), np.nan)
    scored = np.flatnonzero(_scored(scores, lengths))
    place = (average_ranks(lengths[scored]) + 0.5) / max(1, len(scored))
    result[scored] = _ranks_in_groups(scores[scored], np.floor(place * num_bins))
    return result


def _ranks_in_groups(scores: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """The rank of each score in its group, (rank + 1/2) / rows of the group. Equal scores have equal ranks."""
    result = np.empty(len(scores))
    for group in np.unique(groups):
        members = groups == group
        result[members] = (average_ranks(scores[members]) + 0.5) / members.sum()
    return result


def length_residual(scores: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Divides each score by the score expected at its length: exp of the residual of log score on log length.

    The line is fitted by least squares over the rows with a score above 0. A score of 0 stays 0, and NaN stays NaN.
    """
    scored = _scored(scores, lengths)
    if (scores[scored] < 0).any():
        raise ValueError(
            f"{int((scores[scored] < 0).sum())} scores are below 0, so they have no logarithm. Set `length_control: bin`."
        )
    positive = np.flatnonzero(scored & (scores > 0))
    result = np.where(scored, 0.0, np.nan)
    if len(positive):
        x, y = np.log(lengths[positive]), np.log(scores[positive])
        x, y = x - x.mean(), y - y.mean()
        slope = (x @ y) / (x @ x) if (x @ x) > 0 else 0.0
        result[positive] = np.exp(y - slope * x)
    return result


def control_length(control: LengthControl, scores: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Applies `length_control` to scores."""
    if control == "none":
        return scores
    return (rank_in_length_bin if control == "bin" else length_residual)(scores, lengths)


@dataclass
class Combination(ABC):
    """Makes one score for each row from the columns of a score table. The fields are its parameters; the card records them."""

    @abstractmethod
    def combine(self, table: pa.Table, difficulty: np.ndarray | None) -> np.ndarray:
        """Returns the scores to sample by, of shape `(N,)`; NaN for a row without a score.

        Args:
            table: The score table, with the pool's `category` if it has one.
            difficulty (`np.ndarray` of shape `(N,)`): The pool's `difficulty_column`; None if it has none.
        """


def weighted_ranks(columns: list[np.ndarray], weights: list[float]) -> np.ndarray:
    """Weighted sum of each row's ranks, in (0, 1); NaN for a row without a number in one of the columns.

    A rank is (rank + 1/2) / rows; the highest value has the highest rank, and equal values have equal ranks.
    """
    whole = np.flatnonzero(np.all([np.isfinite(values) for values in columns], axis=0))
    result = np.full(len(columns[0]), np.nan)
    result[whole] = sum(
        weight * (average_ranks(values[whole]) + 0.5) / max(1, len(whole))
        for values, weight in zip(columns, weights, strict=True)
    )
    return result


def weighted_scores(
    columns: list[np.ndarray], weights: list[float], normalise: Normalisation, names: list[str]
) -> np.ndarray:
    """Weighted sum of each row's scores, after all are brought to one scale; NaN for a row without one of the scores.

    Args:
        columns: Scores of the same rows in the same order.
        normalise: `rank` as in `weighted_ranks`; `z_score` is (score - mean) / standard deviation. Both are over the rows that
            have all scores.
        names: Names of the columns for error messages.
    """
    whole = np.all([np.isfinite(values) for values in columns], axis=0)
    for values, name in zip(columns, names, strict=True):
        if whole.any() and np.ptp(values[whole]) == 0:
            raise ValueError(f"The scores in {name} are all {values[whole][0]:g}, which ranks nothing. Leave them out.")
    if not whole.any():
        raise ValueError(f"No row has a score in all of {', '.join(names)}.")
    if normalise == "rank":
        return weighted_ranks(columns, weights)
    result = np.full(len(columns[0]), np.nan)
    scaled = [(values[whole] - values[whole].mean()) / values[whole].std() for values in columns]
    result[whole] = sum(weight * values for weight, values in zip(weights, scaled, strict=True))
    return result


@dataclass
class MiddleRank(Combination):
    """Scores a row by the distance of its rank from the middle of the pool: 1 at the median, 0 at both ends."""

    def combine(self, table: pa.Table, difficulty: np.ndarray | None) -> np.ndarray:
        return 1 - np.abs(2 * weighted_ranks([table["score"].to_numpy()], [1.0]) - 1)


@dataclass
class CategoryRank(Combination):
    """Scores a row by the rank of its score among the rows of its category, in (0, 1). A pool without categories is one."""

    def combine(self, table: pa.Table, difficulty: np.ndarray | None) -> np.ndarray:
        scores = table["score"].to_numpy()
        names = table["category"].to_pylist() if "category" in table.column_names else [None] * len(scores)
        result, scored = np.full(len(scores), np.nan), np.isfinite(scores)
        result[scored] = _ranks_in_groups(scores[scored], np.array([str(name) for name in names])[scored])
        return result


@dataclass
class JointRank(Combination):
    """Ranks rows by difficulty and trace length together (Select2Reason: w rank_difficulty + (1 - w) rank_length).

    Attributes:
        difficulty_weight: The paper's w; the default is the paper's best value.
        difficulty: `judge` and `verdicts` take the score. `column` takes the pool's `difficulty_column`, where higher is harder.
    """

    difficulty_weight: float = 0.25
    difficulty: DifficultySource = "judge"

    def __post_init__(self) -> None:
        check_number("difficulty_weight", self.difficulty_weight, 0, 1)
        check_choice("difficulty", self.difficulty, DifficultySource)

    def combine(self, table: pa.Table, difficulty: np.ndarray | None) -> np.ndarray:
        if self.difficulty == "column" and difficulty is None:
            raise ValueError("`difficulty: column` needs the pool's difficulties. Set `difficulty_column`.")
        hardness = difficulty if self.difficulty == "column" else table["score"].to_numpy()
        assert hardness is not None
        length = table["trace_length"].to_numpy().astype(np.float64)
        return weighted_ranks([hardness, length], [self.difficulty_weight, 1 - self.difficulty_weight])
