"""What is stored of held-out rows? The loss and the exact match of each, in `held_out/`, and their means."""

from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

import pyarrow as pa

from circuitseer_trl.distributed.shard_folders import read_shards
from circuitseer_trl.evaluation.metrics import bootstrap_interval, wilson_interval

FOLDER = "held_out"
COLUMNS = pa.schema(
    [("uid", pa.string()), ("loss_nats", pa.float64()), ("exact", pa.bool_()), ("num_tokens", pa.int64())]
)


def summary(table: pa.Table) -> dict[str, Any]:
    """The means of a table of `held_out/`. Rows that are longer than the model reads are left out, and counted."""
    rows = [row for row in table.to_pylist() if row["loss_nats"] is not None]
    if not rows:
        raise ValueError(
            "No row of `held_out` fits into the model: each is longer than its positions, or has no solution."
        )
    bad = [row["uid"] for row in rows if not isfinite(row["loss_nats"])]
    if bad:
        raise ValueError(
            f"The losses of {len(bad)} of {len(rows)} rows of `held_out` are not finite, for instance of {bad[0]}. Are the "
            "model's weights complete? If its dtype is float16, set `dtype: float32`."
        )
    losses, exact = [row["loss_nats"] for row in rows], [row["exact"] for row in rows]
    return {
        **{"num_rows": len(rows), "num_too_long": len(table) - len(rows)},
        **{"loss_nats": sum(losses) / len(rows), "loss_nats_interval": bootstrap_interval(losses)},
        **{"exact_match": sum(exact) / len(rows), "exact_match_interval": wilson_interval(sum(exact), len(rows))},
    }


def read_held_out(folder: Path, results: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """The values of each held-out row of an evaluation, by the key of the measure; empty if it has none.

    Raises:
        ValueError: The rows do not give what `results.json` says.
    """
    stated = results.get("held_out")
    if stated is None:
        return {}
    table = read_shards(folder / FOLDER, "evaluate")
    found = summary(table)
    if any(abs(found[key] - stated[key]) > 1e-9 for key in ("loss_nats", "exact_match")):
        raise ValueError(
            f"{folder / FOLDER} has a loss of {found['loss_nats']:.4f}, and results.json {stated['loss_nats']:.4f}: they are not "
            "of one evaluation. Run `circuitseer evaluate` with the run's settings again."
        )
    rows = [row for row in table.to_pylist() if row["loss_nats"] is not None]
    return {
        "held_out_loss": {row["uid"]: row["loss_nats"] for row in rows},
        "held_out_exact": {row["uid"]: float(row["exact"]) for row in rows},
    }
