"""How many rows does a budget of training tokens buy?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from circuitseer_trl.modeling.loading import model_fingerprint
from circuitseer_trl.modeling.reference import Reference
from circuitseer_trl.pool.row_shards import run_row_shards
from circuitseer_trl.pool.rows import Example, Pool
from circuitseer_trl.sampling.base import Sampler, Selection


@dataclass(frozen=True)
class TokenBudget:
    """A budget in training tokens.

    Attributes:
        most: The largest number of tokens.
        problems (`np.ndarray` of shape `(N,)`): Tokens of the problems of the pool's rows.
        solutions (`np.ndarray` of shape `(N,)`): Tokens of their worked solutions.
    """

    most: int
    problems: np.ndarray
    solutions: np.ndarray

    @property
    def tokens(self) -> np.ndarray:
        """Training tokens of the pool's rows; shape `(N,)`."""
        return self.problems + self.solutions

    def check(self) -> None:
        """Raises if the whole pool has fewer tokens than the budget, or each row has more."""
        if self.tokens.min() > self.most:
            raise ValueError(
                f"`budget_tokens` is {self.most}, but the shortest row has {self.tokens.min()} tokens. Raise `budget_tokens`."
            )
        if self.tokens.sum() < self.most:
            raise ValueError(
                f"Cannot choose {self.most} tokens: the pool's {len(self.tokens)} rows have only {self.tokens.sum()}. "
                "Lower `budget_tokens`."
            )

    def kept(self, selection: Selection, pool: Pool) -> dict[str, int]:
        """Makes the card's entry: training tokens of the selection and of the pool."""
        of = dict(zip(pool.uids, self.tokens.tolist(), strict=True))
        return {"selected": sum(of[uid] for uid in selection.uids), "pool": int(self.tokens.sum())}


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
    """
    made_from = {"pool": pool.fingerprint, "tokenizer": model_fingerprint(reference.name, reference.revision)}
    compute = partial(token_counts, reference=reference)
    table = run_row_shards(pool, Path(output_dir) / "tokens", made_from, compute, "Training tokens").read_all()
    return TokenBudget(most, table["num_problem_tokens"].to_numpy(), table["num_completion_tokens"].to_numpy())


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
    spent = np.cumsum(tokens)
    if tokens[0] > budget_tokens:
        raise ValueError(
            f"`budget_tokens` is {budget_tokens}, but the first row alone has {tokens[0]} tokens. Raise `budget_tokens`."
        )
    if spent[-1] < budget_tokens:
        raise ValueError(
            f"Cannot choose {budget_tokens} tokens: the {len(tokens)} rows that can be chosen have only {spent[-1]}. "
            "Lower `budget_tokens`."
        )
    return int(np.searchsorted(spent, budget_tokens, side="right"))


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
        raise ValueError("No row can be chosen: none has a score, or all scores are 0.")
    order = sampler.sample(scores, np.arange(len(pool)), pool.uids, num_drawable, seed, columns).rows
    # Draws again with the final size, since inclusion probabilities depend on it.
    size = rows_within(budget.most, budget.tokens[order])
    return sampler.sample(scores, pool.rows, pool.uids, size, seed, columns)
