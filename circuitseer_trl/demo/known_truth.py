"""How good is a draw from the right solutions alone? The demo knows which are wrong; no method sees it."""

from collections.abc import Sequence
from dataclasses import dataclass

from circuitseer_trl.pool.rows import Example
from circuitseer_trl.scoring.base import Row, Scorer


@dataclass
class KnownTruthScorer(Scorer):
    """Scores a row 1 if its category says that its solution is right, else 0. Soft sampling draws from the right ones."""

    def score_batch(self, batch: Sequence[Example]) -> list[Row]:
        return [{"score": float(example.category == "right"), "status": "ok"} for example in batch]
