"""Soft sampling: without replacement, each draw proportional to the score."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from circuitseer_trl.sampling.base import Sampler, ScoreCounts
from circuitseer_trl.splitmix import splitmix64


def hashed_uniform(uids: Sequence[str], seed: int) -> np.ndarray:
    """One number in (0, 1) for each name. It depends on the name and the seed alone, not on order, shard or process."""
    hashes = np.array(
        [int.from_bytes(hashlib.blake2b(uid.encode(), digest_size=8).digest(), "little") for uid in uids], np.uint64
    )
    mixed = splitmix64(hashes ^ splitmix64(np.array([seed], np.uint64)))
    return ((mixed >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def inclusion_probabilities(log_weights: np.ndarray, threshold: float) -> np.ndarray:
    """Probability that a key log(w) + Gumbel noise is above a threshold: 1 - exp(-w exp(-threshold)).

    With the largest key that is not chosen as the threshold, this is the probability that the row is chosen, given the keys of
    the other rows (rank conditioning of bottom-k samples, Cohen and Kaplan 2007). Sums over chosen rows of a quantity divided by
    it are unbiased for the sum over all rows. Its mean over draws is the row's own chance, and it varies from draw to draw.

    Args:
        log_weights (`np.ndarray` of shape `(N,)`): Logarithms of the weights.
        threshold: Largest key that is not chosen; minus infinity if all rows are.
    """
    with np.errstate(over="ignore"):
        return -np.expm1(-np.exp(log_weights - threshold))


@dataclass
class SoftSampler(Sampler):
    """Draws without replacement with probability proportional to the score (CircuitSeer, Algorithm 1), or to its inverse.

    The rows with the largest keys log(score) + Gumbel noise are chosen, which is exactly successive sampling. The noise is
    hashed from the row's name and the seed, so the order of rows has no effect, and the rows of a smaller budget are the
    first ones of a larger budget.

    Attributes:
        inverse: Whether the weight is 1 / score. This is our reading of the paper's low-score sampling (Table 3), which the
            paper does not define.
    """

    inverse: bool = False

    @property
    def draws_by_scores(self) -> bool:
        return True

    @property
    def nested(self) -> bool:
        return True

    @property
    def merges(self) -> bool:
        return True

    def check(self, counts: ScoreCounts, size: int) -> None:
        super().check(counts, size)
        if counts.negative:
            raise ValueError(
                f"Soft sampling needs scores of at least 0, but {counts.negative} are negative, for instance those of "
                f"{counts.negative_uids}. Set `sampling: top_k`."
            )
        if size > counts.positive:
            raise ValueError(
                f"Cannot draw {size} examples: only {counts.positive} of {counts.scored} have a score above zero. "
                "Lower `budget_ratio`, or set `sampling: top_k`."
            )

    def drawable(self, scores: np.ndarray) -> np.ndarray:
        return ~(np.isnan(scores) | (scores == 0))  # `check` refuses negative scores

    def choose(
        self, scores: np.ndarray, uids: Sequence[str], size: int, seed: int, columns: Mapping[str, Any] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        self.check(ScoreCounts().add(scores, uids), size)
        log_weights = np.full(len(scores), -np.inf)
        np.log(scores, where=scores > 0, out=log_weights)
        if self.inverse:
            log_weights = np.where(scores > 0, -log_weights, -np.inf)
        keys = log_weights - np.log(-np.log(hashed_uniform(uids, seed)))
        order = np.lexsort((np.asarray(uids), -keys))
        threshold = keys[order[size]] if size < len(order) else -np.inf
        return order[:size], inclusion_probabilities(log_weights[order[:size]], threshold)
