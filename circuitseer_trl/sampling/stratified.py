"""The budget spread over categories: how many rows of each, and which."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from circuitseer_trl.sampling.base import Sampler, ScoreCounts
from circuitseer_trl.sampling.soft import SoftSampler, hashed_uniform

Allocation = Literal["equal", "proportional", "s1"]
Within = Literal["uniform", "scores"]


def equal_quotas(counts: np.ndarray, size: int, priority: np.ndarray) -> np.ndarray:
    """The same number of rows for every category; where one has fewer, the others share the rest (water-filling).

    Args:
        counts (`np.ndarray` of shape `(G,)`): Number of rows in each category.
        size: Number of rows to choose, at most `counts.sum()`.
        priority (`np.ndarray` of shape `(G,)`): If the last round has too few rows for all, the lowest values get one.

    Returns:
        `np.ndarray` of shape `(G,)`: The number of rows to choose in each category.
    """
    quotas = np.zeros_like(counts)
    while size > 0:
        open_groups = np.flatnonzero(quotas < counts)
        share = size // len(open_groups)
        if share == 0:
            open_groups, share = open_groups[np.argsort(priority[open_groups], kind="stable")][:size], 1
        added = np.minimum(share, counts[open_groups] - quotas[open_groups])
        quotas[open_groups] += added
        size -= int(added.sum())
    return quotas


def proportional_quotas(counts: np.ndarray, size: int, priority: np.ndarray) -> np.ndarray:
    """Each category's share of the rows, by largest remainders. Among equal remainders the lowest `priority` is first."""
    whole, rest = np.divmod(counts * size, counts.sum())
    order = np.lexsort((priority, -rest))
    whole[order[: size - int(whole.sum())]] += 1
    return whole


def draw_s1(members: list[list[int]], size: int, rng: np.random.Generator) -> list[int]:
    """Draws as s1 does: a uniform category, then one of its remaining rows with probability 2^-rank.

    Args:
        members: The rows of each category, the longest trace first; not changed.
        size: How many rows to draw.
        rng: The generator of random numbers.
    """
    left = [list(rows) for rows in members]
    chosen = []
    for _ in range(size):
        left = [rows for rows in left if rows]
        rows = left[int(rng.integers(len(left)))]
        # The inverse of the distribution function of 2^-rank, cut at the number of rows.
        rank = int(-np.log2(1 - rng.random() * (1 - 2.0 ** -len(rows))))
        chosen.append(rows.pop(min(rank, len(rows) - 1)))
    return chosen


def categories_of(columns: Mapping[str, Any]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Names of the categories, and the indices of the rows of each. Rows without a category form one category."""
    names, group = np.unique(np.array([str(name) for name in columns["category"]]), return_inverse=True)
    return names, [np.flatnonzero(group == number) for number in range(len(names))]


@dataclass
class StratifiedSampler(Sampler):
    """Spreads the budget over categories, and draws inside each of them.

    Attributes:
        allocation: `equal` takes the same number of rows from every category ("uniformly sampled from different
            categories", CircuitSeer, section 4.1; our reading: if a category is exhausted, its rest goes to the others).
            `proportional` keeps the pool's shares (Select2Reason's code; by largest remainders, so that the budget is
            exact). `s1` draws as s1's code (arXiv 2501.19393) before its weighting by benchmarks: a uniform category, then
            2^-rank by length.
        within: `uniform` draws uniformly inside a category, `scores` softly by the scores. `s1` uses neither.
    """

    needs: ClassVar[tuple[str, ...]] = ("category",)

    allocation: Allocation = "equal"
    within: Within = "uniform"

    def __post_init__(self) -> None:
        for name, choices in (("allocation", Allocation), ("within", Within)):
            if getattr(self, name) not in get_args(choices):
                raise ValueError(
                    f"`{name}` must be one of {', '.join(get_args(choices))}, got {getattr(self, name)!r}."
                )

    @property
    def draws_by_scores(self) -> bool:
        return self.within == "scores" and self.allocation != "s1"

    @property
    def nested(self) -> bool:
        # Quotas by largest remainders can fall when the budget grows (the Alabama paradox).
        return self.allocation != "proportional"

    @property
    def merges(self) -> bool:
        return self.allocation != "s1"  # which draws by ranks

    def check(self, counts: ScoreCounts, size: int) -> None:
        super().check(counts, size)
        if self.draws_by_scores:
            SoftSampler().check(counts, 0)

    def candidates(
        self, scores: np.ndarray, uids: Sequence[str], size: int, seed: int, columns: Mapping[str, Any] | None = None
    ) -> np.ndarray:
        """Those of each category: its quota is known when all rows are, and is at most `size`."""
        assert columns is not None
        _, members = categories_of(columns)
        weights = np.ones(len(scores)) if self.within == "uniform" else scores
        each = [
            SoftSampler().candidates(weights[rows], [uids[row] for row in rows.tolist()], size, seed)
            for rows in members
        ]
        return np.concatenate([rows[order] for rows, order in zip(members, each, strict=True)])

    def drawable(self, scores: np.ndarray) -> np.ndarray:
        return SoftSampler().drawable(scores) if self.draws_by_scores else super().drawable(scores)

    def choose(
        self, scores: np.ndarray, uids: Sequence[str], size: int, seed: int, columns: Mapping[str, Any] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        assert columns is not None
        names, members = categories_of(columns)
        if self.allocation == "s1":
            return self._choose_s1(members, uids, size, seed, columns)
        counts = np.array([len(rows) for rows in members])
        if "num_in_category" in columns:  # the rows are candidates
            counts = np.array([columns["num_in_category"][name] for name in names.tolist()])
        priority = hashed_uniform(names.tolist(), seed)
        quotas = (equal_quotas if self.allocation == "equal" else proportional_quotas)(counts, size, priority)
        weights = np.ones(len(scores)) if self.within == "uniform" else scores
        places = []
        for rows, quota, first in zip(members, quotas.tolist(), priority.tolist(), strict=True):
            if quota == 0:
                continue
            order, chances = SoftSampler().choose(weights[rows], [uids[row] for row in rows.tolist()], quota, seed)
            places += [
                (turn, first, rows[row], chance)
                for turn, (row, chance) in enumerate(zip(order.tolist(), chances.tolist(), strict=True))
            ]
        places.sort()  # in rounds: the first row of every category, then the second
        return np.array([place[2] for place in places]), np.array([place[3] for place in places])

    @staticmethod
    def _choose_s1(
        members: list[np.ndarray], uids: Sequence[str], size: int, seed: int, columns: Mapping[str, Any]
    ) -> tuple[np.ndarray, np.ndarray]:
        if "trace_length" not in columns:
            raise ValueError(
                "`allocation: s1` ranks rows by `trace_length`, which only the scores of `diversity` have."
            )
        lengths, names = np.asarray(columns["trace_length"]), np.asarray(uids)
        ranked = [rows[np.lexsort((names[rows], -lengths[rows]))].tolist() for rows in members]
        chosen = draw_s1(ranked, size, np.random.default_rng(seed))
        # There is no known formula for the probability that a row is in such a subset.
        return np.array(chosen), np.full(size, np.nan)
