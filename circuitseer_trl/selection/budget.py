"""How many rows is a budget? Of rows, or of training tokens."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from circuitseer_trl.distributed.shards import run_shards
from circuitseer_trl.modeling.loading import model_fingerprint
from circuitseer_trl.modeling.reference import Reference
from circuitseer_trl.pool.rows import Pool
from circuitseer_trl.sampling.base import Sampler, Selection

ROWS_PER_SHARD = 1024


def training_tokens(pool: Pool, reference: Reference, output_dir: str | Path) -> np.ndarray:
    """Tokens of each row's problem and completion by the reference model's tokenizer, without a template; kept in `tokens/`."""

    def compute(shard: int) -> pa.Table:
        examples = pool.take(range(shard * ROWS_PER_SHARD, min((shard + 1) * ROWS_PER_SHARD, len(pool))))
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
    num_shards = -(-len(pool) // ROWS_PER_SHARD)
    table = run_shards(Path(output_dir) / "tokens", num_shards, made_from, compute, "Training tokens")
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
    tokens: np.ndarray,
    pool: Pool,
    budget_tokens: int,
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
    size = rows_within(budget_tokens, tokens[order])
    return sampler.sample(scores, pool.rows, pool.uids, size, seed, columns)


def tokens_kept(selection: Selection, tokens: np.ndarray, pool: Pool) -> dict[str, int]:
    """What the card says of a budget in tokens."""
    of = dict(zip(pool.uids, tokens.tolist(), strict=True))
    return {"selected": sum(of[uid] for uid in selection.uids), "pool": int(tokens.sum())}
