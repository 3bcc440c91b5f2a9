"""How badly does the reference model predict the worked solution? The baseline Max Loss."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from circuitseer_trl.distributed.shard_folders import read_shards
from circuitseer_trl.modeling.stored_losses import MIN_TRUNCATED_TOKENS, losses_folder, pool_losses
from circuitseer_trl.pool.rows import Example, Pool
from circuitseer_trl.scoring.base import Needs, Row, Scorer


@dataclass
class MaxLossScorer(Scorer):
    """Scores an example by the reference model's mean response loss, in nats per token (CircuitSeer, section 4.1).

    The losses are those in `losses/`, which the probe of CircuitSeer also reads. The score is the mean, not the sum, since the
    sum grows with length. As in the probe, a row whose solution is truncated to fewer than 16 tokens has no score (our
    reading).
    """

    needs: ClassVar[Needs] = "losses"
    columns: ClassVar[dict[str, pa.DataType]] = {"loss_nats": pa.float64()}

    def fit(self, pool: Pool, output_dir: Path) -> None:
        pool_losses(pool, self.reference, output_dir)
        self._folder = losses_folder(output_dir)

    @cached_property
    def losses(self) -> dict[str, dict[str, Any]]:
        """The rows of `losses/`, by uid."""
        return {row["uid"]: row for row in read_shards(self._folder, "score-pool").to_pylist()}

    def score_batch(self, batch: Sequence[Example]) -> list[Row]:
        return [loss_row(self.losses[example.uid]) for example in batch]


def loss_row(found: dict[str, Any]) -> Row:
    """Makes a score row of a row of `losses/`: with the loss as score, or with the reason for a missing score."""
    loss, tokens = found["loss_nats"], found["num_completion_tokens"]
    row: Row = {"score": None, "status": "truncated" if found["truncated"] else "ok", "num_tokens": tokens}
    row["loss_nats"] = loss
    if loss is None:
        return row
    if not math.isfinite(loss):
        return row | {"status": "error"}
    return row if found["truncated"] and tokens < MIN_TRUNCATED_TOKENS else row | {"score": loss}
