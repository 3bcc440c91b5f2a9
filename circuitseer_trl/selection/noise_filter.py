"""Which rows are left out before a method chooses? Those of highest loss, which are often wrong (ours)."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from circuitseer_trl.modeling.reference import Reference
from circuitseer_trl.modeling.stored_losses import pool_losses
from circuitseer_trl.pool.rows import Pool


@dataclass(frozen=True)
class NoiseFilter:
    """The rows that a method may choose.

    Attributes:
        kept (`np.ndarray` of shape `(N,)`): Whether each row of the pool stays.
        card: The entry of `selection.json`.
    """

    kept: np.ndarray
    card: dict[str, Any]

    def of(self, scores: np.ndarray) -> np.ndarray:
        """Scores with NaN for the rows that are left out: no sampler takes them."""
        return np.where(self.kept, scores, np.nan)

    def of_table(self, table: pa.Table) -> pa.Table:
        """A score table without the scores of those rows: they have no part in ranks."""
        place = table.column_names.index("score")
        return table.set_column(place, "score", pa.array(self.of(table["score"].to_numpy()), from_pandas=True))


def noise_losses(pool: Pool, reference: Reference, model: str | None, output_dir: str | Path) -> tuple[np.ndarray, str]:
    """Response losses of the pool's rows by the reference, or by another model, and the model's name.

    Those of the reference are in `losses/`, which other steps read. Those of another model are in `noise/losses/`.
    """
    judge = reference if model is None else replace(reference, name=model, revision=None)
    table = pool_losses(pool, judge, output_dir if model is None else Path(output_dir) / "noise")
    if judge is not reference:
        judge.free()
    return table["loss_nats"].to_numpy(zero_copy_only=False).astype(np.float64), judge.name


def noise_filter(losses: np.ndarray, ratio: float, model: str) -> NoiseFilter:
    """Leaves out the share `ratio` of the rows, rounded down, those of highest loss. Rows without a loss are left out, too.

    Equal losses go to the earlier row.
    """
    known = np.flatnonzero(np.isfinite(losses))
    order = known[np.argsort(losses[known], kind="stable")]
    num_kept = len(order) - int(ratio * len(order))
    kept = np.zeros(len(losses), dtype=bool)
    kept[order[:num_kept]] = True
    return NoiseFilter(
        kept,
        {
            "model": model,
            "ratio": ratio,
            "num_left_out": int(len(losses) - num_kept),
            "num_without_loss": int(len(losses) - len(known)),
            "highest_loss_kept_nats": float(losses[order[num_kept - 1]]) if num_kept else None,
        },
    )
