"""Which rows does a sampler choose, when the scores of all rows do not fit into memory? Only candidates stay."""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from circuitseer_trl.sampling.base import Sampler, ScoreCounts, Selection
from circuitseer_trl.selection.budget import NOTHING_TO_CHOOSE, num_within, rows_within

SLACK_ROWS = 100_000  # more rows than these wait beside the candidates before all are sorted


def choose_in_one_pass(
    sampler: Sampler, tables: Iterable[pa.Table], size: int, seed: int, most_tokens: int | None = None
) -> tuple[Selection, pa.Table]:
    """Chooses as `Sampler.sample` or `sample_tokens` do with whole tables, from one shard of scores after the other.

    A row that is not among the first `size + 1` of some rows is not among those of more rows. The last one is there for the
    inclusion probabilities.

    Args:
        sampler: A sampler that `merges`.
        tables: Score tables in the pool's order. With a budget of tokens they have a column `training_tokens`.
        size: Number of rows to choose; 0 with a budget of tokens.
        seed: As in `Sampler.sample`.
        most_tokens: The budget of tokens; None without one.

    Returns:
        The selection, and the chosen rows of the tables in the order of choice, with one more column, `place`: the position in
        all tables together.
    """
    counts, waiting, start = ScoreCounts(), 0, 0
    kept: list[pa.Table] = []
    for table in tables:
        places = pa.array(np.arange(start, start + len(table)))
        start += len(table)
        scores = _scores(table)
        counts.add(scores, table["uid"])
        drawable = sampler.drawable(scores) & np.isfinite(scores) & ((scores >= 0) | (not sampler.draws_by_scores))
        kept.append(table.append_column("place", places).filter(pa.array(drawable)))
        waiting += len(kept[-1])
        if waiting > SLACK_ROWS:
            ordered = _ordered(sampler, kept, seed)
            number = num_within(most_tokens, _tokens(ordered)) if most_tokens is not None else size
            kept, waiting = [ordered.slice(0, number + 1)], 0
    sampler.check(counts, size)
    ordered = _ordered(sampler, kept, seed)
    if most_tokens is not None:
        if not len(ordered):
            raise ValueError(NOTHING_TO_CHOOSE)
        size = rows_within(most_tokens, _tokens(ordered))
    _, probabilities = sampler.choose(_scores(ordered), ordered["uid"].to_pylist(), size, seed)
    chosen = ordered.slice(0, size)
    selection = Selection(
        rows=chosen["row"].to_numpy(),
        uids=chosen["uid"].to_pylist(),
        scores=_scores(chosen),
        weights=np.ones(size),
        inclusion_probabilities=probabilities,
    )
    return selection, chosen


def _ordered(sampler: Sampler, tables: list[pa.Table], seed: int) -> pa.Table:
    """All rows of some tables, in the order of choice."""
    table = pa.concat_tables(tables)
    order, _ = sampler.choose(_scores(table), table["uid"].to_pylist(), len(table), seed)
    return table.take(pa.array(order))


def _scores(table: pa.Table) -> np.ndarray:
    return table["score"].to_numpy().astype(np.float64)


def _tokens(table: pa.Table) -> np.ndarray:
    return table["training_tokens"].to_numpy()
