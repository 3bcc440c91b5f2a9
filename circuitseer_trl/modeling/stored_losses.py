"""The response losses of a whole pool, computed once and kept in `losses/`."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from circuitseer_trl.distributed.shards import MAX_ERROR_SHARE
from circuitseer_trl.modeling.losses import response_losses
from circuitseer_trl.modeling.reference import Reference
from circuitseer_trl.pool.row_shards import run_row_shards
from circuitseer_trl.pool.rows import Example, Pool

ROWS_PER_SHARD = 256


# A truncated row with fewer tokens of its answer left says little about how hard the answer is; our choice.
MIN_TRUNCATED_TOKENS = 16


LOSS_COLUMNS = pa.schema(
    [
        ("uid", pa.string()),
        ("row", pa.int64()),
        ("loss_nats", pa.float64()),
        ("num_prompt_tokens", pa.int64()),
        ("num_completion_tokens", pa.int64()),
        ("truncated", pa.bool_()),
    ]
)


def check_finite(num_not_finite: int, num_rows: int, first: str, max_share: float = MAX_ERROR_SHARE) -> None:
    """Raises where the response losses of a larger share of the rows are not finite."""
    if num_not_finite > max_share * num_rows:
        raise ValueError(
            f"The response losses of {num_not_finite} of {num_rows} rows are not finite, for instance of {first}. Are the "
            "model's weights whole? If its dtype is float16, set `reference_dtype: float32`."
        )


def loss_table(examples: Sequence[Example], reference: Reference) -> pa.Table:
    """Mean response losses of examples, in the columns of `losses/`; null where truncation left no token of the completion."""
    encoded = reference.encode(examples)
    answered = [item for item in encoded if item.num_completion_tokens > 0]
    found = response_losses(reference.checked_model(answered), answered, reference.batch_tokens) if answered else []
    losses = dict(zip([item.uid for item in answered], found, strict=True))
    rows = [
        {
            "uid": item.uid,
            "row": example.row,
            "loss_nats": losses.get(item.uid),
            "num_prompt_tokens": item.num_prompt_tokens,
            "num_completion_tokens": item.num_completion_tokens,
            "truncated": item.truncated,
        }
        for example, item in zip(examples, encoded, strict=True)
    ]
    return pa.Table.from_pylist(rows, schema=LOSS_COLUMNS)


def pool_losses(pool: Pool, reference: Reference, output_dir: str | Path) -> pa.Table:
    """Mean response loss of every row of the pool, computed once and kept in `losses/`.

    Returns:
        A table of the pool's rows in their order: `uid`, `row`, `loss_nats` (nats per completion token; null where truncation
        left no token of the completion, not finite where the model's output is not), `num_prompt_tokens`,
        `num_completion_tokens`, `truncated`.
    """
    made_from = {
        "pool": pool.fingerprint,
        "model": reference.describe(),
        "form": reference.text_format,
        "system_prompt": reference.system_prompt,
        "max_batch_tokens": reference.batch_tokens,
    }
    table = run_row_shards(
        pool,
        losses_folder(output_dir),
        made_from,
        lambda examples: loss_table(examples, reference),
        "Response losses",
        ROWS_PER_SHARD,
    )
    # NaN is not null: a row without a completion left has no loss, which is no error.
    bad = table.filter(pc.invert(pc.is_finite(table["loss_nats"])))
    if len(bad):
        check_finite(len(bad), len(table), bad["uid"][0].as_py())
    return table


def losses_folder(output_dir: str | Path) -> Path:
    """Where the losses of a run's pool are."""
    return Path(output_dir) / "losses"
