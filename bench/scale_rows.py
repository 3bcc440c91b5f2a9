"""Generated pools of any size, as Parquet files of 100,000 rows."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROWS_PER_FILE = 100_000
VOCABULARY = np.array(
    [f"{first}{middle}{last}" for first in "bdgklmnprst" for middle in "aeiou" for last in "bdgklmnprst"]
)


def texts(chance: np.random.Generator, count: int, least: int, most: int) -> Iterator[str]:
    """Texts of `least` to `most` words, drawn evenly from 605."""
    lengths = chance.integers(least, most, count, endpoint=True)
    words = VOCABULARY[chance.integers(len(VOCABULARY), size=lengths.sum())].tolist()
    ends = np.cumsum(lengths)
    return (" ".join(words[end - length : end]) for length, end in zip(lengths.tolist(), ends.tolist(), strict=True))


def write_rows(folder: Path, num_rows: int, seed: int, near_ratio: float = 0.0) -> None:
    """Writes `num_rows` rows of a problem and a solution. The first rows of a larger pool are those of a smaller one.

    Args:
        folder: Where the files go.
        num_rows: How many rows.
        seed: Seed of the texts.
        near_ratio: Share of rows whose problem is that of an earlier row of the file, and a few words more.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(-(-num_rows // ROWS_PER_FILE)):
        chance = np.random.default_rng([seed, number])
        problems, solutions = (list(texts(chance, ROWS_PER_FILE, *span)) for span in ((20, 80), (20, 120)))
        copies = np.flatnonzero(chance.random(ROWS_PER_FILE) < near_ratio)
        copies = copies[copies > 0]
        for place, of in zip(copies.tolist(), chance.integers(copies).tolist(), strict=True):
            problems[place] = " ".join([problems[of], *texts(chance, 1, 0, 8)])
        kept = min(ROWS_PER_FILE, num_rows - number * ROWS_PER_FILE)
        table = pa.table({"problem": problems[:kept], "solution": solutions[:kept]})
        pq.write_table(table, folder / f"rows-{number:06d}.parquet")
