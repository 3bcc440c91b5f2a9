"""The pool: rows of a problem and a worked solution, each with a name of its own."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa

from circuitseer_trl.artifacts import write_table
from circuitseer_trl.distributed.allocator import give_back_mapped_files
from circuitseer_trl.pool.figures import COLUMNS, PoolFigures, pool_figures

EXAMPLE_COLUMNS = ("row", "uid", "problem", "completion", "category", "difficulty")
SCATTERED_ROWS = 1024  # read at once: a row far from the others brings 64 KB of its file into memory


@dataclass(frozen=True)
class Example:
    """One usable row of the pool."""

    row: int  # position in the source dataset
    uid: str
    problem: str
    completion: str
    category: str | None = None
    difficulty: float | None = None


class Pool:
    """The usable rows of a dataset, and separately its dropped rows with a reason for each.

    Attributes:
        examples: Dataset of the usable rows, with the fields of `Example`, in the order of the source.
        dropped: Dataset of the rows that cannot be used, with one more column, `reason`.
        source: The dataset as the user gave it; `row` is a position in it.
        name: Name of the dataset on cards.
        cleaning: The settings of `clean_pool`; None without cleaning.
    """

    def __init__(
        self,
        examples: datasets.Dataset,
        dropped: datasets.Dataset,
        source: datasets.Dataset,
        name: str,
        cleaning: dict[str, Any] | None = None,
    ):
        self.examples, self.dropped, self.source, self.name, self.cleaning = examples, dropped, source, name, cleaning

    def __getstate__(self) -> dict[str, Any]:
        """Without what is computed again on its next use."""
        return {name: vars(self)[name] for name in ("examples", "dropped", "source", "name", "cleaning")}

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Example:
        return Example(**self.examples[index])

    def __iter__(self) -> Iterator[Example]:
        return (Example(**row) for row in self.examples)

    def batches(self, columns: Sequence[str], size: int = 10_000) -> Iterator[pa.Table]:
        """Some columns of all rows, some rows at a time. What was read does not stay in memory."""
        view = self.examples.select_columns(list(columns)).with_format("arrow")
        for start in range(0, len(self), size):
            yield view[start : start + size]
            give_back_mapped_files()

    def pieces(self, indices: Sequence[int] | np.ndarray, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Some columns of the usable rows at the given positions, some rows at a time."""
        view = self.examples.select_columns(list(columns)).with_format("arrow")
        for start in range(0, len(indices), SCATTERED_ROWS):
            some = indices[start : start + SCATTERED_ROWS]
            yield view[some if isinstance(some, range) else list(some)]
            give_back_mapped_files()

    def take(self, indices: Sequence[int] | np.ndarray) -> list[Example]:
        """The examples at the given positions among the usable rows."""
        return [Example(**row) for piece in self.pieces(indices, EXAMPLE_COLUMNS) for row in piece.to_pylist()]

    def uids_of(self, start: int, stop: int) -> list[str]:
        """The uids of the usable rows from `start` to `stop`."""
        return self.examples.select_columns(["uid"]).with_format("arrow")[start:stop]["uid"].to_pylist()

    @cached_property
    def uids(self) -> list[str]:
        return list(self.examples["uid"])

    @cached_property
    def rows(self) -> np.ndarray:
        return np.asarray(self.examples["row"], dtype=np.int64)

    @cached_property
    def difficulty(self) -> np.ndarray | None:
        """Difficulty of each row, NaN for a row without one; None for a pool without difficulties."""
        values = np.array(self.examples["difficulty"], dtype=np.float64)
        return values if np.isfinite(values).any() else None

    @cached_property
    def figures(self) -> PoolFigures:
        """Lengths, categories and difficulties of the rows, for cards; of a sample where the pool is large."""
        return pool_figures(self.batches(COLUMNS), len(self))

    def places_of(self, rows: np.ndarray) -> np.ndarray:
        """Positions among the usable rows of rows of the source dataset, which must be usable."""
        return np.searchsorted(self.rows, rows)

    def subset(self, indices: Iterable[int]) -> "Pool":
        """A pool of the usable rows at the given positions."""
        return Pool(self.examples.select(list(indices)), self.dropped, self.source, self.name, self.cleaning)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of all names and texts of the usable rows in their order. No score depends on the difficulty."""
        digest = hashlib.blake2b(digest_size=8)
        for batch in self.batches(["uid", "problem", "completion", "category"]):
            rows = zip(*(column.to_pylist() for column in batch.columns), strict=True)
            digest.update("".join(f"{len(text or '')}:{text or ''}" for row in rows for text in row).encode())
        return digest.hexdigest()

    def dropped_counts(self) -> dict[str, int]:
        return dict(sorted(Counter(self.dropped["reason"]).items()))

    def dropped_sentence(self) -> str:
        """Says how many rows cannot be used, and why; an empty text if there are none. It begins with a space."""
        if not len(self.dropped):
            return ""
        counts = ", ".join(f"{reason} ({count})" for reason, count in self.dropped_counts().items())
        return f" {len(self.dropped)} more cannot be used: {counts}."

    def describe(self) -> dict[str, Any]:
        """The pool's entry on a card."""
        return {
            "dataset": self.name,
            "fingerprint": self.fingerprint,
            "num_rows": len(self.source),
            "num_usable": len(self),
            "dropped": self.dropped_counts(),
            **({"cleaning": self.cleaning} if self.cleaning else {}),
        }

    def write_dropped(self, path: str | Path) -> None:
        """Writes the dropped rows with their reasons as one Parquet file."""
        table = self.dropped.with_format("arrow")[:] if len(self.dropped) else pa.table({"row": [], "reason": []})
        write_table(path, table.replace_schema_metadata(None))
