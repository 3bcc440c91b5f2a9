"""Which examples, given scores? What every sampler is handed and gives back."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa


@dataclass(frozen=True)
class Selection:
    """Chosen rows, in the order in which they were chosen; all arrays have one entry a row.

    Attributes:
        rows: Positions in the dataset as it was given.
        uids: Names of the rows.
        scores: The scores by which they were chosen.
        weights: How often training sees each row in an epoch.
        inclusion_probabilities: Probability of each row to be in a subset of this size; 1 where no chance is involved, NaN
            where it is not known.
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

    @classmethod
    def from_table(cls, table: pa.Table) -> "Selection":
        table = table.sort_by("order")
        return cls(
            rows=table["row"].to_numpy(),
            uids=table["uid"].to_pylist(),
            scores=table["score"].to_numpy(),
            weights=table["weight"].to_numpy(),
            inclusion_probabilities=table["inclusion_probability"].to_numpy(),
        )


def budget(num_usable: int, ratio: float = 0.1, size: int | None = None) -> int:
    """Number of rows to keep: `size`, or the floor of the exact decimal `ratio` times the usable rows (Algorithm 1).

    0.29 * 100 is 28.999... in binary; as decimals it is 29.
    """
    kept = size if size is not None else math.floor(Decimal(str(ratio)) * num_usable)
    if kept < 1:
        raise ValueError(
            f"A budget of {ratio} of {num_usable} usable rows is no row at all. Raise `budget_ratio`, or set `budget_size`."
        )
    return kept


@dataclass
class Sampler(ABC):
    """A pure function from scores, a budget and a seed to a `Selection`. Fields are its parameters, which the card records.

    Subclasses say which columns of the score table they need besides (`needs`; `category` is the pool's where scores have none).
    """

    needs: ClassVar[tuple[str, ...]] = ()

    @property
    def nested(self) -> bool:
        """Whether a smaller subset is always the first rows of a larger one, which a budget in tokens needs."""
        return False

    def drawable(self, scores: np.ndarray) -> np.ndarray:
        """Which rows can be chosen at all, as a mask; a row without a score cannot."""
        return ~np.isnan(scores)

    @abstractmethod
    def choose(
        self, scores: np.ndarray, uids: Sequence[str], size: int, seed: int, columns: Mapping[str, Any] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Chooses among examples that all have a finite score.

        Returns:
            Indices of the chosen examples, in the order of choice, and their inclusion probabilities. An index may stand there
            more than once: training sees the row so often.
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
        """Chooses `size` examples, those counted again that training is to see again.

        Args:
            scores (`np.ndarray` of shape `(N,)`): Scores; NaN for an example without one, which is never chosen.
            rows (`np.ndarray` of shape `(N,)`): Positions of the examples in their dataset.
            uids: Names of the examples, each once.
            size: How many to choose.
            seed: Seed of the draw.
            columns: Other columns of the score table, each of `N` values.

        Raises:
            ValueError: More asked for than have a score, infinite scores, or no column that the sampler needs.
        """
        columns = columns or {}
        if absent := [name for name in self.needs if name not in columns]:
            raise ValueError(
                f"{type(self).__name__} needs the column {absent[0]!r}, which these scores do not have."
                + (" Set `category_column`." if absent[0] == "category" else " Set another `sampling`.")
            )
        scores = np.asarray(scores, dtype=np.float64)
        if np.isinf(scores).any():
            infinite = [uids[index] for index in np.flatnonzero(np.isinf(scores))[:3].tolist()]
            raise ValueError(f"{np.isinf(scores).sum()} scores are infinite, for instance those of {infinite}.")
        scored = np.flatnonzero(~np.isnan(scores))
        if size > len(scored):
            raise ValueError(
                f"Cannot choose {size} examples: only {len(scored)} of {len(scores)} have a score. "
                "Lower `budget_ratio` or `budget_size`."
            )
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
