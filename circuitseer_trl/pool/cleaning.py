"""Which rows must leave the pool before scoring? Copies of other rows, and problems of benchmarks."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import datasets
import numpy as np
import pyarrow as pa

from circuitseer_trl.distributed.processes import on_main_rank
from circuitseer_trl.extras import require_extra
from circuitseer_trl.pool.known_texts import KnownNgrams, read_texts
from circuitseer_trl.pool.minhash import hashed_near_duplicates
from circuitseer_trl.pool.near_duplicates import near_duplicates
from circuitseer_trl.pool.rows import Pool

# Above it near-duplicates are found by MinHash: comparing all texts exactly takes 5 KB of memory a row.
MAX_EXACT_ROWS = 250_000


def overlapping(pool: Pool, sources: Sequence[Mapping[str, Any]], ngram_size: int) -> dict[int, tuple[str, str]]:
    """Positions of the rows whose problem shares a run of words with a text of the sources; each with reason and detail.

    The texts of the sources are in memory, and those of the pool are read some at a time.
    """
    texts, of = list[str](), list[tuple[str, int]]()
    for source in sources:
        read = read_texts(source)
        texts += read
        of += [(source["dataset_name"], row) for row in range(len(read))]
    known = KnownNgrams(texts, ngram_size)
    found: dict[int, tuple[str, str]] = {}
    position = 0
    for problems in problem_batches(pool):
        for problem in problems:
            other = known.first_shared(problem)
            if other is not None:
                name, row = of[other]
                found[position] = f"overlaps {name}", f"{name} row {row}"
            position += 1
    return found


def problem_batches(pool: Pool) -> Iterator[list[str]]:
    return (batch["problem"].to_pylist() for batch in pool.batches(["problem"]))


def twins(pool: Pool, similarity: float, without: Collection[int]) -> dict[int, tuple[str, str]]:
    """Positions of the rows whose problem is almost that of an earlier row that stays; each with reason and detail.

    Args:
        pool: The pool.
        similarity: As in `near_duplicates`.
        without: Positions of rows that have left the pool.
    """

    def batches() -> Iterator[list[str]]:
        position = 0
        for problems in problem_batches(pool):
            # A text without words is like no other.
            yield ["" if place in without else text for place, text in enumerate(problems, position)]
            position += len(problems)

    if len(pool) <= MAX_EXACT_ROWS:
        found = near_duplicates([text for batch in batches() for text in batch], similarity)
    else:
        texts = pool.examples.select_columns(["problem"]).with_format("arrow")
        found = hashed_near_duplicates(
            batches(), len(pool), similarity, lambda place: texts[place : place + 1]["problem"][0].as_py()
        )
    uids = pool.examples.select_columns(["uid"]).with_format("arrow")
    firsts = sorted(set(found.values()))
    uid_of = dict(zip(firsts, uids[firsts]["uid"].to_pylist() if firsts else [], strict=True))
    return {later: ("near-duplicate", f"of {uid_of[first]}") for later, first in found.items()}


def clean_pool(
    pool: Pool, dedup_similarity: float | None, decontaminate_against: Sequence[Mapping[str, Any]], ngram_size: int
) -> Pool:
    """The pool without rows whose problem overlaps one of a benchmark, and without near-duplicates of its other rows.

    The texts and their order alone decide which rows are dropped. They join the other dropped rows, with the benchmark's
    row or the row that stays as `detail`. Of near-duplicates the first one stays.

    Args:
        pool: The pool to clean.
        dedup_similarity: As in `near_duplicates`; None keeps near-duplicates.
        decontaminate_against: Datasets as in `PoolConfig`.
        ngram_size: Number of words of a run.

    Raises:
        ValueError: No row is left.
        ImportError: The pool has more than `MAX_EXACT_ROWS` rows, and the package for MinHash is not installed.
    """
    if dedup_similarity is None and not decontaminate_against:
        return pool
    if dedup_similarity is not None and len(pool) > MAX_EXACT_ROWS:
        require_extra("dedup", f"`dedup_similarity` for more than {MAX_EXACT_ROWS:,} rows", "rensa")

    def find() -> dict[int, tuple[str, str]]:
        dropped = overlapping(pool, decontaminate_against, ngram_size) if decontaminate_against else {}
        if dedup_similarity is not None:
            dropped |= twins(pool, dedup_similarity, dropped.keys())
        return dropped

    cleaning = {
        "dedup_similarity": dedup_similarity,
        "decontaminate_against": [dict(source) for source in decontaminate_against],
        "ngram_size": ngram_size,
    }
    return _without(pool, on_main_rank(find), cleaning)


def _without(pool: Pool, dropped: dict[int, tuple[str, str]], cleaning: dict[str, Any]) -> Pool:
    """The pool without the rows at some positions, which join its dropped rows with a reason and a detail."""
    if len(dropped) == len(pool):
        raise ValueError(
            f"No row of the pool {pool.name} is left: all {len(pool)} overlap the datasets of `decontaminate_against`. Check "
            "that the pool is not one of them."
        )
    order = sorted(dropped)
    kept = pool.examples.select(np.delete(np.arange(len(pool)), order)) if order else pool.examples
    features = datasets.Features({**pool.dropped.features, "detail": datasets.Value("string")})
    before = pool.dropped.add_column("detail", pa.nulls(len(pool.dropped), pa.string()))
    gone = pool.examples.select(order)
    for place, name in enumerate(("reason", "detail")):
        gone = gone.add_column(name, pa.array([dropped[position][place] for position in order], pa.string()))
    both = datasets.concatenate_datasets([before.cast(features), gone.select_columns(list(features)).cast(features)])
    return Pool(kept, both.select(np.argsort(both.with_format("numpy")["row"])), pool.source, pool.name, cleaning)
