"""How many rows does a budget of training tokens buy?"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from circuitseer_trl.distributed.shard_folders import ShardFolder
from circuitseer_trl.modeling.loading import model_fingerprint
from circuitseer_trl.modeling.reference import Reference
from circuitseer_trl.pool.figures import sampled
from circuitseer_trl.pool.row_shards import run_row_shards
from circuitseer_trl.pool.rows import Example, Pool
from circuitseer_trl.sampling.base import Sampler, Selection

NOTHING_TO_CHOOSE = "No row can be chosen: none has a score, or all scores are 0."


@dataclass(frozen=True)
class TokenBudget:
    """A budget in training tokens.

    Attributes:
        most: The largest number of tokens.
        shards: The shards of `tokens/`: uid, tokens of the problem, tokens of the worked solution; in the pool's order.
        solutions (`np.ndarray` of shape `(S,)`): Tokens of the worked solutions, of the rows that figures rest on.
        pool_tokens: Training tokens of the whole pool.
    """

    most: int
    shards: ShardFolder
    solutions: np.ndarray
    pool_tokens: int

    def tables(self) -> Iterator[np.ndarray]:
        """Training tokens of the pool's rows, shard by shard."""
        return (training_tokens(table) for table in self.shards.tables())

    @property
    def tokens(self) -> np.ndarray:
        """Training tokens of the pool's rows; shape `(N,)`."""
        return np.concatenate(list(self.tables()))


def training_tokens(table: pa.Table) -> np.ndarray:
    return table["num_problem_tokens"].to_numpy() + table["num_completion_tokens"].to_numpy()


def token_counts(examples: Sequence[Example], reference: Reference) -> pa.Table:
    """Counts the tokens of problems and completions, without a template."""
    texts = [example.problem for example in examples] + [example.completion for example in examples]
    lengths = [len(ids) for ids in reference.tokenizer(texts, add_special_tokens=False)["input_ids"]]
    return pa.table(
        {
            "uid": [example.uid for example in examples],
            "num_problem_tokens": lengths[: len(examples)],
            "num_completion_tokens": lengths[len(examples) :],
        }
    )


def token_budget(most: int, pool: Pool, reference: Reference, output_dir: str | Path) -> TokenBudget:
    """Counts the tokens of each row's problem and completion with the reference's tokenizer, without a template.

    The counts are stored in `tokens/`.

    Raises:
        ValueError: The whole pool has fewer tokens than the budget, or each row has more.
    """
    made_from = {"pool": pool.fingerprint, "tokenizer": model_fingerprint(reference.name, reference.revision)}
    compute = partial(token_counts, reference=reference)
    shards = run_row_shards(pool, Path(output_dir) / "tokens", made_from, compute, "Training tokens")
    solutions: list[np.ndarray] = []
    total, shortest, start = 0, math.inf, 0
    for table in shards.tables():
        tokens = training_tokens(table)
        total, shortest = total + int(tokens.sum()), min(shortest, int(tokens.min()))
        solutions.append(table["num_completion_tokens"].to_numpy()[sampled(start, start + len(table), len(pool))])
        start += len(table)
    if shortest > most:
        raise ValueError(
            f"`budget_tokens` is {most}, but the shortest row has {shortest} tokens. Raise `budget_tokens`."
        )
    if total < most:
        raise ValueError(
            f"Cannot choose {most} tokens: the pool's {len(pool)} rows have only {total}. Lower `budget_tokens`."
        )
    return TokenBudget(most, shards, np.concatenate(solutions), total)


def check_nested(sampler: Sampler) -> None:
    """Raises if a sampler is not nested: its rows have no order in which a budget of tokens can be filled."""
    if not sampler.nested:
        raise ValueError(
            f"`budget_tokens` takes rows in the sampler's order, but {sampler} has none: its first rows depend on the number "
            "of rows. Set `budget_ratio` or `budget_size`, or another sampler (for `diversity`, `allocation: equal`)."
        )


def rows_within(budget_tokens: int, tokens: np.ndarray) -> int:
    """Counts the first rows that fit into `budget_tokens`, up to the first row that does not fit.

    Args:
        tokens (`np.ndarray` of shape `(N,)`): Training tokens of the rows, in the sampler's order.

    Raises:
        ValueError: The first row does not fit, or all rows together have fewer tokens than the budget.
    """
    if tokens[0] > budget_tokens:
        raise ValueError(
            f"`budget_tokens` is {budget_tokens}, but the first row alone has {tokens[0]} tokens. Raise `budget_tokens`."
        )
    if tokens.sum() < budget_tokens:
        raise ValueError(
            f"Cannot choose {budget_tokens} tokens: the {len(tokens)} rows that can be chosen have only {tokens.sum()}. "
            "Lower `budget_tokens`."
        )
    return num_within(budget_tokens, tokens)


def num_within(budget_tokens: int, tokens: np.ndarray) -> int:
    """Counts the first rows that fit into `budget_tokens` together."""
    return int(np.searchsorted(np.cumsum(tokens), budget_tokens, side="right"))


def sample_tokens(
    sampler: Sampler,
    scores: np.ndarray,
    budget: TokenBudget,
    pool: Pool,
    seed: int,
    columns: Mapping[str, Any],
) -> Selection:
    """Chooses rows in the sampler's order while their training tokens stay within the budget."""
    scores = np.where(sampler.drawable(scores), scores, np.nan)
    num_drawable = int((~np.isnan(scores)).sum())
    if num_drawable == 0:
        raise ValueError(NOTHING_TO_CHOOSE)
    order = sampler.sample(scores, np.arange(len(pool)), pool.uids, num_drawable, seed, columns).rows
    # Draws again with the final size, since inclusion probabilities depend on it.
    size = rows_within(budget.most, budget.tokens[order])
    return sampler.sample(scores, pool.rows, pool.uids, size, seed, columns)
