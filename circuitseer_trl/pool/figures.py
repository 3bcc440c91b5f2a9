"""Which rows do the figures of cards rest on, and how long are those rows? All rows of a pool, or a sample of a large one."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from circuitseer_trl.pool.solution_steps import num_steps
from circuitseer_trl.splitmix import splitmix64

SAMPLE_ROWS = 1_000_000  # a pool of more rows has figures of a sample of about so many
COLUMNS = ("problem", "completion", "category", "difficulty")


def sampled(start: int, stop: int, num_rows: int) -> np.ndarray:
    """Marks the rows that figures rest on, among the rows from `start` to `stop` of a pool.

    A hash of a row's place decides, so that every part of a pool can be sampled on its own.

    Args:
        num_rows: Number of rows of the pool.

    Returns:
        Boolean `np.ndarray` of shape `(stop - start,)`, all true in a pool of at most `SAMPLE_ROWS`.
    """
    if num_rows <= SAMPLE_ROWS:
        return np.ones(stop - start, bool)
    return splitmix64(np.arange(start, stop, dtype=np.uint64)) < np.uint64(SAMPLE_ROWS / num_rows * 2.0**64)


def num_words(rows: pa.Table) -> np.ndarray:
    """Number of words of each row, problem and worked solution together: texts between white space."""
    counts = [pc.count_substring_regex(rows[name], r"\S+").to_numpy() for name in ("problem", "completion")]
    return np.asarray(sum(counts), dtype=np.int64)


@dataclass(frozen=True)
class PoolFigures:
    """What cards say of a pool's rows. The arrays have one value for each sampled row, in the pool's order.

    Attributes:
        problem_characters: Length of the row's problem, in characters.
        solution_characters: Length of its worked solution.
        solution_steps: Number of steps of the worked solution: its lines that are not empty.
        words: `num_words` of the row.
        difficulty: NaN for a row without one; None for a sample without difficulties.
        categories: Number of rows of each category in the whole pool; empty for a pool without categories.
        num_rows: Number of rows of the whole pool.
    """

    problem_characters: np.ndarray
    solution_characters: np.ndarray
    solution_steps: np.ndarray
    words: np.ndarray
    difficulty: np.ndarray | None
    categories: dict[str, int]
    num_rows: int

    def sample(self) -> dict[str, Any]:
        """The card's entry for the sample; empty where all rows are in it.

        The standard error is that of a rank correlation near 0, and of the share of rows below a quantile it is at most half.
        """
        size = len(self.words)
        if size == self.num_rows:
            return {}
        return {"figures_of_a_sample": {"num_rows": size, "of": self.num_rows, "standard_error": (size - 1) ** -0.5}}


def pool_figures(batches: Iterable[pa.Table], num_rows: int) -> PoolFigures:
    """Makes the figures in one pass over a pool.

    Args:
        batches: Tables with the columns `COLUMNS`, in the pool's order.
        num_rows: Number of all rows.
    """
    parts: dict[str, list[np.ndarray]] = {"problem": [], "completion": [], "steps": [], "words": [], "difficulty": []}
    categories: Counter[str | None] = Counter()
    start = 0
    for batch in batches:
        for each in pc.value_counts(batch["category"]).to_pylist():
            categories[each["values"]] += each["counts"]
        rows = batch.filter(pa.array(sampled(start, start + len(batch), num_rows)))
        start += len(batch)
        for name in ("problem", "completion"):
            parts[name].append(pc.utf8_length(rows[name]).to_numpy())
        steps = [num_steps(text) for text in rows["completion"].to_pylist()]
        parts["steps"].append(np.array(steps, dtype=np.float64))
        parts["words"].append(num_words(rows))
        parts["difficulty"].append(rows["difficulty"].cast(pa.float64()).to_numpy().astype(np.float64))
    values = {
        name: np.concatenate([np.zeros(0, np.int64 if name == "words" else float), *part])
        for name, part in parts.items()
    }
    return PoolFigures(
        values["problem"],
        values["completion"],
        values["steps"],
        values["words"],
        values["difficulty"] if np.isfinite(values["difficulty"]).any() else None,
        {str(name): count for name, count in categories.items()} if any(categories) else {},
        num_rows,
    )
