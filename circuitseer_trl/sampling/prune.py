"""The least beneficial and the most harmful rows go first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, get_args

import numpy as np

from circuitseer_trl.configs import PruneStrategy
from circuitseer_trl.ranks import average_ranks
from circuitseer_trl.sampling.base import Sampler


def mean_ranks(influences: np.ndarray) -> np.ndarray:
    """Each row's rank among all rows, averaged over the queries; the smallest influence has the rank 0.

    Args:
        influences (`np.ndarray` of shape `(N, Q)`): Influence of each row on each query.

    Returns:
        `np.ndarray` of shape `(N,)`.
    """
    return np.mean([average_ranks(column) for column in influences.T], axis=0)


def goodness(influences: np.ndarray) -> np.ndarray:
    """How good a row is: the larger of its percentiles by mean influence and by mean rank.

    So a row is pruned only where both orders put it low, and a few outlying queries cannot prune a row.
    """
    scores = (influences.mean(axis=1), mean_ranks(influences))
    return np.max([average_ranks(values) / len(values) for values in scores], axis=0)


def alternate(first: Sequence[int], second: Sequence[int]) -> list[int]:
    """Takes in turn the next row of each order that is not taken yet, until all are taken."""
    taken: dict[int, None] = {}
    orders = (iter(first), iter(second))
    for turn in range(len(first)):
        taken[next(row for row in orders[turn % 2] if row not in taken)] = None
    return list(taken)


@dataclass
class PruneSampler(Sampler):
    """Keeps the rows that are left after pruning by influence on answers (arXiv 2510.06108).

    Our reading of the paper's rules, which were read second-hand: the better of a row's two percentiles counts, one by
    influence and one by rank within each answer. Rows come in the reverse order of pruning. Ties keep the smaller uid. The
    seed has no effect.

    Attributes:
        strategy: `correct` prunes the rows that help least the answers that training turned right. `incorrect` prunes the
            rows that help most the answers that training turned wrong. `combined` prunes by each rule in turn.
    """

    needs: ClassVar[tuple[str, ...]] = ("influences_correct", "influences_incorrect")

    strategy: PruneStrategy = "combined"

    def __post_init__(self) -> None:
        if self.strategy not in get_args(PruneStrategy):
            raise ValueError(f"`strategy` must be one of {', '.join(get_args(PruneStrategy))}, got {self.strategy!r}.")

    @property
    def nested(self) -> bool:
        return True

    def choose(
        self, scores: np.ndarray, uids: Sequence[str], size: int, seed: int, columns: Mapping[str, Any] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        assert columns is not None
        names = np.unique(np.asarray(uids), return_inverse=True)[1]

        def worst_first(column: str, sign: int) -> list[int]:
            influences = np.stack([np.asarray(row, np.float64) for row in columns[column]])
            if influences.shape[1] == 0:
                raise ValueError(
                    f"These scores have no `{column}`, which `strategy: {self.strategy}` needs. Set another `strategy`."
                )
            return np.lexsort((-names, goodness(sign * influences))).tolist()

        orders = []
        if self.strategy != "incorrect":
            orders.append(worst_first("influences_correct", 1))
        if self.strategy != "correct":
            orders.append(worst_first("influences_incorrect", -1))
        pruned = orders[0] if len(orders) == 1 else alternate(*orders)
        return np.array(pruned[::-1][:size]), np.ones(size)
