"""How many rows is a budget? Of rows, or of training tokens."""

from collections.abc import Mapping
from dataclasses import dataclass
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
        most: So many tokens at most.
        tokens (`np.ndarray` of shape `(N,)`): Training tokens of the pool's rows.
    """

    most: int
    tokens: np.ndarray

    def kept(self, selection: Selection, pool: Pool) -> dict[str, int]:
        """What the card says of it."""
        of = dict(zip(pool.uids, self.tokens.tolist(), strict=True))
        return {"selected": sum(of[uid] for uid in selection.uids), "pool": int(self.tokens.sum())}


def training_tokens(pool: Pool, reference: Reference, output_dir: str | Path) -> np.ndarray:
    """Tokens of each row's problem and completion by the reference model's tokenizer, without a template; kept in `tokens/`."""

    def compute(examples: list[Example]) -> pa.Table:
        texts = [example.problem for example in examples] + [example.completion for example in examples]
        lengths = [len(ids) for ids in reference.tokenizer(texts, add_special_tokens=False)["input_ids"]]
        return pa.table(
            {
                "uid": [example.uid for example in examples],
                "num_problem_tokens": lengths[: len(examples)],
                "num_completion_tokens": lengths[len(examples) :],
            }
        )

    made_from = {"pool": pool.fingerprint, "tokenizer": model_fingerprint(reference.name, reference.revision)}
    table = run_row_shards(pool, Path(output_dir) / "tokens", made_from, compute, "Training tokens")
    return table["num_problem_tokens"].to_numpy() + table["num_completion_tokens"].to_numpy()


def check_nested(sampler: Sampler) -> None:
    """Raises where a sampler's rows have no order in which a budget of tokens could be filled."""
    if not sampler.nested:
        raise ValueError(
            f"`budget_tokens` takes rows in the sampler's order, but {sampler} has none: which rows it takes first depends on "
            "how many it takes. Set `budget_ratio` or `budget_size`, or another sampler (for `diversity`, `allocation: equal`)."
        )


def rows_within(budget_tokens: int, tokens: np.ndarray) -> int:
    """How many of the first rows have together at most `budget_tokens`; the first that does not fit ends them.

    Args:
        tokens (`np.ndarray` of shape `(N,)`): Training tokens of the rows, in the order in which they are taken.

    Raises:
        ValueError: Not even the first row fits, or all rows together have fewer tokens than the budget.
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
    # Drawn again for this size: inclusion probabilities depend on it.
    size = rows_within(budget.most, budget.tokens[order])
    return sampler.sample(scores, pool.rows, pool.uids, size, seed, columns)
