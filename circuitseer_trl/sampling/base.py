"""Which examples are chosen, given scores? The interface of all samplers, and their result."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa


@dataclass(frozen=True)
class Selection:
    """The N chosen rows, in the order of choice.

    Attributes:
        rows (`np.ndarray` of shape `(N,)`): Positions in the original dataset.
        uids: uids of the rows.
        scores (`np.ndarray` of shape `(N,)`): The scores that the sampler got.
        weights (`np.ndarray` of shape `(N,)`): Number of times that training sees each row in an epoch.
        inclusion_probabilities (`np.ndarray` of shape `(N,)`): Probability that a subset of this size contains the row; 1
            without chance, NaN if it is not known.
    """

    rows: np.ndarray
    uids: list[str]
    scores: np.ndarray
    weights: np.ndarray
    inclusion_probabilities: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def to_table(self) -> pa.Table:
        return pa.table(
            {
                "row": pa.array(self.rows, pa.int64()),
                "uid": pa.array(self.uids, pa.string()),
                "order": pa.array(range(len(self)), pa.int64()),
                "score": pa.array(self.scores, pa.float64()),
                "weight": pa.array(self.weights, pa.float64()),
                "inclusion_probability": pa.array(self.inclusion_probabilities, pa.float64()),
            }
        )


def budget(num_usable: int, ratio: float = 0.1, size: int | None = None) -> int:
    """Number of rows to keep: `size`, or the floor of `ratio` times the usable rows (Algorithm 1).

    The product is decimal, since 0.29 * 100 is 28.999... in binary.
    """
    kept = size if size is not None else math.floor(Decimal(str(ratio)) * num_usable)
    if kept < 1:
        raise ValueError(
            f"A budget of {ratio} of {num_usable} usable rows is less than one row. Raise `budget_ratio`, or set `budget_size`."
        )
    return kept


@dataclass
class ScoreCounts:
    """How many scores can be used, and the first uids of those that cannot."""

    rows: int = 0
    scored: int = 0
    positive: int = 0
    infinite: int = 0
    negative: int = 0
    infinite_uids: list[str] = field(default_factory=list)
    negative_uids: list[str] = field(default_factory=list)

    def add(self, scores: np.ndarray, uids: Sequence[Any]) -> "ScoreCounts":
        """Counts more scores; `uids` may also be a column of a table."""
        infinite, negative = np.flatnonzero(np.isinf(scores)), np.flatnonzero(scores < 0)
        self.rows += len(scores)
        self.scored += int((~np.isnan(scores)).sum())
        self.positive += int((scores > 0).sum())
        self.infinite += len(infinite)
        self.negative += len(negative)
        for names, places in ((self.infinite_uids, infinite), (self.negative_uids, negative)):
            names += [str(uids[place]) for place in places[: 3 - len(names)].tolist()]
        return self


@dataclass
class Sampler(ABC):
    """A pure function from scores, a budget and a seed to a `Selection`.

    The fields are the sampler's parameters, which the card records.

    Attributes:
        needs: Columns that the sampler needs beside the scores. `category` is the pool's if the score table has none.
    """

    needs: ClassVar[tuple[str, ...]] = ()

    @property
    def draws_by_scores(self) -> bool:
        """Whether chances are proportional to scores, so that none may be below 0."""
        return False

    @property
    def nested(self) -> bool:
        """Whether a smaller subset is always the first rows of a larger one. A budget in tokens needs this."""
        return False

    @property
    def merges(self) -> bool:
        """Whether a key of each row's own decides, from its score, uid and the seed, and the best keys are chosen.

        The rows of a large pool are then chosen in one pass, with only candidates in memory.
        """
        return False

    def candidates(
        self, scores: np.ndarray, uids: Sequence[str], size: int, seed: int, columns: Mapping[str, Any] | None = None
    ) -> np.ndarray:
        """Indices of the rows that may be among `size` chosen ones when more rows come, for a sampler that merges.

        One more row than `size` is there for the inclusion probabilities.
        """
        return self.choose(scores, uids, len(scores), seed, columns)[0][: size + 1]

    def check(self, counts: ScoreCounts, size: int) -> None:
        """Raises if `size` rows cannot be chosen with these scores."""
        if counts.infinite:
            raise ValueError(f"{counts.infinite} scores are infinite, for instance those of {counts.infinite_uids}.")
        if size > counts.scored:
            raise ValueError(
                f"Cannot choose {size} examples: only {counts.scored} of {counts.rows} have a score. "
                "Lower `budget_ratio` or `budget_size`."
            )

    def drawable(self, scores: np.ndarray) -> np.ndarray:
        """A mask of the rows that can be chosen. A row without a score cannot be chosen."""
        return ~np.isnan(scores)

    @abstractmethod
    def choose(
        self, scores: np.ndarray, uids: Sequence[str], size: int, seed: int, columns: Mapping[str, Any] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Chooses among examples that all have a finite score.

        Returns:
            Indices of the chosen examples, in the order of choice, and their inclusion probabilities. An index may be repeated:
            training then sees the example as many times.
        """

    def sample(
        self,
        scores: np.ndarray,
        rows: np.ndarray,
        uids: Sequence[str],
        size: int,
        seed: int,
        columns: Mapping[str, Any] | None = None,
    ) -> Selection:
        """Chooses `size` examples. An example that training sees twice counts as two.

        Args:
            scores (`np.ndarray` of shape `(N,)`): Scores; NaN for an example without a score, which is never chosen.
            rows (`np.ndarray` of shape `(N,)`): Positions of the examples in their dataset.
            uids: uids of the examples, without repeats.
            size: Number of examples to choose.
            seed: Seed of the draw. A selection gives one of the method's own, which `selection_seed` decides.
            columns: Other columns of the score table, each with N values.

        Raises:
            ValueError: Fewer examples than `size` have a score, a score is infinite, or a needed column is missing.
        """
        columns = columns or {}
        if absent := [name for name in self.needs if name not in columns]:
            raise ValueError(
                f"{type(self).__name__} needs the column {absent[0]!r}, which these scores do not have."
                + (" Set `category_column`." if absent[0] == "category" else " Set another `sampling`.")
            )
        scores = np.asarray(scores, dtype=np.float64)
        Sampler.check(self, ScoreCounts().add(scores, uids), size)
        scored = np.flatnonzero(~np.isnan(scores))
        scored_uids = [uids[index] for index in scored.tolist()]
        scored_columns = {name: [values[index] for index in scored.tolist()] for name, values in columns.items()}
        drawn, probabilities = self.choose(scores[scored], scored_uids, size, seed, scored_columns)
        places, counts = np.unique(drawn, return_index=True, return_counts=True)[1:]
        order = np.argsort(places)
        chosen = drawn[places[order]]
        return Selection(
            rows=np.asarray(rows)[scored[chosen]],
            uids=[scored_uids[index] for index in chosen.tolist()],
            scores=scores[scored[chosen]],
            weights=counts[order].astype(np.float64),
            inclusion_probabilities=probabilities[places[order]],
        )
