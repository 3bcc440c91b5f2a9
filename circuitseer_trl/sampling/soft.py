"""Soft sampling: without replacement, each draw proportional to the score."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from circuitseer_trl.sampling.base import Sampler


def splitmix64(state: np.ndarray) -> np.ndarray:
    """The SplitMix64 output function (Steele et al. 2014): 64 well-mixed bits of any 64 bits."""
    with np.errstate(over="ignore"):
        mixed = state + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return mixed ^ (mixed >> np.uint64(31))


def hashed_uniform(uids: Sequence[str], seed: int) -> np.ndarray:
    """One number in (0, 1) for each name. It depends on the name and the seed alone, not on order, shard or process."""
    hashes = np.array(
        [int.from_bytes(hashlib.blake2b(uid.encode(), digest_size=8).digest(), "little") for uid in uids], np.uint64
    )
    mixed = splitmix64(hashes ^ splitmix64(np.array([seed], np.uint64)))
    return ((mixed >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def race_inclusion_probabilities(weights: np.ndarray, size: int) -> np.ndarray:
    """Probability that each item is among the first `size` of an exponential race with rates `weights`.

    This is the approximation pi = 1 - exp(-lambda w), where lambda makes the probabilities add up to `size`: the race stops
    at a fixed time instead of a fixed count. Its error shrinks when the number of items grows. `size * w / sum(w)` is wrong,
    because it exceeds 1 for heavy items.

    Args:
        weights (`np.ndarray` of shape `(N,)`): At least 0.
        size: How many items are drawn.

    Returns:
        `np.ndarray` of shape `(N,)`.
    """
    positive = weights > 0
    if size >= positive.sum():
        return positive.astype(np.float64)
    shares = weights / weights.sum()
    low, high = -60.0, 700.0  # bounds of log(lambda)
    for _ in range(100):
        middle = (low + high) / 2
        expected = -np.expm1(-np.exp(middle) * shares).sum()
        low, high = (middle, high) if expected < size else (low, middle)
    return -np.expm1(-np.exp(low) * shares)


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

    def drawable(self, scores: np.ndarray) -> np.ndarray:
        return ~(np.isnan(scores) | (scores == 0))  # `choose` refuses negative scores

    def choose(
        self, scores: np.ndarray, uids: Sequence[str], size: int, seed: int, columns: Mapping[str, Any] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        if (scores < 0).any():
            negative = [uids[index] for index in np.flatnonzero(scores < 0)[:3]]
            raise ValueError(
                f"Soft sampling needs scores of at least 0, but {(scores < 0).sum()} are negative, for instance those of "
                f"{negative}. Set `sampling: top_k`."
            )
        drawable = int((scores > 0).sum())
        if size > drawable:
            raise ValueError(
                f"Cannot draw {size} examples: only {drawable} of {len(scores)} have a score above zero. "
                "Lower `budget_ratio`, or set `sampling: top_k`."
            )
        log_weights = np.full(len(scores), -np.inf)
        np.log(scores, where=scores > 0, out=log_weights)
        if self.inverse:
            log_weights = np.where(scores > 0, -log_weights, -np.inf)
        keys = log_weights - np.log(-np.log(hashed_uniform(uids, seed)))
        order = np.lexsort((np.asarray(uids), -keys))[:size]
        weights = np.exp(log_weights - log_weights.max())
        return order, race_inclusion_probabilities(weights, size)[order]
