"""From scores to chosen rows: in one pass where the sampler merges, and else with the whole tables in memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from circuitseer_trl.configs import SelectionConfig
from circuitseer_trl.pool.figures import sampled
from circuitseer_trl.pool.rows import Pool
from circuitseer_trl.sampling.base import Selection
from circuitseer_trl.scoring.base import ScoreTable
from circuitseer_trl.scoring.combination import control_length
from circuitseer_trl.selection.budget import TokenBudget, sample_tokens, training_tokens
from circuitseer_trl.selection.noise_filter import NoiseFilter
from circuitseer_trl.selection.one_pass import choose_in_one_pass
from circuitseer_trl.selection.parts import Parts


@dataclass(frozen=True)
class Chosen:
    """The chosen rows, and what their card is made of.

    Attributes:
        selection: The chosen rows.
        scored: Their rows of the score table, with one more column, `place`: the position among the pool's usable rows.
        values (`np.ndarray` of shape `(S,)`): The scores that the sampler got, of the rows that figures rest on.
        training_tokens: The card's entry; None without a budget of tokens.
    """

    selection: Selection
    scored: pa.Table
    values: np.ndarray
    training_tokens: dict[str, int] | None


def choose(
    config: SelectionConfig,
    parts: Parts,
    pool: Pool,
    scores: ScoreTable,
    size: int,
    tokens: TokenBudget | None,
    noise: NoiseFilter | None,
    seed: int,
) -> Chosen:
    """Chooses the rows, by a budget of rows (`size`) or of training tokens."""
    plain = parts.combination is None and config.length_control == "none" and noise is None
    categories = pool.figures.categories or "category" in scores.shards.read(0).column_names
    if parts.sampler.merges and plain and (not parts.sampler.needs or (tokens is None and categories)):
        return _choose_in_one_pass(parts, pool, scores, size, tokens, seed)
    table = scores.table if noise is None else noise.of_table(scores.table)
    combination, sampler = parts.combination, parts.sampler
    if combination is None:
        values = table["score"].to_numpy()
    else:
        if "category" not in table.column_names and pool.figures.categories:
            table = table.append_column("category", pa.array(pool.examples["category"], pa.string()))
        values = combination.combine(table, pool.difficulty)
    if noise is not None:
        values = noise.of(values)
    controlled = control_length(config.length_control, values, scores.table["num_tokens"].to_numpy())
    columns = sampling_columns(pool, scores)
    if tokens is None:
        selection = sampler.sample(controlled, pool.rows, pool.uids, size, seed, columns)
    else:
        selection = sample_tokens(sampler, controlled, tokens, pool, seed, columns)
    places = pool.places_of(selection.rows)
    scored = scores.table.take(pa.array(places)).append_column("place", pa.array(places))
    spent = None if tokens is None else _spent(tokens, tokens.tokens[places])
    return Chosen(selection, scored, controlled[sampled(0, len(pool), len(pool))], spent)


def _choose_in_one_pass(
    parts: Parts, pool: Pool, scores: ScoreTable, size: int, tokens: TokenBudget | None, seed: int
) -> Chosen:
    if tokens is None:
        tables = _with_categories(scores, pool) if "category" in parts.sampler.needs else scores.shards.tables()
        selection, scored = choose_in_one_pass(parts.sampler, tables, size, seed)
        return Chosen(selection, scored, scores.figures.scores, None)
    tables = _with_tokens(scores, tokens)
    selection, scored = choose_in_one_pass(parts.sampler, tables, 0, seed, tokens.most)
    return Chosen(selection, scored, scores.figures.scores, _spent(tokens, scored["training_tokens"].to_numpy()))


def _with_categories(scores: ScoreTable, pool: Pool) -> Iterator[pa.Table]:
    """The shards of the scores with the categories of their rows: the scorer's, else the pool's, if it has some."""
    start = 0
    for table in scores.shards.tables():
        if "category" not in table.column_names and pool.figures.categories:
            pieces = pool.pieces(range(start, start + len(table)), ["category"])
            table = table.append_column("category", pa.concat_tables(pieces)["category"])
        start += len(table)
        yield table


def _with_tokens(scores: ScoreTable, budget: TokenBudget) -> Iterator[pa.Table]:
    """The shards of the scores with the training tokens of their rows; shards of both have the same rows."""
    for scored, counted in zip(scores.shards.tables(), budget.shards.tables(), strict=True):
        yield scored.append_column("training_tokens", pa.array(training_tokens(counted)))


def _spent(budget: TokenBudget, tokens: np.ndarray) -> dict[str, int]:
    return {"selected": int(tokens.sum()), "pool": budget.pool_tokens}


def sampling_columns(pool: Pool, scores: ScoreTable) -> dict[str, Any]:
    """The columns for samplers, beside the scores: those of the score table, and the pool's categories and difficulty."""
    columns: dict[str, Any] = {name: scores.table[name].to_numpy() for name in scores.table.column_names}
    if "category" not in columns and pool.figures.categories:
        columns["category"] = pool.examples["category"]
    if pool.difficulty is not None:
        columns["difficulty"] = pool.difficulty
    return columns
