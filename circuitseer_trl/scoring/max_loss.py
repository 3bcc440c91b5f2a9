"""Max-Loss: how badly the reference model predicts the worked solution."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from circuitseer_trl.circuits.heads import HeadSet
from circuitseer_trl.configs import SYSTEM_PROMPT, TextFormat
from circuitseer_trl.modeling.reference import Reference
from circuitseer_trl.modeling.stored_losses import MIN_TRUNCATED_TOKENS, loss_table, pool_losses
from circuitseer_trl.pool.rows import Example, Pool
from circuitseer_trl.scoring.base import Row, Scorer


@dataclass
class MaxLossScorer(Scorer):
    """Scores an example by the reference model's mean response loss, in nats per token (CircuitSeer, section 4.1).

    The losses are those of the stored pass `losses/`, which the probe of CircuitSeer reads as well. The mean, not the sum,
    which would be another measure of length. As in the probe, a row of whose solution truncation left fewer than 16 tokens
    has no score (our reading).

    Attributes:
        probe_format: Form in which the model reads a row; by default chat if the tokenizer has a template.
        system_prompt: For the chat form.
        max_batch_tokens: Tokens of one forward pass. It does not change results beyond rounding.
    """

    uses_losses: ClassVar[bool] = True
    columns: ClassVar[dict[str, pa.DataType]] = {"loss_nats": pa.float64()}

    probe_format: TextFormat | None = None
    system_prompt: str = SYSTEM_PROMPT
    max_batch_tokens: int = 8192

    def __post_init__(self) -> None:
        self.stored: dict[str, dict[str, Any]] = {}

    def fit(self, pool: Pool, reference: Reference | None, output_dir: Path) -> None:
        assert reference is not None
        losses = pool_losses(
            pool,
            reference,
            output_dir,
            form=self.probe_format,
            system_prompt=self.system_prompt,
            max_batch_tokens=self.max_batch_tokens,
        )
        self.stored = {row["uid"]: row for row in losses.to_pylist()}

    def losses(self, batch: Sequence[Example], reference: Reference) -> list[dict[str, Any]]:
        """The rows of the stored loss pass, or new ones for examples that are not in it."""
        missing = [example for example in batch if example.uid not in self.stored]
        table = loss_table(missing, reference, self.probe_format, self.system_prompt, self.max_batch_tokens)
        new = {row["uid"]: row for row in table.to_pylist()}
        return [self.stored.get(example.uid) or new[example.uid] for example in batch]

    def score_batch(self, batch: Sequence[Example], reference: Reference | None, heads: HeadSet | None) -> list[Row]:
        assert reference is not None
        return [loss_row(found) for found in self.losses(batch, reference)]


def loss_row(found: dict[str, Any]) -> Row:
    """A score row of a row of the loss pass: scored by its loss, or with the reason why there is none."""
    loss, tokens = found["loss_nats"], found["num_completion_tokens"]
    row: Row = {"score": None, "status": "truncated" if found["truncated"] else "ok", "num_tokens": tokens}
    row["loss_nats"] = loss
    if loss is None:
        return row
    if not math.isfinite(loss):
        return row | {"status": "error"}
    return row if found["truncated"] and tokens < MIN_TRUNCATED_TOKENS else row | {"score": loss}
