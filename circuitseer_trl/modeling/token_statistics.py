"""How does a model predict the tokens of a solution? Sums over each row's tokens, from one pass over the pool."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from circuitseer_trl.checks import check_choice, check_count, check_share
from circuitseer_trl.modeling.encoding import EncodedExample
from circuitseer_trl.modeling.predictions import TokenPrediction, token_predictions
from circuitseer_trl.modeling.reference import Reference
from circuitseer_trl.modeling.stored_losses import LOSS_COLUMNS, ROWS_PER_SHARD, TOKEN_STATISTICS
from circuitseer_trl.pool.row_shards import run_row_shards
from circuitseer_trl.pool.rows import Example, Pool
from circuitseer_trl.pool.solution_steps import StepRule, first_tokens, step_starts


@dataclass(frozen=True)
class TokenSettings:
    """What is summed. All rows of `token_statistics/` have the same settings.

    Attributes:
        entropy_share: Share of a row's tokens, those of highest entropy, whose entropies `top_entropy_nats` adds up. Their number
            is rounded up.
        max_rank: A larger rank counts as this one.
        steps: How solutions are cut into steps.
        num_first_tokens: Number of tokens at the start of each step that count as its first.
    """

    entropy_share: float = 0.005
    max_rank: int = 100
    steps: StepRule = "lines"
    num_first_tokens: int = 1

    def __post_init__(self) -> None:
        check_share("entropy_share", self.entropy_share)
        check_count("max_rank", self.max_rank)
        check_choice("steps", self.steps, StepRule)
        check_count("num_first_tokens", self.num_first_tokens)


COLUMNS = LOSS_COLUMNS
for _name, _kind in (
    *(("entropy_nats", pa.float64()), ("top_entropy_nats", pa.float64()), ("num_top", pa.int64())),
    *(("rank_sum", pa.float64()), ("num_steps", pa.int64())),
    *(("first_loss_nats", pa.float64()), ("num_first", pa.int64())),
):
    COLUMNS = COLUMNS.append(pa.field(_name, _kind))


def row_statistics(found: TokenPrediction, first: Sequence[int], settings: TokenSettings) -> dict[str, Any]:
    """Sums over the tokens of one solution.

    Args:
        first: Places of the first tokens of its steps.
    """
    num_top = math.ceil(settings.entropy_share * len(found.losses))
    losses = found.losses.double()
    return {
        "loss_nats": losses.mean().item(),
        "entropy_nats": found.entropies.double().sum().item(),
        "top_entropy_nats": found.entropies.double().topk(num_top).values.sum().item(),
        "num_top": num_top,
        "rank_sum": float(found.ranks.clamp(max=settings.max_rank).sum().item()),
        "first_loss_nats": losses[torch.tensor(list(first), dtype=torch.long)].sum().item(),
        "num_first": len(first),
    }


def solution_offsets(reference: Reference, example: Example) -> list[tuple[int, int]]:
    """Start and end of each token of the solution in its text, in characters."""
    tokenizer = reference.tokenizer
    if not tokenizer.is_fast:
        raise ValueError(
            f"The tokenizer of {reference.name} does not say where its tokens are in a text, so their steps are unknown. Use a "
            "model with a fast tokenizer (`tokenizer.json`)."
        )
    return tokenizer(example.completion, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]


def statistics_table(examples: Sequence[Example], reference: Reference, settings: TokenSettings) -> pa.Table:
    """Computes the rows of `token_statistics/`; sums are null if truncation leaves no token of the completion."""
    encoded = reference.encode(examples)
    answered = [item for item in encoded if item.num_completion_tokens > 0]
    found: list[TokenPrediction] = []
    if answered:
        found = token_predictions(reference.checked_model(answered), answered, reference.batch_tokens)
    by_uid = dict(zip([item.uid for item in answered], found, strict=True))
    rows = [
        _row(example, item, by_uid.get(item.uid), reference, settings)
        for example, item in zip(examples, encoded, strict=True)
    ]
    return pa.Table.from_pylist(rows, schema=COLUMNS)


def _row(
    example: Example, item: EncodedExample, found: TokenPrediction | None, reference: Reference, settings: TokenSettings
) -> dict[str, Any]:
    starts = step_starts(example.completion, settings.steps)
    row: dict[str, Any] = {
        "uid": item.uid,
        "row": example.row,
        "num_prompt_tokens": item.num_prompt_tokens,
        "num_completion_tokens": item.num_completion_tokens,
        "truncated": item.truncated,
        "num_steps": len(starts),
    }
    if found is None:
        return row
    offsets = solution_offsets(reference, example)[: item.num_completion_tokens]
    kept = [start for start in starts if start < offsets[-1][1]]  # steps after a cut have no tokens
    return row | row_statistics(found, first_tokens(offsets, kept, settings.num_first_tokens), settings)


def token_statistics(pool: Pool, reference: Reference, settings: TokenSettings, output_dir: str | Path) -> pa.Table:
    """Computes the sums of every row of the pool, once, and stores them in `token_statistics/`.

    Returns:
        A table of the pool's rows in their order: the columns of `losses/`, with `loss_nats` equal to theirs; `entropy_nats`, the
        sum of the entropies of the predictions; `top_entropy_nats`, that of the `num_top` highest; `rank_sum`, that of the ranks;
        `num_steps`; `first_loss_nats`, the sum of the losses of the `num_first` first tokens of steps.
    """
    made_from = {
        "pool": pool.fingerprint,
        "model": reference.describe(),
        **reference.form(),
        "max_batch_tokens": reference.batch_tokens,
        **asdict(settings),
    }
    return run_row_shards(
        pool,
        Path(output_dir) / TOKEN_STATISTICS,
        made_from,
        partial(statistics_table, reference=reference, settings=settings),
        "Token statistics",
        ROWS_PER_SHARD,
        COLUMNS,
    ).read_all()
