"""Which rows does a sampler choose, when the scores of all rows do not fit into memory? Only candidates stay."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa

from circuitseer_trl.sampling.base import Sampler, ScoreCounts, Selection
from circuitseer_trl.selection.budget import NOTHING_TO_CHOOSE, num_within, rows_within

SLACK_ROWS = 100_000  # more rows than these wait beside the candidates before all are sorted


def choose_in_one_pass(
    sampler: Sampler, tables: Iterable[pa.Table], size: int, seed: int, most_tokens: int | None = None
) -> tuple[Selection, pa.Table]:
    """Chooses as `Sampler.sample` or `sample_tokens` do with whole tables, from one shard of scores after the other.

    A row that is no candidate among some rows is none among more rows.

    Args:
        sampler: A sampler that `merges`; with a budget of tokens it is also `nested`, and needs no other column.
        tables: Score tables in the pool's order, with the columns that the sampler needs. With a budget of tokens they have a
            column `training_tokens`.
        size: Number of rows to choose; 0 with a budget of tokens.
        seed: As in `Sampler.sample`.
        most_tokens: The budget of tokens; None without one.

    Returns:
        The selection, and the chosen rows of the tables in the order of choice, with one more column, `place`: the position in
        all tables together.
    """
    counts, waiting, start = ScoreCounts(), 0, 0
    kept: list[pa.Table] = []
    num_in_category: Counter[str] = Counter()

    def candidates() -> pa.Table:
        table = pa.concat_tables(kept)
        scores, uids = _scores(table), table["uid"].to_pylist()
        if most_tokens is None:
            return table.take(pa.array(sampler.candidates(scores, uids, size, seed, _columns(sampler, table))))
        ordered = table.take(pa.array(sampler.choose(scores, uids, len(table), seed)[0]))
        return ordered.slice(0, num_within(most_tokens, _tokens(ordered)) + 1)

    for table in tables:
        places = pa.array(np.arange(start, start + len(table)))
        start += len(table)
        scores = _scores(table)
        counts.add(scores, table["uid"])
        if "category" in sampler.needs:
            num_in_category.update(map(str, table["category"].filter(pa.array(np.isfinite(scores))).to_pylist()))
        drawable = sampler.drawable(scores) & np.isfinite(scores) & ((scores >= 0) | (not sampler.draws_by_scores))
        kept.append(table.append_column("place", places).filter(pa.array(drawable)))
        waiting += len(kept[-1])
        if waiting > SLACK_ROWS:
            kept, waiting = [candidates()], 0
    sampler.check(counts, size)
    table = candidates()
    if most_tokens is not None:
        if not len(table):
            raise ValueError(NOTHING_TO_CHOOSE)
        size = rows_within(most_tokens, _tokens(table))
    columns = _columns(sampler, table) | {"num_in_category": num_in_category}
    order, probabilities = sampler.choose(_scores(table), table["uid"].to_pylist(), size, seed, columns)
    chosen = table.take(pa.array(order))
    selection = Selection(
        rows=chosen["row"].to_numpy(),
        uids=chosen["uid"].to_pylist(),
        scores=_scores(chosen),
        weights=np.ones(size),
        inclusion_probabilities=probabilities,
    )
    return selection, chosen


def _columns(sampler: Sampler, table: pa.Table) -> dict[str, Any]:
    return {name: table[name].to_pylist() for name in sampler.needs}


def _scores(table: pa.Table) -> np.ndarray:
    return table["score"].to_numpy().astype(np.float64)


def _tokens(table: pa.Table) -> np.ndarray:
    return table["training_tokens"].to_numpy()
