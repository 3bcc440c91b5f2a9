"""Repeats hard rows in some domains and easy rows in others, by whole numbers; the domains keep their sizes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from circuitseer_trl.ranks import average_ranks
from circuitseer_trl.sampling.base import Sampler
from circuitseer_trl.sampling.soft import hashed_uniform
from circuitseer_trl.sampling.stratified import proportional_quotas

Direction = Literal["hard", "easy", "even"]
Source = Literal["column", "score"]


def round_to_counts(weights: np.ndarray, uids: Sequence[str], seed: int, domain: str) -> np.ndarray:
    """Rounds weights to whole numbers with the same sum, which is whole. Each is the weight's floor or ceiling, unbiased.

    This is systematic rounding. Rows lie on a line in the order of a hash of their names, each as long as its weight. Marks
    lie on the line at distance 1 from a random start, and each row gets the number of marks on it.

    Args:
        weights (`np.ndarray` of shape `(N,)`): Of the rows of one domain.
        uids: Names of the rows.
        seed: Seed of the order and the start.
        domain: Name of the domain, which also decides the start.

    Returns:
        int64 `np.ndarray` of shape `(N,)`.
    """
    order = np.lexsort((np.asarray(uids), hashed_uniform(uids, seed)))
    [start] = hashed_uniform([f"start of {domain}"], seed)
    passed = np.floor(np.cumsum(weights[order]) + start).astype(np.int64)
    passed[-1] = round(weights.sum())
    counts = np.zeros(len(weights), np.int64)
    counts[order] = np.diff(np.minimum(passed, passed[-1]), prepend=0)
    return counts


@dataclass
class ReweightSampler(Sampler):
    """Repeats or drops rows by their difficulty, domain by domain (Infra, arXiv 2505.19949: "flipping task difficulty").

    Our reading, because the paper's mix was not at hand: a row's weight is its quantile of difficulty inside its domain,
    (rank + 1/2) / rows, or 1 minus the quantile. The weights of a domain are scaled to its share of the budget. So a whole
    pool keeps its size and the sizes of its domains, and no weight is above 2. A domain is a category; a pool without
    categories is one domain.

    Attributes:
        directions: `hard`, `easy` or `even` for all domains, or a mapping from a domain to one of them. Domains that the
            mapping does not name are even.
        difficulty: `column` takes the pool's `difficulty_column`, `score` the method's score, for instance of `max_loss`. A
            higher number is harder.
    """

    directions: dict[str, str] | str = "hard"
    difficulty: Source = "column"

    def __post_init__(self) -> None:
        named = list(self.directions.values()) if isinstance(self.directions, Mapping) else [self.directions]
        for value in named:
            if value not in get_args(Direction):
                raise ValueError(
                    f"`directions` must be one of {', '.join(get_args(Direction))}, or a mapping from domain to one of them, "
                    f"got {value!r}."
                )
        if self.difficulty not in get_args(Source):
            raise ValueError(f"`difficulty` must be one of {', '.join(get_args(Source))}, got {self.difficulty!r}.")

    def weights(self, difficulty: np.ndarray, domain: str, quota: int) -> np.ndarray:
        """The weights of one domain's rows, which add up to `quota`."""
        direction = self.directions.get(domain, "even") if isinstance(self.directions, Mapping) else self.directions
        quantile = (average_ranks(difficulty) + 0.5) / len(difficulty)
        shares = {"hard": quantile, "easy": 1 - quantile, "even": np.ones(len(quantile))}[direction]
        return quota * shares / shares.sum()

    def choose(
        self, scores: np.ndarray, uids: Sequence[str], size: int, seed: int, columns: Mapping[str, Any] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        columns = columns or {}
        if self.difficulty == "column" and "difficulty" not in columns:
            raise ValueError(
                "Reweighting needs the rows' difficulty. Set `difficulty_column`, or `method_args: {difficulty: score}`."
            )
        difficulty = scores if self.difficulty == "score" else np.asarray(columns["difficulty"], np.float64)
        if missing := int(np.isnan(difficulty).sum()):
            raise ValueError(
                f"{missing} of {len(uids)} rows have no difficulty. Fill the `difficulty_column`, or drop them."
            )
        domains = np.array([str(name) for name in columns.get("category", [""] * len(uids))])
        names, group = np.unique(domains, return_inverse=True)
        if isinstance(self.directions, Mapping) and (odd := sorted(set(self.directions) - set(names.tolist()))):
            raise ValueError(f"`directions` names the domain {odd[0]!r}; domains are {', '.join(names) or 'none'}.")
        quotas = proportional_quotas(np.bincount(group), size, hashed_uniform(names.tolist(), seed))
        expected, counts = np.zeros(len(uids)), np.zeros(len(uids), np.int64)
        for number, (name, quota) in enumerate(zip(names.tolist(), quotas.tolist(), strict=True)):
            rows = np.flatnonzero(group == number)
            expected[rows] = self.weights(difficulty[rows], name, quota)
            counts[rows] = round_to_counts(expected[rows], [uids[row] for row in rows.tolist()], seed, name)
        order = np.lexsort((np.asarray(uids), -expected))
        chosen = np.repeat(order, counts[order])
        return chosen, np.minimum(expected, 1)[chosen]
