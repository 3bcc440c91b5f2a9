"""How well does a model predict solutions that it was not trained on? Their loss, and exact match by teacher forcing."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from circuitseer_trl.configs import PoolConfig
from circuitseer_trl.evaluation.held_out_rows import COLUMNS, FOLDER, summary
from circuitseer_trl.modeling.predictions import response_predictions
from circuitseer_trl.modeling.reference import Reference
from circuitseer_trl.pool.load import pool_from_config
from circuitseer_trl.pool.row_shards import run_row_shards
from circuitseer_trl.pool.rows import Example


def held_out_table(examples: Sequence[Example], model: Reference) -> pa.Table:
    """Computes the rows of `held_out/`; values are null where truncation cuts a solution."""
    encoded = model.encode(examples)
    whole = [item for item in encoded if not item.truncated and item.num_completion_tokens > 0]
    found = response_predictions(model.checked_model(whole), whole, model.batch_tokens) if whole else []
    known = {item.uid: each for item, each in zip(whole, found, strict=True)}
    lines = [
        {
            "uid": item.uid,
            "loss_nats": known[item.uid].loss_nats if item.uid in known else None,
            "exact": known[item.uid].exact if item.uid in known else None,
            "num_tokens": item.num_completion_tokens,
        }
        for item in encoded
    ]
    return pa.Table.from_pylist(lines, schema=COLUMNS)


def measure_held_out(rows: PoolConfig, model: Reference, folder: Path) -> dict[str, Any]:
    """Measures held-out rows with all processes, and stores their values in `held_out/` of the folder.

    Args:
        rows: The data recipe of the rows.
        model: The model that is evaluated, and the form of its prompts.

    Returns:
        For `results.json`: the mean loss over rows, in nats per token, and the share of rows with an exact match, each with a
        95% interval over rows.
    """
    pool = pool_from_config(rows)
    made_from = {"pool": pool.fingerprint, "model": model.describe()}
    compute = partial(held_out_table, model=model)
    table = run_row_shards(pool, folder / FOLDER, made_from, compute, "Held-out losses", columns=COLUMNS).read_all()
    model.free()
    return summary(table) | {"dataset": pool.name, "pool_fingerprint": pool.fingerprint}
