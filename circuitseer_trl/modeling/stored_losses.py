"""What is the response loss of each row of a pool? Computed once and stored in `losses/`."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from circuitseer_trl.distributed.shard_folders import manifest_path, read_manifest, read_shards
from circuitseer_trl.distributed.shards import MAX_ERROR_SHARE
from circuitseer_trl.modeling.losses import response_losses
from circuitseer_trl.modeling.reference import Reference
from circuitseer_trl.pool.row_shards import run_row_shards
from circuitseer_trl.pool.rows import Example, Pool

ROWS_PER_SHARD = 256
TOKEN_STATISTICS = "token_statistics"


# With fewer tokens of its answer left, the loss of a truncated row does not measure how hard the answer is (our choice).
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


def check_finite(num_not_finite: int, num_rows: int, first: str) -> None:
    """Raises if the share of rows whose response loss is not finite is above `MAX_ERROR_SHARE`."""
    if num_not_finite > MAX_ERROR_SHARE * num_rows:
        raise ValueError(
            f"The response losses of {num_not_finite} of {num_rows} rows are not finite, for instance of {first}. Are the "
            "model's weights complete? If its dtype is float16, set `reference_dtype: float32`."
        )


def loss_table(examples: Sequence[Example], reference: Reference) -> pa.Table:
    """Computes the rows of `losses/`; the loss is null if truncation leaves no token of the completion."""
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


def copied_losses(examples: Sequence[Example], known: Mapping[str, dict[str, Any]]) -> pa.Table:
    """Makes the rows of `losses/` from those that are known by their uids."""
    return pa.Table.from_pylist([known[example.uid] for example in examples], schema=LOSS_COLUMNS)


def pool_losses(pool: Pool, reference: Reference, output_dir: str | Path) -> pa.Table:
    """Computes the mean response loss of every row of the pool, once, and stores it in `losses/`.

    Returns:
        A table of the pool's rows in their order: `uid`, `row`, `loss_nats`, `num_prompt_tokens`, `num_completion_tokens`,
        `truncated`. `loss_nats` is in nats per completion token. It is null if truncation leaves no token of the completion,
        and not finite if the model's output is not finite.
    """
    made_from = {
        "pool": pool.fingerprint,
        "model": reference.describe(),
        **reference.form(),
        "max_batch_tokens": reference.batch_tokens,
    }
    known = _known_losses(Path(output_dir), made_from)
    compute = partial(loss_table, reference=reference) if known is None else partial(copied_losses, known=known)
    table = run_row_shards(
        pool,
        losses_folder(output_dir),
        made_from,
        compute,
        "Response losses",
        ROWS_PER_SHARD,
        LOSS_COLUMNS,
    ).read_all()
    # Null is not NaN: a row without a completion left has no loss, which is not an error.
    bad = table.filter(pc.invert(pc.is_finite(table["loss_nats"])))
    if len(bad):
        check_finite(len(bad), len(table), bad["uid"][0].as_py())
    return table


def _known_losses(output_dir: Path, made_from: dict[str, Any]) -> dict[str, dict[str, Any]] | None:
    """The rows of `token_statistics/`, which has the same losses, if that folder is whole and of the same inputs."""
    folder = output_dir / TOKEN_STATISTICS
    manifest = read_manifest(manifest_path(folder)) if manifest_path(folder).is_file() else None
    if manifest is None or any(manifest["made_from"].get(key) != value for key, value in made_from.items()):
        return None
    try:
        table = read_shards(folder, "score-pool").select(LOSS_COLUMNS.names)
    except (FileNotFoundError, ValueError):
        return None
    return {row["uid"]: row for row in table.to_pylist()}


def losses_folder(output_dir: str | Path) -> Path:
    """The folder of the losses in a run's output folder."""
    return Path(output_dir) / "losses"
