"""How much worse does the model predict a solution without some of its heads? Dependence of a row on a circuit (ours)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from circuitseer_trl.checks import check_choice, check_flag
from circuitseer_trl.circuits.attention import Ablation, ablate
from circuitseer_trl.configs import LossRise
from circuitseer_trl.modeling.losses import response_losses
from circuitseer_trl.pool.rows import Example, Pool
from circuitseer_trl.scoring.base import Needs, Row
from circuitseer_trl.scoring.max_loss import MaxLossScorer


@dataclass
class DependenceScorer(MaxLossScorer):
    """Scores a row by the rise of its solution's loss when a set of heads is silenced together, in nats per token (ours).

    The idea is AttentionInfluence's (arXiv 2505.07293), which silences retrieval heads. Here they are the run's heads. Both
    losses are means over the solution's tokens, given the problem. The attention of the heads is made undifferentiated, as in
    CircuitSeer: even over the tokens that each token can see, never over later ones.

    Attributes:
        rise: `difference` is the loss without the heads minus the loss with them; `ratio` divides it by the loss with them, as
            AttentionInfluence does. Where the model predicts a solution nearly surely, the ratio is large for any rise.
        without_first_layer: Leave out the heads of the first layer, which all layers above need for any text.
    """

    needs: ClassVar[Needs] = "heads"
    signed: ClassVar[bool] = True
    columns: ClassVar[dict[str, pa.DataType]] = {
        "loss_nats": pa.float64(),
        "loss_without_heads_nats": pa.float64(),
        "difference_nats": pa.float64(),
        "ratio": pa.float64(),
    }

    rise: LossRise = "difference"
    without_first_layer: bool = False

    def __post_init__(self) -> None:
        check_choice("rise", self.rise, LossRise)
        check_flag("without_first_layer", self.without_first_layer)

    @property
    def reads_losses(self) -> bool:
        return True

    @property
    def silenced(self) -> list[Ablation]:
        """The heads that are silenced together. Raises if there is none."""
        heads = [head for head in self.heads.selected if head[0] > 0 or not self.without_first_layer]
        if not heads:
            raise ValueError(
                f"All {len(self.heads.selected)} heads are in the first layer, which `without_first_layer` leaves out, so there "
                "is none to silence. Raise `head_ratio`, or leave `without_first_layer` out."
            )
        return [Ablation(layer, head) for layer, head in heads]

    def fit(self, pool: Pool, output_dir: Path) -> None:
        self.silenced  # noqa: B018  # raises before the losses are computed
        super().fit(pool, output_dir)

    def score_batch(self, batch: Sequence[Example]) -> list[Row]:
        rows = super().score_batch(batch)
        encoded = self.reference.encode(batch)
        scored = [index for index, row in enumerate(rows) if row["score"] is not None]
        ablations = self.silenced
        losses = response_losses(
            self.model,
            [encoded[index] for index in scored],
            self.reference.batch_tokens,
            lambda: ablate(self.model, ablations),
        )
        for index, without in zip(scored, losses, strict=True):
            rows[index] |= self._rise(rows[index]["loss_nats"], without)  # type: ignore[arg-type]
        return [dict.fromkeys(self.columns) | row for row in rows]

    def _rise(self, loss: float, without: float) -> dict[str, Any]:
        difference = without - loss
        ratio = difference / loss if loss > 0 else math.nan
        value = difference if self.rise == "difference" else ratio
        if not math.isfinite(value):
            return {"score": None, "status": "error"}
        found = {"loss_without_heads_nats": without, "difference_nats": difference, "ratio": ratio}
        return {"score": value, **found}
